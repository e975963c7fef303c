package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// tick is a moment in Kubernetes and among the members.
func (g *rig) tick() {
	g.t.Helper()
	g.now = g.now.Add(time.Second)
	var sets appsv1.StatefulSetList
	g.must(g.api.List(context.Background(), &sets, client.InNamespace(key.Namespace)))
	wanted, there := map[string]bool{}, map[string]bool{}
	for i := range sets.Items {
		there[sets.Items[i].Name] = true
		g.statefulSet(&sets.Items[i], wanted)
	}
	var pods corev1.PodList
	g.must(g.api.List(context.Background(), &pods, client.InNamespace(key.Namespace)))
	for i := range pods.Items {
		if p := &pods.Items[i]; !wanted[p.Name] && there[p.Name[:strings.LastIndexByte(p.Name, '-')]] {
			g.must(g.api.Delete(context.Background(), p, client.GracePeriodSeconds(0)))
		}
	}
	for name, uid := range g.running {
		p := &corev1.Pod{}
		if err := g.api.Get(context.Background(), client.ObjectKey{Namespace: key.Namespace, Name: name}, p); err != nil || p.UID != uid {
			g.world.Stop(name)
			delete(g.running, name)
		}
	}
	g.must(g.api.List(context.Background(), &pods, client.InNamespace(key.Namespace)))
	for i := range pods.Items {
		g.kubelet(&pods.Items[i])
	}
	g.world.Tick()
	if id := g.cluster().Status.ClusterID; g.steady && !g.world.HasQuorum(id) {
		g.fatalf("the ensemble has lost its quorum: voters %v", g.world.Voters(id))
	}
}

func (g *rig) statefulSet(s *appsv1.StatefulSet, wanted map[string]bool) {
	g.t.Helper()
	ctx := context.Background()
	text, err := json.Marshal(s.Spec.Template)
	g.must(err)
	h := fnv.New32a()
	h.Write(text)
	update := fmt.Sprintf("%s-%08x", s.Name, h.Sum32())
	g.templates[update] = s.Spec.Template
	was := s.Status
	if s.Status.CurrentRevision == "" {
		s.Status.CurrentRevision = update
	}
	s.Status.UpdateRevision, s.Status.ObservedGeneration = update, s.Generation
	updated, healthy := 0, true
	for i := int(*s.Spec.Replicas) - 1; i >= 0; i-- {
		name := fmt.Sprintf("%s-%d", s.Name, i)
		wanted[name] = true
		pod := &corev1.Pod{}
		err := g.api.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: name}, pod)
		if apierrors.IsNotFound(err) {
			g.createPod(s, name, i)
			healthy = false
			continue
		}
		g.must(err)
		revision := pod.Labels[appsv1.StatefulSetRevisionLabel]
		if revision != update && i >= int(partition(s)) && healthy {
			g.log = append(g.log, "   StatefulSet deletes "+name)
			g.must(g.api.Delete(ctx, pod, client.GracePeriodSeconds(0)))
			healthy = false
			continue
		}
		if revision == update {
			updated++
		}
		healthy = healthy && podReady(pod)
	}
	if updated == int(*s.Spec.Replicas) && healthy {
		s.Status.CurrentRevision = update
	}
	if !equality.Semantic.DeepEqual(was, s.Status) {
		g.must(g.api.Status().Update(ctx, s))
	}
}

func (g *rig) createPod(s *appsv1.StatefulSet, name string, ordinal int) {
	g.t.Helper()
	ctx := context.Background()
	for _, t := range s.Spec.VolumeClaimTemplates {
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: t.Name + "-" + name, Labels: s.Spec.Selector.MatchLabels}, Spec: t.Spec}
		err := g.api.Create(ctx, claim)
		if apierrors.IsAlreadyExists(err) {
			continue
		}
		g.must(err)
		claim.Status.Phase = corev1.ClaimBound
		g.must(g.api.Status().Update(ctx, claim))
	}
	revision := s.Status.UpdateRevision
	if ordinal < int(partition(s)) {
		revision = s.Status.CurrentRevision
	}
	template := g.templates[revision]
	if g.denied[template.Spec.Containers[0].Image] {
		return
	}
	g.uids++
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name, UID: types.UID(fmt.Sprint("uid-", g.uids)), Annotations: template.Annotations,
		Labels: map[string]string{appsv1.StatefulSetRevisionLabel: revision}}}
	for k, v := range template.Labels {
		pod.Labels[k] = v
	}
	pod.Spec = *template.Spec.DeepCopy()
	for _, t := range s.Spec.VolumeClaimTemplates {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: t.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: t.Name + "-" + name}}})
	}
	g.must(g.api.Create(ctx, pod))
}

