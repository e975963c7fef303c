package server

import (
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/statemachine"
)

// serve takes the whole frames at the start of buf, as many as the connection
// takes now, and returns how many bytes they were: fewer than there are when
// the rest has to wait for the handshake or for outstanding requests. now is
// Options.Now.
func (s *Server) serve(c *Conn, buf []byte, now time.Duration) (used int) {
	s.state.RLock()
	c.mu.Lock()
	if c.phase == phaseAttached && !s.fresh(now, c.timeout) {
		s.opt.Logger.Info("connection closed: this member has had no contact with a quorum for too long to vouch for the session",
			"session", sessionID(c.session), "client", c.addr, "timeout", c.timeout)
		s.end(c, metrics.ClosedNoQuorum)
	}
	for s.ready(c) {
		n, err := frameEnd(buf[used:], s.opt.MaxBuffer)
		if n == 0 || err != nil {
			break
		}
		s.one(c, buf[used+4:used+n], now)
		used += n
	}
	c.mu.Unlock()
	s.state.RUnlock()
	return used
}

// maxHeld bounds what the requests of all clients hold together, in bytes, as
// GlobalOutstanding bounds their number.
const maxHeld = 128 << 20

// ready reports whether the connection takes another frame now. The caller
// holds c.mu.
func (s *Server) ready(c *Conn) bool {
	switch c.phase {
	case phaseHello:
		return true
	case phaseAttached:
		if c.reconfiguring {
			return false
		}
		n := c.queue.len()
		if n > 0 && (s.opt.GlobalOutstanding > 0 && s.outstanding.Load() >= int64(s.opt.GlobalOutstanding) || s.held.Load() >= maxHeld) {
			return false
		}
		return n < s.opt.MaxOutstanding && !c.tooSlow()
	}
	return false
}

// one handles one frame. The caller holds the state for reading and c.mu.
func (s *Server) one(c *Conn, frame []byte, now time.Duration) {
	if c.phase == phaseHello {
		s.hello(c, frame, now)
		return
	}
	d := jute.NewDecoder(frame)
	xid, op := d.Int32(), jute.OpCode(d.Int32())
	if d.Err() != nil {
		s.refuse(c, "a request without a header", "size", len(frame))
		return
	}
	c.stats.received++
	s.opt.Metrics.PacketsReceived.Inc()
	body := d.Rest()
	switch {
	case op == jute.OpPing:
		// Answered at once: a ping asks whether the member lives, not whether
		// the session's requests are done.
		c.reply(xid, s.machine.Zxid(), jute.OK)
		s.answered(c, &pending{xid: xid, op: op, start: now})
		return
	case op == jute.OpAuth:
		s.auth(c, xid, body)
		return
	case isWrite(op) && c.moved:
		s.opt.Logger.Info("connection closed: it wrote after its session had moved to another member", "session", sessionID(c.session), "client", c.addr)
		s.end(c, metrics.ClosedSessionMoved)
		return
	case isWrite(op):
		s.submit(c, pending{xid: xid, op: op, write: true, start: now}, op, body)
		return
	}
	p := pending{xid: xid, op: op, start: now}
	switch {
	case op == jute.OpReconfig && !s.opt.ReconfigEnabled:
		p.fail = jute.ErrReconfigDisabled
	case op == jute.OpReconfig:
		s.reconfig(c, p, body)
		return
	case op == jute.OpDeleteContainer:
		// The leader's own. It names a path without looking at any ACL.
		p.fail = jute.ErrBadArguments
	case !isRead(op):
		p.fail = jute.ErrUnimplemented
	}
	if c.queue.len() == 0 {
		s.answer(c, &p, body)
		return
	}
	p.body = append([]byte(nil), body...)
	p.size = len(body) + s.replySize(c, op, body)
	s.queued(c, p)
}

