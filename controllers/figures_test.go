package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/pace"
)

func TestWeigh(t *testing.T) {
	is := func(edit func(*v1alpha1.CoordinationClusterStatus)) *v1alpha1.CoordinationClusterStatus {
		s := &v1alpha1.CoordinationClusterStatus{
			ClusterID: "abc", Leader: "zoo-0", ReadyReplicas: 2, Target: &v1alpha1.TargetStatus{Replicas: 2}, Rollout: &v1alpha1.RolloutStatus{Hash: "h", Updated: 1, Message: "it goes on"},
			Sessions: &v1alpha1.SessionsStatus{Total: 7}, Recovery: &v1alpha1.RecoveryStatus{FormerClusterID: "ab", Message: "no"},
			Members: []v1alpha1.MemberStatus{{Pod: "zoo-0", Role: v1alpha1.RoleLeader, Ready: true, Zxid: "0x10", Connections: 80, Lag: 3},
				{Pod: "zoo-1", Role: v1alpha1.RoleFollower, Ready: true, Zxid: "0xf", Connections: 80, Lag: 1000}},
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionAvailable, Status: yes, Reason: v1alpha1.ReasonServing, Message: "2 members take clients"},
				{Type: v1alpha1.ConditionSessionsSynced, Status: yes, Reason: v1alpha1.ReasonSynced, Message: "it follows"}},
		}
		edit(s)
		return s
	}
	member := func(edit func(*v1alpha1.MemberStatus)) func(*v1alpha1.CoordinationClusterStatus) {
		return func(s *v1alpha1.CoordinationClusterStatus) { edit(&s.Members[1]) }
	}
	for name, c := range map[string]struct {
		edit func(*v1alpha1.CoordinationClusterStatus)
		want weight
	}{
		"nothing": {func(*v1alpha1.CoordinationClusterStatus) {}, nothing},
		"what another writer writes": {func(s *v1alpha1.CoordinationClusterStatus) {
			s.Sessions.Total, s.Conditions[1].Status = 8, no
		}, nothing},
		"zxid":                        {member(func(m *v1alpha1.MemberStatus) { m.Zxid = "0x11" }), drift},
		"connections, a few":          {member(func(m *v1alpha1.MemberStatus) { m.Connections = 90 }), drift},
		"connections, a few less":     {member(func(m *v1alpha1.MemberStatus) { m.Connections = 70 }), drift},
		"connections, many":           {member(func(m *v1alpha1.MemberStatus) { m.Connections = 91 }), figures},
		"connections, none":           {member(func(m *v1alpha1.MemberStatus) { m.Connections = 0 }), figures},
		"lag, a little":               {func(s *v1alpha1.CoordinationClusterStatus) { s.Members[0].Lag = 103 }, drift},
		"lag, much":                   {func(s *v1alpha1.CoordinationClusterStatus) { s.Members[0].Lag = 104 }, figures},
		"lag, a little of much":       {member(func(m *v1alpha1.MemberStatus) { m.Lag = 1125 }), drift},
		"lag, much of much":           {member(func(m *v1alpha1.MemberStatus) { m.Lag = 1126 }), figures},
		"a member's words":            {member(func(m *v1alpha1.MemberStatus) { m.Message = "disk: 812 ms" }), figures},
		"a condition's words":         {func(s *v1alpha1.CoordinationClusterStatus) { s.Conditions[0].Message = "1 member takes clients" }, figures},
		"a roll's words":              {func(s *v1alpha1.CoordinationClusterStatus) { s.Rollout.Message = "it waits" }, figures},
		"expiries in a roll":          {func(s *v1alpha1.CoordinationClusterStatus) { s.Rollout.SessionsExpired = 2 }, figures},
		"a recovery's words":          {func(s *v1alpha1.CoordinationClusterStatus) { s.Recovery.Message = "not yet" }, figures},
		"what a recovery begins with": {func(s *v1alpha1.CoordinationClusterStatus) { s.Recovery.LastZxid = "0x10" }, news},
		"a roll's step":               {func(s *v1alpha1.CoordinationClusterStatus) { s.Rollout.Updated = 2 }, news},
		"a condition's status":        {func(s *v1alpha1.CoordinationClusterStatus) { s.Conditions[0].Status = no }, news},
		"a condition's reason":        {func(s *v1alpha1.CoordinationClusterStatus) { s.Conditions[0].Reason = v1alpha1.ReasonServingAlone }, news},
		"the leader":                  {func(s *v1alpha1.CoordinationClusterStatus) { s.Leader = "" }, news},
		"the target":                  {func(s *v1alpha1.CoordinationClusterStatus) { s.Target.Replicas = 3 }, news},
		"the ensemble's id":           {func(s *v1alpha1.CoordinationClusterStatus) { s.ClusterID = "abd" }, news},
		"the founding": {func(s *v1alpha1.CoordinationClusterStatus) {
			s.Bootstrap = &v1alpha1.BootstrapStatus{ClusterID: "abc"}
		}, news},
		"a member's readiness": {member(func(m *v1alpha1.MemberStatus) { m.Ready = false }), news},
		"a member's role":      {member(func(m *v1alpha1.MemberStatus) { m.Role = v1alpha1.RoleLooking }), news},
		"a member that is gone": {func(s *v1alpha1.CoordinationClusterStatus) {
			s.Members = s.Members[:1]
		}, news},
		"news among figures": {func(s *v1alpha1.CoordinationClusterStatus) {
			s.Members[0].Zxid, s.Leader = "0x12", "zoo-1"
		}, news},
	} {
		was := is(func(*v1alpha1.CoordinationClusterStatus) {})
		if got := weigh(was, is(c.edit)); got != c.want {
			t.Errorf("%s: weight %d, want %d", name, got, c.want)
		}
	}
}

