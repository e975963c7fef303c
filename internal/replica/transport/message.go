package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Raft messages have an encoding of our own. Protobuf's would allocate every
// entry and every number in it one by one; here a message, its numbers, its
// entries and their data are four allocations whatever their number.
// BenchmarkEncode and BenchmarkDecode compare the two.
//
//	type byte | present uint16 | numbers | context | entries | snapshot
//
// present says which of the optional fields follow, in the order of its bits:
// numbers as uvarints, the context with its length, the entries with their
// count, the snapshot as protobuf with its length (it is rare, and carries no
// data here). An entry is a byte of flags with its type, the term and index as
// uvarints, and its data with their length.
const (
	hasType = 1 << iota
	hasTo
	hasFrom
	hasTerm
	hasLogTerm
	hasIndex
	hasCommit
	hasVote
	hasRejectHint
	hasReject
	isReject
	hasContext
	hasEntries
	hasSnapshot
	allPresent = 1<<iota - 1
)

const (
	entryTypeMask  = 0x03
	entryHasType   = 0x04
	entryHasTerm   = 0x08
	entryHasIndex  = 0x10
	entryHasData   = 0x20
	entryAllFlags  = 0x3f
	maxEntryHeader = 1 + 3*binary.MaxVarintLen64
	maxHeader      = 3 + 11*binary.MaxVarintLen64
	// maxEntries bounds what a few bytes can claim; a message of a MiB has less
	// than a fifth of it.
	maxEntries = 1 << 20
)

// errNotForWire: the message is one that raft sends to its own storage.
var errNotForWire = errors.New("it carries responses, and so belongs to this member's own storage")

// messageBound is an upper bound of a message's encoded size.
func messageBound(m *raftpb.Message) int {
	n := maxHeader + len(m.Context)
	for _, e := range m.Entries {
		n += maxEntryHeader + len(e.Data)
	}
	if m.Snapshot != nil {
		n += proto.Size(m.Snapshot)
	}
	return n
}

// appendMessage appends m's encoding. It keeps nothing of m.
func appendMessage(b []byte, m *raftpb.Message) ([]byte, error) {
	if len(m.Responses) > 0 {
		return b, errNotForWire
	}
	if len(m.Entries) > maxEntries {
		return b, fmt.Errorf("it has %d entries, the bound is %d: lower raft's MaxSizePerMsg", len(m.Entries), maxEntries)
	}
	at := len(b)
	b = append(b, 0, 0, 0)
	var present uint16
	if m.Type != nil {
		if *m.Type < 0 || *m.Type > 0xff {
			return b[:at], fmt.Errorf("its type is %d", *m.Type)
		}
		b[at] = byte(*m.Type)
		present |= hasType
	}
	for i, v := range [...]*uint64{m.To, m.From, m.Term, m.LogTerm, m.Index, m.Commit, m.Vote, m.RejectHint} {
		if v != nil {
			present |= hasTo << i
			b = binary.AppendUvarint(b, *v)
		}
	}
	if m.Reject != nil {
		present |= hasReject
		if *m.Reject {
			present |= isReject
		}
	}
	if m.Context != nil {
		present |= hasContext
		b = binary.AppendUvarint(b, uint64(len(m.Context)))
		b = append(b, m.Context...)
	}
	if len(m.Entries) > 0 {
		present |= hasEntries
		b = binary.AppendUvarint(b, uint64(len(m.Entries)))
		for _, e := range m.Entries {
			var err error
			if b, err = appendEntry(b, e); err != nil {
				return b[:at], err
			}
		}
	}
	if m.Snapshot != nil {
		present |= hasSnapshot
		b = binary.AppendUvarint(b, uint64(proto.Size(m.Snapshot)))
		var err error
		if b, err = (proto.MarshalOptions{}).MarshalAppend(b, m.Snapshot); err != nil {
			return b[:at], err
		}
	}
	binary.BigEndian.PutUint16(b[at+1:], present)
	return b, nil
}

func appendEntry(b []byte, e *raftpb.Entry) ([]byte, error) {
	at := len(b)
	b = append(b, 0)
	var flags byte
	if e.Type != nil {
		if *e.Type < 0 || *e.Type > entryTypeMask {
			return b, fmt.Errorf("entry %d has type %d", e.GetIndex(), *e.Type)
		}
		flags = entryHasType | byte(*e.Type)
	}
	if e.Term != nil {
		flags |= entryHasTerm
		b = binary.AppendUvarint(b, *e.Term)
	}
	if e.Index != nil {
		flags |= entryHasIndex
		b = binary.AppendUvarint(b, *e.Index)
	}
	if e.Data != nil {
		flags |= entryHasData
		b = binary.AppendUvarint(b, uint64(len(e.Data)))
		b = append(b, e.Data...)
	}
	b[at] = flags
	return b, nil
}

