package tree

import (
	"encoding/binary"
	"errors"
)

// ErrSnapshotOpen is returned by BeginSnapshot while another snapshot is open.
var ErrSnapshotOpen = errors.New("tree: a snapshot is open already; close it first")

// Snapshot writes out the tree as it was when the snapshot began, while the
// tree goes on changing.
//
// It goes through the slots in order. A change of a slot that it has yet to
// come to first puts aside the node as it is; a block that such a node refers
// to is freed by the snapshot, once it has written it out. So a snapshot costs
// memory for what changes while it is open, and not more.
type Snapshot struct {
	t     *Tree
	stage stage
	// next is the first slot not yet written out, end the first behind those that
	// there were when the snapshot began.
	next, end NodeID
	// before has the slots, next or later, that changed since the snapshot began,
	// as they were then; a zero node is a slot that was free.
	// Invariant: the payloads of these nodes are not freed, and each has one
	// reference to its ACL.
	before map[NodeID]node
	nodes  int
	// acls numbers the ACLs written out so far, from 1.
	// Invariant: each has one reference, so that its id stays its own.
	acls map[uint32]uint32

	rec recordCodec
	buf []byte // scratch
}

type stage uint8

const (
	stageHeader stage = iota
	stageNodes
	stageDone
)

// BeginSnapshot opens a snapshot of the tree as it is now. It needs the write
// lock, for no longer than a few allocations. There is at most one snapshot at a
// time, and none begins within a transaction.
func (t *Tree) BeginSnapshot() (*Snapshot, error) {
	if t.snap != nil {
		return nil, ErrSnapshotOpen
	}
	if t.tx.open {
		return nil, errors.New("tree: a snapshot can't begin within a transaction; commit or roll back first")
	}
	t.snap = &Snapshot{t: t, next: Root, end: t.nodes.end(), nodes: t.nodes.count,
		before: map[NodeID]node{}, acls: map[uint32]uint32{}}
	return t.snap, nil
}

// Close ends the snapshot and lets go of what it kept. It needs the write lock.
// Closing again does nothing.
func (s *Snapshot) Close() {
	if s.t == nil {
		return
	}
	for id, n := range s.before {
		s.release(id, &n)
	}
	for id := range s.acls {
		s.t.acls.unref(id)
	}
	s.t.snap = nil
	*s = Snapshot{stage: stageDone}
}

// Next appends records to buf until it has appended at least maxBytes or
// everything is written out, and at least one if any is left. It returns buf
// and whether that was all. Fed to a Restorer in order, the records make the
// tree again. Next needs the read lock, so that a caller who lets go of it
// between calls holds up writes for maxBytes at a time.
func (s *Snapshot) Next(buf []byte, maxBytes int) ([]byte, bool) {
	for from := len(buf); s.stage != stageDone; {
		switch s.stage {
		case stageHeader:
			buf = s.header(buf)
			s.stage = stageNodes
		case stageNodes:
			if s.next == s.end {
				s.stage = stageDone
				continue
			}
			buf = s.slot(buf)
		}
		if len(buf)-from >= max(maxBytes, 1) {
			break
		}
	}
	return buf, s.stage == stageDone
}

func (s *Snapshot) header(buf []byte) []byte {
	b := append(s.buf[:0], formatVersion)
	b = binary.AppendUvarint(b, uint64(s.nodes))
	s.buf = b
	return appendRecord(buf, b, "")
}

// slot writes out the next slot, or skips over slots that are free.
func (s *Snapshot) slot(buf []byte) []byte {
	id := s.next
	if len(s.before) > 0 {
		if n, ok := s.before[id]; ok {
			s.next++
			if !n.free() {
				buf = s.node(buf, id, &n)
			}
			s.release(id, &n)
			delete(s.before, id)
			return buf
		}
	} else if s.t.nodes.slots[id>>nodeChunkBits] == nil {
		s.next = (id>>nodeChunkBits + 1) << nodeChunkBits
		return buf
	}
	s.next++
	if s.t.nodes.live(id) {
		buf = s.node(buf, id, s.t.nodes.get(id))
	}
	return buf
}

func (s *Snapshot) node(buf []byte, id NodeID, n *node) []byte {
	number, newACL := s.acls[n.acl], ""
	if number == 0 {
		number = uint32(len(s.acls)) + 1
		s.acls[n.acl] = number
		s.t.acls.entries[n.acl].refs++
		newACL = s.t.acls.entries[n.acl].text
	}
	s.buf = s.rec.appendNode(s.buf[:0], id, n, record{acl: number, newACL: newACL, holder: s.t.holder(n), name: s.t.name(n)})
	return appendRecord(buf, s.buf, text(s.t.data(n)))
}

// touch puts a slot aside before it changes.
func (s *Snapshot) touch(id NodeID) {
	if id < s.next || id >= s.end {
		return
	}
	if _, ok := s.before[id]; ok {
		return
	}
	n := s.t.at(id)
	s.before[id] = n
	if !n.free() {
		s.t.acls.entries[n.acl].refs++
	}
}

// holds reports whether the block belongs to a node that was put aside.
func (s *Snapshot) holds(id NodeID, r ref) bool {
	n, ok := s.before[id]
	return ok && n.payload == r
}

// release lets go of what a node that was put aside refers to. The node itself
// may have its block still (or again, after a rollback).
func (s *Snapshot) release(id NodeID, n *node) {
	if n.free() {
		return
	}
	s.t.acls.unref(n.acl)
	if s.t.nodes.live(id) && s.t.nodes.get(id).payload == n.payload {
		return
	}
	s.t.payloads.free(n.payload)
}
