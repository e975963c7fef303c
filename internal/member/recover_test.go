package member

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage"
	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

func voted(n int, answers bool, lastIndex uint64) sight {
	return sight{
		Sighting: admin.Sighting{ID: uint64(n), Name: n, Voter: true, Answers: answers},
		said:     &whoReply{ClusterID: "c", MemberID: uint64(n), Name: n, LastIndex: lastIndex},
	}
}

func TestWhatIsRecoverable(t *testing.T) {
	five := statemachine.Members{Index: 3}
	for n := 1; n <= 5; n++ {
		five.List = append(five.List, statemachine.Member{ID: uint64(n), Name: n, Voter: true})
	}
	foreign, successor, learner := voted(2, true, 50), voted(2, true, 50), voted(2, true, 50)
	foreign.said.ClusterID, successor.said.MemberID, learner.Voter = "d", 77, false
	self := &whoReply{MemberID: 1, ClusterID: "c", LastIndex: 50}
	for _, c := range []struct {
		name    string
		quorum  bool
		answers []sight
		why     admin.RefusalReason
		says    string
	}{
		{"a leader with a majority", true, nil, adminpb.RefusalReason_REFUSAL_REASON_HAS_QUORUM, "nothing is lost"},
		{"alone", false, []sight{voted(2, false, 0), voted(3, false, 0), voted(4, false, 0), voted(5, false, 0)}, 0, ""},
		{"two of five", false, []sight{voted(2, true, 50), voted(3, false, 99)}, 0, ""},
		{"three of five, without a leader", false, []sight{voted(2, true, 50), voted(3, true, 49)}, adminpb.RefusalReason_REFUSAL_REASON_HAS_QUORUM, "server.1, server.2, server.3 answer, which are 3 of 5 voters"},
		{"one of the two has more", false, []sight{voted(2, true, 51)}, adminpb.RefusalReason_REFUSAL_REASON_NOT_FURTHEST, "recover that one"},
		{"who answers is of another ensemble", false, []sight{foreign, voted(3, true, 50)}, 0, ""},
		{"who answers has lost its disk", false, []sight{successor, voted(3, true, 50)}, 0, ""},
		{"who answers has no vote", false, []sight{learner, voted(3, true, 50)}, 0, ""},
	} {
		why, text := recoverable(self, five, c.quorum, c.answers)
		if why != c.why || !strings.Contains(text, c.says) {
			t.Errorf("%s: %v, %q; want %v, %q", c.name, why, text, c.why, c.says)
		}
	}
}

func TestWhatOthersSay(t *testing.T) {
	said := func(cluster string, index uint64, hasYou bool, former ...string) sight {
		return sight{Sighting: admin.Sighting{Name: 2, Address: "h:1", Answers: true, ClusterID: cluster},
			said: &whoReply{Name: 2, ClusterID: cluster, ConfigIndex: index, HasYou: hasYou, Former: former}}
	}
	silent := said("d", 9, false)
	silent.Answers = false
	refusing := said("c", 9, false)
	refusing.said.Refusal = "it was removed itself"
	for _, c := range []struct {
		name    string
		index   uint64
		answers []sight
		want    adminpb.Membership
		says    string
	}{
		{"nobody answers", 5, []sight{silent}, 0, ""},
		{"one who has not begun", 5, []sight{said("", 0, false)}, 0, ""},
		{"ours", 5, []sight{said("c", 9, true)}, 0, ""},
		{"one who is behind", 5, []sight{said("c", 4, false)}, 0, ""},
		{"the same membership", 5, []sight{said("c", 5, false)}, 0, ""},
		{"a later membership without this member", 5, []sight{said("c", 4, true), said("c", 6, false)}, adminpb.Membership_MEMBERSHIP_REMOVED, "index 6"},
		{"when it does not know its own", 0, []sight{said("c", 6, false)}, 0, ""},
		{"one that was removed itself", 5, []sight{refusing}, 0, ""},
		{"another ensemble", 5, []sight{said("d", 9, false)}, adminpb.Membership_MEMBERSHIP_FOREIGN, "belongs to ensemble d"},
		{"another ensemble, and ours", 5, []sight{said("d", 9, false), said("c", 5, true)}, 0, ""},
		{"what was made of ours", 5, []sight{said("c", 5, true), said("d", 9, false, "b", "c")}, adminpb.Membership_MEMBERSHIP_SUPERSEDED, "goes on as d"},
	} {
		if v := judge("c", 1, c.index, c.answers); v.state != c.want || !strings.Contains(v.why, c.says) {
			t.Errorf("%s: %+v, want %v, %q", c.name, v, c.want, c.says)
		}
	}
}

