package load

import (
	"fmt"

	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/proto"
)

// Create creates nodes below a directory of each connection's own.
type Create struct {
	noEvents
	creator
	// Deleting also deletes each node as the connection's next operation.
	deleting bool
	deletes  []proto.Template
	ops      []uint32 // per connection
}

// creator knows how the connections' nodes are called.
type creator struct {
	prefixes []string
	creates  []proto.Template
	// sent is how many nodes each connection has asked for.
	sent []uint32
}

func newCreator(root string, conns int, flags int32) creator {
	c := creator{sent: make([]uint32, conns)}
	for i := range conns {
		c.prefixes = append(c.prefixes, ConnDir(root, i)+"/n")
		c.creates = append(c.creates, proto.CreateTemplate(c.prefixes[i], proto.ValueLen, flags))
	}
	return c
}

// ConnDir is the directory of connection i below root. Somebody else creates it.
func ConnDir(root string, i int) string { return fmt.Sprintf("%s/c%05d", root, i) }

// NewCreate makes a script of creates, without an end.
func NewCreate(root string, conns int) *Create {
	return &Create{creator: newCreator(root, conns, proto.Persistent)}
}

// NewEphemeral makes a script of creates of ephemeral nodes, each followed by the
// node's delete; both count as operations.
func NewEphemeral(root string, conns int) *Create {
	s := &Create{creator: newCreator(root, conns, proto.Ephemeral), deleting: true, ops: make([]uint32, conns)}
	for i := range conns {
		s.deletes = append(s.deletes, proto.DeleteTemplate(s.prefixes[i]))
	}
	return s
}

// Begin sends a create or, in turn, the delete of what was created before.
func (s *Create) Begin(c *engine.Conn, at int64) {
	if s.deleting {
		s.ops[c.ID]++
		if s.ops[c.ID]%2 == 0 {
			n := s.sent[c.ID] - 1
			xid := c.Push(engine.Pending{At: at, Op: proto.OpDelete, Node: n})
			c.Out = s.deletes[c.ID].AppendNumbered(c.Out, xid, n)
			return
		}
	}
	n := s.sent[c.ID]
	s.sent[c.ID]++
	xid := c.Push(engine.Pending{At: at, Op: proto.OpCreate, Node: n})
	c.Out = s.creates[c.ID].AppendNumbered(c.Out, xid, n)
	proto.FillValue(s.creates[c.ID].Data(c.Out, proto.ValueLen), uint32(c.ID), int32(n))
}

// Reply checks the path that a create returns.
func (s *Create) Reply(c *engine.Conn, p engine.Pending, r proto.Reply) (Outcome, error) {
	if err := expectOK(c, p, r); err != nil {
		return Outcome{}, err
	}
	if p.Op == proto.OpCreate {
		path, _, err := proto.ParseBytes(r.Body)
		if err != nil || !proto.IsNumbered(path, s.prefixes[c.ID], p.Node) {
			return Outcome{}, c.Violation("create of node %s%08d returned the path %q, %v", s.prefixes[c.ID], p.Node, path, err)
		}
	}
	return single(p), nil
}

// Created calls fn with the path of every node that was created and has to be
// deleted by somebody, of those connections that this script served.
func (s *Create) Created(fn func(path string)) {
	if s.deleting {
		return // ephemeral: they go with their sessions
	}
	for i, prefix := range s.prefixes {
		for n := range s.sent[i] {
			fn(string(proto.AppendNumber([]byte(prefix), n)))
		}
	}
}
