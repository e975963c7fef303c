package storage

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

const (
	segmentSuffix = ".log"
	tempSuffix    = ".tmp"
	nextTemp      = "next" + tempSuffix
	sparePrefix   = "spare-"
)

// segment is one file of the log, open for reading and writing.
type segment struct {
	f    vfs.File
	path string
	seq  uint32
	size int64
	seed uint32 // of every checksum in it
	// used is where its batches ended when the log was opened.
	used int64
	// refs counts the log's own reference and those of readers. The file is
	// closed when the last one goes.
	refs     atomic.Int32
	recycled bool
}

func newSegment(f vfs.File, path string, h segmentHeader, size int64) *segment {
	s := &segment{f: f, path: path, seq: h.seq, size: size, seed: segmentSeed(h.logID, h.seq), recycled: h.recycled}
	s.refs.Store(1)
	return s
}

func (s *segment) retain() { s.refs.Add(1) }

func (s *segment) release() error {
	if s.refs.Add(-1) == 0 {
		return s.f.Close()
	}
	return nil
}

func segmentName(seq uint32) string { return fmt.Sprintf("%016x%s", seq, segmentSuffix) }

// spareTemp is the name of a spare that was segment seq.
func spareTemp(seq uint32) string { return fmt.Sprintf("%s%016x%s", sparePrefix, seq, tempSuffix) }

// temporary tells the names of segments that hold nothing yet, or nothing any
// more.
func temporary(name string) bool {
	return name == nextTemp || strings.HasPrefix(name, sparePrefix) && strings.HasSuffix(name, tempSuffix)
}

// parseSegmentName returns 0 for what is not a segment's name.
func parseSegmentName(name string) uint32 {
	hex, ok := strings.CutSuffix(name, segmentSuffix)
	seq, err := strconv.ParseUint(hex, 16, 32)
	if !ok || err != nil || segmentName(uint32(seq)) != name {
		return 0
	}
	return uint32(seq)
}

// openSegment opens an existing segment and reads its header.
func openSegment(fs vfs.FS, dir string, seq uint32) (*segment, segmentHeader, error) {
	name := path.Join(dir, segmentName(seq))
	f, err := fs.OpenReadWrite(name)
	if err != nil {
		return nil, segmentHeader{}, err
	}
	fail := func(err error) (*segment, segmentHeader, error) {
		return nil, segmentHeader{}, errors.Join(err, f.Close())
	}
	size, err := f.Size()
	if err != nil {
		return fail(err)
	}
	if size < firstBatch || size > 2*maxBatchBody {
		return fail(&CorruptError{name, 0, fmt.Sprintf("the segment's size is %d bytes", size)})
	}
	b := make([]byte, segmentHeaderSize)
	if _, err := f.ReadAt(b, 0); err != nil {
		return fail(ioError("read header of", name, err))
	}
	var h segmentHeader
	if wrong := h.decode(b); wrong != "" {
		return fail(&CorruptError{name, 0, wrong})
	}
	if h.seq != seq {
		return fail(&CorruptError{name, 0, fmt.Sprintf("this is segment %s, under another name", segmentName(h.seq))})
	}
	if size < h.size {
		return fail(&CorruptError{name, size, fmt.Sprintf("the file ends here, and it was made %d bytes long: what was in the rest is lost", h.size)})
	}
	return newSegment(f, name, h, size), h, nil
}

// making is a segment that is being made: a file under a temporary name, which
// gets its zeros before it gets anything else.
type making struct {
	f        vfs.File
	temp     string
	seq      uint32
	have     int64 // bytes that it has been given
	recycled bool
}

// grow gives the segment seq, which is made, its first size bytes, and begins it
// if it is not being made. On an error nothing of it is left. The caller holds
// pmu.
func (l *Log) grow(seq uint32, size int64) error {
	name := path.Join(l.dir, segmentName(seq))
	if l.making == nil {
		m := &making{temp: path.Join(l.dir, nextTemp), seq: seq}
		if n := len(l.spares); n > 0 {
			s := l.spares[n-1]
			l.spares = slices.Delete(l.spares, n-1, n)
			if err := l.fs.Rename(s.path, m.temp); err != nil {
				return errors.Join(ioError("rename the spare for", name, err), s.release())
			}
			m.f, m.recycled = s.f, true
		} else {
			var err error
			if m.f, err = l.fs.Create(m.temp); err != nil {
				return ioError("create", name, err)
			}
		}
		l.making = m
	}
	m := l.making
	if m.have >= size {
		return nil
	}
	if err := m.f.Preallocate(size); err != nil {
		l.unmake()
		return ioError(fmt.Sprintf("allocate %d bytes for", size), name, err)
	}
	m.have = size
	return nil
}

