package sockets

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const patience = 30 * time.Second

// handler is a Handler of functions, which tells when it has ended.
type handler struct {
	socket  *Socket
	space   func() []byte
	arrived func(b []byte) Next
	woken   func() Next
	ended   chan error
}

func (h *handler) Space() []byte {
	if h.space != nil {
		return h.space()
	}
	return nil
}
func (h *handler) Arrived(b []byte) Next { return h.arrived(b) }
func (h *handler) Woken() Next           { return h.woken() }
func (h *handler) Ended(err error)       { h.ended <- err }

// newLoop runs a loop for the test's time.
func newLoop(t *testing.T, after func()) *Loop {
	t.Helper()
	l, err := NewLoop(after)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- l.Run() }()
	t.Cleanup(func() {
		l.Close()
		select {
		case err := <-over:
			if err != nil {
				t.Errorf("the loop ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("the loop does not end")
		}
	})
	return l
}

// dial returns a client whose other end is in the loop.
func dial(t *testing.T, l *Loop, h *handler) *net.TCPConn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if err := client.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f, err := nc.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	_ = nc.Close()
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	h.ended = make(chan error, 2)
	if err := l.Add(fd, func(s *Socket) Handler { h.socket = s; return h }); err != nil {
		t.Fatal(err)
	}
	return client.(*net.TCPConn)
}

func (h *handler) wantEnd(t *testing.T, want error) {
	t.Helper()
	select {
	case err := <-h.ended:
		if !errors.Is(err, want) {
			t.Errorf("ended with %v, want %v", err, want)
		}
	case <-time.After(patience):
		t.Fatal("the socket does not end")
	}
}

func TestEcho(t *testing.T) {
	var mu sync.Mutex
	rounds := 0
	l := newLoop(t, func() { mu.Lock(); rounds++; mu.Unlock() })
	h := &handler{}
	h.arrived = func(b []byte) Next {
		if n, err := h.socket.TryWrite(b); n != len(b) || err != nil {
			t.Errorf("wrote %d of %d bytes: %v", n, len(b), err)
		}
		return Read
	}
	client := dial(t, l, h)
	for _, s := range []string{"one", "two", "three"} {
		if _, err := client.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(s))
		if _, err := io.ReadFull(client, got); err != nil || string(got) != s {
			t.Fatalf("%q came back as %q: %v", s, got, err)
		}
	}
	_ = client.Close()
	h.wantEnd(t, io.EOF)
	mu.Lock()
	defer mu.Unlock()
	if rounds < 3 {
		t.Errorf("after was called %d times for 3 requests that came one by one", rounds)
	}
	if n, err := h.socket.TryWrite([]byte("x")); n != 0 || err == nil {
		t.Errorf("%d bytes were written to a socket that has ended: %v", n, err)
	}
}

// A handler's own space is filled instead of the shared buffer.
func TestOwnSpace(t *testing.T) {
	l := newLoop(t, func() {})
	own := make([]byte, 4)
	got := make(chan string, 10)
	h := &handler{space: func() []byte { return own }}
	h.arrived = func(b []byte) Next {
		if &b[0] != &own[0] {
			t.Error("the bytes are not where they should go")
		}
		got <- string(b)
		return Read
	}
	client := dial(t, l, h)
	if _, err := client.Write([]byte("abcdefgh")); err != nil {
		t.Fatal(err)
	}
	if a, b := <-got, <-got; a+b != "abcdefgh" {
		t.Errorf("%q and %q came", a, b)
	}
}

