package storage

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// batches returns the offsets of the batches in a segment, and where they end.
func batches(t *testing.T, fs vfs.FS, name string) []int64 {
	t.Helper()
	seq := parseSegmentName(name)
	seg, _, err := openSegment(fs, "log", seq)
	check(t, err)
	defer seg.release()
	r := segmentReader{seg: seg}
	offs := []int64{firstBatch}
	for {
		off := offs[len(offs)-1]
		h, ok, err := r.headerAt(off)
		check(t, err)
		if !ok {
			return offs
		}
		offs = append(offs, off+batchHeaderSize+int64(h.bodyLen))
	}
}

func patch(t *testing.T, fs vfs.FS, name string, off int64, b []byte) {
	t.Helper()
	f, err := fs.OpenReadWrite(name)
	check(t, err)
	_, err = f.WriteAt(b, off)
	check(t, err)
	check(t, f.Close())
}

// wantCorrupt opens a damaged log and wants it refused, at that place.
func wantCorrupt(t *testing.T, fs vfs.FS, file string, off int64) {
	t.Helper()
	_, rec, err := OpenLog(fs, "log", small)
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) {
		t.Fatalf("opened: %+v, %v", rec, err)
	}
	if corrupt.File != file || corrupt.Offset != off || !strings.Contains(err.Error(), fmt.Sprintf("%s is corrupt at offset %d", file, off)) {
		t.Fatalf("%v; want it at offset %d of %s", err, off, file)
	}
}

// TestDamageToWhatWasSyncedRefuses flips every byte of every batch that a later
// watermark covers, over three segments.
func TestDamageToWhatWasSyncedRefuses(t *testing.T) {
	fs := vfs.NewMem(nil)
	opt := small
	opt.SegmentSize = firstBatch + 800
	l, _ := mustOpen(t, fs, opt)
	for i := uint64(1); i <= 12; i++ {
		appendSync(t, l, Batch{Entries: run(i, 1, 1, 150), HardState: hardStateMsg(1, 1, i-1)})
	}
	want := readState(t, l)
	check(t, l.Close())
	names, err := fs.List("log")
	check(t, err)
	if len(names) < 4 {
		t.Fatalf("segments: %v", names)
	}
	for i, name := range names {
		file := path.Join("log", name)
		offs := batches(t, fs, name)
		if i == len(names)-1 {
			offs = offs[:len(offs)-1] // the mark itself is not covered
		}
		for k, off := range offs[:len(offs)-1] {
			for b := off; b < offs[k+1]; b++ {
				fs := fs.Clone()
				check(t, fs.Corrupt(file, b, byte(1<<(b%8))))
				wantCorrupt(t, fs, file, off)
				// Nothing was touched: put back, the log is whole.
				check(t, fs.Corrupt(file, b, byte(1<<(b%8))))
				l, rec := mustOpen(t, fs, opt)
				if got := readState(t, l); !got.equal(want) || rec.Cut != nil {
					t.Fatalf("recovered %+v %v", rec, got)
				}
				check(t, l.Close())
				b += 2
			}
		}
		for b := range int64(segmentHeaderSize) {
			fs := fs.Clone()
			check(t, fs.Corrupt(file, b, 0x10))
			wantCorrupt(t, fs, file, 0)
		}
	}

	for _, name := range names {
		without := fs.Clone()
		check(t, without.Remove(path.Join("log", name)))
		if _, _, err := OpenLog(without, "log", opt); err == nil || !strings.Contains(err.Error(), name) {
			t.Fatalf("without %s: %v", name, err)
		}
		cut := fs.Clone()
		f, err := cut.OpenReadWrite(path.Join("log", name))
		check(t, err)
		size, err := f.Size()
		check(t, err)
		check(t, f.Truncate(size-1))
		check(t, f.Close())
		wantCorrupt(t, cut, path.Join("log", name), size-1)
	}
}

// tornLog is a log with one synced batch group, and after it three batches that
// were not synced.
func tornLog(t *testing.T) (fs *vfs.Mem, states []logState, offs []int64) {
	t.Helper()
	fs = vfs.NewMem(nil)
	l, _ := mustOpen(t, fs, small)
	appendSync(t, l, Batch{Entries: run(1, 1, 2, 100), HardState: hardStateMsg(1, 1, 0)})
	appendSync(t, l, Batch{HardState: hardStateMsg(1, 1, 2)})
	states = append(states, readState(t, l))
	for i := uint64(3); i <= 5; i++ {
		check(t, l.Append(Batch{Entries: run(i, 2, 1, 300), HardState: hardStateMsg(2, 1, 2)}))
		states = append(states, readState(t, l))
	}
	offs = batches(t, fs, segmentName(1))
	fs.Kill()
	return fs, states, offs[len(offs)-4:]
}

