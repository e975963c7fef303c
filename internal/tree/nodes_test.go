package tree

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

func TestNodeSize(t *testing.T) {
	if size := unsafe.Sizeof(node{}); size != 96 {
		t.Errorf("a node takes %d bytes", size)
	}
	if size := unsafe.Sizeof(bucket{}); size != 64 {
		t.Errorf("a bucket takes %d bytes: more or less than a cache line", size)
	}
}

// The store gives out the lowest free id, whatever went before.
func TestNodeStore(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	var s nodeStore
	s.init()
	used := map[NodeID]Kind{}
	lowest := NodeID(1) // no id below is free
	for step := range 30_000 {
		if rnd.IntN(100) < 60 == (step < 15_000) || len(used) == 0 {
			for ; used[lowest] != 0; lowest++ {
			}
			id := s.lowest()
			if id != lowest || s.live(id) {
				t.Fatalf("step %d: the lowest free id is said to be %d, and is %d", step, id, lowest)
			}
			if n := s.take(id); *n != (node{}) || n != s.get(id) {
				t.Fatalf("slot %d is not empty", id)
			}
			*s.get(id) = node{parent: Root, czxid: int64(id)}
			kind := Kind(1 + rnd.IntN(3))
			s.mark(id, kind)
			used[id] = kind
			continue
		}
		id := NodeID(1 + rnd.IntN(int(s.end())-1))
		if s.live(id) != (used[id] != 0) {
			t.Fatalf("step %d: node %d is said to be live: %t", step, id, s.live(id))
		}
		if !s.live(id) {
			continue
		}
		if s.get(id).czxid != int64(id) {
			t.Fatalf("slot %d has another's node", id)
		}
		s.unmark(id, used[id])
		s.free(id)
		delete(used, id)
		lowest = min(lowest, id)
	}
	var all, ttl, wantTTL []NodeID
	for id := range s.all() {
		all = append(all, id)
	}
	s.ofKind(TTL, func(id NodeID) bool { ttl = append(ttl, id); return true })
	if len(all) != len(used) || s.count != len(used) || !slices.IsSorted(all) {
		t.Fatalf("%d nodes listed, %d counted, want %d", len(all), s.count, len(used))
	}
	for _, id := range all {
		if used[id] == TTL {
			wantTTL = append(wantTTL, id)
		}
	}
	if !slices.Equal(ttl, wantTTL) || s.kinds[kindBit(TTL)] != len(ttl) {
		t.Fatalf("TTL nodes %v, want %v", ttl, wantTTL)
	}
}

func TestNodeStoreGivesChunksBack(t *testing.T) {
	var s nodeStore
	s.init()
	for range 10 * nodesPerChunk {
		s.take(s.lowest())
	}
	for id := range s.end() {
		if id > 0 && s.live(id) {
			s.free(id)
		}
	}
	for c, chunk := range s.chunks {
		if (chunk == nil) != (c > 0) {
			t.Errorf("chunk %d kept: %t", c, chunk != nil)
		}
	}
	// At the edge of the first chunk, a node comes and goes in a second one.
	for s.lowest() < nodesPerChunk {
		s.take(s.lowest())
	}
	if n := testing.AllocsPerRun(100, func() { s.take(nodesPerChunk); s.free(nodesPerChunk) }); n > 1 {
		t.Errorf("%v allocations", n) // the slots' bitmaps are one, the chunk none
	}
}

func TestKindNames(t *testing.T) {
	for k, want := range []string{"persistent", "ephemeral", "container", "ttl", "kind(4)"} {
		if got := Kind(k).String(); got != want {
			t.Errorf("Kind(%d) is called %q, want %q", k, got, want)
		}
	}
}
