package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// A pod that is evicted in the middle of a roll to a bad image comes back on what
// it had.
func TestEvictedInABadRoll(t *testing.T) {
	g := newRig(t)
	g.create(func(c *v1alpha1.CoordinationCluster) { size(3, 0)(c); image("conclave:1")(c) })
	g.settle(300)
	g.badImages["conclave:bad"] = true
	g.edit(image("conclave:bad"))
	g.until(v1alpha1.ConditionProgressing, v1alpha1.ReasonRolloutStuck, 300)
	g.deletePod("zoo-1")
	for range 20 {
		g.tick()
		g.pass()
	}
	if st := g.world.Status("zoo-1"); st.GetVersion() != "conclave:1" || !st.GetReady() {
		t.Errorf("%v", st)
	}
	if c := g.condition(v1alpha1.ConditionProgressing); c.Reason != v1alpha1.ReasonRolloutStuck || !strings.Contains(c.Message, "zoo-2") || !strings.Contains(c.Message, "no such image") {
		t.Errorf("%+v", c)
	}
	// A good edit heals it as well as the old one would.
	g.edit(image("conclave:2"))
	g.settle(300)
	g.healthy()
}

// So does one that is evicted when all the others have the new revision already: an
// image that two members were restarted on is gone when the third is to be.
func TestEvictedLastInABadRoll(t *testing.T) {
	g := newRig(t)
	g.create(func(c *v1alpha1.CoordinationCluster) { size(3, 0)(c); image("conclave:1")(c) })
	g.settle(300)
	g.edit(image("conclave:2"))
	g.runsOn("zoo-2", "conclave:2", 300)
	g.badImages["conclave:2"] = true
	g.until(v1alpha1.ConditionProgressing, v1alpha1.ReasonRolloutStuck, 300)
	if st := g.world.Status("zoo-2"); st.GetVersion() != "conclave:2" || !st.GetReady() {
		t.Fatalf("zoo-2 does not run on the new image: %v", st)
	}
	g.deletePod("zoo-0")
	g.world.Stop("zoo-0")
	for range 3 { // the StatefulSet's controller takes its time
		g.pass()
	}
	if got := g.partition(); got != 1 {
		t.Errorf("partition %d while zoo-0 is away", got)
	}
	for range 20 {
		g.tick()
		g.pass()
	}
	if st := g.world.Status("zoo-0"); st.GetVersion() != "conclave:1" || !st.GetReady() {
		t.Errorf("%v", st)
	}
	if c := g.condition(v1alpha1.ConditionProgressing); c.Reason != v1alpha1.ReasonRolloutStuck || !strings.Contains(c.Message, "zoo-1") {
		t.Errorf("%+v", c)
	}
	g.edit(image("conclave:1"))
	g.settle(300)
	g.healthy()
}

// partition is that of the voters' StatefulSet.
func (g *rig) partition() int32 {
	g.t.Helper()
	s := &appsv1.StatefulSet{}
	g.must(g.api.Get(context.Background(), key, s))
	return partition(s)
}

// A StatefulSet that somebody deletes in the middle of a roll, and whose pods live, is
// made again, and the roll goes on as it began: one at a time, clients first, the
// leader last.
func TestStatefulSetIsDeletedInARoll(t *testing.T) {
	for _, away := range []int{0, 3} {
		t.Run(fmt.Sprintf("for %d ticks", away), func(t *testing.T) {
			g := newRig(t)
			g.create(func(c *v1alpha1.CoordinationCluster) { size(3, 2)(c); image("conclave:1")(c) })
			g.settle(300)
			g.steady, g.log = true, nil
			g.edit(image("conclave:2"))
			g.runsOn("zoo-observer-1", "conclave:2", 300)
			g.deleteSet("zoo-observer")
			g.runsOn("zoo-2", "conclave:2", 300)
			was := g.pods()
			g.deleteSet("zoo")
			for range away {
				g.tick()
			}
			g.pass()
			if got := g.partition(); got != 3 {
				t.Errorf("it is made again with partition %d", got)
			}
			calm := 0
			for range 300 {
				g.tick()
				var off []string
				for _, pod := range []string{"zoo-0", "zoo-1", "zoo-2"} {
					if !g.world.Status(pod).GetReady() {
						off = append(off, pod)
					}
				}
				if len(off) > 1 {
					g.fatalf("away at once: %v", off)
				}
				g.pass()
				if g.condition(v1alpha1.ConditionProgressing).Reason != v1alpha1.ReasonSettled {
					calm = 0
				} else if calm++; calm == 5 {
					break
				}
			}
			g.healthy()
			if got := g.partition(); got != 0 {
				t.Errorf("partition %d at the end", got)
			}
			if is := g.pods(); is["zoo-2"] != was["zoo-2"] || is["zoo-1"] == was["zoo-1"] || is["zoo-0"] == was["zoo-0"] {
				t.Errorf("restarted: %v, were %v", is, was)
			}
			at := -1
			for _, step := range []string{"Drain zoo-observer-0", "StatefulSet deletes zoo-observer-0", "Drain zoo-2", "StatefulSet deletes zoo-2", "Drain zoo-1", "StatefulSet deletes zoo-1", "TransferLeadership zoo-0", "Drain zoo-0", "StatefulSet deletes zoo-0"} {
				i := slices.IndexFunc(g.log, func(line string) bool { return strings.HasSuffix(line, step) })
				if i <= at {
					t.Errorf("%q did not happen, or not in its turn:\n%s", step, strings.Join(g.log, "\n"))
				}
				at = i
			}
		})
	}
}

// Pods that no admission lets through are made of what the spec says next: there is
// no ensemble yet, and nothing to be careful with.
func TestDenied(t *testing.T) {
	g := newRig(t)
	g.denied["conclave:denied"] = true
	g.create(func(c *v1alpha1.CoordinationCluster) { size(3, 1)(c); image("conclave:denied")(c) })
	for range 20 {
		g.tick()
		g.pass()
	}
	if c := g.condition(v1alpha1.ConditionProgressing); !strings.Contains(c.Message, "kubectl describe statefulset") || len(g.pods()) != 0 {
		t.Fatalf("%+v, pods %v", c, g.pods())
	}
	g.edit(image("conclave:1"))
	g.settle(300)
	g.healthy()
}

// And when there is one, which is parked, somebody has to say that none is on its way
// back: the StatefulSet is deleted, and made again of the spec.
func TestDeniedOnTheWayBack(t *testing.T) {
	g := newRig(t)
	g.create(func(c *v1alpha1.CoordinationCluster) { size(3, 0)(c); image("conclave:1")(c) })
	g.settle(300)
	g.edit(size(0, 0))
	g.settle(300)
	g.denied["conclave:1"] = true
	g.edit(size(3, 0))
	for range 20 {
		g.tick()
		g.pass()
	}
	g.edit(image("conclave:2"))
	g.waitsFor("kubectl describe statefulset", 20)
	g.deleteSet("zoo")
	g.settle(300)
	g.healthy()
}