// wrote tells whether a pass writes status.
func (g *rig) wrote() bool {
	g.t.Helper()
	was := g.cluster().ResourceVersion
	g.pass()
	return g.cluster().ResourceVersion != was
}

// What clients alone bring about is written as often as there is room for it; what
// moves by little hardly ever; everything else at once.
func TestClientsWritesAreBounded(t *testing.T) {
	g := newRig(t)
	g.create(size(3, 0))
	g.settle(100)
	g.r.Turns = pace.New(1)
	member := g.world.Process("zoo-1")
	for _, step := range []struct {
		what        string
		after       time.Duration
		connections int64
		want        bool
	}{
		{"nothing", time.Minute, 2, false},
		{"much, and there is a turn", 0, 100, true},
		{"much, and there is none", 500 * time.Millisecond, 200, false},
		{"the same, in its turn", 500 * time.Millisecond, 200, true},
		{"little", time.Second, 201, false},
		{"little, for long", rarely, 201, true},
		{"nothing", rarely, 201, false},
	} {
		g.now = g.now.Add(step.after)
		member.Connections = step.connections
		if got := g.wrote(); got != step.want {
			t.Errorf("%s: written %v", step.what, got)
		}
	}
	// There is no turn, and what can't wait asks for none.
	member.Connections = 400
	if !g.wrote() {
		t.Error("there was a turn left")
	}
	member.Connections = 800
	g.edit(size(1, 0))
	g.pass()
	if got := g.cluster().Status; got.Target.Replicas != 1 || got.Members[1].Connections != 800 {
		t.Errorf("%+v", got)
	}
}

// The figures of clusters that are looked at all the time move all the time: no more
// is written than may be, each cluster is, and a condition's change waits for
// nobody.
func TestManyClustersWritesAreBounded(t *testing.T) {
	const clusters, seconds = 8, 20
	turns := pace.New(pace.PerSecond)
	was := key
	t.Cleanup(func() { key = was })
	type one struct {
		*rig
		next           time.Time
		passes, writes int
	}
	var all []*one
	begin := time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)
	for i := range clusters {
		key.Namespace = fmt.Sprint("ns-", i)
		g := newRig(t)
		g.create(size(1, 0))
		g.settle(100)
		g.now, g.r.Turns = begin, turns
		all = append(all, &one{rig: g, next: begin.Add(time.Duration(i) * 10 * time.Millisecond)})
	}
	var writes []time.Time
	for now := begin; now.Before(begin.Add(seconds * time.Second)); now = now.Add(10 * time.Millisecond) {
		for i, o := range all {
			if now.Before(o.next) {
				continue
			}
			key.Namespace = fmt.Sprint("ns-", i)
			o.now = now
			o.passes++
			o.world.Process("zoo-0").Connections = 10 << (o.passes % 7)
			before := o.cluster().ResourceVersion
			result, err := o.r.Reconcile(context.Background(), ctrl.Request{NamespacedName: key})
			if err != nil {
				t.Fatal(err)
			}
			// Its pods go on changing.
			o.next = now.Add(min(result.RequeueAfter, time.Second))
			if o.cluster().ResourceVersion != before {
				writes = append(writes, now)
				o.writes++
			}
		}
	}
	for i, at := range writes {
		if i >= pace.PerSecond && at.Sub(writes[i-pace.PerSecond]) < time.Second {
			t.Fatalf("%d writes in %v", pace.PerSecond+1, at.Sub(writes[i-pace.PerSecond]))
		}
	}
	if len(writes) < seconds*pace.PerSecond*8/10 {
		t.Errorf("%d writes in %d seconds", len(writes), seconds)
	}
	for i, o := range all {
		if mean := len(writes) / clusters; o.writes < mean-3 || o.writes > mean+3 {
			t.Errorf("cluster %d has %d writes of %d", i, o.writes, len(writes))
		}
	}
	for i, o := range all {
		key.Namespace = fmt.Sprint("ns-", i)
		o.world.Process("zoo-0").Cut = true
		o.world.Tick()
		o.pass()
		if c := o.condition(v1alpha1.ConditionQuorumHealthy); c.Status != no {
			t.Errorf("cluster %d has no quorum, and says %+v", i, c)
		}
	}
}
