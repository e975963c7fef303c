package controllers

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/projector"
)

// Projection reads the session streams of clusters, and writes their Leases. A
// *projector.Projector is one.
type Projection interface {
	// Follow takes up a cluster, or tells what is new of one.
	Follow(projector.Target)
	// Forget ends that.
	Forget(client.ObjectKey)
	// View is what status says of it, if there is something to say.
	View(client.ObjectKey) (projector.View, bool)
	// Wakes are the clusters whose views have changed.
	Wakes() <-chan event.GenericEvent
}

// project tells the projection what this pass has seen. A cluster that is about to
// go is not followed: its Leases go with it.
func (p *pass) project() {
	switch {
	case !p.cluster.DeletionTimestamp.IsZero():
		p.Projection.Forget(p.key)
		return
	case !p.founded() || p.plan.Act == "":
		return // nothing was observed
	}
	t := projector.Target{Cluster: p.cluster.DeepCopy(), API: p.api}
	t.Cluster.Status.ClusterID = p.status.ClusterID
	t.NoQuorum = p.quorum().status == no
	leader := p.leader().GetMemberId()
	for i := range p.seen.pods {
		pod := &p.seen.pods[i]
		if _, ok := p.seatOf(pod.Name); !ok {
			continue
		}
		m := projector.Member{Endpoint: endpoint(pod), ID: p.seen.answers[pod.Name].Status.GetMemberId()}
		t.Members = append(t.Members, m)
		if leader != 0 && m.ID == leader {
			t.Leader = pod.Name
		}
	}
	p.Projection.Follow(t)
}

// setProjected takes what is shown of sessions and Leases from the projection. Until
// it has something to say, what was shown before stays, and is not said to be fresh.
func (p *pass) setProjected() {
	v, ok := p.Projection.View(p.key)
	if ok && v.Sessions != nil {
		p.status.Sessions, p.status.Leases = v.Sessions, v.Leases
	}
	for kind, c := range map[string]metav1.Condition{v1alpha1.ConditionSessionsSynced: v.SessionsSynced, v1alpha1.ConditionLeasesSynced: v.LeasesSynced} {
		o := p.overall(kind)
		switch {
		case o != nil:
		case ok:
			o = &verdict{c.Status, c.Reason, c.Message}
		case !p.founded():
			o = &verdict{no, v1alpha1.ReasonNotFounded, "there is no ensemble yet"}
		default:
			o = &verdict{no, v1alpha1.ReasonConnecting, "the leader's stream has not been read yet"}
			if p.status.Sessions != nil && meta.FindStatusCondition(p.status.Conditions, kind) != nil {
				o.message += ": what is shown is of an earlier time"
			}
		}
		p.condition(kind, *o)
	}
}
