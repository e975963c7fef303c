//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/hack/localcluster/faults"
)

// name is that of every test's CoordinationCluster, in the test's namespace.
const name = "shop"

// An ensemble is a CoordinationCluster under test, and its clients.
type ensemble struct {
	t         *testing.T
	namespace string
	load      *load
	// id is what it was founded with.
	id string
}

// ordinary are sessions for which a member that goes away orderly, or whose
// process dies, is nothing. patient ones outlive a client's trying to reach an
// address behind which nobody answers, until Kubernetes has noticed.
var (
	ordinary = []time.Duration{10 * time.Second, 15 * time.Second, 20 * time.Second, 30 * time.Second}
	patient  = []time.Duration{40 * time.Second, 40 * time.Second, 40 * time.Second}
)

// found creates a cluster, waits until it is settled, and begins its clients.
func found(t *testing.T, replicas int32, sessions []time.Duration, edits ...func(*v1alpha1.CoordinationClusterSpec)) *ensemble {
	t.Helper()
	e := begin(t)
	e.create(replicas, edits...)
	e.started(sessions)
	return e
}

// begin makes a test's namespace, for as long as the test takes.
func begin(t *testing.T) *ensemble {
	t.Helper()
	e := &ensemble{t: t, namespace: fmt.Sprintf("e2e-%s-%d", strings.ToLower(strings.TrimPrefix(t.Name(), "Test")), os.Getpid())}
	e.must("create", "namespace", e.namespace)
	e.must("label", "namespace", e.namespace, "pod-security.kubernetes.io/enforce=restricted")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(e.story())
		}
		if t.Failed() && os.Getenv("CLUSTER_KEEP") != "" {
			return
		}
		// A namespace that is deleted with pods in it waits for half of their grace
		// period, however soon they end; and nobody is left whom they would serve on.
		if _, err := e.kubectl("delete", "cc", "--all", "--timeout=4m"); err != nil {
			t.Error(err)
		}
		eventually(t, "all pods are gone", func() error {
			_, err := e.kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false")
			if n := len(e.pods()); err == nil && n > 0 {
				err = fmt.Errorf("there are %d", n)
			}
			return err
		})
		if _, err := e.kubectl("delete", "namespace", e.namespace, "--wait=false"); err != nil {
			t.Errorf("delete the namespace: %v", err)
		}
	})
	return e
}

// started waits until a cluster is settled, and begins its clients.
func (e *ensemble) started(sessions []time.Duration) {
	e.t.Helper()
	e.settled()
	e.id = e.get().Status.ClusterID
	e.load = newLoad(e.t, e.address, sessions...)
}

func (e *ensemble) create(replicas int32, edits ...func(*v1alpha1.CoordinationClusterSpec)) {
	e.t.Helper()
	cc := &v1alpha1.CoordinationCluster{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name}}
	cc.Spec.Replicas = &replicas
	cc.Spec.Storage.Size = resource.MustParse("256Mi")
	cc.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")}
	drain := int32(2)
	cc.Spec.UpdateStrategy.DrainSeconds = &drain
	for _, edit := range edits {
		edit(&cc.Spec)
	}
	if err := target.kube.Create(context.Background(), cc); err != nil {
		e.t.Fatal(err)
	}
}

func (e *ensemble) kubectl(args ...string) (string, error) { return kubectl(e.namespace, args...) }

func (e *ensemble) must(args ...string) string {
	e.t.Helper()
	out, err := e.kubectl(args...)
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

func (e *ensemble) read(o client.Object, name string) error {
	return target.kube.Get(context.Background(), types.NamespacedName{Namespace: e.namespace, Name: name}, o)
}

func (e *ensemble) get() *v1alpha1.CoordinationCluster {
	e.t.Helper()
	cc := &v1alpha1.CoordinationCluster{}
	if err := e.read(cc, name); err != nil {
		e.t.Fatal(err)
	}
	return cc
}

// address is that of the client Service, as DNS would have it.
func (e *ensemble) address(ctx context.Context) (string, error) {
	var s corev1.Service
	if err := target.kube.Get(ctx, types.NamespacedName{Namespace: e.namespace, Name: name}, &s); err != nil {
		return "", err
	}
	return s.Spec.ClusterIP + ":2181", nil
}

// edit merges into the spec; what is nil is taken out.
func (e *ensemble) edit(spec map[string]any) {
	e.t.Helper()
	patch, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		e.t.Fatal(err)
	}
	e.must("patch", "cc", name, "--type=merge", "--patch="+string(patch))
}

func (e *ensemble) scale(replicas int) {
	e.t.Helper()
	e.must("scale", "cc", name, fmt.Sprintf("--replicas=%d", replicas))
}

// becomes waits for something of the cluster, and fails with its story.
func (e *ensemble) becomes(what string, ok func(*v1alpha1.CoordinationCluster) error) *v1alpha1.CoordinationCluster {
	e.t.Helper()
	cc := &v1alpha1.CoordinationCluster{}
	eventually(e.t, what, func() error {
		cc = &v1alpha1.CoordinationCluster{}
		if err := e.read(cc, name); err != nil {
			return err
		}
		if err := ok(cc); err != nil {
			return fmt.Errorf("%w (Progressing is %s)", err, condition(cc, v1alpha1.ConditionProgressing))
		}
		return nil
	})
	return cc
}

