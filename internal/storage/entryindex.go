package storage

import "math/bits"

// slot says where an entry is and what it would weigh as a message. 24 bytes.
type slot struct {
	term  uint64
	seq   uint32 // segment
	off   uint32 // of the entry item in the segment
	size  uint32 // of the data
	typ   uint8
	flags uint8
}

func (s *slot) end() int64 { return int64(s.off) + entryHeaderSize + int64(s.size) }

// messageSize is proto.Size of entry i: what raft counts against its limits.
func (s *slot) messageSize(i uint64) uint64 {
	n := 2 + varintSize(s.term) + varintSize(i)
	if s.flags&entryHasType != 0 {
		n += 1 + varintSize(uint64(s.typ))
	}
	if s.flags&entryHasData != 0 {
		n += 1 + varintSize(uint64(s.size)) + uint64(s.size)
	}
	return n
}

func varintSize(v uint64) uint64 { return uint64(bits.Len64(v|1)+6) / 7 }

const chunkSlots = 1024

// entryIndex holds the slots of a run of entries without a gap. It grows and
// shrinks by chunks, so that no append has to copy what is there.
type entryIndex struct {
	first  uint64 // index of the first entry, or of the next one if n is 0
	n      int
	head   int // slots of chunks[0] that are no longer in use; < chunkSlots
	chunks []*[chunkSlots]slot
	free   *[chunkSlots]slot
}

// next is the index after the last one.
func (x *entryIndex) next() uint64 { return x.first + uint64(x.n) }

// at returns the slot of entry i, which must be there: first <= i < next().
func (x *entryIndex) at(i uint64) *slot {
	k := x.head + int(i-x.first)
	return &x.chunks[k/chunkSlots][k%chunkSlots]
}

func (x *entryIndex) push(s slot) {
	k := x.head + x.n
	if k == len(x.chunks)*chunkSlots {
		if x.free == nil {
			x.free = new([chunkSlots]slot)
		}
		x.chunks = append(x.chunks, x.free)
		x.free = nil
	}
	x.chunks[k/chunkSlots][k%chunkSlots] = s
	x.n++
}

// truncate drops entry i and all after it; first <= i <= next().
func (x *entryIndex) truncate(i uint64) {
	x.n = int(i - x.first)
	keep := (x.head + x.n + chunkSlots - 1) / chunkSlots
	if keep < len(x.chunks) {
		x.free = x.chunks[keep]
		clear(x.chunks[keep:])
		x.chunks = x.chunks[:keep]
	}
}

// dropBefore forgets the entries before i; first <= i <= next().
func (x *entryIndex) dropBefore(i uint64) {
	d := int(i - x.first)
	x.first, x.n, x.head = i, x.n-d, x.head+d
	if gone := x.head / chunkSlots; gone > 0 {
		x.free = x.chunks[0]
		n := copy(x.chunks, x.chunks[gone:])
		clear(x.chunks[n:])
		x.chunks = x.chunks[:n]
		x.head %= chunkSlots
	}
}

// reset empties the index; the next entry will have the index first.
func (x *entryIndex) reset(first uint64) {
	x.truncate(x.first)
	x.first, x.head = first, 0
	if len(x.chunks) > 0 {
		x.free = x.chunks[0]
		clear(x.chunks)
		x.chunks = x.chunks[:0]
	}
}
