package storage

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// Defaults of Options.
const (
	DefaultSegmentSize = 64 << 20
	DefaultCacheSize   = 16 << 20
	// DefaultSpares is as much as a gigabyte of log, the most that members write
	// from one snapshot to the next.
	DefaultSpares = 16
)

// Options of a Log. The zero value is good.
type Options struct {
	// SegmentSize in bytes, DefaultSegmentSize if zero. A batch that does not
	// fit gets a larger segment. It may change from one start to the next.
	SegmentSize int64
	// CacheSize bounds, in bytes, the latest entries kept in memory,
	// DefaultCacheSize if zero. Older ones are read from disk.
	CacheSize int
	// Spares bounds how many segments that compaction frees are kept to be used
	// again, DefaultSpares if zero. There are no more of them than the last
	// compaction has freed: as much as was written before it is what may be
	// written before the next, on no more of the disk.
	Spares int
	// LogID is written into every segment, so that a segment of another
	// member's log is recognised. A new log takes it, or a random one if it
	// is zero; with an existing log it must agree, unless it is zero.
	LogID uint64
	// MustExist makes an empty directory an error. A member that was part of
	// an ensemble and finds no log has lost its votes and must not vote.
	MustExist bool
}

// Batch is what one Append writes: entries, a hard state or both. After a crash
// either all of it is there or none.
type Batch struct {
	// Entries without a gap. The first may have any index above the commit
	// index and up to LastIndex+1; it and all after it replace what is there.
	// They must not be changed any more, the Log keeps them.
	Entries []*raftpb.Entry
	// HardState, or nil if it has not changed.
	HardState *raftpb.HardState
}

// Log is a member's write-ahead log.
//
// Append, Sync, Prepare, Compact, Reset and Close may be called from any
// goroutine; the first two are meant for one, the log's own. Readers (Entries,
// Term, FirstIndex, LastIndex, HardState) run at the same time and never wait
// for the disk on account of a writer. They are what raft.Storage wants of a log;
// InitialState and Snapshot need the snapshot's metadata as well, which is
// elsewhere.
//
// The first write or sync that fails makes the Log fail for good: from then on
// every writing call returns that error. A sync is never tried again, because
// the kernel may have dropped what it could not write and report success the
// next time. The caller stops the member.
type Log struct {
	fs  vfs.FS
	dir string
	opt Options
	id  uint64

	// wmu serializes writers. Locks are taken in the order wmu, dmu, pmu, mu.
	wmu sync.Mutex
	enc encoder
	// synced is the position up to which all is known to be durable, and the
	// watermark of the next batch. Invariant: synced <= at(active.seq, end).
	synced pos
	// lastCRC is the header checksum of the last batch, to which the next is
	// chained.
	lastCRC uint32
	// marked says that the last batch is a kindMark.
	marked bool
	placed []slot // of the batch under way; kept for its capacity

	// dmu serializes the deletion of segments. Deleting a large file takes many
	// milliseconds, and compaction frees a dozen of them: it is held without wmu and
	// pmu, so that no write waits for it.
	dmu sync.Mutex

	// pmu guards what gets segments ready. It is held while a segment is made,
	// and never while waiting for wmu.
	pmu sync.Mutex
	// next is the segment after active, made early, or nil; making is it while it
	// is not ready. Invariant: one of them is nil.
	next   *segment
	making *making
	// spares are segments that compaction freed, to be used again: a segment that
	// is made anew has to be filled with zeros first.
	spares []*segment

	// mu guards what readers see. It is never held during I/O. Writers hold it
	// to change any of this, and read it under wmu alone.
	mu   sync.RWMutex
	err  error // why the log takes no more writes
	segs []*segment
	// freed are the segments that compaction has taken out of segs, oldest first,
	// and that are yet to be deleted.
	freed []*segment
	end   int64   // where the next batch goes in the active segment, segs' last
	base  entryID // the last entry that was compacted away
	hs    hardState
	index entryIndex // Invariant: index.first == base.index+1
	cache entryCache // Invariant: holds the last cache.n entries of index
}

