package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

const testLogID = 0xfeedface

// small is a log whose segments fill up quickly.
var small = Options{SegmentSize: 8 << 10, CacheSize: 4 << 10, LogID: testLogID}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 2)) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func entry(index, term uint64, data string) *raftpb.Entry {
	return &raftpb.Entry{Index: &index, Term: &term, Data: []byte(data)}
}

// run returns n entries from first on, each with size bytes that tell it apart.
func run(first, term uint64, n, size int) []*raftpb.Entry {
	ents := make([]*raftpb.Entry, n)
	for i := range ents {
		stamp := fmt.Sprintf("%d/%d.", first+uint64(i), term)
		ents[i] = entry(first+uint64(i), term, string(bytes.Repeat([]byte(stamp), size/len(stamp)+1)[:size]))
	}
	return ents
}

func hardStateMsg(term, vote, commit uint64) *raftpb.HardState {
	return &raftpb.HardState{Term: &term, Vote: &vote, Commit: &commit}
}

func mustOpen(t testing.TB, fs vfs.FS, opt Options) (*Log, Recovered) {
	t.Helper()
	l, rec, err := OpenLog(fs, "log", opt)
	check(t, err)
	return l, rec
}

func appendSync(t testing.TB, l *Log, b Batch) {
	t.Helper()
	check(t, l.Append(b))
	check(t, l.Sync())
}

// all returns what the log holds, read in pieces of at most max bytes.
func all(t testing.TB, l *Log, max uint64) []*raftpb.Entry {
	t.Helper()
	lo, _ := l.FirstIndex()
	last, _ := l.LastIndex()
	var got []*raftpb.Entry
	for lo <= last {
		ents, err := l.Entries(lo, last+1, max)
		check(t, err)
		if len(ents) == 0 {
			t.Fatalf("Entries(%d, %d) is empty", lo, last+1)
		}
		got = append(got, ents...)
		lo += uint64(len(ents))
	}
	return got
}

func sameEntries(t testing.TB, got, want []*raftpb.Entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i := range want {
		if !proto.Equal(got[i], want[i]) {
			t.Fatalf("entry %d is %v, want %v", i, got[i], want[i])
		}
	}
}

func TestLogKeepsWhatWasAppended(t *testing.T) {
	fs := vfs.NewMem(nil)
	l, rec := mustOpen(t, fs, small)
	if !rec.Created || rec.FirstIndex != 1 || rec.LastIndex != 0 || rec.HardState != nil {
		t.Fatalf("a new log is %+v", rec)
	}
	var want []*raftpb.Entry
	for i := range 60 {
		ents := run(uint64(len(want))+1, uint64(1+i/20), 1+i%5, 100+i)
		if i%7 == 0 {
			ents[0].Type = raftpb.EntryConfChangeV2.Enum()
			ents[0].Data = nil
		}
		if i%9 == 0 {
			ents[0].Data = []byte{}
		}
		want = append(want, ents...)
		check(t, l.Append(Batch{Entries: ents, HardState: hardStateMsg(uint64(1+i/20), 7, uint64(len(want)-1))}))
		sameEntries(t, all(t, l, math.MaxUint64), want) // before any sync
		check(t, l.Prepare())
	}
	if s := l.Stats(); s.Segments < 3 || s.CacheBytes > small.CacheSize || s.Entries != len(want) {
		t.Fatalf("stats: %+v", s)
	}
	check(t, l.Close())
	if err := l.Append(Batch{Entries: run(1, 1, 1, 1)}); !errors.Is(err, ErrClosed) {
		t.Fatalf("Append after Close = %v", err)
	}

	for _, max := range []uint64{0, 300, 2000, math.MaxUint64} {
		l, rec = mustOpen(t, fs, small)
		if rec.Created || rec.Cut != nil || rec.LastIndex != uint64(len(want)) ||
			!proto.Equal(rec.HardState, hardStateMsg(3, 7, uint64(len(want)-1))) {
			t.Fatalf("recovered %+v", rec)
		}
		sameEntries(t, all(t, l, max), want)
		check(t, l.Close())
	}
}