// messageSlab holds a message and the numbers that it points to.
type messageSlab struct {
	m       raftpb.Message
	typ     raftpb.MessageType
	numbers [8]uint64
	reject  bool
}

type entrySlab struct {
	e           raftpb.Entry
	typ         raftpb.EntryType
	term, index uint64
}

// decodeMessage decodes p, of which it keeps nothing.
func decodeMessage(p []byte) (*raftpb.Message, error) {
	if len(p) < 3 {
		return nil, badFrame("a raft message of %d bytes", len(p))
	}
	slab := &messageSlab{}
	m := &slab.m
	present := binary.BigEndian.Uint16(p[1:])
	if present&^allPresent != 0 {
		return nil, badFrame("a raft message has unknown fields %#x", present&^allPresent)
	}
	if present&hasType != 0 {
		slab.typ = raftpb.MessageType(p[0])
		m.Type = &slab.typ
	}
	if present&(hasContext|hasEntries) != 0 {
		// One copy for the context and all data, which then point into it.
		p = slices.Clone(p)
	}
	c := cursor{p: p, off: 3}
	into := [...]**uint64{&m.To, &m.From, &m.Term, &m.LogTerm, &m.Index, &m.Commit, &m.Vote, &m.RejectHint}
	for i := range into {
		if present&(hasTo<<i) != 0 {
			slab.numbers[i] = c.uint()
			*into[i] = &slab.numbers[i]
		}
	}
	if present&hasReject != 0 {
		slab.reject = present&isReject != 0
		m.Reject = &slab.reject
	}
	if present&hasContext != 0 {
		m.Context = c.bytes()
	}
	if present&hasEntries != 0 {
		n := c.uint()
		if n > maxEntries || n > uint64(len(p)-c.off) {
			return nil, badFrame("a raft message claims %d entries in %d bytes", n, len(p)-c.off)
		}
		entries := make([]entrySlab, n)
		m.Entries = make([]*raftpb.Entry, n)
		for i := range entries {
			if !c.entry(&entries[i]) {
				break
			}
			m.Entries[i] = &entries[i].e
		}
	}
	if present&hasSnapshot != 0 {
		if raw := c.bytes(); !c.bad {
			m.Snapshot = &raftpb.Snapshot{}
			if err := proto.Unmarshal(raw, m.Snapshot); err != nil {
				return nil, badFrame("a raft message's snapshot: %v", err)
			}
		}
	}
	if c.bad || c.off != len(p) {
		return nil, badFrame("a raft message of type %d does not end where it should", p[0])
	}
	return m, nil
}

// cursor reads from the front of p; once bad, it yields zero values.
type cursor struct {
	p   []byte
	off int
	bad bool
}

func (c *cursor) uint() uint64 {
	v, n := binary.Uvarint(c.p[c.off:])
	if n <= 0 {
		c.bad, c.off = true, len(c.p)
		return 0
	}
	c.off += n
	return v
}

// bytes returns a view whose capacity ends with it, never nil.
func (c *cursor) bytes() []byte {
	n := c.uint()
	if c.bad || n > uint64(len(c.p)-c.off) {
		c.bad, c.off = true, len(c.p)
		return []byte{}
	}
	from := c.off
	c.off += int(n)
	return c.p[from:c.off:c.off]
}

func (c *cursor) entry(s *entrySlab) bool {
	if c.off >= len(c.p) {
		c.bad = true
		return false
	}
	flags := c.p[c.off]
	c.off++
	if flags&^entryAllFlags != 0 || (flags&entryHasType == 0 && flags&entryTypeMask != 0) {
		c.bad = true
		return false
	}
	if flags&entryHasType != 0 {
		s.typ = raftpb.EntryType(flags & entryTypeMask)
		s.e.Type = &s.typ
	}
	if flags&entryHasTerm != 0 {
		s.term = c.uint()
		s.e.Term = &s.term
	}
	if flags&entryHasIndex != 0 {
		s.index = c.uint()
		s.e.Index = &s.index
	}
	if flags&entryHasData != 0 {
		s.e.Data = c.bytes()
	}
	return !c.bad
}
