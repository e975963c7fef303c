package statemachine

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/session"
	"github.com/conclave-dev/conclave/internal/tree"
)

const memberOpHeader = 8 + 8 + 8 + 1

func (m *Machine) applyMemberOp(b []byte, sink Sink) error {
	if len(b) < memberOpHeader {
		return fmt.Errorf("member operation of %d bytes", len(b))
	}
	be := binary.BigEndian
	op := MemberOp{Member: be.Uint64(b), Boot: be.Uint64(b[8:]), Seq: be.Uint64(b[16:])}
	kind := b[24]

	// Read all of it before any of it takes effect.
	d := jute.NewDecoder(b[memberOpHeader:])
	h := hello{MemberOp: op, session: d.Int64()}
	switch kind {
	case memberCreateSession:
		for i := range h.password {
			h.password[i] = d.Byte()
		}
	case memberAttach:
		h.proof = d.Buffer()
	default:
		return fmt.Errorf("kind %d of a member's operation is unknown", kind)
	}
	h.timeout, h.client, h.ip = d.Int32(), d.String(), d.String()
	if d.Err() != nil {
		return d.Err()
	}

	st := m.streams[op.Member]
	if op.Boot < st.boot {
		return nil // from before the member's last start: nobody waits for it
	}
	if op.Boot > st.boot {
		st = stream{boot: op.Boot}
	}
	if op.Seq != st.seq+1 {
		return nil
	}
	st.seq = op.Seq
	m.streams[op.Member] = st
	if kind == memberCreateSession {
		m.createSession(&h, sink)
	} else {
		m.attach(&h, sink)
	}
	return nil
}

// hello is what a member asks for a client that shakes hands. Strings and
// slices are views into the entry.
type hello struct {
	MemberOp
	session    int64
	password   [session.PasswordSize]byte // of a new session
	proof      []byte                     // the password that the client shows of an existing one
	timeout    int32                      // milliseconds
	client, ip string
}

func (m *Machine) createSession(h *hello, sink Sink) {
	a := Attachment{MemberOp: h.MemberOp, Session: h.session, Create: true, Timeout: h.timeout}
	if h.session == 0 || m.sessions.Get(h.session) != nil {
		a.Err = jute.ErrNodeExists
		sink.Attached(&a)
		return
	}
	m.nextZxid()
	s := &session.Session{
		ID: h.session, Password: h.password, Timeout: h.timeout, Created: m.now,
		Member: h.Member, Epoch: 1, Client: strings.Clone(h.client), IDs: ipIdentity(h.ip),
	}
	m.sessions.Put(s)
	a.Epoch, a.Table = s.Epoch, s
	sink.Attached(&a)
}

// attach moves a session to the member that asks. It is no transaction: the
// tree does not change, and neither does the zxid.
func (m *Machine) attach(h *hello, sink Sink) {
	a := Attachment{MemberOp: h.MemberOp, Session: h.session}
	s := m.sessions.Get(h.session)
	if s == nil || !s.CheckPassword(h.proof) {
		a.Err = jute.ErrSessionExpired
		sink.Attached(&a)
		return
	}
	s.Epoch++
	s.LastSeq = 0
	s.Member = h.Member
	s.Timeout = h.timeout
	s.Client = strings.Clone(h.client)
	s.IDs = ipIdentity(h.ip)
	a.Epoch, a.Timeout, a.Table = s.Epoch, s.Timeout, s
	sink.Attached(&a)
}

func ipIdentity(ip string) []jute.ID {
	return []jute.ID{{Scheme: "ip", ID: strings.Clone(ip)}}
}

// maxIdentities bounds the identities of a session, in bytes. Every member has
// them in memory, and whoever checks an ACL goes through them all.
const maxIdentities = 16 << 10

// addIdentity adds what a client has proven to its session.
func addIdentity(s *session.Session, body []byte) jute.ErrCode {
	d := jute.NewDecoder(body)
	id := jute.ID{Scheme: d.String(), ID: d.String()}
	if d.Err() != nil {
		return jute.ErrMarshalling
	}
	if s.HasID(id) {
		return jute.OK
	}
	size := len(id.Scheme) + len(id.ID)
	for _, known := range s.IDs {
		size += len(known.Scheme) + len(known.ID)
	}
	if size > maxIdentities {
		return jute.ErrAuthFailed
	}
	s.IDs = append(s.IDs, jute.ID{Scheme: strings.Clone(id.Scheme), ID: strings.Clone(id.ID)})
	return jute.OK
}

// endSession removes a session and its ephemerals, in one transaction whose
// zxid has been taken. Events are raised in the order of the paths.
func (m *Machine) endSession(s *session.Session, expired bool, sink Sink) {
	ids := m.tree.Ephemerals(s.ID)
	for _, id := range ids {
		m.path = m.tree.AppendPath(m.path[:0], id)
		m.deleteNode(id, m.keep(m.path))
	}
	m.sessions.Delete(s.ID)
	if expired {
		m.expired++
	} else {
		m.closed++
	}
	for i := range m.events {
		sink.Changed(m.events[i])
	}
	m.events = m.events[:0]
	sink.Ended(End{Session: s, Expired: expired, Ephemerals: len(ids)})
}

func (m *Machine) applyLeaderOp(b []byte, sink Sink) error {
	if len(b) < 1 {
		return fmt.Errorf("leader operation of %d bytes", len(b))
	}
	d := jute.NewDecoder(b[1:])
	m.begin()
	switch b[0] {
	case leaderExpire:
		id, epoch := d.Int64(), uint32(d.Int32())
		if d.Err() != nil {
			return d.Err()
		}
		if s := m.sessions.Get(id); s != nil && s.Epoch == epoch {
			m.nextZxid()
			m.endSession(s, true, sink)
		}
		return nil
	case leaderReap:
		neverUsed, path := d.Int64(), d.String()
		if d.Err() != nil {
			return d.Err()
		}
		if tree.ValidatePath(path) != nil {
			return fmt.Errorf("reap of an invalid path %q", path)
		}
		if id := m.tree.Find(path); id != tree.None && m.Reapable(id, neverUsed, m.now) {
			m.nextZxid()
			m.deleteNode(id, path)
			for i := range m.events {
				sink.Changed(m.events[i])
			}
		}
		return nil
	}
	return fmt.Errorf("kind %d of a leader's operation is unknown", b[0])
}

// Reapable reports whether a container or TTL node has served its time at now
// (milliseconds since the Unix epoch): a container when its last child is gone
// (or, with neverUsed > 0, when it never had one for that many milliseconds),
// a TTL node when it is childless and unmodified for its time to live.
func (m *Machine) Reapable(id tree.NodeID, neverUsed, now int64) bool {
	if m.tree.NumChildren(id) > 0 {
		return false
	}
	switch m.tree.Kind(id) {
	case tree.Container:
		if m.tree.Creates(id) > 0 {
			return true
		}
		return neverUsed > 0 && now-m.tree.Mtime(id) > neverUsed
	case tree.TTL:
		return now-m.tree.Mtime(id) > m.tree.TTL(id)
	}
	return false
}