// TestEntriesIsARaftStorage compares with raft's own storage in memory.
func TestEntriesIsARaftStorage(t *testing.T) {
	l, _ := mustOpen(t, vfs.NewMem(nil), Options{SegmentSize: 8 << 10, CacheSize: 2000})
	ref := raft.NewMemoryStorage()
	for i := range 30 {
		ents := run(uint64(1+i*4), 1, 4, 150*(i%3))
		check(t, l.Append(Batch{Entries: ents, HardState: hardStateMsg(1, 0, 0)}))
		check(t, ref.Append(ents))
	}
	check(t, l.Compact(50))
	check(t, ref.Compact(50))
	if err := l.Compact(20); err != nil {
		t.Fatalf("Compact of what is gone = %v", err)
	}
	if err := l.Compact(121); !errors.Is(err, ErrRefused) {
		t.Fatalf("Compact beyond the end = %v", err)
	}
	for lo := uint64(48); lo <= 121; lo++ {
		gotTerm, gotErr := l.Term(lo)
		wantTerm, wantErr := ref.Term(lo)
		if gotTerm != wantTerm || gotErr != wantErr {
			t.Fatalf("Term(%d) = %d, %v; want %d, %v", lo, gotTerm, gotErr, wantTerm, wantErr)
		}
		for _, hi := range []uint64{lo + 1, lo + 9, 121} {
			if hi > 121 || hi <= lo {
				continue
			}
			for _, max := range []uint64{0, 1, 157, 158, 159, 300, 1000, 4000, math.MaxUint64} {
				got, gotErr := l.Entries(lo, hi, max)
				want, wantErr := ref.Entries(lo, hi, max)
				if gotErr != wantErr {
					t.Fatalf("Entries(%d, %d, %d) = %v, want %v", lo, hi, max, gotErr, wantErr)
				}
				sameEntries(t, got, want)
			}
		}
	}
	if _, err := l.Entries(60, 122, 0); err != raft.ErrUnavailable {
		t.Fatalf("Entries beyond the end = %v", err)
	}
	first, _ := l.FirstIndex()
	last, _ := l.LastIndex()
	if first != 51 || last != 120 {
		t.Fatalf("entries %d to %d", first, last)
	}
}

func TestNewLeaderOverwritesTheTail(t *testing.T) {
	fs := vfs.NewMem(nil)
	l, _ := mustOpen(t, fs, small)
	check(t, l.Append(Batch{Entries: run(1, 1, 30, 500), HardState: hardStateMsg(1, 0, 10)}))
	check(t, l.Append(Batch{Entries: run(31, 1, 2, 10)}))
	check(t, l.Append(Batch{Entries: run(20, 2, 5, 10), HardState: hardStateMsg(2, 3, 10)}))
	want := append(run(1, 1, 19, 500), run(20, 2, 5, 10)...)
	sameEntries(t, all(t, l, 1000), want)
	if _, err := l.Term(25); err != raft.ErrUnavailable {
		t.Fatalf("Term of an overwritten entry = %v", err)
	}
	check(t, l.Sync())
	fs.Crash(newRand(1))
	l, rec := mustOpen(t, fs, small)
	if rec.LastIndex != 24 {
		t.Fatalf("recovered %+v", rec)
	}
	sameEntries(t, all(t, l, math.MaxUint64), want)
}

func TestAppendRefusesWhatRaftNeverDoes(t *testing.T) {
	l, _ := mustOpen(t, vfs.NewMem(nil), small)
	check(t, l.Reset(10, 2))
	appendSync(t, l, Batch{Entries: run(11, 3, 5, 10), HardState: hardStateMsg(3, 1, 12)})
	bad := run(16, 3, 1, 1)
	bad[0].Type = raftpb.EntryType(300).Enum()
	for name, b := range map[string]Batch{
		"gap":               {Entries: run(17, 3, 1, 1)},
		"gap within":        {Entries: []*raftpb.Entry{entry(16, 3, ""), entry(18, 3, "")}},
		"over committed":    {Entries: run(12, 4, 1, 1)},
		"over compacted":    {Entries: run(10, 4, 1, 1)},
		"older term":        {Entries: run(16, 2, 1, 1)},
		"older term within": {Entries: []*raftpb.Entry{entry(16, 4, ""), entry(17, 3, "")}},
		"unknown type":      {Entries: bad},
		"term back":         {HardState: hardStateMsg(2, 1, 12)},
		"second vote":       {HardState: hardStateMsg(3, 2, 12)},
		"commit back":       {HardState: hardStateMsg(3, 1, 11)},
		"commit beyond":     {HardState: hardStateMsg(3, 1, 16)},
	} {
		if err := l.Append(b); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: Append = %v", name, err)
		}
	}
	if err := l.Reset(11, 3); !errors.Is(err, ErrRefused) {
		t.Errorf("Reset below the commit index = %v", err)
	}
	sameEntries(t, all(t, l, 0), run(11, 3, 5, 10))
	appendSync(t, l, Batch{Entries: run(16, 3, 1, 1)})
	before := l.Stats()
	check(t, l.Append(Batch{}))
	check(t, l.Append(Batch{HardState: l.HardState()})) // no news
	if l.Stats() != before || l.Err() != nil {
		t.Fatalf("refusals and empty batches changed the log: %+v, %v", l.Stats(), l.Err())
	}
}

