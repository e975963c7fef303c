package member

import (
	"context"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/replica/formation"
	"github.com/conclave-dev/conclave/internal/statemachine"
)

// await waits until the member is told which ensemble it belongs to. It never
// concludes that by itself.
func (m *Member) await(ctx context.Context) error {
	m.log.Info("waiting to be told which ensemble this member belongs to (--await-bootstrap)", "member", m.hexID())
	select {
	case <-m.settled:
		return nil
	case <-ctx.Done():
		return errStopping
	}
}

// settle tells await that the member belongs to an ensemble now. The caller
// holds m.orders.
func (m *Member) settle() {
	m.stand(adminpb.Membership_MEMBERSHIP_MEMBER, "")
	close(m.settled)
}

// Bootstrap implements admin.Orders.
func (s *source) Bootstrap(_ context.Context, cluster string, member uint64) error {
	m := (*Member)(s)
	m.orders.Lock()
	defer m.orders.Unlock()
	id, st := m.dir.Identity.Get(), m.standing.Load()
	switch {
	case cluster == "" || len(cluster) != 2*len(formation.ClusterID{}) || clusterID(cluster).IsZero() || clusterID(cluster).String() != cluster:
		return admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_BAD_REQUEST, "cluster_id %q: must be 32 hexadecimal digits in lower case, not all zero", cluster)
	case member != id.MemberID:
		return admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER, "this is member %x, and the one to begin with is member %x", id.MemberID, member)
	case id.ClusterID == cluster && !st.refuses():
		return nil
	case id.ClusterID != "":
		return admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_OTHER_ENSEMBLE, "this member belongs to ensemble %s (%s); it makes no other", id.ClusterID, membershipText(st.state))
	case st.state != adminpb.Membership_MEMBERSHIP_AWAITING:
		return admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_NOT_AWAITING, "this member was not started with --await-bootstrap: its server lines say which ensemble it founds or joins")
	}
	p, _ := m.configured(m.cfg.MyID)
	p.ID, p.Voter, p.Observer = id.MemberID, true, false
	if err := m.found(cluster, []statemachine.Member{p}, wallMillis()); err != nil {
		m.fail(err)
		return err
	}
	m.log.Info("founded the ensemble, as it was told to", "cluster", cluster, "member", m.hexID())
	m.settle()
	return nil
}
