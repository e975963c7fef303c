package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/proto"
)

const (
	// ownerTimeout is the session timeout of owners, in milliseconds.
	ownerTimeout = 60_000
	// patience bounds every wait that nothing else bounds.
	patience = 3 * time.Minute
)

// owners are sessions that own ephemeral nodes, on one loop. But for its exported
// methods all of it belongs to the loop.
type owners struct {
	loop  *engine.Loop
	conns []*engine.Conn
	ended chan error
	// then is what to do once an operation has succeeded, by Pending.Node.
	then []func(path string)
	free []uint32
	open int
	all  chan struct{}
	// outstanding requests; drained is closed once there are none, if somebody waits.
	outstanding int
	drained     chan struct{}
}

func newOwners(servers []netip.AddrPort, n int) (*owners, error) {
	l, err := engine.New(engine.Monotonic)
	if err != nil {
		return nil, err
	}
	o := &owners{loop: l, ended: make(chan error, 1), all: make(chan struct{}), conns: make([]*engine.Conn, n)}
	for i := range o.conns {
		if o.conns[i], err = l.Dial(engine.Options{ID: i, Server: servers[i%len(servers)], Timeout: ownerTimeout, Reserve: 1024}, o); err != nil {
			return nil, err
		}
	}
	l.KeepAlive()
	go func() { o.ended <- l.Run() }()
	return o, o.wait(o.all)
}

// wait waits until the loop closes done.
func (o *owners) wait(done chan struct{}) error {
	select {
	case <-done:
		return nil
	case err := <-o.ended:
		o.ended <- err
		return fmt.Errorf("the owners of ephemeral nodes: %w", errors.Join(err, errors.New("their loop has ended")))
	case <-time.After(patience):
		return fmt.Errorf("the owners of ephemeral nodes: nothing came of it within %v", patience)
	}
}

// Do has the loop call fn, and waits until that and all that it asked for is done.
func (o *owners) Do(fn func() error) error {
	done := make(chan struct{})
	o.loop.Post(func() error {
		if err := fn(); err != nil {
			return err
		}
		o.drained = done
		o.settle()
		return nil
	})
	return o.wait(done)
}

// Close ends the loop; the sessions stay until they expire.
func (o *owners) Close() {
	o.loop.Post(func() error { o.loop.Stop(); return nil })
	<-o.ended
	o.loop.Close()
}

func (o *owners) settle() {
	if o.drained != nil && o.outstanding == 0 {
		close(o.drained)
		o.drained = nil
	}
}

func (o *owners) push(c int, op int32, then func(string)) (*engine.Conn, int32) {
	var slot uint32
	if n := len(o.free); n > 0 {
		slot, o.free = o.free[n-1], o.free[:n-1]
		o.then[slot] = then
	} else {
		slot = uint32(len(o.then))
		o.then = append(o.then, then)
	}
	o.outstanding++
	conn := o.conns[c]
	return conn, conn.Push(engine.Pending{Op: op, Node: slot})
}

// create makes a node; then may be nil.
func (o *owners) create(c int, path string, data []byte, flags int32, then func(path string)) {
	conn, xid := o.push(c, proto.OpCreate, then)
	conn.Out = proto.AppendCreate(conn.Out, xid, path, data, flags)
}

func (o *owners) remove(c int, path string) {
	conn, xid := o.push(c, proto.OpDelete, nil)
	conn.Out = proto.AppendDelete(conn.Out, xid, path)
}

// identity is what a session is called as a holder.
func (o *owners) identity(c int) string { return fmt.Sprintf("0x%x", uint64(o.conns[c].Session.ID)) }

// Opened implements engine.Handler.
func (o *owners) Opened(*engine.Conn) error {
	if o.open++; o.open == len(o.conns) {
		close(o.all)
	}
	return nil
}

// Reply implements engine.Handler.
func (o *owners) Reply(c *engine.Conn, p engine.Pending, r proto.Reply) error {
	if r.Err != proto.OK {
		return c.Violation("operation %d failed with %d", p.Op, r.Err)
	}
	then := o.then[p.Node]
	o.then[p.Node] = nil
	o.free = append(o.free, p.Node)
	o.outstanding--
	if then != nil {
		path, _, err := proto.ParseBytes(r.Body)
		if err != nil {
			return c.Violation("%v", err)
		}
		then(string(path))
	}
	o.settle()
	return nil
}

// Event implements engine.Handler.
func (o *owners) Event(c *engine.Conn, e proto.Event) error {
	return c.Violation("an event on %s, and no watch was set", e.Path)
}

// Pong implements engine.Handler.
func (o *owners) Pong(*engine.Conn, int64) error { return nil }

// Closed implements engine.Handler.
func (o *owners) Closed(c *engine.Conn, err error) error {
	return fmt.Errorf("owner %d lost its connection to %v: %w", c.ID, c.Server, err)
}
