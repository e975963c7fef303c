package engine

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/conclave-dev/conclave/test/bench/proto"
)

// ErrExpired is what Closed is told when the server says that the session has
// expired.
var ErrExpired = errors.New("the session has expired")

// Violation is a server's breach of the protocol.
type Violation struct {
	Conn   int // the connection's ID
	Server netip.AddrPort
	What   string
}

func (v *Violation) Error() string {
	return fmt.Sprintf("connection %d to %v: %s", v.Conn, v.Server, v.What)
}

// Handler is told what happens on a connection. An error ends the loop.
type Handler interface {
	// Opened: the server has confirmed the session.
	Opened(c *Conn) error
	// Reply: p has been answered with r, whose Body is only valid during the
	// call.
	Reply(c *Conn, p Pending, r proto.Reply) error
	// Event: a watch has fired; e.Path is only valid during the call.
	Event(c *Conn, e proto.Event) error
	// Pong: the ping that was sent, or meant to be sent, at the time sent has
	// been answered.
	Pong(c *Conn, sent int64) error
	// Closed: the connection is gone, for the reason err. It is not called after
	// Conn.Close.
	Closed(c *Conn, err error) error
}

type state uint8

const (
	connecting state = iota
	handshake
	open
	closed
)

// Conn is one client connection. Its exported fields may be read by handlers.
type Conn struct {
	// ID is the caller's number for it.
	ID int
	// Server is where it goes.
	Server netip.AddrPort
	// Session and Timeout (ms) are the server's once the connection is open.
	Session proto.Session
	Timeout int32
	// LastZxid is the largest zxid in any reply so far, over all connections of
	// the session.
	LastZxid int64
	// Heard is when the server was last heard from.
	Heard int64
	// Out takes what is to be sent next: append to it after Push.
	Out []byte

	loop     *Loop
	handler  Handler
	fd       int
	slot     int
	gen      int32 // tells events of this connection from those of the slot's last
	state    state
	dirty    bool
	polling  bool // the kernel is asked to tell when there is room to write
	sent     int  // what of Out is on its way already
	rest     []byte
	pending  queue
	xid      int32
	lastSent int64
	pings    []int64 // when the unanswered pings were sent
}

// Options of a connection.
type Options struct {
	ID       int
	Server   netip.AddrPort
	Session  proto.Session // zero: a new one
	LastZxid int64
	Timeout  int32 // asked for, in ms
	// Reserve is how many requests may be outstanding before memory has to be
	// allocated for more.
	Reserve int
}

