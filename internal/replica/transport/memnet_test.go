package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// memNetwork is a network in memory, where a process can be killed without a
// word and a link can swallow what is sent. It works in a synctest bubble, so
// that what takes seconds takes none.
type memNetwork struct {
	mu        sync.Mutex
	listeners map[string]*memListener
	conns     map[string][]net.Conn // by the address of a process, both ends' views
	// swallow: nothing gets from or to these addresses; dials hang.
	swallow map[string]bool
}

func newMemNetwork() *memNetwork {
	return &memNetwork{listeners: map[string]*memListener{}, conns: map[string][]net.Conn{}, swallow: map[string]bool{}}
}

type memListener struct {
	addr   memAddr
	n      *memNetwork
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

type memAddr string

func (a memAddr) Network() string { return "mem" }
func (a memAddr) String() string  { return string(a) }

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Addr() net.Addr { return l.addr }

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if l.n.listeners[string(l.addr)] == l {
		delete(l.n.listeners, string(l.addr))
	}
	return nil
}

func (n *memNetwork) listen(addr string) *memListener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &memListener{addr: memAddr(addr), n: n, queue: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[addr] = l
	return l
}

// turnConn lets one Write in at a time, as a pipe does by itself, but waiting for
// a mutex would stop the virtual clock.
type turnConn struct {
	net.Conn
	turn chan struct{}
}

func (c *turnConn) Write(p []byte) (int, error) {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	return c.Conn.Write(p)
}

func turns(a, b net.Conn) (*turnConn, net.Conn) { return &turnConn{a, make(chan struct{}, 1)}, b }

// wire carries what one end of a connection writes to the other, and its end;
// both may be swallowed.
func (n *memNetwork) wire(from, to net.Conn, ends ...string) {
	buf := make([]byte, 32<<10)
	for {
		got, err := from.Read(buf)
		n.mu.Lock()
		lost := n.swallow[ends[0]] || n.swallow[ends[1]]
		n.mu.Unlock()
		if lost {
			if err != nil {
				from.Close()
				return
			}
			continue
		}
		if got > 0 {
			if _, werr := to.Write(buf[:got]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			from.Close()
			to.Close()
			return
		}
	}
}

func (n *memNetwork) dial(from string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		n.mu.Lock()
		l := n.listeners[addr]
		lost := n.swallow[from] || n.swallow[addr]
		n.mu.Unlock()
		if lost {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if l == nil {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
		}
		ours, near := turns(net.Pipe())
		theirs, far := turns(net.Pipe())
		n.mu.Lock()
		n.conns[from] = append(n.conns[from], ours)
		n.conns[addr] = append(n.conns[addr], theirs)
		n.mu.Unlock()
		go n.wire(near, far, from, addr)
		go n.wire(far, near, from, addr)
		select {
		case l.queue <- theirs:
			return ours, nil
		case <-l.closed:
			err := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			return nil, errors.Join(err, ours.Close(), theirs.Close())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), ours.Close(), theirs.Close())
		}
	}
}

// crash ends a process as the kernel would: its sockets close, without a word.
func (n *memNetwork) crash(addr string) {
	n.mu.Lock()
	l, conns := n.listeners[addr], n.conns[addr]
	n.conns[addr] = nil
	n.mu.Unlock()
	if l != nil {
		l.Close()
	}
	for _, c := range conns {
		c.Close()
	}
}

// replace puts a new process where one is, with no moment in between at which
// a dial would be refused.
func (n *memNetwork) replace(t testing.TB, id uint64, addr string, h Handler) *Transport {
	n.mu.Lock()
	conns := n.conns[addr]
	n.conns[addr] = nil
	old := n.listeners[addr]
	n.mu.Unlock()
	m := n.member(t, id, addr, h, nil)
	old.Close()
	for _, c := range conns {
		c.Close()
	}
	return m
}

func (n *memNetwork) member(t testing.TB, id uint64, addr string, h Handler, change func(*Options)) *Transport {
	return open(t, id, h, func(o *Options) {
		o.Listener = n.listen(addr)
		o.Dial = n.dial(addr)
		if change != nil {
			change(o)
		}
	})
}

func (n *memNetwork) setSwallow(addr string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.swallow[addr] = on
}

func (n *memNetwork) ensemble(t testing.TB, count int) *ensemble {
	e := &ensemble{}
	peers := map[uint64]string{}
	for i := range count {
		addr := fmt.Sprintf("m%d", i+1)
		peers[uint64(i+1)] = addr
		r := newRecorder()
		e.handlers = append(e.handlers, r)
		e.members = append(e.members, n.member(t, uint64(i+1), addr, r, nil))
	}
	e.introduce(t, peers)
	return e
}

// within runs in virtual time and says how much of it passed.
func within(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}
