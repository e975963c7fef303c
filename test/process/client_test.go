package process

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// fourLetter asks a four-letter word.
func fourLetter(addr, word string) (string, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, word); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// session is a session of the test's, and the connection that it has now.
type session struct {
	*wire.Conn
	id      int64
	passwd  []byte
	timeout time.Duration
	// zxid is the last one that the client was shown.
	zxid int64
}

// open begins a session, or goes on with it.
func (s *session) open(addr string) error {
	c, err := wire.Dial(addr, patience)
	if err != nil {
		return err
	}
	r, err := c.Handshake(wire.ConnectRequest{LastZxidSeen: s.zxid, Timeout: s.timeout, SessionID: s.id, Passwd: s.passwd})
	switch {
	case err != nil:
		_ = c.Close()
		return err
	case r.SessionID == 0:
		_ = c.Close()
		return fmt.Errorf("session %#x is gone", s.id)
	case s.id != 0 && r.SessionID != s.id:
		_ = c.Close()
		return fmt.Errorf("session %#x was asked for, and %#x was given", s.id, r.SessionID)
	}
	s.Conn, s.id, s.passwd = c, r.SessionID, r.Passwd
	return nil
}

// connect opens a new session that has to be had.
func connect(t testing.TB, addr string) *session {
	t.Helper()
	s := &session{timeout: time.Minute}
	if err := s.open(addr); err != nil {
		t.Fatalf("connect to %s: %v", addr, err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// call does one request, which must not fail for reasons of the connection.
func (s *session) call(t testing.TB, op int32, body []byte) wire.Reply {
	t.Helper()
	r, err := s.Call(op, body)
	if err != nil {
		t.Fatalf("operation %d: %v", op, err)
	}
	s.zxid = max(s.zxid, r.Zxid)
	return r
}

// must does one request, which has to succeed.
func (s *session) must(t testing.TB, op int32, body []byte) *wire.Reader {
	t.Helper()
	r := s.call(t, op, body)
	if r.Err != wire.OK {
		t.Fatalf("operation %d: error %d", op, r.Err)
	}
	return wire.NewReader(r.Body)
}
