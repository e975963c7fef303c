package statemachine

import (
	"encoding/binary"
	"fmt"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/session"
	"github.com/conclave-dev/conclave/internal/tree"
)

// Machine is the replicated state of one member. It has no lock: one goroutine
// applies, and readers are kept out meanwhile by whoever owns the Machine.
type Machine struct {
	tree     *tree.Tree
	sessions *session.Table

	// zxid is the id of the last transaction. Invariant: it never falls; its
	// upper 32 bits are at least the term of the entry that moved it.
	zxid int64
	// now is the latest time that an entry brought, in milliseconds since the
	// Unix epoch. Invariant: it never falls, whatever the leaders' clocks do.
	now int64
	// applied and term are those of the last entry.
	applied, term uint64

	// streams numbers what members ask in their own name (new sessions,
	// attachments), so that a repeat is dropped and a gap refused.
	streams map[uint64]stream
	// ended counts the sessions that have closed, by how.
	closed, expired int64

	members Members
	// quotaRoots are the paths that have a quota.
	// Invariant: these are the nodes of the tree below /zookeeper/quota that have
	// a child zookeeper_limits, whatever was undone meanwhile.
	quotaRoots map[string]struct{}
	// quotaLog has what the transaction under way has changed in quotaRoots.
	quotaLog []quotaChange

	// Scratch of the apply goroutine.
	result   Result
	path     []byte
	events   []Event
	names    []byte
	quotaBuf []byte
}

type stream struct{ boot, seq uint64 }

// New returns the state of an ensemble in which nothing has happened yet.
func New() *Machine {
	return &Machine{
		tree: tree.New(), sessions: session.NewTable(),
		streams: make(map[uint64]stream), quotaRoots: make(map[string]struct{}),
	}
}

// Tree returns the tree, for reading.
func (m *Machine) Tree() *tree.Tree { return m.tree }

// Sessions returns the session table, for reading.
func (m *Machine) Sessions() *session.Table { return m.sessions }

// Zxid returns the id of the last transaction.
func (m *Machine) Zxid() int64 { return m.zxid }

// Applied returns the index and term of the last entry applied.
func (m *Machine) Applied() (index, term uint64) { return m.applied, m.term }

// Now returns the ensemble's time: the latest that an entry brought, in
// milliseconds since the Unix epoch.
func (m *Machine) Now() int64 { return m.now }

// Ended returns how many sessions were closed by their clients and how many
// expired, since the ensemble began.
func (m *Machine) Ended() (closed, expired int64) { return m.closed, m.expired }

// Event is a change that watches may wait for. Strings and slices in it are
// valid during the call that delivers it.
type Event struct {
	Type jute.EventType // NodeCreated, NodeDeleted or NodeDataChanged
	Path string
	Zxid int64
	// ACL is the node's ACL (of a deleted node, the last), ParentACL its
	// parent's: who may not read the node is not told of it.
	ACL, ParentACL []jute.ACL
}

// Part is the outcome of one operation of a multi.
type Part struct {
	Op   jute.OpCode
	Err  jute.ErrCode
	Path string
	Stat jute.Stat
}

// Result is the outcome of a session's write. It is valid during the call that
// delivers it.
type Result struct {
	SessionOp
	Member uint64 // whom the session is attached to
	Zxid   int64  // what the reply's header shows
	Err    jute.ErrCode
	Path   string // create: the node's full path
	Stat   jute.Stat
	Parts  []Part // multi
	// SoftQuota is the path of a quota whose soft limit the write has left
	// exceeded, SoftUse the use of it; empty if there is none.
	SoftQuota, SoftUse string
}

// Attachment is the outcome of a member's createSession or attach.
type Attachment struct {
	MemberOp
	Session int64
	Create  bool
	// Err is OK, ErrSessionExpired (no such session, or a wrong password) or,
	// for Create, ErrNodeExists: the id is taken.
	Err     jute.ErrCode
	Epoch   uint32
	Timeout int32 // milliseconds
	Table   *session.Session
}

// End tells that a session has ended.
type End struct {
	Session *session.Session
	Expired bool
	// Ephemerals is how many nodes went with it.
	Ephemerals int
}

// Sink hears what Apply did, in order: the events of a transaction before its
// result.
type Sink interface {
	// Changed tells of a change to the tree. The tree already has it.
	Changed(Event)
	// Replied tells the outcome of a session's write.
	Replied(*Result)
	// Refused tells that a write was not executed and never will be: its
	// session has ended, or is attached anew.
	Refused(SessionOp)
	// Attached tells the outcome of a createSession or attach.
	Attached(*Attachment)
	// Ended tells that a session has ended, after the events of its ephemerals.
	Ended(End)
}

// Apply executes the batch in one entry of the log. The error is for an entry
// that can't be read: the same on every member, nothing of it was applied
// beyond the operations before the unreadable one. An empty entry (a new
// leader's first) only moves the index.
func (m *Machine) Apply(index, term uint64, data []byte, sink Sink) error {
	m.applied, m.term = index, term
	if len(data) == 0 {
		return nil
	}
	if len(data) < HeaderSize || data[0] != entryVersion {
		return fmt.Errorf("%w: index %d: version %d, %d bytes: it was written by a newer conclave-server or is damaged", ErrEntry, index, data[0], len(data))
	}
	if t := int64(binary.BigEndian.Uint64(data[1:])); t > m.now {
		m.now = t
	}
	rest := data[HeaderSize:]
	for len(rest) > 0 {
		if len(rest) < 5 {
			return fmt.Errorf("%w: index %d: %d stray bytes", ErrEntry, index, len(rest))
		}
		n := int(binary.BigEndian.Uint32(rest))
		if n < 1 || n > len(rest)-4 {
			return fmt.Errorf("%w: index %d: operation of %d bytes where %d are left", ErrEntry, index, n, len(rest)-4)
		}
		op := rest[4 : 4+n]
		rest = rest[4+n:]
		if err := m.applyOp(op, sink); err != nil {
			return fmt.Errorf("%w: index %d: %w", ErrEntry, index, err)
		}
	}
	return nil
}

