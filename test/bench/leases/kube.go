package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

const (
	// namespace is where the cluster and its Leases are, name what it is called.
	namespace, name = "bench-leases", "bench"
	// system is where the operator is.
	system, operator = "conclave-system", "conclave-operator"
)

// kube is Kubernetes, as its administrator sees it.
type kube struct {
	*kubernetes.Clientset
	crd client.Client
	// metrics reads the operator's.
	metrics *http.Client
	token   string

	mu sync.Mutex
	// most is the most memory that was seen since it was asked for, missed why it was
	// not seen when that was tried last.
	most   memory
	missed error
}

// memory of the operator, in bytes, and what else is asked for with it.
type memory struct {
	workingSet, heap, resident, sys float64
	// busy is its processor time, in seconds.
	busy float64
	pod  string
}

func connect() (*kube, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	k := &kube{metrics: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		// Its certificate is of its own signing.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}}
	if k.crd, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	// The watch of Leases costs a fraction of what it costs in JSON.
	proto := rest.CopyConfig(config)
	proto.ContentType = runtime.ContentTypeProtobuf
	k.Clientset, err = kubernetes.NewForConfig(proto)
	return k, err
}

// until asks until what returns nil.
func until(ctx context.Context, within time.Duration, what func() error) error {
	for deadline := time.Now().Add(within); ; {
		err := what()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v: %w", within, err)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// clean removes what an earlier run has left.
func (k *kube) clean(ctx context.Context) error {
	err := k.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return until(ctx, 5*time.Minute, func() error {
		_, err := k.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, fmt.Errorf("namespace %s is still there", namespace))
	})
}

// found makes the namespace and the ensemble in it, and returns its members'
// addresses.
func (k *kube) found(ctx context.Context) ([]netip.AddrPort, error) {
	if _, err := k.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	if err := k.mayReadMetrics(ctx); err != nil {
		return nil, err
	}
	cc := &v1alpha1.CoordinationCluster{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	cc.Spec.Storage.Size = resource.MustParse("1Gi")
	cc.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("64Mi")}
	longest := int32(holdTimeout)
	cc.Spec.Sessions.MaxTimeoutMilliseconds = &longest
	// All sessions come from one address.
	cc.Spec.Server.Config = map[string]v1alpha1.ConfigValue{"maxClientCnxns": "0"}
	cc.Spec.Leases = &v1alpha1.LeasesSpec{MaxLeases: 20_000, Rules: []v1alpha1.LeaseRule{
		{Name: "nodes", Kind: v1alpha1.LeaseNode, Path: nodes + "/{n}", LeaseName: "n-{n}"},
		{Name: "flicker", Kind: v1alpha1.LeaseNode, Path: flicker + "/{n}", LeaseName: "f-{n}"},
		{Name: "elections", Kind: v1alpha1.LeaseElection, Path: elections + "/{e}", LeaseName: "e-{e}", Holder: v1alpha1.LeaseHolder{From: v1alpha1.HolderData}},
	}}
	if err := k.crd.Create(ctx, cc); err != nil {
		return nil, err
	}
	if err := until(ctx, 5*time.Minute, func() error {
		if err := k.crd.Get(ctx, client.ObjectKeyFromObject(cc), cc); err != nil {
			return err
		}
		for _, kind := range []string{v1alpha1.ConditionAvailable, v1alpha1.ConditionMembersInSync} {
			if !meta.IsStatusConditionTrue(cc.Status.Conditions, kind) {
				return fmt.Errorf("the cluster is not %s: %+v", kind, meta.FindStatusCondition(cc.Status.Conditions, kind))
			}
		}
		if cc.Status.ReadyReplicas != 3 {
			return fmt.Errorf("%d members are ready", cc.Status.ReadyReplicas)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	pods, err := k.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelCluster + "=" + name})
	if err != nil {
		return nil, err
	}
	var servers []netip.AddrPort
	for i := range pods.Items {
		a, err := netip.ParseAddr(pods.Items[i].Status.PodIP)
		if err != nil {
			return nil, err
		}
		servers = append(servers, netip.AddrPortFrom(a, 2181))
	}
	return servers, nil
}

// mayReadMetrics makes an account that may.
func (k *kube) mayReadMetrics(ctx context.Context) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := k.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return err
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: namespace},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "conclave-operator-metrics-reader"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: name}}}
	if _, err := k.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	hours := int64(4 * 3600)
	t, err := k.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hours}}, metav1.CreateOptions{})
	if err == nil {
		k.token = t.Status.Token
	}
	return err
}

