package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// scenarios are stories that end in a healthy ensemble. Each begins with one.
var scenarios = map[string]func(*rig){
	"begin": func(g *rig) {
		g.create(size(3, 1))
		g.settle(300)
	},
	"grow":           sizes(5),
	"shrink":         sizes(1),
	"return":         sizes(1, 3),
	"there and back": sizes(5, 3),
	"one to seven":   sizes(1, 7, 1),
	"roll": func(g *rig) {
		g.edit(image("conclave:2"))
		g.settle(300)
	},
	"roll without its StatefulSet": func(g *rig) {
		g.edit(image("conclave:2"))
		g.runsOn("zoo-2", "conclave:2", 300)
		g.deleteSet("zoo")
		g.settle(300)
	},
	"roll with an observer": func(g *rig) {
		g.edit(size(3, 1))
		g.settle(300)
		g.edit(func(c *v1alpha1.CoordinationCluster) {
			c.Spec.Server.Config = map[string]v1alpha1.ConfigValue{"snapCount": "50000"}
		})
		g.settle(300)
	},
	"bad image": func(g *rig) {
		g.badImages["conclave:bad"] = true
		g.edit(image("conclave:bad"))
		g.until(v1alpha1.ConditionProgressing, v1alpha1.ReasonRolloutStuck, 300)
		g.edit(image("conclave:1"))
		g.settle(300)
	},
	"an image is gone": func(g *rig) { // and a member below the others wants it
		g.badImages["conclave:1"] = true
		g.deletePod("zoo-0")
		g.until(v1alpha1.ConditionDegraded, v1alpha1.ReasonBadImage, 300)
		g.edit(image("conclave:2"))
		g.waitsFor("kubectl delete statefulset zoo --cascade=orphan", 300)
		g.deleteSet("zoo")
		g.settle(300)
	},
	"an image is gone for most": func(g *rig) {
		g.steady = false
		g.badImages["conclave:1"] = true
		g.deletePod("zoo-0")
		g.deletePod("zoo-1")
		g.until(v1alpha1.ConditionDegraded, v1alpha1.ReasonQuorumLost, 300)
		g.edit(image("conclave:2"))
		g.settle(300)
	},
	"park": func(g *rig) {
		g.edit(size(0, 0))
		g.settle(300)
		g.edit(size(3, 1))
		g.settle(300)
	},
	"a bad image while parked": func(g *rig) {
		g.edit(size(0, 0))
		g.settle(300)
		g.badImages["conclave:bad"] = true
		g.edit(image("conclave:bad"))
		g.edit(size(3, 1))
		g.until(v1alpha1.ConditionDegraded, v1alpha1.ReasonBadImage, 300)
		g.edit(image("conclave:1"))
		g.settle(300)
	},
	"lost volume": func(g *rig) {
		g.world.LoseVolume("zoo-1")
		g.deletePod("zoo-1")
		g.settle(300)
	},
}

// warnings are the reasons that a story is to warn of: all of them, and no others.
var warnings = map[string][]string{
	"bad image":                 {v1alpha1.ReasonBadImage, v1alpha1.ReasonRolloutStuck},
	"a bad image while parked":  {v1alpha1.ReasonBadImage},
	"an image is gone":          {v1alpha1.ReasonMemberDown, v1alpha1.ReasonBadImage},
	"an image is gone for most": {v1alpha1.ReasonNoLeader, v1alpha1.ReasonWaitingForQuorum, v1alpha1.ReasonMajorityDown, v1alpha1.ReasonQuorumLost, v1alpha1.ReasonBadImage},
	"lost volume":               {v1alpha1.ReasonMemberDown},
}

// sizes are edits of spec.replicas, one after the other.
func sizes(all ...int32) func(*rig) {
	return func(g *rig) {
		for _, n := range all {
			g.edit(size(n, 0))
			g.settle(500)
		}
	}
}

// run plays a scenario, and starts what it begins with without disturbance.
func run(t *testing.T, name string, arm func(*rig)) *rig {
	t.Helper()
	g := newRig(t)
	if name != "begin" {
		g.create(func(c *v1alpha1.CoordinationCluster) { size(3, 0)(c); image("conclave:1")(c) })
		g.settle(300)
		g.steady = !strings.Contains(name, "park")
	}
	g.changes = 0
	if arm != nil {
		arm(g)
	}
	scenarios[name](g)
	g.healthy()
	return g
}

func TestScenarios(t *testing.T) {
	for name := range scenarios {
		for _, pace := range []struct{ late, apart, probes int }{{0, 0, 0}, {1, 2, 3}} {
			t.Run(fmt.Sprintf("%s, pods start after %d ticks and %d for each ordinal, probes take %d", name, pace.late, pace.apart, pace.probes), func(t *testing.T) {
				t.Parallel()
				g := run(t, name, func(g *rig) { g.late, g.apart, g.probes = pace.late, pace.apart, pace.probes })
				// What was asked for and goes well is no reason to wake anybody.
				expected := slices.Clone(warnings[name])
				if pace.late == 0 { // It is replaced, or known to be broken, before anybody misses it.
					expected = slices.DeleteFunc(expected, func(reason string) bool { return reason == v1alpha1.ReasonMemberDown })
				}
				for _, e := range g.events {
					kind, rest, _ := strings.Cut(e, " ")
					reason, _, _ := strings.Cut(rest, " ")
					if kind == corev1.EventTypeWarning && !slices.Contains(expected, reason) {
						t.Error(e)
					}
				}
				for _, reason := range expected {
					if !slices.ContainsFunc(g.events, func(e string) bool { return strings.HasPrefix(e, corev1.EventTypeWarning+" "+reason+" ") }) {
						t.Errorf("no warning of %s", reason)
					}
				}
				t.Logf("%d changes\n%s", g.changes, strings.Join(g.events, "\n"))
			})
		}
	}
}

// A cache of pods may be behind: who it shows as there is gone, and who it shows as
// gone, or not ready, is back.
func TestStaleCache(t *testing.T) {
	for name := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, name, func(g *rig) { g.stale = 3 })
		})
	}
}

func TestSizes(t *testing.T) {
	g := newRig(t)
	g.create(size(1, 0))
	g.settle(300)
	g.steady = true
	sizes(7, 1, 3, 5, 3)(g)
	g.healthy()
}
