package sockets

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// lingerTime is how long a connection that this side has closed is kept for the
// client to read our last words and close its side. Closing with unread input
// would reset the connection, and the client might never see the reply that
// told it why.
const lingerTime = time.Second

// what is posted to a socket, as bits.
type posted uint8

const (
	postWake posted = 1 << iota
	postLinger
	postEnd
	postLingered
)

// Socket is one connection of a Loop. Its methods may be called by anyone.
type Socket struct {
	loop    *Loop
	handler Handler

	mu       sync.Mutex
	fd       int    // -1 once it has ended. Invariant: closed by the loop, under mu, so that nobody writes into another's
	interest uint32 // what epoll tells of, 0 for nothing
	posts    posted
	aborted  bool
	nc       net.Conn // after Detach
	writable chan struct{}
	gone     chan struct{}

	// The loop's own.
	waits     bool // for Wake
	lingers   bool
	lastWords *time.Timer
}

// watch has epoll tell of events; the caller holds mu. The kernel tells of
// errors on every socket that it watches, asked or not: one that waits is not
// watched.
func (s *Socket) watch(events uint32) error {
	if events == s.interest || s.fd < 0 {
		return nil
	}
	op := unix.EPOLL_CTL_MOD
	switch {
	case s.interest == 0:
		op = unix.EPOLL_CTL_ADD
	case events == 0:
		op = unix.EPOLL_CTL_DEL
	}
	if err := unix.EpollCtl(s.loop.fd, op, s.fd, &unix.EpollEvent{Events: events, Fd: int32(s.fd)}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	s.interest = events
	return nil
}

// TryWrite writes as much of b as goes without waiting.
func (s *Socket) TryWrite(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tryWrite(b)
}

func (s *Socket) tryWrite(b []byte) (int, error) {
	if s.fd < 0 || s.aborted {
		return 0, net.ErrClosed
	}
	for {
		n, err := unix.Write(s.fd, b)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, os.NewSyscallError("write", err)
		}
	}
}

// Write waits until all of b is written. One caller at a time.
func (s *Socket) Write(b []byte) (done int, err error) {
	for {
		s.mu.Lock()
		n, err := s.tryWrite(b[done:])
		done += n
		if err == nil && done < len(b) {
			err = s.watch(s.interest | unix.EPOLLOUT)
		}
		s.mu.Unlock()
		if err != nil || done == len(b) {
			return done, err
		}
		select {
		case <-s.writable:
		case <-s.gone:
		}
	}
}

// Close ends the stream after what was written, and does not wait: a client
// that sends on gets no reset in the face of our last reply.
func (s *Socket) Close() error {
	s.mu.Lock()
	if s.fd >= 0 {
		_ = unix.Shutdown(s.fd, unix.SHUT_WR) // fails when the client was faster
	}
	s.mu.Unlock()
	s.post(postLinger)
	return nil
}

// Abort ends the connection at once, without what is still unsent.
func (s *Socket) Abort() {
	s.mu.Lock()
	s.aborted = true
	nc := s.nc
	s.mu.Unlock()
	if nc != nil {
		_ = nc.Close() // fails when it is closed already
		return
	}
	s.post(postEnd)
}

// Wake ends a Wait.
func (s *Socket) Wake() { s.post(postWake) }

func (s *Socket) post(p posted) {
	s.mu.Lock()
	news := s.posts == 0 && s.fd >= 0
	s.posts |= p
	s.mu.Unlock()
	if news {
		s.loop.post(s)
	}
}

// handle reads what has arrived; the loop calls it.
func (s *Socket) handle(events uint32) {
	if events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		s.letWrite()
	}
	switch {
	case s.fd < 0 || events&^unix.EPOLLOUT == 0:
		return
	case s.waits:
		// The client sends more than it is due. From here on it has to wait.
		s.want(unix.EPOLLIN, false)
		return
	}
	into := s.loop.buf
	if !s.lingers {
		if own := s.handler.Space(); own != nil {
			into = own
		}
	}
	n, err := unix.Read(s.fd, into)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil:
		s.end(os.NewSyscallError("read", err))
	case n == 0:
		s.end(io.EOF)
	case !s.lingers:
		s.follow(s.handler.Arrived(into[:n]))
	}
}

// letWrite has whoever waits in Write try again.
func (s *Socket) letWrite() {
	s.want(unix.EPOLLOUT, false)
	select {
	case s.writable <- struct{}{}:
	default:
	}
}

func (s *Socket) follow(n Next) {
	switch n {
	case Read:
		s.waits = false
	case Wait:
		s.waits = true
	case Linger:
		s.linger()
	case Gone:
		return
	}
	if !s.waits {
		s.want(unix.EPOLLIN, true)
	}
}

// want adds an event to those that epoll tells of, or takes it away; the loop
// calls it. Without epoll nobody would hear of the client again: if it refuses,
// the socket ends.
func (s *Socket) want(event uint32, on bool) {
	s.mu.Lock()
	events := s.interest &^ event
	if on {
		events |= event
	}
	err := s.watch(events)
	s.mu.Unlock()
	if err != nil {
		s.end(err)
	}
}

func (s *Socket) linger() {
	s.waits, s.lingers = false, true
	if s.lastWords == nil {
		s.lastWords = time.AfterFunc(lingerTime, func() { s.post(postLingered) })
	}
}

// answerPosted does what others have asked for; the loop calls it.
func (s *Socket) answerPosted() {
	s.mu.Lock()
	p := s.posts
	s.posts = 0
	s.mu.Unlock()
	switch {
	case s.fd < 0:
	case p&(postEnd|postLingered) != 0:
		s.end(nil)
	case p&postLinger != 0:
		s.follow(Linger)
	case p&postWake != 0 && s.waits:
		s.follow(s.handler.Woken())
	}
}

// end closes the socket, with a reset if it was aborted, and tells the
// handler.
func (s *Socket) end(err error) {
	s.mu.Lock()
	fd := s.fd
	if s.aborted {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	s.leaveLoop()
	_ = unix.Close(fd) // nothing is left that could fail to be written
	s.mu.Unlock()
	s.handler.Ended(err)
}

// leaveLoop takes the socket out of the loop; the caller holds mu, on the
// loop. Somebody who is accepted next may get its number.
func (s *Socket) leaveLoop() {
	_ = s.watch(0) // closing would do it as well
	fd := s.fd
	s.fd = -1
	close(s.gone)
	if s.lastWords != nil {
		s.lastWords.Stop()
	}
	s.loop.forget(fd)
}

// Detach takes the connection out of the loop, for a conversation that may
// wait. The handler calls it and returns Gone.
func (s *Socket) Detach() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fd := s.fd
	s.leaveLoop()
	f := os.NewFile(uintptr(fd), "client")
	defer f.Close() // the connection has a duplicate
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	s.nc = nc
	if s.aborted {
		_ = nc.Close()
	}
	return nc, nil
}
