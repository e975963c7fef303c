package server

import (
	"fmt"
	"io"
	"strings"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/statemachine"
)

// Server is the replica.App of its member: the methods in this file are called
// by the replica's applier, except where said otherwise.

// Apply applies committed entries, and answers and notifies this member's
// clients.
func (s *Server) Apply(entries []*raftpb.Entry) error {
	s.state.Lock()
	s.opt.Metrics.TransactionsApplied.Add(uint64(len(entries)))
	for _, e := range entries {
		if err := s.machine.Apply(e.GetIndex(), e.GetTerm(), e.GetData(), (*sink)(s)); err != nil {
			s.state.Unlock()
			return err
		}
	}
	s.noteTerm(entries[len(entries)-1].GetTerm())
	s.noteApplied()
	s.finish()
	return nil
}

// ApplyMembers applies a committed change of the membership.
func (s *Server) ApplyMembers(index, term uint64, list []statemachine.Member) {
	s.state.Lock()
	s.machine.ApplyMembers(index, term, list, (*sink)(s))
	s.noteTerm(term)
	s.noteApplied()
	s.finish()
}

// finish unlocks the state and sends what applying has left to send.
func (s *Server) finish() {
	dirty := s.dirty
	removed := s.removed
	s.dirty, s.removed = s.dirty[:0:0], nil
	admitted := s.admitWaiting()
	s.state.Unlock()
	if admitted {
		s.announce()
	}
	for _, c := range removed {
		s.watches.RemoveAll(c)
	}
	s.flusher.add(dirty)
}

// touched notes that the connection has something to flush. The caller holds
// the state for writing and c.mu.
func (s *Server) touched(c *Conn) {
	if !c.flushing {
		c.flushing = true
		s.dirty = append(s.dirty, c)
	}
}

// pushed is touched, for a connection whose output was as long as from before an
// event was appended to it. If its client has yet to take what it was sent
// before, and leaves too much, it is let go.
func (s *Server) pushed(c *Conn, from int) {
	s.touched(c)
	c.pushed += len(c.out) - from
	if !c.writing || c.pushed+c.pushing <= s.opt.MaxUnsent || c.phase == phaseClosing {
		return
	}
	s.opt.Logger.Warn("connection closed: the client does not read what it is sent", "session", sessionID(c.session), "client", c.addr, "unsent_bytes", c.unsent+len(c.out))
	s.opt.Metrics.ConnectionsClosed[metrics.ClosedSlow].Inc()
	c.phase = phaseClosing
	c.out = nil
	c.link.Abort() // whoever is writing sees it, and wakes the reader
}

// BeginSnapshot fixes the state as it is now.
func (s *Server) BeginSnapshot() (*statemachine.Snapshot, error) {
	s.state.Lock()
	defer s.state.Unlock()
	return s.machine.BeginSnapshot()
}

// ReadSnapshot runs f while nothing is applied. Any goroutine may call it.
func (s *Server) ReadSnapshot(f func()) {
	s.state.RLock()
	defer s.state.RUnlock()
	f()
}

// EndSnapshot lets go of a snapshot. Any goroutine may call it.
func (s *Server) EndSnapshot(snap *statemachine.Snapshot) {
	s.state.Lock()
	defer s.state.Unlock()
	snap.Close()
}

// Restore replaces the state by a snapshot that the leader sent, because this
// member was too far behind for the log. Its clients have missed events that
// nobody can reconstruct, so they are let go: they reconnect and set their
// watches again, and see what changed.
func (s *Server) Restore(r io.Reader) (statemachine.Members, error) {
	m, err := statemachine.Restore(r)
	if err != nil {
		return statemachine.Members{}, err
	}
	// Whoever has attached them may live still.
	s.state.Lock()
	s.machine = m
	_, s.attached.before = m.Applied()
	clear(s.attached.term)
	for _, c := range s.bySession {
		c.mu.Lock()
		s.drop(c)
		c.mu.Unlock()
	}
	clear(s.bySession)
	// Of handshakes, those that the snapshot has the outcome of have lost their
	// answer. The others' is still to come.
	answered := m.MemberSeq(s.opt.Member, s.opt.Boot)
	for seq, c := range s.handshakes {
		if seq > answered {
			continue
		}
		delete(s.handshakes, seq)
		s.underWay.Add(-1)
		c.mu.Lock()
		c.hello.batch.Done()
		c.closeLocked()
		s.touched(c)
		c.mu.Unlock()
	}
	s.clockRestored()
	s.finish()
	return m.Members(), nil
}

// drop detaches a connection from its session and closes it. The caller holds
// the state for writing and c.mu.
func (s *Server) drop(c *Conn) {
	s.abandon(c)
	c.closeLocked()
	s.removed = append(s.removed, c)
	s.touched(c)
}

// sink hears what applying does. The server's state lock is held for writing.
type sink Server