// Recovered tells what OpenLog found.
type Recovered struct {
	// HardState is nil if none was ever written.
	HardState *raftpb.HardState
	// FirstIndex and LastIndex of the entries; LastIndex is FirstIndex-1 if
	// there are none.
	FirstIndex, LastIndex uint64
	// Created is true if the directory held no log.
	Created bool
	// Segments that the log consists of.
	Segments int
	// Cut is what was cut off the end, or nil.
	Cut *Cut
}

// Cut describes a tail that was written but not synced when the last process
// ended, and not wholly there. Nobody was told that it was durable.
type Cut struct {
	File   string
	Offset int64 // where the log ends now
	Bytes  int64 // from there to the last trace of what was cut
	Reason string
}

func (c *Cut) String() string {
	return fmt.Sprintf("%s: cut %d unsynced bytes at offset %d: %s", c.File, c.Bytes, c.Offset, c.Reason)
}

// OpenLog opens the log in dir, or makes a new one there. Whatever the returned
// Log holds is durable, also what the last process had not synced.
//
// A damaged log is an error (*CorruptError), after which nothing has been
// changed on disk but leftover temporary files.
func OpenLog(fs vfs.FS, dir string, opt Options) (*Log, Recovered, error) {
	if opt.SegmentSize == 0 {
		opt.SegmentSize = DefaultSegmentSize
	}
	if opt.CacheSize == 0 {
		opt.CacheSize = DefaultCacheSize
	}
	if opt.Spares == 0 {
		opt.Spares = DefaultSpares
	}
	if min := int64(firstBatch + 4*batchHeaderSize + 128); opt.SegmentSize < min || opt.SegmentSize > maxBatchBody {
		return nil, Recovered{}, fmt.Errorf("segment size %d is not between %d and %d", opt.SegmentSize, min, maxBatchBody)
	}
	l := &Log{fs: fs, dir: dir, opt: opt}
	l.cache.limit = opt.CacheSize
	rec, err := l.open()
	if err != nil {
		for _, s := range l.segs {
			_ = s.f.Close()
		}
		if l.next != nil {
			_ = l.next.f.Close()
		}
		l.unmake()
		return nil, Recovered{}, fmt.Errorf("open log: %w", err)
	}
	return l, rec, nil
}

func newLogID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// ID returns the log id that is in every segment.
func (l *Log) ID() uint64 { return l.id }

// Err returns why the log takes no more writes, or nil.
func (l *Log) Err() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.err
}

// Stats is for metrics.
type Stats struct {
	Segments   int   // in use, without those made ready
	Bytes      int64 // that they take on disk
	CacheBytes int
	Entries    int
}

// Stats returns the present sizes.
func (l *Log) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := Stats{Segments: len(l.segs), CacheBytes: l.cache.bytes, Entries: l.index.n}
	for _, seg := range l.segs {
		s.Bytes += seg.size
	}
	return s
}

// active is the segment that is written to. The caller holds wmu or mu.
func (l *Log) active() *segment { return l.segs[len(l.segs)-1] }

// fail makes the log refuse all further writes. It returns the error that they
// will get. The first failure is the one that counts.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf("log failed, the member must stop: %w", err)
	}
	return l.err
}

// Close makes the log durable, marks it, and closes its files. Readers must be
// done. After a failure it only closes.
func (l *Log) Close() error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	l.dmu.Lock()
	defer l.dmu.Unlock()
	l.pmu.Lock()
	defer l.pmu.Unlock()
	err := l.err
	if errors.Is(err, ErrClosed) {
		return nil
	}
	if err == nil {
		err = l.finish()
	}
	l.mu.Lock()
	l.err = ErrClosed
	open := slices.Concat(l.freed, l.segs, l.spares)
	l.freed = nil // the next start deletes them
	l.mu.Unlock()
	if l.next != nil {
		open = append(open, l.next)
	}
	for _, s := range open {
		err = errors.Join(err, s.release())
	}
	l.unmake()
	return err
}

// finish syncs, and leaves a batch behind whose watermark says so: without it,
// damage to the last synced batches could not be told from a torn tail.
func (l *Log) finish() error {
	if err := l.sync(); err != nil {
		return err
	}
	if l.marked || l.end+2*batchHeaderSize > l.active().size {
		return nil
	}
	l.enc.begin(l.active().seed)
	if err := l.write(kindMark); err != nil {
		return err
	}
	return l.sync()
}
