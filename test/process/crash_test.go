package process

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// small makes files come and go every few writes.
func small(dir string) plan {
	return plan{DataDir: dir, SnapCount: 3, SegmentSize: 8 << 10, Spares: 1, KeepEntries: 4}
}

// all asks for every crash point instead of a choice.
var all = os.Getenv("PROCESS_ALL") != ""

var seedOnce = sync.OnceValues(func() (uint64, error) {
	if text := os.Getenv("PROCESS_SEED"); text != "" {
		return strconv.ParseUint(text, 10, 64)
	}
	return uint64(time.Now().UnixNano() % 1e9), nil
})

// seed returns this run's seed and prints it.
func seed(t testing.TB) uint64 {
	t.Helper()
	n, err := seedOnce()
	if err != nil {
		t.Fatalf("PROCESS_SEED: %v", err)
	}
	t.Logf("PROCESS_SEED=%d", n)
	return n
}

// live runs one process on the history: what was answered before must be there,
// and then it is written to, until the process crashes or there were enough
// edits. It returns the step at which it crashed; ok is false if that never came.
func (h *history) live(p plan, edits int) (at step, ok bool) {
	h.t.Helper()
	s := startMember(h.t, p)
	err := s.serving()
	if err == nil {
		err = h.resume(s)
	}
	if err == nil {
		err = h.write(edits)
	}
	if err == nil {
		if err := s.p.Kill(); err != nil {
			h.t.Fatal(err)
		}
		return step{}, false
	}
	if got := s.exit(); got != "killed" {
		h.t.Fatalf("%v: the process ended with %s\n%s", err, got, tail(s.log.String(), 30))
	}
	s.checkLog()
	steps := s.report().Steps
	return steps[len(steps)-1], true
}

// survive runs one more process, which is not to crash, and ends it in order.
func (h *history) survive(p plan) {
	h.t.Helper()
	p.Crash = nil
	s := startMember(h.t, p).mustServe()
	if err := h.resume(s); err != nil {
		h.t.Fatal(err)
	}
	if err := h.write(5); err != nil {
		h.t.Fatal(err)
	}
	s.stop()
}

// crashKinds are the ways in which a process comes to its end.
var crashKinds = []struct {
	name      string
	powerLoss bool
}{{"killed", false}, {"power lost", true}}

func (h *history) moment() moment { return []moment{before, torn, after}[h.rand.IntN(3)] }

// TestCrashAnywhere goes through the steps of a member's life one by one, each
// process being the next one's past.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	seed := seed(t)
	for k, kind := range crashKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, seed)
			p := small(dataDir(t))
			crashes := 0
			for at := 1; at <= 300; at++ {
				// Between them the two kinds have every point.
				if !all && at%2 != k && h.rand.IntN(20) > 0 {
					continue
				}
				p.Crash = &crash{At: at, When: h.moment(), PowerLoss: kind.powerLoss, Seed: h.rand.Uint64()}
				if _, ok := h.live(p, at/4); ok {
					crashes++
				}
			}
			h.survive(p)
			t.Logf("%d crashes, %d edits", crashes, h.count)
		})
	}
}

// TestCrashWhileFounding crashes the first process of an ensemble, at every
// step until it has its first write.
func TestCrashWhileFounding(t *testing.T) {
	t.Parallel()
	seed := seed(t)
	for k, kind := range crashKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				if !all && at%2 != k {
					continue
				}
				h := newHistory(t, seed+uint64(at))
				p := small(dataDir(t))
				p.Crash = &crash{At: at, When: h.moment(), PowerLoss: kind.powerLoss, Seed: h.rand.Uint64()}
				step, ok := h.live(p, 1)
				if !ok {
					t.Logf("the first write is answered after %d steps", at)
					return
				}
				h.survive(p)
				if t.Failed() {
					t.Fatalf("the crash was %s step %d, %v", p.Crash.When, at, step)
				}
			}
		})
	}
}

// stepKinds are all the kinds of change that a member makes to its disk in the
// long run.
var stepKinds = []step{
	{vfs.OpMkdirAll, classDir}, {vfs.OpLock, classLock}, {vfs.OpSyncDir, classDir},
	{vfs.OpRemove, classIdentityTemp}, {vfs.OpCreate, classIdentityTemp}, {vfs.OpWrite, classIdentityTemp},
	{vfs.OpSync, classIdentityTemp}, {vfs.OpRename, classIdentity},
	{vfs.OpWrite, classSegment}, {vfs.OpDatasync, classSegment},
	{vfs.OpCreate, classNext}, {vfs.OpPreallocate, classNext}, {vfs.OpWrite, classNext}, {vfs.OpSync, classNext},
	{vfs.OpRename, classSegment}, {vfs.OpRename, classSpare}, {vfs.OpRemove, classSegment},
	{vfs.OpRename, classNext},
	{vfs.OpCreate, classSnapshotTemp}, {vfs.OpWrite, classSnapshotTemp}, {vfs.OpSync, classSnapshotTemp},
	{vfs.OpRename, classSnapshot}, {vfs.OpRemove, classSnapshot},
}

// leftovers are changes that only a process makes that finds what an earlier
// one has left behind.
var leftovers = []step{
	{vfs.OpRemove, classNext}, {vfs.OpRemove, classSpare}, {vfs.OpRemove, classSnapshotTemp},
}

// TestCrashAtEveryKindOfStep crashes at each kind of step, wherever it comes.
func TestCrashAtEveryKindOfStep(t *testing.T) {
	t.Parallel()
	seed := seed(t)
	for _, kind := range crashKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, seed)
			p := small(dataDir(t))
			h.live(p, 60) // enough for snapshots to be purged, and segments to be recycled
			for _, s := range stepKinds {
				moments := []moment{before, torn, after}
				if !all {
					moments = []moment{h.moment()}
				}
				for _, when := range moments {
					p.Crash = &crash{At: 1, Step: &s, When: when, PowerLoss: kind.powerLoss, Seed: h.rand.Uint64()}
					if _, ok := h.live(p, 200); !ok {
						t.Errorf("no process ever came to the step %v", s)
					}
				}
			}
			h.survive(p)
		})
	}
}

// TestEveryKindOfStepIsKnown holds stepKinds to what a member does.
func TestEveryKindOfStepIsKnown(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 1)
	p := small(dataDir(t))
	for range 2 {
		s := startMember(t, p).mustServe()
		if err := h.resume(s); err != nil {
			t.Fatal(err)
		}
		if err := h.write(60); err != nil {
			t.Fatal(err)
		}
		s.stop()
		for i, step := range s.report().Steps {
			if !slices.Contains(stepKinds, step) && !slices.Contains(leftovers, step) {
				t.Errorf("step %d, %v, is of no kind in stepKinds", i+1, step)
			}
		}
	}
}

func (s step) String() string { return fmt.Sprintf("%s of %s", s.Op, s.Class) }
