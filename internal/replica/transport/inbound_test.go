package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// stranger is a bare connection to a member's peer port.
type stranger struct {
	net.Conn
	frames *frameReader
}

func knock(t *testing.T, m *Transport) *stranger {
	t.Helper()
	conn, err := net.Dial("tcp", m.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &stranger{conn, newFrameReader(conn, 1<<20)}
}

func (s *stranger) say(t *testing.T, p []byte) {
	t.Helper()
	if _, err := s.Write(p); err != nil {
		t.Fatal(err)
	}
}

// goodbye returns what the member said last; nil if it closed without a word.
func (s *stranger) goodbye(t *testing.T) *RefusedError {
	t.Helper()
	for {
		typ, p, err := s.frames.next()
		if err != nil {
			return nil
		}
		if typ == frameGoodbye {
			refused := new(RefusedError)
			if err := parseGoodbye(p); !errors.As(err, &refused) {
				t.Fatal(err)
			}
			return refused
		}
	}
}

func goodHello(kind Kind) hello {
	return hello{kind: kind, cluster: testCluster, from: 2, to: 1, instance: 5}
}

func TestHellosThatAreRefused(t *testing.T) {
	m := open(t, 1, newRecorder(), nil)
	other := [16]byte{9}
	version := goodHello(KindData).append(nil)
	version[9] = 9
	binary.BigEndian.PutUint32(version[helloSize-4:], 0)
	damaged := goodHello(KindData).append(nil)
	damaged[30]++
	kind := goodHello(9).append(nil)
	for name, c := range map[string]struct {
		say  []byte
		code RefusalCode // 0: closed without a word
		why  string
	}{
		"another protocol": {[]byte("GET / HTTP/1.1\r\n\r\n"), 0, ""},
		"noise":            {bytes.Repeat([]byte{0xff}, 100), 0, ""},
		"damaged":          {damaged, 0, ""},
		"version":          {version, RefusedVersion, "version 9"},
		"kind":             {kind, RefusedProtocol, "kind 9"},
		"cluster":          {hello{KindData, other, 2, 1, 5}.append(nil), RefusedCluster, "0102030000"},
		"no cluster":       {hello{KindControl, [16]byte{}, 2, 1, 5}.append(nil), RefusedCluster, "cluster"},
		"another member":   {hello{KindData, testCluster, 2, 3, 5}.append(nil), RefusedMember, "this is member 1, the call is for member 3"},
		"from nobody":      {hello{KindSnapshot, testCluster, 0, 1, 5}.append(nil), RefusedMember, "no two may be the same"},
		"from itself":      {hello{KindControl, testCluster, 1, 1, 5}.append(nil), RefusedMember, "no two may be the same"},
		"call of another":  {hello{KindCall, other, 2, 1, 5}.append(nil), RefusedCluster, "cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			s := knock(t, m)
			s.say(t, c.say)
			got := s.goodbye(t)
			switch {
			case c.code == 0 && got != nil:
				t.Errorf("answered with %v", got)
			case c.code != 0 && (got == nil || got.Code != c.code || !strings.Contains(got.Reason, c.why)):
				t.Errorf("answered with %+v, want code %d and %q", got, c.code, c.why)
			}
		})
	}
}

