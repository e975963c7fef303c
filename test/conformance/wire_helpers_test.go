//go:build conformance

package conformance

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// wireTimeout bounds every single exchange of a raw connection; nothing waits
// that long unless something is wrong.
const wireTimeout = 20 * time.Second

// session is a raw connection that has opened a session.
type session struct {
	*wire.Conn
	t    *testing.T
	resp wire.ConnectResponse
}

// dialRaw connects to addr without a handshake.
func dialRaw(t *testing.T, addr string) *wire.Conn {
	t.Helper()
	c, err := wire.Dial(addr, wireTimeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// openSession opens a new session that lasts for the test without pings.
func openSession(t *testing.T, addr string) *session {
	t.Helper()
	s := attach(t, addr, wire.ConnectRequest{Timeout: ensemble.MaxSessionTimeout})
	if s.resp.SessionID == 0 {
		t.Fatalf("no session at %s: %+v", addr, s.resp)
	}
	t.Cleanup(s.end)
	return s
}

// attach shakes hands as q says.
func attach(t *testing.T, addr string, q wire.ConnectRequest) *session {
	t.Helper()
	c := dialRaw(t, addr)
	resp, err := c.Handshake(q)
	if err != nil {
		t.Fatalf("handshake with %s: %v", addr, err)
	}
	return &session{Conn: c, t: t, resp: resp}
}

// reattach moves s's session to addr; s's own connection stays as it is.
func (s *session) reattach(addr string) *session {
	s.t.Helper()
	n := attach(s.t, addr, wire.ConnectRequest{Timeout: ensemble.MaxSessionTimeout, SessionID: s.resp.SessionID, Passwd: s.resp.Passwd})
	if n.resp.SessionID != s.resp.SessionID {
		s.t.Fatalf("re-attached session %#x, got %+v", s.resp.SessionID, n.resp)
	}
	return n
}

// end closes the session if the connection still lives: sessions left behind
// would last for a minute.
func (s *session) end() {
	if _, err := s.Send(wire.OpCloseSession, nil); err == nil {
		for err == nil {
			_, err = s.Recv()
		}
	}
	s.Close()
}

// call sends a request and returns its reply.
func (s *session) call(op int32, body []byte) wire.Reply {
	s.t.Helper()
	reply, err := s.Call(op, body)
	if err != nil {
		s.t.Fatalf("operation %d: %v", op, err)
	}
	return reply
}

// ok calls and wants success.
func (s *session) ok(op int32, body []byte) *wire.Reader {
	s.t.Helper()
	reply := s.call(op, body)
	if reply.Err != wire.OK {
		s.t.Fatalf("operation %d: error %d", op, reply.Err)
	}
	return wire.NewReader(reply.Body)
}

// fails calls and wants the error code and nothing behind it.
func (s *session) fails(op int32, body []byte, code int32) wire.Reply {
	s.t.Helper()
	reply := s.call(op, body)
	if reply.Err != code || len(reply.Body) != 0 {
		s.t.Fatalf("operation %d: error %d and body %x, want error %d and no body", op, reply.Err, reply.Body, code)
	}
	return reply
}

func (s *session) recv() wire.Reply {
	s.t.Helper()
	reply, err := s.Recv()
	if err != nil {
		s.t.Fatalf("receive: %v", err)
	}
	return reply
}

// wantEvent receives the next frame, which has to be this event.
func (s *session) wantEvent(typ int32, path string) wire.Reply {
	s.t.Helper()
	reply := s.recv()
	event, err := reply.Event()
	if err != nil {
		s.t.Fatalf("want event %d on %s: %v", typ, path, err)
	}
	if event.Type != typ || event.Path != path || event.State != 3 {
		s.t.Fatalf("got event %+v, want type %d on %s in state 3", event, typ, path)
	}
	return reply
}

// wantReply receives the next frame, which has to be the reply to xid.
func (s *session) wantReply(xid, code int32) wire.Reply {
	s.t.Helper()
	reply := s.recv()
	if reply.Xid != xid || reply.Err != code {
		s.t.Fatalf("got %+v, want the reply to %d with error %d", reply, xid, code)
	}
	return reply
}

func (s *session) send(op int32, body []byte) int32 {
	s.t.Helper()
	xid, err := s.Send(op, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return xid
}

func (s *session) sendXid(xid, op int32, body []byte) {
	s.t.Helper()
	if err := s.SendFrame(wire.Request(xid, op, body)); err != nil {
		s.t.Fatal(err)
	}
}

// create makes a persistent node that everybody may use.
func (s *session) create(path string) {
	s.t.Helper()
	s.ok(wire.OpCreate, wire.CreateBody(path, []byte("x"), wire.OpenACL, wire.Persistent))
}

// catchUp makes the session's member show all that was acknowledged before. It
// takes a write, even if one that fails: ZooKeeper's leader answers a sync before
// it has applied what others have.
func (s *session) catchUp() {
	s.t.Helper()
	s.fails(wire.OpDelete, wire.VersionBody("/there-is-no-such-node", -1), wire.NoNode)
}

// stat is what exists answers.
func (s *session) stat(path string) wire.Stat {
	s.t.Helper()
	r := s.ok(wire.OpExists, wire.WatchBody(path, false))
	stat := r.Stat()
	if err := r.Done(); err != nil {
		s.t.Fatalf("exists %s: %v", path, err)
	}
	return stat
}

// wantClosed wants the server to close the connection without another frame.
func wantClosed(t *testing.T, c *wire.Conn) {
	t.Helper()
	frame, err := c.RecvFrame()
	if err == nil {
		t.Fatalf("got a frame %x, want the connection closed", frame)
	}
	if !closedByPeer(err) {
		t.Fatalf("got %v, want the connection closed", err)
	}
}

// closedByPeer tells a close from a timeout. Unread data on the server's side
// turns its close into a reset.
func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// root creates a node named after the test and returns its path.
func root(t *testing.T, s *session) string {
	t.Helper()
	path := "/wire-" + strings.NewReplacer("/", "-", " ", "_").Replace(t.Name())
	s.create(path)
	return path
}
