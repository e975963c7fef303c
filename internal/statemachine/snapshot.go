package statemachine

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/session"
	"github.com/conclave-dev/conclave/internal/tree"
)

// A snapshot is a sequence of records, each tag:u8 length:u32 payload. The
// machine's own record comes first, then sessions, then the tree's, then the
// end with the digest that the restored state must have.
const (
	recordMachine  byte = 1
	recordSessions byte = 2
	recordTree     byte = 3
	recordEnd      byte = 4
)

const snapshotVersion = 1

// maxRecord bounds one record of a snapshot, in bytes: more than the largest
// node and its neighbours take.
const maxRecord = 64 << 20

// sessionsPerRecord is how many sessions go into one record.
const sessionsPerRecord = 1000

// Snapshot is the state as it was at one moment, while the state itself moves
// on. Next must not run while anything is applied; Close must not run beside
// anything else.
type Snapshot struct {
	Index, Term uint64
	Zxid        int64

	head   []byte
	tree   *tree.Snapshot
	digest uint64
	ended  bool
}

// BeginSnapshot fixes the state as it is now. What changes later is copied
// first, node by node, until Close.
func (m *Machine) BeginSnapshot() (*Snapshot, error) {
	t, err := m.tree.BeginSnapshot()
	if err != nil {
		return nil, fmt.Errorf("statemachine: %w", err)
	}
	return &Snapshot{
		Index: m.applied, Term: m.term, Zxid: m.zxid,
		head: m.encodeSessions(m.encodeSelf(nil)), tree: t, digest: m.Digest(),
	}, nil
}

// Next appends the next records to buf, about maxBytes of them; done is true
// with the last.
func (s *Snapshot) Next(buf []byte, maxBytes int) (_ []byte, done bool) {
	if s.head != nil {
		buf = append(buf, s.head...)
		s.head = nil
		return buf, false
	}
	if s.ended {
		return buf, true
	}
	buf, mark := beginRecord(buf, recordTree)
	buf, s.ended = s.tree.Next(buf, maxBytes)
	endRecord(buf, mark)
	if s.ended {
		buf, mark = beginRecord(buf, recordEnd)
		buf = binary.BigEndian.AppendUint64(buf, s.digest)
		endRecord(buf, mark)
	}
	return buf, s.ended
}

// Close lets go of what the snapshot kept.
func (s *Snapshot) Close() { s.tree.Close() }

func beginRecord(b []byte, tag byte) ([]byte, int) {
	mark := len(b)
	return append(b, tag, 0, 0, 0, 0), mark
}

func endRecord(b []byte, mark int) {
	binary.BigEndian.PutUint32(b[mark+1:], uint32(len(b)-mark-5))
}

// encodeSelf appends everything but sessions and tree, in an order that
// depends on nothing but the state.
func (m *Machine) encodeSelf(b []byte) []byte {
	b, mark := beginRecord(b, recordMachine)
	b = append(b, snapshotVersion)
	for _, v := range []int64{int64(m.applied), int64(m.term), m.zxid, m.now, m.closed, m.expired, m.members.Version, int64(m.members.Index)} {
		b = jute.AppendInt64(b, v)
	}
	b = jute.AppendInt32(b, int32(len(m.streams)))
	for _, id := range slices.Sorted(maps.Keys(m.streams)) {
		st := m.streams[id]
		b = jute.AppendInt64(b, int64(id))
		b = jute.AppendInt64(b, int64(st.boot))
		b = jute.AppendInt64(b, int64(st.seq))
	}
	b = append(b, EncodeMembers(m.members.List)...)
	endRecord(b, mark)
	return b
}

func (m *Machine) encodeSessions(b []byte) []byte {
	all := m.sessions.Sorted()
	for len(all) > 0 {
		n := min(len(all), sessionsPerRecord)
		var mark int
		b, mark = beginRecord(b, recordSessions)
		b = jute.AppendInt32(b, int32(n))
		for _, s := range all[:n] {
			b = appendSession(b, s)
		}
		endRecord(b, mark)
		all = all[n:]
	}
	return b
}

func appendSession(b []byte, s *session.Session) []byte {
	b = jute.AppendInt64(b, s.ID)
	b = append(b, s.Password[:]...)
	b = jute.AppendInt32(b, s.Timeout)
	b = jute.AppendInt64(b, s.Created)
	b = jute.AppendInt64(b, int64(s.Member))
	b = jute.AppendInt32(b, int32(s.Epoch))
	b = jute.AppendInt64(b, int64(s.LastSeq))
	b = jute.AppendString(b, s.Client)
	b = jute.AppendInt32(b, int32(len(s.IDs)))
	for _, id := range s.IDs {
		b = jute.AppendString(b, id.Scheme)
		b = jute.AppendString(b, id.ID)
	}
	return b
}

