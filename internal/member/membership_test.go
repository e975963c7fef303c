package member

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/jute"
)

const testCluster = "00112233445566778899aabbccddeeff"

func (e *ensemble) source(n int) *source { return (*source)(e.members[n-1]) }

func (e *ensemble) id(n int) uint64 { return e.members[n-1].dir.Identity.Get().MemberID }

// order is a context for one order.
func (e *ensemble) order() context.Context {
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	e.t.Cleanup(cancel)
	return ctx
}

// lead returns the leader's surface and the index of its membership.
func (e *ensemble) lead() (*source, uint64) {
	e.t.Helper()
	s := e.source(e.leader())
	return s, s.Status().ConfigIndex
}

// peer is member n as an order names it.
func (e *ensemble) peer(n int) admin.Peer {
	line, _ := e.members[n-1].configured(n)
	return admin.Peer{ID: e.id(n), Name: n, Host: line.Host, PeerPort: line.PeerPort, ElectionPort: line.ElectionPort, ClientHost: line.ClientHost, ClientPort: line.ClientPort}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused fails unless err is a refusal for this reason.
func refused(t *testing.T, err error, why admin.RefusalReason) {
	t.Helper()
	var r *admin.Refused
	if !errors.As(err, &r) || r.Reason != why || r.Text == "" {
		t.Fatalf("%v; want a refusal: %v", err, why)
	}
}

// grow takes member n in and makes it a voter.
func (e *ensemble) grow(n int) {
	e.t.Helper()
	eventually(e.t, "it is not taken in", func() bool {
		lead, index := e.lead()
		err := lead.AddLearner(e.order(), index, e.peer(n))
		var r *admin.Refused
		if err != nil && !(errors.As(err, &r) && r.Reason == adminpb.RefusalReason_REFUSAL_REASON_NAME_TAKEN) {
			e.t.Fatal(err)
		}
		return err == nil // the one before it was silent for too short a time
	})
	eventually(e.t, "the learner is never promoted", func() bool {
		lead, index := e.lead()
		return lead.Promote(e.order(), index, e.id(n), 10) == nil
	})
	eventually(e.t, "the new voter does not serve", func() bool { st := e.source(n).Status(); ok, _ := st.Ready(); return ok })
}

// shrink takes member n out, as an operator does: leadership is handed over
// before.
func (e *ensemble) shrink(n, keep int) {
	e.t.Helper()
	if e.leader() == n {
		_, err := e.source(n).TransferLeadership(e.order(), e.id(keep))
		check(e.t, err)
		eventually(e.t, "nobody took over", func() bool { return e.leader() == keep })
	}
	eventually(e.t, "it can't be removed", func() bool {
		lead, index := e.lead()
		err := lead.Remove(e.order(), index, e.id(n))
		var r *admin.Refused
		if err != nil && !(errors.As(err, &r) && r.Reason == adminpb.RefusalReason_REFUSAL_REASON_QUORUM_AT_RISK) && !errors.Is(err, admin.ErrNotLeader) {
			e.t.Fatal(err)
		}
		return err == nil
	})
}

// One member is told to begin, grows to three and five and shrinks again, under
// writes; every session lives.
func TestGrowAndShrink(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 5, "snapCount=200\n")
	e.await = true
	for n := 1; n <= 5; n++ {
		e.start(n)
	}
	for n := 1; n <= 5; n++ {
		if st := e.source(n).Status(); st.Membership != adminpb.Membership_MEMBERSHIP_AWAITING || st.MemberID == 0 || st.ClusterID != "" || st.Serving {
			t.Fatalf("member %d, waiting: %+v", n, st)
		}
	}
	check(t, e.source(1).Bootstrap(e.order(), testCluster, e.id(1)))
	eventually(t, "the first member does not serve", func() bool { st := e.source(1).Status(); ok, _ := st.Ready(); return ok })
	c := e.connect(1, 60*time.Second, nil)
	c.mustCreate("/n", jute.ModePersistent)
	c.mustCreate("/mine", jute.ModeEphemeral)
	writes := 0
	write := func() {
		t.Helper()
		for range 20 {
			if code := c.set("/n", strconv.Itoa(writes)); code != jute.OK {
				t.Fatal(code)
			}
			writes++
		}
	}
	for n := 2; n <= 5; n++ {
		write()
		e.grow(n)
		if got := e.voters(1); got != n {
			t.Fatalf("%d voters, want %d", got, n)
		}
		if got := strings.Count(e.config(n), ":participant"); got != n {
			t.Fatalf("through member %d the configuration is\n%s", n, e.config(n))
		}
	}
	write()
	e.sameState()
	for n := 5; n >= 2; n-- {
		e.shrink(n, 1)
		write()
		eventually(t, "the removed member does not know", func() bool {
			st := e.source(n).Status()
			return st.Membership == adminpb.Membership_MEMBERSHIP_REMOVED && !st.Serving && strings.Contains(st.MembershipReason, "start-clean")
		})
	}
	if got := e.voters(1); got != 1 {
		t.Fatalf("%d voters", got)
	}
	if _, st, code := c.get("/n", false); code != jute.OK || int(st.Version) != writes {
		t.Errorf("after %d writes: version %d, %v", writes, st.Version, code)
	}
	if _, st, code := c.get("/mine", false); code != jute.OK || st.EphemeralOwner != c.session {
		t.Errorf("the ephemeral: %v", code)
	}
}

