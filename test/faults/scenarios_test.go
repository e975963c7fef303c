//go:build faults

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/test/conformance/proc"
	"github.com/conclave-dev/conclave/test/faults/check"
)

// pass lets time go by while something is broken: how long it lasts is what is
// tested, so there is nothing to wait for.
func pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}

// endedSessions counts those whose clients were told that they are gone.
func (c *cluster) endedSessions() (n int) {
	for _, conn := range c.history.Connections() {
		if conn.Asked != 0 && conn.Attached != 0 && conn.Session == 0 {
			n++
		}
	}
	return n
}

// An ensemble without a majority, or that is away altogether, serves no writes
// and expires nobody: sessions go on when it does.
func TestNobodyExpiresWhileTheEnsembleIsAway(t *testing.T) {
	c := newCluster(t, 3).static()
	session := 12 * time.Second
	c.newLoad(seed(t), session, session, session)
	c.must(c.load.progress())
	outage := session + 4*time.Second
	for _, kind := range []struct {
		name        string
		leave, back func() error
	}{
		{"two are stopped", func() error { return errors.Join(c.member(1).pause(true), c.member(2).pause(true)) },
			func() error { return errors.Join(c.member(1).pause(false), c.member(2).pause(false)) }},
		{"all are killed", func() error { return errors.Join(c.member(1).kill(), c.member(2).kill(), c.member(3).kill()) },
			func() error { return errors.Join(c.member(1).start(), c.member(2).start(), c.member(3).start()) }},
	} {
		t.Logf("%s for %v", kind.name, outage)
		c.must(kind.leave())
		m := c.member(3)
		if m.up() {
			c.must(eventually("the one that is left has no quorum", func() error {
				st, err := m.status()
				if err == nil && st.GetNoQuorumMs() < 500 { // what was acknowledged before has arrived
					err = fmt.Errorf("for %d ms", st.GetNoQuorumMs())
				}
				return err
			}))
		}
		before := c.load.total()
		pass(outage)
		if m.up() {
			if n := c.load.total() - before; n != 0 {
				t.Errorf("%s: the one that is left has acknowledged %d writes", kind.name, n)
			}
			st, err := m.status()
			c.must(err)
			if st.GetReady() || st.GetHasQuorum() || st.GetNoQuorumMs() == 0 {
				t.Errorf("%s: the one that is left says that it is ready (%v), has a quorum (%v), for %d ms not", kind.name, st.GetReady(), st.GetHasQuorum(), st.GetNoQuorumMs())
			}
		}
		c.must(kind.back())
		c.ready()
		c.must(c.load.progress())
	}
	if n := c.endedSessions(); n > 0 {
		t.Errorf("%d sessions were lost for a silence of the ensemble", n)
	}
	c.judge()
}

// A leader that can send and not hear, or hear and not send, is replaced; so is
// one that is stopped. The others go on meanwhile.
func TestCutsOfTheLeader(t *testing.T) {
	c := newCluster(t, 3).static()
	c.newLoad(seed(t), 18*time.Second, 18*time.Second, 18*time.Second)
	c.must(c.load.progress())
	s := &storm{c: c}
	for _, kind := range []struct {
		name string
		do   func(m *member) (func() error, error)
	}{
		{"deaf", func(m *member) (func() error, error) { return s.paths(m, false, true) }},
		{"mute", func(m *member) (func() error, error) { return s.paths(m, true, false) }},
		{"isolated", func(m *member) (func() error, error) { return s.paths(m, true, true) }},
		{"stopped", s.pause},
	} {
		old := c.awaitLeader()
		t.Logf("the leader, member %d, is %s", old.id, kind.name)
		mend, err := kind.do(old)
		c.must(err)
		c.must(eventually("another one leads", func() error {
			for _, m := range c.members {
				if st, err := m.status(); m != old && err == nil && st.GetRole() == adminpb.Role_ROLE_LEADER && st.GetHasQuorum() {
					return nil
				}
			}
			return errors.New("none does")
		}))
		c.must(c.load.progress())
		c.must(mend())
		c.ready()
	}
	if n := c.endedSessions(); n > 0 {
		t.Errorf("%d sessions were lost", n)
	}
	c.judge()
}

