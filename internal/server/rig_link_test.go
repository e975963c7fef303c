package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// link is a connection: to the server a Link, and beside it what the server's
// loop over its sockets would be, as a function that the rig calls (pump).
type link struct {
	m    *member
	c    *Conn
	addr netip.AddrPort

	socket []byte // sent by the client, not read by the server
	parked bool   // the reader waits for Wake
	done   bool   // the reader has come to its end,
	left   bool   // and the connection is out of the server's table
	said   []string

	mu      sync.Mutex
	arrived []byte // what the client can read
	// stuffed is closed when the client reads again, nil when it reads.
	stuffed        chan struct{}
	waiting        bool // the server waits for the client to read
	woken          bool // Wake was called
	closed, broken bool
	gone           chan struct{} // closed with broken
}

var errLink = errors.New("the connection is closed")

// dial opens a connection to the member. Every connection has an address of
// its own, by which the log says which one it means.
func (m *member) dial() *link {
	r := m.rig
	r.dials++
	l := &link{m: m, addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), uint16(10000+r.dials)), gone: make(chan struct{})}
	c, refused := m.srv.newConn(l, l.addr)
	if c == nil {
		l.say(fmt.Sprintf("refused (%v)", refused))
		l.done, l.left, l.closed = true, true, true
		return l
	}
	l.c = c
	m.links = append(m.links, l)
	return l
}

// TryWrite takes everything, or nothing from a client that does not read.
func (l *link) TryWrite(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed || l.broken:
		return 0, errLink
	case l.stuffed != nil:
		l.waiting = true
		return 0, nil
	}
	l.arrived = append(l.arrived, b...)
	return len(b), nil
}

// Write waits until the client reads.
func (l *link) Write(b []byte) (int, error) {
	l.mu.Lock()
	stuffed := l.stuffed
	l.waiting = stuffed != nil
	l.mu.Unlock()
	if stuffed != nil {
		select {
		case <-stuffed:
		case <-l.gone:
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = false
	if l.closed || l.broken {
		return 0, errLink
	}
	l.arrived = append(l.arrived, b...)
	return len(b), nil
}

// Close ends the stream after what was written.
func (l *link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return nil
}

// Abort ends the stream at once.
func (l *link) Abort() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.broken {
		l.broken = true
		close(l.gone)
	}
}

// Wake lets the reader look again.
func (l *link) Wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.woken = true
}

func (l *link) takeWoken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	woken := l.woken
	l.woken = false
	return woken
}

// stuff makes the client stop reading.
func (l *link) stuff() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stuffed == nil {
		l.stuffed = make(chan struct{})
	}
}

// resume makes it read again, and lets whoever has waited for that go on.
func (l *link) resume() {
	l.mu.Lock()
	if l.stuffed != nil {
		close(l.stuffed)
		l.stuffed, l.waiting = nil, false
	}
	l.mu.Unlock()
	l.m.await()
}

// blocked reports whether a goroutine of the server waits for the client.
func (l *link) blocked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting && !l.broken
}

func (l *link) ended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed || l.broken
}

// receive returns what the client reads next.
func (l *link) receive() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.arrived
	l.arrived = nil
	return b
}

func (l *link) say(why string) { l.said = append(l.said, why) }

// pump does what the loop over sockets does with one of them.
func (l *link) pump() (progress bool) {
	if l.done {
		return false
	}
	s, c := l.m.srv, l.c
	if l.parked {
		if !l.takeWoken() {
			l.checkParked()
			return false
		}
		l.follow(s.resumed(c, l.m.rig.now))
		return true
	}
	switch {
	case l.ended():
		l.leave()
	case len(l.socket) == 0:
		return false
	default:
		buf := append(append([]byte(nil), c.tail...), l.socket...)
		l.socket = nil
		l.follow(s.arrived(c, buf, l.m.rig.now))
	}
	return true
}

func (l *link) follow(n next) {
	l.parked = n == nextRoom
	if n == nextEnd {
		l.leave()
	}
}

// checkParked wants a reader that could go on to have been woken.
func (l *link) checkParked() {
	c := l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	// With a bound on all connections together, one may have become ready by
	// what another had answered. Its own next answer wakes it.
	global := l.m.srv.opt.GlobalOutstanding > 0 && c.queue.len() > 0
	if l.m.srv.ready(c) && !global || c.phase == phaseClosing {
		l.m.rig.t.Errorf("%s: the reader of the connection from %v (session %#x) could go on or end, and nobody wakes it", l.m.name, l.addr, c.session)
	}
}

// leave is the end of the reader: at once, unless the rig lingers.
func (l *link) leave() {
	l.done = true
	if !l.m.rig.linger {
		l.end()
	}
}

func (l *link) end() {
	l.m.srv.leave(l.c)
	l.done, l.left, l.parked = true, true, false
	l.m.links = slices.DeleteFunc(l.m.links, func(o *link) bool { return o == l })
}

// hangUp is the client closing its end.
func (l *link) hangUp() {
	if l.left {
		return
	}
	l.Abort()
	if !l.parked { // otherwise the reader finds out when it is woken
		l.end()
	}
}

// logTap keeps what the server logs of each connection: why it was closed.
type logTap struct {
	m *member
}

func (h *logTap) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h *logTap) Handle(_ context.Context, rec slog.Record) error {
	r := h.m.rig
	var client string
	fields := []string{}
	rec.Attrs(func(a slog.Attr) bool {
		if a.Key == "client" {
			client = a.Value.String()
		} else {
			fields = append(fields, a.Key+"="+a.Value.String())
		}
		return true
	})
	if rec.Level >= slog.LevelError {
		r.t.Errorf("%s logs an error: %s %s", h.m.name, rec.Message, strings.Join(fields, " "))
	}
	if rec.Message == "session expired" {
		if h.m == r.leader {
			r.note("-- session expired: %s", strings.Join(fields, " "))
		}
		return nil
	}
	for _, c := range r.clients {
		if c.link != nil && c.link.addr.String() == client {
			c.link.say(rec.Message)
			return nil
		}
	}
	if client == "" {
		r.note("-- %s: %s", h.m.name, strings.Join(append([]string{rec.Message}, fields...), " "))
	}
	return nil
}

func (h *logTap) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *logTap) WithGroup(string) slog.Handler      { return h }
