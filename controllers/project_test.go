package controllers

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/projector"
)

// shown is a projection that shows what a test says.
type shown struct {
	view   *projector.View
	target *projector.Target
	forgot int
}

func (s *shown) Follow(t projector.Target)        { s.target = &t }
func (s *shown) Forget(client.ObjectKey)          { s.forgot++; s.target = nil }
func (s *shown) Wakes() <-chan event.GenericEvent { return nil }
func (s *shown) View(client.ObjectKey) (projector.View, bool) {
	if s.view == nil {
		return projector.View{}, false
	}
	return *s.view, true
}

// What the projection shows is in status with the next pass, stays when an operator
// that knows nothing comes, and is not said to be fresh then. The projection is told
// who leads, that there is no quorum, and that the cluster is gone.
func TestProjected(t *testing.T) {
	g := newRig(t)
	s := &shown{}
	g.r.Projection = s
	g.create(size(3, 0))
	g.until(v1alpha1.ConditionSessionsSynced, v1alpha1.ReasonNotFounded, 10)
	if s.target != nil {
		t.Errorf("follows %+v", s.target)
	}
	g.settle(100)
	if c := g.condition(v1alpha1.ConditionLeasesSynced); c.Status != no || c.Reason != v1alpha1.ReasonConnecting {
		t.Errorf("%+v", c)
	}
	if s.target == nil || s.target.Leader != "zoo-0" || len(s.target.Members) != 3 || s.target.Members[1].ID == 0 || s.target.Cluster.Status.ClusterID == "" || s.target.NoQuorum {
		t.Fatalf("%+v", s.target)
	}
	s.view = &projector.View{Sessions: &v1alpha1.SessionsStatus{Total: 7, Connected: 7}, Leases: &v1alpha1.LeasesStatus{Mirrored: 3},
		SessionsSynced: metav1.Condition{Status: yes, Reason: v1alpha1.ReasonSynced, Message: "it follows"},
		LeasesSynced:   metav1.Condition{Status: no, Reason: v1alpha1.ReasonTruncated, Message: "too many"}}
	g.pass()
	if st := g.cluster().Status; st.Sessions == nil || st.Sessions.Total != 7 || st.Leases == nil || st.Leases.Mirrored != 3 {
		t.Errorf("%+v %+v", st.Sessions, st.Leases)
	}
	if a, b := g.condition(v1alpha1.ConditionSessionsSynced), g.condition(v1alpha1.ConditionLeasesSynced); a.Status != yes || b.Reason != v1alpha1.ReasonTruncated {
		t.Errorf("%+v %+v", a, b)
	}
	was := g.cluster().ResourceVersion
	g.pass()
	if is := g.cluster().ResourceVersion; is != was {
		t.Error("status is written though nothing is new")
	}

	g.restart()
	s = &shown{}
	g.r.Projection = s
	g.pass()
	if st, c := g.cluster().Status, g.condition(v1alpha1.ConditionSessionsSynced); st.Sessions == nil || st.Sessions.Total != 7 || c.Status != no || c.Reason != v1alpha1.ReasonConnecting {
		t.Errorf("%+v %+v", st.Sessions, c)
	}
	for _, pod := range []string{"zoo-0", "zoo-1"} {
		g.world.Process(pod).Silent, g.world.Process(pod).Cut = false, true
	}
	g.tick()
	g.pass()
	if !s.target.NoQuorum || s.target.Leader != "" {
		t.Errorf("%+v: %+v", s.target, g.condition(v1alpha1.ConditionQuorumHealthy))
	}
	if err := g.api.Delete(context.Background(), g.cluster()); err != nil {
		t.Fatal(err)
	}
	g.pass()
	if s.forgot == 0 {
		t.Error("a cluster that is gone is not forgotten")
	}
}

// What is shown of sessions waits for no pass over the cluster, and no pass is in its
// way: what it latches rests upon other things.
func TestShownWhileMembersAreAsked(t *testing.T) {
	g := newRig(t)
	s := &shown{}
	g.r.Projection = s
	g.create(size(3, 0))
	g.settle(100)
	total := int64(0)
	was := g.world.OnCall
	g.world.OnCall = func(pod, call string) error {
		if call == "Status" && pod == "zoo-0" {
			total++
			s.view = &projector.View{Sessions: &v1alpha1.SessionsStatus{Total: total}, SessionsSynced: metav1.Condition{Status: yes, Reason: v1alpha1.ReasonSynced, Message: "it follows"},
				LeasesSynced: metav1.Condition{Status: yes, Reason: v1alpha1.ReasonNoRules, Message: "no rules"}}
			if _, err := g.r.show(context.Background(), ctrl.Request{NamespacedName: key}); err != nil {
				t.Error(err)
			}
			if got := g.cluster().Status.Sessions; got == nil || got.Total != total {
				t.Errorf("while members are asked: %+v, want %d", got, total)
			}
		}
		return was(pod, call)
	}
	g.edit(size(5, 0))
	g.pass()
	if got := g.cluster().Status; got.Target.Replicas != 5 || got.Sessions.Total != total || total == 0 {
		t.Errorf("target %d, %+v", got.Target.Replicas, got.Sessions)
	}
	g.world.OnCall = was
	g.settle(300)
	g.healthy()
	if got := g.cluster().Status.Sessions; got.Total != total {
		t.Errorf("%+v, want %d: a pass has put back what it had read", got, total)
	}
}
