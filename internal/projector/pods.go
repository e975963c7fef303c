package projector

import (
	"context"
	"net/netip"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/projection/summary"
)

// IndexPodIP is the index of pods by their addresses.
const IndexPodIP = "conclave.dev/pod-ip"

// PodIPs are the addresses that are a pod's own, for IndexPodIP. Those that share
// their node's, and those that have ended, have none.
func PodIPs(o client.Object) []string {
	pod, ok := o.(*corev1.Pod)
	if !ok || pod.Spec.HostNetwork || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	var ips []string
	for _, ip := range pod.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil {
			ips = append(ips, a.Unmap().String())
		}
	}
	return ips
}

// Slim keeps of a pod of other people what says whose address it has, so that a
// cache of all pods is small. A member's pod is kept, but for its managed fields.
func Slim(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	if pod.Labels[v1alpha1.LabelCluster] != "" {
		pod.ManagedFields = nil
		return pod, nil
	}
	slim := &corev1.Pod{TypeMeta: pod.TypeMeta, ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		ResourceVersion: pod.ResourceVersion, CreationTimestamp: pod.CreationTimestamp}}
	for _, r := range pod.OwnerReferences {
		if r.Controller != nil && *r.Controller {
			slim.OwnerReferences = []metav1.OwnerReference{r}
		}
	}
	if hash := pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]; hash != "" {
		slim.Labels = map[string]string{appsv1.DefaultDeploymentUniqueLabelKey: hash}
	}
	slim.Spec.HostNetwork = pod.Spec.HostNetwork
	slim.Status.Phase, slim.Status.PodIPs = pod.Status.Phase, pod.Status.PodIPs
	return slim, nil
}

// PodsBy finds pods in a cache that has IndexPodIP.
func PodsBy(c client.Reader) func(netip.Addr) (Pod, bool) {
	return func(a netip.Addr) (Pod, bool) {
		var list corev1.PodList
		// A cache answers at once, from memory.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := c.List(ctx, &list, client.MatchingFields{IndexPodIP: a.Unmap().String()}); err != nil || len(list.Items) == 0 {
			return Pod{}, false
		}
		// Of two that are shown with one address, the younger has it.
		pod := &list.Items[0]
		for i := range list.Items {
			if pod.CreationTimestamp.Before(&list.Items[i].CreationTimestamp) {
				pod = &list.Items[i]
			}
		}
		return Pod{Pod: summary.Pod{Namespace: pod.Namespace, Name: pod.Name, Owner: owner(pod), UID: string(pod.UID)}, Created: pod.CreationTimestamp.Time}, true
	}
}

// owner is what made a pod, as a person knows it: the Deployment, not its ReplicaSet.
func owner(pod *corev1.Pod) string {
	r := metav1.GetControllerOf(pod)
	if r == nil {
		return ""
	}
	if hash := pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]; r.Kind == "ReplicaSet" && hash != "" {
		if name, ok := strings.CutSuffix(r.Name, "-"+hash); ok {
			return "Deployment/" + name
		}
	}
	return r.Kind + "/" + r.Name
}