// unmake gives up the segment that is being made. What cannot be removed is
// removed, or used, by the next start.
func (l *Log) unmake() {
	if m := l.making; m != nil {
		_ = m.f.Close()
		_ = l.fs.Remove(m.temp)
		l.making = nil
	}
}

// makeSegment makes segment seq, at least size bytes long, and durable, name
// and all. It is made under a temporary name: a segment that has its own name
// has a sound header and all its space. On an error nothing of it is left. The
// caller holds pmu.
func (l *Log) makeSegment(seq uint32, size int64) (*segment, error) {
	name := path.Join(l.dir, segmentName(seq))
	if err := l.grow(seq, size); err != nil {
		return nil, err
	}
	m := l.making
	h := segmentHeader{logID: l.id, seq: seq, recycled: m.recycled}
	err := func() (err error) {
		if h.size, err = m.f.Size(); err != nil {
			return ioError("stat", name, err)
		}
		if _, err := m.f.WriteAt(h.encode(), 0); err != nil {
			return ioError("write header of", name, err)
		}
		if err := m.f.Sync(); err != nil {
			return ioError("fsync", name, err)
		}
		if err := l.fs.Rename(m.temp, name); err != nil {
			return ioError("rename a new segment to", name, err)
		}
		m.temp = name
		if err := l.fs.SyncDir(l.dir); err != nil {
			return ioError("sync directory of", name, err)
		}
		return nil
	}()
	if err != nil {
		l.unmake()
		return nil, err
	}
	l.making = nil
	return newSegment(m.f, name, h, h.size), nil
}

// preparePieces is in how many pieces the next segment is made.
const preparePieces = 64

// Prepare makes the next segment ready while the present one fills, two bytes of
// it for each that is written there: all of it at once would compete with what is
// written, and a burst would meet it just then. When the present one is half full
// the next is ready. It does nothing otherwise.
//
// A call takes as long as writing so much does: call it where that hurts nobody,
// after each write; it does not hold up Append and Sync on another goroutine. An
// error (a full disk) harms nothing yet: Append tries again when it needs the
// segment, and fails the log then.
func (l *Log) Prepare() error {
	for more := true; more; {
		var err error
		if more, err = l.prepare(); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes a piece; more tells that another is due. Between two of them
// whoever needs the next segment at once gets it.
func (l *Log) prepare() (more bool, err error) {
	l.pmu.Lock()
	defer l.pmu.Unlock()
	l.mu.RLock()
	err, active, end := l.err, l.active(), l.end
	l.mu.RUnlock()
	if err != nil || l.next != nil {
		return false, err
	}
	size := l.opt.SegmentSize
	due, piece := size, max(1, size/preparePieces)
	if end < active.size/2 {
		due = min(size, 2*end) / piece * piece
	}
	have := int64(0)
	if l.making != nil {
		have = l.making.have
	}
	if have >= due && due < size {
		return false, nil
	}
	// The active segment cannot change meanwhile, a rotation needs pmu.
	if to := min(due, have+piece); to < size {
		err = l.grow(active.seq+1, to)
	} else {
		l.next, err = l.makeSegment(active.seq+1, size)
	}
	if err != nil {
		return false, fmt.Errorf("prepare a log segment: %w", err)
	}
	return l.next == nil, nil
}

// takeNext returns the segment after the active one, with room for a batch of
// n bytes in it. The caller holds pmu, and keeps it until that is the active one.
func (l *Log) takeNext(n int64) (*segment, error) {
	need := firstBatch + padded(hardStateSize+baseSize+lastSize) + n + 2*batchHeaderSize
	s := l.next
	if s == nil {
		return l.makeSegment(l.active().seq+1, max(need, l.opt.SegmentSize))
	}
	if s.size < need {
		if err := s.f.Preallocate(need); err != nil {
			return nil, ioError(fmt.Sprintf("allocate %d bytes for", need), s.path, err)
		}
		if err := s.f.Sync(); err != nil {
			return nil, ioError("fsync", s.path, err)
		}
		s.size = need
	}
	l.next = nil
	return s, nil
}
