package swarm

import (
	"time"

	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/hist"
	"github.com/conclave-dev/conclave/test/bench/proto"
)

// Told is what it took to tell many clients of a change.
type Told struct {
	// All is, for each round, the time from sending the set to the last client's
	// event; Each is the time to every client's event.
	All, Each hist.H
}

// Watch has all clients but the last one watch the node at path, which holds the
// value of node 0 at the version given, and the last one set it, again and again
// for the time d. The next round begins when all have been told and watch again.
func (s *Swarm) Watch(path string, version int32, d time.Duration) (told *Told, last int32, err error) {
	w := &watching{s: s, path: path, version: version, told: new(Told)}
	err = s.phase(func() error {
		s.role = w
		w.end = s.loop.Now() + d.Nanoseconds()
		w.seen = make([]int32, len(s.clients))
		w.register()
		return nil
	})
	return w.told, w.version, err
}

type watching struct {
	s       *Swarm
	path    string
	version int32 // what the node has, or will have once the set is executed
	told    *Told
	end     int64
	// missing is how many replies or events the present step still waits for.
	missing int
	setting bool    // the step is the set, and the events that it causes
	sent    int64   // when the set was sent
	last    int64   // when the last event came
	seen    []int32 // per client: the version that it was last told of
}

// register has every watcher read the node and watch it.
func (w *watching) register() {
	watchers := w.s.clients[:len(w.s.clients)-1]
	w.setting, w.missing = false, len(watchers)
	for _, cl := range watchers {
		xid := cl.Conn.Push(engine.Pending{Op: proto.OpGetData})
		cl.Conn.Out = proto.AppendRead(cl.Conn.Out, xid, proto.OpGetData, w.path, true)
	}
}

func (w *watching) set() {
	cl := w.s.clients[len(w.s.clients)-1]
	w.version++
	var value [proto.ValueLen]byte
	proto.FillValue(value[:], 0, w.version)
	w.setting, w.missing = true, len(w.s.clients) // the events, and the reply
	w.sent = w.s.loop.Now()
	xid := cl.Conn.Push(engine.Pending{Op: proto.OpSetData})
	cl.Conn.Out = proto.AppendSet(cl.Conn.Out, xid, w.path, value[:])
}

// done counts one of the step's replies and events.
func (w *watching) done() {
	if w.missing--; w.missing > 0 {
		return
	}
	if !w.setting {
		w.set()
		return
	}
	w.told.All.Record(w.last - w.sent)
	if w.s.loop.Now() >= w.end {
		w.s.role = idle{}
		w.s.finished()
		return
	}
	w.register()
}

func (w *watching) reply(cl *Client, p engine.Pending, r proto.Reply) error {
	if r.Err != proto.OK {
		return cl.Conn.Violation("operation %d on %s failed with %d", p.Op, w.path, r.Err)
	}
	body := r.Body
	if p.Op == proto.OpGetData {
		value, rest, err := proto.ParseBytes(body)
		if err != nil {
			return cl.Conn.Violation("getData of %s: %v", w.path, err)
		}
		if v, err := proto.CheckValue(value, 0); err != nil || v != w.version {
			return cl.Conn.Violation("%s has the value of version %d after version %d was told of, %v", w.path, v, w.version, err)
		}
		body = rest
	}
	stat, _, err := proto.ParseStat(body)
	if err != nil || stat.Version != w.version {
		return cl.Conn.Violation("%s has version %d, want %d, %v", w.path, stat.Version, w.version, err)
	}
	w.done()
	return nil
}

func (w *watching) event(cl *Client, e proto.Event) error {
	if e.Type != proto.EventDataChanged || string(e.Path) != w.path || !w.setting || w.seen[cl.ID] == w.version {
		return cl.Conn.Violation("an event of type %d on %s that was not due", e.Type, e.Path)
	}
	w.seen[cl.ID] = w.version
	w.last = w.s.loop.Now()
	w.told.Each.Record(w.last - w.sent)
	w.done()
	return nil
}

func (w *watching) attached(*Client) error { return nil }

func (w *watching) detached(cl *Client, err error) error { return err }
