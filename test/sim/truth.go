package sim

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/tree"
)

// truth is the one account of what happened: the log as its entries were first
// applied, by whichever member, and what they did to a state machine that
// belongs to no member.
type truth struct {
	w       *World
	machine *statemachine.Machine
	index   uint64
	entries map[uint64]applied
	digests map[uint64]uint64
	// outcomes are the sessions' writes that were executed, by zxid.
	outcomes map[int64]*outcome
	executed map[string]int64 // the zxid of each request that has a tag
	// nodes and changes have, by path, the states that a node has been in, and the
	// events that watches of it wait for: of data, and of children.
	nodes           map[string][]nodeState
	data, children  map[string][]change
	acknowledged    int64 // the largest zxid of a write that its client was told of
	owned           []owned
	proposals       map[expiryOf]proposal
	attachedAt      map[int64]time.Duration // when sessions were last attached
	named           map[int64]uint32        // the attachments that the present entry's expiries were proposed for
	deleted         []deletion              // by what is being executed
	below, there    []told                  // what persistent watches are told of
	deletedByClient map[string]int64        // the zxid of the last delete
	bodies          map[opName][]byte       // of the entry that is being executed
}

type applied struct {
	term uint64
	data string
	kind string
}

type opName struct {
	session int64
	epoch   uint32
	seq     uint64
}

// outcome is a write that was executed.
type outcome struct {
	session int64
	op      jute.OpCode
	body    string
	err     jute.ErrCode
	path    string
	stat    jute.Stat
	told    bool // its client was told
}

// nodeState is a node, or its absence, from zxid on.
type nodeState struct {
	zxid     int64
	exists   bool
	locked   bool // only who has the key may read it
	data     string
	stat     jute.Stat
	children string
}

type deletion struct {
	path string
	zxid int64
}

type change struct {
	zxid int64
	typ  jute.EventType
}

// owned is an ephemeral node that a client was told it has.
type owned struct {
	path    string
	session int64
	czxid   int64
}

// expiryOf is the attachment of a session that an expiry is meant for.
type expiryOf struct {
	session int64
	epoch   uint32
}

// proposal is when an expiry was last proposed, and since when the leader's clocks
// had been running then.
type proposal struct{ at, since time.Duration }

func newTruth() *truth {
	return &truth{
		machine: statemachine.New(), entries: make(map[uint64]applied), digests: make(map[uint64]uint64),
		outcomes: make(map[int64]*outcome), executed: make(map[string]int64), nodes: make(map[string][]nodeState),
		data: make(map[string][]change), children: make(map[string][]change),
		proposals: make(map[expiryOf]proposal), attachedAt: make(map[int64]time.Duration), deletedByClient: make(map[string]int64),
	}
}

func (t *truth) found(list []statemachine.Member) {
	t.machine.Found(foundingIndex, foundingTerm, list, wallEpoch)
	t.index = foundingIndex
	t.digests[t.index] = t.machine.Digest()
	for _, path := range []string{"/", "/zookeeper", statemachine.ConfigPath} {
		t.record(path, 0)
	}
}

// known compares an entry that a member applies with what was applied at its
// index before. It reports false if it is the first there.
func (t *truth) known(p *process, index uint64, a applied) bool {
	if index > t.index {
		if index != t.index+1 {
			t.w.violate("lost", "%s applies entry %d, nobody has applied %d", p.m.name, index, t.index+1)
			return true
		}
		t.index = index
		t.entries[index] = a
		t.w.stats.Entries++
		return false
	}
	if old := t.entries[index]; old != a {
		t.w.violate("lost", "%s applies at index %d an entry (%s) of term %d with %d bytes; applied there before was one (%s) of term %d with %d bytes",
			p.m.name, index, a.kind, a.term, len(a.data), old.kind, old.term, len(old.data))
	}
	return true
}

