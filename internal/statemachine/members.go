package statemachine

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/tree"
)

// ConfigPath is the node that shows the membership to clients.
const ConfigPath = "/zookeeper/config"

// Member is one member of the ensemble as the log has it.
type Member struct {
	// ID is the member's raft id: random, and never used again once removed.
	ID uint64
	// Name is the N of server.N: a name that a replacement may take over.
	Name int
	// Voter tells members whose log counts for a majority from learners.
	Voter bool
	// Observer is a learner that is meant to stay one.
	Observer bool
	// Host, PeerPort and ElectionPort are where members reach it. The election
	// port is shown because clients parse it; nothing listens there.
	Host                   string
	PeerPort, ElectionPort int
	// ClientHost and ClientPort are where clients reach it.
	ClientHost string
	ClientPort int
}

// PeerAddr returns host:port for the transport.
func (p Member) PeerAddr() string { return joinHostPort(p.Host, p.PeerPort) }

func joinHostPort(host string, port int) string {
	for i := range len(host) {
		if host[i] == ':' {
			return "[" + host + "]:" + strconv.Itoa(port)
		}
	}
	return host + ":" + strconv.Itoa(port)
}

// String returns the member's line in ZooKeeper's configuration format.
func (p Member) String() string {
	role := "participant"
	if p.Observer {
		role = "observer"
	}
	line := fmt.Sprintf("server.%d=%s:%d:%s", p.Name, joinHostPort(p.Host, p.PeerPort), p.ElectionPort, role)
	if p.ClientPort != 0 {
		line += ";" + joinHostPort(p.ClientHost, p.ClientPort)
	}
	return line
}

// Members is the membership as of a configuration change.
type Members struct {
	// Version is the zxid of the change; 0 for the founding membership.
	Version int64
	// Index is the log index of the change: what a planned change names, to be
	// refused if it has moved.
	Index uint64
	List  []Member // in the order of their names
}

// Get returns the member with this raft id.
func (ms Members) Get(id uint64) (Member, bool) {
	for _, p := range ms.List {
		if p.ID == id {
			return p, true
		}
	}
	return Member{}, false
}

// Config renders the membership in ZooKeeper's format, as /zookeeper/config
// shows it. A learner that is to become a voter is shown when it is one: until
// then it can't be counted on, and ZooKeeper shows no such members either. An
// ensemble of one that was started without server lines shows nothing, as a
// standalone ZooKeeper does.
func (ms Members) Config() []byte {
	var out []byte
	for _, p := range ms.List {
		if p.PeerPort == 0 || !p.Voter && !p.Observer {
			continue
		}
		out = append(out, p.String()...)
		out = append(out, '\n')
	}
	if len(out) == 0 {
		return []byte{}
	}
	return fmt.Appendf(out, "version=%x", ms.Version)
}

// EncodeMembers encodes a membership list: the context of a configuration
// change, and part of a snapshot.
func EncodeMembers(list []Member) []byte {
	b := jute.AppendInt32(nil, int32(len(list)))
	for _, p := range list {
		b = jute.AppendInt64(b, int64(p.ID))
		b = jute.AppendInt32(b, int32(p.Name))
		b = jute.AppendBool(b, p.Voter)
		b = jute.AppendBool(b, p.Observer)
		b = jute.AppendString(b, p.Host)
		b = jute.AppendInt32(b, int32(p.PeerPort))
		b = jute.AppendInt32(b, int32(p.ElectionPort))
		b = jute.AppendString(b, p.ClientHost)
		b = jute.AppendInt32(b, int32(p.ClientPort))
	}
	return b
}

// DecodeMembers reads what EncodeMembers wrote.
func DecodeMembers(b []byte) ([]Member, error) {
	d := jute.NewDecoder(b)
	list := decodeMembers(&d)
	if d.Err() != nil {
		return nil, fmt.Errorf("statemachine: membership: %w", d.Err())
	}
	return list, nil
}

func decodeMembers(d *jute.Decoder) []Member {
	n := d.Count(8 + 4 + 2 + 4*5)
	list := make([]Member, 0, n)
	for range n {
		list = append(list, Member{
			ID: uint64(d.Int64()), Name: int(d.Int32()), Voter: d.Bool(), Observer: d.Bool(),
			Host: cloneString(d.String()), PeerPort: int(d.Int32()), ElectionPort: int(d.Int32()),
			ClientHost: cloneString(d.String()), ClientPort: int(d.Int32()),
		})
	}
	return list
}

func cloneString(s string) string { return string([]byte(s)) }

// Members returns the membership.
func (m *Machine) Members() Members { return m.members }

// Found sets the founding membership of a new ensemble, at a log index that
// every founder starts from. time is the founding's, in milliseconds since the
// Unix epoch.
func (m *Machine) Found(index, term uint64, list []Member, time int64) {
	m.applied, m.term, m.now = index, term, time
	m.setMembers(index, 0, list)
}

// ApplyMembers applies a configuration change: list is the whole membership
// after it. It takes a zxid, which becomes the configuration's version; but for
// the second half of a change that raft takes in two steps, which changes
// nothing but the index.
func (m *Machine) ApplyMembers(index, term uint64, list []Member, sink Sink) {
	m.applied, m.term = index, term
	if slices.Equal(sorted(list), m.members.List) {
		m.members.Index = index
		return
	}
	zxid := m.nextZxid()
	m.setMembers(index, zxid, list)
	id := m.tree.Find(ConfigPath)
	sink.Changed(Event{
		Type: jute.EventNodeDataChanged, Path: ConfigPath, Zxid: zxid,
		ACL: m.tree.ACL(id), ParentACL: m.tree.ACL(m.tree.Parent(id)),
	})
}

// Skip notes an entry that changes nothing.
func (m *Machine) Skip(index, term uint64) { m.applied, m.term = index, term }

func (m *Machine) setMembers(index uint64, version int64, list []Member) {
	list = sorted(list)
	m.members = Members{Version: version, Index: index, List: list}
	data := m.members.Config()
	id := m.tree.Find(ConfigPath)
	if id == tree.None {
		panic("statemachine: the tree has no " + ConfigPath)
	}
	if version == 0 {
		m.tree.ReplaceData(id, data)
		return
	}
	m.tree.SetData(id, data, version, m.now)
}

func sorted(list []Member) []Member {
	return slices.SortedFunc(slices.Values(list), func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
}
