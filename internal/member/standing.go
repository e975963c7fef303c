package member

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/replica"
	"github.com/conclave-dev/conclave/internal/storage"
)

// standing is where a member stands with its ensemble.
type standing struct {
	state adminpb.Membership
	// reason is why it refuses to serve, or what it waits for.
	reason string
}

// refuses: the member does not serve, and will not by itself.
func (s *standing) refuses() bool {
	switch s.state {
	case adminpb.Membership_MEMBERSHIP_REMOVED, adminpb.Membership_MEMBERSHIP_FOREIGN, adminpb.Membership_MEMBERSHIP_SUPERSEDED,
		adminpb.Membership_MEMBERSHIP_UNREADABLE:
		return true
	}
	return false
}

func (m *Member) stand(state adminpb.Membership, reason string) {
	m.standing.Store(&standing{state, reason})
}

// ErrStartOver is why a member ends that is to be started again, with the same
// options, in its place: it was told to start clean, or to recover.
var ErrStartOver = errors.New("member: to be started again")

// cleanHint is what a person can do about a member that refuses.
const cleanHint = "to let it join anew, with its data moved aside, order: conclave-server member start-clean"

// storedRefusal is what the identity says of the member's standing, if it must
// not serve.
func storedRefusal(id storage.Identity) (state adminpb.Membership, reason string, ok bool) {
	switch {
	case id.SupersededBy != "":
		return adminpb.Membership_MEMBERSHIP_SUPERSEDED, id.Refusal, true
	case id.Removed:
		return adminpb.Membership_MEMBERSHIP_REMOVED, id.Refusal, true
	}
	return 0, "", false
}

// refuseForGood makes the member refuse to serve now and after every restart,
// until it is told to start clean. why says what happened.
func (m *Member) refuseForGood(supersededBy, why string) {
	m.orders.Lock()
	defer m.orders.Unlock()
	if m.standing.Load().refuses() {
		return
	}
	err := m.dir.Identity.Update(func(id *storage.Identity) {
		id.Removed, id.SupersededBy, id.Refusal = supersededBy == "", supersededBy, why+"; "+cleanHint
	})
	if err != nil {
		m.fail(err)
		return
	}
	state, reason, _ := storedRefusal(m.dir.Identity.Get())
	m.refuse(state, reason)
}

// refuse ends the member's part in its ensemble: it answers the admin API and
// those who ask who it is, and nobody else.
func (m *Member) refuse(state adminpb.Membership, reason string) {
	m.stand(state, reason)
	m.log.Error("this member refuses to serve", "reason", reason)
	m.server.SetServing(false)
	if m.transport != nil {
		// Under no identity, it is sent nothing.
		m.transport.SetIdentity([16]byte{}, 0)
		m.transport.SetPeers(nil)
	}
	if n := m.node.Load(); n != nil {
		n.Stop()
		m.app().RoleChanged(replica.Role{Term: n.Role().Term})
		m.server.CloseAll(1<<30, func() {})
	}
}

// StartClean implements admin.Orders.
func (s *source) StartClean(_ context.Context, req admin.StartClean) (string, error) {
	m := (*Member)(s)
	m.orders.Lock()
	defer m.orders.Unlock()
	id := m.dir.Identity.Get()
	cluster, member := req.ClusterID, req.Member
	nobody := id.MemberID == 0 && m.standing.Load().state == adminpb.Membership_MEMBERSHIP_UNREADABLE
	if nobody && req.Unreadable && cluster == "" && member == 0 {
		return m.startDamagedClean()
	}
	switch st := m.standing.Load(); {
	case nobody:
		return "", admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER,
			"the identity in this member's directory can't be read, so that nobody can tell whether it is member %x: to start it clean, name no ids, and say that its identity is unreadable", member)
	case req.Unreadable:
		return "", admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER,
			"the identity in this member's directory is readable: it is member %x of ensemble %q", id.MemberID, id.ClusterID)
	case id.MemberID != member || id.ClusterID != cluster:
		return "", admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER,
			"this is member %x of ensemble %q, and the one to start clean is member %x of ensemble %q", id.MemberID, id.ClusterID, member, cluster)
	case !st.refuses():
		return "", admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_NOT_REFUSING,
			"this member does not refuse to serve (%s): its data is good, and is not given up", membershipText(st.state))
	}
	if err := m.dir.Identity.Update(func(id *storage.Identity) { id.MoveAside = true }); err != nil {
		m.fail(err)
		return "", err
	}
	m.log.Warn("told to start clean: the data is moved aside, and the member starts over", "cluster", cluster, "member", fmt.Sprintf("%x", member))
	m.startOver()
	return m.whereAside(storage.AsideSuffix(member)), nil
}

func (m *Member) whereAside(suffix string) string {
	return filepath.Join(m.cfg.DataDir, "conclave") + " (and the log's directory), under names that end in " + suffix
}

// startOver ends the member, to be started again. The order that wanted it is
// answered first.
func (m *Member) startOver() {
	m.work.Go(func() {
		select {
		case <-time.After(answerTime):
		case <-m.stop:
		}
		m.fail(ErrStartOver)
	})
}

// answerTime is how long a member that starts over stays, so that the answer
// to the order is not lost with it.
const answerTime = 100 * time.Millisecond

func membershipText(s adminpb.Membership) string {
	switch s {
	case adminpb.Membership_MEMBERSHIP_AWAITING:
		return "it waits to be told its ensemble"
	case adminpb.Membership_MEMBERSHIP_FORMING:
		return "it founds or joins its ensemble"
	case adminpb.Membership_MEMBERSHIP_MEMBER:
		return "it is a member"
	}
	return "it refuses to serve"
}
