//go:build conformance

package conformance

import (
	"bytes"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

func TestWireNewSession(t *testing.T) {
	e := sharedEnsemble(t)
	ids := make(map[int64]bool)
	for _, addr := range e.Addrs() {
		s := openSession(t, addr)
		r := s.resp
		if r.ProtocolVersion != 0 || len(r.Passwd) != 16 || !r.HasReadOnly || r.ReadOnly || ids[r.SessionID] {
			t.Errorf("%s answered %+v; want version 0, 16 bytes of password, readOnly false and a fresh id", addr, r)
		}
		if bytes.Equal(r.Passwd, make([]byte, 16)) {
			t.Errorf("%s gave out an empty password", addr)
		}
		ids[r.SessionID] = true
	}
}

// A client from before 3.4 sends no read-only byte and must not get one back
// (ZOOKEEPER-4814).
func TestWireOldClientHandshake(t *testing.T) {
	s := attach(t, sharedEnsemble(t).Addrs()[0], wire.ConnectRequest{Timeout: 5 * time.Second, OmitReadOnly: true})
	if s.resp.SessionID == 0 || s.resp.HasReadOnly {
		t.Errorf("got %+v, want a session and no read-only byte", s.resp)
	}
	s.end()
}

func TestWireTimeoutIsClamped(t *testing.T) {
	addr := sharedEnsemble(t).Addrs()[1]
	for _, c := range []struct{ ask, want time.Duration }{
		{time.Millisecond, ensemble.MinSessionTimeout},
		{0, ensemble.MinSessionTimeout},
		{-5 * time.Second, ensemble.MinSessionTimeout},
		{5 * time.Second, 5 * time.Second},
		{time.Hour, ensemble.MaxSessionTimeout},
	} {
		s := attach(t, addr, wire.ConnectRequest{Timeout: c.ask})
		if s.resp.Timeout != c.want {
			t.Errorf("asked for %v, got %v, want %v", c.ask, s.resp.Timeout, c.want)
		}
		s.end()
	}
}

// A read-only client is welcome on a server that can write.
func TestWireReadOnlyClient(t *testing.T) {
	s := attach(t, sharedEnsemble(t).Addrs()[0], wire.ConnectRequest{Timeout: 5 * time.Second, ReadOnly: true})
	if s.resp.SessionID == 0 || !s.resp.HasReadOnly || s.resp.ReadOnly {
		t.Errorf("got %+v, want a session that is not read-only", s.resp)
	}
	s.create("/wire-readonly-client-writes")
	s.end()
}

func TestWireZxidFromTheFuture(t *testing.T) {
	c := dialRaw(t, sharedEnsemble(t).Addrs()[0])
	if err := c.SendFrame(wire.ConnectRequest{LastZxidSeen: 1 << 62, Timeout: time.Second}.Encode()); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, c)
}

// wantExpired wants the answer that tells a client that its session is gone.
func wantExpired(t *testing.T, s *session) {
	t.Helper()
	r := s.resp
	if r.Timeout != 0 || r.SessionID != 0 || !bytes.Equal(r.Passwd, make([]byte, 16)) {
		t.Errorf("got %+v, want timeout 0, session 0 and 16 zero bytes", r)
	}
	wantClosed(t, s.Conn)
}

func TestWireUnknownSession(t *testing.T) {
	for _, addr := range sharedEnsemble(t).Addrs() {
		wantExpired(t, attach(t, addr, wire.ConnectRequest{
			Timeout: 5 * time.Second, SessionID: 0x7700000000001234, Passwd: bytes.Repeat([]byte{1}, 16),
		}))
	}
}

func TestWireWrongPassword(t *testing.T) {
	e := sharedEnsemble(t)
	s := openSession(t, e.Addrs()[0])
	wrong := bytes.Clone(s.resp.Passwd)
	wrong[3] ^= 0xff
	for _, addr := range e.Addrs() {
		for _, passwd := range [][]byte{wrong, make([]byte, 16), s.resp.Passwd[:8]} {
			wantExpired(t, attach(t, addr, wire.ConnectRequest{Timeout: 5 * time.Second, SessionID: s.resp.SessionID, Passwd: passwd}))
		}
	}
	// The session itself is none the worse for it. (ZooKeeper closes the rightful
	// owner's connection before it looks at the password; nobody has to.)
	fresh := s.reattach(e.Addrs()[1])
	t.Cleanup(fresh.end)
	fresh.stat("/")
}

func TestWireClosedSessionCannotBeReattached(t *testing.T) {
	e := sharedEnsemble(t)
	s := openSession(t, e.Addrs()[0])
	reply := s.call(wire.OpCloseSession, nil)
	if reply.Err != wire.OK || len(reply.Body) != 0 {
		t.Fatalf("closeSession answered %+v", reply)
	}
	wantClosed(t, s.Conn)
	for _, addr := range e.Addrs() {
		wantExpired(t, attach(t, addr, wire.ConnectRequest{Timeout: 5 * time.Second, SessionID: s.resp.SessionID, Passwd: s.resp.Passwd}))
	}
}

