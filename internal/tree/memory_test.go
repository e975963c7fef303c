package tree

import (
	"runtime"
	"testing"
)

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one's sweep frees, the second one counts
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A million nodes of 100 bytes fit in 230 MB, and a tree that has shrunk gives
// all but the index back. (BenchmarkMemory measures the million.)
func TestMemory(t *testing.T) {
	const nodes = 200_000
	before := heap()
	tr := New()
	fill(tr, nodes, make([]byte, 100))
	if per := float64(heap()-before) / nodes; per > 230 {
		t.Errorf("%.1f bytes a node", per)
	}
	for n := range nodes {
		tr.Delete(deepest(tr), int64(n))
	}
	if tr.NodeCount() != 4 {
		t.Fatalf("%d nodes left", tr.NodeCount())
	}
	if left := heap() - before; left > nodes*12 {
		t.Errorf("%d bytes kept after %d nodes", left, nodes)
	}
	runtime.KeepAlive(tr)
}

// deepest returns the leaf that is reached by way of the newest children.
func deepest(t *Tree) NodeID {
	id := Root
	for {
		first := None
		for child := range t.Children(id) {
			if child > Config {
				first = child
				break
			}
		}
		if first == None {
			return id
		}
		id = first
	}
}
