package load

import (
	"fmt"

	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/proto"
)

// Lock is the lock recipe: an ephemeral sequential node; whoever has the lowest
// one holds the lock, the others watch the one before theirs. A holder looks
// whether its node is still there, which takes one round trip, and releases; then
// it contends again. An operation is one hand-over: it starts when the holder
// sends its release and ends when the next one knows that it holds.
type Lock struct {
	dirs  []string
	locks []lock
	// conns is indexed by connection; connection i contends for lock i % locks.
	conns []contender
}

// lock is what must be true of one lock, whoever asks.
type lock struct {
	// holder is the connection that holds it, -1 for none: from the reply that
	// told it so until it sends its release.
	holder int
	// last is the sequence number of the last holder: it only grows.
	last int64
	// released is when the last holder sent its release, 0 before there was one.
	released int64
}

type contender struct {
	stage stage
	path  []byte // of its node
	seq   int64  // the number at the path's end
}

type stage uint8

const (
	idle stage = iota
	creating
	listing
	watching // the predecessor, with no answer yet
	waiting  // for the predecessor's end
	holding
	releasing
)

// NewLock makes a script for conns connections on the locks dirs. All connections
// have to be in one loop: the script itself sees that nobody holds a lock beside
// another one.
func NewLock(dirs []string, conns int) *Lock {
	l := &Lock{dirs: dirs, locks: make([]lock, len(dirs)), conns: make([]contender, conns)}
	for i := range l.locks {
		l.locks[i].holder, l.locks[i].last = -1, -1
	}
	return l
}

const candidate = "/lock-"

func (s *Lock) of(c *engine.Conn) (*contender, *lock, string) {
	i := c.ID % len(s.locks)
	return &s.conns[c.ID], &s.locks[i], s.dirs[i]
}

// Begin enters the contention. A connection is in it once, whatever the depth.
func (s *Lock) Begin(c *engine.Conn, _ int64) {
	me, _, dir := s.of(c)
	if me.stage != idle {
		return
	}
	me.stage = creating
	xid := c.Push(engine.Pending{Op: proto.OpCreate})
	c.Out = proto.AppendCreate(c.Out, xid, dir+candidate, nil, proto.EphemeralSequential)
}

func (s *Lock) list(c *engine.Conn) {
	me, _, dir := s.of(c)
	me.stage = listing
	xid := c.Push(engine.Pending{Op: proto.OpGetChildren})
	c.Out = proto.AppendRead(c.Out, xid, proto.OpGetChildren, dir, false)
}

// Idle tells whether the connection is out of the contention.
func (s *Lock) Idle(c *engine.Conn) bool { return s.conns[c.ID].stage == idle }

// Reply takes the recipe one step further.
func (s *Lock) Reply(c *engine.Conn, p engine.Pending, r proto.Reply) (Outcome, error) {
	me, _, dir := s.of(c)
	if p.Op != proto.OpGetData || r.Err != proto.NoNode {
		if err := expectOK(c, p, r); err != nil {
			return Outcome{}, err
		}
	}
	switch p.Op {
	case proto.OpCreate:
		path, _, err := proto.ParseBytes(r.Body)
		if err != nil || len(path) != len(dir)+len(candidate)+10 || string(path[:len(dir)+len(candidate)]) != dir+candidate {
			return Outcome{}, c.Violation("the candidate for %s was created as %q, %v", dir, path, err)
		}
		me.path = append(me.path[:0], path...)
		if me.seq, err = sequence(me.path[len(dir)+1:]); err != nil {
			return Outcome{}, c.Violation("%v", err)
		}
		s.list(c)
		return Outcome{}, nil
	case proto.OpGetChildren:
		return s.listed(c, r)
	case proto.OpGetData:
		if me.stage != watching {
			return Outcome{}, nil // the event came first, and the list is under way
		}
		if me.stage = waiting; r.Err == proto.NoNode {
			s.list(c)
		}
		return Outcome{}, nil
	case proto.OpExists:
		s.release(c)
		return Outcome{}, nil
	default: // the release
		me.stage = idle
		return Outcome{Next: true}, nil
	}
}

// listed finds out who is first.
func (s *Lock) listed(c *engine.Conn, r proto.Reply) (Outcome, error) {
	me, lock, dir := s.of(c)
	n, b, err := proto.ParseCount(r.Body, 4)
	if err != nil {
		return Outcome{}, c.Violation("children of %s: %v", dir, err)
	}
	before := int64(-1) // the highest sequence number below ours
	found := false
	for range n {
		var name []byte
		if name, b, err = proto.ParseBytes(b); err != nil {
			return Outcome{}, c.Violation("children of %s: %v", dir, err)
		}
		seq, err := sequence(name)
		if err != nil {
			return Outcome{}, c.Violation("%v", err)
		}
		if found = found || seq == me.seq; seq < me.seq {
			before = max(before, seq)
		}
	}
	if !found {
		return Outcome{}, c.Violation("the session created %s and does not find it", me.path)
	}
	if before >= 0 {
		me.stage = watching
		xid := c.Push(engine.Pending{Op: proto.OpGetData})
		c.Out = proto.AppendRead(c.Out, xid, proto.OpGetData, fmt.Sprintf("%s%s%010d", dir, candidate, before), true)
		return Outcome{}, nil
	}
	if lock.holder >= 0 {
		return Outcome{}, c.Violation("%s is held twice: by connection %d and by this one", dir, lock.holder)
	}
	if me.seq <= lock.last {
		return Outcome{}, c.Violation("%s went from candidate %d to candidate %d", dir, lock.last, me.seq)
	}
	out := Outcome{Done: lock.released > 0, Started: lock.released}
	lock.last = me.seq
	lock.holder = c.ID
	me.stage = holding
	xid := c.Push(engine.Pending{Op: proto.OpExists})
	c.Out = proto.AppendRead(c.Out, xid, proto.OpExists, string(me.path), false)
	return out, nil
}

func (s *Lock) release(c *engine.Conn) {
	me, lock, _ := s.of(c)
	me.stage = releasing
	lock.holder = -1
	lock.released = c.Now()
	xid := c.Push(engine.Pending{Op: proto.OpDelete})
	c.Out = proto.AppendDelete(c.Out, xid, string(me.path))
}

// Event tells that the predecessor has gone.
func (s *Lock) Event(c *engine.Conn, e proto.Event) error {
	me, _, _ := s.of(c)
	if e.Type != proto.EventDeleted || me.stage != waiting && me.stage != watching {
		return c.Violation("an event of type %d on %s in stage %d of the lock recipe", e.Type, e.Path, me.stage)
	}
	s.list(c)
	return nil
}

// sequence is the number at the end of a candidate's name.
func sequence(name []byte) (int64, error) {
	const digits = 10
	if len(name) != len(candidate)-1+digits {
		return 0, fmt.Errorf("%q is no candidate's name", name)
	}
	n := int64(0)
	for _, d := range name[len(name)-digits:] {
		if d < '0' || d > '9' {
			return 0, fmt.Errorf("%q is no candidate's name", name)
		}
		n = n*10 + int64(d-'0')
	}
	return n, nil
}
