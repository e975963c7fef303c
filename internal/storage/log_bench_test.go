package storage

import (
	"fmt"
	"math"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// benchLog is a log on the real disk that compacts itself as it grows: its size
// stays bounded however long the benchmark runs, and it reaches the state in
// which segments are used again.
type benchLog struct {
	b    *testing.B
	log  *Log
	next uint64
	ents []*raftpb.Entry
}

func newBenchLog(b *testing.B, fs vfs.FS, opt Options, dir string, perBatch, size int) *benchLog {
	l, _, err := OpenLog(fs, dir, opt)
	check(b, err)
	b.Cleanup(func() { check(b, l.Close()) })
	return &benchLog{b: b, log: l, next: 1, ents: run(1, 1, perBatch, size)}
}

// append uses the same messages for every batch, against the rule: nobody reads
// these from the cache, and making new ones is not what is measured.
func (l *benchLog) append() {
	for _, e := range l.ents {
		*e.Index = l.next
		l.next++
	}
	if err := l.log.Append(Batch{Entries: l.ents}); err != nil {
		l.b.Fatal(err)
	}
	if l.next%(1<<16) < uint64(len(l.ents)) {
		l.b.StopTimer()
		check(l.b, l.log.Compact(l.next-100))
		check(l.b, l.log.Prepare())
		l.b.StartTimer()
	}
}

var benchSizes = []struct{ entries, size int }{{1, 256}, {16, 256}, {64, 1024}}

// BenchmarkAppend is an append without a sync: encoding, one write, the index.
func BenchmarkAppend(b *testing.B) {
	for _, s := range benchSizes {
		b.Run(fmt.Sprintf("%dx%d", s.entries, s.size), func(b *testing.B) {
			l := newBenchLog(b, vfs.OS(), Options{}, b.TempDir(), s.entries, s.size)
			for range 2000 { // a steady state
				l.append()
			}
			b.SetBytes(int64(s.entries * s.size))
			b.ReportAllocs()
			for b.Loop() {
				l.append()
			}
		})
	}
}

// BenchmarkAppendSync is what a write waits for on its member's disk.
func BenchmarkAppendSync(b *testing.B) {
	for _, s := range benchSizes {
		b.Run(fmt.Sprintf("%dx%d", s.entries, s.size), func(b *testing.B) {
			l := newBenchLog(b, vfs.OS(), Options{}, b.TempDir(), s.entries, s.size)
			b.SetBytes(int64(s.entries * s.size))
			b.ReportAllocs()
			for b.Loop() {
				l.append()
				if err := l.log.Sync(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRecover opens a log of 128 MiB.
func BenchmarkRecover(b *testing.B) {
	dir := b.TempDir()
	l, _, err := OpenLog(vfs.OS(), dir, Options{})
	check(b, err)
	const perBatch, size = 64, 1024
	var written int64
	for next := uint64(1); written < 128<<20; next += perBatch {
		check(b, l.Append(Batch{Entries: run(next, 1, perBatch, size)}))
		written += perBatch * size
	}
	check(b, l.Close())
	b.SetBytes(written)
	b.ReportAllocs()
	for b.Loop() {
		l, _, err := OpenLog(vfs.OS(), dir, Options{})
		check(b, err)
		check(b, l.Close())
	}
}

// BenchmarkEntries reads 100 entries of 256 bytes.
func BenchmarkEntries(b *testing.B) {
	for name, cache := range map[string]int{"cache": 0, "disk": 1} {
		b.Run(name, func(b *testing.B) {
			l, _, err := OpenLog(vfs.OS(), b.TempDir(), Options{CacheSize: cache})
			check(b, err)
			defer l.Close()
			for i := range uint64(200) {
				check(b, l.Append(Batch{Entries: run(1+i*5, 1, 5, 256)}))
			}
			b.SetBytes(100 * 256)
			b.ReportAllocs()
			for b.Loop() {
				if ents, err := l.Entries(300, 400, math.MaxUint64); err != nil || len(ents) != 100 {
					b.Fatal(len(ents), err)
				}
			}
		})
	}
}
