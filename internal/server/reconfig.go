package server

import (
	"context"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/statemachine"
)

// A reconfig is no write of the session's: the membership is changed by the
// leader, through raft's own kind of entry. It takes its place in the session's
// queue all the same, and while it is there nothing more is read from the
// connection: what was sent before it is answered before it is tried, and what
// was sent after it sees its outcome.

// Reconfigure changes the membership for a client and returns once the change
// is applied here, with the error code that the client gets. allowed says
// whether its ACLs would let it. An error means that the outcome is unknown.
type Reconfigure func(ctx context.Context, req jute.ReconfigRequest, allowed bool) (jute.ErrCode, error)

// reconfigTime bounds a reconfig. A shorter bound follows from the session's
// timeout, since its pings wait meanwhile.
const reconfigTime = 10 * time.Second

// reconfig queues the request. The caller holds the state and c.mu.
func (s *Server) reconfig(c *Conn, p pending, body []byte) {
	var req jute.ReconfigRequest
	d := jute.NewDecoder(body)
	req.Decode(&d)
	if d.Err() != nil {
		p.fail = jute.ErrMarshalling
	}
	p.write = true
	p.body = append([]byte(nil), body...)
	p.size = len(body)
	s.queued(c, p)
	c.reconfiguring = true
	if c.queue.len() == 1 {
		s.beginReconfig(c)
	}
}

// beginReconfig starts the reconfig at the front of the queue. The caller holds
// the state and c.mu.
func (s *Server) beginReconfig(c *Conn) {
	p := *c.queue.front()
	var req jute.ReconfigRequest
	d := jute.NewDecoder(p.body)
	req.Decode(&d)
	allowed := s.may(c, s.machine.Tree().Find(statemachine.ConfigPath), jute.PermWrite)
	timeout := min(reconfigTime, c.timeout/3)
	s.conns.work.Go(func() {
		code, err := p.fail, error(nil)
		if code == jute.OK {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			code, err = s.opt.Reconfig(ctx, req, allowed)
			cancel()
		}
		s.endReconfig(c, p.xid, code, err)
	})
}

func (s *Server) endReconfig(c *Conn, xid int32, code jute.ErrCode, err error) {
	s.state.Lock()
	defer s.finish()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reconfiguring = false
	if c.queue.len() == 0 || c.queue.front().op != jute.OpReconfig || c.phase != phaseAttached {
		return // the connection or its session has gone meanwhile
	}
	s.touched(c)
	p := c.queue.front()
	if err != nil {
		s.opt.Logger.Warn("connection closed: what became of a reconfig is not known", "session", sessionID(c.session), "client", c.addr, "error", err)
		s.end(c, metrics.ClosedNoQuorum)
		return
	}
	if code == jute.OK {
		id := s.machine.Tree().Find(statemachine.ConfigPath)
		b, mark := jute.BeginFrame(c.out)
		b = jute.ReplyHeader{Xid: xid, Zxid: s.machine.Zxid()}.Append(b)
		b = jute.AppendBuffer(b, s.machine.Tree().Data(id))
		b = s.appendStat(b, id)
		jute.EndFrame(b, mark)
		c.out = b
		c.stats.sent++
	} else {
		c.reply(xid, s.machine.Zxid(), code)
	}
	s.answered(c, p)
	s.unqueue(c)
	s.advance(c)
	c.signalRoom()
}