// What has been done is not done again, and what was planned on another
// membership is not done at all.
func TestRepeatedAndStaleOrders(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.await = true
	for n := 1; n <= 3; n++ {
		e.start(n)
	}
	ctx := e.order()
	refused(t, e.source(1).Bootstrap(ctx, "short", e.id(1)), adminpb.RefusalReason_REFUSAL_REASON_BAD_REQUEST)
	refused(t, e.source(1).Bootstrap(ctx, strings.ToUpper(testCluster), e.id(1)), adminpb.RefusalReason_REFUSAL_REASON_BAD_REQUEST)
	refused(t, e.source(1).Bootstrap(ctx, testCluster, e.id(2)), adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER)
	check(t, e.source(1).Bootstrap(ctx, testCluster, e.id(1)))
	check(t, e.source(1).Bootstrap(ctx, testCluster, e.id(1)))
	other := strings.Replace(testCluster, "0", "1", 1)
	refused(t, e.source(1).Bootstrap(ctx, other, e.id(1)), adminpb.RefusalReason_REFUSAL_REASON_OTHER_ENSEMBLE)

	lead, index := e.lead()
	refused(t, lead.Promote(ctx, index, e.id(2), 0), adminpb.RefusalReason_REFUSAL_REASON_NOT_A_MEMBER)
	check(t, lead.Remove(ctx, index, e.id(2))) // it is not in
	refused(t, lead.AddLearner(ctx, index+1, e.peer(2)), adminpb.RefusalReason_REFUSAL_REASON_CONFIGURATION_MOVED)
	wrong := e.peer(2)
	wrong.ID++
	refused(t, lead.AddLearner(ctx, index, wrong), adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER)
	nobody := e.peer(2)
	nobody.PeerPort = claimPort + 100
	refused(t, lead.AddLearner(ctx, index, nobody), adminpb.RefusalReason_REFUSAL_REASON_UNREACHABLE)
	if got := lead.Status().ConfigIndex; got != index {
		t.Fatalf("what was refused has moved the membership from %d to %d", index, got)
	}

	check(t, lead.AddLearner(ctx, index, e.peer(2)))
	after := lead.Status().ConfigIndex
	check(t, lead.AddLearner(ctx, index, e.peer(2))) // the answer was lost
	if got := lead.Status().ConfigIndex; got != after || got == index {
		t.Fatalf("repeated, it has moved the membership from %d to %d", after, got)
	}
	refused(t, lead.AddLearner(ctx, index, e.peer(3)), adminpb.RefusalReason_REFUSAL_REASON_CONFIGURATION_MOVED)
	renamed := e.peer(2)
	renamed.Name = 7
	refused(t, lead.AddLearner(ctx, after, renamed), adminpb.RefusalReason_REFUSAL_REASON_DIFFERS)
	refused(t, e.source(2).Bootstrap(ctx, other, e.id(2)), adminpb.RefusalReason_REFUSAL_REASON_OTHER_ENSEMBLE)
	if err := e.source(3).Promote(ctx, after, e.id(2), 0); err == nil || !strings.Contains(err.Error(), "in no ensemble") {
		t.Fatalf("a member that waits: %v", err)
	}

	eventually(t, "it is never promoted", func() bool { return lead.Promote(ctx, after, e.id(2), 0) == nil })
	after = lead.Status().ConfigIndex
	check(t, lead.Promote(ctx, 1, e.id(2), 0))
	eventually(t, "the follower knows its leader", func() bool { return e.source(2).Status().LeaderID == e.id(1) })
	if err := e.source(2).Promote(ctx, after, e.id(2), 0); !errors.Is(err, admin.ErrNotLeader) || !strings.Contains(err.Error(), "server.1") {
		t.Fatalf("a follower: %v", err)
	}
	refused(t, lead.Remove(ctx, after, e.id(1)), adminpb.RefusalReason_REFUSAL_REASON_IS_LEADER)
	e.stop(2)
	eventually(t, "the leader alone goes on", func() bool { return !e.source(1).Status().HasQuorum })
	e.start(2)
	eventually(t, "two of two do not serve", func() bool { return e.source(1).Status().HasQuorum && e.source(2).Status().HasQuorum })
	// Without the second voter nothing may be taken away that is needed.
	lead, index = e.lead()
	id := e.id(3 - e.leader())
	if err := lead.Remove(ctx, index, id); err != nil { // two voters, both alive: one may go
		t.Fatal(err)
	}
	lead, index = e.lead()
	refused(t, lead.Remove(ctx, index, lead.Status().MemberID), adminpb.RefusalReason_REFUSAL_REASON_LAST_VOTER)
}

