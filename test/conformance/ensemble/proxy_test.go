package ensemble

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo starts a server that returns whatever it is sent.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func roundTrip(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("sent %q, got %q, %v", text, got, err)
	}
}

func TestProxyModes(t *testing.T) {
	p, err := NewProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c := dial(t, p.Addr())
	roundTrip(t, c, "through")

	if err := p.SetMode(ProxyHold); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "late"); err != nil {
		t.Fatal(err)
	}
	// Nothing may come: a deadline that passes is the expected outcome, and a
	// slow machine only makes it more so.
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a held proxy passed %d bytes, %v", n, err)
	}
	if err := p.SetMode(ProxyOpen); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	got := make([]byte, 4)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "late" {
		t.Fatalf("after opening again: %q, %v", got, err)
	}

	if err := p.SetMode(ProxyCut); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(got); err == nil {
		t.Fatalf("a cut connection gave %d bytes", n)
	}
	if n, err := dial(t, p.Addr()).Read(got); err == nil {
		t.Fatalf("a new connection through a cut proxy gave %d bytes", n)
	}

	if err := p.SetMode(ProxyOpen); err != nil {
		t.Fatal(err)
	}
	roundTrip(t, dial(t, p.Addr()), "again")
	if err := p.SetMode("ajar"); err == nil {
		t.Error("an unknown mode was accepted")
	}
}
