package swarm

import (
	"fmt"
	"time"

	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/hist"
	"github.com/conclave-dev/conclave/test/bench/load"
	"github.com/conclave-dev/conclave/test/bench/proto"
)

// Ping has all clients ping in turn, evenly spread, each of them four times in a
// session timeout, for the time d. It returns the latencies, counted from when
// each ping was due.
func (s *Swarm) Ping(d time.Duration) (*hist.H, error) {
	pongs := new(hist.H)
	err := s.phase(func() error {
		rate := float64(len(s.clients)) * 4 * 1000 / float64(s.timeout)
		schedule := load.NewSchedule(s.loop.Now(), rate)
		end := s.loop.Now() + d.Nanoseconds()
		s.pongs = pongs
		var t *engine.Timer
		t = s.loop.NewTimer(func() error {
			for {
				if schedule.Next() >= end {
					return s.awaitPongs(s.loop.Now() + 30e9)
				}
				k, at, ok := schedule.Take(s.loop.Now())
				if !ok {
					t.Set(schedule.Next())
					return nil
				}
				if cl := s.clients[k%int64(len(s.clients))]; cl.Attached {
					cl.Conn.Ping(at)
				}
			}
		})
		t.Set(schedule.Next())
		return nil
	})
	return pongs, err
}

// awaitPongs ends the phase when every ping has been answered.
func (s *Swarm) awaitPongs(deadline int64) error {
	n := 0
	for _, cl := range s.clients {
		if cl.Attached && cl.Conn.Pinging() {
			n++
		}
	}
	switch {
	case n == 0:
		s.pongs = nil
		s.finished()
	case s.loop.Now() > deadline:
		return fmt.Errorf("%d clients have no answer to their pings after half a minute", n)
	default:
		s.loop.After(20e6, func() error { return s.awaitPongs(deadline) })
	}
	return nil
}

// CloseAll ends all sessions, and the connections with them.
func (s *Swarm) CloseAll() error {
	return s.phase(func() error {
		r := &closing{s: s}
		s.role = r
		for _, cl := range s.clients {
			if cl.Expired {
				continue
			}
			r.left++
			if cl.Attached {
				r.attached(cl)
			}
		}
		r.check()
		return nil
	})
}

// closing is the role of clients that end their sessions as soon as they are
// attached.
type closing struct {
	s    *Swarm
	left int // sessions
}

func (r *closing) check() {
	if r.left == 0 {
		r.s.finished()
	}
}

func (r *closing) attached(cl *Client) error {
	xid := cl.Conn.Push(engine.Pending{Op: proto.OpClose})
	cl.Conn.Out = proto.AppendClose(cl.Conn.Out, xid)
	return nil
}

func (r *closing) detached(cl *Client, _ error) error {
	if cl.Expired {
		r.left--
		r.check()
	}
	return nil
}

func (r *closing) reply(cl *Client, p engine.Pending, _ proto.Reply) error {
	if p.Op != proto.OpClose {
		return nil // the rest of what the clients did before
	}
	r.s.unplug(cl)
	cl.Expired = true
	r.left--
	r.check()
	return nil
}

func (r *closing) event(*Client, proto.Event) error { return nil }
