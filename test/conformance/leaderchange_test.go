//go:build conformance

package conformance

import (
	"fmt"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// survivors returns the members that are not the leader.
func survivors(e *ensemble.Ensemble, leader *ensemble.Member) []*ensemble.Member {
	var out []*ensemble.Member
	for _, m := range e.Members {
		if m != leader {
			out = append(out, m)
		}
	}
	return out
}

// disturbances are the ways in which an ensemble loses its leader.
var disturbances = map[string]func(*ensemble.Member) error{
	"killed": (*ensemble.Member).Kill,
	"paused": (*ensemble.Member).Pause,
}

// A change of leader closes no connection to a surviving member, loses no watch
// and no request under way. (ZooKeeper's followers close all of theirs.)
func TestLeaderChangeKeepsConnections(t *testing.T) {
	conclaveOnly(t)
	for how, disturb := range disturbances {
		t.Run(how, func(t *testing.T) {
			e := faultyEnsemble(t)
			leader := leaderOf(t, e)
			var sessions []*session
			var paths []string
			for _, m := range survivors(e, leader) {
				s := openSession(t, m.Addr())
				p := fmt.Sprintf("/leaderchange-%s-%d", how, m.ID)
				s.create(p)
				s.create(p + "/data")
				s.ok(wire.OpGetData, wire.WatchBody(p+"/data", true))
				s.fails(wire.OpExists, wire.WatchBody(p+"/born", true), wire.NoNode)
				s.ok(wire.OpAddWatch, wire.PathIntBody(p+"/tree", 1))
				s.ok(wire.OpCreate, wire.CreateBody(p+"/eph", nil, wire.OpenACL, wire.Ephemeral))
				s.ok(wire.OpGetChildren, wire.WatchBody(p+"/data", true))
				sessions, paths = append(sessions, s), append(paths, p)
			}
			act(t, disturb(leader))
			newLeader(t, e, leader)
			for i, s := range sessions {
				p := paths[i]
				if got := s.stat(p + "/eph").EphemeralOwner; got != s.resp.SessionID {
					t.Errorf("owner %#x of the ephemeral, want %#x", got, s.resp.SessionID)
				}
				// The other survivor writes; this one's watches fire on the old connection.
				other := sessions[1-i]
				other.catchUp()
				other.ok(wire.OpSetData, wire.SetDataBody(p+"/data", nil, -1))
				s.wantEvent(wire.EventDataChanged, p+"/data")
				other.create(p + "/born")
				s.wantEvent(wire.EventCreated, p+"/born")
				other.create(p + "/data/child")
				s.wantEvent(wire.EventChildrenChanged, p+"/data")
				other.create(p + "/tree")
				other.create(p + "/tree/leaf")
				s.wantEvent(wire.EventCreated, p+"/tree")
				s.wantEvent(wire.EventCreated, p+"/tree/leaf")
			}
		})
	}
}

// A pipeline of writes through a surviving member, across a change of leader:
// each is answered, in order, and none is executed twice.
func TestLeaderChangeKeepsPipeline(t *testing.T) {
	conclaveOnly(t)
	for how, disturb := range disturbances {
		t.Run(how, func(t *testing.T) {
			e := faultyEnsemble(t)
			leader := leaderOf(t, e)
			s := openSession(t, survivors(e, leader)[0].Addr())
			s.Timeout = patience
			p := "/pipeline-" + how
			s.create(p)
			const writes, disturbAt = 3000, 500
			first := s.NextXid()
			sent := make(chan error, 1)
			go func() {
				for i := range int32(writes) {
					// A version that fits only if every write before it has happened once.
					if _, err := s.Send(wire.OpSetData, wire.SetDataBody(p, fmt.Append(nil, i), i)); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			for i := range int32(writes) {
				if i == disturbAt {
					act(t, disturb(leader))
				}
				reply := s.wantReply(first+i, wire.OK)
				if stat := wire.NewReader(reply.Body).Stat(); stat.Version != i+1 {
					t.Fatalf("write %d gave version %d", i, stat.Version)
				}
			}
			act(t, <-sent)
			if stat := s.stat(p); stat.Version != writes {
				t.Errorf("version %d, want %d", stat.Version, writes)
			}
		})
	}
}

// A silent client is given its whole timeout again by a new leader.
func TestLeaderChangeRestartsExpiry(t *testing.T) {
	const timeout = 4 * time.Second
	// The clock of this machine decides what may be concluded: try again when it
	// stood still for too long.
	for range 5 {
		e := faultyEnsemble(t)
		leader := leaderOf(t, e)
		survivor := survivors(e, leader)[0]
		s := attach(t, survivor.Addr(), wire.ConnectRequest{Timeout: timeout})
		s.ok(wire.OpCreate, wire.CreateBody("/expiry-across", nil, wire.OpenACL, wire.Ephemeral))
		last := time.Now()
		s.Close() // and not a word more
		eventually(t, "most of the timeout has passed", func() bool { return time.Since(last) > timeout*3/4 })
		killed := time.Now()
		act(t, leader.Kill())
		newLeader(t, e, leader)
		act(t, e.WaitReady())
		eventually(t, "the old clock has run out", func() bool { return time.Since(last) > timeout*5/4 })
		probe := attach(t, survivor.Addr(), wire.ConnectRequest{Timeout: timeout, SessionID: s.resp.SessionID, Passwd: s.resp.Passwd})
		if probe.resp.SessionID == s.resp.SessionID {
			probe.end()
			return
		}
		if killed.Sub(last) < timeout*9/10 && time.Since(killed) < timeout*3/4 {
			t.Fatalf("expired %v after its last sign of life, %v after the leader was killed; a new leader has to start the clock anew", time.Since(last), time.Since(killed))
		}
	}
	t.Fatal("the machine stands still too often for a session of four seconds")
}

// A silent client's session does expire under the new leader.
func TestLeaderChangeStillExpires(t *testing.T) {
	e := faultyEnsemble(t)
	leader := leaderOf(t, e)
	other := survivors(e, leader)
	s := attach(t, other[0].Addr(), wire.ConnectRequest{Timeout: 2 * time.Second})
	s.ok(wire.OpCreate, wire.CreateBody("/expires-after", nil, wire.OpenACL, wire.Ephemeral))
	s.Close()
	act(t, leader.Kill())
	newLeader(t, e, leader)
	act(t, e.WaitReady())
	watcher := openSession(t, other[1].Addr())
	eventually(t, "the ephemeral goes", func() bool {
		watcher.catchUp()
		return watcher.call(wire.OpExists, wire.WatchBody("/expires-after", false)).Err == wire.NoNode
	})
	wantExpired(t, attach(t, other[1].Addr(), wire.ConnectRequest{Timeout: 2 * time.Second, SessionID: s.resp.SessionID, Passwd: s.resp.Passwd}))
}

// A leader that was paused and wakes up shows nothing old: after a sync through
// it, what the others wrote meanwhile is there, or the connection is closed.
// (ZooKeeper's sync is answered by a leader that does not know yet that it is
// none.)
func TestWokenLeaderServesNothingStale(t *testing.T) {
	conclaveOnly(t)
	e := faultyEnsemble(t)
	for round := range 3 {
		leader := leaderOf(t, e)
		old := openSession(t, leader.Addr())
		p := fmt.Sprintf("/woken-%d", round)
		old.create(p)
		act(t, leader.Pause())
		newLeader(t, e, leader)
		writer := openSession(t, survivors(e, leader)[0].Addr())
		writer.ok(wire.OpSetData, wire.SetDataBody(p, []byte("new"), 0))
		// The sync waits in the paused member's socket and is read when it wakes up.
		sync := old.send(wire.OpSync, wire.PathBody(p))
		read := old.send(wire.OpExists, wire.WatchBody(p, false))
		act(t, leader.Resume())
		for {
			reply, err := old.Recv()
			if err != nil {
				if !closedByPeer(err) {
					t.Fatal(err)
				}
				break
			}
			if reply.Xid == sync && reply.Err != wire.OK {
				break
			}
			if reply.Xid == read {
				if stat := wire.NewReader(reply.Body).Stat(); stat.Version != 1 {
					t.Errorf("behind a sync: version %d, want 1", stat.Version)
				}
				break
			}
		}
		act(t, e.WaitReady())
	}
}