// A learner that is too far behind gets no vote, however often it is asked for.
func TestPromotedTooEarly(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 2, "")
	e.await = true
	e.start(1)
	e.start(2)
	ctx := e.order()
	check(t, e.source(1).Bootstrap(ctx, testCluster, e.id(1)))
	lead, index := e.lead()
	peer := e.peer(2)
	check(t, lead.AddLearner(ctx, index, peer))
	eventually(t, "the learner does not catch up", func() bool { st := e.source(2).Status(); ok, _ := st.Ready(); return ok })
	e.stop(2)
	c := e.connect(1, 60*time.Second, nil)
	c.mustCreate("/n", jute.ModePersistent)
	for i := range 50 {
		c.set("/n", strconv.Itoa(i))
	}
	index = lead.Status().ConfigIndex
	refused(t, lead.Promote(ctx, index, peer.ID, 10), adminpb.RefusalReason_REFUSAL_REASON_LAGGING)
	if got := e.voters(1); got != 1 {
		t.Fatalf("%d voters", got)
	}
	if strings.Contains(e.config(1), "server.2") {
		t.Errorf("a learner is shown to clients:\n%s", e.config(1))
	}
	// It restarts without having been told again, and catches up.
	e.start(2)
	eventually(t, "it is never promoted", func() bool { return lead.Promote(ctx, index, peer.ID, 10) == nil })
	eventually(t, "the new voter does not serve", func() bool { st := e.source(2).Status(); ok, _ := st.Ready(); return ok })
	if !strings.Contains(e.config(2), "server.2") {
		t.Errorf("the new voter is not shown:\n%s", e.config(2))
	}
}

