//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// through scales with kubectl, and lets the clients work at each size.
func (e *ensemble) through(sizes ...int) {
	e.t.Helper()
	for _, n := range sizes {
		e.scale(n)
		cc := e.settled()
		e.t.Logf("%d: %s, led by %s", n, cc.Status.Ready, cc.Status.Leader)
		if got := len(e.pods()); got != n {
			e.t.Errorf("scaled to %d, and there are %d pods", n, got)
		}
		e.load.progress()
	}
}

func TestFounding(t *testing.T) {
	e := found(t, 3, ordinary)
	cc := e.get()
	if b := cc.Status.Bootstrap; b == nil || !b.Succeeded || b.Adopted || b.ClusterID != e.id {
		t.Errorf("the latch: %+v", b)
	}
	if want := name + "." + e.namespace + ".svc:2181"; cc.Status.ClientEndpoint != want && !strings.HasPrefix(cc.Status.ClientEndpoint, name+"."+e.namespace) {
		t.Errorf("clients are sent to %s", cc.Status.ClientEndpoint)
	}
	eventually(t, "one pod may be evicted at a time", func() error {
		var budgets policyv1.PodDisruptionBudgetList
		if err := target.kube.List(t.Context(), &budgets, client.InNamespace(e.namespace)); err != nil || len(budgets.Items) != 1 {
			return fmt.Errorf("there are %d budgets (%v)", len(budgets.Items), err)
		}
		b := budgets.Items[0]
		if max, policy := b.Spec.MaxUnavailable, b.Spec.UnhealthyPodEvictionPolicy; max.String() != "1" || policy == nil || *policy != policyv1.IfHealthyBudget || b.Status.ExpectedPods != 3 {
			return fmt.Errorf("the budget: %+v, %+v", b.Spec, b.Status)
		}
		return nil
	})
	before := e.uids()
	e.must("annotate", "cc", name, "e2e=touched")
	if out, err := kubectl(system, "delete", "pod", operatorPod(t)); err != nil {
		t.Fatal(out, err)
	}
	eventually(t, "another operator", func() error {
		_, err := kubectl(system, "rollout", "status", "deployment/conclave-operator", "--timeout=4m")
		return err
	})
	// It has looked at the cluster when it has seen an edit.
	e.edit(map[string]any{"updateStrategy": map[string]any{"drainSeconds": 3}})
	e.settled()
	for pod, uid := range e.uids() {
		if before[pod] != uid {
			t.Errorf("%s was made anew", pod)
		}
	}
	e.conclude()
}

func TestScaleToFiveAndBack(t *testing.T) {
	e := found(t, 3, ordinary)
	e.through(5, 3)
	e.conclude()
}

// Volumes that are not kept go when their members are out of the ensemble and their
// pods are gone, and no sooner; who comes back is somebody else.
func TestScaleToOneAndBack(t *testing.T) {
	e := found(t, 3, ordinary, func(s *v1alpha1.CoordinationClusterSpec) { s.Storage.Retention.WhenScaled = v1alpha1.RetentionDelete })
	members := e.get().Status.Members
	var mu sync.Mutex
	seen := map[string]bool{}
	stop := e.changes(&corev1.PersistentVolumeClaimList{}, func(gone bool, o client.Object) {
		if !gone && o.GetDeletionTimestamp() == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if seen[o.GetName()] {
			return
		}
		seen[o.GetName()] = true
		e.out(strings.TrimPrefix(o.GetName(), "data-"))
	})
	e.through(1)
	eventually(t, "the volumes of two members go", func() error {
		if claims := e.claims(); !slices.Equal(claims, []string{"data-" + name + "-0"}) {
			return fmt.Errorf("there are %v", claims)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(seen) != 2 {
			return fmt.Errorf("seen to go: %v", seen)
		}
		return nil
	})
	stop()
	e.through(3)
	cc := e.get()
	for _, m := range members {
		if now := member(cc, m.Pod); (now.ID == m.ID) != (m.Pod == name+"-0") || now.ID == "" || !now.Voter {
			t.Errorf("%s was member %s and is %+v", m.Pod, m.ID, now)
		}
	}
	e.conclude()
}

// out finds that a pod is gone, and that the ensemble has no member under its name.
func (e *ensemble) out(pod string) {
	var p corev1.Pod
	if err := e.read(&p, pod); !apierrors.IsNotFound(err) {
		e.t.Errorf("the volume of %s goes while the pod is there (%v)", pod, err)
	}
	conn, _, err := zk.Connect(e.addresses(), time.Minute, zk.WithLogger(silence{}), zk.WithLogInfo(false))
	if err != nil {
		e.t.Error(err)
		return
	}
	defer conn.Close()
	eventually(e.t, "the membership is read", func() error {
		if _, err := conn.Sync("/zookeeper/config"); err != nil {
			return err
		}
		text, _, err := conn.Get("/zookeeper/config")
		if err == nil && strings.Contains(string(text), pod+".") {
			e.t.Errorf("the volume of %s goes while it is a member:\n%s", pod, text)
		} else if err == nil && !strings.Contains(string(text), name+"-0.") {
			e.t.Errorf("members are not named by their pods, which this test wants:\n%s", text)
		}
		return err
	})
}

func TestScaleFromOneToSevenAndBack(t *testing.T) {
	e := found(t, 1, ordinary)
	e.through(7, 1)
	e.conclude()
}

// A size that is taken back on the way waits for no more than the step under way.
func TestTakenBackOnTheWay(t *testing.T) {
	e := found(t, 3, ordinary)
	for _, sizes := range [][2]int{{5, 3}, {1, 3}} {
		e.scale(sizes[0])
		e.becomes(fmt.Sprintf("it is on the way to %d", sizes[0]), func(cc *v1alpha1.CoordinationCluster) error {
			if t := cc.Status.Target; t == nil || int(t.Replicas) != sizes[0] || t.Step == nil {
				return fmt.Errorf("the target: %+v", t)
			}
			return nil
		})
		e.scale(sizes[1])
		e.settled()
		if got := len(e.pods()); got != sizes[1] {
			t.Errorf("back to %d, and there are %d pods", sizes[1], got)
		}
		e.load.progress()
	}
	e.conclude()
}

func TestEvenNumbersAreRefused(t *testing.T) {
	e := found(t, 1, ordinary)
	_, err := e.kubectl("scale", "cc", name, "--replicas=2")
	if err == nil || !strings.Contains(err.Error(), "replicas can't be even") {
		t.Errorf("scaled to 2: %v", err)
	}
	e.conclude()
}

func TestObservers(t *testing.T) {
	e := found(t, 3, ordinary)
	for _, n := range []int{2, 0, 1} {
		e.edit(map[string]any{"observers": n})
		cc := e.settled()
		count := 0
		for _, m := range cc.Status.Members {
			if m.Role == v1alpha1.RoleObserver && !m.Voter {
				count++
			}
		}
		if count != n {
			t.Errorf("%d observers are wanted, members: %+v", n, cc.Status.Members)
		}
		e.load.progress()
	}
	roll := e.roll()
	e.edit(map[string]any{"image": target.next})
	roll.over()
	e.conclude()
}
