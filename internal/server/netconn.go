package server

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/conclave-dev/conclave/internal/jute"
)

// tcpLink is a Link over a TCP connection that writes without waiting where it
// can, and holds no read buffer while nothing arrives: a member has tens of
// thousands of connections, and most of them only ping.
type tcpLink struct {
	*net.TCPConn
	raw syscall.RawConn

	// Arguments and results of the callbacks below, which are made once: a
	// closure per call would be an allocation per call.
	wbuf    []byte
	wn      int
	werr    error
	writeFn func(fd uintptr) bool
	rbuf    []byte
	rpool   *[]byte
	rn      int
	rerr    error
	readFn  func(fd uintptr) bool
}

var readBuffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

func newTCPLink(nc *net.TCPConn) (*tcpLink, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return nil, err
	}
	l := &tcpLink{TCPConn: nc, raw: raw}
	l.writeFn = func(fd uintptr) bool {
		for {
			l.wn, l.werr = unix.Write(int(fd), l.wbuf)
			if l.werr != unix.EINTR {
				return true
			}
		}
	}
	l.readFn = func(fd uintptr) bool {
		if l.rpool == nil && l.rbuf == nil {
			l.rpool = readBuffers.Get().(*[]byte)
		}
		into := l.rbuf
		if l.rpool != nil {
			into = *l.rpool
		}
		for {
			l.rn, l.rerr = unix.Read(int(fd), into)
			switch l.rerr {
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				if l.rpool != nil {
					readBuffers.Put(l.rpool)
					l.rpool = nil
				}
				return false
			}
			return true
		}
	}
	return l, nil
}

// TryWrite writes as much of b as goes without waiting.
func (l *tcpLink) TryWrite(b []byte) (int, error) {
	l.wbuf = b
	err := l.raw.Write(l.writeFn)
	l.wbuf = nil
	switch {
	case err != nil:
		return 0, err
	case l.werr == unix.EAGAIN:
		return 0, nil
	case l.werr != nil:
		return 0, l.werr
	}
	return l.wn, nil
}

// Abort ends the connection at once, without what is still unsent.
func (l *tcpLink) Abort() {
	_ = l.SetLinger(0) // fails only when it is closed already
	_ = l.TCPConn.Close()
}

// Close ends the connection after what was written, and does not wait: a
// client that sends on gets no reset in the face of our last reply.
func (l *tcpLink) Close() error {
	_ = l.CloseWrite()
	// The reader takes the rest until the client closes, or for a moment.
	return l.SetReadDeadline(time.Now().Add(lingerTime))
}

// lingerTime is how long a connection that we closed is kept for the client to
// read our last words and close its side.
const lingerTime = time.Second

// read waits for bytes. Behind an empty acc they come in a shared buffer, which
// release gives back; otherwise they are appended to acc, which is grown for
// want bytes: by no more than it has, since a client may announce what it never
// sends.
func (l *tcpLink) read(acc []byte, want int) ([]byte, error) {
	l.rbuf = nil
	if len(acc) > 0 {
		acc = slices.Grow(acc, min(max(want, 4<<10), max(len(acc), 16<<10)))
		l.rbuf = acc[len(acc):cap(acc)]
	}
	if err := l.raw.Read(l.readFn); err != nil {
		return nil, err
	}
	switch {
	case l.rerr != nil:
		l.release()
		return nil, l.rerr
	case l.rn == 0:
		l.release()
		return nil, io.EOF
	case l.rpool != nil:
		return (*l.rpool)[:l.rn], nil
	}
	return acc[:len(acc)+l.rn], nil
}

func (l *tcpLink) release() {
	if l.rpool != nil {
		readBuffers.Put(l.rpool)
		l.rpool = nil
	}
}

// run reads a connection until it ends. It is the connection's goroutine.
func (s *Server) run(c *Conn, l *tcpLink) {
	defer s.leave(c)
	// acc holds an incomplete frame until the rest of it has come.
	var acc []byte
	for first := true; ; {
		buf, err := l.read(acc, missing(acc))
		if err != nil {
			s.noteReadError(c, err)
			return
		}
		now := s.opt.Now()
		c.lastHeard.Store(int64(now))
		s.opt.Metrics.BytesReceived.Add(uint64(len(buf) - len(acc)))
		if first && len(buf) >= 4 {
			first = false
			if s.word(c, l, buf) {
				l.release()
				return
			}
		}
		rest, open := s.take(c, buf, now)
		if len(acc) == 0 {
			acc = append(acc[:0], rest...)
		} else {
			acc = buf[:copy(buf, rest)]
		}
		if len(acc) == 0 && cap(acc) > keepBuffer {
			acc = nil
		}
		l.release()
		if !open {
			c.flush()
			linger(l)
			return
		}
	}
}

