package controllers

import (
	"context"
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
