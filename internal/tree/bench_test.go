package tree

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
)

// million is a tree of a million nodes of 100 bytes: a hundred parents with a
// hundred children each, and a hundred leaves below each of those.
const million = 1_000_000

// fill creates n nodes three levels deep and returns the paths of the leaves.
func fill(t *Tree, n int, data []byte) (leaves []string) {
	zxid := int64(1)
	create := func(parent NodeID, name string) NodeID {
		zxid++
		return t.Create(parent, name, NewNode{Data: data, ACL: openACL, Zxid: zxid, Now: 1_700_000_000_000 + zxid})
	}
	for left := n; ; {
		if left == 0 {
			return leaves
		}
		left--
		a := create(Root, fmt.Sprintf("app-%06d", left))
		for j := 0; j < 100 && left > 0; j++ {
			left--
			b := create(a, fmt.Sprintf("svc-%06d", left))
			for k := 0; k < 100 && left > 0; k++ {
				left--
				c := create(b, fmt.Sprintf("node-%06d", left))
				leaves = append(leaves, t.Path(c))
			}
		}
	}
}

// shuffled returns leaves in an order of which no cache knows.
func shuffled(leaves []string) []string {
	rnd := rand.New(rand.NewPCG(1, 2))
	rnd.Shuffle(len(leaves), func(i, j int) { leaves[i], leaves[j] = leaves[j], leaves[i] })
	return leaves
}

var benchSizes = []int{10_000, million}

func benchmarkTree(b *testing.B, f func(b *testing.B, t *Tree, leaves []string)) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			t := New()
			leaves := shuffled(fill(t, n, make([]byte, 100)))
			runtime.GC()
			b.ReportAllocs()
			b.ResetTimer()
			f(b, t, leaves)
		})
	}
}

func BenchmarkFind(b *testing.B) {
	benchmarkTree(b, func(b *testing.B, t *Tree, leaves []string) {
		for i := range b.N {
			if t.Find(leaves[i%len(leaves)]) == None {
				b.Fatal("not found")
			}
		}
	})
}

func BenchmarkFindMissing(b *testing.B) {
	benchmarkTree(b, func(b *testing.B, t *Tree, leaves []string) {
		for i := range leaves {
			leaves[i] += "x"
		}
		b.ResetTimer()
		for i := range b.N {
			if t.Find(leaves[i%len(leaves)]) != None {
				b.Fatal("found")
			}
		}
	})
}

func BenchmarkStatAndData(b *testing.B) {
	benchmarkTree(b, func(b *testing.B, t *Tree, leaves []string) {
		ids := make([]NodeID, len(leaves))
		for i := range leaves {
			ids[i] = t.Find(leaves[i])
		}
		var stat jute.Stat
		b.ResetTimer()
		for i := range b.N {
			id := ids[i%len(ids)]
			t.Stat(id, &stat)
			if len(t.Data(id)) != int(stat.DataLength) {
				b.Fatal("lengths differ")
			}
		}
	})
}

func BenchmarkSetData(b *testing.B) {
	benchmarkTree(b, func(b *testing.B, t *Tree, leaves []string) {
		data := make([]byte, 100)
		for i := range b.N {
			t.SetData(t.Find(leaves[i%len(leaves)]), data, int64(i), int64(i))
		}
	})
}

func BenchmarkSetDataInMulti(b *testing.B) {
	benchmarkTree(b, func(b *testing.B, t *Tree, leaves []string) {
		data := make([]byte, 100)
		for i := range b.N {
			t.Begin()
			t.SetData(t.Find(leaves[i%len(leaves)]), data, int64(i), int64(i))
			t.Commit()
		}
	})
}

func BenchmarkCreateDelete(b *testing.B) {
	benchmarkTree(b, func(b *testing.B, t *Tree, leaves []string) {
		data := make([]byte, 100)
		for i := range b.N {
			parent := t.Find(leaves[i%len(leaves)])
			id := t.Create(parent, "child", NewNode{Data: data, ACL: openACL, Zxid: int64(i), Now: int64(i)})
			t.Delete(id, int64(i))
		}
	})
}

// BenchmarkCreate creates a million nodes a time: the time per node has all
// growth in it, and the longest create is reported too.
func BenchmarkCreate(b *testing.B) {
	b.ReportAllocs()
	data, names := make([]byte, 100), make([]string, million)
	for i := range names {
		names[i] = fmt.Sprintf("node-%06d", i)
	}
	var longest time.Duration
	b.ResetTimer()
	for range b.N {
		t := New()
		var parent NodeID
		for i, name := range names {
			from := time.Now()
			if i%100 == 0 {
				parent = t.Create(Root, name, NewNode{Data: data, ACL: openACL, Zxid: int64(i)})
			} else {
				t.Create(parent, name, NewNode{Data: data, ACL: openACL, Zxid: int64(i)})
			}
			longest = max(longest, time.Since(from))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*million), "ns/node")
	b.ReportMetric(float64(longest.Microseconds()), "longest-µs")
}

func BenchmarkDelete(b *testing.B) {
	b.ReportAllocs()
	data := make([]byte, 100)
	for range b.N {
		b.StopTimer()
		t := New()
		leaves := shuffled(fill(t, million, data))
		b.StartTimer()
		for i, path := range leaves {
			t.Delete(t.Find(path), int64(i))
		}
		b.StopTimer()
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(leaves)), "ns/node")
		b.StartTimer()
	}
}

// BenchmarkMemory reports what a node of 100 bytes costs on the heap, and how
// long a garbage collection takes with a million of them.
func BenchmarkMemory(b *testing.B) {
	for range b.N {
		before := heap()
		t := New()
		fill(t, million, make([]byte, 100))
		after := heap()
		from := time.Now()
		runtime.GC()
		b.ReportMetric(float64(time.Since(from).Microseconds()), "gc-µs")
		b.ReportMetric(float64(after-before)/million, "bytes/node")
		b.ReportMetric(0, "ns/op")
		runtime.KeepAlive(t)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	t := New()
	fill(t, million, make([]byte, 100))
	buf := make([]byte, 0, 1<<21)
	runtime.GC()
	b.ResetTimer()
	size := 0
	for range b.N {
		s, err := t.BeginSnapshot()
		if err != nil {
			b.Fatal(err)
		}
		size = 0
		for done := false; !done; {
			buf, done = s.Next(buf[:0], 1<<20)
			size += len(buf)
		}
		s.Close()
	}
	b.ReportMetric(float64(size)/million, "bytes/node")
}

func BenchmarkRestore(b *testing.B) {
	t := New()
	fill(t, million, make([]byte, 100))
	s, err := t.BeginSnapshot()
	if err != nil {
		b.Fatal(err)
	}
	snapshot, _ := s.Next(nil, 1<<40)
	s.Close()
	want := t.Digest()
	t = nil
	runtime.GC()
	b.ResetTimer()
	for range b.N {
		if restore(b, snapshot, nil).Digest() != want {
			b.Fatal("another digest")
		}
	}
}
