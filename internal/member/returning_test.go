package member

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// startAgain restarts a member that has ended to be started over.
func (e *ensemble) startAgain(n int) {
	e.t.Helper()
	select {
	case <-e.members[n-1].Failed():
	case <-time.After(patience):
		e.t.Fatal("it does not start over")
	}
	if err := e.members[n-1].Err(); !errors.Is(err, ErrStartOver) {
		e.t.Fatal(err)
	}
	e.stop(n)
	e.start(n)
}

// A member that was removed while it was away refuses to serve when it returns,
// also after another restart; told to start clean, it moves its data aside and
// can be taken in again, under another id.
func TestRemovedWhileAway(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.await = true
	for n := 1; n <= 3; n++ {
		e.start(n)
	}
	ctx := e.order()
	check(t, e.source(1).Bootstrap(ctx, testCluster, e.id(1)))
	e.grow(2)
	e.grow(3)
	old := e.id(3)
	if e.leader() == 3 {
		_, err := e.source(3).TransferLeadership(ctx, e.id(1))
		check(t, err)
	}
	refused(t, func() error {
		_, err := e.source(3).StartClean(ctx, admin.StartClean{ClusterID: testCluster, Member: old})
		return err
	}(), adminpb.RefusalReason_REFUSAL_REASON_NOT_REFUSING)
	e.stop(3)
	e.leader()
	eventually(t, "the silent voter can't be removed", func() bool {
		lead, index := e.lead()
		return lead.Remove(ctx, index, old) == nil
	})
	for range 2 {
		e.start(3)
		eventually(t, "it does not refuse to serve", func() bool { return e.source(3).Status().Membership == adminpb.Membership_MEMBERSHIP_REMOVED })
		st := e.source(3).Status()
		if ok, why := st.Ready(); ok || st.Serving || !strings.Contains(st.MembershipReason, "has removed this member") || st.MemberID != old {
			t.Fatalf("%+v, %s", st, why)
		}
		if e.source(1).Status().Serving == false {
			t.Error("the ensemble is disturbed")
		}
		if nc, err := net.Dial("tcp", e.addr(3)); err == nil {
			nc.Close()
		}
		if _, err := e.source(3).StartClean(ctx, admin.StartClean{ClusterID: testCluster, Member: old + 1}); err == nil {
			t.Fatal("started clean under another's id")
		}
		refused(t, e.source(3).Bootstrap(ctx, testCluster, old), adminpb.RefusalReason_REFUSAL_REASON_OTHER_ENSEMBLE)
		lead, index := e.lead()
		refused(t, lead.AddLearner(ctx, index, e.peer(3)), adminpb.RefusalReason_REFUSAL_REASON_OTHER_ENSEMBLE)
		e.stop(3)
	}
	e.start(3)
	eventually(t, "it does not refuse to serve", func() bool { return e.source(3).Status().Membership == adminpb.Membership_MEMBERSHIP_REMOVED })
	to, err := e.source(3).StartClean(ctx, admin.StartClean{ClusterID: testCluster, Member: old})
	check(t, err)
	e.startAgain(3)
	if st := e.source(3).Status(); st.Membership != adminpb.Membership_MEMBERSHIP_AWAITING || st.MemberID == old || st.ClusterID != "" {
		t.Fatalf("started clean: %+v", st)
	}
	suffix := to[strings.LastIndex(to, "."):]
	for _, pattern := range []string{"identity", "snap/*", "log/*"} {
		if found, _ := filepath.Glob(filepath.Join(e.dir, "3", "conclave", pattern) + suffix); len(found) == 0 {
			t.Errorf("no %s%s is left of its old data", pattern, suffix)
		}
	}
	e.grow(3)
	e.sameState()
}

// A member whose disk was emptied is another member: it waits, and never
// forms an ensemble by itself.
func TestEmptiedMemberWaits(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.await = true
	for n := 1; n <= 3; n++ {
		e.start(n)
	}
	check(t, e.source(1).Bootstrap(e.order(), testCluster, e.id(1)))
	e.grow(2)
	e.grow(3)
	old := e.id(3)
	e.stop(3)
	check(t, os.RemoveAll(filepath.Join(e.dir, "3", "conclave")))
	e.start(3)
	if st := e.source(3).Status(); st.Membership != adminpb.Membership_MEMBERSHIP_AWAITING || st.MemberID == old {
		t.Fatalf("%+v", st)
	}
	e.grow(3) // in the seat that it had
	if got := e.voters(1); got != 3 {
		t.Fatalf("%d voters", got)
	}
	if _, ok := e.members[0].node.Load().Members().Get(old); ok {
		t.Error("its old id is still a member")
	}
	e.sameState()
}

// A directory of another ensemble is refused where it does not belong, and the
// ensemble there is not disturbed.
func TestForeignEnsemble(t *testing.T) {
	t.Parallel()
	a := newEnsemble(t, 3, "")
	a.startAll()
	b := newEnsemble(t, 3, "")
	b.startAll()
	// Member 3 of b's directory, under a's configuration.
	b.stop(3)
	id := a.id(3)
	a.stop(3)
	check(t, os.Rename(filepath.Join(a.dir, "3"), filepath.Join(a.dir, "kept")))
	check(t, os.Rename(filepath.Join(b.dir, "3"), filepath.Join(a.dir, "3")))
	a.start(3)
	eventually(t, "it does not refuse to serve", func() bool { return a.source(3).Status().Membership == adminpb.Membership_MEMBERSHIP_FOREIGN })
	st := a.source(3).Status()
	ours := a.source(1).Status()
	if st.Serving || !strings.Contains(st.MembershipReason, ours.ClusterID) || !strings.Contains(st.MembershipReason, st.ClusterID) {
		t.Fatalf("%+v", st)
	}
	if !ours.Serving {
		t.Error("the ensemble is disturbed")
	}
	eventually(t, "who answers is not named", func() bool {
		for _, s := range a.source(3).Sightings() {
			if s.Name == 1 && s.Answers && s.ClusterID == ours.ClusterID && strings.Contains(s.Problem, "belongs to ensemble") {
				return true
			}
		}
		return false
	})
	// Started clean it joins by itself, as any server of the configuration.
	_, err := a.source(3).StartClean(a.order(), admin.StartClean{ClusterID: st.ClusterID, Member: st.MemberID})
	check(t, err)
	a.startAgain(3)
	eventually(t, "it does not become a voter", func() bool { return a.members[2].node.Load() != nil && a.isVoter(1, 3) })
	if a.id(3) == id || a.id(3) == st.MemberID {
		t.Error("it came back under an old id")
	}
	a.ready()
	a.sameState()
}
