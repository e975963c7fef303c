package load

import (
	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/proto"
)

// PerConn is how many nodes each connection writes to. No other connection does,
// so that it knows every version in advance.
const PerConn = 16

// Nodes are the nodes that the connections of a cell read and write, with the
// requests for them ready to send. Node n belongs to connection n / PerConn.
type Nodes struct {
	Paths             []string
	get, exists, sets []proto.Template
}

// NewNodes names the nodes of conns connections: numbers behind prefix. Somebody
// else creates them, with the value of version 0.
func NewNodes(prefix string, conns int) *Nodes {
	n := &Nodes{}
	for i := range uint32(conns * PerConn) {
		path := string(proto.AppendNumber([]byte(prefix), i))
		n.Paths = append(n.Paths, path)
		n.get = append(n.get, proto.ReadTemplate(proto.OpGetData, path, false))
		n.exists = append(n.exists, proto.ReadTemplate(proto.OpExists, path, false))
		n.sets = append(n.sets, proto.SetTemplate(path, proto.ValueLen))
	}
	return n
}

// Data reads nodes at random, whoever owns them, and sets its own ones.
type Data struct {
	noEvents
	nodes *Nodes
	// sets is how many of 100 operations set a node.
	sets int
	read int32 // OpGetData or OpExists
	// conns is indexed by connection; those of other loops are unused.
	conns []dataConn
}

type dataConn struct {
	rng rng
	// sent is, for each of the connection's own nodes, the version that the last
	// set sent to it makes. In the session's order, a read sent after it returns
	// exactly that.
	sent [PerConn]int32
	// seen is, for every node, the newest version that a reply has shown. A
	// connection never goes back in time.
	seen []int32
	// zxid is that of the last set that was answered.
	zxid int64
}

// NewData makes a script for conns connections on nodes.
func NewData(nodes *Nodes, conns, sets int, read int32) *Data {
	d := &Data{nodes: nodes, sets: sets, read: read, conns: make([]dataConn, conns)}
	for i := range d.conns {
		d.conns[i].rng = rng(uint64(i+1) * 0x9e3779b97f4a7c15)
		d.conns[i].seen = make([]int32, len(nodes.Paths))
	}
	return d
}

// Begin sends a read or a set.
func (d *Data) Begin(c *engine.Conn, at int64) {
	own := &d.conns[c.ID]
	if d.sets > 0 && own.rng.below(100) < d.sets {
		i := own.rng.below(PerConn)
		own.sent[i]++
		node := uint32(c.ID*PerConn + i)
		xid := c.Push(engine.Pending{At: at, Op: proto.OpSetData, Node: node, Version: own.sent[i]})
		c.Out = d.nodes.sets[node].Append(c.Out, xid)
		proto.FillValue(d.nodes.sets[node].Data(c.Out, proto.ValueLen), node, own.sent[i])
		return
	}
	node := uint32(own.rng.below(len(d.nodes.Paths)))
	p := engine.Pending{At: at, Op: d.read, Node: node, Version: -1}
	if int(node)/PerConn == c.ID {
		p.Version = own.sent[node%PerConn]
	}
	xid := c.Push(p)
	if d.read == proto.OpExists {
		c.Out = d.nodes.exists[node].Append(c.Out, xid)
	} else {
		c.Out = d.nodes.get[node].Append(c.Out, xid)
	}
}