// Digest returns a hash of the whole state: members that have applied the same
// entries have the same one. It takes time in proportion to the number of
// sessions.
func (m *Machine) Digest() uint64 {
	h := fnv.New64a()
	h.Write(m.encodeSelf(nil))
	h.Write(m.encodeSessions(nil))
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], m.tree.Digest())
	h.Write(b[:])
	return h.Sum64()
}

// MemberSeq returns the number of the last operation of a member, in its
// current start, that has been applied.
func (m *Machine) MemberSeq(member, boot uint64) uint64 {
	if st := m.streams[member]; st.boot == boot {
		return st.seq
	}
	return 0
}

// ErrSnapshot is wrapped by every error for a snapshot that can't be restored.
var ErrSnapshot = errors.New("statemachine: damaged snapshot")

// Restore reads what a Snapshot wrote.
func Restore(r io.Reader) (*Machine, error) {
	m := New()
	restorer := tree.NewRestorer()
	br := bufio.NewReaderSize(r, 1<<20)
	var buf []byte
	for first := true; ; first = false {
		var head [5]byte
		if _, err := io.ReadFull(br, head[:]); err != nil {
			return nil, fmt.Errorf("%w: it ends early: %w", ErrSnapshot, err)
		}
		n := int(binary.BigEndian.Uint32(head[1:]))
		if n > maxRecord {
			return nil, fmt.Errorf("%w: a record of %d bytes", ErrSnapshot, n)
		}
		buf = slices.Grow(buf[:0], n)[:n]
		if _, err := io.ReadFull(br, buf); err != nil {
			return nil, fmt.Errorf("%w: it ends early: %w", ErrSnapshot, err)
		}
		if first != (head[0] == recordMachine) {
			return nil, fmt.Errorf("%w: record %d is out of place", ErrSnapshot, head[0])
		}
		var err error
		switch head[0] {
		case recordMachine:
			err = m.decodeSelf(buf)
		case recordSessions:
			err = m.decodeSessions(buf)
		case recordTree:
			err = restorer.Add(buf)
		case recordEnd:
			if len(buf) != 8 {
				return nil, fmt.Errorf("%w: its end has %d bytes", ErrSnapshot, n)
			}
			return m.restored(restorer, binary.BigEndian.Uint64(buf))
		default:
			err = fmt.Errorf("a record of the unknown kind %d", head[0])
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
		}
	}
}

func (m *Machine) restored(r *tree.Restorer, digest uint64) (*Machine, error) {
	t, err := r.Finish()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	m.tree = t
	m.rebuildQuotaRoots()
	if got := m.Digest(); got != digest {
		return nil, fmt.Errorf("%w: the restored state has digest %#x, the snapshot was taken of %#x", ErrSnapshot, got, digest)
	}
	return m, nil
}

func (m *Machine) decodeSelf(b []byte) error {
	d := jute.NewDecoder(b)
	if v := d.Byte(); v != snapshotVersion {
		return fmt.Errorf("version %d is unknown: it was written by a newer conclave-server", v)
	}
	m.applied, m.term = uint64(d.Int64()), uint64(d.Int64())
	m.zxid, m.now, m.closed, m.expired = d.Int64(), d.Int64(), d.Int64(), d.Int64()
	m.members.Version, m.members.Index = d.Int64(), uint64(d.Int64())
	for range d.Count(24) {
		id := uint64(d.Int64())
		m.streams[id] = stream{boot: uint64(d.Int64()), seq: uint64(d.Int64())}
	}
	m.members.List = decodeMembers(&d)
	return d.Err()
}

func (m *Machine) decodeSessions(b []byte) error {
	d := jute.NewDecoder(b)
	for range d.Count(60) {
		s := &session.Session{ID: d.Int64()}
		for i := range s.Password {
			s.Password[i] = d.Byte()
		}
		s.Timeout, s.Created, s.Member = d.Int32(), d.Int64(), uint64(d.Int64())
		s.Epoch, s.LastSeq, s.Client = uint32(d.Int32()), uint64(d.Int64()), cloneString(d.String())
		for range d.Count(8) {
			s.IDs = append(s.IDs, jute.ID{Scheme: cloneString(d.String()), ID: cloneString(d.String())})
		}
		if d.Err() != nil {
			return d.Err()
		}
		m.sessions.Put(s)
	}
	return d.Err()
}
