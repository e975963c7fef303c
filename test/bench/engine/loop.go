package engine

import (
	"container/heap"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	readBuffer = 256 << 10
	batch      = 256 // events taken from the kernel at once
)

// Loop is one thread's set of connections and timers.
type Loop struct {
	epfd   int
	wakeup int // an eventfd: Post writes, the loop reads
	clock  Clock
	// now is the time of the last look at the clock, which is taken whenever
	// bytes have been read and before timers run.
	now    int64
	events []unix.EpollEvent
	// conns holds every open connection in its slot; free slots are nil.
	conns []*Conn
	free  []int
	// generation numbers the connections that ever were.
	generation int32
	// buf is where every connection's bytes are read to; a frame that is not
	// complete moves to its connection.
	buf []byte
	// dirty are the connections with something to send.
	dirty  []*Conn
	timers timers
	done   bool
	err    error

	mu     sync.Mutex
	posted []func() error
}

// New makes a loop that takes the time from clock.
func New(clock Clock) (*Loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	wakeup, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epfd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &Loop{epfd: epfd, wakeup: wakeup, clock: clock, events: make([]unix.EpollEvent, batch), buf: make([]byte, readBuffer)}
	l.now = clock()
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, wakeup, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}); err != nil {
		l.Close()
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	return l, nil
}

// Now is the time of the last look at the clock.
func (l *Loop) Now() int64 { return l.now }

// Stop makes Run return nil.
func (l *Loop) Stop() { l.done = true }

// Post has the loop call fn. It may be called from any goroutine.
func (l *Loop) Post(fn func() error) {
	l.mu.Lock()
	l.posted = append(l.posted, fn)
	l.mu.Unlock()
	one := [8]byte{1}
	// It fails only when the counter is full, and then the loop wakes up anyway.
	unix.Write(l.wakeup, one[:])
}

// Run serves connections and timers until Stop, or until a handler or timer
// returns an error, which it returns.
func (l *Loop) Run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// By default the kernel rounds waits up by 50 microseconds to save power.
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set the timer slack: %w", err)
	}
	l.done, l.err = false, nil
	l.flush()
	for !l.done && l.err == nil {
		n, err := l.wait()
		if err != nil {
			return err
		}
		for _, e := range l.events[:n] {
			if e.Fd < 0 {
				l.keep(l.runPosted())
			} else if c := l.conns[e.Fd]; c != nil && c.gen == e.Pad {
				l.keep(c.ready(e.Events))
			}
			l.flush()
			if l.done || l.err != nil {
				break
			}
		}
		l.runTimers()
	}
	return l.err
}

func (l *Loop) keep(err error) {
	if l.err == nil {
		l.err = err
	}
}

// wait returns the number of events in l.events.
func (l *Loop) wait() (int, error) {
	// Most of the time something is ready: ask without the detour through Go's
	// scheduler first.
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epfd), uintptr(unsafe.Pointer(&l.events[0])), batch, 0, 0, 0)
	if errno == 0 && n == 0 {
		var timeout *unix.Timespec
		if len(l.timers) > 0 {
			l.now = l.clock()
			ts := unix.NsecToTimespec(max(l.timers[0].at-l.now, 0))
			timeout = &ts
		}
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epfd), uintptr(unsafe.Pointer(&l.events[0])), batch, uintptr(unsafe.Pointer(timeout)), 0, 0)
	}
	l.now = l.clock()
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("epoll_pwait2: %w", errno)
}

func (l *Loop) runPosted() error {
	var counter [8]byte
	unix.Read(l.wakeup, counter[:]) // only resets the counter
	l.mu.Lock()
	fns := l.posted
	l.posted = nil
	l.mu.Unlock()
	var errs []error
	for _, fn := range fns {
		errs = append(errs, fn())
	}
	return errors.Join(errs...)
}

func (l *Loop) runTimers() {
	for len(l.timers) > 0 && !l.done && l.err == nil && l.timers[0].at <= l.now {
		t := heap.Pop(&l.timers).(*Timer)
		l.keep(t.fn())
		l.flush()
	}
}

// flush sends what the last handler left behind.
func (l *Loop) flush() {
	for len(l.dirty) > 0 {
		c := l.dirty[len(l.dirty)-1]
		l.dirty = l.dirty[:len(l.dirty)-1]
		c.dirty = false
		l.keep(c.flush())
	}
}

// Each calls fn for every connection that has not been closed.
func (l *Loop) Each(fn func(c *Conn)) {
	for _, c := range l.conns {
		if c != nil {
			fn(c)
		}
	}
}

// KeepAlive pings every connection that has sent nothing for a third of its
// session's timeout, as clients do. It looks twice a second.
func (l *Loop) KeepAlive() {
	const every = 500e6
	var t *Timer
	t = l.NewTimer(func() error {
		l.Each(func(c *Conn) {
			if c.state == open && l.now-c.lastSent > int64(c.Timeout)*1e6/3 {
				c.Ping(l.now)
			}
		})
		t.Set(l.now + every)
		return nil
	})
	t.Set(l.now + every)
}

// Close closes all connections (their sessions stay) and frees the loop, which
// must not run any more.
func (l *Loop) Close() {
	l.Each((*Conn).Close)
	unix.Close(l.wakeup)
	unix.Close(l.epfd)
}