func TestBatchLargerThanASegment(t *testing.T) {
	for _, prepared := range []bool{false, true} {
		fs := vfs.NewMem(nil)
		l, _ := mustOpen(t, fs, small)
		want := run(1, 1, 3, 1000)
		appendSync(t, l, Batch{Entries: want})
		if prepared {
			check(t, l.Prepare())
		}
		big := run(4, 1, 2, 20_000)
		appendSync(t, l, Batch{Entries: big, HardState: hardStateMsg(1, 1, 5)})
		last := run(6, 1, 20, 900)
		appendSync(t, l, Batch{Entries: last})
		want = append(append(want, big...), last...)
		fs.Crash(newRand(3))
		l, _ = mustOpen(t, fs, small)
		sameEntries(t, all(t, l, 5000), want)
		check(t, l.Close())
	}
}

func TestCompactDeletesSegmentsAndUsesThemAgain(t *testing.T) {
	fs := vfs.NewMem(nil)
	l, _ := mustOpen(t, fs, small)
	next, recycled := uint64(1), false
	for range 40 {
		for range 6 {
			appendSync(t, l, Batch{Entries: run(next, 1, 1, 700), HardState: hardStateMsg(1, 0, next)})
			next++
			check(t, l.Prepare())
		}
		check(t, l.Compact(next-4))
		recycled = recycled || l.active().recycled
		if s := l.Stats(); s.Segments > 2 {
			t.Fatalf("%d segments hold three entries", s.Segments)
		}
		// What is left of a segment's former life is not a torn tail.
		if _, rec := mustOpen(t, fs.Clone(), small); rec.Cut != nil {
			t.Fatalf("cut from a log that was synced: %v", rec.Cut)
		}
	}
	if !recycled {
		t.Fatal("no segment was used again")
	}
	names, _ := fs.List("log")
	if len(names) > 4 {
		t.Fatalf("the directory holds %v", names)
	}
	want := all(t, l, 0)
	for seed := range uint64(20) {
		fs := fs.Clone()
		fs.Crash(newRand(seed))
		l, rec := mustOpen(t, fs, small)
		if rec.FirstIndex != next-3 || rec.Cut != nil {
			t.Fatalf("recovered %+v", rec)
		}
		if term, err := l.Term(next - 4); err != nil || term != 1 {
			t.Fatalf("Term before the first entry = %d, %v", term, err)
		}
		sameEntries(t, all(t, l, 0), want)
	}
}

func TestReset(t *testing.T) {
	fs := vfs.NewMem(nil)
	l, _ := mustOpen(t, fs, small)
	appendSync(t, l, Batch{Entries: run(1, 1, 20, 700), HardState: hardStateMsg(2, 5, 15)})
	check(t, l.Reset(100, 4))
	if s := l.Stats(); s.Segments != 1 || s.Entries != 0 || s.CacheBytes != 0 {
		t.Fatalf("after Reset: %+v", s)
	}
	fs.Crash(newRand(1))
	l, rec := mustOpen(t, fs, small)
	// The term rises to the snapshot's, in which no vote was cast.
	if rec.FirstIndex != 101 || rec.LastIndex != 100 || !proto.Equal(rec.HardState, hardStateMsg(4, 0, 100)) {
		t.Fatalf("recovered %+v", rec)
	}
	if term, err := l.Term(100); term != 4 || err != nil {
		t.Fatalf("Term = %d, %v", term, err)
	}
	if _, err := l.Entries(100, 101, 0); err != raft.ErrCompacted {
		t.Fatalf("Entries = %v", err)
	}
	appendSync(t, l, Batch{Entries: run(101, 5, 3, 10), HardState: hardStateMsg(5, 1, 101)})
	sameEntries(t, all(t, l, 0), run(101, 5, 3, 10))
}

