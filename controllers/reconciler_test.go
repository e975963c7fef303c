package controllers

import (
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

func TestCreate(t *testing.T) {
	g := newRig(t)
	g.create(size(3, 1))
	g.settle(100)
	g.healthy()
	c := g.cluster()
	if c.Status.Image != "conclave:1" || c.Status.Bootstrap == nil || !c.Status.Bootstrap.Succeeded || c.Status.ClusterID != c.Status.Bootstrap.ClusterID || c.Status.Leader != "zoo-0" {
		t.Errorf("%+v", c.Status)
	}
	for _, kind := range v1alpha1.Conditions() {
		got := g.condition(kind)
		if got.ObservedGeneration != 1 || !strings.Contains(strings.Join(v1alpha1.Reasons(kind), " "), got.Reason) {
			t.Errorf("%+v", got)
		}
	}
	t.Log(strings.Join(g.events, "\n"))
}

// scenarios are stories that end in a healthy ensemble. Each begins with one.
var scenarios = map[string]func(*rig){
	"begin": func(g *rig) {
		g.create(size(3, 1))
		g.settle(300)
	},
	"grow": func(g *rig) {
		g.edit(size(5, 0))
		g.settle(300)
	},
	"shrink": func(g *rig) {
		g.edit(size(1, 0))
		g.settle(300)
	},
	"return": func(g *rig) {
		g.edit(size(1, 0))
		g.settle(300)
		g.edit(size(3, 0))
		g.settle(300)
	},
	"roll": func(g *rig) {
		g.edit(image("conclave:2"))
		g.settle(300)
	},
	"bad image": func(g *rig) {
		g.badImages["conclave:bad"] = true
		g.edit(image("conclave:bad"))
		g.until(v1alpha1.ConditionProgressing, v1alpha1.ReasonRolloutStuck, 300)
		g.edit(image("conclave:1"))
		g.settle(300)
	},
	"park": func(g *rig) {
		g.edit(size(0, 0))
		g.settle(300)
		g.edit(size(3, 1))
		g.settle(300)
	},
	"lost volume": func(g *rig) {
		g.world.LoseVolume("zoo-1")
		g.deletePod("zoo-1")
		g.settle(300)
	},
}

// run plays a scenario, and starts what it begins with without disturbance.
func run(t *testing.T, name string, arm func(*rig)) *rig {
	t.Helper()
	g := newRig(t)
	if name != "begin" {
		g.create(func(c *v1alpha1.CoordinationCluster) { size(3, 0)(c); image("conclave:1")(c) })
		g.settle(300)
		g.steady = name != "park"
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
		t.Run(name, func(t *testing.T) {
			g := run(t, name, nil)
			t.Logf("%d changes\n%s", g.changes, strings.Join(g.events, "\n"))
		})
	}
}
