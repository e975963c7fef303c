package server

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// Stream is a connection whose bytes somebody else carries: a simulation, which
// has no sockets and one goroutine for everything. What arrives is handed to
// Feed; what waits is looked for by Pump.
type Stream struct {
	Carrier
	c      *Conn
	woken  atomic.Bool
	parked bool // until the connection takes frames again
	ended  bool // nothing more will arrive
	left   bool
}

// Open enters a connection; nil if the server refuses it.
func (s *Server) Open(way Carrier, addr netip.AddrPort) *Stream {
	st := &Stream{Carrier: way}
	if st.c, _ = s.newConn(st, addr); st.c == nil {
		return nil
	}
	return st
}

// Wake is the Link's.
func (st *Stream) Wake() { st.woken.Store(true) }

// Feed takes bytes that have arrived from the client at now, on Options.Now.
func (st *Stream) Feed(b []byte, now time.Duration) {
	if st.left {
		return
	}
	buf := append(append([]byte(nil), st.c.tail...), b...)
	if st.parked {
		st.c.tail = buf
		return
	}
	st.follow(st.c.srv.arrived(st.c, buf, now))
}

// Parked reports whether the stream waits for the connection to take frames.
func (st *Stream) Parked() bool { return st.parked && !st.left }

// Pump goes on with what waits, if it can at now, on Options.Now.
func (st *Stream) Pump(now time.Duration) {
	if st.Parked() && st.woken.Swap(false) {
		st.follow(st.c.srv.resumed(st.c, now))
	}
	if st.ended && !st.parked {
		st.Leave()
	}
}

func (st *Stream) follow(n next) {
	st.parked = n == nextRoom
	if n == nextEnd {
		st.Leave()
	}
}

// End tells that nothing more will arrive: the client has hung up. What it sent
// before is served first; who reads from a socket sees its end no sooner.
func (st *Stream) End() {
	st.ended = true
	if !st.parked {
		st.Leave()
	}
}

// Leave is the end of the connection: nothing more is read from it.
func (st *Stream) Leave() {
	if !st.left {
		st.left, st.parked = true, false
		st.c.srv.leave(st.c)
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