func TestStreamsThatAreClosed(t *testing.T) {
	m := open(t, 1, newRecorder(), func(o *Options) { o.MaxFrame = 1 << 16; o.MaxCall = 1 << 12 })
	raft := func(msg *raftpb.Message) []byte {
		b, at := beginFrame(nil, frameRaft)
		b, err := appendMessage(b, msg)
		if err != nil {
			t.Fatal(err)
		}
		endFrame(b, at)
		return b
	}
	crc := appendFrame(nil, frameForward, []byte("abc"))
	crc[len(crc)-1]++
	oversized := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 0}, 1<<30)
	for name, c := range map[string]struct {
		kind Kind
		say  []byte
		why  string
	}{
		"checksum":          {KindData, crc, "checksum"},
		"oversized":         {KindData, append(oversized, frameForward), "the bound is 65536"},
		"unknown frame":     {KindControl, appendFrame(nil, 99, nil), "type 99"},
		"data on control":   {KindControl, appendFrame(nil, frameForward, []byte("x")), "type 6 does not belong on a control stream"},
		"report on control": {KindControl, appendFrame(nil, frameReport, nil), "type 7"},
		"no message":        {KindData, appendFrame(nil, frameRaft, []byte("nonsense")), "raft message"},
		"not for us":        {KindData, raft(message(raftpb.MsgApp, 5, 1)), "for member 5"},
		"snapshot on data":  {KindData, raft(message(raftpb.MsgSnap, 1, 1)), "MsgSnap"},
		"call: no request":  {KindCall, appendFrame(nil, frameRaft, []byte("x")), "is not a call"},
		"call: empty":       {KindCall, appendFrame(nil, frameRequest, nil), "is not a call"},
	} {
		t.Run(name, func(t *testing.T) {
			s := knock(t, m)
			s.say(t, goodHello(c.kind).append(nil))
			s.say(t, c.say)
			got := s.goodbye(t)
			if got == nil || got.Code != RefusedProtocol || !strings.Contains(got.Reason, c.why) {
				t.Errorf("answered with %+v, want %q", got, c.why)
			}
		})
	}
	t.Run("call: oversized", func(t *testing.T) {
		s := knock(t, m)
		s.say(t, goodHello(KindCall).append(nil))
		s.say(t, appendFrame(nil, frameRequest, make([]byte, 1<<14)))
		if got := s.goodbye(t); got != nil {
			t.Errorf("answered with %+v", got)
		}
	})
	t.Run("snapshot: no announcement", func(t *testing.T) {
		for _, p := range [][]byte{appendFrame(nil, frameSnapBody, nil), appendFrame(nil, frameSnapMeta, []byte("nonsense")), appendFrame(nil, frameSnapMeta, raft(message(raftpb.MsgApp, 1, 1))[frameHeader:])} {
			s := knock(t, m)
			s.say(t, goodHello(KindSnapshot).append(nil))
			s.say(t, p)
			for typ := byte(0); typ != frameError; {
				var err error
				if typ, _, err = s.frames.next(); err != nil {
					t.Fatal(err)
				}
			}
			s.Close()
		}
	})
}

func TestNewerStreamReplacesTheOlder(t *testing.T) {
	r := newRecorder()
	m := open(t, 1, r, nil)
	var last *stranger
	for i := range 5 {
		s := knock(t, m)
		s.say(t, goodHello(KindData).append(nil))
		s.say(t, appendFrame(nil, frameForward, fmt.Append(nil, i)))
		r.wait(t, fmt.Sprintf("forward 2 %d", i))
		if last != nil {
			if got := last.goodbye(t); got == nil || got.Code != ClosedReplaced {
				t.Errorf("the older stream heard %v", got)
			}
		}
		last = s
	}
}

// A handler that is stuck costs one goroutine, however often the peer tries.
func TestStuckHandlerDoesNotGatherStreams(t *testing.T) {
	r := newRecorder()
	entered, leave := make(chan struct{}, 100), make(chan struct{})
	r.forward = func(_ uint64, batch []byte) {
		entered <- struct{}{}
		<-leave
		r.note("done %s", batch)
	}
	m := open(t, 1, r, nil)
	var last *stranger
	for i := range 20 {
		s := knock(t, m)
		s.say(t, goodHello(KindData).append(nil))
		s.say(t, appendFrame(nil, frameForward, fmt.Append(nil, i)))
		if i == 0 {
			<-entered
		} else if got := last.goodbye(t); got == nil || got.Code != ClosedReplaced {
			t.Fatalf("stream %d heard %v", i-1, got)
		}
		last = s
	}
	if len(entered) != 0 {
		t.Error("a second stream entered the handler")
	}
	close(leave)
	r.wait(t, "done 0")
	r.wait(t, "done 19")
	if r.has("done") {
		t.Errorf("streams that had been replaced were read: %q", r.lines)
	}
}

func TestIncomingStreamsAreBounded(t *testing.T) {
	m := open(t, 1, newRecorder(), func(o *Options) { o.MaxStreams = 3 })
	for from := uint64(2); from < 7; from++ {
		s := knock(t, m)
		h := goodHello(KindData)
		h.from = from
		s.say(t, h.append(nil))
		typ, _, err := s.frames.next()
		if err != nil || (typ == frameAccept) != (from < 5) {
			t.Errorf("stream from %d: type %d, %v", from, typ, err)
		}
	}
}

func TestHalfOpenConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNetwork()
		m := n.member(t, 1, "m1", newRecorder(), nil)
		for _, say := range [][]byte{nil, []byte(helloMagic), goodHello(KindData).append(nil)[:helloSize-1]} {
			c, err := n.dial("x")(t.Context(), "m1")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(say); err != nil {
				t.Fatal(err)
			}
			if took := within(func() { _, _ = io.ReadAll(c) }); took != 2*time.Second {
				t.Errorf("after %q it was closed after %v", say, took)
			}
		}
		m.Close()
	})
}

// Whoever floods the port with silence pushes out its own connections.
func TestFloodDoesNotKeepMembersOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNetwork()
		r := newRecorder()
		m := n.member(t, 1, "m1", r, func(o *Options) { o.MaxPending = 4 })
		var flood []net.Conn
		for range 10 {
			c, err := n.dial("x")(t.Context(), "m1")
			if err != nil {
				t.Fatal(err)
			}
			flood = append(flood, c)
		}
		synctest.Wait()
		other := n.member(t, 2, "m2", newRecorder(), nil)
		took := within(func() {
			other.SetPeers(map[uint64]string{1: "m1"})
			other.opts.Handler.(*recorder).wait(t, "connected 1")
		})
		if took != 0 {
			t.Errorf("a member had to wait for %v", took)
		}
		for i, c := range flood[:6] {
			if took := within(func() { _, _ = io.ReadAll(c) }); took != 0 {
				t.Errorf("connection %d of the flood was closed after %v", i, took)
			}
		}
		m.Close()
		other.Close()
	})
}

func TestSilenceIsNoticedOnBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNetwork()
		e := n.ensemble(t, 2)
		time.Sleep(time.Minute) // nobody sends anything; pings keep the streams
		for i, h := range e.handlers {
			if h.has("") {
				t.Errorf("idle streams: member %d was told %q", i+1, h.lines)
			}
		}
		n.setSwallow("m2", true)
		took := within(func() {
			e.handlers[0].wait(t, "lost 2: the peer was silent for 5s")
			e.handlers[1].wait(t, "lost 1: the peer was silent for 5s")
		})
		if took > 5*time.Second+5*time.Second/3 {
			t.Errorf("the silence was noticed after %v", took)
		}
		time.Sleep(time.Minute)
		if e.handlers[0].has("gone") || e.handlers[0].has("connected") {
			t.Errorf("a member that cannot be reached is not gone: %q", e.handlers[0].lines)
		}
		n.setSwallow("m2", false)
		took = within(func() {
			e.handlers[0].wait(t, "connected 2")
			e.handlers[1].wait(t, "connected 1")
		})
		// A dial that was under way hangs for its two seconds, the next may wait for one.
		if took > 3*time.Second {
			t.Errorf("reconnected after %v", took)
		}
		for _, m := range e.members {
			m.Close()
		}
	})
}

func TestBackoffGrowsAndEndsWithTheirHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNetwork()
		r1 := newRecorder()
		m1 := n.member(t, 1, "m1", r1, nil)
		m1.SetPeers(map[uint64]string{2: "m2"})
		time.Sleep(time.Minute)
		dials := m1.Status()[0].Control.Dials
		if dials < 60 || dials > 130 {
			t.Errorf("%d dials in a minute, for a backoff from 10 ms to a second", dials)
		}
		m2 := n.member(t, 2, "m2", newRecorder(), nil)
		took := within(func() {
			m2.SetPeers(map[uint64]string{1: "m1"})
			r1.wait(t, "connected 2")
		})
		if took != 0 {
			t.Errorf("their hello was answered after %v", took)
		}
		m1.Close()
		m2.Close()
	})
}

func TestAcceptErrorsPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNetwork()
		ln := &failingListener{memListener: n.listen("m1"), failures: 3}
		m := open(t, 1, newRecorder(), func(o *Options) { o.Listener = ln })
		caller := n.member(t, 2, "m2", newRecorder(), nil)
		if _, err := caller.Call(t.Context(), "m1", 1, nil); err != nil {
			t.Error(err)
		}
		m.Close()
		caller.Close()
	})
}

type failingListener struct {
	*memListener
	failures int
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, errors.New("too many open files")
	}
	return l.memListener.Accept()
}
