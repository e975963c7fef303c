package member

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/statemachine"
)

// config returns what /zookeeper/config shows through member n.
func (e *ensemble) config(n int) string {
	e.t.Helper()
	c := e.connect(n, 30*time.Second, nil)
	defer c.nc.Close()
	c.sync()
	data, _, code := c.get(statemachine.ConfigPath, false)
	if code != jute.OK {
		e.t.Fatal(code)
	}
	return data
}

// voters returns how many members vote, and whether all of them are the
// running ones.
func (e *ensemble) voters(through int) (n int) {
	for _, p := range e.members[through-1].node.Load().Members().List {
		if p.Voter {
			n++
		}
	}
	return n
}

func (e *ensemble) isVoter(through, n int) bool {
	node := e.members[through-1].node.Load()
	p, ok := node.Members().Get(e.members[n-1].dir.Identity.Get().MemberID)
	// While the change is half done it takes a majority of those before, too.
	return ok && p.Voter && !node.Changing()
}

// Two of three found the ensemble; the third comes later, takes the seat that
// was left for it, and the ensemble can then lose one of the first two.
func TestVoterThatMissedTheFounding(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.start(1)
	e.start(2)
	e.ready()
	c := e.connect(1, 30*time.Second, nil)
	c.mustCreate("/early", jute.ModePersistent)
	if got := strings.Count(e.config(1), ":participant"); got != 3 {
		t.Errorf("before the third is there, the configuration has %d participants, want all 3 seats", got)
	}
	e.start(3)
	eventually(t, "the third does not become a voter", func() bool {
		return e.members[2].node.Load() != nil && e.isVoter(1, 3)
	})
	if got := e.voters(1); got != 3 {
		t.Fatalf("%d voters, want 3: the vacant seat must go with the promotion", got)
	}
	e.ready()
	e.stop(2)
	c = e.connect(3, 30*time.Second, nil)
	c.mustCreate("/late", jute.ModePersistent)
	c.sync()
	if _, _, code := c.get("/early", false); code != jute.OK {
		t.Errorf("/early through the third: %v", code)
	}
	e.sameState()
}

// A member whose disk was emptied comes back under a new id, as a learner, and
// is made a voter in its old seat.
func TestEmptiedMemberRejoins(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.startAll()
	c := e.connect(1, 30*time.Second, nil)
	c.mustCreate("/kept", jute.ModePersistent)
	old := e.members[2].dir.Identity.Get()
	e.stop(3)
	if err := os.RemoveAll(filepath.Join(e.dir, "3", "conclave")); err != nil {
		t.Fatal(err)
	}
	e.start(3)
	eventually(t, "it does not become a voter again", func() bool {
		return e.members[2].node.Load() != nil && e.isVoter(1, 3)
	})
	now := e.members[2].dir.Identity.Get()
	if now.MemberID == old.MemberID || now.ClusterID != old.ClusterID {
		t.Fatalf("it came back as member %x of %s; it was %x of %s", now.MemberID, now.ClusterID, old.MemberID, old.ClusterID)
	}
	if _, ok := e.members[0].node.Load().Members().Get(old.MemberID); ok {
		t.Error("its old id is still a member")
	}
	e.ready()
	e.sameState()
	back := e.connect(3, 30*time.Second, nil)
	back.sync()
	if _, _, code := back.get("/kept", false); code != jute.OK {
		t.Errorf("/kept through it: %v", code)
	}
}

func TestObserverServesAndDoesNotVote(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 4, "")
	e.servers = strings.Replace(e.servers, ";", ":participant;", 3)
	last := strings.LastIndex(e.servers, ";")
	e.servers = e.servers[:last] + ":observer" + e.servers[last:]
	for n := 1; n <= 4; n++ {
		e.start(n)
	}
	eventually(t, "the observer does not join", func() bool { return e.members[3].node.Load() != nil })
	e.ready()
	c := e.connect(4, 30*time.Second, nil)
	c.mustCreate("/through-an-observer", jute.ModeEphemeral)
	if got := e.voters(1); got != 3 {
		t.Errorf("%d voters, want 3", got)
	}
	if got := e.config(4); !strings.Contains(got, "server.4=") || strings.Count(got, ":observer;") != 1 {
		t.Errorf("the configuration does not show one observer:\n%s", got)
	}
	if st := (*source)(e.members[3]).Status(); st.Role.String() != "observer" {
		t.Errorf("it calls itself %v", st.Role)
	}
	e.sameState()
}

// A second process under the number of a member that answers is not let in.
func TestSecondProcessWithTheSameNumber(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.startAll()
	twin := e.members[e.leader()-1]
	ctx := t.Context()
	err := twin.node.Load().Join(ctx, statemachine.Member{ID: 4711, Name: e.leader()%3 + 1})
	if err == nil || !strings.Contains(err.Error(), "second process") {
		t.Fatalf("joining under a taken number: %v", err)
	}
}

// Directories that hold another ensemble's data, or another member's, are
// refused.
func TestForeignDirectories(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.startAll()
	for n := 1; n <= 3; n++ {
		e.stop(n)
	}
	// server.2's directory under server.1's number.
	if err := os.Rename(filepath.Join(e.dir, "1"), filepath.Join(e.dir, "was1")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(e.dir, "2"), filepath.Join(e.dir, "1")); err != nil {
		t.Fatal(err)
	}
	err := e.tryStart(1)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("belongs to server.%d", 2)) {
		t.Fatalf("started on another member's directory: %v", err)
	}
}