// applied takes an entry that a member is about to apply; asked is what its
// clients asked for.
func (t *truth) applied(p *process, e *raftpb.Entry, asked []byte) {
	a := applied{term: e.GetTerm(), data: string(e.GetData()), kind: "operations"}
	if t.known(p, e.GetIndex(), a) {
		return
	}
	t.split(asked)
	if err := t.machine.Apply(e.GetIndex(), e.GetTerm(), e.GetData(), t); err != nil {
		t.w.violate("lost", "entry %d can't be read: %v", e.GetIndex(), err)
	}
	t.removed(0, false)
	t.digests[t.index] = t.machine.Digest()
	t.checkOwned()
}

// appliedMembers takes a change of the membership.
func (t *truth) appliedMembers(p *process, index, term uint64, list []statemachine.Member) {
	// It is a set: who has begun from a snapshot has it in another order.
	list = slices.SortedFunc(slices.Values(list), func(a, b statemachine.Member) int { return cmp.Or(a.Name-b.Name, cmp.Compare(a.ID, b.ID)) })
	if t.known(p, index, applied{term: term, data: string(statemachine.EncodeMembers(list)), kind: "membership"}) {
		return
	}
	t.w.stats.Changes++
	var names []string
	for _, m := range list {
		name := t.w.nameOf(m.ID)
		if !m.Voter {
			name += " (learner)"
		}
		names = append(names, name)
	}
	t.w.note("index %d: the members are %s", index, strings.Join(names, ", "))
	t.machine.ApplyMembers(index, term, list, t)
	t.digests[t.index] = t.machine.Digest()
}

// compare holds a member's state against the one at its index.
func (t *truth) compare(p *process, index, digest uint64) {
	if want, ok := t.digests[index]; !ok || want != digest {
		t.w.violate("digest", "%s has digest %#x at index %d; it should be %#x", p.m.name, digest, index, want)
	}
}

// split notes the bodies of an entry's session operations.
func (t *truth) split(data []byte) {
	t.bodies, t.named = make(map[opName][]byte), make(map[int64]uint32)
	for _, op := range operations(data) {
		if op[4] == 3 && op[5] == 1 {
			t.named[int64(binary.BigEndian.Uint64(op[6:]))] = binary.BigEndian.Uint32(op[14:])
		}
		if op[4] != 1 || len(op) < 30 {
			continue
		}
		be, b := binary.BigEndian, op[5:]
		name := opName{int64(be.Uint64(b)), be.Uint32(b[8:]), be.Uint64(b[12:])}
		if _, twice := t.bodies[name]; !twice {
			t.bodies[name] = b[25:]
		}
	}
}

// operations cuts an entry into its operations, lengths included.
func operations(entry []byte) [][]byte {
	if len(entry) < statemachine.HeaderSize {
		return nil
	}
	return frames(entry[statemachine.HeaderSize:])
}

// proposed notes which expiries a leader proposes.
func (t *truth) proposed(p *process, ops []byte) {
	for _, op := range frames(ops) {
		if op[4] == 3 && op[5] == 1 {
			id := int64(binary.BigEndian.Uint64(op[6:]))
			t.proposals[expiryOf{id, binary.BigEndian.Uint32(op[14:])}] = proposal{t.w.now, p.restarted}
			t.w.note("%s proposes to expire session %#x", p.m.name, id)
			t.w.revive(id)
		}
	}
}

// revive has the client of a session come back at the very moment at which that is
// proposed to expire, every now and then.
func (w *World) revive(id int64) {
	for _, cl := range w.clients {
		if cl.session == id && cl.conn == nil && !w.mended && w.allowed("client-cut") && w.chance(2) {
			clear(cl.cuts)
			cl.connectIn(w.between(0, 2*time.Millisecond))
		}
	}
}

