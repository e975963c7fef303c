package statemachine

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/bits"
	"slices"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/session"
	"github.com/conclave-dev/conclave/internal/tree"
)

// A snapshot is a sequence of records, each tag:u8 length:u32 payload. The
// machine's own record comes first, then sessions, then the tree's, then the
// end: the digest that the restored state must have, and a checksum of all that
// came before it. The digest tells a wrong state, the checksum a damaged byte
// that no state shows (node ids and the order of children are in no digest).
const (
	recordMachine  byte = 1
	recordSessions byte = 2
	recordTree     byte = 3
	recordEnd      byte = 4
)

const snapshotVersion = 1

// maxRecord bounds a record that has to be in memory as a whole, in bytes.
// Those of the tree are taken piece by piece, and may be as large as a node.
const maxRecord = 16 << 20

// sessionsPerRecord is how many bytes of sessions go into a record before the
// next begins. One session takes some kilobytes at most (maxIdentities).
const sessionsPerRecord = 1 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot is the state as it was at one moment, while the state itself moves
// on. Next must not run while anything is applied; Close must not run beside
// anything else.
type Snapshot struct {
	Index, Term uint64
	Zxid        int64

	head   []byte
	tree   *tree.Snapshot
	digest uint64
	sum    uint32 // of the bytes so far
	ended  bool
}

// BeginSnapshot fixes the state as it is now. What changes later is copied
// first, node by node, until Close.
func (m *Machine) BeginSnapshot() (*Snapshot, error) {
	t, err := m.tree.BeginSnapshot()
	if err != nil {
		return nil, fmt.Errorf("statemachine: %w", err)
	}
	head := m.encodeHead()
	return &Snapshot{
		Index: m.applied, Term: m.term, Zxid: m.zxid,
		head: head, tree: t, digest: m.digest(head),
	}, nil
}

