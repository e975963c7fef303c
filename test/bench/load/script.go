package load

import (
	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/proto"
)

// Outcome is what a reply means for the count of operations.
type Outcome struct {
	// Done: an operation is complete; it was due at Started.
	Done    bool
	Started int64
	// Next: the connection may begin another one.
	Next bool
}

// single is the outcome of a reply that is a whole operation.
func single(p engine.Pending) Outcome { return Outcome{Done: true, Started: p.At, Next: true} }

// Script is the traffic of the connections of one loop. Connections are told
// apart by their ID. Errors are violations and end the run.
type Script interface {
	// Begin appends the start of connection c's next operation, due at the time
	// at.
	Begin(c *engine.Conn, at int64)
	// Reply checks a reply.
	Reply(c *engine.Conn, p engine.Pending, r proto.Reply) (Outcome, error)
	// Event handles a watch event.
	Event(c *engine.Conn, e proto.Event) error
	// Idle tells whether connection c is between operations.
	Idle(c *engine.Conn) bool
}

// noEvents is embedded by scripts that set no watches and whose operations are
// single requests.
type noEvents struct{}

func (noEvents) Event(c *engine.Conn, e proto.Event) error {
	return c.Violation("an event of type %d on %s, and no watch was set", e.Type, e.Path)
}

func (noEvents) Idle(c *engine.Conn) bool { return c.Outstanding() == 0 }

// expectOK makes an error out of any error code.
func expectOK(c *engine.Conn, p engine.Pending, r proto.Reply) error {
	if r.Err != proto.OK {
		return c.Violation("request %d (operation %d on node %d) failed with %d", p.Xid, p.Op, p.Node, r.Err)
	}
	return nil
}

// rng is a small generator of random numbers, one per connection, so that runs
// are alike.
type rng uint64

func (r *rng) next() uint64 {
	x := uint64(*r)
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	*r = rng(x)
	return x
}

// below returns a number in [0, n).
func (r *rng) below(n int) int { return int(r.next() >> 33 % uint64(n)) }