// Two of three are gone. The third says who is missing and how far they were,
// serves no writes and expires nobody. Told to, it goes on alone under another
// cluster id and far higher zxids, with every session; when the lost ones come
// back they refuse to serve, and join anew once they are told to start clean.
func TestLostMajority(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.startAll()
	c := e.connect(1, 8*time.Second, nil)
	c.mustCreate("/n", jute.ModePersistent)
	c.mustCreate("/mine", jute.ModeEphemeral)
	for range 20 {
		c.set("/n", "before")
	}
	e.sameState()
	survivor := e.source(1)
	old := survivor.Status()
	recoverAs := func(cluster string, id uint64, reason string, dry bool) (admin.Recovery, error) {
		return survivor.RecoverLostMajority(e.order(), admin.RecoverRequest{ClusterID: cluster, Member: id, Reason: reason, DryRun: dry})
	}
	refuse := func(why admin.RefusalReason, cluster string, id uint64, reason string) {
		t.Helper()
		_, err := recoverAs(cluster, id, reason, false)
		refused(t, err, why)
	}
	refuse(adminpb.RefusalReason_REFUSAL_REASON_HAS_QUORUM, old.ClusterID, old.MemberID, "why not")
	e.stop(2)
	e.stop(3)
	eventually(t, "the last member does not say who is missing", func() bool {
		st, seen := survivor.Status(), survivor.Sightings()
		if st.Serving || st.HasQuorum || st.NoQuorumSince.IsZero() || len(seen) != 2 {
			return false
		}
		for _, s := range seen {
			if s.Answers || s.Problem == "" || !s.Voter || s.Zxid == 0 {
				return false
			}
		}
		return true
	})
	refuse(adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER, testCluster, old.MemberID, "r")
	refuse(adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER, old.ClusterID, old.MemberID+1, "r")
	refuse(adminpb.RefusalReason_REFUSAL_REASON_BAD_REQUEST, old.ClusterID, old.MemberID, " ")
	var plan admin.Recovery
	eventually(t, "the majority is never given up", func() bool {
		var err error
		plan, err = recoverAs(old.ClusterID, old.MemberID, "", true)
		if err != nil && !strings.Contains(err.Error(), "at the earliest") {
			t.Fatal(err)
		}
		return err == nil
	})
	if plan.ClusterID != "" || plan.FirstZxid>>32 < old.Zxid>>32+recoveryTerms || len(plan.GivenUp) != 2 || survivor.Status().ClusterID != old.ClusterID {
		t.Fatalf("a dry run: %+v", plan)
	}
	rec, err := recoverAs(old.ClusterID, old.MemberID, "the rack burned, says A. Operator", false)
	check(t, err)
	e.startAgain(1)
	survivor = e.source(1)
	eventually(t, "the survivor does not serve", func() bool { st := survivor.Status(); ok, _ := st.Ready(); return ok })
	st := survivor.Status()
	if st.ClusterID != rec.ClusterID || st.ClusterID == old.ClusterID || st.Zxid < rec.FirstZxid || len(st.FormerClusterIDs) != 1 || st.FormerClusterIDs[0] != old.ClusterID {
		t.Fatalf("%+v after %+v", st, rec)
	}
	again, err := recoverAs(old.ClusterID, old.MemberID, "the answer was lost", false)
	if err != nil || again.ClusterID != rec.ClusterID {
		t.Fatalf("repeated: %+v, %v", again, err)
	}
	trail, err := os.ReadFile(filepath.Join(e.dir, "1", "conclave", auditName))
	check(t, err)
	var line audit
	check(t, json.Unmarshal(trail, &line))
	if line.OldCluster != old.ClusterID || line.NewCluster != rec.ClusterID || !strings.Contains(line.Reason, "A. Operator") || len(line.GivenUp) != 2 {
		t.Errorf("the audit trail says %s", trail)
	}

	back := e.connect(1, 8*time.Second, c)
	if back.session != c.session {
		t.Fatalf("session %#x came back as %#x", c.session, back.session)
	}
	back.sync()
	if _, s, code := back.get("/mine", false); code != jute.OK || s.EphemeralOwner != c.session {
		t.Errorf("the ephemeral: %v", code)
	}
	if code := back.set("/n", "after"); code != jute.OK {
		t.Fatal(code)
	}
	if _, s, _ := back.get("/n", false); s.Mzxid <= plan.FirstZxid-1 || s.Version != 21 {
		t.Errorf("/n after the recovery: %+v", s)
	}
	if got := strings.Count(e.config(1), "server."); got != 1 {
		t.Errorf("the membership is\n%s", e.config(1))
	}

	// The lost ones are a majority of what they remember.
	for _, n := range []int{2, 3} {
		e.start(n)
	}
	for _, n := range []int{2, 3} {
		eventually(t, "a lost member does not refuse to serve", func() bool {
			st := e.source(n).Status()
			return st.Membership == adminpb.Membership_MEMBERSHIP_SUPERSEDED && !st.Serving && strings.Contains(st.MembershipReason, rec.ClusterID)
		})
		_, err := e.source(n).StartClean(e.order(), admin.StartClean{ClusterID: old.ClusterID, Member: e.id(n)})
		check(t, err)
		e.startAgain(n)
	}
	// The first that starts clean may hear of the lost ensemble from the other, ask
	// for it, and look anew when it is not to be found: as the program does.
	lookAnew := func(n int) {
		select {
		case <-e.members[n-1].Failed():
			e.startAgain(n)
		default:
		}
	}
	eventually(t, "they do not become voters", func() bool {
		lookAnew(2)
		lookAnew(3)
		return e.members[1].node.Load() != nil && e.members[2].node.Load() != nil && e.isVoter(1, 2) && e.isVoter(1, 3)
	})
	e.ready()
	e.sameState()
	e.stop(1)
	last := e.connect(2, 8*time.Second, nil)
	last.sync()
	if data, _, code := last.get("/n", false); code != jute.OK || data != "after" {
		t.Errorf("/n through member 2: %q, %v", data, code)
	}
}

