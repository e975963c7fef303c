package server

import (
	"container/list"
	"sync"

	"github.com/conclave-dev/conclave/internal/statemachine"
)

// DefaultMaxHandshakes is Options.MaxHandshakes where none are given. A lot of so
// many costs the others some milliseconds, and takes a member no longer than it
// would without a bound: a round of the log is a small part of it.
const DefaultMaxHandshakes = 1000

// admission lets handshakes into the log, a bounded number at a time. After a
// restart every client comes at once, and each costs an entry's share and its
// applying: whoever is in would wait behind all of them with each of his writes.
// Those that are answered make room for the next. So the pace is the ensemble's
// own, and nobody waits for a clock.
//
// Who waits here is told of to the leader like everybody whose handshake is under
// way: his session does not expire.
type admission struct {
	mu sync.Mutex
	// attaching and creating wait, oldest first: who has a session to lose goes
	// before who has none yet. What is in them is bounded by the number of
	// connections: one that leaves is removed.
	attaching, creating list.List
}

// enqueue lets a connection wait. The caller holds c.mu.
func (a *admission) enqueue(c *Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := &a.attaching
	if c.hello.create {
		q = &a.creating
	}
	c.hello.place, c.hello.queue = q.PushBack(c), q
}

// forget removes a connection that may be waiting. The caller holds c.mu.
func (a *admission) forget(c *Conn) {
	if c.hello.place == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c.hello.queue.Remove(c.hello.place) // does nothing if next has
	c.hello.place = nil
}

// next takes out who has waited longest; nil if nobody waits.
func (a *admission) next() *Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range []*list.List{&a.attaching, &a.creating} {
		if e := q.Front(); e != nil {
			return q.Remove(e).(*Conn)
		}
	}
	return nil
}

func (a *admission) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.attaching.Len() + a.creating.Len()
}

// HandshakesWaiting returns how many clients wait for others before their handshake
// enters the log.
func (s *Server) HandshakesWaiting() int { return s.admission.len() }

// admitHandshake sends a connection's handshake on its way, now or in its turn. The
// caller holds the state for reading and c.mu.
func (s *Server) admitHandshake(c *Conn) {
	c.phase = phaseHandshake
	if s.underWay.Add(1) > int64(s.opt.MaxHandshakes) {
		s.underWay.Add(-1)
		// Somebody is under way, and makes room when the state is held for
		// writing: not before this one is in the queue.
		s.admission.enqueue(c)
		s.opt.Metrics.HandshakesQueued.Inc()
		return
	}
	s.submitHandshake(c)
}

// admitWaiting fills the room that answered handshakes have left, and reports
// whether anybody was let in. The caller holds the state for writing.
func (s *Server) admitWaiting() (any bool) {
	for s.underWay.Load() < int64(s.opt.MaxHandshakes) {
		c := s.admission.next()
		if c == nil {
			break
		}
		c.mu.Lock()
		if c.phase == phaseHandshake {
			s.underWay.Add(1)
			s.submitHandshake(c)
			any = true
		}
		c.mu.Unlock()
	}
	return any
}

// submitHandshake puts a connection's handshake into the outbox. The caller holds
// the state, for reading or writing, and c.mu.
func (s *Server) submitHandshake(c *Conn) {
	h := &c.hello
	client := c.addr.String()
	out := s.node.Outbox()
	b := out.Begin()
	s.memberSeq++
	op := statemachine.MemberOp{Member: s.opt.Member, Boot: s.opt.Boot, Seq: s.memberSeq}
	if h.create {
		h.session = randomID()
		b.Ops = statemachine.AppendCreateSession(b.Ops, op, h.session, randomPassword(), h.timeout, client, c.ip)
	} else {
		b.Ops = statemachine.AppendAttach(b.Ops, op, h.session, h.password, h.timeout, client, c.ip)
	}
	s.handshakes[op.Seq] = c
	h.seq, h.batch = op.Seq, b
	h.password = nil
	out.End(b)
}
