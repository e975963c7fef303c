package tree

import (
	"math/rand/v2"
	"testing"
)

// indexed is an index over nodes of which only the hash matters.
type indexed struct {
	nodes nodeStore
	ix    index
}

func newIndexed() *indexed {
	x := &indexed{}
	x.nodes.init()
	x.ix.init()
	return x
}

func (x *indexed) add(h uint64) NodeID {
	id := x.nodes.lowest()
	n := x.nodes.take(id)
	n.pathHash, n.parent = h, Root
	x.ix.insert(h, id, &x.nodes)
	return id
}

func (x *indexed) remove(id NodeID) {
	x.ix.remove(x.nodes.get(id).pathHash, id)
	x.nodes.free(id)
}

func (x *indexed) find(h uint64, id NodeID) bool {
	for b, tag := x.ix.first(h); b != nil; b = x.ix.next(b) {
		for i, v := range b.ids {
			if v == id {
				return b.tags[i] == tag
			}
		}
	}
	return false
}

// invariants checks what is said at bucket, and that no spill bucket is lost.
func (x *indexed) invariants(t *testing.T) {
	t.Helper()
	spilled, entries := uint32(0), 0
	for i := range x.ix.n {
		for b := x.ix.primary(i); b != nil; b = x.ix.next(b) {
			if b != x.ix.primary(i) {
				spilled++
				if b.ids[0] == None {
					t.Fatal("a spill bucket is empty")
				}
			}
			gap := false
			for _, id := range b.ids {
				if id == None {
					gap = true
					continue
				}
				entries++
				if gap || x.ix.place(x.ix.mix(x.nodes.get(id).pathHash)) != i {
					t.Fatalf("node %d stands behind a gap or in the wrong bucket", id)
				}
			}
			if gap && b.overflow != 0 {
				t.Fatal("a bucket that is not its chain's last has free slots")
			}
		}
	}
	for f := x.ix.spillFree; f != 0; f = x.ix.spilled(f - 1).overflow {
		spilled++
	}
	if spilled != x.ix.spillN || entries != x.ix.count || entries != x.nodes.count {
		t.Fatalf("%d spill buckets of %d; %d entries, counted %d, of %d nodes", spilled, x.ix.spillN, entries, x.ix.count, x.nodes.count)
	}
}

func TestIndex(t *testing.T) {
	for name, hash := range map[string]func(*rand.Rand) uint64{
		"spread":    (*rand.Rand).Uint64,
		"few":       func(r *rand.Rand) uint64 { return finish(uint64(r.IntN(50))) }, // chains of equal hashes
		"low bits":  func(r *rand.Rand) uint64 { return uint64(r.Uint32()) },
		"high bits": func(r *rand.Rand) uint64 { return uint64(r.Uint32()) << 32 },
	} {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(5, 5))
			x := newIndexed()
			var ids []NodeID
			for step, n := 0, 20_000; step < n; step++ {
				if len(ids) == 0 || rnd.IntN(100) < 70 == (step < n/2) {
					ids = append(ids, x.add(hash(rnd)))
				} else {
					i := rnd.IntN(len(ids))
					x.remove(ids[i])
					ids[i] = ids[len(ids)-1]
					ids = ids[:len(ids)-1]
				}
				if step%2000 == 0 {
					x.invariants(t)
				}
			}
			for _, id := range ids {
				if !x.find(x.nodes.get(id).pathHash, id) {
					t.Fatalf("node %d is not found", id)
				}
			}
			for _, id := range ids {
				x.remove(id)
			}
			x.invariants(t)
		})
	}
}

// Hashes that agree in most of their bits don't crowd in few buckets.
func TestIndexSpreads(t *testing.T) {
	x := newIndexed()
	for i := range uint64(50_000) {
		x.add(1 + i<<40)
	}
	if x.ix.spillN > x.ix.n/2 {
		t.Errorf("%d spill buckets beside %d buckets", x.ix.spillN, x.ix.n)
	}
}

// However large the index, one insertion opens at most one bucket.
func TestIndexGrowsByOneBucket(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6, 6))
	x := newIndexed()
	for range 50_000 {
		n := x.ix.n
		x.add(rnd.Uint64())
		if x.ix.n > n+1 {
			t.Fatalf("from %d buckets to %d at once", n, x.ix.n)
		}
	}
	if n := int(x.ix.n); n*bucketFill < 50_000 || n*bucketFill > 50_000+bucketFill {
		t.Errorf("%d buckets for 50000 nodes", n)
	}
	// Chains stay short: a lookup looks at little more than one cache line.
	if x.ix.spillN > x.ix.n/3 {
		t.Errorf("%d spill buckets beside %d buckets", x.ix.spillN, x.ix.n)
	}
}

func TestIndexRemoveUnknown(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("removing a node that is not there went unnoticed")
		}
	}()
	x := newIndexed()
	x.ix.remove(1, 7)
}
