package controllers

import (
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

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
	// Wakes are the clusters whose views have changed. Each change has had its turn
	// among writes of status.
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
