package storage

import (
	"errors"
	"fmt"
	"path"
	"slices"
)

// Compact forgets the entries up to index, durably, and deletes the segments
// that hold nothing else. How far back a slow member may need entries is the
// caller's decision; index must have been applied and be in a durable snapshot.
// Compacting again what is gone does nothing.
//
// Writers wait for the record of it and not for the deletion. If deleting fails,
// the log has been compacted and goes on working; the next start deletes the
// segments.
func (l *Log) Compact(index uint64) error {
	if err := l.compact(index); err != nil {
		return err
	}
	return l.deleteFreed()
}

func (l *Log) compact(index uint64) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if l.err != nil {
		return l.err
	}
	if index <= l.base.index {
		return nil
	}
	if last := l.index.next() - 1; index > last {
		return fmt.Errorf("compact log: %w: index %d is beyond the last entry, %d", ErrRefused, index, last)
	}
	id := entryID{index, l.term(index)}
	return l.rebase(itemBase, id, func() {
		l.index.dropBefore(index + 1)
		l.cache.dropBefore(index + 1)
	})
}

// Reset makes the log go on after the entry (index, term), of which a snapshot
// is durable, and forgets all entries. It is for a snapshot that the leader
// sent: commit the snapshot first, then Reset, then Append what came with it. If
// the process dies in between, the next one finds a snapshot beyond the log's
// end (or one with which Term disagrees) and calls Reset itself.
//
// The commit index becomes index, and the term at least term. Reset is durable
// when it returns.
func (l *Log) Reset(index, term uint64) error {
	if err := l.reset(index, term); err != nil {
		return err
	}
	return l.deleteFreed()
}

func (l *Log) reset(index, term uint64) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if l.err != nil {
		return l.err
	}
	if index < l.base.index || index < l.hs.commit || index == 0 {
		return fmt.Errorf("reset log: %w: a snapshot at index %d would lose committed entries: commit index %d, compacted up to %d",
			ErrRefused, index, l.hs.commit, l.base.index)
	}
	return l.rebase(itemReset, entryID{index, term}, func() {
		l.index.reset(index + 1)
		l.cache.truncate(0)
	})
}

// rebase makes id the entry before the first one. The record of it is durable
// before any file goes: without a record, entries that are missing at the
// beginning are taken for damage.
func (l *Log) rebase(item byte, id entryID, forget func()) error {
	hs := l.hs.commitAtLeast(id)
	if err := l.room(baseSize + hardStateSize); err != nil {
		return err
	}
	l.enc.begin(l.active().seed)
	l.enc.base(item, id)
	l.enc.hardState(hs)
	if err := l.write(kindData); err != nil {
		return err
	}
	l.mu.Lock()
	l.base, l.hs = id, hs
	forget()
	l.mu.Unlock()
	if err := l.sync(); err != nil {
		return err
	}
	l.freeSegments()
	return nil
}

// freeSegments takes out the segments before the one that holds the first entry.
// They are not needed: the next one begins with all that was known. The caller
// holds wmu. Precondition: base is durable.
func (l *Log) freeSegments() {
	oldest := l.active().seq
	if l.index.n > 0 {
		oldest = l.index.at(l.index.first).seq
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int(oldest - l.segs[0].seq)
	l.freed = append(l.freed, l.segs[:n]...)
	l.segs = append([]*segment(nil), l.segs[n:]...)
}

// deleteFreed keeps of the freed segments what may be of use again and deletes
// the others.
func (l *Log) deleteFreed() error {
	l.dmu.Lock()
	defer l.dmu.Unlock()
	l.mu.Lock()
	freed := l.freed
	l.freed = nil
	l.mu.Unlock()
	keep := min(l.opt.Spares, max(1, len(freed)))
	l.pmu.Lock()
	have := min(keep, len(l.spares)) // only here they become more
	dead := append(slices.Clone(l.spares[have:]), freed...)
	l.spares = slices.Delete(l.spares, have, len(l.spares))
	l.pmu.Unlock()
	if len(dead) == 0 {
		return nil
	}

	var errs []error
	var spares []*segment
	for _, s := range dead {
		// Its bytes will be overwritten, so nobody may be reading them.
		if have+len(spares) < keep && s.refs.Load() == 1 && s.size >= l.opt.SegmentSize {
			temp := path.Join(l.dir, spareTemp(s.seq))
			if err := l.fs.Rename(s.path, temp); err != nil {
				errs = append(errs, ioError("rename", s.path, err), s.release())
				continue
			}
			s.path = temp
			spares = append(spares, s)
			continue
		}
		if err := l.fs.Remove(s.path); err != nil {
			errs = append(errs, ioError("remove", s.path, err))
		}
		errs = append(errs, s.release())
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		errs = append(errs, ioError("sync directory", l.dir, err))
		for _, s := range spares {
			// Under its old name it would be found with a new header.
			errs = append(errs, l.fs.Remove(s.path), s.release())
		}
		spares = nil
	}
	l.pmu.Lock()
	l.spares = append(l.spares, spares...)
	l.pmu.Unlock()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete old log segments (the log is compacted): %w", err)
	}
	return nil
}