// Requests sent behind the handshake in the same packet are answered behind it.
func TestWirePipelinedBehindHandshake(t *testing.T) {
	c := dialRaw(t, sharedEnsemble(t).Addrs()[2])
	frame := func(b []byte) []byte { return new(wire.Writer).Buffer(b).Bytes() }
	packet := new(wire.Writer).
		Raw(frame(wire.ConnectRequest{Timeout: 5 * time.Second}.Encode())).
		Raw(frame(wire.Request(wire.XidAuth, wire.OpAuth, wire.AuthBody("digest", []byte("a:b"))))).
		Raw(frame(wire.Request(1, wire.OpCreate, wire.CreateBody("/wire-pipelined", nil, wire.OpenACL, wire.Ephemeral)))).
		Raw(frame(wire.Request(2, wire.OpExists, wire.WatchBody("/wire-pipelined", false)))).
		Raw(frame(wire.Request(3, wire.OpCloseSession, nil)))
	if err := c.SendRaw(packet.Bytes()); err != nil {
		t.Fatal(err)
	}
	body, err := c.RecvFrame()
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := wire.DecodeConnectResponse(body); err != nil || resp.SessionID == 0 {
		t.Fatalf("handshake answered %+v, %v", resp, err)
	}
	// The answer to auth stands outside the order of the others.
	var order []int32
	for range 4 {
		reply, err := c.Recv()
		if err != nil || reply.Err != wire.OK {
			t.Fatalf("after %v: %+v, %v", order, reply, err)
		}
		if reply.Xid != wire.XidAuth {
			order = append(order, reply.Xid)
		}
	}
	if len(order) != 3 || order[0] != 1 || order[1] != 2 || order[2] != 3 {
		t.Errorf("replies came as %v, want 1, 2, 3", order)
	}
	wantClosed(t, c)
}

func TestWireBrokenFrames(t *testing.T) {
	addr := sharedEnsemble(t).Addrs()[0]
	for name, raw := range map[string][]byte{
		"negative length":               {0xff, 0xff, 0xff, 0xff, 0, 0},
		"length beyond the maximum":     {0x7f, 0, 0, 0, 0, 0},
		"handshake of four bytes":       {0, 0, 0, 4, 0, 0, 0, 0},
		"unknown four-letter word":      []byte("what"),
		"handshake, truncated password": append([]byte{0, 0, 0, 28}, wire.ConnectRequest{Timeout: time.Second}.Encode()[:28]...),
	} {
		t.Run(name, func(t *testing.T) {
			c := dialRaw(t, addr)
			if err := c.SendRaw(raw); err != nil {
				t.Fatal(err)
			}
			wantClosed(t, c)
		})
	}
}

// A session that connects to its own member a second time ends the older
// connection.
func TestWireReconnectToTheSameMember(t *testing.T) {
	addr := sharedEnsemble(t).Addrs()[0]
	old := openSession(t, addr)
	fresh := old.reattach(addr)
	t.Cleanup(fresh.end)
	wantClosed(t, old.Conn)
	fresh.stat("/")
}

// After a session has moved to another member, a write that still arrives
// through the old one is refused by closing the connection, and never executed.
func TestWireMovedSession(t *testing.T) {
	e := sharedEnsemble(t)
	for i, addr := range e.Addrs() {
		t.Run(addr, func(t *testing.T) {
			old := openSession(t, addr)
			path := root(t, old)
			fresh := old.reattach(e.Addrs()[(i+1)%ensemble.Size])
			t.Cleanup(fresh.end)
			if target == ensemble.ZooKeeper {
				// ZooKeeper 3.8 matches what is committed with what waits by session and
				// number alone: the refusal of the old connection's request could be
				// taken for the answer to a request of the new one.
				fresh.SkipXids(1000)
			}
			fresh.create(path + "/through-the-new")
			old.send(wire.OpCreate, wire.CreateBody(path+"/through-the-old", nil, wire.OpenACL, wire.Persistent))
			if reply, err := old.Recv(); err == nil {
				if reply.Err != wire.SessionMoved {
					t.Fatalf("the old connection got %+v; want it closed, at most after SESSIONMOVED", reply)
				}
				wantClosed(t, old.Conn)
			} else if !closedByPeer(err) {
				t.Fatal(err)
			}
			fresh.catchUp()
			fresh.fails(wire.OpExists, wire.WatchBody(path+"/through-the-old", false), wire.NoNode)
			fresh.create(path + "/still-works")
		})
	}
}
