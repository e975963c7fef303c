package engine

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/conclave-dev/conclave/test/bench/fake"
	"github.com/conclave-dev/conclave/test/bench/proto"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// script is a handler made of functions; those that are nil end the loop with
// an error.
type script struct {
	opened func(c *Conn) error
	reply  func(c *Conn, p Pending, r proto.Reply) error
	event  func(c *Conn, e proto.Event) error
	pong   func(c *Conn, sent int64) error
	closed func(c *Conn, err error) error
}

func (s *script) Opened(c *Conn) error { return s.opened(c) }

func (s *script) Reply(c *Conn, p Pending, r proto.Reply) error {
	if s.reply == nil {
		return fmt.Errorf("unexpected reply %+v", r)
	}
	return s.reply(c, p, r)
}

func (s *script) Event(c *Conn, e proto.Event) error {
	if s.event == nil {
		return fmt.Errorf("unexpected event %+v", e)
	}
	return s.event(c, e)
}

func (s *script) Pong(c *Conn, sent int64) error {
	if s.pong == nil {
		return errors.New("unexpected answer to a ping")
	}
	return s.pong(c, sent)
}

func (s *script) Closed(c *Conn, err error) error {
	if s.closed == nil {
		return fmt.Errorf("closed: %w", err)
	}
	return s.closed(c, err)
}

func start(t *testing.T, fault func(*fake.Answer)) (*fake.Server, *Loop) {
	t.Helper()
	s, err := fake.Start(fault)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	l, err := New(Monotonic)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return s, l
}

func dial(t *testing.T, s *fake.Server, l *Loop, h Handler) *Conn {
	t.Helper()
	c, err := l.Dial(Options{Server: s.Addr(), Timeout: 10_000}, h)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// create sends n creates of one path each; only the first succeeds where they
// are the same.
func create(c *Conn, path string) {
	xid := c.Push(Pending{Op: proto.OpCreate})
	c.Out = proto.AppendCreate(c.Out, xid, path, []byte("x"), proto.Persistent)
}

func TestRepliesComeInOrder(t *testing.T) {
	s, l := start(t, nil)
	const n = 1000
	var got []int32
	pongs := 0
	h := &script{
		opened: func(c *Conn) error {
			for i := range n {
				create(c, fmt.Sprintf("/n%d", i))
				if i == n/2 {
					c.Ping(7)
				}
			}
			return nil
		},
		reply: func(c *Conn, p Pending, r proto.Reply) error {
			if r.Err != proto.OK || r.Xid != p.Xid {
				return fmt.Errorf("%+v for %+v", r, p)
			}
			if got = append(got, r.Xid); len(got) == n {
				l.Stop()
			}
			return nil
		},
		pong: func(c *Conn, sent int64) error {
			if pongs++; sent != 7 {
				return fmt.Errorf("the ping was sent at %d", sent)
			}
			return nil
		},
	}
	c := dial(t, s, l, h)
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if len(got) != n || !slices.IsSorted(got) || pongs != 1 || c.Outstanding() != 0 {
		t.Errorf("%d replies, sorted %v, %d pongs, %d outstanding", len(got), slices.IsSorted(got), pongs, c.Outstanding())
	}
	if c.Session.ID == 0 || c.Timeout != 10_000 || c.LastZxid != n {
		t.Errorf("session %+v, timeout %d, zxid %d", c.Session, c.Timeout, c.LastZxid)
	}
}

// Every breach of the protocol must end the run with a Violation.
func TestViolations(t *testing.T) {
	second := func(change func(*fake.Answer)) func(*fake.Answer) {
		n := 0
		return func(a *fake.Answer) {
			if n++; n == 2 {
				change(a)
			}
		}
	}
	for name, fault := range map[string]func(*fake.Answer){
		"replies swapped":    second(func(a *fake.Answer) { a.Hold = true }),
		"reply twice":        second(func(a *fake.Answer) { a.Twice = true }),
		"another xid":        second(func(a *fake.Answer) { a.Xid++ }),
		"zxid goes back":     second(func(a *fake.Answer) { a.Zxid = 0 }),
		"pong without ping":  second(func(a *fake.Answer) { a.Xid = proto.XidPing }),
		"event comes late":   second(func(a *fake.Answer) { a.Xid, a.Zxid, a.Body = proto.XidEvent, 1, event("/n") }),
		"event is cut short": second(func(a *fake.Answer) { a.Xid, a.Zxid, a.Body = proto.XidEvent, -1, nil }),
	} {
		t.Run(name, func(t *testing.T) {
			s, l := start(t, fault)
			replies := 0
			dial(t, s, l, &script{
				opened: func(c *Conn) error {
					for i := range 3 {
						create(c, fmt.Sprintf("/n%d", i))
					}
					return nil
				},
				reply: func(*Conn, Pending, proto.Reply) error {
					if replies++; replies == 3 {
						l.Stop()
					}
					return nil
				},
			})
			var v *Violation
			if err := l.Run(); !errors.As(err, &v) {
				t.Errorf("got %v, want a violation", err)
			}
		})
	}
}

func event(path string) []byte { return new(wire.Writer).Int(3).Int(3).String(path).Bytes() }

func TestWatchEvent(t *testing.T) {
	s, l := start(t, nil)
	var seen []string
	dial(t, s, l, &script{
		opened: func(c *Conn) error {
			create(c, "/w")
			xid := c.Push(Pending{})
			c.Out = proto.AppendRead(c.Out, xid, proto.OpGetData, "/w", true)
			xid = c.Push(Pending{Op: proto.OpSetData})
			c.Out = proto.AppendSet(c.Out, xid, "/w", []byte("y"))
			return nil
		},
		reply: func(c *Conn, p Pending, r proto.Reply) error {
			if p.Op == proto.OpSetData {
				seen = append(seen, "set")
				l.Stop()
			}
			return nil
		},
		event: func(c *Conn, e proto.Event) error {
			seen = append(seen, fmt.Sprintf("%d %s", e.Type, e.Path))
			return nil
		},
	})
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seen, []string{"3 /w", "set"}) {
		t.Errorf("saw %q", seen)
	}
}

