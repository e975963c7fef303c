package statemachine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/session"
	"github.com/conclave-dev/conclave/internal/tree"
)

// step is one thing in a history: an operation, or a change of the membership.
type step struct {
	time    int64
	term    uint64
	op      []byte // nil for a change of the membership
	members []Member
}

// history makes up what clients, members and leaders may do, right and wrong.
// roll(n) decides, with a number from 0 to n-1.
type history struct {
	roll   func(n int) int
	steps  []step
	time   int64
	term   uint64
	hellos map[uint64]MemberOp

	// now is the state that the steps so far have led to, so that there is sense
	// in what comes next, and said what they have led to.
	now  *Machine
	said recorder
}

func newHistory(roll func(n int) int) *history {
	return &history{roll: roll, time: testTime, term: 1, now: New(), hellos: map[uint64]MemberOp{}}
}

// one returns one of the choices.
func one[T any](h *history, choices ...T) T { return choices[h.roll(len(choices))] }

// often returns common, and now and then one of the others.
func often[T any](h *history, common T, others ...T) T {
	if h.roll(5) > 0 {
		return common
	}
	return one(h, others...)
}

// add makes one more step.
func (h *history) add() {
	if h.roll(4) == 0 {
		h.time += int64(h.roll(2000)) - 100 // clocks go back, too
	}
	if h.roll(50) == 0 {
		h.term += uint64(1 + h.roll(3))
	}
	s := step{time: h.time, term: h.term}
	if h.roll(60) == 0 {
		for i := range h.roll(4) {
			s.members = append(s.members, Member{ID: uint64(h.roll(9)), Name: h.roll(3), Voter: i > 0, Host: "h", PeerPort: h.roll(2), ElectionPort: 3888, ClientHost: "::1", ClientPort: 2181})
		}
	} else {
		s.op = h.op()
	}
	h.steps = append(h.steps, s)
	lines := apply(h.now, h.steps, len(h.steps)-1, nil, &h.said)
	if lines != nil {
		panic(lines)
	}
}

