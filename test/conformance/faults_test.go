//go:build conformance

package conformance

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
)

// writer creates numbered nodes one after the other and never gives up on one:
// whatever it counts as written has been acknowledged, or was found to exist
// when it tried again.
type writer struct {
	c    *goClient
	dir  string
	stop chan struct{}
	done chan struct{}
	// written is the number of nodes that are there for sure: 0 to written-1.
	written atomic.Int64
}

// startWriter starts to write below dir until finish is called.
func startWriter(t *testing.T, c *goClient, dir string) *writer {
	t.Helper()
	c.create(dir)
	w := &writer{c: c, dir: dir, stop: make(chan struct{}), done: make(chan struct{})}
	go w.run(t)
	t.Cleanup(w.end)
	return w
}

func (w *writer) node(i int64) string { return fmt.Sprintf("%s/%06d", w.dir, i) }

func (w *writer) run(t *testing.T) {
	defer close(w.done)
	for unsure := false; ; {
		select {
		case <-w.stop:
			return
		default:
		}
		_, err := w.c.Create(w.node(w.written.Load()), nil, zk.FlagPersistent, openACL)
		switch {
		case err == nil, unsure && errors.Is(err, zk.ErrNodeExists):
			w.written.Add(1)
			unsure = false
		case errors.Is(err, zk.ErrConnectionClosed), errors.Is(err, zk.ErrNoServer), errors.Is(err, zk.ErrSessionMoved):
			unsure = true
		default:
			t.Errorf("write %s: %v", w.node(w.written.Load()), err)
			return
		}
	}
}

// end stops the writer; it may be called twice.
func (w *writer) end() {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	<-w.done
}

// progress waits until the writer has written some more.
func (w *writer) progress(t *testing.T) {
	t.Helper()
	goal := w.written.Load() + 20
	eventually(t, "writes go on below "+w.dir, func() bool { return w.written.Load() >= goal })
}

// verify wants every member to show exactly what was written.
func (w *writer) verify(t *testing.T, e *ensemble.Ensemble) {
	t.Helper()
	w.end()
	written := w.written.Load()
	for _, m := range e.Members {
		c := goConnect(t, longSession, m.Addr())
		c.catchUp()
		children, _, err := c.Children(w.dir)
		if err != nil {
			t.Fatal(err)
		}
		have := make(map[string]bool, len(children))
		for _, child := range children {
			have[w.dir+"/"+child] = true
		}
		for i := range written {
			if !have[w.node(i)] {
				t.Errorf("member %d has lost %s of %d acknowledged nodes", m.ID, w.node(i), written)
			}
		}
		// One more may be there: the last attempt, whose answer was lost.
		if extra := int64(len(have)) - written; extra > 1 {
			t.Errorf("member %d has %d nodes more than were written", m.ID, extra)
		}
		c.Close()
	}
}

// held is a client with a session and an ephemeral that it must not lose.
type held struct {
	*goClient
	id  int64
	eph string
}

func hold(t *testing.T, c *goClient, eph string) *held {
	t.Helper()
	c.createEphemeral(eph)
	return &held{c, c.SessionID(), eph}
}

// verify wants the session and its ephemeral to live.
func (h *held) verify(t *testing.T) {
	t.Helper()
	stat := retrying(t, "exists", func() (*zk.Stat, error) {
		ok, stat, err := h.Exists(h.eph)
		if err == nil && !ok {
			t.Fatalf("%s is gone", h.eph)
		}
		return stat, err
	})
	if h.SessionID() != h.id || stat.EphemeralOwner != h.id {
		t.Errorf("session %#x, owner of the ephemeral %#x, want %#x", h.SessionID(), stat.EphemeralOwner, h.id)
	}
}

// drained tells whether a connection state was reported since the last look.
func (c *goClient) drained(state zk.State) bool {
	found := false
	for {
		select {
		case event := <-c.states:
			found = found || event.State == state
		default:
			return found
		}
	}
}

