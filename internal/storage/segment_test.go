package storage

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// The next segment is made with the present one: two bytes for each that is
// written, a piece at a time, and all of it when that is half full.
func TestPrepareKeepsPace(t *testing.T) {
	const size, batch = 16 << 20, 200 << 10
	const piece = size / preparePieces
	made, steps, pace := int64(0), 0, false
	fs := vfs.NewMem(func(op vfs.Op, file string, off int64, _ int) error {
		if op == vfs.OpPreallocate && path.Base(file) == nextTemp {
			if steps++; pace && off-made > piece {
				t.Errorf("%d bytes are made at once, behind %d", off-made, made)
			}
			made = off
		}
		return nil
	})
	l, _ := mustOpen(t, fs, Options{SegmentSize: size})
	made, steps, pace = 0, 0, true
	index := uint64(1)
	write := func() int64 {
		appendSync(t, l, Batch{Entries: run(index, 1, 1, batch)})
		index++
		check(t, l.Prepare())
		return l.end
	}
	for end := write(); end < size/2; end = write() {
		if made > 2*end || made < 2*end-piece {
			t.Fatalf("with %d bytes written, %d of the next segment are made", end, made)
		}
	}
	if made != size || steps != size/piece || l.next == nil || l.making != nil {
		t.Fatalf("half full: %d bytes are made, in %d steps", made, steps)
	}
	// What is half made is finished when it is needed, and is not left behind.
	made = 0
	for l.active().seq == 1 {
		write()
	}
	for range 5 {
		write()
	}
	if made == 0 || made > size/2 {
		t.Fatalf("%d bytes of the third segment are made", made)
	}
	pace = false
	appendSync(t, l, Batch{Entries: run(index, 1, 1, size-(1<<20))})
	if l.active().seq != 3 {
		t.Fatal("a batch that did not fit is in the old segment")
	}
	index++
	want := readState(t, l)
	check(t, l.Close())
	if names, err := fs.List("log"); err != nil || len(names) != 3 {
		t.Fatalf("left behind: %v, %v", names, err)
	}
	l, _ = mustOpen(t, fs, Options{SegmentSize: size})
	if got := readState(t, l); !got.equal(want) {
		t.Fatal("the log differs after a restart")
	}
	for range 5 {
		write()
	}
	check(t, l.Close())
	if _, err := fs.Stat("log/" + nextTemp); err == nil {
		t.Error("a segment that was being made is left behind")
	}
}

// What compaction frees while the next segment is made of what it freed before
// gets in nobody's way.
func TestCompactWhileTheNextIsMade(t *testing.T) {
	fs, opt := vfs.NewMem(nil), Options{SegmentSize: 64 << 10, Spares: 2}
	l, _ := mustOpen(t, fs, opt)
	w := newFiller(t, l)
	w.fillTo(5)
	check(t, l.Compact(w.first[2]-1))
	if len(l.spares) != 1 || l.making != nil {
		t.Fatalf("the spares are %v; being made is %v", l.spares, l.making)
	}
	for l.making == nil {
		w.write()
		check(t, l.Prepare())
	}
	if !l.making.recycled || l.next != nil || len(l.spares) != 0 {
		t.Fatalf("made of the spare: %v; ready: %v; spares: %v", l.making.recycled, l.next != nil, l.spares)
	}
	// Three more: two are kept, the third is not.
	check(t, l.Compact(w.first[5]-1))
	if len(l.spares) != 2 || l.making == nil {
		t.Fatalf("the spares are %v; being made is %v", l.spares, l.making)
	}
	names, err := fs.List("log")
	check(t, err)
	if want := []string{segmentName(5), nextTemp, spareTemp(2), spareTemp(3)}; !slices.Equal(names, want) {
		t.Fatalf("there are %v, not %v", names, want)
	}
	w.fillTo(8)
	// Three are freed, then none: one is enough then.
	check(t, l.Compact(w.index-2))
	w.write()
	check(t, l.Compact(w.index-2))
	if names, err := fs.List("log"); err != nil || len(l.spares) != 1 || countSpares(names) != 1 {
		t.Fatalf("the spares are %v; there are %v, %v", l.spares, names, err)
	}
	want := readState(t, l)
	check(t, l.Close())
	l, _ = mustOpen(t, fs, opt)
	if got := readState(t, l); !got.equal(want) {
		t.Error("the log differs after a restart")
	}
	check(t, l.Close())
}

func countSpares(names []string) (n int) {
	for _, name := range names {
		if strings.HasPrefix(name, sparePrefix) {
			n++
		}
	}
	return n
}

// Nobody who writes waits while the disk deletes what was compacted.
func TestDeletingHoldsUpNobody(t *testing.T) {
	var l *Log
	deleted := 0
	fs := vfs.NewMem(func(op vfs.Op, file string, _ int64, _ int) error {
		if op == vfs.OpRemove && strings.HasSuffix(file, segmentSuffix) {
			deleted++
			for name, mu := range map[string]interface {
				TryLock() bool
				Unlock()
			}{"wmu": &l.wmu, "pmu": &l.pmu, "mu": &l.mu} {
				if !mu.TryLock() {
					t.Errorf("%s is held while %s is deleted", name, file)
					continue
				}
				mu.Unlock()
			}
		}
		return nil
	})
	l, _ = mustOpen(t, fs, Options{SegmentSize: 64 << 10, Spares: 1})
	w := newFiller(t, l)
	w.fillTo(6)
	check(t, l.Compact(w.first[6]-1))
	if deleted != 4 || len(l.spares) != 1 { // of five
		t.Fatalf("%d segments were deleted and %d kept", deleted, len(l.spares))
	}
	check(t, l.Close())
}

// filler appends entries, one a batch.
type filler struct {
	t     *testing.T
	l     *Log
	index uint64
	first map[uint32]uint64 // the first entry of each segment
}

func newFiller(t *testing.T, l *Log) *filler {
	return &filler{t: t, l: l, index: 1, first: map[uint32]uint64{1: 1}}
}

func (w *filler) write() {
	w.t.Helper()
	appendSync(w.t, w.l, Batch{Entries: run(w.index, 1, 1, 2<<10)})
	if seq := w.l.active().seq; w.first[seq] == 0 {
		w.first[seq] = w.index
	}
	w.index++
}

// fillTo writes until seq is the active segment.
func (w *filler) fillTo(seq uint32) {
	w.t.Helper()
	for w.l.active().seq < seq {
		w.write()
	}
}