// Next appends the next records to buf, about maxBytes of them; done is true
// with the last.
func (s *Snapshot) Next(buf []byte, maxBytes int) (_ []byte, done bool) {
	from := len(buf)
	switch {
	case s.head != nil:
		buf = append(buf, s.head...)
		s.head = nil
	case !s.ended:
		var mark int
		buf, mark = beginRecord(buf, recordTree)
		buf, s.ended = s.tree.Next(buf, maxBytes)
		endRecord(buf, mark)
		if !s.ended {
			break
		}
		buf, mark = beginRecord(buf, recordEnd)
		buf = binary.BigEndian.AppendUint64(buf, s.digest)
		buf = append(buf, 0, 0, 0, 0)
		endRecord(buf, mark)
		sum := crc32.Update(s.sum, castagnoli, buf[from:len(buf)-4])
		binary.BigEndian.PutUint32(buf[len(buf)-4:], sum)
		return buf, true
	}
	s.sum = crc32.Update(s.sum, castagnoli, buf[from:])
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
	for all := m.sessions.Sorted(); len(all) > 0; {
		var mark, n int
		b, mark = beginRecord(b, recordSessions)
		b = append(b, 0, 0, 0, 0) // how many
		for n < len(all) && len(b)-mark < sessionsPerRecord {
			b = appendSession(b, all[n])
			n++
		}
		binary.BigEndian.PutUint32(b[mark+5:], uint32(n))
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

// encodeHead returns everything but the tree, as a snapshot begins with it.
func (m *Machine) encodeHead() []byte {
	const perSession = 160 // a usual one, so that nothing is copied for growing
	return m.encodeSessions(m.encodeSelf(make([]byte, 0, 4096+perSession*m.sessions.Len())))
}

// Digest returns a hash of the whole state: members that have applied the same
// entries have the same one. It takes time in proportion to the number of
// sessions.
func (m *Machine) Digest() uint64 { return m.digest(m.encodeHead()) }

// digest is Digest, given what encodeHead returns. The two checksums together
// are as good as one of 64 bits, and the processor has instructions for both.
func (m *Machine) digest(head []byte) uint64 {
	sum := uint64(crc32.Checksum(head, castagnoli))<<32 | uint64(crc32.ChecksumIEEE(head))
	return sum ^ bits.RotateLeft64(m.tree.Digest(), 1)
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

// Restore reads what a Snapshot wrote, to the end of r.
func Restore(r io.Reader) (*Machine, error) {
	s := newRestorer(r)
	for !s.ended {
		if err := s.record(); err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", ErrSnapshot, s.records, err)
		}
		s.records++
	}
	if _, err := s.r.ReadByte(); err != io.EOF {
		if err == nil {
			err = errors.New("it goes on behind its end")
		}
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return s.m, nil
}

type restorer struct {
	r       *bufio.Reader
	m       *Machine
	tree    *tree.Restorer
	sum     uint32 // of the bytes so far
	records int
	ended   bool
	buf     []byte
}

func newRestorer(r io.Reader) *restorer {
	return &restorer{r: bufio.NewReaderSize(r, 64<<10), m: New(), tree: tree.NewRestorer()}
}

// restorePiece bounds what is read at a time, in bytes: a damaged length costs
// no more memory than there is snapshot.
const restorePiece = 1 << 20

// read returns the next n bytes; they are valid until the next read.
func (s *restorer) read(n int) ([]byte, error) {
	s.buf = s.buf[:0]
	for len(s.buf) < n {
		from, to := len(s.buf), min(n, len(s.buf)+restorePiece)
		s.buf = slices.Grow(s.buf, to-from)[:to]
		if _, err := io.ReadFull(s.r, s.buf[from:]); err != nil {
			return nil, fmt.Errorf("it ends early: %w", err)
		}
	}
	s.sum = crc32.Update(s.sum, castagnoli, s.buf)
	return s.buf, nil
}

func (s *restorer) record() error {
	head, err := s.read(5)
	if err != nil {
		return err
	}
	tag, n := head[0], int(binary.BigEndian.Uint32(head[1:]))
	if (s.records == 0) != (tag == recordMachine) {
		return fmt.Errorf("one of kind %d is out of place", tag)
	}
	if tag == recordTree {
		for ; n > 0; n -= len(s.buf) {
			piece, err := s.read(min(n, restorePiece))
			if err != nil {
				return err
			}
			if err := s.tree.Add(piece); err != nil {
				return err
			}
		}
		return nil
	}
	if n > maxRecord {
		return fmt.Errorf("it has %d bytes, where %d are the most", n, maxRecord)
	}
	sum := s.sum
	body, err := s.read(n)
	if err != nil {
		return err
	}
	switch tag {
	case recordMachine:
		return s.m.decodeSelf(body)
	case recordSessions:
		return s.m.decodeSessions(body)
	case recordEnd:
		return s.end(body, sum)
	}
	return fmt.Errorf("its kind %d is unknown", tag)
}

// end checks the whole. sum is that of the bytes before body.
func (s *restorer) end(body []byte, sum uint32) error {
	if len(body) != 8+4 {
		return fmt.Errorf("the end has %d bytes", len(body))
	}
	sum = crc32.Update(sum, castagnoli, body[:8])
	if want := binary.BigEndian.Uint32(body[8:]); sum != want {
		return fmt.Errorf("the bytes up to here have the checksum %#x, and had %#x when they were written", sum, want)
	}
	t, err := s.tree.Finish()
	if err != nil {
		return err
	}
	s.m.tree = t
	s.m.findQuotas()
	if got, want := s.m.Digest(), binary.BigEndian.Uint64(body); got != want {
		return fmt.Errorf("the restored state has the digest %#x, and had %#x when the snapshot was taken", got, want)
	}
	s.ended = true
	return nil
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
	return whole(&d)
}

// whole is nil if a record was read to its end.
func whole(d *jute.Decoder) error {
	if d.Err() == nil && d.Remaining() > 0 {
		return fmt.Errorf("it goes on for %d bytes behind its fields", d.Remaining())
	}
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
	return whole(&d)
}