// What a client sends while its handler waits stays in the kernel, however
// much it is, and comes after Wake.
func TestWaitAndWake(t *testing.T) {
	l := newLoop(t, func() {})
	var got []byte
	first, whole := make(chan struct{}), make(chan struct{})
	want := bytes.Repeat([]byte("0123456789"), 50_000)
	h := &handler{}
	waiting := true
	h.arrived = func(b []byte) Next {
		got = append(got, b...)
		if waiting {
			close(first)
			return Wait
		}
		if len(got) == len(want) {
			close(whole)
		}
		return Read
	}
	h.woken = func() Next { waiting = false; return Read }
	client := dial(t, l, h)
	sent := make(chan error, 1)
	go func() { _, err := client.Write(want); sent <- err }()
	<-first
	// Somebody else is served meanwhile: the loop does not turn around the one
	// that waits.
	other := &handler{}
	other.arrived = func(b []byte) Next { _, _ = other.socket.TryWrite(b); return Read }
	second := dial(t, l, other)
	for range 100 {
		if _, err := second.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(second, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	h.socket.Wake()
	select {
	case <-whole:
	case <-time.After(patience):
		t.Fatal("not all came after Wake")
	}
	if err := <-sent; err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes came, %d were sent: %v", len(got), len(want), err)
	}
}

// Write waits for a slow reader, beside the loop.
func TestSlowReader(t *testing.T) {
	l := newLoop(t, func() {})
	h := &handler{arrived: func([]byte) Next { return Read }}
	client := dial(t, l, h)
	want := bytes.Repeat([]byte("abcdefg"), 3_000_000) // more than any socket's buffers
	written := make(chan error, 1)
	go func() {
		n, err := h.socket.TryWrite(want)
		if err == nil && n == len(want) {
			err = errors.New("the kernel took all of it at once: the test shows nothing")
		}
		if err == nil {
			_, err = h.socket.Write(want[n:])
		}
		if err == nil {
			err = h.socket.Close()
		}
		written <- err
	}()
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes of %d: %v", len(got), len(want), err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	_ = client.Close()
	h.wantEnd(t, io.EOF)
}

// A client that closes while somebody waits in Write ends the wait.
func TestReaderThatGoes(t *testing.T) {
	l := newLoop(t, func() {})
	h := &handler{arrived: func([]byte) Next { return Read }}
	client := dial(t, l, h)
	written := make(chan error, 1)
	go func() { _, err := h.socket.Write(make([]byte, 30<<20)); written <- err }()
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_ = client.SetLinger(0)
	_ = client.Close()
	select {
	case err := <-written:
		if err == nil {
			t.Error("30 MiB were written to nobody")
		}
	case <-time.After(patience):
		t.Fatal("Write waits for a client that has gone")
	}
	<-h.ended
}

func TestAbort(t *testing.T) {
	l := newLoop(t, func() {})
	h := &handler{arrived: func([]byte) Next { return Read }}
	client := dial(t, l, h)
	h.socket.Abort()
	h.socket.Abort()
	h.wantEnd(t, nil)
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the client sees %v, want a reset", err)
	}
	select {
	case err := <-h.ended:
		t.Errorf("it ended twice, the second time with %v", err)
	default:
	}
}

// After Linger what the client still sends is thrown away, and the last reply
// reaches it.
func TestLinger(t *testing.T) {
	l := newLoop(t, func() {})
	h := &handler{}
	h.arrived = func([]byte) Next {
		_, _ = h.socket.TryWrite([]byte("no"))
		_ = h.socket.Close()
		return Linger
	}
	client := dial(t, l, h)
	for range 3 {
		if _, err := client.Write(make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := io.ReadAll(client); err != nil || string(got) != "no" {
		t.Errorf("the client reads %q, %v", got, err)
	}
	_ = client.Close()
	h.wantEnd(t, io.EOF)
}

// A client that never closes its side is let go after a moment.
func TestLingerEnds(t *testing.T) {
	l := newLoop(t, func() {})
	h := &handler{arrived: func([]byte) Next { return Read }}
	client := dial(t, l, h)
	if err := h.socket.Close(); err != nil {
		t.Fatal(err)
	}
	h.wantEnd(t, nil)
	_, _ = client.Read(make([]byte, 1))
}

func TestDetach(t *testing.T) {
	l := newLoop(t, func() {})
	conns := make(chan net.Conn, 1)
	h := &handler{}
	h.arrived = func(b []byte) Next {
		nc, err := h.socket.Detach()
		if err != nil {
			t.Error(err)
		}
		conns <- nc
		return Gone
	}
	client := dial(t, l, h)
	if _, err := client.Write([]byte("ruok")); err != nil {
		t.Fatal(err)
	}
	nc := <-conns
	if _, err := nc.Write([]byte("imok")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "imok" {
		t.Errorf("%q, %v", got, err)
	}
	h.socket.Abort()
	if _, err := nc.Read(got); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Abort the connection that was taken reads %v", err)
	}
	select {
	case <-h.ended:
		t.Error("a connection that was taken away ended in the loop")
	default:
	}
}

// Close ends what is in the loop, and the loop; nothing can be added then.
func TestCloseWithSockets(t *testing.T) {
	l, err := NewLoop(func() {})
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- l.Run() }()
	var hs []*handler
	for range 20 {
		h := &handler{arrived: func([]byte) Next { return Wait }, woken: func() Next { return Read }}
		client := dial(t, l, h)
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		hs = append(hs, h)
	}
	l.Close()
	select {
	case err := <-over:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the loop does not end")
	}
	for i, h := range hs {
		if len(h.ended) != 1 {
			t.Errorf("socket %d ended %d times", i, len(h.ended))
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := l.Add(int(r.Fd()), func(*Socket) Handler { t.Error("asked for a handler"); return nil }); err == nil {
		t.Error("a loop that was closed took a socket")
	}
}

// Descriptors are used again at once: nobody gets another's bytes.
func TestNumbersUsedAgain(t *testing.T) {
	l := newLoop(t, func() {})
	for i := range 200 {
		h := &handler{}
		h.arrived = func(b []byte) Next { _, _ = h.socket.TryWrite(slices.Clone(b)); return Read }
		client := dial(t, l, h)
		if _, err := client.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		var got [1]byte
		if _, err := io.ReadFull(client, got[:]); err != nil || got[0] != byte(i) {
			t.Fatalf("client %d got %d: %v", i, got[0], err)
		}
		if i%2 == 0 {
			h.socket.Abort()
		}
		_ = client.Close()
	}
}
