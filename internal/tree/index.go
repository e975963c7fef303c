package tree

import (
	"math/bits"
	"math/rand/v2"
)

const (
	bucketSlots     = 12
	bucketFill      = 9 // nodes per bucket on average before one more bucket is opened
	bucketChunkBits = 10
	bucketsPerChunk = 1 << bucketChunkBits
)

// bucket fills a cache line. Its entries stand at its beginning, without gaps.
type bucket struct {
	ids [bucketSlots]NodeID
	// tags are the top bytes of the mixed hashes: a lookup that finds no equal tag
	// needs not look at any node.
	tags [bucketSlots]uint8
	// overflow is 1 + the place of a further bucket among the spill buckets, or 0.
	// Invariant: only a chain's last bucket has free slots, and none but the
	// first is empty.
	overflow uint32
}

type bucketChunk [bucketsPerChunk]bucket

// index finds nodes by path hash. It is a linear hash table: it grows by
// splitting one bucket at a time, in order, so that no insertion ever pays for
// more than one bucket's worth of rehashing and nothing is ever copied whole.
// It does not shrink.
type index struct {
	chunks []*bucketChunk
	// The secret. It decides in which bucket a node stands and nothing that anyone
	// could see, so that members need not share it and must not publish it.
	xor, mul uint64
	// n is the number of buckets; mask is 2^k - 1 for the least k with n <= 2^k.
	n, mask uint32
	count   int

	spill     []*bucketChunk
	spillN    uint32
	spillFree uint32 // 1 + the first free spill bucket, linked through overflow
}

// mix turns a path hash into the number whose low bits say in which bucket the
// node stands and whose top byte is its tag. Path hashes are known to anyone,
// and paths whose hashes agree in a few bits are easily found: without a secret
// a client could fill one bucket.
func (ix *index) mix(h uint64) uint64 {
	hi, lo := bits.Mul64(h^ix.xor, ix.mul)
	return finish(hi ^ lo)
}

func tagOf(m uint64) uint8 { return uint8(m >> 56) }

func (ix *index) init() {
	ix.xor, ix.mul = rand.Uint64(), rand.Uint64()|1
	ix.chunks = []*bucketChunk{new(bucketChunk)}
	ix.n = 1
}

// place returns the bucket of a mixed hash.
func (ix *index) place(m uint64) uint32 {
	b := uint32(m) & ix.mask
	if b >= ix.n {
		b &= ix.mask >> 1
	}
	return b
}

func (ix *index) primary(b uint32) *bucket {
	return &ix.chunks[b>>bucketChunkBits][b&(bucketsPerChunk-1)]
}

// first returns the first bucket of a path hash's chain, and the tag to look
// for.
func (ix *index) first(h uint64) (*bucket, uint8) {
	m := ix.mix(h)
	return ix.primary(ix.place(m)), tagOf(m)
}

// next returns the bucket that follows b in its chain, or nil.
func (ix *index) next(b *bucket) *bucket {
	if b.overflow == 0 {
		return nil
	}
	return ix.spilled(b.overflow - 1)
}

func (ix *index) spilled(i uint32) *bucket {
	return &ix.spill[i>>bucketChunkBits][i&(bucketsPerChunk-1)]
}

// insert adds a node. nodes is where a split finds the hashes of others.
func (ix *index) insert(h uint64, id NodeID, nodes *nodeStore) {
	m := ix.mix(h)
	ix.put(ix.place(m), tagOf(m), id)
	ix.count++
	if ix.count > int(ix.n)*bucketFill {
		ix.split(nodes)
	}
}

// put stores an entry in the chain of bucket b.
func (ix *index) put(b uint32, tag uint8, id NodeID) {
	bk := ix.primary(b)
	for {
		if bk.overflow != 0 {
			bk = ix.spilled(bk.overflow - 1)
			continue
		}
		for i := range bk.ids {
			if bk.ids[i] == None {
				bk.ids[i], bk.tags[i] = id, tag
				return
			}
		}
		bk.overflow = ix.newSpill()
	}
}

// remove takes a node out.
func (ix *index) remove(h uint64, id NodeID) {
	// The chain's last entry fills the gap.
	var gap, last *bucket
	gapAt := 0
	lastLink := (*uint32)(nil)
	link := (*uint32)(nil)
	for bk, _ := ix.first(h); bk != nil; bk = ix.next(bk) {
		last, lastLink = bk, link
		link = &bk.overflow
		if gap != nil {
			continue
		}
		for i, v := range bk.ids {
			if v == id {
				gap, gapAt = bk, i
				break
			}
		}
	}
	if gap == nil {
		panic("tree: the node to remove is not in the index")
	}
	i := bucketSlots - 1
	for last.ids[i] == None {
		i--
	}
	gap.ids[gapAt], gap.tags[gapAt] = last.ids[i], last.tags[i]
	last.ids[i], last.tags[i] = None, 0
	if i == 0 && lastLink != nil {
		ix.freeSpill(lastLink)
	}
	ix.count--
}

// open adds one empty bucket and returns the one whose entries it shares.
func (ix *index) open() (from uint32) {
	to := ix.n
	if to > ix.mask {
		ix.mask = ix.mask<<1 | 1
	}
	if to>>bucketChunkBits == uint32(len(ix.chunks)) {
		ix.chunks = append(ix.chunks, new(bucketChunk))
	}
	ix.n++
	return to & (ix.mask >> 1)
}

// split opens one more bucket and moves its share of entries there.
func (ix *index) split(nodes *nodeStore) {
	from := ix.open()
	var few [4 * bucketSlots]NodeID
	all := few[:0]
	bk := ix.primary(from)
	for b := bk; b != nil; b = ix.next(b) {
		for _, id := range b.ids {
			if id != None {
				all = append(all, id)
			}
		}
	}
	for bk.overflow != 0 {
		last := &bk.overflow
		for b := ix.spilled(*last - 1); b.overflow != 0; b = ix.spilled(*last - 1) {
			last = &b.overflow
		}
		ix.freeSpill(last)
	}
	*bk = bucket{}
	for _, id := range all {
		m := ix.mix(nodes.get(id).pathHash)
		ix.put(ix.place(m), tagOf(m), id)
	}
}

// newSpill returns 1 + the place of an empty spill bucket.
func (ix *index) newSpill() uint32 {
	if l := ix.spillFree; l != 0 {
		b := ix.spilled(l - 1)
		ix.spillFree = b.overflow
		b.overflow = 0
		return l
	}
	if ix.spillN>>bucketChunkBits == uint32(len(ix.spill)) {
		ix.spill = append(ix.spill, new(bucketChunk))
	}
	ix.spillN++
	return ix.spillN
}

// freeSpill frees the spill bucket, the last of its chain, that link leads to.
func (ix *index) freeSpill(link *uint32) {
	l := *link
	*link = 0
	*ix.spilled(l - 1) = bucket{overflow: ix.spillFree}
	ix.spillFree = l
}
