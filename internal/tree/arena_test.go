package tree

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestClassOf(t *testing.T) {
	last := uint32(0)
	for n := 1; n <= maxSmall; n++ {
		class, size := classOf(n)
		if int(size) < n || size < last || int(class) >= numClass || chunkSize/size > slotMask+1 {
			t.Fatalf("%d bytes: class %d of %d bytes after one of %d", n, class, size, last)
		}
		if waste := int(size) - n; waste >= 8 && waste > n/8 {
			t.Fatalf("%d bytes take %d", n, size)
		}
		if class2, size2 := classOf(int(size)); class2 != class || size2 != size {
			t.Fatalf("%d bytes: class %d has blocks of %d bytes, and they belong to class %d", n, class, size, class2)
		}
		last = size
	}
}

// Blocks never overlap, keep their content, and chunks that have become empty
// are given back.
func TestArena(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	var a arena
	type block struct {
		r    ref
		n    int
		fill byte
	}
	var blocks []block
	check := func(b block) {
		t.Helper()
		if got := a.at(b.r, b.n); !bytes.Equal(got, bytes.Repeat([]byte{b.fill}, b.n)) || cap(got) != b.n {
			t.Fatalf("a block of %d bytes holds something else than was put there", b.n)
		}
	}
	for round := range 6 {
		for range 20_000 {
			if grow := round%2 == 0; rnd.IntN(10) < 8 == grow || len(blocks) == 0 {
				b := block{n: 1 + rnd.IntN(200), fill: byte(rnd.Uint32())}
				switch rnd.IntN(50) {
				case 0:
					b.n = 1 + rnd.IntN(3*maxSmall)
				case 1:
					b.n = maxSmall + rnd.IntN(2)
				}
				b.r = a.alloc(b.n)
				copy(a.at(b.r, b.n), bytes.Repeat([]byte{b.fill}, b.n))
				blocks = append(blocks, b)
				continue
			}
			i := rnd.IntN(len(blocks))
			check(blocks[i])
			a.free(blocks[i].r)
			blocks[i] = blocks[len(blocks)-1]
			blocks = blocks[:len(blocks)-1]
		}
		for _, b := range blocks {
			check(b)
		}
		if a.inUse != len(blocks) {
			t.Fatalf("%d blocks in use, want %d", a.inUse, len(blocks))
		}
	}
	for _, b := range blocks {
		a.free(b.r)
	}
	buffers := 0
	for i := range a.chunks {
		if a.chunks[i].buf != nil {
			buffers++
		}
	}
	for _, b := range a.large {
		if b != nil {
			t.Error("a large block is kept after it was freed")
		}
	}
	if a.inUse != 0 || buffers > numClass {
		t.Errorf("with all blocks freed, %d are in use and %d chunks are kept", a.inUse, buffers)
	}
}

// A block that comes and goes at the edge of a chunk costs no allocation.
func TestArenaEdge(t *testing.T) {
	var a arena
	for range chunkSize / 128 {
		a.alloc(128)
	}
	if n := testing.AllocsPerRun(100, func() { a.free(a.alloc(128)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