// The operator's way, through the API itself: it knows addresses, and what
// Status says.
func TestOperatorsCalls(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 2, "")
	e.await = true
	e.start(1)
	e.start(2)
	var clients [2]adminpb.AdminClient // one connection each: a member takes a bounded number
	for i := range clients {
		conn, err := grpc.NewClient("unix:"+admin.SocketPath(filepath.Join(e.dir, strconv.Itoa(i+1))), grpc.WithTransportCredentials(insecure.NewCredentials()))
		check(t, err)
		t.Cleanup(func() { conn.Close() })
		clients[i] = adminpb.NewAdminClient(conn)
	}
	api := func(n int) adminpb.AdminClient { return clients[n-1] }
	ctx := e.order()
	status1 := func() *adminpb.StatusResponse {
		st, err := api(1).Status(ctx, &adminpb.StatusRequest{})
		check(t, err)
		return st
	}
	second, err := api(2).Status(ctx, &adminpb.StatusRequest{})
	check(t, err)
	if second.GetMembership() != adminpb.Membership_MEMBERSHIP_AWAITING || second.GetPeerAddress() == "" || second.GetClientAddress() == "" {
		t.Fatalf("%v", second)
	}
	_, err = api(1).Bootstrap(ctx, &adminpb.BootstrapRequest{ClusterId: testCluster, MemberId: status1().GetMemberId()})
	check(t, err)
	eventually(t, "it does not lead", func() bool { return status1().GetRole() == adminpb.Role_ROLE_LEADER })
	st := status1()
	add := &adminpb.AddLearnerRequest{ConfigurationIndex: st.GetConfigurationIndex(), MemberId: second.GetMemberId(), Name: 2, PeerAddress: second.GetPeerAddress(), ClientAddress: second.GetClientAddress()}
	for range 2 {
		got, err := api(1).AddLearner(ctx, add)
		check(t, err)
		if len(got.GetVoters()) != 1 || len(got.GetLearners()) != 1 || got.GetLearners()[0].GetId() != second.GetMemberId() || got.GetConfigurationIndex() <= st.GetConfigurationIndex() {
			t.Fatalf("%v", got)
		}
		st.ConfigurationIndex = got.GetConfigurationIndex() - 1
	}
	promote := &adminpb.PromoteRequest{ConfigurationIndex: status1().GetConfigurationIndex(), MemberId: second.GetMemberId()}
	_, err = api(2).Promote(ctx, promote)
	if code := status.Code(err); code != codes.FailedPrecondition || len(status.Convert(err).Details()) != 1 {
		t.Fatalf("ordered from a learner: %v", err)
	}
	eventually(t, "it is not promoted", func() bool { _, err := api(1).Promote(ctx, promote); return err == nil })
	eventually(t, "it does not serve", func() bool { st := e.source(2).Status(); ok, _ := st.Ready(); return ok })
	stream, err := api(2).Snapshot(ctx, &adminpb.SnapshotRequest{})
	check(t, err)
	first, err := stream.Recv()
	if err != nil || first.GetHeader().GetClusterId() != testCluster || first.GetHeader().GetIndex() == 0 {
		t.Fatalf("%v, %v", first, err)
	}
	if part, err := stream.Recv(); err != nil || len(part.GetData()) == 0 {
		t.Fatal(err)
	}
}

// A member that is added as an observer serves clients, and never gets a vote:
// not by itself, not by an order, and not after a restart.
func TestObserverByOrder(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 2, "")
	e.await = true
	e.start(1)
	e.start(2)
	check(t, e.source(1).Bootstrap(e.order(), testCluster, e.id(1)))
	e.ready1(1)
	p := e.peer(2)
	p.Observer = true
	for range 2 { // repeated, it is a success
		eventually(t, "it is not taken in", func() bool {
			_, index := e.lead()
			err := e.source(1).AddLearner(e.order(), index, p)
			var r *admin.Refused
			if err != nil && !(errors.As(err, &r) && r.Reason == adminpb.RefusalReason_REFUSAL_REASON_UNREACHABLE) && !errors.Is(err, admin.ErrUnavailable) {
				t.Fatal(err)
			}
			return err == nil // a busy machine answers late
		})
	}
	e.ready1(2)
	e.connect(2, 10*time.Second, nil).mustCreate("/through-the-observer", jute.ModePersistent)
	refuses := func() {
		t.Helper()
		_, index := e.lead()
		refused(t, e.source(1).Promote(e.order(), index, e.id(2), 0), adminpb.RefusalReason_REFUSAL_REASON_OBSERVER)
		st, err := e.api(2).Status(e.order(), &adminpb.StatusRequest{})
		check(t, err)
		if len(st.GetVoters()) != 1 || len(st.GetLearners()) != 1 || !st.GetLearners()[0].GetObserver() || st.GetRole() != adminpb.Role_ROLE_OBSERVER {
			t.Errorf("%v", st)
		}
	}
	refuses()
	e.stop(2)
	e.start(2)
	e.ready1(2)
	refuses()
}

// ready1 waits until member n is ready.
func (e *ensemble) ready1(n int) {
	e.t.Helper()
	eventually(e.t, fmt.Sprintf("member %d is not ready", n), func() bool { st := e.source(n).Status(); ok, _ := st.Ready(); return ok })
}