// settled waits until all is as the spec says.
func (e *ensemble) settled() *v1alpha1.CoordinationCluster {
	e.t.Helper()
	return e.becomes("the cluster settles", func(cc *v1alpha1.CoordinationCluster) error {
		if cc.Status.ObservedGeneration != cc.Generation {
			return errors.New("the operator has not seen the spec")
		}
		if cc.Status.ReadyReplicas != *cc.Spec.Replicas || cc.Status.ReadyObservers != *cc.Spec.Observers {
			return fmt.Errorf("%d voters and %d observers are ready", cc.Status.ReadyReplicas, cc.Status.ReadyObservers)
		}
		available := "True/" + v1alpha1.ReasonServing
		if *cc.Spec.Replicas == 1 {
			available = "True/" + v1alpha1.ReasonServingAlone
		}
		return errors.Join(has(cc, v1alpha1.ConditionProgressing, "False/"+v1alpha1.ReasonSettled), has(cc, v1alpha1.ConditionAvailable, available),
			has(cc, v1alpha1.ConditionDegraded, "False/"+v1alpha1.ReasonAllWell), has(cc, v1alpha1.ConditionQuorumHealthy, "True/"+v1alpha1.ReasonQuorum),
			has(cc, v1alpha1.ConditionMembersInSync, "True/"+v1alpha1.ReasonInSync))
	})
}

// conclude ends a test: settled, the same ensemble, and clients that lack nothing.
func (e *ensemble) conclude() {
	e.t.Helper()
	cc := e.settled()
	if cc.Status.ClusterID != e.id {
		e.t.Errorf("the ensemble was %s and is %s", e.id, cc.Status.ClusterID)
	}
	if r := cc.Status.Rollout; r != nil && r.SessionsExpired != 0 {
		e.t.Errorf("%d sessions expired during a roll", r.SessionsExpired)
	}
	e.load.conclude()
}

// pods returns the members' pods, sorted by name.
func (e *ensemble) pods() []corev1.Pod {
	e.t.Helper()
	var list corev1.PodList
	if err := target.kube.List(context.Background(), &list, client.InNamespace(e.namespace), client.MatchingLabels{v1alpha1.LabelCluster: name}); err != nil {
		e.t.Fatal(err)
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return list.Items
}

// uids are the pods' by name: who was restarted has another.
func (e *ensemble) uids() map[string]types.UID {
	m := map[string]types.UID{}
	for _, p := range e.pods() {
		m[p.Name] = p.UID
	}
	return m
}

// leader returns the leader's pod.
func (e *ensemble) leader() string {
	e.t.Helper()
	return e.becomes("there is a leader", func(cc *v1alpha1.CoordinationCluster) error {
		if cc.Status.Leader == "" {
			return errors.New("nobody leads")
		}
		return nil
	}).Status.Leader
}

// followers are the voters' pods that do not lead.
func (e *ensemble) followers() []string {
	e.t.Helper()
	var names []string
	for _, m := range e.get().Status.Members {
		if m.Role == v1alpha1.RoleFollower {
			names = append(names, m.Pod)
		}
	}
	if len(names) == 0 {
		e.t.Fatal("there are no followers")
	}
	return names
}

func (e *ensemble) node(pod string) string {
	e.t.Helper()
	var p corev1.Pod
	if err := e.read(&p, pod); err != nil {
		e.t.Fatal(err)
	}
	return p.Spec.NodeName
}

func (e *ensemble) pod(name string) faults.Pod { return faults.Pod{Namespace: e.namespace, Name: name} }

// member returns what the status says of a pod.
func member(cc *v1alpha1.CoordinationCluster, pod string) v1alpha1.MemberStatus {
	for _, m := range cc.Status.Members {
		if m.Pod == pod {
			return m
		}
	}
	return v1alpha1.MemberStatus{}
}

// hash is what the members run.
func (e *ensemble) hash() string {
	e.t.Helper()
	return e.get().Status.Target.Hash
}

// claims returns the names of the volume claims.
func (e *ensemble) claims() []string {
	return strings.Fields(e.must("get", "pvc", "--output=jsonpath={.items[*].metadata.name}"))
}

// story is all that explains a failure.
func (e *ensemble) story() string {
	var b strings.Builder
	show := func(title, namespace string, args ...string) {
		out, err := kubectl(namespace, args...)
		fmt.Fprintf(&b, "== %s\n%s", title, out)
		if err != nil {
			fmt.Fprintln(&b, err)
		}
	}
	show("the cluster", e.namespace, "get", "cc", name, "--output=yaml")
	show("objects", e.namespace, "get", "nodes,statefulsets,pods,pvc,endpointslices", "--output=wide")
	show("events", e.namespace, "get", "events", "--sort-by=.metadata.creationTimestamp")
	show("the operator", system, "logs", "deployment/conclave-operator", "--tail=150")
	for _, p := range e.pods() {
		show(p.Name, e.namespace, "logs", p.Name, "--tail=60")
		if len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].RestartCount > 0 {
			show(p.Name+" before its restart", e.namespace, "logs", p.Name, "--previous", "--tail=30")
		}
	}
	return b.String()
}