// Changed notifies the clients of this member that watch what changed. Events
// enter a connection's output while the transaction is applied: before its
// own reply, and before any read that could show the new state.
func (k *sink) Changed(ev statemachine.Event) {
	s := (*Server)(k)
	if s.roster.Followed() {
		s.noteChange(ev)
	}
	deliver := func(c *Conn, typ jute.EventType, path string) {
		acl := ev.ACL
		if typ == jute.EventNodeChildrenChanged {
			acl = ev.ParentACL
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.phase != phaseAttached {
			return
		}
		if s.flags&statemachine.FlagSkipACL == 0 && !statemachine.CheckACL(acl, jute.PermRead, c.ids) {
			return
		}
		from := len(c.out)
		c.out = jute.AppendEvent(c.out, ev.Zxid, typ, path)
		c.stats.sent++
		s.opt.Metrics.WatchEvents.Inc()
		s.pushed(c, from)
	}
	switch ev.Type {
	case jute.EventNodeCreated:
		s.watches.Created(ev.Path, deliver)
	case jute.EventNodeDeleted:
		s.watches.Deleted(ev.Path, deliver)
	case jute.EventNodeDataChanged:
		s.watches.DataChanged(ev.Path, deliver)
	}
}

// Replied answers a write of a session that is attached here.
func (k *sink) Replied(r *statemachine.Result) {
	s := (*Server)(k)
	if r.Member != s.opt.Member {
		return
	}
	c := s.bySession[r.Session]
	if c != nil {
		c.mu.Lock() // so that the queue is not abandoned between the two looks
		defer c.mu.Unlock()
	}
	if r.Op == jute.OpCloseSession {
		s.lastWords.heard(r.Session, r.Epoch)
	}
	if c == nil {
		return
	}
	if c.epoch != r.Epoch || c.queue.len() == 0 {
		return
	}
	if c.phase != phaseAttached {
		// It is closing, and has not been told of the events up to here: a reply
		// would show a zxid beyond them.
		s.abandon(c)
		return
	}
	p := c.queue.front()
	if p.seq != r.Seq {
		// Only a broken invariant leads here. The client must not wait for an
		// answer that it will not get, nor get another request's.
		s.opt.Logger.Error("connection closed: the log answers a request that is not next in the session's queue",
			"session", sessionID(c.session), "applied_seq", r.Seq, "next_seq", p.seq)
		delete(s.bySession, r.Session)
		s.drop(c)
		return
	}
	p.batch.Done()
	if r.Err == jute.ErrQuotaExceeded {
		s.opt.Metrics.QuotaExceeded.Inc()
	}
	if r.SoftQuota != "" {
		s.warnQuota(r, c)
	}
	if !p.quiet {
		c.appendResult(p.xid, r)
		s.answered(c, p)
	}
	refused := p.quiet && r.Err != jute.OK
	s.unqueue(c)
	if refused {
		// The client was told that it is authenticated. It may not go on in that
		// belief.
		s.opt.Logger.Warn("connection closed: the session has proven too many identities", "session", sessionID(c.session), "client", c.addr)
		s.opt.Metrics.AuthFailures.Inc()
		s.opt.Metrics.ConnectionsClosed[metrics.ClosedAuthFailed].Inc()
		delete(s.bySession, r.Session)
		s.drop(c)
		return
	}
	if r.Op == jute.OpCloseSession {
		s.opt.Metrics.SessionsClosed.Inc()
		s.opt.Metrics.ConnectionsClosed[metrics.ClosedSessionClosed].Inc()
		delete(s.bySession, r.Session)
		s.drop(c)
		return
	}
	s.advance(c)
	// Replies, unlike events, are bounded by what is taken from the client.
	s.touched(c)
}

// Refused closes the connection whose write came too late: its session has
// ended, or is attached elsewhere.
func (k *sink) Refused(op statemachine.SessionOp) {
	s := (*Server)(k)
	if op.Op == jute.OpCloseSession {
		s.lastWords.heard(op.Session, op.Epoch)
	}
	// A connection that the session has left waits for no write: what comes is a
	// repeat of one that was executed.
	if c := s.bySession[op.Session]; c != nil && c.epoch == op.Epoch && !c.moved {
		k.detach(c, metrics.ClosedSessionMoved, "a write came after its session had moved or ended")
	}
}

// Attached answers a handshake of this member, and lets go of a connection
// whose session has moved.
func (k *sink) Attached(a *statemachine.Attachment) {
	s := (*Server)(k)
	ours := a.Member == s.opt.Member && a.Boot == s.opt.Boot
	var c *Conn
	if ours {
		if c = s.handshakes[a.Seq]; c != nil {
			s.underWay.Add(-1)
		}
		delete(s.handshakes, a.Seq)
	}
	if a.Err == jute.OK {
		if old := s.bySession[a.Session]; old != nil {
			k.superseded(old, ours)
		}
		_, s.attached.term[a.Session] = s.machine.Applied()
		s.clockAttached(a)
	}
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hello.batch != nil {
		c.hello.batch.Done()
		c.hello.batch = nil
	}
	if c.phase != phaseHandshake {
		return // gone meanwhile; the session waits for its client, or its expiry
	}
	s.welcome(c, a)
	if a.Err == jute.OK {
		s.bySession[a.Session] = c
	}
	s.touched(c)
}

// superseded lets go of the connection whose session has been attached anew:
// at once if that was here, or if it waits for a write that will now be
// refused; otherwise when it writes again, or when the session ends.
func (k *sink) superseded(c *Conn, here bool) {
	c.mu.Lock()
	keep := !here && c.phase == phaseAttached && c.queue.len() == 0
	c.moved = keep
	c.mu.Unlock()
	if keep {
		return
	}
	k.detach(c, metrics.ClosedSessionMoved, "the session's client has connected again")
}

// quotaWarnings is how often a client that goes on over a soft quota is named.
const quotaWarnings = 10 * time.Second

// warnQuota names who is over a soft quota, but not for each of their writes.
func (s *Server) warnQuota(r *statemachine.Result, c *Conn) {
	now := s.opt.Now()
	if now-s.quotaWarned < quotaWarnings && s.quotaWarned != 0 {
		return
	}
	s.quotaWarned = now
	s.opt.Logger.Warn("soft quota exceeded; nothing is refused", "quota", strings.Clone(r.SoftQuota), "use", r.SoftUse, "session", sessionID(c.session), "client", c.addr)
}

func (k *sink) detach(c *Conn, reason metrics.Closure, why string) {
	s := (*Server)(k)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(s.bySession, c.session)
	if c.phase == phaseAttached {
		s.opt.Logger.Info("connection closed: "+why, "session", sessionID(c.session), "client", c.addr)
		s.opt.Metrics.ConnectionsClosed[reason].Inc()
	}
	s.drop(c)
}

// Ended forgets a session that was closed or has expired.
func (k *sink) Ended(e statemachine.End) {
	s := (*Server)(k)
	delete(s.attached.term, e.Session.ID)
	s.clockEnded(e)
	if e.Expired && s.leads() {
		s.opt.Metrics.SessionsExpired.Inc()
	}
	c := s.bySession[e.Session.ID]
	if e.Expired {
		s.opt.Logger.Info("session expired", "session", sessionID(e.Session.ID), "client", e.Session.Client,
			"timeout", time.Duration(e.Session.Timeout)*time.Millisecond, "ephemerals", e.Ephemerals, "connected_here", c != nil)
		if c != nil {
			k.detach(c, metrics.ClosedSessionExpired, "its session has expired")
		}
		return
	}
	// The connection through which a session was closed goes with the reply.
	if c != nil && c.moved {
		k.detach(c, metrics.ClosedSessionClosed, "its session was closed through another member")
	}
}

// appendResult appends the reply to a write.
func (c *Conn) appendResult(xid int32, r *statemachine.Result) {
	b, mark := jute.BeginFrame(c.out)
	b = jute.ReplyHeader{Xid: xid, Zxid: r.Zxid, Err: r.Err}.Append(b)
	if r.Err == jute.OK {
		switch r.Op {
		case jute.OpCreate, jute.OpSync:
			b = jute.AppendString(b, r.Path)
		case jute.OpCreate2, jute.OpCreateContainer, jute.OpCreateTTL:
			b = jute.AppendString(b, r.Path)
			b = r.Stat.Append(b)
		case jute.OpSetData, jute.OpSetACL:
			b = r.Stat.Append(b)
		case jute.OpMulti:
			b = appendParts(b, r.Parts)
		}
	}
	jute.EndFrame(b, mark)
	c.out = b
	c.stats.sent++
}

// appendParts appends the results of a multi, typed as ZooKeeper types them: a
// create2 comes back as a plain create, TTL and container creates as create2.
func appendParts(b []byte, parts []statemachine.Part) []byte {
	for i := range parts {
		p := &parts[i]
		switch p.Op {
		case jute.OpCreate: // a create2 too: the state machine does not tell it apart
			b = jute.MultiHeader{Type: p.Op}.Append(b)
			b = jute.AppendString(b, p.Path)
		case jute.OpCreateContainer, jute.OpCreateTTL:
			b = jute.MultiHeader{Type: jute.OpCreate2}.Append(b)
			b = jute.AppendString(b, p.Path)
			b = p.Stat.Append(b)
		case jute.OpSetData:
			b = jute.MultiHeader{Type: p.Op}.Append(b)
			b = p.Stat.Append(b)
		case jute.OpDelete, jute.OpCheck:
			b = jute.MultiHeader{Type: p.Op}.Append(b)
		case jute.OpError:
			b = jute.MultiHeader{Type: p.Op, Err: int32(p.Err)}.Append(b)
			b = jute.AppendInt32(b, int32(p.Err))
		default:
			panic(fmt.Sprintf("server: a multi of %v was applied", p.Op))
		}
	}
	return jute.MultiEnd.Append(b)
}
