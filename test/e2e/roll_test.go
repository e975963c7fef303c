//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

func TestRolls(t *testing.T) {
	e := found(t, 3, ordinary)
	for _, c := range []struct {
		name string
		spec map[string]any
	}{
		{"image", map[string]any{"image": target.next}},
		{"configuration", map[string]any{"server": map[string]any{"config": map[string]any{"snapCount": "5000"}}}},
		{"resources", map[string]any{"resources": map[string]any{"requests": map[string]any{"memory": "48Mi"}}}},
	} {
		before, from := e.uids(), e.hash()
		e.edit(c.spec)
		e.rolled(before, from)
		if cause := e.get().Status.Rollout.Cause; !strings.Contains(cause, c.name) {
			t.Errorf("the cause of a roll for the %s is %q", c.name, cause)
		}
		e.load.progress()
	}
	if v := e.get().Status.Version; !strings.Contains(v, "0.2.0-e2e") && target.local != nil {
		t.Errorf("after the roll the version is %q", v)
	}
	e.conclude()
}

// running returns the image of a pod's server.
func running(p corev1.Pod) string {
	for _, c := range p.Spec.Containers {
		if c.Name == "server" {
			return c.Image
		}
	}
	return ""
}

func TestBadImage(t *testing.T) {
	e := found(t, 5, ordinary)
	good := running(e.pods()[0])
	const bad = "conclave.dev/there-is/none:1"
	e.edit(map[string]any{"image": bad})
	cc := e.becomes("the roll is stuck", func(cc *v1alpha1.CoordinationCluster) error {
		return has(cc, v1alpha1.ConditionProgressing, "False/"+v1alpha1.ReasonRolloutStuck)
	})
	t.Log(condition(cc, v1alpha1.ConditionProgressing))
	if err := has(cc, v1alpha1.ConditionDegraded, "True/"+v1alpha1.ReasonBadImage); err != nil {
		t.Error(err)
	}
	var broken, healthy []string
	for _, p := range e.pods() {
		if running(p) == bad {
			broken = append(broken, p.Name)
		} else if p.Name != cc.Status.Leader {
			healthy = append(healthy, p.Name)
		}
	}
	if len(broken) != 1 || len(healthy) != 3 {
		t.Fatalf("the bad image is that of %v, and not of %v", broken, healthy)
	}
	e.load.progress()

	// Somebody else's deleting a pod in the middle does not spread the image.
	uid := e.uids()[healthy[0]]
	e.must("delete", "pod", healthy[0])
	e.becomes("a pod that was deleted returns as it was", func(cc *v1alpha1.CoordinationCluster) error {
		var p corev1.Pod
		if err := e.read(&p, healthy[0]); err != nil {
			return err
		}
		if image := running(p); p.UID != uid && image != good {
			t.Fatalf("%s returned with %s, and had %s", p.Name, image, good)
		}
		if m := member(cc, healthy[0]); p.UID == uid || !m.Ready {
			return fmt.Errorf("it is not back: %+v", m)
		}
		return nil
	})
	e.load.progress()

	e.edit(map[string]any{"image": nil})
	e.settled()
	for _, p := range e.pods() {
		if running(p) != good {
			t.Errorf("%s has %s, and had %s", p.Name, running(p), good)
		}
	}
	e.conclude()
}

func TestOperatorKilledInMidRoll(t *testing.T) {
	e := found(t, 3, ordinary)
	before, from := e.uids(), e.hash()
	e.edit(map[string]any{"image": target.next})
	for updated := int32(0); updated < 3; updated++ {
		e.becomes(fmt.Sprintf("%d members are updated", updated), func(cc *v1alpha1.CoordinationCluster) error {
			r := cc.Status.Rollout
			if r == nil || r.Hash == from || r.Updated < updated {
				return fmt.Errorf("the roll: %+v", r)
			}
			return nil
		})
		e.killOperator()
	}
	e.rolled(before, from)
	e.conclude()
}

// killOperator ends it without a word, and another takes its place.
func (e *ensemble) killOperator() {
	e.t.Helper()
	pod := operatorPod(e.t)
	if out, err := kubectl(system, "delete", "pod", pod, "--grace-period=0", "--force"); err != nil {
		e.t.Fatal(out, err)
	}
	eventually(e.t, "another operator", func() error {
		_, err := kubectl(system, "rollout", "status", "deployment/conclave-operator", "--timeout=4m")
		return err
	})
}

func TestOperatorUpgradeRollsNothing(t *testing.T) {
	e := found(t, 3, ordinary)
	before, from := e.uids(), e.get().Status
	image := from.Image
	if image != target.image {
		t.Errorf("a cluster that names no image got %q, and the operator's is %q", image, target.image)
	}
	t.Cleanup(func() {
		if err := deploy(target.image); err != nil {
			t.Error(err)
		}
	})
	if err := deploy(target.next); err != nil {
		t.Fatal(err)
	}
	// What the new operator does to the cluster it has done when it has carried out
	// something else.
	e.edit(map[string]any{"observers": 1})
	e.settled()
	after := e.uids()
	for pod, uid := range before {
		if after[pod] != uid {
			t.Errorf("%s was restarted by the upgrade", pod)
		}
	}
	cc := e.get()
	if cc.Status.Image != image || cc.Status.Target.Hash != from.Target.Hash || !rollBegan(cc.Status).Equal(rollBegan(from)) {
		t.Errorf("image %q, hash %q, roll %+v; before: %q, %q, %+v", cc.Status.Image, cc.Status.Target.Hash, cc.Status.Rollout, image, from.Target.Hash, from.Rollout)
	}
	for _, p := range e.pods() {
		if running(p) != image {
			t.Errorf("%s runs %s", p.Name, running(p))
		}
	}
	e.conclude()
}

// rollBegan is when the last roll began, nil if there was none.
func rollBegan(s v1alpha1.CoordinationClusterStatus) *metav1.Time {
	if s.Rollout == nil {
		return nil
	}
	return s.Rollout.StartTime
}

func TestPaused(t *testing.T) {
	e := found(t, 3, ordinary)
	before := e.uids()
	e.edit(map[string]any{"paused": true, "replicas": 5, "image": target.next})
	paused := func(cc *v1alpha1.CoordinationCluster) error {
		if cc.Status.ObservedGeneration != cc.Generation {
			return errors.New("the operator has not seen the spec")
		}
		return has(cc, v1alpha1.ConditionProgressing, "False/"+v1alpha1.ReasonPaused)
	}
	e.becomes("it is paused", paused)
	// A paused cluster still shows what it sees: that a pod went, and came.
	pod := e.followers()[0]
	e.must("delete", "pod", pod)
	e.becomes("the pod is back", func(cc *v1alpha1.CoordinationCluster) error {
		if m := member(cc, pod); !m.Ready || e.uids()[pod] == before[pod] {
			return fmt.Errorf("%+v", m)
		}
		return paused(cc)
	})
	before[pod] = e.uids()[pod]
	if got := len(e.pods()); got != 3 {
		t.Errorf("paused, and there are %d pods", got)
	}
	for _, p := range e.pods() {
		if p.UID != before[p.Name] || running(p) == target.next {
			t.Errorf("paused, and %s was restarted", p.Name)
		}
	}
	from := e.hash()
	e.edit(map[string]any{"paused": false})
	e.rolled(before, from)
	if got := len(e.pods()); got != 5 {
		t.Errorf("there are %d pods", got)
	}
	e.conclude()
}
