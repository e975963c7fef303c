package server

import (
	"fmt"
	"time"

	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/replica"
	"github.com/conclave-dev/conclave/internal/roster"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/tree"
)

// tickInterval is how often sessions, handshakes and the quorum are looked at:
// several times in the shortest session timeout.
func tickInterval(opt Options) time.Duration {
	return min(max(opt.MinTimeout/16, 5*time.Millisecond), 250*time.Millisecond)
}

// patience is how long the leader hears nothing of a session before it expires
// it: the session's timeout, and what it may take until the leader learns what a
// member has heard. A member that fails within a tick of it takes the news with
// it; its client has been answered all the same.
func (s *Server) patience(timeout time.Duration) time.Duration {
	return timeout + 2*tickInterval(s.opt)
}

// Run does what has to be done from time to time, until stop is closed.
func (s *Server) Run(stop <-chan struct{}) {
	s.conns.spawn(s.flusher.run)
	// A pause may come before the first tick.
	s.clockMu.Lock()
	s.pause.Observe(s.opt.Now())
	s.clockMu.Unlock()
	ticker := time.NewTicker(tickInterval(s.opt))
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			s.Tick(s.opt.Now())
		}
	}
}

// maxExpiriesPerTick bounds how many sessions are ended at once, so that a
// crowd of them does not keep everybody else waiting.
const maxExpiriesPerTick = 1000

// Tick lets time pass up to now, on Options.Now.
func (s *Server) Tick(now time.Duration) {
	s.clockMu.Lock()
	if paused := s.pause.Observe(now); paused > 0 {
		// This process was stopped: whoever seems silent may have been waiting
		// for it. The clocks start again.
		s.opt.Logger.Warn("this process was paused; no session is expired for it", "for", paused)
		s.opt.Metrics.Pauses.Observe(paused)
		s.clock.RestartAll(now)
		s.wentOn = now
	}
	s.clockMu.Unlock()
	report := s.look(now)
	s.clockMu.Lock()
	role := s.role
	var due []int64
	if s.expiring {
		s.hear(s.opt.Member, now, report)
		s.roster.Tick(now)
		if _, stalled := s.node.Stalled(); s.fresh(now, s.opt.MinTimeout) && !stalled {
			due = s.clock.Due(now, maxExpiriesPerTick)
		} else {
			// Who is silent may be waiting for the ensemble: a handshake needs a
			// quorum and its disks.
			s.clock.RestartAll(now)
		}
	}
	s.clockMu.Unlock()
	if !role.IsLeader && role.Leader != 0 && !s.reporter.Report(role.Leader, report.Append(nil)) {
		s.tellAll() // what it said of those who have left is lost
	}
	if len(due) > 0 {
		s.expire(now, due)
	}
	s.reap(now)
}

// closeTime is how long a connection that is closing may take to deliver what
// it has been sent.
const closeTime = 10 * time.Second

// look visits every connection: which sessions were heard from since the last
// time, which handshakes take too long, whom this member can't vouch for.
func (s *Server) look(now time.Duration) *roster.Report {
	report := s.newReport(now)
	stalledSince, stalled := s.heldUp()
	s.conns.each(func(c *Conn) {
		heard := time.Duration(c.lastHeard.Load())
		c.mu.Lock()
		switch c.phase {
		case phaseHello:
			if now-c.opened > max(s.opt.MinTimeout, time.Second) {
				// Whoever looks whether a port is open does this all day.
				s.opt.Logger.Debug("connection closed: no connect request came", "client", c.addr)
				s.opt.Metrics.ConnectionsRefused[metrics.RefusedSilent].Inc()
				c.closeLocked()
			}
		case phaseHandshake:
			// Its client is here; that it waits is the ensemble's doing. The session
			// may exist already, if this member lags behind.
			report.Heard = append(report.Heard, c.hello.session)
			if now-heard > time.Duration(c.hello.timeout)*time.Millisecond {
				c.closeLocked()
			} else if !s.hopeful(now) {
				// It came while an election was still on its way to an end.
				s.turnAway(c, metrics.RefusedNotServing, noQuorum)
			}
		case phaseAttached:
			if !s.fresh(now, c.timeout) {
				s.opt.Logger.Info("connection closed: this member has had no contact with a quorum for too long to vouch for the session",
					"session", sessionID(c.session), "client", c.addr, "timeout", c.timeout)
				s.end(c, metrics.ClosedNoQuorum)
			} else if stalled && now-stalledSince >= c.timeout/time.Duration(s.opt.QuorumLease) {
				// Its writes are committed without this member, and it would not
				// be told.
				s.opt.Logger.Info("connection closed: the disk of this member's log has not answered for too long",
					"session", sessionID(c.session), "client", c.addr, "timeout", c.timeout, "stalled", now-stalledSince)
				s.end(c, metrics.ClosedDiskStalled)
			} else if now-heard > c.timeout && !(c.waiting && c.queue.len() > 0) {
				// Its session is the leader's to expire; the connection is dead. (If
				// we have not read from it because it waits for us, we can't tell.)
				s.opt.Logger.Info("connection closed: nothing was heard from the client for its session's timeout",
					"session", sessionID(c.session), "client", c.addr, "timeout", c.timeout)
				s.end(c, metrics.ClosedSilent)
			} else if heard != c.reported || c.queue.len() > 0 {
				// A client that waits for us is not silent. Nor is one whose session
				// has moved: that may have been a handshake which it had given up,
				// and which came through late.
				c.reported = heard
				report.Heard = append(report.Heard, c.session)
			}
		}
		switch seat := (roster.Seat{Session: c.session, Epoch: c.epoch}); {
		case c.phase == phaseAttached && report.Full && !c.moved:
			report.Open = append(report.Open, seat)
		case c.phase == phaseClosing && c.session != 0 && !c.goneTold:
			c.goneTold = true
			report.Gone = append(report.Gone, seat)
		}
		closing, dead := c.phase == phaseClosing && c.closeAfter, c.phase == phaseClosing && now-c.closing > closeTime
		c.mu.Unlock()
		switch {
		case dead:
			c.link.Abort()
		case closing:
			c.flush()
		}
	})
	return report
}

