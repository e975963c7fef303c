package server

import (
	"bytes"
	"fmt"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/statemachine"
)

// sessionID prints a session's id as ZooKeeper's tools do.
func sessionID(id int64) string { return fmt.Sprintf("%#x", uint64(id)) }

// maxHello is the longest connect request, in bytes, that is waited for: from
// somebody who has yet to say who he is, nothing larger is taken.
const maxHello = 1 << 10

const (
	notHello = "its first frame is not a connect request"
	noQuorum = "this member has no contact with a quorum"
)

// hello handles a connection's first frame. The caller holds the state for
// reading and c.mu. The answer comes when the session, or its attachment, has
// come through the log; until then nothing more is taken from the connection.
func (s *Server) hello(c *Conn, frame []byte, now time.Duration) {
	var req jute.ConnectRequest
	d := jute.NewDecoder(frame)
	req.Decode(&d)
	switch {
	case d.Err() != nil || len(req.Password) > 64:
		s.refuse(c, notHello, "size", len(frame))
		return
	case s.draining.Load():
		s.turnAway(c, metrics.RefusedDraining, "this member is draining")
		return
	case !s.serving.Load():
		s.turnAway(c, metrics.RefusedNotServing, "this member is not serving")
		return
	case !s.hopeful(now):
		s.turnAway(c, metrics.RefusedNotServing, noQuorum)
		return
	case s.turnsAwayStalled():
		s.turnAway(c, metrics.RefusedNotServing, "the disk of this member's log does not answer")
		return
	case req.LastZxidSeen > s.machine.Zxid():
		// Another member has shown it more than is known here. It tries the
		// next one.
		s.turnAway(c, metrics.RefusedZxidAhead, fmt.Sprintf("the client has seen zxid %#x, this member is at %#x", req.LastZxidSeen, s.machine.Zxid()))
		return
	}
	h := &c.hello
	h.create = req.SessionID == 0
	h.hasReadOnly = req.HasReadOnly
	h.timeout = s.negotiate(req.Timeout)
	if !h.create {
		h.session, h.password = req.SessionID, bytes.Clone(req.Password)
	}
	s.admitHandshake(c)
}

func (s *Server) turnsAwayStalled() bool {
	_, stalled := s.heldUp()
	return stalled
}

// turnAway closes a connection that may be welcome elsewhere, or later.
func (s *Server) turnAway(c *Conn, reason metrics.Refusal, why string) {
	s.opt.Metrics.ConnectionsRefused[reason].Inc()
	s.opt.Logger.Info("client turned away: "+why, "client", c.addr)
	c.closeLocked()
}

// welcome answers a handshake. The caller holds the state for writing and c.mu.
func (s *Server) welcome(c *Conn, a *statemachine.Attachment) {
	h := &c.hello
	res := jute.ConnectResponse{HasReadOnly: h.hasReadOnly}
	if a.Create && a.Err != jute.OK {
		// The id that chance picked is taken. The client has no session yet that
		// it could be told the end of; it connects again.
		s.turnAway(c, metrics.RefusedNotServing, "the id picked for its new session is taken")
		return
	}
	if a.Err != jute.OK {
		// No such session any more, or a wrong password: the client must see
		// that its session is gone, never another one in its place.
		var none [16]byte
		res.Password = none[:]
		s.opt.Logger.Info("session is not to be had: it has expired or been closed, or the password is wrong",
			"session", sessionID(a.Session), "client", c.addr)
		s.opt.Metrics.ConnectionsRefused[metrics.RefusedExpired].Inc()
		c.closeLocked()
	} else {
		c.phase = phaseAttached
		// Until now it was the client who waited.
		c.lastHeard.Store(int64(s.opt.Now()))
		c.session, c.epoch = a.Session, a.Epoch
		c.timeout = time.Duration(a.Timeout) * time.Millisecond
		c.ids = append(c.ids[:0], jute.ID{Scheme: "ip", ID: c.ip})
		if a.Create {
			s.opt.Metrics.SessionsCreated.Inc()
		} else {
			s.opt.Metrics.SessionsAttached.Inc()
		}
		res.Timeout, res.SessionID, res.Password = a.Timeout, a.Session, a.Table.Password[:]
	}
	b, mark := jute.BeginFrame(c.out)
	b = res.Append(b)
	jute.EndFrame(b, mark)
	c.out = b
	c.hello = helloState{}
	c.signalRoom()
}