// apply applies steps[from:] and returns the first error. join decides which
// steps go into one entry with their predecessor, where they can.
func apply(m *Machine, steps []step, from int, join func() bool, sink Sink) error {
	for i := from; i < len(steps); i++ {
		s := steps[i]
		if s.op == nil {
			m.ApplyMembers(uint64(i+1), s.term, s.members, sink)
			continue
		}
		entry := append(AppendHeader(nil, s.time), s.op...)
		for join != nil && i+1 < len(steps) && steps[i+1].op != nil && steps[i+1].time == s.time && steps[i+1].term == s.term && join() {
			i++
			entry = append(entry, steps[i].op...)
		}
		if err := m.Apply(uint64(i+1), s.term, entry, sink); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

func passwordOf(id int64) (pw [session.PasswordSize]byte) {
	pw[3] = byte(id)
	return pw
}

func (h *history) op() []byte {
	id := int64(often(h, 1+h.roll(3), 0, -7, 99))
	s := h.now.Sessions().Get(id)
	switch k := h.roll(100); {
	case s == nil || k < 2:
		member := h.hello()
		return AppendCreateSession(nil, member, id, passwordOf(id), 4000, "10.0.0.1:1", one(h, "10.0.0.1", "::1", "nonsense"))
	case k < 5:
		pw := passwordOf(often(h, id, 55))
		return AppendAttach(nil, h.hello(), id, pw[:often(h, 16, 0, 15)], 5000, "10.0.0.2:2", "10.0.0.2")
	case k < 6:
		return AppendExpire(nil, id, often(h, s.Epoch, s.Epoch-1, s.Epoch+1))
	case k < 9:
		return AppendReap(nil, h.node(), int64(h.roll(3)*500))
	}
	o := SessionOp{Session: id, Epoch: often(h, s.Epoch, s.Epoch, s.Epoch-1), Seq: often(h, s.LastSeq+1, s.LastSeq+1, s.LastSeq, s.LastSeq+2),
		Flags: often(h, everything, 0, FlagSkipACL|FlagExtendedTypes)}
	var body []byte
	switch k := h.roll(100); {
	case k < 1:
		o.Op = jute.OpCloseSession
	case k < 4:
		o.Op, body = jute.OpAuth, AuthBody(one(h, jute.ID{Scheme: "digest", ID: "me:x"}, jute.ID{Scheme: "digest", ID: "you:y"}, jute.ID{Scheme: "super"}))
	case k < 5:
		o.Op, body = jute.OpSync, jute.AppendString(nil, h.path())
	case k < 25:
		o.Op = jute.OpMulti
		var parts []part
		for range h.roll(5) {
			p := part{}
			p.op, p.body = h.write()
			if p.op == jute.OpSetACL {
				p = check(h.node(), h.version())
			}
			parts = append(parts, p)
		}
		body = multiBody(parts...)
		if h.roll(50) == 0 {
			body = body[:h.roll(len(body))]
		}
	default:
		o.Op, body = h.write()
	}
	return AppendSessionOp(nil, o, body)
}

// hello is a member's next number, or a wrong one.
func (h *history) hello() MemberOp {
	id := uint64(1 + h.roll(3))
	m := h.hellos[id]
	m.Member = id
	if m.Boot == 0 || h.roll(10) == 0 {
		m.Boot, m.Seq = m.Boot+1, 0
	}
	m.Seq++
	h.hellos[id] = m
	return often(h, m, MemberOp{id, m.Boot, m.Seq - 1}, MemberOp{id, m.Boot - 1, 1})
}

func (h *history) version() int32 { return often[int32](h, -1, 0, 1, 2, -2) }

// node is the path of a node.
func (h *history) node() string {
	t := h.now.Tree()
	id := tree.Root
	for t.NumChildren(id) > 0 && (id == tree.Root || h.roll(3) > 0) {
		skip := h.roll(t.NumChildren(id))
		for child := range t.Children(id) {
			if skip == 0 {
				id = child
				break
			}
			skip--
		}
	}
	return t.Path(id)
}

// path is a path where a node is or might be.
func (h *history) path() string {
	parent := often(h, h.node(), "/", "/zookeeper/quota", "/gone", "/b")
	name := often(h, one(h, "a", "b", "c", "d"), "zookeeper", "zookeeper_limits", "zookeeper_stats", "", ".", "x\x00", strings.Repeat("long", 300))
	return strings.TrimSuffix(parent, "/") + "/" + name
}

func (h *history) data() []byte {
	return often(h, []byte("data of a usual size")[:h.roll(20)], nil, []byte{}, []byte("countHardLimit=3,byteHardLimit=50"), make([]byte, 9000))
}

func (h *history) acl() []jute.ACL {
	return often(h, open, nil, readOnly, closed(4), []jute.ACL{entry(31, "auth", "")}, []jute.ACL{entry(31, "digest", "me:x"), entry(1, "world", "anyone")},
		[]jute.ACL{entry(31, "ip", "10.0.0.0/30")}, []jute.ACL{entry(31, "ip", "::/0"), entry(31, "ip", "::/0")}, []jute.ACL{entry(7, "what", "?")})
}

// quota is what is still missing for a quota on some node, or another limit.
func (h *history) quota() (path, data string) {
	t := h.now.Tree()
	target := quotaPath + strings.TrimSuffix(h.node(), "/")
	for i := len(quotaPath) + 1; i <= len(target); i++ {
		if (i == len(target) || target[i] == '/') && t.Find(target[:i]) == tree.None {
			return target[:i], ""
		}
	}
	if limits := target + "/zookeeper_limits"; t.Find(limits) == tree.None || h.roll(3) == 0 {
		return limits, one(h, "countHardLimit=3", "byteHardLimit=30", "count=1,bytes=1=;countHardLimit=9")
	}
	return target + "/zookeeper_stats", "count=0,bytes=0"
}

func (h *history) write() (jute.OpCode, []byte) {
	switch h.roll(12) {
	case 0, 1:
		r := jute.PathVersionRequest{Path: often(h, h.node(), h.path()), Version: h.version()}
		return jute.OpDelete, r.Append(nil)
	case 2, 3:
		r := jute.SetDataRequest{Path: often(h, h.node(), h.path()), Data: h.data(), Version: h.version()}
		return jute.OpSetData, r.Append(nil)
	case 4:
		r := jute.SetACLRequest{Path: often(h, h.node(), h.path()), ACL: h.acl(), Version: h.version()}
		return jute.OpSetACL, r.Append(nil)
	case 5, 6:
		path, data := h.quota()
		if h.now.Tree().Find(path) != tree.None {
			return jute.OpSetData, setBody(path, data, -1)
		}
		return jute.OpCreate, createBody(path, data, open, jute.ModePersistent)
	}
	r := jute.CreateRequest{Path: h.path(), Data: h.data(), ACL: h.acl(), Mode: often[jute.CreateMode](h, 0, 1, 2, 3), TTL: often[int64](h, 1000, -1, 0, 1<<41)}
	op := often(h, jute.OpCreate, jute.OpCreate2, jute.OpCreateContainer, jute.OpCreateTTL)
	if op == jute.OpCreateTTL {
		r.Mode = often(h, jute.ModeTTL, jute.ModeTTLSequential, 0, 7)
	}
	return op, r.Append(nil, op)
}

// sound holds a machine to the invariants that no line shows.
func sound(tb testing.TB, m *Machine) {
	tb.Helper()
	if err := m.Tree().Check(); err != nil {
		tb.Fatal(err)
	}
	kept := maps.Clone(m.quotaRoots)
	clear(m.quotaRoots)
	if m.findQuotas(); !maps.Equal(kept, m.quotaRoots) {
		tb.Fatalf("quotas are kept as %v, and are %v", kept, m.quotaRoots)
	}
	for owner := range m.Tree().EphemeralOwners() {
		if m.Sessions().Get(owner) == nil {
			tb.Fatalf("session %d has ephemerals, and is gone", owner)
		}
	}
	if i := slices.IndexFunc(m.members.List, func(p Member) bool { return p.Host == "" }); i >= 0 {
		tb.Fatalf("member %d has lost its host", i)
	}
}