// newLeader waits for a leader other than old.
func newLeader(t *testing.T, e *ensemble.Ensemble, old *ensemble.Member) *ensemble.Member {
	t.Helper()
	var leader *ensemble.Member
	eventually(t, "another member leads", func() bool {
		m, err := e.Leader()
		if err != nil {
			t.Fatal(err)
		}
		leader = m
		return m != old
	})
	return leader
}

func leaderOf(t *testing.T, e *ensemble.Ensemble) *ensemble.Member {
	t.Helper()
	leader, err := e.Leader()
	if err != nil {
		t.Fatal(err)
	}
	return leader
}

func act(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFaultLeaderKilled(t *testing.T) {
	e := faultyEnsemble(t)
	c := goConnect(t, longSession, e.Addrs()...)
	p := goRoot(t, c)
	roaming := hold(t, goConnect(t, longSession, e.Addrs()...), p+"/roaming")
	w := startWriter(t, goConnect(t, longSession, e.Addrs()...), p+"/w")
	for range 2 {
		leader := leaderOf(t, e)
		// This one's member dies; it has to move.
		uprooted := hold(t, goConnect(t, longSession, leader.Addr(), e.Members[leader.ID%ensemble.Size].Addr()), fmt.Sprintf("%s/uprooted-%d", p, leader.ID))
		w.progress(t)
		act(t, leader.Kill())
		newLeader(t, e, leader)
		w.progress(t)
		uprooted.verify(t)
		act(t, leader.Start())
		act(t, e.WaitReady())
		w.progress(t)
	}
	roaming.verify(t)
	w.verify(t, e)
}

// A dead follower is no business of the other members' clients.
func TestFaultFollowerKilled(t *testing.T) {
	e := faultyEnsemble(t)
	followers, err := e.Followers()
	act(t, err)
	victim := followers[0]
	p := goRoot(t, goConnect(t, longSession, e.Addrs()...))
	var others []*held
	for _, m := range e.Members {
		if m != victim {
			c := goConnect(t, longSession, m.Addr())
			c.catchUp()
			others = append(others, hold(t, c, fmt.Sprintf("%s/at-%d", p, m.ID)))
		}
	}
	w := startWriter(t, goConnect(t, longSession, e.Addrs()...), p+"/w")
	uprooted := hold(t, goConnect(t, longSession, victim.Addr(), followers[1].Addr()), p+"/uprooted")
	w.progress(t)
	act(t, victim.Kill())
	uprooted.verify(t)
	w.progress(t)
	act(t, victim.Start())
	act(t, e.WaitReady())
	w.progress(t)
	for _, h := range others {
		if h.drained(zk.StateDisconnected) {
			t.Errorf("the client behind %s lost its connection", h.eph)
		}
		h.verify(t)
	}
	w.verify(t, e)
}

// A leader that stands still is replaced, and follows when it wakes up. (What its
// own clients do is for the Java client to show: the Go client waits for the
// answer to a handshake with a member that stands still for fifteen timeouts.)
func TestFaultLeaderPaused(t *testing.T) {
	e := faultyEnsemble(t)
	leader := leaderOf(t, e)
	p := goRoot(t, goConnect(t, longSession, e.Addrs()...))
	var survivors []string
	for _, m := range e.Members {
		if m != leader {
			survivors = append(survivors, m.Addr())
		}
	}
	w := startWriter(t, goConnect(t, longSession, survivors...), p+"/w")
	h := hold(t, goConnect(t, longSession, survivors...), p+"/eph")
	w.progress(t)
	act(t, leader.Pause())
	newLeader(t, e, leader)
	w.progress(t)
	h.verify(t)
	act(t, leader.Resume())
	act(t, e.WaitReady())
	if now := leaderOf(t, e); now == leader {
		t.Errorf("member %d leads again, over what was written meanwhile", leader.ID)
	}
	w.progress(t)
	w.verify(t, e)
}

// A follower that stands still costs nobody else anything.
func TestFaultFollowerPaused(t *testing.T) {
	e := faultyEnsemble(t)
	followers, err := e.Followers()
	act(t, err)
	victim, other := followers[0], followers[1]
	p := goRoot(t, goConnect(t, longSession, e.Addrs()...))
	h := hold(t, goConnect(t, longSession, other.Addr()), p+"/eph")
	w := startWriter(t, goConnect(t, longSession, other.Addr()), p+"/w")
	w.progress(t)
	act(t, victim.Pause())
	w.progress(t)
	act(t, victim.Resume())
	act(t, e.WaitReady())
	w.progress(t)
	if h.drained(zk.StateDisconnected) {
		t.Error("a client of another member lost its connection")
	}
	h.verify(t)
	w.verify(t, e)
}

// Everything goes down at once and comes back: sessions live on, and what was
// acknowledged is there.
func TestFaultAllRestarted(t *testing.T) {
	for _, how := range []string{"killed", "stopped"} {
		t.Run(how, func(t *testing.T) {
			e := faultyEnsemble(t)
			c := goConnect(t, ensemble.MaxSessionTimeout, e.Addrs()...)
			p := goRoot(t, c)
			h := hold(t, c, p+"/eph")
			w := startWriter(t, goConnect(t, ensemble.MaxSessionTimeout, e.Addrs()...), p+"/w")
			// What a session wrote stays when the session has ended before the restart.
			ended := goConnect(t, longSession, e.Addrs()...)
			ended.create(p + "/by-an-ended-session")
			ended.createEphemeral(p + "/eph-of-an-ended-session")
			ended.Close()
			w.progress(t)
			for _, m := range e.Members {
				if how == "killed" {
					act(t, m.Kill())
				} else {
					act(t, m.Stop(patience))
				}
			}
			act(t, e.StartAll())
			h.verify(t)
			for n, want := range map[string]bool{"/by-an-ended-session": true, "/eph-of-an-ended-session": false} {
				if ok, _, err := c.Exists(p + n); err != nil || ok != want {
					t.Errorf("%s after the restart: %v, %v; want %v", n, ok, err, want)
				}
			}
			w.progress(t)
			w.verify(t, e)
		})
	}
}

// Without a majority nothing is acknowledged; with it back, all goes on.
func TestFaultNoQuorum(t *testing.T) {
	e := faultyEnsemble(t)
	c := goConnect(t, ensemble.MaxSessionTimeout, e.Addrs()...)
	p := goRoot(t, c)
	h := hold(t, c, p+"/eph")
	w := startWriter(t, goConnect(t, ensemble.MaxSessionTimeout, e.Addrs()...), p+"/w")
	w.progress(t)
	alone := e.Members[2]
	act(t, e.Members[0].Kill())
	act(t, e.Members[1].Kill())
	// A write on the last member: refused or unanswered, never acknowledged. The
	// member is asked for as long as it takes to notice that it is alone.
	eventually(t, "the last member stops to serve", func() bool {
		answer, err := ensemble.FourLetterWord(alone.Addr(), "srvr", 5*time.Second)
		return err != nil || ensemble.ParseMode(answer) == ""
	})
	before := w.written.Load()
	probe, _, err := zk.Connect([]string{alone.Addr()}, longSession, zk.WithLogger(quiet{}))
	act(t, err)
	defer probe.Close()
	answered := make(chan error, 1)
	go func() {
		_, err := probe.Create(p+"/alone", nil, 0, openACL)
		answered <- err
	}()
	select {
	case err := <-answered:
		if err == nil {
			t.Error("a member without a majority acknowledged a write")
		}
	case <-time.After(2 * time.Second): // long enough for an answer that must not come
	}
	if after := w.written.Load(); after > before {
		t.Errorf("%d writes were acknowledged without a majority", after-before)
	}
	act(t, e.Members[0].Start())
	act(t, e.WaitReady())
	h.verify(t)
	w.progress(t)
	act(t, e.Members[1].Start())
	act(t, e.WaitReady())
	w.verify(t, e)
}
