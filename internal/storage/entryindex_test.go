package storage

import "testing"

func TestEntryIndexAndCache(t *testing.T) {
	rng := newRand(7)
	x := entryIndex{first: 1}
	c := entryCache{limit: 50 * (entryOverhead + 10)}
	first, want := uint64(1), []uint64(nil) // terms
	for range 3000 {
		next := first + uint64(len(want))
		switch rng.IntN(8) {
		case 0:
			i := next - rng.Uint64N(uint64(len(want)/2)+1)
			x.truncate(i)
			c.truncate(i)
			want = want[:i-first]
		case 1:
			i := first + rng.Uint64N(uint64(len(want))/2+1)
			x.dropBefore(i)
			c.dropBefore(i)
			want, first = want[i-first:], i
		case 2:
			if rng.IntN(50) == 0 {
				first, want = next+rng.Uint64N(3000), nil
				x.reset(first)
				c.truncate(0)
			}
		default:
			for range rng.IntN(900) {
				term := rng.Uint64()
				x.push(slot{term: term})
				c.push(entry(first+uint64(len(want)), term, string(make([]byte, rng.IntN(20)))))
				want = append(want, term)
			}
		}
		if x.first != first || x.n != len(want) {
			t.Fatalf("index holds %d from %d, want %d from %d", x.n, x.first, len(want), first)
		}
		if len(x.chunks) > (x.n+chunkSlots-2)/chunkSlots+2 {
			t.Fatalf("%d chunks for %d slots", len(x.chunks), x.n)
		}
		for i, term := range want {
			if x.at(first+uint64(i)).term != term {
				t.Fatalf("slot %d has another term", first+uint64(i))
			}
		}
		weighs := 0
		for i := c.holdsFrom(x.next()); i < x.next(); i++ {
			e := c.get(i)
			weighs += weight(e)
			if e.GetIndex() != i || e.GetTerm() != want[i-first] {
				t.Fatalf("the cache has %v for entry %d", e, i)
			}
		}
		if weighs != c.bytes || weighs > c.limit || c.n > 0 && c.first < first {
			t.Fatalf("the cache weighs %d, says %d, may weigh %d", weighs, c.bytes, c.limit)
		}
	}
}
