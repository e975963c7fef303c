//go:build conformance

package conformance

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// Many sessions that number their requests alike: each gets its own answers.
func TestWireSameNumbersInManySessions(t *testing.T) {
	e := sharedEnsemble(t)
	const sessions, rounds = 12, 100
	first := openSession(t, e.Addrs()[0])
	p := root(t, first)
	var all []*session
	for i := range sessions {
		s := openSession(t, e.Addrs()[i%ensemble.Size])
		s.ok(wire.OpCreate, wire.CreateBody(fmt.Sprintf("%s/%d", p, i), nil, wire.OpenACL, wire.Ephemeral))
		all = append(all, s)
	}
	var group sync.WaitGroup
	for i, s := range all {
		group.Go(func() {
			node := fmt.Sprintf("%s/%d", p, i)
			for round := range int32(rounds) {
				set, err := s.Call(wire.OpSetData, wire.SetDataBody(node, fmt.Appendf(nil, "%d of %d", round, i), round))
				if err != nil || set.Err != wire.OK || wire.NewReader(set.Body).Stat().Version != round+1 {
					t.Errorf("session %d, write %d: %+v, %v", i, round, set, err)
					return
				}
				get, err := s.Call(wire.OpGetData, wire.WatchBody(node, false))
				if err != nil || get.Err != wire.OK {
					t.Errorf("session %d, read %d: %+v, %v", i, round, get, err)
					return
				}
				if got, want := string(wire.NewReader(get.Body).Buffer()), fmt.Sprintf("%d of %d", round, i); got != want {
					t.Errorf("session %d read %q, want %q", i, got, want)
					return
				}
			}
		})
	}
	group.Wait()
}

// Requests of living sessions are all answered while others expire beside them.
func TestWireTrafficWhileSessionsExpire(t *testing.T) {
	e := sharedEnsemble(t)
	const dying = 30
	watcher := openSession(t, e.Addrs()[1])
	p := root(t, watcher)
	for i := range dying {
		s := attach(t, e.Addrs()[i%ensemble.Size], wire.ConnectRequest{Timeout: ensemble.MinSessionTimeout + time.Duration(i)*10*time.Millisecond})
		s.ok(wire.OpCreate, wire.CreateBody(fmt.Sprintf("%s/eph-%d", p, i), nil, wire.OpenACL, wire.Ephemeral))
		// A write under way when the connection goes, and then silence.
		s.send(wire.OpSetData, wire.SetDataBody(p, nil, -1))
		s.Close()
	}
	done := make(chan struct{})
	var group sync.WaitGroup
	for i := range ensemble.Size {
		s := openSession(t, e.Addrs()[i])
		node := fmt.Sprintf("%s/living-%d", p, i)
		s.create(node)
		group.Go(func() {
			for version := int32(0); ; {
				select {
				case <-done:
					return
				default:
				}
				// Two writes and two reads in one packet.
				var packet wire.Writer
				ops := []int32{wire.OpSetData, wire.OpGetData, wire.OpSetData, wire.OpGetData}
				for n, op := range ops {
					body := wire.WatchBody(node, false)
					if op == wire.OpSetData {
						body = wire.SetDataBody(node, nil, version)
						version++
					}
					packet.Buffer(wire.Request(int32(n), op, body))
				}
				if err := s.SendRaw(packet.Bytes()); err != nil {
					t.Errorf("session %d: %v", i, err)
					return
				}
				for n := range ops {
					reply, err := s.Recv()
					if err != nil || reply.Xid != int32(n) || reply.Err != wire.OK {
						t.Errorf("session %d, answer %d: %+v, %v", i, n, reply, err)
						return
					}
				}
			}
		})
	}
	eventually(t, "all of the dying sessions expire", func() bool {
		return len(watcher.ok(wire.OpGetChildren, wire.WatchBody(p, false)).Strings()) == ensemble.Size
	})
	close(done)
	group.Wait()
}