func (m *Machine) applyOp(op []byte, sink Sink) error {
	switch op[0] {
	case originSession:
		return m.applySessionOp(op[1:], sink)
	case originMember:
		return m.applyMemberOp(op[1:], sink)
	case originLeader:
		return m.applyLeaderOp(op[1:], sink)
	}
	return fmt.Errorf("origin %d of an operation is unknown", op[0])
}

// nextZxid begins a transaction. As in ZooKeeper the upper half of a zxid is
// the leader's term, and the counter in the lower half starts anew with each;
// should a term ever outlast its counter, the next zxid is still the larger.
func (m *Machine) nextZxid() int64 {
	m.zxid = max(m.zxid+1, int64(m.term<<32)+1)
	return m.zxid
}

const sessionOpHeader = 8 + 4 + 8 + 1 + 4

func (m *Machine) applySessionOp(b []byte, sink Sink) error {
	if len(b) < sessionOpHeader {
		return fmt.Errorf("session operation of %d bytes", len(b))
	}
	be := binary.BigEndian
	op := SessionOp{
		Session: int64(be.Uint64(b)), Epoch: be.Uint32(b[8:]), Seq: be.Uint64(b[12:]),
		Flags: b[20], Op: jute.OpCode(int32(be.Uint32(b[21:]))),
	}
	s := m.sessions.Get(op.Session)
	if s == nil || s.Epoch != op.Epoch {
		sink.Refused(op)
		return nil
	}
	if op.Seq != s.LastSeq+1 {
		// A repeat was answered when it first came. Behind a gap nothing is
		// executed: the member sends everything that is missing again.
		return nil
	}
	s.LastSeq = op.Seq
	m.execute(s, op, b[sessionOpHeader:], sink)
	return nil
}

// begin clears what an operation leaves for its end.
func (m *Machine) begin() {
	m.events, m.names, m.quotaLog = m.events[:0], m.names[:0], m.quotaLog[:0]
}

// execute runs one write of a session that is next in its sequence.
func (m *Machine) execute(s *session.Session, op SessionOp, body []byte, sink Sink) {
	r := &m.result
	*r = Result{SessionOp: op, Member: s.Member, Parts: r.Parts[:0]}
	m.begin()
	switch op.Op {
	case jute.OpSync:
		// Not a transaction: it only waits for its turn in the log.
		d := jute.NewDecoder(body)
		r.Path, r.Zxid = d.String(), m.zxid
		if d.Err() != nil {
			r.Err = jute.ErrMarshalling
		}
	case jute.OpAuth:
		r.Err, r.Zxid = addIdentity(s, body), m.zxid
	case jute.OpCloseSession:
		r.Zxid = m.nextZxid()
		m.endSession(s, false, sink)
	case jute.OpMulti:
		r.Zxid = m.nextZxid()
		m.multi(s, op.Flags, body, r)
	default:
		r.Zxid = m.nextZxid()
		d := jute.NewDecoder(body)
		var p Part
		r.Err = m.write(s, op.Op, op.Flags, &d, &p, false)
		r.Path, r.Stat = p.Path, p.Stat
	}
	for i := range m.events {
		sink.Changed(m.events[i])
	}
	sink.Replied(r)
}

// write runs one write operation outside or inside a multi, reading its body
// from d, and leaves its outcome in p.
func (m *Machine) write(s *session.Session, op jute.OpCode, flags byte, d *jute.Decoder, p *Part, inMulti bool) jute.ErrCode {
	p.Op = op
	switch op {
	case jute.OpCreate, jute.OpCreate2, jute.OpCreateContainer, jute.OpCreateTTL:
		var req jute.CreateRequest
		req.Decode(d, op)
		if d.Err() != nil {
			return jute.ErrMarshalling
		}
		if inMulti {
			var code jute.ErrCode
			if p.Op, code = createInMulti(op, req.Mode); code != jute.OK {
				return code
			}
		}
		return m.create(s, &req, flags, p)
	case jute.OpDelete:
		return m.remove(s, flags, d)
	case jute.OpSetData:
		return m.setData(s, flags, d, p)
	case jute.OpSetACL:
		return m.setACL(s, flags, d, p)
	case jute.OpCheck:
		return m.check(s, flags, d)
	}
	return jute.ErrMarshalling
}

// raise notes an event of the transaction under way. It is delivered only if
// the transaction succeeds as a whole.
func (m *Machine) raise(typ jute.EventType, path string, acl, parentACL []jute.ACL) {
	m.events = append(m.events, Event{Type: typ, Path: path, Zxid: m.zxid, ACL: acl, ParentACL: parentACL})
}

// keep copies a path that was built in scratch memory to where it outlives the
// operation, until the results of the transaction are delivered.
func (m *Machine) keep(path []byte) string {
	if cap(m.names)-len(m.names) < len(path) {
		// Earlier strings keep the old array alive; nothing moves under them.
		m.names = make([]byte, 0, max(4096, 2*len(path)))
	}
	at := len(m.names)
	m.names = append(m.names, path...)
	return unsafeString(m.names[at:])
}