// submit gives a write the session's next number and sends it on its way. The
// caller holds c.mu, so that numbers and the outbox have the same order.
func (s *Server) submit(c *Conn, p pending, op jute.OpCode, body []byte) {
	c.nextSeq++
	p.seq = c.nextSeq
	h := statemachine.SessionOp{Session: c.session, Epoch: c.epoch, Seq: p.seq, Flags: s.flags, Op: op}
	out := s.node.Outbox()
	b := out.Begin()
	b.Ops = statemachine.AppendSessionOp(b.Ops, h, body)
	p.batch, p.size = b, len(body)
	out.End(b)
	s.queued(c, p)
}

func (s *Server) queued(c *Conn, p pending) {
	c.queue.push(p)
	s.outstanding.Add(1)
	s.held.Add(int64(p.size))
}

// unqueue removes the oldest request, which has been answered.
func (s *Server) unqueue(c *Conn) {
	s.outstanding.Add(-1)
	s.held.Add(-int64(c.queue.front().size))
	c.queue.pop()
}

// abandon removes all requests. Nobody waits for them any more, and a change of
// leader may lose them, but for the last word: a client that closes its session
// and hangs up does not come back to say it again.
func (s *Server) abandon(c *Conn) {
	if p := c.queue.last(); p != nil && p.op == jute.OpCloseSession && p.batch != nil {
		s.lastWords.add(c.session, c.epoch, p.batch)
		p.batch = nil
	}
	s.held.Add(-int64(c.queue.size))
	s.outstanding.Add(-int64(c.queue.abandon()))
}

// answer answers a read, or a request that failed beforehand.
func (s *Server) answer(c *Conn, p *pending, body []byte) {
	switch p.fail {
	case jute.OK:
		s.read(c, p.xid, p.op, body)
	case jute.ErrUnimplemented:
		c.reply(p.xid, -1, p.fail) // ZooKeeper's zxid for what never entered its pipeline
		s.opt.Logger.Warn("unknown operation: the connection is closed", "session", sessionID(c.session), "client", c.addr, "op", p.op.String())
		s.end(c, metrics.ClosedMalformed)
	default:
		c.reply(p.xid, s.machine.Zxid(), p.fail)
	}
	s.answered(c, p)
}

// answered accounts for a reply that has just been encoded.
func (s *Server) answered(c *Conn, p *pending) {
	now := s.opt.Now()
	lat := now - p.start
	s.opt.Metrics.Request(metrics.OpOf(int32(p.op))).Observe(lat)
	s.opt.Metrics.PacketsSent.Inc()
	if p.write {
		s.opt.Metrics.Proposal.Observe(lat)
	}
	c.stats.observe(p.op, p.xid, s.machine.Zxid(), now, lat)
}

// advance answers the reads that waited behind a write that has just been
// answered. The caller holds the state and c.mu.
func (s *Server) advance(c *Conn) {
	for c.queue.len() > 0 && c.phase == phaseAttached {
		p := c.queue.front()
		if p.write {
			if p.op == jute.OpReconfig {
				s.beginReconfig(c)
			}
			break
		}
		s.answer(c, p, p.body)
		s.unqueue(c)
	}
	if c.waiting {
		c.signalRoom()
	}
}

// refuse closes a connection for something that no client may send.
func (s *Server) refuse(c *Conn, what string, args ...any) {
	s.opt.Logger.Warn("connection closed: "+what, append([]any{"client", c.addr, "session", sessionID(c.session)}, args...)...)
	if c.phase == phaseAttached {
		s.end(c, metrics.ClosedMalformed)
		return
	}
	s.opt.Metrics.ConnectionsRefused[metrics.RefusedMalformed].Inc()
	c.closeLocked()
}

// end stops taking requests from a connection with a session, for a reason
// that is counted. The caller holds c.mu.
func (s *Server) end(c *Conn, why metrics.Closure) {
	if c.phase == phaseAttached {
		s.opt.Metrics.ConnectionsClosed[why].Inc()
	}
	c.closeLocked()
}