func TestReattachAndExpiry(t *testing.T) {
	s, l := start(t, nil)
	var first proto.Session
	var attached, expired bool
	again := &script{
		opened: func(c *Conn) error {
			attached = c.Session == first
			s.Expire()
			s.Drop()
			return nil
		},
	}
	again.closed = func(c *Conn, err error) error {
		if errors.Is(err, ErrExpired) {
			expired = true
			l.Stop()
			return nil
		}
		_, err = l.Dial(Options{Server: s.Addr(), Session: c.Session, LastZxid: c.LastZxid, Timeout: 10_000}, again)
		return err
	}
	dial(t, s, l, &script{
		opened: func(c *Conn) error {
			first = c.Session
			s.Drop()
			return nil
		},
		closed: func(c *Conn, err error) error {
			if !errors.Is(err, io.EOF) {
				return fmt.Errorf("the drop came as %w", err)
			}
			_, err = l.Dial(Options{Server: s.Addr(), Session: c.Session, Timeout: 10_000}, again)
			return err
		},
	})
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if !attached || !expired {
		t.Errorf("attached again: %v, expired: %v", attached, expired)
	}
}

func TestConnectionRefused(t *testing.T) {
	s, l := start(t, nil)
	s.Close()
	refused := false
	dial(t, s, l, &script{closed: func(*Conn, error) error {
		refused = true
		l.Stop()
		return nil
	}})
	if err := l.Run(); err != nil || !refused {
		t.Errorf("refused: %v, %v", refused, err)
	}
}

// More than the kernel's buffers take must neither be lost nor mixed up, in
// either direction.
func TestMoreThanTheSocketTakes(t *testing.T) {
	s, l := start(t, nil)
	s.Stall()
	const n, size = 400, 64 << 10
	value := make([]byte, size)
	replies := 0
	c := dial(t, s, l, &script{
		opened: func(c *Conn) error {
			create(c, "/big")
			for range n {
				xid := c.Push(Pending{})
				c.Out = proto.AppendSet(c.Out, xid, "/big", value)
				xid = c.Push(Pending{Op: proto.OpGetData})
				c.Out = proto.AppendRead(c.Out, xid, proto.OpGetData, "/big", false)
			}
			l.After(1e6, func() error { s.Resume(); return nil })
			return nil
		},
		reply: func(c *Conn, p Pending, r proto.Reply) error {
			if p.Op == proto.OpGetData {
				v, _, err := proto.ParseBytes(r.Body)
				if err != nil || len(v) != size {
					return fmt.Errorf("%d bytes, %w", len(v), err)
				}
			}
			if replies++; replies == 2*n+1 {
				l.Stop()
			}
			return nil
		},
	})
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if replies != 2*n+1 || c.Outstanding() != 0 {
		t.Errorf("%d replies, %d outstanding", replies, c.Outstanding())
	}
}

func TestTimersRunInOrder(t *testing.T) {
	_, l := start(t, nil)
	var got []int
	note := func(i int) func() error {
		return func() error { got = append(got, i); return nil }
	}
	l.After(3e6, func() error { l.Stop(); return note(4)() })
	l.After(2e6, note(3))
	moved := l.After(4e6, note(1))
	moved.Set(l.Now() + 1)
	l.After(1e6, note(2))
	l.After(1e6, note(99)).Clear()
	if err := l.Run(); err != nil || !slices.Equal(got, []int{1, 2, 3, 4}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestPostAndErrorsEndTheLoop(t *testing.T) {
	_, l := start(t, nil)
	want := errors.New("from outside")
	go l.Post(func() error { return want })
	if err := l.Run(); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

func TestKeepAlive(t *testing.T) {
	s, err := fake.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	// A clock on which every look is a second after the last one.
	var now int64
	l, err := New(func() int64 { now += 1e9; return now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	l.KeepAlive()
	pongs := 0
	dial(t, s, l, &script{
		opened: func(*Conn) error { return nil },
		pong: func(*Conn, int64) error {
			if pongs++; pongs == 2 {
				l.Stop()
			}
			return nil
		},
	})
	// More may have come with the second one.
	if err := l.Run(); err != nil || pongs < 2 {
		t.Errorf("%d pongs, %v", pongs, err)
	}
}