// take works through what has arrived, waiting where it must, and returns the
// incomplete frame at its end. open is false once the connection is closing.
func (s *Server) take(c *Conn, buf []byte, now time.Duration) (rest []byte, open bool) {
	for {
		n, err := frameEnd(buf, s.opt.MaxBuffer)
		if err != nil {
			c.mu.Lock()
			s.refuseFrame(c, buf, err)
			c.mu.Unlock()
			return nil, false
		}
		if !c.greeted && len(buf) >= 4 && binary.BigEndian.Uint32(buf) > maxHello {
			c.mu.Lock()
			s.refuse(c, notHello, "size", binary.BigEndian.Uint32(buf))
			c.mu.Unlock()
			return nil, false
		}
		if n == 0 {
			return buf, s.isOpen(c)
		}
		used := s.serve(c, buf, now)
		c.greeted = c.greeted || used > 0
		c.flush()
		buf = buf[used:]
		if used == 0 && !s.awaitRoom(c) {
			return nil, false
		}
	}
}

func (s *Server) isOpen(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase != phaseClosing
}

// missing returns how many bytes an incomplete frame lacks, 0 if its length is
// not known yet.
func missing(tail []byte) int {
	if len(tail) < 4 {
		return 0
	}
	return max(0, int(binary.BigEndian.Uint32(tail))+4-len(tail))
}

var errFrame = errors.New("a frame of an impossible length")

// frameEnd returns where the first frame of buf ends, 0 if it is incomplete.
func frameEnd(buf []byte, maxBuffer int) (int, error) {
	if len(buf) < 4 {
		return 0, nil
	}
	n := int(int32(binary.BigEndian.Uint32(buf)))
	if n < 0 || n > maxBuffer {
		return 0, errFrame
	}
	if len(buf)-4 < n {
		return 0, nil
	}
	return 4 + n, nil
}

// refuseFrame closes a connection for a frame that is too large, and says what
// can be known of it.
func (s *Server) refuseFrame(c *Conn, rest []byte, err error) {
	size := int(int32(binary.BigEndian.Uint32(rest)))
	args := []any{"size", size, "jute.maxbuffer", s.opt.MaxBuffer}
	if len(rest) >= 12 && c.phase == phaseAttached {
		d := jute.NewDecoder(rest[8:])
		args = append(args, "op", jute.OpCode(d.Int32()).String())
		if path := d.String(); d.Err() == nil && len(path) <= 1024 {
			args = append(args, "path", path)
		}
	}
	s.opt.Metrics.LargeRequests.Inc()
	s.refuse(c, err.Error(), args...)
}

// awaitRoom waits until the connection takes frames again; false if it is
// closing.
func (s *Server) awaitRoom(c *Conn) bool {
	for {
		c.mu.Lock()
		ready, closing := s.ready(c), c.phase == phaseClosing
		c.waiting = !ready && !closing
		c.paused.Store(c.waiting)
		c.mu.Unlock()
		if closing {
			return false
		}
		if ready {
			return true
		}
		<-c.room
	}
}

func (s *Server) noteReadError(c *Conn, err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != phaseClosing {
		s.opt.Logger.Debug("connection lost", "client", c.addr, "session", sessionID(c.session), "error", err)
	}
}

// linger reads and forgets what a client still sends after we have closed, for
// a moment: closing with unread input would reset the connection, and the
// client might never see the reply that told it why.
func linger(l *tcpLink) {
	_ = l.SetReadDeadline(time.Now().Add(lingerTime))
	var scrap [1024]byte
	for total := 0; total < 1<<20; {
		n, err := l.TCPConn.Read(scrap[:])
		if err != nil {
			return
		}
		total += n
	}
}

// word answers a four-letter word: the first four bytes of a connection are
// one, or the length of a connect request.
func (s *Server) word(c *Conn, l *tcpLink, buf []byte) bool {
	code := binary.BigEndian.Uint32(buf)
	if s.opt.Words == nil || !s.opt.Words.IsWord(code) {
		return false
	}
	c.mu.Lock()
	if c.phase == phaseHello {
		c.phase = phaseWord
	}
	c.mu.Unlock()
	name, arg := [4]byte(buf), bytes.Clone(buf[4:])
	// The one answer of the connection's life may be long; its goroutine waits
	// for the client to take it.
	_ = l.SetDeadline(time.Now().Add(wordTime))
	if want := s.opt.Words.ArgLen(code); len(arg) < want {
		more := make([]byte, want-len(arg))
		n, _ := io.ReadFull(l.TCPConn, more) // an argument cut short is the word's to judge
		arg = append(arg, more[:n]...)
	}
	var reply bytes.Buffer
	s.opt.Words.HandleArg(name, arg, &reply)
	if _, err := l.Write(reply.Bytes()); err == nil {
		_ = l.CloseWrite()
		linger(l)
	}
	return true
}

// wordTime is how long a client may take to read the answer to a four-letter
// word.
const wordTime = 30 * time.Second
