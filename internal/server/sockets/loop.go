package sockets

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Handler is who a socket's bytes are for. Its methods are called by the
// socket's Loop, one at a time, and must not wait for the client.
type Handler interface {
	// Space returns where the next bytes go; nil for a buffer that all sockets
	// share and that is only good during Arrived.
	Space() []byte
	// Arrived takes what has come, in what Space returned or in the shared
	// buffer, and says what to do next.
	Arrived(b []byte) Next
	// Woken follows Socket.Wake.
	Woken() Next
	// Ended is the last call. err tells why there is nothing more to read: io.EOF,
	// or what the kernel said; nil if it was this side that ended it.
	Ended(err error)
}

// Next is what a socket does after its handler was called.
type Next uint8

const (
	// Read waits for the client's bytes.
	Read Next = iota
	// Wait leaves them in the kernel, so that the client has to wait, until
	// Socket.Wake.
	Wait
	// Linger throws them away, for a moment or until the client closes.
	Linger
	// Gone tells that the handler has taken the connection away (Socket.Detach).
	Gone
)

// sharedBuffer is how much is read at once from one client, before the others
// have their turn.
const sharedBuffer = 64 << 10

// eventsAtOnce is how many sockets are looked at before what their clients
// have asked for is sent on its way.
const eventsAtOnce = 256

// Loop drives its sockets from one goroutine: Run.
type Loop struct {
	epoll *os.File // in the runtime's own poller, so that waiting blocks no thread
	ready syscall.RawConn
	fd    int // epoll's
	bell  int // an eventfd: somebody has posted
	after func()

	mu      sync.Mutex
	sockets map[int]*Socket // by file descriptor
	posted  []*Socket
	closed  bool

	// The loop's own.
	events []unix.EpollEvent
	buf    []byte
	spare  []*Socket
	turn   []*Socket // of events, nil for the bell
}

// NewLoop returns a loop that calls after whenever it is through with what was
// ready. Run must follow.
func NewLoop(after func()) (*Loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that the runtime takes it
		_ = unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &Loop{
		epoll: os.NewFile(uintptr(fd), "epoll"), fd: fd, bell: bell, after: after,
		sockets: make(map[int]*Socket), events: make([]unix.EpollEvent, eventsAtOnce), buf: make([]byte, sharedBuffer),
	}
	l.ready, err = l.epoll.SyscallConn()
	if err == nil {
		err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, bell, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(bell)})
	}
	if err != nil {
		l.release()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return l, nil
}

func (l *Loop) release() {
	_ = l.epoll.Close()
	_ = unix.Close(l.bell)
}

var errLoopClosed = errors.New("the loop has been closed")

// Add gives a connected, non-blocking socket to the loop, which closes it in
// the end. handler makes the Handler for it, before anything arrives.
func (l *Loop) Add(fd int, handler func(*Socket) Handler) error {
	s := &Socket{loop: l, fd: fd, writable: make(chan struct{}, 1), gone: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errLoopClosed
	}
	s.handler = handler(s)
	if s.handler == nil {
		return nil // refused, and told so by whoever refused it
	}
	l.sockets[fd] = s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.watch(unix.EPOLLIN); err != nil {
		s.fd = -1
		delete(l.sockets, fd)
		return err
	}
	return nil
}

// Run drives the sockets until Close has been called and the last has ended.
func (l *Loop) Run() error {
	defer l.release()
	for {
		n, err := l.wait()
		if err != nil {
			return fmt.Errorf("waiting for clients: %w", err)
		}
		l.handle(l.events[:n])
		over := l.answerPosted()
		l.after()
		if over {
			return nil
		}
	}
}

// wait returns how many events there are, and parks the goroutine while there
// are none.
func (l *Loop) wait() (n int, err error) {
	// Under load, waking a thread that has just gone to sleep costs more than
	// what it is woken for. Whoever else wants the processor has it first; often
	// there is something to do then.
	if n, err = unix.EpollWait(l.fd, l.events, 0); n > 0 {
		return n, nil
	}
	_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	parked := l.ready.Read(func(uintptr) bool {
		n, err = unix.EpollWait(l.fd, l.events, 0)
		if err == unix.EINTR {
			n, err = 0, nil
			return false
		}
		return n != 0 || err != nil
	})
	return n, errors.Join(err, parked)
}

func (l *Loop) handle(events []unix.EpollEvent) {
	l.turn = l.turn[:0]
	l.mu.Lock()
	for i := range events {
		l.turn = append(l.turn, l.sockets[int(events[i].Fd)])
	}
	l.mu.Unlock()
	for i, s := range l.turn {
		if s == nil {
			var b [8]byte
			_, _ = unix.Read(l.bell, b[:]) // what was posted is looked for in any case
			continue
		}
		s.handle(events[i].Events)
	}
}

// post has the loop look at s.
func (l *Loop) post(s *Socket) {
	l.mu.Lock()
	l.posted = append(l.posted, s)
	first := len(l.posted) == 1
	l.mu.Unlock()
	if first {
		l.ring()
	}
}

func (l *Loop) ring() {
	one := [8]byte{0: 1}
	_, _ = unix.Write(l.bell, one[:]) // full means that it rings already
}

// answerPosted looks at the sockets that were posted, and reports whether the
// loop is over.
func (l *Loop) answerPosted() (over bool) {
	for {
		l.mu.Lock()
		list := l.posted
		l.posted = l.spare[:0]
		over := l.closed && len(l.sockets) == 0 && len(list) == 0
		l.mu.Unlock()
		l.spare = list
		if len(list) == 0 {
			return over
		}
		for _, s := range list {
			s.answerPosted()
		}
		clear(list)
	}
}

// forget takes a socket that has ended out of the table.
func (l *Loop) forget(fd int) {
	l.mu.Lock()
	delete(l.sockets, fd)
	l.mu.Unlock()
}

// Close ends every socket at once, and then the loop.
func (l *Loop) Close() {
	l.mu.Lock()
	l.closed = true
	list := make([]*Socket, 0, len(l.sockets))
	for _, s := range l.sockets {
		list = append(list, s)
	}
	l.mu.Unlock()
	for _, s := range list {
		s.Abort()
	}
	l.ring()
}
