package swarm

import (
	"fmt"
	"time"

	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/proto"
)

// Outage is what clients saw of a failure.
type Outage struct {
	// Gap is the longest time in which no write of any client was acknowledged,
	// counted from the last one before the failure.
	Gap time.Duration
	// SinceAck is how long ago the last write was acknowledged.
	SinceAck time.Duration
	// Expired is how many sessions were lost.
	Expired int
	// Dropped is, per server, how many clients lost their connection to it.
	Dropped []int
	// Attached is how many clients have a session on a connection now.
	Attached int
}

// Writers are clients that set a node of their own, one request after the other,
// whatever happens to their connections.
type Writers struct {
	s     *Swarm
	paths []string
	state []writer
	// lastAck is when the last write of any client was acknowledged.
	lastAck int64
	outage  Outage
	// stopping: what is acknowledged is not followed by another set.
	stopping bool
	left     int // writers that have not been verified
}

// writer is what a client knows of its node. Sets are numbered by seq, which
// their values carry; the node's version tells how many were executed.
type writer struct {
	// acked is the node's version after the last acknowledged set.
	acked int32
	// seq is the number of the last set that was sent; it is unanswered while
	// busy.
	seq  int32
	busy bool
	// unknown is how many sets since the last acknowledged one were lost with
	// their connection: each may have been executed or not, but not twice, and
	// not after a later one.
	unknown int32
	// lost is the number of the first of these.
	lost int32
}

// StartWriters has the first len(paths) clients write. The nodes hold the value of
// their index at version 0. The other clients only stay alive.
func (s *Swarm) StartWriters(paths []string) (*Writers, error) {
	w := &Writers{s: s, paths: paths, state: make([]writer, len(paths))}
	err := s.phase(func() error {
		if len(paths) > len(s.clients) {
			return fmt.Errorf("%d writers and %d clients", len(paths), len(s.clients))
		}
		s.role = w
		w.reset()
		for _, cl := range s.clients {
			if err := w.attached(cl); err != nil {
				return err
			}
		}
		s.finished()
		return nil
	})
	return w, err
}

// Mark begins to look for an outage: everything seen so far is forgotten.
func (w *Writers) Mark() error {
	return w.s.phase(func() error {
		w.reset()
		w.s.finished()
		return nil
	})
}

func (w *Writers) reset() {
	if w.lastAck == 0 {
		w.lastAck = w.s.loop.Now()
	}
	w.outage = Outage{Dropped: make([]int, len(w.s.servers))}
}

// Outage returns what was seen since the last Mark.
func (w *Writers) Outage() (Outage, error) {
	var out Outage
	err := w.s.phase(func() error {
		out = w.outage
		out.Dropped = append([]int(nil), w.outage.Dropped...)
		out.SinceAck = time.Duration(w.s.loop.Now() - w.lastAck)
		out.Gap = max(out.Gap, out.SinceAck)
		for _, cl := range w.s.clients {
			if cl.Attached {
				out.Attached++
			}
		}
		w.s.finished()
		return nil
	})
	return out, err
}

// Stop ends the writing and checks that every node holds the last acknowledged
// write, or one that was lost behind it. A writer whose session was lost is left
// out.
func (w *Writers) Stop() error {
	return w.s.phase(func() error {
		w.stopping = true
		for i := range w.paths {
			cl := w.s.clients[i]
			if cl.Expired {
				continue
			}
			w.left++
			if cl.Attached && !w.state[i].busy {
				w.verify(cl)
			}
		}
		w.check()
		return nil
	})
}

func (w *Writers) check() {
	if w.left == 0 {
		w.s.role = idle{}
		w.s.finished()
	}
}

func (w *Writers) attached(cl *Client) error {
	switch {
	case cl.ID >= len(w.paths):
	case w.stopping:
		w.verify(cl)
	default:
		w.set(cl)
	}
	return nil
}

func (w *Writers) set(cl *Client) {
	me := &w.state[cl.ID]
	me.seq++
	me.busy = true
	var value [proto.ValueLen]byte
	proto.FillValue(value[:], uint32(cl.ID), me.seq)
	xid := cl.Conn.Push(engine.Pending{Op: proto.OpSetData})
	cl.Conn.Out = proto.AppendSet(cl.Conn.Out, xid, w.paths[cl.ID], value[:])
}

// verify reads the node, after everything that the client was told of.
func (w *Writers) verify(cl *Client) {
	xid := cl.Conn.Push(engine.Pending{Op: proto.OpGetData})
	cl.Conn.Out = proto.AppendRead(cl.Conn.Out, xid, proto.OpGetData, w.paths[cl.ID], false)
}

func (w *Writers) detached(cl *Client, _ error) error {
	if cl.Expired {
		w.outage.Expired++
		if cl.ID < len(w.paths) && w.stopping {
			w.left--
			w.check()
		}
		return nil
	}
	w.outage.Dropped[cl.Server]++
	if cl.ID < len(w.paths) && w.state[cl.ID].busy {
		me := &w.state[cl.ID]
		if me.busy = false; me.unknown == 0 {
			me.lost = me.seq
		}
		me.unknown++
	}
	return nil
}

func (w *Writers) reply(cl *Client, p engine.Pending, r proto.Reply) error {
	me, path := &w.state[cl.ID], w.paths[cl.ID]
	if r.Err != proto.OK {
		return cl.Conn.Violation("operation %d on %s failed with %d", p.Op, path, r.Err)
	}
	if p.Op == proto.OpGetData {
		return w.verified(cl, r.Body)
	}
	stat, _, err := proto.ParseStat(r.Body)
	if err != nil || stat.Version <= me.acked || stat.Version > me.acked+1+me.unknown {
		return cl.Conn.Violation("a set of %s made version %d; %d was acknowledged before and %d sets were lost since, %v", path, stat.Version, me.acked, me.unknown, err)
	}
	me.acked, me.unknown, me.busy = stat.Version, 0, false
	now := w.s.loop.Now()
	w.outage.Gap = max(w.outage.Gap, time.Duration(now-w.lastAck))
	w.lastAck = now
	if w.stopping {
		w.verify(cl)
	} else {
		w.set(cl)
	}
	return nil
}

func (w *Writers) verified(cl *Client, body []byte) error {
	me, path := &w.state[cl.ID], w.paths[cl.ID]
	value, rest, err := proto.ParseBytes(body)
	if err != nil {
		return cl.Conn.Violation("getData of %s: %v", path, err)
	}
	seq, err := proto.CheckValue(value, uint32(cl.ID))
	if err != nil {
		return cl.Conn.Violation("getData of %s: %v", path, err)
	}
	stat, _, err := proto.ParseStat(rest)
	first := me.seq // the oldest set whose value may be there
	if me.unknown > 0 {
		first = me.lost - 1
	}
	if err != nil || seq < first || seq > me.seq || stat.Version < me.acked || stat.Version > me.acked+me.unknown {
		return cl.Conn.Violation("%s holds set %d at version %d; sets %d to %d may be there, at versions %d to %d, %v",
			path, seq, stat.Version, first, me.seq, me.acked, me.acked+me.unknown, err)
	}
	w.left--
	w.check()
	return nil
}

func (w *Writers) event(cl *Client, e proto.Event) error {
	return cl.Conn.Violation("an event of type %d on %s, and no watch was set", e.Type, e.Path)
}
