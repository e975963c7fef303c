package prep

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/proto"
)

const (
	perMulti = 100
	depth    = 4
	timeout  = 30_000 // of the sessions, ms
)

// bulk is the handler of all connections: each takes the next hundred parts when
// it has room.
type bulk struct {
	loop *engine.Loop
	n    int
	next int
	open int // connections
	part func(m *proto.Multi, i int)
}

// Do executes n parts, in no particular order, through all servers. part adds the
// i-th one to a transaction. Each transaction has to succeed.
func Do(servers []netip.AddrPort, n int, part func(m *proto.Multi, i int)) error {
	if n == 0 {
		return nil
	}
	l, err := engine.New(engine.Monotonic)
	if err != nil {
		return err
	}
	defer l.Close()
	b := &bulk{loop: l, n: n, part: part}
	for i, s := range servers[:min(len(servers), (n-1)/perMulti+1)] {
		if _, err := l.Dial(engine.Options{ID: i, Server: s, Timeout: timeout}, b); err != nil {
			return err
		}
		b.open++
	}
	l.KeepAlive()
	return l.Run()
}

// fill sends transactions until there is nothing left or enough under way; a
// connection without anything to do ends its session.
func (b *bulk) fill(c *engine.Conn) {
	for b.next < b.n && c.Outstanding() < depth {
		xid := c.Push(engine.Pending{Op: proto.OpMulti, Node: uint32(b.next)})
		m := proto.BeginMulti(c.Out, xid)
		for range min(perMulti, b.n-b.next) {
			b.part(&m, b.next)
			b.next++
		}
		c.Out = m.End()
	}
	if c.Outstanding() == 0 {
		xid := c.Push(engine.Pending{Op: proto.OpClose})
		c.Out = proto.AppendClose(c.Out, xid)
	}
}

func (b *bulk) Opened(c *engine.Conn) error {
	b.fill(c)
	return nil
}

func (b *bulk) Reply(c *engine.Conn, p engine.Pending, r proto.Reply) error {
	if p.Op == proto.OpClose {
		c.Close()
		if b.open--; b.open == 0 {
			b.loop.Stop()
		}
		return nil
	}
	if r.Err != proto.OK {
		return c.Violation("a transaction from part %d on failed with %d", p.Node, r.Err)
	}
	body := r.Body
	for i := int(p.Node); ; i++ {
		part, rest, err := proto.ParsePart(body)
		switch {
		case err != nil:
			return c.Violation("result of part %d: %v", i, err)
		case part.Done:
			b.fill(c)
			return nil
		case part.Op == proto.OpError:
			return c.Violation("part %d failed with %d", i, part.Err)
		}
		body = rest
	}
}

func (b *bulk) Event(c *engine.Conn, e proto.Event) error {
	return c.Violation("an event of type %d on %s, and no watch was set", e.Type, e.Path)
}

func (b *bulk) Pong(*engine.Conn, int64) error { return nil }

func (b *bulk) Closed(c *engine.Conn, err error) error {
	return fmt.Errorf("preparing nodes through %v: %w", c.Server, errors.Join(errors.New("the connection was lost"), err))
}

// Create creates the nodes, each with the value of version 0 for its index, or
// with nothing.
func Create(servers []netip.AddrPort, paths []string, values bool) error {
	var value []byte
	if values {
		value = make([]byte, proto.ValueLen)
	}
	return Do(servers, len(paths), func(m *proto.Multi, i int) {
		if values {
			proto.FillValue(value, uint32(i), 0)
		}
		m.Create(paths[i], value, proto.Persistent)
	})
}

// Delete deletes the nodes.
func Delete(servers []netip.AddrPort, paths []string) error {
	return Do(servers, len(paths), func(m *proto.Multi, i int) { m.Delete(paths[i]) })
}