// A member whose disk is full ends, or goes on without what it can't write; what
// it acknowledged stays, and it comes back when there is room.
func TestFullDisk(t *testing.T) {
	c := newCluster(t, 3, 1, 2, 3).static()
	c.newLoad(seed(t), anySession...)
	c.must(c.load.progress())
	for range 2 {
		m := c.awaitLeader()
		// A snapshot needs room. One that the member writes by itself frees what the
		// snapshots and segments before it took, so the disk may have room again.
		c.must(eventually(fmt.Sprintf("member %d, which leads, finds its disk full", m.id), func() error {
			if err := fillDisk(m); err != nil {
				return err
			}
			api, err := m.admin()
			if err != nil {
				return nil // it has ended already; why is looked at below
			}
			ctx, cancel := context.WithTimeout(context.Background(), orderTime)
			defer cancel()
			if _, err = api.TakeSnapshot(ctx, &adminpb.TakeSnapshotRequest{}); err == nil {
				return errors.New("it has written a snapshot")
			}
			t.Logf("a snapshot of member %d: %v", m.id, err)
			return nil
		}))
		c.must(c.load.progress())
		select {
		case <-m.ended():
			if text := proc.Tail(m.logPath(), 5); !strings.Contains(text, "no space left") {
				t.Errorf("member %d has ended, and does not say why:\n%s", m.id, text)
			}
		default:
			t.Logf("member %d goes on", m.id)
		}
		c.must(roomAgain(m))
		c.ready()
	}
	c.judge()
}

// replaceDir puts a copy of a member's directory in its place.
func replaceDir(m *member, from string) error {
	return errors.Join(os.RemoveAll(m.dataDir()), os.CopyFS(m.dataDir(), os.DirFS(from)))
}

// copyDir copies a stopped member's directory aside.
func copyDir(m *member, to string) error {
	// A socket can't be copied, and one that was killed leaves it behind.
	if err := os.Remove(admin.SocketPath(m.dataDir())); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.CopyFS(to, os.DirFS(m.dataDir()))
}

// A member that comes back with a copy of its directory that was made earlier
// has forgotten what it acknowledged. The others go on, nothing is lost as long
// as they are a majority, and it does not serve what is old.
func TestOldVolume(t *testing.T) {
	c := newCluster(t, 3).static()
	c.newLoad(seed(t), anySession...)
	c.must(c.load.progress())
	m := c.member(3)
	c.must(m.stop())
	old := m.dir + ".old"
	c.must(copyDir(m, old))
	c.must(m.start())
	c.ready()
	c.must(c.load.progress())
	c.must(m.kill())
	c.must(replaceDir(m, old))
	c.must(m.start())
	c.must(c.load.progress())
	c.must(eventually("the member with the old volume ends, or another leader has brought it up to date", func() error {
		if m.fell() {
			if text := proc.Tail(m.logPath(), 1); !strings.Contains(text, "its directory is older") {
				t.Errorf("it has ended, and does not say why:\n%s", proc.Tail(m.logPath(), 10))
			}
			return nil
		}
		st, err := m.status()
		if err == nil && !st.GetReady() {
			err = fmt.Errorf("it is not ready: %s", st.GetNotReadyReason())
		}
		return err
	}))
	// What the message tells to do.
	c.must(m.kill())
	c.must(os.Rename(filepath.Join(m.dataDir(), "conclave"), m.dir+".aside"))
	c.must(m.start())
	c.must(eventually("it has its seat again", func() error {
		_, st := c.leader()
		me, err := m.status()
		if err == nil && (st == nil || !slices.ContainsFunc(st.GetVoters(), func(v *adminpb.Member) bool { return v.GetId() == me.GetMemberId() })) {
			err = fmt.Errorf("member %x is not among the voters, %v", me.GetMemberId(), st.GetVoters())
		}
		return err
	}))
	c.judge()
}

// An ensemble of one that is put back to what it was forgets acknowledged
// writes, and the checkers find that in what its clients see.
func TestForgottenWritesAreFound(t *testing.T) {
	c := newCluster(t, 1).static()
	c.newLoad(seed(t), anySession...)
	c.must(c.load.progress())
	m := c.member(1)
	c.must(m.kill())
	old := m.dir + ".old"
	c.must(copyDir(m, old))
	c.must(m.start())
	c.ready()
	c.must(c.load.progress())
	c.must(m.kill())
	c.must(replaceDir(m, old))
	c.must(m.start())
	c.ready()
	// The clients that were there know better than to believe it.
	auditor := c.load.connect("auditor", []string{m.addr()}, time.Minute)
	c.must(auditor.everything(c.load))
	c.load.end()
	conns := c.history.Connections()
	for name, vs := range map[string][]check.Violation{
		"linearizable": check.Linearizable(conns, "/reg/"),
		"appended":     check.Appended(conns, "/log", c.load.appended),
	} {
		if len(vs) == 0 {
			t.Errorf("%s: nothing was found", name)
			continue
		}
		t.Log(vs[0])
	}
}

func voters(st *adminpb.StatusResponse) (names []int) {
	for _, v := range st.GetVoters() {
		names = append(names, int(v.GetName()))
	}
	slices.Sort(names)
	return names
}
