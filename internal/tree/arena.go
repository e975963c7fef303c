package tree

import (
	"encoding/binary"
	"math/bits"
)

// ref addresses a block in an arena; 0 is no block. The top bit marks a block
// with an allocation of its own, the rest then being its place in the table of
// those. Otherwise the bits from slotBits up are a chunk and those below a slot
// in it.
type ref uint32

const (
	largeRef  ref = 1 << 31
	chunkSize     = 1 << 16 // bytes
	slotBits      = 13      // chunkSize / the smallest block
	slotMask      = 1<<slotBits - 1
	maxChunks     = 1 << (31 - slotBits)
	maxSmall      = 8192 // bytes: larger blocks go to the Go heap one by one
	fineSmall     = 512  // bytes: up to here, a class every 8 bytes
	numClass      = fineSmall/8 + 32
)

// arena hands out blocks of bytes by size class from chunks that each serve one
// class. Classes are 8 bytes apart up to 512 and at most an eighth apart from
// there to 8192.
//
// A chunk whose last block is freed is given back, unless it is the only one of
// its class with room, so that a block freed and taken again at a chunk's edge
// does not turn into an allocation each time.
//
// free touches nothing that at reads of a block still in use. So Snapshot.Next
// may free blocks under the read lock.
type arena struct {
	chunks     []chunk          // chunk 0 is never used: ref 0 is no block
	freeChunks []uint32         // places in chunks without a buffer
	partial    [numClass]uint32 // per class: head of the list of chunks with room, 0 if none
	large      [][]byte
	freeLarge  []uint32
	inUse      int // blocks handed out and not freed
}

type chunk struct {
	buf        *[chunkSize]byte
	size       uint32 // of a block
	prev, next uint32 // neighbours in the class's list of chunks with room
	capacity   uint16 // blocks that fit
	used       uint16 // blocks handed out
	fresh      uint16 // blocks from here on have never been handed out
	free       uint16 // 1 + the first freed block, whose first two bytes say 1 + the next; 0 is none
	class      uint8
}

// classOf returns the class for a block of n bytes, 1 <= n <= maxSmall, and the
// size of its blocks.
func classOf(n int) (class uint8, size uint32) {
	if n <= fineSmall {
		c := (n + 7) / 8
		return uint8(c - 1), uint32(c * 8)
	}
	l := bits.Len(uint(n - 1))
	shift := l - 4
	c := (n + 1<<shift - 1) >> shift // 9..16
	return uint8(fineSmall/8 + (l-10)*8 + c - 9), uint32(c << shift)
}

// alloc returns a block of at least n bytes. Its content is undefined.
func (a *arena) alloc(n int) ref {
	if n == 0 {
		return 0
	}
	a.inUse++
	if n > maxSmall {
		return a.allocLarge(n)
	}
	class, size := classOf(n)
	ci := a.partial[class]
	if ci == 0 {
		if ci = a.newChunk(class, size); ci == 0 {
			return a.allocLarge(n)
		}
	}
	c := &a.chunks[ci]
	var slot uint16
	if c.free != 0 {
		slot = c.free - 1
		c.free = binary.LittleEndian.Uint16(c.buf[uint32(slot)*c.size:])
	} else {
		slot = c.fresh
		c.fresh++
	}
	if c.used++; c.used == c.capacity {
		a.unlink(ci)
	}
	return ref(ci<<slotBits | uint32(slot))
}

// free gives a block back.
func (a *arena) free(r ref) {
	if r == 0 {
		return
	}
	a.inUse--
	if r&largeRef != 0 {
		i := uint32(r &^ largeRef)
		a.large[i] = nil
		a.freeLarge = append(a.freeLarge, i)
		return
	}
	ci, slot := uint32(r>>slotBits), uint16(r&slotMask)
	c := &a.chunks[ci]
	binary.LittleEndian.PutUint16(c.buf[uint32(slot)*c.size:], c.free)
	c.free = slot + 1
	if c.used == c.capacity {
		a.link(ci)
	}
	if c.used--; c.used == 0 && (c.next != 0 || c.prev != 0) {
		a.unlink(ci)
		*c = chunk{}
		a.freeChunks = append(a.freeChunks, ci)
	}
}

// at returns the first n bytes of a block.
func (a *arena) at(r ref, n int) []byte {
	if r&largeRef != 0 {
		return a.large[r&^largeRef][:n:n]
	}
	if r == 0 {
		return nil
	}
	c := &a.chunks[r>>slotBits]
	off := int(uint32(r&slotMask) * c.size)
	return c.buf[off : off+n : off+n]
}

func (a *arena) allocLarge(n int) ref {
	b := make([]byte, n)
	if k := len(a.freeLarge); k > 0 {
		i := a.freeLarge[k-1]
		a.freeLarge = a.freeLarge[:k-1]
		a.large[i] = b
		return largeRef | ref(i)
	}
	a.large = append(a.large, b)
	return largeRef | ref(len(a.large)-1)
}

// newChunk returns a chunk for the class, linked, or 0 if there are as many as
// a ref can address (16 GiB).
func (a *arena) newChunk(class uint8, size uint32) uint32 {
	var ci uint32
	if k := len(a.freeChunks); k > 0 {
		ci = a.freeChunks[k-1]
		a.freeChunks = a.freeChunks[:k-1]
	} else {
		if len(a.chunks) == 0 {
			a.chunks = append(a.chunks, chunk{})
		}
		if len(a.chunks) == maxChunks {
			return 0
		}
		ci = uint32(len(a.chunks))
		a.chunks = append(a.chunks, chunk{})
	}
	a.chunks[ci] = chunk{buf: new([chunkSize]byte), size: size, capacity: uint16(chunkSize / size), class: class}
	a.link(ci)
	return ci
}

func (a *arena) link(ci uint32) {
	c := &a.chunks[ci]
	c.prev, c.next = 0, a.partial[c.class]
	if c.next != 0 {
		a.chunks[c.next].prev = ci
	}
	a.partial[c.class] = ci
}

func (a *arena) unlink(ci uint32) {
	c := &a.chunks[ci]
	if c.prev != 0 {
		a.chunks[c.prev].next = c.next
	} else {
		a.partial[c.class] = c.next
	}
	if c.next != 0 {
		a.chunks[c.next].prev = c.prev
	}
	c.prev, c.next = 0, 0
}