// Report takes what another member heard from its sessions. Any goroutine may
// call it.
func (s *Server) Report(from uint64, payload []byte) {
	now := s.opt.Now()
	report, err := roster.DecodeReport(payload)
	if err != nil {
		s.opt.Logger.Warn("a member's report is unreadable", "member", fmt.Sprintf("%x", from), "error", err)
		return
	}
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	if s.expiring {
		s.hear(from, now, report)
	}
}

// hear takes a report: whom the member has heard from, and whose connections it
// has. The caller holds clockMu.
func (s *Server) hear(from uint64, now time.Duration, report *roster.Report) {
	for _, id := range report.Heard {
		s.clock.Touch(now, id)
	}
	s.roster.Report(now, from, report)
}

// expire proposes to end sessions, each as it is attached now: one that is
// attached again before the proposal is applied lives on. So does one that was
// attached, or heard from, since it was found due: with the state held still its
// clock tells.
func (s *Server) expire(now time.Duration, due []int64) {
	var ops []byte
	s.View(func(m *statemachine.Machine) {
		s.clockMu.Lock()
		defer s.clockMu.Unlock()
		for _, id := range due {
			t := m.Sessions().Get(id)
			if t == nil {
				continue
			}
			timeout := s.patience(time.Duration(t.Timeout) * time.Millisecond)
			if silence, known := s.clock.Silence(now, id); known && silence > timeout {
				ops = statemachine.AppendExpire(ops, id, t.Epoch)
			}
		}
	})
	if len(ops) > 0 {
		s.node.ProposeAsLeader(ops)
	}
}

// RoleChanged notes who leads. The replica's loop calls it.
func (s *Server) RoleChanged(r replica.Role) {
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	if !r.IsLeader || r.Term != s.role.Term {
		s.expiring = false
		s.roster.End()
	}
	if r.Leader != s.role.Leader || r.Term != s.role.Term {
		s.told.since = s.opt.Now() // somebody new, who has been told nothing
	}
	if r.Leader != 0 && s.told.firstTerm == 0 {
		s.told.firstTerm = r.Term
	}
	s.role = r
}

// leads reports whether this member leads and keeps the sessions' clocks.
func (s *Server) leads() bool {
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	return s.expiring
}

// noteTerm starts the clocks once a leader has applied an entry of its own
// term: then it knows every session that there is. All of them were heard from
// just now, as far as anyone can tell. The caller holds the state's lock.
func (s *Server) noteTerm(term uint64) {
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	if !s.role.IsLeader || s.role.Term != term || s.expiring {
		return
	}
	s.expiring = true
	s.beginRoster()
	s.clock.Restart(s.opt.Now(), func(yield func(int64, time.Duration) bool) {
		for _, t := range s.machine.Sessions().Sorted() {
			if !yield(t.ID, s.patience(time.Duration(t.Timeout)*time.Millisecond)) {
				return
			}
		}
	})
}

func (s *Server) clockAttached(a *statemachine.Attachment) {
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	if s.expiring {
		s.clock.Add(s.opt.Now(), a.Session, s.patience(time.Duration(a.Timeout)*time.Millisecond))
		index, _ := s.machine.Applied()
		s.roster.Attached(s.rosterEntry(a.Table, index))
	}
}

func (s *Server) clockEnded(e statemachine.End) {
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	s.clock.Remove(e.Session.ID)
	s.roster.Ended(e.Session.ID, s.machine.Zxid(), e.Expired)
}

func (s *Server) clockRestored() {
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	s.expiring = false
	s.roster.End()
}

// reap proposes to remove the containers and TTL nodes whose time has come.
func (s *Server) reap(now time.Duration) {
	if now-s.lastReap < s.opt.ContainerInterval || !s.leads() {
		return
	}
	s.lastReap = now
	limit := max(1, int(float64(s.opt.ContainerPerMinute)*max(s.opt.ContainerInterval.Minutes(), 1.0/60)))
	neverUsed := s.opt.ContainerNeverUsed.Milliseconds()
	wall := s.opt.WallMillis()
	var ops []byte
	s.View(func(m *statemachine.Machine) {
		t := m.Tree()
		visit := func(id tree.NodeID) bool {
			if m.Reapable(id, neverUsed, wall) {
				ops = statemachine.AppendReap(ops, t.Path(id), neverUsed)
				limit--
			}
			return limit > 0
		}
		t.Containers()(visit)
		if limit > 0 {
			t.TTLNodes()(visit)
		}
	})
	if len(ops) > 0 {
		s.node.ProposeAsLeader(ops)
	}
}