// Dial starts to connect; h will be told how it went. The error is of this
// machine only (no descriptors, no ports).
func (l *Loop) Dial(o Options, h Handler) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("TCP_NODELAY: %w", err)
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(o.Server.Port()), Addr: o.Server.Addr().As4()})
	if err != nil && err != unix.EINPROGRESS && err != unix.ECONNREFUSED {
		unix.Close(fd)
		return nil, fmt.Errorf("connect to %v: %w", o.Server, err)
	}
	c := &Conn{ID: o.ID, Server: o.Server, Session: o.Session, Timeout: o.Timeout, LastZxid: o.LastZxid, loop: l, handler: h, fd: fd, polling: true, Heard: l.now}
	if o.Reserve > 0 {
		c.pending.ring = make([]Pending, ceilPow2(o.Reserve))
		c.Out = make([]byte, 0, 1024)
	}
	l.generation++
	c.gen = l.generation
	if n := len(l.free); n > 0 {
		c.slot, l.free = l.free[n-1], l.free[:n-1]
		l.conns[c.slot] = c
	} else {
		c.slot = len(l.conns)
		l.conns = append(l.conns, c)
	}
	if err := c.poll(unix.EPOLL_CTL_ADD, unix.EPOLLIN|unix.EPOLLOUT); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func ceilPow2(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

func (c *Conn) poll(op int, events uint32) error {
	if err := unix.EpollCtl(c.loop.epfd, op, c.fd, &unix.EpollEvent{Events: events, Fd: int32(c.slot), Pad: c.gen}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// Push enters a request into the FIFO order and returns its transaction number;
// the caller appends the request to Out.
func (c *Conn) Push(p Pending) int32 {
	c.xid++
	p.Xid = c.xid
	c.pending.push(p)
	c.touch()
	return p.Xid
}

// Ping sends a ping that counts as sent at the time at.
func (c *Conn) Ping(at int64) {
	c.pings = append(c.pings, at)
	c.Out = proto.AppendPing(c.Out)
	c.touch()
}

func (c *Conn) touch() {
	c.lastSent = c.loop.now
	if !c.dirty {
		c.dirty = true
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// Now is the time of the loop's last look at the clock.
func (c *Conn) Now() int64 { return c.loop.now }

// Outstanding is the number of requests without a reply.
func (c *Conn) Outstanding() int { return c.pending.n }

// Open tells whether the session is confirmed and the connection not closed.
func (c *Conn) Open() bool { return c.state == open }

// Close closes the connection with a reset, which leaves no port behind in
// TIME_WAIT; the session stays. The handler is not told.
func (c *Conn) Close() {
	if c.state == closed {
		return
	}
	c.state = closed
	// Best effort: without it the close is an ordinary one.
	unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(c.fd)
	c.loop.conns[c.slot] = nil
	c.loop.free = append(c.loop.free, c.slot)
}

// lost closes the connection and tells the handler.
func (c *Conn) lost(err error) error {
	if c.state == closed {
		return nil
	}
	c.Close()
	return c.handler.Closed(c, err)
}

func (c *Conn) violation(format string, args ...any) error {
	return &Violation{c.ID, c.Server, fmt.Sprintf(format, args...)}
}

// Violation makes an error that names the connection.
func (c *Conn) Violation(format string, args ...any) error { return c.violation(format, args...) }

// ready handles what epoll has reported.
func (c *Conn) ready(events uint32) error {
	if c.state == connecting {
		code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			return c.lost(fmt.Errorf("connect: %w", err))
		case code != 0:
			return c.lost(fmt.Errorf("connect: %w", unix.Errno(code)))
		case events&unix.EPOLLOUT == 0:
			return nil
		}
		c.state = handshake
		c.Out = proto.AppendConnect(c.Out, c.Session, c.LastZxid, c.Timeout)
		c.touch()
		return nil
	}
	if events&unix.EPOLLOUT != 0 {
		if err := c.flush(); err != nil || c.state == closed {
			return err
		}
	}
	if events&^unix.EPOLLOUT != 0 {
		return c.read()
	}
	return nil
}

// flush sends Out. What the kernel does not take now is sent when it says that
// there is room.
func (c *Conn) flush() error {
	if c.state == closed || c.state == connecting {
		return nil
	}
	for c.sent < len(c.Out) {
		n, errno := rawWrite(c.fd, c.Out[c.sent:])
		if errno == unix.EAGAIN {
			if !c.polling {
				c.polling = true
				return c.poll(unix.EPOLL_CTL_MOD, unix.EPOLLIN|unix.EPOLLOUT)
			}
			return nil
		}
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return c.lost(fmt.Errorf("write: %w", errno))
		}
		c.sent += n
	}
	c.Out, c.sent = c.Out[:0], 0
	if c.polling {
		c.polling = false
		return c.poll(unix.EPOLL_CTL_MOD, unix.EPOLLIN)
	}
	return nil
}

// read takes what has come in and handles every frame that is complete.
func (c *Conn) read() error {
	l := c.loop
	have := copy(l.buf, c.rest)
	n, errno := rawRead(c.fd, l.buf[have:])
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return nil
	case errno != 0:
		return c.lost(fmt.Errorf("read: %w", errno))
	case n == 0:
		return c.lost(io.EOF)
	}
	l.now = l.clock()
	c.Heard = l.now
	b := l.buf[:have+n]
	for {
		body, size, err := proto.Frame(b)
		if err != nil {
			return c.violation("%v", err)
		}
		if size == 0 {
			break
		}
		if err := c.frame(body); err != nil || c.state == closed {
			return err
		}
		b = b[size:]
	}
	if len(b) == len(l.buf) {
		return c.violation("a frame is longer than %d bytes", len(l.buf))
	}
	c.rest = append(c.rest[:0], b...)
	return nil
}

func (c *Conn) frame(body []byte) error {
	if c.state == handshake {
		return c.accepted(body)
	}
	r, err := proto.ParseReply(body)
	if err != nil {
		return c.violation("%v", err)
	}
	if r.Xid == proto.XidEvent {
		if r.Zxid > 0 && r.Zxid <= c.LastZxid {
			return c.violation("an event of zxid %#x came after a reply of zxid %#x", r.Zxid, c.LastZxid)
		}
		e, err := proto.ParseEvent(r.Body)
		if err != nil {
			return c.violation("event: %v", err)
		}
		return c.handler.Event(c, e)
	}
	if r.Zxid < c.LastZxid {
		return c.violation("zxid went back from %#x to %#x", c.LastZxid, r.Zxid)
	}
	c.LastZxid = r.Zxid
	if r.Xid == proto.XidPing {
		if len(c.pings) == 0 {
			return c.violation("an answer to a ping that was not sent")
		}
		sent := c.pings[0]
		c.pings = append(c.pings[:0], c.pings[1:]...)
		return c.handler.Pong(c, sent)
	}
	p, ok := c.pending.pop()
	if !ok {
		return c.violation("a reply to request %d, and none is outstanding", r.Xid)
	}
	if r.Xid != p.Xid {
		return c.violation("a reply to request %d came, the oldest outstanding one is %d", r.Xid, p.Xid)
	}
	return c.handler.Reply(c, p, r)
}

func (c *Conn) accepted(body []byte) error {
	a, err := proto.ParseAccepted(body)
	if err != nil {
		return c.violation("answer to the connect request: %v", err)
	}
	if a.Timeout <= 0 {
		return c.lost(ErrExpired)
	}
	if c.Session.ID != 0 && a.ID != c.Session.ID {
		return c.violation("asked for session %#x, got %#x", c.Session.ID, a.ID)
	}
	if a.ID == 0 {
		return c.violation("got session 0 with a timeout of %d ms", a.Timeout)
	}
	c.state, c.Session, c.Timeout = open, a.Session, a.Timeout
	c.lastSent = c.loop.now
	return c.handler.Opened(c)
}

// Pinging tells whether a ping has not been answered.
func (c *Conn) Pinging() bool { return len(c.pings) > 0 }
