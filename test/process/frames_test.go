package process

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

func frame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func length(n int32, rest ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(n)), rest...)
}

// TestHandshakeGarbage sends first frames that are none.
func TestHandshakeGarbage(t *testing.T) {
	t.Parallel()
	v := startVictim(t)
	good := wire.ConnectRequest{Timeout: 5 * time.Second}.Encode()
	shorter := func(n int) []byte { return frame(good[:n]) }
	password := func(p []byte) []byte { return frame(wire.ConnectRequest{Timeout: 5 * time.Second, Passwd: p}.Encode()) }
	with := func(off int, n int32) []byte {
		b := append([]byte(nil), good...)
		binary.BigEndian.PutUint32(b[off:], uint32(n))
		return frame(b)
	}
	notAFrame := "a frame of an impossible length"
	notAHello := "its first frame is not a connect request"
	cases := map[string]struct {
		raw  []byte
		says string
	}{
		"length -1":                {length(-1), notAFrame},
		"smallest length":          {length(math.MinInt32), notAFrame},
		"largest length":           {length(math.MaxInt32), notAFrame},
		"length over the limit":    {length(1048576, good...), notAFrame},
		"an HTTP request":          {[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), notAFrame},
		"a TLS hello":              {[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), notAFrame},
		"an unknown word":          {[]byte("what"), notAFrame},
		"a word in capitals":       {[]byte("RUOK"), notAFrame},
		"an empty frame":           {length(0), notAHello},
		"password length -2":       {with(24, -2), notAHello},
		"password length huge":     {with(24, math.MaxInt32), notAHello},
		"password beyond the end":  {with(24, 18), notAHello},
		"a password of 65 bytes":   {password(make([]byte, 65)), notAHello},
		"a password of a megabyte": {password(make([]byte, 1000_000)), ""},
		"a request instead":        {frame(wire.Request(1, wire.OpGetData, wire.WatchBody("/", false))), notAHello},
	}
	for n := range 44 {
		cases[fmt.Sprintf("%d bytes of it", n)] = struct {
			raw  []byte
			says string
		}{shorter(n), notAHello}
	}
	var all sync.WaitGroup
	for name, c := range cases {
		all.Go(func() {
			conn := v.dial(c.raw)
			if got := closed(t, conn); len(got) > 0 {
				t.Errorf("%s: answered with %x", name, got)
			}
			v.said("WARN", "connection closed: "+c.says, client(conn))
		})
	}
	all.Wait()
	if n := len(v.log.lines("WARN")); n != len(cases) {
		t.Errorf("%d warnings for %d connections", n, len(cases))
	}
}

