package member

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go's collector lets the heap grow in proportion to what lives in it. Here most
// of that is the tree, which holds no pointers and costs nothing to collect
// around, so a proportion that suits a small heap would double the memory of a
// large one for nothing. The headroom is set in bytes instead: heapHeadroom, or
// heapShare percent of what lives, whichever is more.
const (
	heapHeadroom = 32 << 20
	heapShare    = 15
	heapEvery    = time.Second
)

// gcPercent returns the collector's percentage for a heap of live bytes.
func gcPercent(live uint64) int {
	room := max(heapHeadroom, live*heapShare/100)
	return int(min(room*100/max(live, 1), 400))
}

// tuneMemory keeps the heap's headroom right until stop is closed. Whoever sets
// GOGC or GOMEMLIMIT knows better.
func tuneMemory(stop <-chan struct{}) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	ticker := time.NewTicker(heapEvery)
	defer ticker.Stop()
	for set := 0; ; {
		metrics.Read(sample)
		if p := gcPercent(sample[0].Value.Uint64()); p != set {
			debug.SetGCPercent(p)
			set = p
		}
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
	}
}