func TestMustExistAndForeignSegments(t *testing.T) {
	fs := vfs.NewMem(nil)
	opt := small
	opt.MustExist = true
	if _, _, err := OpenLog(fs, "log", opt); err == nil {
		t.Fatal("a lost log was replaced by a new one")
	}
	l, _ := mustOpen(t, fs, small)
	check(t, l.Close())
	l, _ = mustOpen(t, fs, opt)
	check(t, l.Close())
	opt.LogID++
	var corrupt *CorruptError
	if _, _, err := OpenLog(fs, "log", opt); !errors.As(err, &corrupt) {
		t.Fatalf("another member's log opens: %v", err)
	}
	opt.LogID = 0
	l, _ = mustOpen(t, fs, opt)
	if l.ID() != testLogID {
		t.Fatalf("log id = %x", l.ID())
	}
	for _, name := range []string{"x.log", "2.log", "0000000000000000.log"} {
		fs := fs.Clone()
		_, err := fs.Create("log/" + name)
		check(t, err)
		if _, _, err := OpenLog(fs, "log", small); err == nil {
			t.Errorf("%s passes for a segment", name)
		}
	}
	other := vfs.NewMem(nil)
	foreign, _, err := OpenLog(other, "log", Options{SegmentSize: 8 << 10})
	check(t, err)
	if foreign.ID() == 0 {
		t.Error("a log without an id")
	}
	for _, size := range []int64{1, 2 << 30} {
		if _, _, err := OpenLog(other, "log2", Options{SegmentSize: size}); err == nil {
			t.Errorf("segment size %d passes", size)
		}
	}
}

// TestSegmentIsNotUsedAgainUnderAReader: a reader that has begun must find what
// it was told to read.
func TestSegmentIsNotUsedAgainUnderAReader(t *testing.T) {
	opt := small
	opt.CacheSize = 1
	l, _ := mustOpen(t, vfs.NewMem(nil), opt)
	want := run(1, 1, 4, 700)
	appendSync(t, l, Batch{Entries: want, HardState: hardStateMsg(1, 1, 4)})
	slots := make([]slot, len(want))
	for i := range slots {
		slots[i] = *l.index.at(uint64(1 + i))
	}
	reading := l.segs[0]
	reading.retain()
	for i := uint64(5); i < 40; i++ {
		appendSync(t, l, Batch{Entries: run(i, 1, 1, 700), HardState: hardStateMsg(1, 1, i)})
		check(t, l.Compact(i-1))
	}
	got := make([]*raftpb.Entry, len(want))
	check(t, readEntries(got, slots, 1, []*segment{reading}))
	sameEntries(t, got, want)
	check(t, reading.release())
	if err := readEntries(got, slots, 1, []*segment{reading}); err == nil {
		t.Fatal("the last reader did not close the file")
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	l, _, err := OpenLog(vfs.OS(), t.TempDir(), Options{SegmentSize: 16 << 20})
	check(t, err)
	ents, hs, next := run(1, 1, 4, 200), hardStateMsg(1, 1, 0), uint64(1)
	allocs := testing.AllocsPerRun(3000, func() {
		*hs.Commit = next - 1
		for _, e := range ents {
			*e.Index = next
			next++
		}
		check(t, l.Append(Batch{Entries: ents, HardState: hs}))
	})
	if allocs > 0 {
		t.Fatalf("%v allocations per append", allocs)
	}
	check(t, l.Close())
}

// TestCompactOvertakesAnAppend: the state machine has applied, snapshotted and
// compacted what raft committed, and the log's goroutine still has hard states
// in its queue from before that.
func TestCompactOvertakesAnAppend(t *testing.T) {
	fs := vfs.NewMem(nil)
	l, _ := mustOpen(t, fs, small)
	check(t, l.Append(Batch{Entries: run(1, 1, 10, 10), HardState: hardStateMsg(1, 1, 2)}))
	check(t, l.Compact(8))
	check(t, l.Append(Batch{HardState: hardStateMsg(1, 1, 5)}))
	check(t, l.Append(Batch{Entries: run(11, 2, 1, 10), HardState: hardStateMsg(2, 0, 7)}))
	check(t, l.Sync())
	fs.Crash(newRand(1))
	if _, rec := mustOpen(t, fs, small); !proto.Equal(rec.HardState, hardStateMsg(2, 0, 8)) {
		t.Fatalf("recovered %+v", rec)
	}
}
