package server

import (
	"net/netip"
	"time"
)

// Stream is the reading side of a connection whose bytes somebody else carries:
// a simulation, which has no sockets and one goroutine for everything. What
// arrives is handed to Feed; what a connection's own goroutine would wait for
// is looked for by Pump.
type Stream struct {
	s      *Server
	c      *Conn
	buf    []byte // arrived and not taken: whole frames that wait, or part of one
	parked bool   // until the connection takes frames again
	left   bool
}

// Open enters a connection; nil if the server refuses it.
func (s *Server) Open(link Link, addr netip.AddrPort) *Stream {
	c, _ := s.newConn(link, addr)
	if c == nil {
		return nil
	}
	return &Stream{s: s, c: c}
}

// Feed takes bytes that have arrived from the client at now, on Options.Now.
func (st *Stream) Feed(b []byte, now time.Duration) {
	if st.left {
		return
	}
	st.buf = append(st.buf, b...)
	if !st.parked {
		st.c.lastHeard.Store(int64(now))
		st.take(now)
	}
}

// Parked reports whether the stream waits for the connection to take frames.
func (st *Stream) Parked() bool { return st.parked && !st.left }

// Pump goes on with what waits, if it can at now, on Options.Now.
func (st *Stream) Pump(now time.Duration) {
	if !st.Parked() {
		return
	}
	select {
	case <-st.c.room:
		st.parked = false
		if len(st.buf) > 0 {
			st.c.lastHeard.Store(int64(now))
		}
		st.take(now)
	default:
	}
}

// take is Server.take, parking where that waits.
func (st *Stream) take(now time.Duration) {
	for {
		n, err := frameEnd(st.buf, st.s.opt.MaxBuffer)
		if err != nil {
			st.c.mu.Lock()
			st.s.refuseFrame(st.c, st.buf, err)
			st.c.mu.Unlock()
			st.c.flush()
			st.Leave()
			return
		}
		if n == 0 {
			if !st.s.isOpen(st.c) {
				st.c.flush()
				st.Leave()
			}
			return
		}
		used := st.s.serve(st.c, st.buf, now)
		st.c.flush()
		st.buf = st.buf[used:]
		if used > 0 {
			continue
		}
		st.c.mu.Lock()
		ready, closing := st.s.ready(st.c), st.c.phase == phaseClosing
		st.parked = !ready && !closing
		st.c.waiting = st.parked
		st.c.mu.Unlock()
		switch {
		case closing:
			st.Leave()
			return
		case !ready:
			return
		}
	}
}

// Leave is the end of the connection: its client has hung up, or nothing more
// is read from it.
func (st *Stream) Leave() {
	if !st.left {
		st.left, st.parked = true, false
		st.s.leave(st.c)
	}
}

// Left reports whether the connection has come to its end.
func (st *Stream) Left() bool { return st.left }

// FlushTouched sends what applying has left for many connections at once, for
// a server that Run does not run.
func (s *Server) FlushTouched() {
	f := &s.flusher
	f.mu.Lock()
	list := f.list
	f.list = nil
	f.mu.Unlock()
	for _, c := range list {
		c.flushTouched()
	}
}

// TickInterval is how often Tick wants to be called.
func (s *Server) TickInterval() time.Duration { return tickInterval(s.opt) }