func TestDamageToTheUnsyncedTailIsCut(t *testing.T) {
	fs, states, offs := tornLog(t)
	file := path.Join("log", segmentName(1))
	cut := func(name string, fs *vfs.Mem, off int64) {
		t.Helper()
		keep := 0
		for offs[keep+1] <= off {
			keep++
		}
		l, rec := mustOpen(t, fs, small)
		if got := readState(t, l); !got.equal(states[keep]) {
			t.Fatalf("%s at %d: recovered %v, want the first %d of the unsynced batches", name, off, got, keep)
		}
		if rec.Cut == nil || rec.Cut.File != file || rec.Cut.Offset != offs[keep] || rec.Cut.Bytes <= 0 ||
			!strings.Contains(rec.Cut.String(), file) {
			t.Fatalf("%s at %d: reported %v, want a cut at %d", name, off, rec.Cut, offs[keep])
		}
		// What is left is durable, clean, and can go on.
		appendSync(t, l, Batch{Entries: run(uint64(keep)+3, 7, 1, 10), HardState: hardStateMsg(7, 1, 2)})
		want := readState(t, l)
		fs.Crash(newRand(uint64(off)))
		l, rec = mustOpen(t, fs, small)
		if got := readState(t, l); !got.equal(want) || rec.Cut != nil {
			t.Fatalf("%s at %d: then recovered %+v %v, want %v", name, off, rec, got, want)
		}
	}
	for off := offs[0]; off < offs[3]; off++ {
		c := fs.Clone()
		check(t, c.Corrupt(file, off, 4))
		cut("flip", c, off)
	}
	end := offs[3]
	for off := offs[0] / vfs.SectorSize * vfs.SectorSize; off < end; off += vfs.SectorSize {
		from := max(off, offs[0])
		c := fs.Clone()
		patch(t, c, file, from, make([]byte, min(off+vfs.SectorSize, end)-from))
		cut("zeroed sector", c, from)
		c = fs.Clone()
		patch(t, c, file, from, bytes.Repeat([]byte{0xff}, int(min(off+vfs.SectorSize, end)-from)))
		cut("garbage sector", c, from)
	}
	for off := offs[0]; off < end; off += 8 {
		c := fs.Clone()
		patch(t, c, file, off, make([]byte, end-off))
		if slices.Contains(offs, off) || slices.Contains(offs, off+8) {
			continue // no trace of it, or only padding: nothing to report
		}
		cut("nothing", c, off)
	}

	// The same damage, once a later batch says that all of it was synced.
	c := fs.Clone()
	l, rec := mustOpen(t, c, small)
	if rec.Cut != nil || !readState(t, l).equal(states[3]) {
		t.Fatalf("a whole tail must be kept: %+v", rec)
	}
	check(t, l.Close())
	check(t, c.Corrupt(file, offs[2]+50, 1))
	wantCorrupt(t, c, file, offs[2])
}

// TestCutBatchesDoNotComeBack: the batch before them is written again, byte for
// byte, as it would be when the leader sends its entries again.
func TestCutBatchesDoNotComeBack(t *testing.T) {
	for _, recycled := range []bool{false, true} {
		fs, states, offs := tornLog(t)
		file := path.Join("log", segmentName(1))
		patch(t, fs, file, 0, segmentHeader{logID: testLogID, seq: 1, recycled: recycled}.encode())
		check(t, fs.Corrupt(file, offs[0]+60, 1))
		l, rec := mustOpen(t, fs, small)
		if rec.Cut == nil || rec.LastIndex != 2 {
			t.Fatalf("recovered %+v", rec)
		}
		appendSync(t, l, Batch{Entries: run(3, 2, 1, 300), HardState: hardStateMsg(2, 1, 2)})
		fs.Kill()
		l, _ = mustOpen(t, fs, small)
		if got := readState(t, l); !got.equal(states[1]) {
			t.Fatalf("recovered %v, want %v", got, states[1])
		}
	}
}

// TestBatchesAreChained puts a sound batch of another history behind a sound
// batch of this one.
func TestBatchesAreChained(t *testing.T) {
	file := path.Join("log", segmentName(1))
	var fs [2]*vfs.Mem
	for i := range fs {
		fs[i] = vfs.NewMem(nil)
		l, _ := mustOpen(t, fs[i], small)
		appendSync(t, l, Batch{Entries: []*raftpb.Entry{entry(1, 1, fmt.Sprint("history ", i))}})
		check(t, l.Append(Batch{Entries: []*raftpb.Entry{entry(2, 1, "x")}}))
		fs[i].Kill()
	}
	offs := batches(t, fs[0], segmentName(1))
	b := make([]byte, offs[3]-offs[2])
	f, err := fs[1].Open(file)
	check(t, err)
	_, err = f.ReadAt(b, offs[2])
	check(t, err)
	patch(t, fs[0], file, offs[2], b)
	_, rec := mustOpen(t, fs[0], small)
	if rec.LastIndex != 1 || rec.Cut == nil || rec.Cut.Offset != offs[2] {
		t.Fatalf("recovered %+v", rec)
	}
}

