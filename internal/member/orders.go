package member

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/replica"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/zooconfig"
)

func (m *Member) hexID() string { return fmt.Sprintf("%x", m.dir.Identity.Get().MemberID) }

// leading returns the replica if this member leads.
func (m *Member) leading() (*replica.Node, error) {
	n := m.node.Load()
	switch {
	case n == nil || m.standing.Load().refuses():
		return nil, admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_NOT_LEADER, "this member is in no ensemble: %s", membershipText(m.standing.Load().state))
	case !n.Role().IsLeader:
		return nil, m.notLeader(n)
	}
	return n, nil
}

func (m *Member) notLeader(n *replica.Node) error {
	lead, ok := n.Members().Get(n.Role().Leader)
	if !ok {
		return fmt.Errorf("%w, and no other does: no majority of the voters can be reached, or an election is under way", admin.ErrNotLeader)
	}
	return fmt.Errorf("%w: server.%d (member %x) does", admin.ErrNotLeader, lead.Name, lead.ID)
}

// AddLearner implements admin.Orders.
func (s *source) AddLearner(ctx context.Context, index uint64, p admin.Peer) error {
	m := (*Member)(s)
	n, err := m.leading()
	if err != nil {
		return err
	}
	if p.Name < 0 || p.Name > zooconfig.MaxServerID {
		return admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_BAD_REQUEST, "name %d: must be 0 to %d", p.Name, zooconfig.MaxServerID)
	}
	if m.transport == nil {
		return admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_NOT_AWAITING, "this is an ensemble of one without a peer port: others can't reach it; give it a server line and standaloneEnabled=false, and start it again")
	}
	addr := net.JoinHostPort(p.Host, strconv.Itoa(p.PeerPort))
	there, err := m.askWho(ctx, addr)
	if err != nil {
		return admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_UNREACHABLE, "no member answers at %s: %v", addr, err)
	}
	if why, text := candidate(there, p.ID, *m.clusterID.Load()); why != 0 {
		return admin.Refuse(why, "%s: %s", addr, text)
	}
	_, err = n.AddLearner(ctx, index, statemachine.Member{
		ID: p.ID, Name: p.Name, Observer: p.Observer, Host: p.Host, PeerPort: p.PeerPort, ElectionPort: p.ElectionPort,
		ClientHost: p.ClientHost, ClientPort: p.ClientPort,
	})
	if err != nil {
		return m.changeError(n, err)
	}
	m.log.Info("a member was added as a learner", "server", p.Name, "member", fmt.Sprintf("%x", p.ID), "observer", p.Observer, "address", addr)
	if there.ClusterID == "" {
		if err := m.invite(ctx, addr, p.ID); err != nil && there.Awaiting { // others join by themselves
			return fmt.Errorf("%w: server.%d is in the ensemble, but could not be told so: %v; call again", admin.ErrUnavailable, p.Name, err)
		}
	}
	return nil
}

// candidate judges whether the process that answers may be taken in as member
// id of the ensemble; why is 0 if so.
func candidate(there *whoReply, id uint64, cluster string) (why admin.RefusalReason, text string) {
	switch {
	case there.MemberID != id:
		return adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER, fmt.Sprintf("server.%d (member %x) answers there, and not member %x", there.Name, there.MemberID, id)
	case there.ClusterID != "" && there.ClusterID != cluster:
		return adminpb.RefusalReason_REFUSAL_REASON_OTHER_ENSEMBLE, fmt.Sprintf("server.%d (member %x) belongs to ensemble %s, and this is %s", there.Name, id, there.ClusterID, cluster)
	case there.Refusal != "":
		return adminpb.RefusalReason_REFUSAL_REASON_OTHER_ENSEMBLE, fmt.Sprintf("server.%d (member %x) refuses to serve: %s", there.Name, id, there.Refusal)
	}
	return 0, ""
}

// Promote implements admin.Orders.
func (s *source) Promote(ctx context.Context, index, member, maxLag uint64) error {
	m := (*Member)(s)
	n, err := m.leading()
	if err != nil {
		return err
	}
	if _, err = n.Promote(ctx, index, member, maxLag); err != nil {
		return m.changeError(n, err)
	}
	m.log.Info("a member was promoted", "member", fmt.Sprintf("%x", member))
	return nil
}

// Remove implements admin.Orders.
func (s *source) Remove(ctx context.Context, index, member uint64) error {
	m := (*Member)(s)
	n, err := m.leading()
	if err != nil {
		return err
	}
	if _, err = n.Remove(ctx, index, member); err != nil {
		return m.changeError(n, err)
	}
	m.log.Info("a member was removed", "member", fmt.Sprintf("%x", member))
	return nil
}

// changeError says an error of the replica in the words of the admin API.
func (m *Member) changeError(n *replica.Node, err error) error {
	var refused *replica.Refusal
	switch {
	case errors.As(err, &refused):
		return &admin.Refused{Reason: refusalReasons[refused.Why], Text: refused.Reason}
	case errors.Is(err, replica.ErrNotLeader):
		return m.notLeader(n)
	case errors.Is(err, replica.ErrStopped):
		return fmt.Errorf("%w: %v", admin.ErrUnavailable, err)
	}
	return err
}

var refusalReasons = map[replica.Why]admin.RefusalReason{
	replica.WhyNotLeader: adminpb.RefusalReason_REFUSAL_REASON_NOT_LEADER,
	replica.WhyMoved:     adminpb.RefusalReason_REFUSAL_REASON_CONFIGURATION_MOVED,
	replica.WhyNotMember: adminpb.RefusalReason_REFUSAL_REASON_NOT_A_MEMBER,
	replica.WhyNameTaken: adminpb.RefusalReason_REFUSAL_REASON_NAME_TAKEN,
	replica.WhyDiffers:   adminpb.RefusalReason_REFUSAL_REASON_DIFFERS,
	replica.WhyObserver:  adminpb.RefusalReason_REFUSAL_REASON_OBSERVER,
	replica.WhyLagging:   adminpb.RefusalReason_REFUSAL_REASON_LAGGING,
	replica.WhyLeader:    adminpb.RefusalReason_REFUSAL_REASON_IS_LEADER,
	replica.WhyLastVoter: adminpb.RefusalReason_REFUSAL_REASON_LAST_VOTER,
	replica.WhyQuorum:    adminpb.RefusalReason_REFUSAL_REASON_QUORUM_AT_RISK,
}

// OpenSnapshot implements admin.Orders.
func (s *source) OpenSnapshot(ctx context.Context) (admin.SnapshotFile, error) {
	m := (*Member)(s)
	snap, err := s.TakeSnapshot(ctx)
	if err != nil {
		return admin.SnapshotFile{}, err
	}
	meta := m.node.Load().NewestSnapshot()
	if meta.Index == 0 {
		return admin.SnapshotFile{}, fmt.Errorf("%w: this member has just joined, and has nothing yet", admin.ErrUnavailable)
	}
	raw, err := m.dir.Snapshots.OpenRaw(meta)
	if err != nil {
		return admin.SnapshotFile{}, err
	}
	snap.Zxid, snap.Index = meta.Zxid, meta.Index
	return admin.SnapshotFile{Snapshot: snap, Term: meta.Term, ReadCloser: raw}, nil
}