// TestStrangeHandshakes are odd, but no reason to refuse.
func TestStrangeHandshakes(t *testing.T) {
	t.Parallel()
	v := startVictim(t)
	for name, q := range map[string][]byte{
		"another version":       append(binary.BigEndian.AppendUint32(nil, 77), wire.ConnectRequest{}.Encode()[4:]...),
		"a negative timeout":    wire.ConnectRequest{Timeout: -time.Hour}.Encode(),
		"the longest timeout":   wire.ConnectRequest{Timeout: math.MaxInt32 * time.Millisecond}.Encode(),
		"no password":           append(wire.ConnectRequest{OmitReadOnly: true}.Encode()[:24], 0xff, 0xff, 0xff, 0xff),
		"something behind it":   append(wire.ConnectRequest{}.Encode(), 1, 2, 3),
		"a negative zxid":       wire.ConnectRequest{LastZxidSeen: -1}.Encode(),
		"read-only is no truth": append(wire.ConnectRequest{OmitReadOnly: true}.Encode(), 0x7f),
	} {
		c := &wire.Conn{Conn: v.dial(frame(q)), Timeout: patience}
		body, err := c.RecvFrame()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r, err := wire.DecodeConnectResponse(body)
		if err != nil || r.SessionID == 0 || r.Timeout < time.Second || r.Timeout > 10*time.Second || len(r.Passwd) != 16 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	// Sessions that are not to be had are answered, never replaced.
	for name, q := range map[string]wire.ConnectRequest{
		"a session of nobody":  {SessionID: 0x1234},
		"the smallest session": {SessionID: math.MinInt64, Passwd: []byte{}},
		"a wrong password":     {SessionID: connect(t, v.addr).id, Passwd: []byte("0123456789abcdef")},
		"a short password":     {SessionID: connect(t, v.addr).id, Passwd: []byte("x")},
	} {
		c := &wire.Conn{Conn: v.dial(nil), Timeout: patience}
		r, err := c.Handshake(q)
		if err != nil || r.SessionID != 0 || r.Timeout != 0 || string(r.Passwd) != string(make([]byte, 16)) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		closed(t, c)
	}
	// Another member may know more.
	closed(t, v.dial(frame(wire.ConnectRequest{LastZxidSeen: math.MaxInt64}.Encode())))
	v.said("INFO", "client turned away: the client has seen zxid 0x7fffffffffffffff")
}

// TestFramesTooLarge sends requests over jute.maxbuffer in a session.
func TestFramesTooLarge(t *testing.T) {
	t.Parallel()
	v := startVictim(t, "jute.maxbuffer=20000")
	big := wire.Request(7, wire.OpSetData, wire.SetDataBody("/some/node", make([]byte, 20000), -1))
	for name, c := range map[string]struct {
		raw  []byte
		says []string
	}{
		"a large node":      {frame(big), []string{fmt.Sprintf("size=%d", len(big)), "jute.maxbuffer=20000", "op=setData", "path=/some/node"}},
		"only its length":   {length(20001), []string{"size=20001"}},
		"a negative length": {length(-5), []string{"size=-5"}},
		"behind a good one": {append(frame(wire.Request(8, wire.OpGetData, wire.WatchBody("/", false))), length(1<<30)...), []string{fmt.Sprintf("size=%d", 1<<30)}},
		"no header":         {length(3, 1, 2, 3), []string{"a request without a header", "size=3"}},
		"empty":             {length(0), []string{"a request without a header", "size=0"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := connect(t, v.addr)
			if err := s.SendRaw(c.raw); err != nil {
				t.Fatal(err)
			}
			got := closed(t, s)
			if behind := strings.HasPrefix(name, "behind"); behind != (len(got) > 0) {
				t.Errorf("answered with %x", got)
			}
			v.said(append([]string{"WARN", "connection closed", client(s), s.name()}, c.says...)...)
			if err := s.open(v.addr); err != nil {
				t.Errorf("the session is not there any more: %v", err)
			}
		})
	}
	s := connect(t, v.addr)
	s.must(t, wire.OpCreate, wire.CreateBody("/largest", make([]byte, 20000-8-4-8-4-4-30-4), wire.OpenACL, 0))
}

// TestHalfOpen opens connections that say nothing, or not enough, and waits
// until the server has let go of them.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	v := startVictim(t)
	good := frame(wire.ConnectRequest{Timeout: time.Second}.Encode())
	half := frame(wire.Request(1, wire.OpSetData, wire.SetDataBody("/witness", make([]byte, 1000), -1)))[:500]
	var all sync.WaitGroup
	for name, raw := range map[string][]byte{
		"nothing":                   nil,
		"a byte":                    good[:1],
		"half a length":             good[:3],
		"a length":                  good[:4],
		"half a handshake":          good[:20],
		"all but a byte of it":      good[:len(good)-1],
		"a handshake and no more":   good,
		"a handshake and a half":    append(append([]byte(nil), good...), half...),
		"a handshake and one byte":  append(append([]byte(nil), good...), 0),
		"a length that is all lies": length(1048000),
		"half a word":               []byte("ru"),
	} {
		all.Go(func() {
			c := v.dial(raw)
			if got := closed(t, c); len(got) > 0 != (len(raw) >= len(good)) {
				t.Errorf("%s: answered with %x", name, got)
			}
		})
	}
	// One that sends a byte now and then is no better.
	all.Go(func() {
		c := v.dial(good[:1])
		gone := make(chan struct{})
		go func() { closed(t, c); close(gone) }()
		for i := 1; ; i++ {
			select {
			case <-gone:
				return
			case <-time.After(200 * time.Millisecond):
			}
			if i == len(good)-1 {
				t.Error("a handshake, byte by byte, is waited for without end")
				return
			}
			_, _ = c.Write(good[i : i+1])
		}
	})
	all.Wait()
}

// TestRandomBytes throws random bytes at the client port.
func TestRandomBytes(t *testing.T) {
	t.Parallel()
	seed := seed(t)
	v := startVictim(t)
	n := 1500
	if all {
		n = 20_000
	}
	var work sync.WaitGroup
	for k := range 4 {
		work.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(k)))
			for range n / 4 {
				throw(t, v, r)
			}
		})
	}
	work.Wait()
	connect(t, v.addr).must(t, wire.OpSync, wire.PathBody("/"))
}

// throw sends one connection's worth of garbage and sees it closed.
func throw(t *testing.T, v *victim, r *rand.Rand) {
	noise := make([]byte, r.IntN(300))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	var raw []byte
	switch r.IntN(4) {
	case 0: // pure noise
		raw = noise
	case 1: // a frame of noise
		raw = frame(noise)
	case 2: // a session, then noise
		raw = append(frame(wire.ConnectRequest{Timeout: time.Second}.Encode()), noise...)
	case 3: // a session, then requests that only look like some
		raw = frame(wire.ConnectRequest{Timeout: time.Second}.Encode())
		for range 1 + r.IntN(4) {
			ops := []int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 14, 15, 17, 18, 19, 21, 22, 100, 101, 103, 104, 105, 106, 107}
			raw = append(raw, frame(wire.Request(int32(r.Uint32()), ops[r.IntN(len(ops))], noise[:r.IntN(len(noise)+1)]))...)
		}
	}
	c, err := net.DialTimeout("tcp", v.addr, patience)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	if _, err := c.Write(raw); err != nil && !isBroken(err) {
		t.Error(err)
		return
	}
	// The client's end of it is over: whatever the server makes of the bytes,
	// it lets go.
	if err := c.(*net.TCPConn).CloseWrite(); err != nil && !isBroken(err) {
		return
	}
	closed(t, c)
}