// TestSegmentWhoseNameWasNotSynced: the process died after it had renamed a new
// segment and before it had synced the directory; the next one must not trust
// the name.
func TestSegmentWhoseNameWasNotSynced(t *testing.T) {
	dead := false
	hook := func(op vfs.Op, _ string, _ int64, _ int) error {
		if dead = dead || op == vfs.OpSyncDir; dead {
			return syscall.EIO
		}
		return nil
	}
	fs := vfs.NewMem(nil)
	l, _ := mustOpen(t, fs, small)
	appendSync(t, l, Batch{Entries: run(1, 1, 6, 500)})
	fs.SetHook(hook)
	if err := l.Prepare(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Prepare = %v", err)
	}
	fs.SetHook(nil)
	fs.Kill()
	if _, err := fs.Stat(path.Join("log", segmentName(2))); err != nil {
		t.Fatalf("the segment should be there, without a durable name: %v", err)
	}
	l, _ = mustOpen(t, fs, small)
	appendSync(t, l, Batch{Entries: run(7, 1, 6, 500)})
	if l.Stats().Segments != 2 {
		t.Fatalf("stats: %+v", l.Stats())
	}
	want := readState(t, l)
	for seed := range uint64(10) {
		fs := fs.Clone()
		fs.Crash(newRand(seed))
		l, _ := mustOpen(t, fs, small)
		if got := readState(t, l); !got.equal(want) {
			t.Fatalf("seed %d: recovered %v", seed, got)
		}
	}
}

// TestEveryOperationFailsOnce runs one history again and again; each time
// another operation on the disk fails.
func TestEveryOperationFailsOnce(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		failed := 0
		for k := 1; ; k++ {
			w := &crashWorld{t: t, rng: newRand(11), opt: Options{LogID: testLogID, CacheSize: 3000}, burnt: cause, once: true}
			w.fs = vfs.NewMem(w.hook)
			w.possible = []logState{{}}
			w.fuse = k
			opt := w.opt
			opt.SegmentSize = 4500
			l, _, err := OpenLog(w.fs, "log", opt)
			if err != nil {
				if !errors.Is(err, cause) || !strings.Contains(err.Error(), "log") {
					t.Fatalf("operation %d: OpenLog = %v", k, err)
				}
				w.reopen()
				continue
			}
			w.log = l
			for n := 0; n < 120 && w.step(); n++ {
			}
			if err := l.Err(); err != nil && !errors.Is(err, ErrClosed) {
				failed++
				if !strings.Contains(err.Error(), "log/0000") {
					t.Fatalf("operation %d: %v does not name the file", k, err)
				}
			}
			done := w.fuse > 0
			w.reopen()
			if done {
				break
			}
		}
		if failed < 30 {
			t.Fatalf("%v: only %d failures of the log", cause, failed)
		}
	}
}

func TestPrepareOnAFullDiskHarmsNothing(t *testing.T) {
	full := false
	fs := vfs.NewMem(func(op vfs.Op, _ string, _ int64, _ int) error {
		if full && op == vfs.OpPreallocate {
			return syscall.ENOSPC
		}
		return nil
	})
	l, _ := mustOpen(t, fs, small)
	appendSync(t, l, Batch{Entries: run(1, 1, 5, 500)})
	full = true
	if err := l.Prepare(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), segmentName(2)) {
		t.Fatalf("Prepare = %v", err)
	}
	if names, _ := fs.List("log"); len(names) != 1 {
		t.Fatalf("left behind: %v", names)
	}
	appendSync(t, l, Batch{Entries: run(6, 1, 1, 10)})
	full = false
	appendSync(t, l, Batch{Entries: run(7, 1, 5, 500)})
	want := readState(t, l)

	full = true
	err := l.Append(Batch{Entries: run(12, 1, 10, 500)})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Append = %v", err)
	}
	full = false
	for what, again := range map[string]error{"Append": l.Append(Batch{Entries: run(12, 1, 1, 1)}), "Sync": l.Sync(),
		"Compact": l.Compact(2), "Reset": l.Reset(50, 1), "Prepare": l.Prepare()} {
		if again != err {
			t.Errorf("after the failure, %s = %v", what, again)
		}
	}
	if got := readState(t, l); !got.equal(want) {
		t.Fatal("readers must go on after a failed append")
	}
	if err := l.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Close = %v", err)
	}
	l, _ = mustOpen(t, fs, small)
	if got := readState(t, l); !got.equal(want) {
		t.Fatalf("recovered %v", got)
	}
}

// TestReadOfARottenEntry: recovery is over, and the disk returns something else
// than it was given.
func TestReadOfARottenEntry(t *testing.T) {
	var fault error
	fs := vfs.NewMem(func(op vfs.Op, _ string, _ int64, _ int) error {
		if op == vfs.OpRead {
			return fault
		}
		return nil
	})
	l, _ := mustOpen(t, fs, Options{CacheSize: 1})
	appendSync(t, l, Batch{Entries: run(1, 1, 5, 100)})
	for _, fault = range []error{vfs.ErrCorruptSector, syscall.EIO} {
		_, err := l.Entries(2, 4, 1000)
		var corrupt *CorruptError
		if errors.As(err, &corrupt) != (fault == vfs.ErrCorruptSector) || !strings.Contains(err.Error(), segmentName(1)) {
			t.Fatalf("Entries = %v", err)
		}
	}
	fault = nil
	sameEntries(t, all(t, l, 0), run(1, 1, 5, 100))
}