// operate has n operators run, and returns once they do, or are gone.
func (k *kube) operate(ctx context.Context, n int32) error {
	scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: operator}, Spec: autoscalingv1.ScaleSpec{Replicas: n}}
	if _, err := k.AppsV1().Deployments(system).UpdateScale(ctx, operator, scale, metav1.UpdateOptions{}); err != nil {
		return err
	}
	return until(ctx, patience, func() error {
		pods, err := k.operators(ctx)
		if err != nil {
			return err
		}
		running := 0
		for i := range pods {
			if s := pods[i].Status.ContainerStatuses; len(s) > 0 && s[0].State.Running != nil {
				running++
			}
		}
		if len(pods) != int(n) || running != int(n) {
			return fmt.Errorf("%d operators, of which %d run", len(pods), running)
		}
		return nil
	})
}

func (k *kube) operators(ctx context.Context) ([]corev1.Pod, error) {
	list, err := k.CoreV1().Pods(system).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + operator})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// restarts is how often the operator has died.
func (k *kube) restarts(ctx context.Context) (n int32, err error) {
	pods, err := k.operators(ctx)
	for i := range pods {
		for _, s := range pods[i].Status.ContainerStatuses {
			n += s.RestartCount
		}
	}
	return n, err
}

// measure looks at the operator's memory every few seconds, until ctx ends.
func (k *kube) measure(ctx context.Context) {
	tick := time.NewTicker(3 * time.Second)
	defer tick.Stop()
	for {
		k.note(k.memory(ctx))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// note takes in a reading, or why there is none: while an operator comes or goes, one
// that fails is nothing to end for.
func (k *kube) note(m memory, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.missed = err; err == nil {
		k.most = memory{workingSet: max(k.most.workingSet, m.workingSet), heap: max(k.most.heap, m.heap), resident: max(k.most.resident, m.resident), sys: max(k.most.sys, m.sys)}
	}
}

// mostMemory returns the most of each kind since it was called last. That there was no
// reading is an error: 0 would be below every bar.
func (k *kube) mostMemory() (memory, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m, missed := k.most, k.missed
	k.most, k.missed = memory{}, nil
	if m.workingSet == 0 {
		return m, fmt.Errorf("there is no reading of the operator's memory: %w", cmp.Or(missed, errors.New("none was due yet")))
	}
	return m, nil
}

// memory asks the kubelet, and the operator itself.
func (k *kube) memory(ctx context.Context) (m memory, err error) {
	pods, err := k.operators(ctx)
	if err != nil || len(pods) != 1 {
		return m, errors.Join(err, fmt.Errorf("%d operators", len(pods)))
	}
	pod := &pods[0]
	m.pod = pod.Name
	b, err := k.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes", pod.Spec.NodeName, "proxy/stats/summary").Param("only_cpu_and_memory", "true").DoRaw(ctx)
	if err != nil {
		return m, err
	}
	var summary struct {
		Pods []struct {
			PodRef     struct{ Namespace, Name string }
			Containers []struct {
				Memory struct{ WorkingSetBytes float64 }
			}
		}
	}
	if err := json.Unmarshal(b, &summary); err != nil {
		return m, err
	}
	for _, p := range summary.Pods {
		if p.PodRef.Namespace == pod.Namespace && p.PodRef.Name == pod.Name {
			for _, c := range p.Containers {
				m.workingSet += c.Memory.WorkingSetBytes
			}
		}
	}
	if m.workingSet == 0 {
		return m, fmt.Errorf("the kubelet of node %s says nothing of the memory of pod %s/%s", pod.Spec.NodeName, pod.Namespace, pod.Name)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://%s:8443/metrics", pod.Status.PodIP), nil)
	if err != nil {
		return m, err
	}
	r.Header.Set("Authorization", "Bearer "+k.token)
	answer, err := k.metrics.Do(r)
	if err != nil {
		return m, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return m, fmt.Errorf("the operator's metrics: %s", answer.Status)
	}
	into := map[string]*float64{"go_memstats_heap_alloc_bytes": &m.heap, "process_resident_memory_bytes": &m.resident, "go_memstats_sys_bytes": &m.sys,
		"process_cpu_seconds_total": &m.busy}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		if p := into[key]; p != nil {
			if *p, err = strconv.ParseFloat(value, 64); err != nil {
				return m, err
			}
		}
	}
	return m, lines.Err()
}

// sessions is what status says.
func (k *kube) sessions(ctx context.Context) (*v1alpha1.CoordinationCluster, error) {
	cc := &v1alpha1.CoordinationCluster{}
	return cc, k.crd.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, cc)
}
