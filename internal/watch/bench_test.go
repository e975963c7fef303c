package watch

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
)

func nobody(int, jute.EventType, string) {}

func TestHotPathsDoNotAllocate(t *testing.T) {
	tab := New[int]()
	allocs := func(what string, f func()) {
		t.Helper()
		f() // grow what grows once
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations, want none", what, n)
		}
	}
	allocs("a change where nobody watches anything", func() { tab.DataChanged("/a/b/c", nobody) })
	tab.Add(1, "/elsewhere", Data)
	allocs("a change where nobody watches the path", func() { tab.Created("/a/b/c", nobody) })
	tab.Add(1, "/a", PersistentRecursive)
	tab.Add(2, "/a/b", Persistent)
	allocs("a change that persistent watches see", func() {
		if n := tab.Created("/a/b/c", nobody); n != 2 {
			t.Fatalf("%d events, want 2", n)
		}
	})
	allocs("a one-shot watch on a path that stays watched", func() {
		tab.Add(3, "/a/b", Data)
		if n := tab.DataChanged("/a/b", nobody); n != 3 {
			t.Fatalf("%d events, want 3", n)
		}
	})
}

func BenchmarkChangeNoWatches(b *testing.B) {
	tab := New[int]()
	b.ReportAllocs()
	for b.Loop() {
		tab.Created("/app/queue/item-0000000001", nobody)
	}
}

func BenchmarkChangeOthersWatched(b *testing.B) {
	for _, recursive := range []bool{false, true} {
		b.Run(fmt.Sprintf("recursive=%v", recursive), func(b *testing.B) {
			tab := New[int]()
			for i := range 100_000 {
				tab.Add(i%1000, fmt.Sprintf("/app/other/item-%010d", i), Data)
			}
			if recursive {
				tab.Add(1, "/elsewhere", PersistentRecursive)
			}
			b.ReportAllocs()
			for b.Loop() {
				tab.Created("/app/queue/item-0000000001", nobody)
			}
		})
	}
}

func BenchmarkOneShot(b *testing.B) {
	tab := New[int]()
	tab.Add(2, "/elsewhere", Data)
	b.ReportAllocs()
	for b.Loop() {
		tab.Add(1, "/app/config", Data)
		tab.DataChanged("/app/config", nobody)
	}
}

func BenchmarkChangeSeenBy(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			tab := New[int]()
			for w := range n {
				tab.Add(w, "/app/config", Persistent)
			}
			b.ReportAllocs()
			for b.Loop() {
				tab.DataChanged("/app/config", nobody)
			}
		})
	}
}

// One connection with 100,000 watches closes, on paths that 20 watch.
func BenchmarkRemoveAll(b *testing.B) {
	const paths, others = 100_000, 20
	names := make([]string, paths)
	for i := range names {
		names[i] = fmt.Sprintf("/app/other/item-%010d", i)
	}
	tab := New[int]()
	for w := range others {
		for _, p := range names {
			tab.Add(w, p, Data)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for _, p := range names {
			tab.Add(others, p, Data)
		}
		b.StartTimer()
		tab.RemoveAll(others)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/paths, "ns/watch")
}

// A million watches of 1,000 connections, each on a path of its own.
func BenchmarkMemory(b *testing.B) {
	const n = 1_000_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := heap()
		tab := New[int]()
		for i := range n {
			tab.Add(i%1000, fmt.Sprintf("/app/other/item-%010d", i), Data)
		}
		b.ReportMetric(float64(heap()-before)/n, "B/watch")
		runtime.KeepAlive(tab)
	}
}
