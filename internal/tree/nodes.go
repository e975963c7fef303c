package tree

import (
	"fmt"
	"iter"
	"math/bits"
)

// NodeID names a node for as long as it lives. A freed id is given to a later
// node. The same calls yield the same ids on every member: a new node gets the
// lowest id that is free, which is a function of the nodes that there are and
// not of how they came about.
type NodeID uint32

// The ids of the nodes that every tree has. They are never deleted.
const (
	None   NodeID = 0 // no node
	Root   NodeID = 1 // "/"
	System NodeID = 2 // "/zookeeper"
	Quota  NodeID = 3 // "/zookeeper/quota"
	Config NodeID = 4 // "/zookeeper/config"
)

// Kind says what ends a node's life besides a delete.
type Kind uint8

// The kinds of nodes.
const (
	Persistent Kind = iota // nothing
	Ephemeral              // the end of its owner's session
	Container              // the deletion of its last child
	TTL                    // a time without children or change
)

var kindNames = [...]string{"persistent", "ephemeral", "container", "ttl"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// node is a znode. It holds no pointers and is 96 bytes long. The zero node is
// a free slot.
type node struct {
	czxid, mzxid, pzxid int64
	ctime, mtime        int64 // milliseconds
	pathHash            uint64

	// parent is None in the root and in a free slot only.
	parent NodeID
	// Children form a list, newest first: firstChild, then next.
	// Invariant: nodes[next].prev is this node, and both have one parent.
	firstChild, next, prev NodeID
	// payload is the block with the owner (8 bytes, in ephemeral and TTL nodes
	// only), the name and the data.
	// Invariant: a block's content never changes while a node refers to it.
	payload  ref
	acl      uint32 // interned
	nameLen  uint32 // length of the name, times 4, plus the kind
	dataLen  int32  // -1: nil
	version  int32
	aversion int32
	// creates is the number of children ever created, which ZooKeeper stores as
	// cversion. On the wire, cversion is 2*creates - numChildren.
	creates     int32
	numChildren int32
}

const (
	nodeChunkBits = 10
	nodesPerChunk = 1 << nodeChunkBits
	// maxNodeID bounds what a damaged snapshot can make Restorer allocate. So
	// many nodes would take 200 GB.
	maxNodeID NodeID = 1<<30 - 1
)

type nodeChunk [nodesPerChunk]node

// bitmap has a bit for each slot of a node chunk.
type bitmap [nodesPerChunk / 64]uint64

func (b *bitmap) set(i uint32)      { b[i>>6] |= 1 << (i & 63) }
func (b *bitmap) clear(i uint32)    { b[i>>6] &^= 1 << (i & 63) }
func (b *bitmap) has(i uint32) bool { return b[i>>6]&(1<<(i&63)) != 0 }

// slots is what the store knows of a chunk's slots.
type slots struct {
	n     int // used
	used  bitmap
	kinds [2]bitmap // containers, TTL nodes
}

// nodeStore keeps the nodes and gives out their ids.
type nodeStore struct {
	// chunks[i] and slots[i] are nil while none of the chunk's slots is used.
	chunks []*nodeChunk
	slots  []*slots
	// room has a bit for each chunk that has a free slot.
	room []uint64
	// spare is a chunk kept back for the next that is needed, all zero, so that a
	// node that comes and goes at a chunk's edge costs no allocation each time.
	spare *nodeChunk
	count int
	kinds [2]int // containers, TTL nodes
}

// init takes the slot None, so that no node ever gets it.
func (s *nodeStore) init() {
	s.take(None)
	s.count = 0
}

// get returns the node in a slot whose chunk is there.
func (s *nodeStore) get(id NodeID) *node {
	return &s.chunks[id>>nodeChunkBits][id&(nodesPerChunk-1)]
}

// live reports whether id names a node.
func (s *nodeStore) live(id NodeID) bool {
	c := int(id >> nodeChunkBits)
	return c < len(s.slots) && s.slots[c] != nil && s.slots[c].used.has(uint32(id)&(nodesPerChunk-1))
}

// end returns the first id behind all nodes' chunks.
func (s *nodeStore) end() NodeID { return NodeID(len(s.chunks)) << nodeChunkBits }

// lowest returns the lowest free id.
func (s *nodeStore) lowest() NodeID {
	for w, word := range s.room {
		if word == 0 {
			continue
		}
		c := w<<6 + bits.TrailingZeros64(word)
		if s.slots[c] == nil {
			return NodeID(c) << nodeChunkBits
		}
		for i, used := range s.slots[c].used {
			if used != ^uint64(0) {
				return NodeID(c<<nodeChunkBits + i<<6 + bits.TrailingZeros64(^used))
			}
		}
	}
	return s.end()
}

// take marks the free slot id as used and returns it, zero.
func (s *nodeStore) take(id NodeID) *node {
	if id > maxNodeID {
		panic(fmt.Sprintf("tree: node id %d is beyond the limit of %d nodes", id, maxNodeID))
	}
	c, i := int(id>>nodeChunkBits), uint32(id)&(nodesPerChunk-1)
	if c >= len(s.chunks) {
		s.extend(c + 1)
	}
	if s.chunks[c] == nil {
		if s.chunks[c] = s.spare; s.chunks[c] == nil {
			s.chunks[c] = new(nodeChunk)
		}
		s.spare = nil
		s.slots[c] = new(slots)
	}
	sl := s.slots[c]
	sl.used.set(i)
	s.count++
	if sl.n++; sl.n == nodesPerChunk {
		s.room[c>>6] &^= 1 << (c & 63)
	}
	return &s.chunks[c][i]
}

// extend adds empty chunks until there are n.
func (s *nodeStore) extend(n int) {
	for c := len(s.chunks); c < n; c++ {
		if c>>6 == len(s.room) {
			s.room = append(s.room, 0)
		}
		s.room[c>>6] |= 1 << (c & 63)
	}
	s.chunks = append(s.chunks, make([]*nodeChunk, n-len(s.chunks))...)
	s.slots = append(s.slots, make([]*slots, n-len(s.slots))...)
}

// free clears a slot.
func (s *nodeStore) free(id NodeID) {
	c, i := int(id>>nodeChunkBits), uint32(id)&(nodesPerChunk-1)
	s.chunks[c][i] = node{}
	sl := s.slots[c]
	sl.used.clear(i)
	sl.n--
	s.count--
	s.room[c>>6] |= 1 << (c & 63)
	if sl.n == 0 {
		s.spare = s.chunks[c]
		s.chunks[c], s.slots[c] = nil, nil
	}
}

// kindBit returns which of the kinds' bitmaps tells of nodes of kind k, or -1.
func kindBit(k Kind) int {
	switch k {
	case Container:
		return 0
	case TTL:
		return 1
	}
	return -1
}

func (s *nodeStore) mark(id NodeID, k Kind) {
	if b := kindBit(k); b >= 0 {
		s.slots[id>>nodeChunkBits].kinds[b].set(uint32(id) & (nodesPerChunk - 1))
		s.kinds[b]++
	}
}

func (s *nodeStore) unmark(id NodeID, k Kind) {
	if b := kindBit(k); b >= 0 {
		s.slots[id>>nodeChunkBits].kinds[b].clear(uint32(id) & (nodesPerChunk - 1))
		s.kinds[b]--
	}
}

// ofKind yields the ids of all containers or TTL nodes, ascending.
func (s *nodeStore) ofKind(k Kind, yield func(NodeID) bool) {
	b := kindBit(k)
	if s.kinds[b] == 0 {
		return
	}
	for c, sl := range s.slots {
		if sl == nil {
			continue
		}
		for w, word := range sl.kinds[b] {
			for ; word != 0; word &= word - 1 {
				if !yield(NodeID(c<<nodeChunkBits + w<<6 + bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}

// all yields the ids of all nodes, ascending.
func (s *nodeStore) all() iter.Seq[NodeID] {
	return func(yield func(NodeID) bool) {
		for c, sl := range s.slots {
			if sl == nil {
				continue
			}
			for w, word := range sl.used {
				for ; word != 0; word &= word - 1 {
					id := NodeID(c<<nodeChunkBits + w<<6 + bits.TrailingZeros64(word))
					if id != None && !yield(id) {
						return
					}
				}
			}
		}
	}
}