// Changed implements statemachine.Sink.
func (t *truth) Changed(ev statemachine.Event) {
	path := strings.Clone(ev.Path)
	parent := parentOf(path)
	t.record(path, ev.Zxid)
	t.data[path] = append(t.data[path], change{ev.Zxid, ev.Type})
	t.tell(ev.Zxid, ev.Type, path)
	if ev.Type != jute.EventNodeDataChanged {
		t.tell(ev.Zxid, jute.EventNodeChildrenChanged, parent)
	}
	switch ev.Type {
	case jute.EventNodeDeleted:
		t.children[path] = append(t.children[path], change{ev.Zxid, jute.EventNodeDeleted})
		t.deleted = append(t.deleted, deletion{path, ev.Zxid})
		fallthrough
	case jute.EventNodeCreated:
		t.record(parent, ev.Zxid)
		t.children[parent] = append(t.children[parent], change{ev.Zxid, jute.EventNodeChildrenChanged})
	}
}

// Replied implements statemachine.Sink.
func (t *truth) Replied(r *statemachine.Result) {
	if r.Op == jute.OpSync || r.Op == jute.OpAuth {
		return
	}
	t.removed(r.Zxid, true)
	if r.Op == jute.OpSetACL && r.Err == jute.OK {
		t.record(lockedAt, r.Zxid) // no watch fires for it
	}
	body := string(t.bodies[opName{r.Session, r.Epoch, r.Seq}])
	if t.outcomes[r.Zxid] != nil {
		t.w.violate("order", "zxid %#x was given out twice", r.Zxid)
	}
	t.outcomes[r.Zxid] = &outcome{session: r.Session, op: r.Op, body: body, err: r.Err, path: strings.Clone(r.Path), stat: r.Stat}
	if tag := tagIn(body); tag != "" {
		if before, twice := t.executed[tag]; twice {
			t.w.violate("doubled", "request %s of session %#x executes at zxid %#x, and did at %#x", tag, r.Session, r.Zxid, before)
		}
		t.executed[tag] = r.Zxid
	}
}

// Refused implements statemachine.Sink.
func (t *truth) Refused(statemachine.SessionOp) {}

// Attached implements statemachine.Sink.
func (t *truth) Attached(a *statemachine.Attachment) {
	if a.Err == jute.OK {
		t.attachedAt[a.Session] = t.w.now
	}
}

// Ended implements statemachine.Sink.
func (t *truth) Ended(e statemachine.End) {
	// Its ephemeral nodes, which go with it, are nobody's to account for.
	t.deleted = slices.DeleteFunc(t.deleted, func(d deletion) bool { return strings.HasPrefix(d.path, "/e") })
	how := "closed"
	if e.Expired {
		how = "expired"
		t.w.stats.Expired++
		t.checkExpiry(e.Session.ID, time.Duration(e.Session.Timeout)*time.Millisecond)
	}
	t.w.note("session %#x has %s, with %d ephemerals", e.Session.ID, how, e.Ephemerals)
}

// record notes the state of a node that zxid has changed.
func (t *truth) record(path string, zxid int64) {
	s := nodeState{zxid: zxid}
	tr := t.machine.Tree()
	if id := tr.Find(path); id != tree.None {
		s.exists = true
		s.data = string(tr.Data(id))
		tr.Stat(id, &s.stat)
		s.locked = !statemachine.CheckACL(tr.ACL(id), jute.PermRead, nil)
		var names []string
		for _, name := range tr.Children(id) {
			names = append(names, strings.Clone(name))
		}
		slices.Sort(names)
		s.children = strings.Join(names, " ")
	}
	list := t.nodes[path]
	if n := len(list); n > 0 && list[n-1].zxid == zxid {
		list[n-1] = s
		return
	}
	t.nodes[path] = append(list, s)
}

// nodeAt returns the state of a node at a zxid.
func (t *truth) nodeAt(path string, zxid int64) nodeState {
	list := t.nodes[path]
	i, found := slices.BinarySearchFunc(list, zxid, func(s nodeState, z int64) int {
		switch {
		case s.zxid < z:
			return -1
		case s.zxid > z:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	if i < 0 {
		return nodeState{}
	}
	return list[i]
}

func parentOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

// tagIn returns the name of the request that a body is of.
func tagIn(body string) string {
	from := strings.IndexByte(body, '[')
	to := strings.IndexByte(body, ']')
	if from < 0 || to < from {
		return ""
	}
	return body[from : to+1]
}
