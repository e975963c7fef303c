package server

import (
	"net/netip"
	"sync"
	"time"

	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/roster"
	"github.com/conclave-dev/conclave/internal/server/sockets"
)

// connTable knows every connection and every goroutine that works for one.
type connTable struct {
	mu    sync.Mutex
	next  uint64
	all   map[uint64]*Conn
	perIP map[string]int
	// heard are the sessions whose connection was heard from and has gone since
	// the leader was last told.
	heard []int64
	// gone are the attachments whose connection has ended since then.
	gone  []roster.Seat
	loops []*sockets.Loop
	over  bool // closed: no loop is adopted any more
	work  sync.WaitGroup
}

func (t *connTable) init() {
	t.all = make(map[uint64]*Conn)
	t.perIP = make(map[string]int)
}

// spawn runs f in a goroutine that Stop waits for.
func (t *connTable) spawn(f func()) { t.work.Go(f) }

// adopt runs a loop until close; failed hears why it ended before.
func (t *connTable) adopt(l *sockets.Loop, failed func(error)) {
	t.mu.Lock()
	t.loops = append(t.loops, l)
	over := t.over
	t.mu.Unlock()
	if over {
		l.Close()
	}
	t.spawn(func() {
		if err := l.Run(); err != nil {
			failed(err)
		}
	})
}

// close ends every loop, with the connections in it.
func (t *connTable) close() {
	t.mu.Lock()
	t.over = true
	loops := t.loops
	t.mu.Unlock()
	for _, l := range loops {
		l.Close()
	}
}

// each calls f for every connection, with the table unlocked.
func (t *connTable) each(f func(*Conn)) {
	for _, c := range t.list() {
		f(c)
	}
}

func (t *connTable) list() []*Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*Conn, 0, len(t.all))
	for _, c := range t.all {
		out = append(out, c)
	}
	return out
}

// takeLeft returns what heard and gone hold, and forgets it.
func (t *connTable) takeLeft() (heard []int64, gone []roster.Seat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	heard, gone = t.heard, t.gone
	t.heard, t.gone = nil, nil
	return heard, gone
}

func (t *connTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}

// newConn enters a connection in the table, unless there are too many.
func (s *Server) newConn(link Link, addr netip.AddrPort) (*Conn, metrics.Refusal) {
	ip := clientIP(addr)
	t := &s.conns
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.opt.MaxConnsPerIP > 0 && t.perIP[ip] >= s.opt.MaxConnsPerIP {
		return nil, metrics.RefusedTooManyFromHost
	}
	if s.opt.MaxConns > 0 && len(t.all) >= s.opt.MaxConns {
		return nil, metrics.RefusedTooMany
	}
	t.next++
	now := s.opt.Now()
	c := &Conn{id: t.next, srv: s, link: link, addr: addr, ip: ip, open: time.Now(), opened: now}
	c.lastHeard.Store(int64(now))
	t.all[c.id] = c
	t.perIP[ip]++
	return c, 0
}

// leave removes a connection whose reader has ended.
func (s *Server) leave(c *Conn) {
	c.mu.Lock()
	if c.phase == phaseAttached {
		s.opt.Metrics.ConnectionsClosed[metrics.ClosedByClient].Inc()
	}
	attached := c.session != 0
	news := attached && time.Duration(c.lastHeard.Load()) != c.reported
	tell := attached && !c.goneTold
	c.phase = phaseClosing
	s.abandon(c)
	s.admission.forget(c)
	c.out, c.spare = nil, nil
	c.mu.Unlock()
	if attached {
		s.state.Lock()
		if s.bySession[c.session] == c {
			delete(s.bySession, c.session)
		}
		s.state.Unlock()
		s.watches.RemoveAll(c)
	}
	c.link.Abort()
	t := &s.conns
	t.mu.Lock()
	delete(t.all, c.id)
	if news {
		t.heard = append(t.heard, c.session)
	}
	if tell {
		t.gone = append(t.gone, roster.Seat{Session: c.session, Epoch: c.epoch})
	}
	if t.perIP[c.ip]--; t.perIP[c.ip] <= 0 {
		delete(t.perIP, c.ip)
	}
	t.mu.Unlock()
}

// CloseAll closes every connection after what it has been sent, at most pace
// of them a tick; tick is called before each further lot.
func (s *Server) CloseAll(pace int, tick func()) {
	for i, c := range s.conns.list() {
		if i > 0 && i%pace == 0 {
			tick()
		}
		c.mu.Lock()
		why := metrics.ClosedStopping
		if s.draining.Load() {
			why = metrics.ClosedDraining
		}
		s.end(c, why)
		c.mu.Unlock()
		c.flush()
	}
}

// Drain turns new clients away, or lets them in again.
func (s *Server) Drain(v bool) { s.draining.Store(v) }

// Draining reports whether new clients are turned away.
func (s *Server) Draining() bool { return s.draining.Load() }

// Connections returns how many client connections are open.
func (s *Server) Connections() int { return s.conns.len() }

// Stop ends all connections and waits for their goroutines. The listener must
// be closed and the replica stopped.
func (s *Server) Stop() {
	s.conns.each(func(c *Conn) {
		c.mu.Lock()
		c.phase = phaseClosing
		c.mu.Unlock()
		c.link.Abort()
	})
	s.conns.close()
	s.flusher.close()
	s.conns.work.Wait()
}

// flusher sends what applying has left in connections' buffers, beside the
// applier: a batch may touch thousands of them.
type flusher struct {
	mu     sync.Mutex
	cond   sync.Cond
	list   []*Conn
	closed bool
}

func (f *flusher) init() { f.cond.L = &f.mu }

// inlineFlushes is how many connections the applier flushes by itself: waking
// another goroutine for them would cost more.
const inlineFlushes = 2

func (f *flusher) add(dirty []*Conn) {
	if len(dirty) <= inlineFlushes {
		for _, c := range dirty {
			c.flushTouched()
		}
		return
	}
	f.mu.Lock()
	f.list = append(f.list, dirty...)
	f.mu.Unlock()
	f.cond.Signal()
}

func (c *Conn) flushTouched() {
	c.mu.Lock()
	c.flushing = false
	c.mu.Unlock()
	c.flush()
}

// run flushes until close.
func (f *flusher) run() {
	var spare []*Conn
	for {
		f.mu.Lock()
		for len(f.list) == 0 && !f.closed {
			f.cond.Wait()
		}
		if f.closed {
			f.mu.Unlock()
			return
		}
		list := f.list
		f.list = spare[:0]
		f.mu.Unlock()
		for _, c := range list {
			c.flushTouched()
		}
		clear(list)
		spare = list
	}
}

func (f *flusher) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cond.Broadcast()
}