// Reply checks value and stat.
func (d *Data) Reply(c *engine.Conn, p engine.Pending, r proto.Reply) (Outcome, error) {
	if err := expectOK(c, p, r); err != nil {
		return Outcome{}, err
	}
	body, written := r.Body, int32(-1)
	if p.Op == proto.OpGetData {
		value, rest, err := proto.ParseBytes(body)
		if err != nil {
			return Outcome{}, c.Violation("getData of %s: %v", d.nodes.Paths[p.Node], err)
		}
		if written, err = proto.CheckValue(value, p.Node); err != nil {
			return Outcome{}, c.Violation("getData of %s: %v", d.nodes.Paths[p.Node], err)
		}
		body = rest
	}
	stat, _, err := proto.ParseStat(body)
	own := &d.conns[c.ID]
	switch {
	case err != nil:
		return Outcome{}, c.Violation("stat of %s: %v", d.nodes.Paths[p.Node], err)
	case p.Version >= 0 && stat.Version != p.Version:
		return Outcome{}, c.Violation("%s has version %d, and this session's own writes made %d", d.nodes.Paths[p.Node], stat.Version, p.Version)
	case written >= 0 && written != stat.Version:
		return Outcome{}, c.Violation("%s has version %d and the value of version %d", d.nodes.Paths[p.Node], stat.Version, written)
	case stat.Version < own.seen[p.Node]:
		return Outcome{}, c.Violation("%s went back from version %d to %d", d.nodes.Paths[p.Node], own.seen[p.Node], stat.Version)
	case stat.DataLength != proto.ValueLen:
		return Outcome{}, c.Violation("%s has data of %d bytes, want %d", d.nodes.Paths[p.Node], stat.DataLength, proto.ValueLen)
	case stat.Mzxid > r.Zxid:
		return Outcome{}, c.Violation("%s was modified at zxid %#x, in a reply of zxid %#x", d.nodes.Paths[p.Node], stat.Mzxid, r.Zxid)
	}
	if p.Op == proto.OpSetData {
		if stat.Mzxid <= own.zxid {
			return Outcome{}, c.Violation("set of %s at zxid %#x came after one at zxid %#x", d.nodes.Paths[p.Node], stat.Mzxid, own.zxid)
		}
		own.zxid = stat.Mzxid
	}
	own.seen[p.Node] = stat.Version
	return single(p), nil
}

// MultiSize is the number of sets in one transaction.
const MultiSize = 10

// Multi sets MultiSize of a connection's own nodes in one transaction.
type Multi struct {
	noEvents
	nodes *Nodes
	sent  []int32 // per connection: the version that all its nodes will have
	value [proto.ValueLen]byte
}

// NewMulti makes a script for conns connections on nodes.
func NewMulti(nodes *Nodes, conns int) *Multi {
	return &Multi{nodes: nodes, sent: make([]int32, conns)}
}

// Begin sends a transaction.
func (m *Multi) Begin(c *engine.Conn, at int64) {
	m.sent[c.ID]++
	xid := c.Push(engine.Pending{At: at, Op: proto.OpMulti, Node: uint32(c.ID * PerConn), Version: m.sent[c.ID]})
	b := proto.BeginMulti(c.Out, xid)
	for i := range MultiSize {
		node := c.ID*PerConn + i
		proto.FillValue(m.value[:], uint32(node), m.sent[c.ID])
		b.Set(m.nodes.Paths[node], m.value[:])
	}
	c.Out = b.End()
}

// Reply checks that all parts have succeeded, in one transaction.
func (m *Multi) Reply(c *engine.Conn, p engine.Pending, r proto.Reply) (Outcome, error) {
	if err := expectOK(c, p, r); err != nil {
		return Outcome{}, err
	}
	b := r.Body
	var zxid int64
	for i := range MultiSize + 1 {
		part, rest, err := proto.ParsePart(b)
		switch {
		case err != nil:
			return Outcome{}, c.Violation("transaction, part %d: %v", i, err)
		case part.Done != (i == MultiSize):
			return Outcome{}, c.Violation("transaction: part %d of %d says that it is the last: %v", i, MultiSize, part.Done)
		case part.Done:
			continue
		case part.Op != proto.OpSetData || part.Err != proto.OK:
			return Outcome{}, c.Violation("transaction, part %d: operation %d, error %d", i, part.Op, part.Err)
		case part.Stat.Version != p.Version:
			return Outcome{}, c.Violation("transaction, part %d: version %d, want %d", i, part.Stat.Version, p.Version)
		case i > 0 && part.Stat.Mzxid != zxid:
			return Outcome{}, c.Violation("transaction: part %d has zxid %#x, the one before %#x", i, part.Stat.Mzxid, zxid)
		}
		zxid = part.Stat.Mzxid
		b = rest
	}
	return single(p), nil
}