// kubelet starts a pod's member and says how the pod is.
func (g *rig) kubelet(p *corev1.Pod) {
	g.t.Helper()
	was, err := json.Marshal(p.Status)
	g.must(err)
	s, _ := (&pass{cluster: &v1alpha1.CoordinationCluster{ObjectMeta: metav1.ObjectMeta{Name: key.Name}}, key: key}).seatOf(p.Name)
	if g.starting[p.UID]++; g.starting[p.UID] <= g.late+g.apart*s.Ordinal {
		return
	}
	p.Status.PodIP, p.Status.ContainerStatuses = "10.0.0.1", nil
	ready := corev1.ConditionFalse
	// Whoever runs has its image.
	if g.badImages[p.Spec.Containers[0].Image] && g.running[p.Name] == "" {
		p.Status.PodIP = ""
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "server", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}}}}
	} else {
		if g.running[p.Name] == "" {
			m := g.world.Start(p.Name, s.ServerName())
			m.Connections, m.Version = 2, p.Spec.Containers[0].Image
			g.running[p.Name] = p.UID
		}
		if !g.world.Status(p.Name).GetReady() {
			g.unseen[p.UID] = 0
		} else if g.unseen[p.UID]++; g.unseen[p.UID] > g.probes {
			ready = corev1.ConditionTrue
		}
	}
	since := metav1.NewTime(g.now)
	for _, c := range p.Status.Conditions {
		if c.Status == ready {
			since = c.LastTransitionTime
		}
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: since}}
	if is, err := json.Marshal(p.Status); err != nil || string(is) != string(was) {
		g.must(g.api.Status().Update(context.Background(), p))
	}
}

// deletePod is an eviction.
func (g *rig) deletePod(name string) {
	g.t.Helper()
	g.must(g.api.Delete(context.Background(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name}}, client.GracePeriodSeconds(0)))
}

// deleteSet is what kubectl delete --cascade=orphan does: the pods live.
func (g *rig) deleteSet(name string) {
	g.t.Helper()
	g.byHand++
	g.must(g.api.Delete(context.Background(), &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name}}))
}

// runsOn runs everything until a pod is ready and has the image.
func (g *rig) runsOn(pod, image string, bound int) {
	g.t.Helper()
	for range bound {
		g.tick()
		g.pass()
		if st := g.world.Status(pod); st.GetVersion() == image && st.GetReady() {
			return
		}
	}
	g.fatalf("%s is not ready on %s after %d passes", pod, image, bound)
}

// pods returns the pods' uids by name.
func (g *rig) pods() map[string]types.UID {
	g.t.Helper()
	var pods corev1.PodList
	g.must(g.api.List(context.Background(), &pods, client.InNamespace(key.Namespace)))
	out := map[string]types.UID{}
	for i := range pods.Items {
		out[pods.Items[i].Name] = pods.Items[i].UID
	}
	return out
}

// deleteEverythingButVolumes is what the garbage collector does after the resource
// was deleted.
func (g *rig) deleteEverythingButVolumes() {
	g.t.Helper()
	ctx, in := context.Background(), client.InNamespace(key.Namespace)
	for _, o := range []client.Object{&v1alpha1.CoordinationCluster{}, &appsv1.StatefulSet{}, &corev1.Pod{}, &corev1.Service{}, &corev1.ConfigMap{}, &corev1.Secret{},
		&corev1.ServiceAccount{}, &policyv1.PodDisruptionBudget{}, &networkingv1.NetworkPolicy{}} {
		g.must(g.api.DeleteAllOf(ctx, o, in))
	}
	g.pass()
	for name := range g.running {
		g.world.Stop(name)
		delete(g.running, name)
	}
}
