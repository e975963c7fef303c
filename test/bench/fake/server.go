package fake

import (
	"net"
	"net/netip"
	"sync"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// Answer is what the server is about to send for a request.
type Answer struct {
	// Op and Path are the request's, Session that of the client.
	Op      int32
	Path    string
	Session int64

	Xid  int32
	Zxid int64
	Err  int32
	Body []byte
	// Hold keeps the answer back until the connection's next one has been sent.
	Hold bool
	// Twice sends it a second time.
	Twice bool
	// Drop closes the connection instead of sending it.
	Drop bool
}

// Server serves on a loopback port until Close.
type Server struct {
	fault func(*Answer)

	listener net.Listener
	serving  sync.WaitGroup

	mu       sync.Mutex
	resumed  sync.Cond
	stalled  bool
	seen     int // requests that have arrived, handshakes left out
	closed   bool
	zxid     int64
	nodes    map[string]*node
	sessions map[int64]*session
	conns    map[*conn]struct{}
}

type node struct {
	data     []byte
	stat     wire.Stat
	watchers map[*conn]struct{}
}

type session struct {
	id     int64
	passwd []byte
}

type conn struct {
	net.Conn
	server  *Server
	session *session
	held    []byte
}

// Start starts a server with an empty tree. fault, if not nil, may change any
// answer before it goes out.
func Start(fault func(*Answer)) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{fault: fault, listener: l, nodes: map[string]*node{"/": {}}, sessions: make(map[int64]*session), conns: make(map[*conn]struct{})}
	s.resumed.L = &s.mu
	s.serving.Add(1)
	go func() {
		defer s.serving.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			s.serving.Add(1)
			go s.serve(&conn{Conn: c, server: s})
		}
	}()
	return s, nil
}

// Addr is where it listens.
func (s *Server) Addr() netip.AddrPort { return s.listener.Addr().(*net.TCPAddr).AddrPort() }

// Stall makes the server take requests and answer none of them until Resume.
func (s *Server) Stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled = true
}

// Resume ends a stall.
func (s *Server) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled = false
	s.resumed.Broadcast()
}

// Seen is how many requests have arrived.
func (s *Server) Seen() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// Expire forgets every session without telling anybody.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

// Drop closes every connection; sessions stay.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// Sessions is the number of sessions that have not been closed.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Len is the number of nodes, the root included.
func (s *Server) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.nodes)
}

// Close ends the server and its connections.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.stalled = false
	s.resumed.Broadcast()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.listener.Close()
	s.serving.Wait()
}

func (s *Server) serve(c *conn) {
	defer s.serving.Done()
	defer c.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	w := wire.Conn{Conn: c.Conn, Timeout: patience}
	body, err := w.RecvFrame()
	if err != nil || !c.accept(&w, body) {
		return
	}
	for {
		body, err := w.RecvFrame()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.seen++
		for s.stalled {
			s.resumed.Wait()
		}
		more := c.answer(body)
		s.mu.Unlock()
		if !more {
			return
		}
	}
}

// accept answers the handshake; it reports whether the session is there.
func (c *conn) accept(w *wire.Conn, body []byte) bool {
	s := c.server
	r := wire.NewReader(body)
	r.Int()
	r.Long()
	timeout, id, passwd := r.Int(), r.Long(), r.Buffer()
	s.mu.Lock()
	if id == 0 {
		id = int64(len(s.sessions)) + 0x100
		s.sessions[id] = &session{id: id, passwd: []byte("sixteen bytes ok")}
	} else if known := s.sessions[id]; known == nil || string(known.passwd) != string(passwd) {
		id, timeout = 0, 0
	}
	c.session = s.sessions[id]
	s.mu.Unlock()
	out := new(wire.Writer).Int(0).Int(timeout).Long(id)
	if c.session == nil {
		out.Buffer(make([]byte, 16))
	} else {
		out.Buffer(c.session.passwd)
	}
	return w.SendFrame(out.Bool(false).Bytes()) == nil && c.session != nil
}

// send writes an answer after fault has seen it. A failed write shows in the
// next read.
func (c *conn) send(a Answer) {
	if c.server.fault != nil {
		c.server.fault(&a)
	}
	if a.Drop {
		c.Close()
		return
	}
	frame := encode(a)
	if a.Twice {
		frame = append(frame, frame...)
	}
	if a.Hold {
		c.held = append(c.held, frame...)
		return
	}
	c.Write(append(frame, c.held...))
	c.held = nil
}

func encode(a Answer) []byte {
	body := new(wire.Writer).Int(a.Xid).Long(a.Zxid).Int(a.Err).Raw(a.Body).Bytes()
	return append(new(wire.Writer).Int(int32(len(body))).Bytes(), body...)
}