// A majority that comes back finds everything as it was, without a word from
// anybody.
func TestMajorityThatReturns(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.startAll()
	c := e.connect(1, 4*time.Second, nil)
	c.mustCreate("/mine", jute.ModeEphemeral)
	e.sameState()
	e.stop(2)
	e.stop(3)
	eventually(t, "the last member goes on serving", func() bool { return !e.source(1).Status().Serving })
	// Longer than the session's timeout: nobody may expire it.
	since := time.Now()
	eventually(t, "time passes", func() bool { return time.Since(since) > 5*time.Second })
	e.start(2)
	e.start(3)
	e.ready()
	back := e.connect(2, 4*time.Second, c)
	if back.session != c.session {
		t.Fatalf("session %#x came back as %#x", c.session, back.session)
	}
	back.sync()
	if _, s, code := back.get("/mine", false); code != jute.OK || s.EphemeralOwner != c.session {
		t.Errorf("the ephemeral: %v", code)
	}
	e.sameState()
}

// A recovery that was cut short after it had written the new state is done
// again, with the same outcome.
func TestRecoveryCutShort(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.startAll()
	c := e.connect(1, 8*time.Second, nil)
	c.mustCreate("/n", jute.ModePersistent)
	e.sameState()
	for n := 1; n <= 3; n++ {
		e.stop(n)
	}
	rec := recovery{New: testCluster, Reason: "a test", Term: 5000}
	// What a first try leaves: the state, the audit trail, and the identity as it
	// was before.
	dir, err := storage.OpenDir(vfs.OS(), filepath.Join(e.dir, "1"), "")
	check(t, err)
	rec.Old = dir.Identity.Get().ClusterID
	raw, err := json.Marshal(rec)
	check(t, err)
	check(t, dir.Identity.Update(func(id *storage.Identity) { id.Recovery = raw }))
	check(t, dir.Close())
	before, err := os.ReadFile(filepath.Join(e.dir, "1", "conclave", "identity"))
	check(t, err)
	check(t, os.CopyFS(filepath.Join(e.dir, "log-before"), os.DirFS(filepath.Join(e.dir, "1", "conclave", "log"))))
	e.start(1)
	e.ready()
	state := func() (zxid int64, digest uint64) {
		e.members[0].server.View(func(sm *statemachine.Machine) { zxid, digest = sm.Zxid(), sm.Tree().Digest() })
		return zxid, digest
	}
	zxid, digest := state()
	e.stop(1)
	check(t, os.RemoveAll(filepath.Join(e.dir, "1", "conclave", "log")))
	check(t, os.Rename(filepath.Join(e.dir, "log-before"), filepath.Join(e.dir, "1", "conclave", "log")))
	check(t, os.WriteFile(filepath.Join(e.dir, "1", "conclave", "identity"), before, 0o600))
	e.start(1)
	e.ready()
	if z, d := state(); z != zxid || d != digest {
		t.Errorf("done again: zxid %#x, digest %#x; the first time %#x, %#x", z, d, zxid, digest)
	}
	trail, err := os.ReadFile(filepath.Join(e.dir, "1", "conclave", auditName))
	check(t, err)
	if got := strings.Count(string(trail), "\n"); got != 1 {
		t.Errorf("the audit trail has %d lines:\n%s", got, trail)
	}
}
