package server

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/server/sockets"
)

// socketHandler is a connection as its socket knows it.
type socketHandler struct {
	c      *Conn
	socket *sockets.Socket
	// asked tells that the first four bytes have been looked at: they are a
	// four-letter word, or the length of a connect request.
	asked bool
}

var afterRead = [...]sockets.Next{nextBytes: sockets.Read, nextRoom: sockets.Wait, nextEnd: sockets.Linger}

func (h *socketHandler) Space() []byte { return h.c.space() }

func (h *socketHandler) Arrived(b []byte) sockets.Next {
	c := h.c
	buf := b
	if n := len(c.tail); n > 0 {
		buf = c.tail[:n+len(b)] // b is the space behind it
	}
	if !h.asked && len(buf) >= 4 {
		h.asked = true
		if h.word(buf) {
			return sockets.Gone
		}
	}
	return afterRead[c.srv.arrived(c, buf, c.srv.opt.Now())]
}

func (h *socketHandler) Woken() sockets.Next {
	return afterRead[h.c.srv.resumed(h.c, h.c.srv.opt.Now())]
}

func (h *socketHandler) Ended(err error) {
	if err != nil {
		h.c.srv.noteReadError(h.c, err)
	}
	h.c.srv.leave(h.c)
}

// Serve accepts clients until the listener is closed.
func (s *Server) Serve(l *Listener) error {
	failed := make(chan error, 1)
	loops := make([]*sockets.Loop, loopCount())
	for i := range loops {
		loop, err := sockets.NewLoop(s.announce)
		if err != nil {
			return err
		}
		loops[i] = loop
		s.conns.adopt(loop, func(err error) {
			select {
			case failed <- err:
			default:
			}
			_ = l.Close() // it may be closed already
		})
	}
	backoff := time.Millisecond
	for i := 0; ; i++ {
		fd, addr, err := l.accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				select {
				case err := <-failed:
					return err
				default:
					return nil
				}
			}
			// Out of descriptors, most likely: it passes when others close.
			s.opt.Logger.Error("accepting a client failed; trying again", "error", err, "in", backoff)
			time.Sleep(backoff)
			backoff = min(2*backoff, time.Second)
			continue
		}
		backoff = time.Millisecond
		s.admit(loops[i%len(loops)], fd, addr)
	}
}

// loopCount is how many goroutines read from clients. One answers some hundred
// thousand requests a second, and the fewer they are, the more requests travel
// together.
func loopCount() int { return min(max(1, runtime.GOMAXPROCS(0)/2), 8) }

// admit gives a client to a loop, unless there are too many.
func (s *Server) admit(loop *sockets.Loop, fd int, addr netip.AddrPort) {
	var c *Conn
	err := loop.Add(fd, func(socket *sockets.Socket) sockets.Handler {
		var refused metrics.Refusal
		if c, refused = s.newConn(socket, addr); c == nil {
			s.opt.Metrics.ConnectionsRefused[refused].Inc()
			s.opt.Logger.Warn("connection refused: too many connections", "client", addr, "from_this_address", s.opt.MaxConnsPerIP, "in_all", s.opt.MaxConns)
			return nil
		}
		return &socketHandler{c: c, socket: socket}
	})
	if err == nil && c != nil {
		s.opt.Metrics.ConnectionsAccepted.Inc()
		return
	}
	if err != nil {
		s.opt.Logger.Error("a client can't be served", "client", addr, "error", err)
	}
	if c != nil {
		s.leave(c)
	}
	_ = unix.Close(fd) // nothing was written
}

// announce sends what clients have asked for on its way.
func (s *Server) announce() {
	if s.hasNode.Load() {
		s.node.Outbox().Announce()
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

// word has a four-letter word answered, by a goroutine that may wait for the
// client.
func (h *socketHandler) word(buf []byte) bool {
	c, s := h.c, h.c.srv
	code := binary.BigEndian.Uint32(buf)
	if s.opt.Words == nil || !s.opt.Words.IsWord(code) {
		return false
	}
	c.mu.Lock()
	if c.phase == phaseHello {
		c.phase = phaseWord
	}
	c.mu.Unlock()
	buf = bytes.Clone(buf)
	nc, err := h.socket.Detach()
	s.conns.spawn(func() {
		defer s.leave(c)
		if err == nil {
			err = s.answerWord(nc.(*net.TCPConn), buf)
		}
		if err != nil {
			s.noteReadError(c, err)
		}
	})
	return true
}

// answerWord answers a four-letter word with what came behind it.
func (s *Server) answerWord(nc *net.TCPConn, buf []byte) error {
	if err := nc.SetDeadline(time.Now().Add(wordTime)); err != nil {
		return err
	}
	name, arg := [4]byte(buf), buf[4:]
	if want := s.opt.Words.ArgLen(binary.BigEndian.Uint32(buf)); len(arg) < want {
		more := make([]byte, want-len(arg))
		n, _ := io.ReadFull(nc, more) // an argument cut short is the word's to judge
		arg = append(arg, more[:n]...)
	}
	var reply bytes.Buffer
	s.opt.Words.HandleArg(name, arg, &reply)
	if _, err := nc.Write(reply.Bytes()); err != nil {
		return err
	}
	if err := nc.CloseWrite(); err != nil {
		return err
	}
	// Closing with unread input would reset the connection.
	if err := nc.SetDeadline(time.Now().Add(wordLinger)); err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, nc, 1<<20)
	return nil
}

// wordTime is how long a client may take to read the answer to a four-letter
// word, wordLinger how long to close its side after that.
const (
	wordTime   = 30 * time.Second
	wordLinger = time.Second
)
