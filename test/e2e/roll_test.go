//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"slices"
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
		roll := e.roll()
		e.edit(c.spec)
		roll.over()
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

// stuck makes an edit with which no member comes back, and waits until the operator
// says so. It returns the one pod that was restarted, and those that were not and
// do not lead.
func (e *ensemble) stuck(spec map[string]any, degraded string) (broken string, healthy []string, why string) {
	e.t.Helper()
	before := e.uids()
	e.edit(spec)
	cc := e.becomes("the roll is stuck", func(cc *v1alpha1.CoordinationCluster) error {
		why = condition(cc, v1alpha1.ConditionDegraded)
		return errors.Join(has(cc, v1alpha1.ConditionProgressing, "False/"+v1alpha1.ReasonRolloutStuck), has(cc, v1alpha1.ConditionDegraded, "True/"+degraded))
	})
	e.t.Logf("%s; %s", condition(cc, v1alpha1.ConditionProgressing), why)
	e.load.progress()
	var restarted []string
	for pod, uid := range e.uids() {
		if before[pod] != uid {
			restarted = append(restarted, pod)
		} else if pod != cc.Status.Leader {
			healthy = append(healthy, pod)
		}
	}
	slices.Sort(healthy)
	if len(restarted) != 1 || len(healthy) != len(before)-2 {
		e.t.Fatalf("%v were restarted, and not %v; %s leads", restarted, healthy, cc.Status.Leader)
	}
	broken = restarted[0]
	for what, text := range map[string]string{"what the roll waits for": condition(cc, v1alpha1.ConditionProgressing), "what is broken": why} {
		if !strings.Contains(text, broken) {
			e.t.Errorf("%s is %s, and that is not said: %s", what, broken, text)
		}
	}
	if err := errors.Join(has(cc, v1alpha1.ConditionAvailable, "True/"+v1alpha1.ReasonServing), has(cc, v1alpha1.ConditionQuorumHealthy, "True/"+v1alpha1.ReasonQuorum)); err != nil {
		e.t.Error(err)
	}
	return broken, healthy, why
}

func TestBadImage(t *testing.T) {
	e := found(t, 5, ordinary)
	good := running(e.pods()[0])
	const bad = "conclave.dev/there-is/none:1"
	broken, healthy, _ := e.stuck(map[string]any{"image": bad}, v1alpha1.ReasonBadImage)
	for _, p := range e.pods() {
		if (running(p) == bad) != (p.Name == broken) {
			t.Errorf("%s was restarted with a bad image, and %s has %s", broken, p.Name, running(p))
		}
	}

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

	// An option that the server refuses is no better: it ends, and says why.
	before, from := e.uids(), e.hash()
	broken, _, why := e.stuck(map[string]any{"server": map[string]any{"config": map[string]any{"snapCount": "many"}}}, v1alpha1.ReasonMemberCrashing)
	if !strings.Contains(why, "snapCount") {
		t.Errorf("the option that is refused is not named: %s", why)
	}
	e.edit(map[string]any{"server": map[string]any{"config": map[string]any{"snapCount": nil}}})
	e.settled()
	for pod, uid := range e.uids() {
		if (before[pod] != uid) != (pod == broken) {
			t.Errorf("%s was broken; %s was pod %s and is %s", broken, pod, before[pod], uid)
		}
	}
	if now := e.hash(); now != from {
		t.Errorf("taken back, and the members run %s instead of %s", now, from)
	}
	e.conclude()
}

func TestOperatorKilledInMidRoll(t *testing.T) {
	e := found(t, 3, ordinary)
	roll := e.roll()
	e.edit(map[string]any{"image": target.next})
	for updated := int32(0); updated < 3; updated++ {
		e.becomes(fmt.Sprintf("%d members are updated", updated), func(cc *v1alpha1.CoordinationCluster) error {
			r := cc.Status.Rollout
			if r == nil || r.Hash == roll.from || r.Updated < updated {
				return fmt.Errorf("the roll: %+v", r)
			}
			return nil
		})
		e.killOperator()
	}
	roll.over()
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
	gone := e.unready(pod)
	e.must("delete", "pod", pod)
	e.becomes("the pod is back", func(cc *v1alpha1.CoordinationCluster) error {
		if m := member(cc, pod); !gone() || !m.Ready || e.uids()[pod] == before[pod] {
			return fmt.Errorf("it was shown to be away: %v; %+v", gone(), m)
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
	roll := e.roll()
	e.edit(map[string]any{"paused": false})
	roll.over()
	if got := len(e.pods()); got != 5 {
		t.Errorf("there are %d pods", got)
	}
	e.conclude()
}
