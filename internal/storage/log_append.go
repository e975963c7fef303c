package storage

import (
	"fmt"
	"math"
)

// Append writes a batch and makes it visible to readers. It is durable after
// the next Sync; any number of batches can share one. An append may have to
// begin a new segment, which syncs the old one. An error that wraps ErrRefused
// leaves the log as it was, any other is for good.
func (l *Log) Append(b Batch) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if l.err != nil {
		return l.err
	}
	hs, size, err := l.check(b)
	if err != nil {
		return fmt.Errorf("append to log: %w: %w", ErrRefused, err)
	}
	if size == 0 {
		return nil
	}
	if err := l.room(size); err != nil {
		return err
	}
	seg := l.active()
	l.enc.begin(seg.seed)
	l.placed = l.placed[:0]
	for _, ent := range b.Entries {
		s := slot{term: ent.GetTerm(), seq: seg.seq, size: uint32(len(ent.Data)), typ: uint8(ent.GetType())}
		s.off = uint32(l.end) + uint32(l.enc.entry(ent))
		s.flags = l.enc.buf[int64(s.off)-l.end+2]
		l.placed = append(l.placed, s)
	}
	if hs != l.hs {
		l.enc.hardState(hs)
	}
	if err := l.write(kindData); err != nil {
		return err
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	l.hs = hs
	if len(b.Entries) > 0 {
		first := b.Entries[0].GetIndex()
		l.index.truncate(first)
		l.cache.truncate(first)
	}
	for i, ent := range b.Entries {
		l.index.push(l.placed[i])
		l.cache.push(ent)
	}
	return nil
}

// check returns the hard state after the batch, and the size of the batch's
// items in bytes, zero if it changes nothing. It holds what raft promises and
// recovery relies on: no gaps, terms that never go back, a commit index that
// never goes back nor beyond the log, and one vote per term.
func (l *Log) check(b Batch) (hs hardState, size int64, err error) {
	hs, last := l.hs, l.index.next()-1
	for i, ent := range b.Entries {
		index, term := ent.GetIndex(), ent.GetTerm()
		if i == 0 {
			if index <= l.base.index || index <= l.hs.commit || index > last+1 {
				return hs, 0, fmt.Errorf("entry %d does not go after commit index %d and the entries %d to %d",
					index, l.hs.commit, l.base.index+1, last)
			}
			if prev := l.term(index - 1); term < prev {
				return hs, 0, fmt.Errorf("entry %d has term %d, the one before it %d", index, term, prev)
			}
		} else if prev := b.Entries[i-1]; index != prev.GetIndex()+1 || term < prev.GetTerm() {
			return hs, 0, fmt.Errorf("entry %d of term %d does not follow entry %d of term %d",
				index, term, prev.GetIndex(), prev.GetTerm())
		}
		if t := ent.GetType(); t < 0 || t > math.MaxUint8 {
			return hs, 0, fmt.Errorf("entry %d has the unknown type %d", index, t)
		}
		last = index
		size += entryHeaderSize + int64(len(ent.Data))
	}
	if m := b.HardState; m != nil {
		// Compact may be ahead of an append that was queued before it: what
		// was compacted is committed, whatever raft knew then.
		hs = hardState{m.GetTerm(), m.GetVote(), max(m.GetCommit(), l.base.index)}
		if err := l.checkHardState(hs, last); err != nil {
			return hs, 0, err
		}
		if hs != l.hs {
			size += hardStateSize
		}
	}
	if size > maxBatchBody {
		return hs, 0, fmt.Errorf("a batch of %d bytes is larger than %d", size, maxBatchBody)
	}
	return hs, size, nil
}

func (l *Log) checkHardState(hs hardState, last uint64) error {
	switch old := l.hs; {
	case hs.term < old.term:
		return fmt.Errorf("the term would go back from %d to %d", old.term, hs.term)
	case hs.term == old.term && old.vote != 0 && hs.vote != old.vote:
		return fmt.Errorf("the vote in term %d would change from %x to %x", hs.term, old.vote, hs.vote)
	case hs.commit < old.commit:
		return fmt.Errorf("the commit index would go back from %d to %d", old.commit, hs.commit)
	case hs.commit > last:
		return fmt.Errorf("the commit index %d would be beyond the last entry, %d", hs.commit, last)
	}
	return nil
}

// term returns the term of entry i, base.index <= i < index.next().
func (l *Log) term(i uint64) uint64 {
	if i == l.base.index {
		return l.base.term
	}
	return l.index.at(i).term
}

// Sync makes durable what was appended. It does nothing if all is.
func (l *Log) Sync() error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if l.err != nil {
		return l.err
	}
	return l.sync()
}

func (l *Log) sync() error {
	seg := l.active()
	to := at(seg.seq, l.end)
	if to == l.synced {
		return nil
	}
	if err := seg.f.Datasync(); err != nil {
		return l.fail(ioError("fdatasync", seg.path, err))
	}
	l.synced = to
	return nil
}

// write writes the batch that was built in enc at the end of the active
// segment, for which there must be room.
func (l *Log) write(kind byte) error {
	seg := l.active()
	b, crc := l.enc.finish(kind, l.end, l.lastCRC, l.synced)
	if _, err := seg.f.WriteAt(b, l.end); err != nil {
		return l.fail(ioError(fmt.Sprintf("write %d bytes at offset %d of", len(b), l.end), seg.path, err))
	}
	l.lastCRC, l.marked = crc, kind == kindMark
	l.mu.Lock()
	l.end += int64(len(b))
	l.mu.Unlock()
	return nil
}

// room sees to it that a batch with items of n bytes fits in the active
// segment, and after it a mark and a seal.
func (l *Log) room(n int64) error {
	if l.end+padded(n)+2*batchHeaderSize <= l.active().size {
		return nil
	}
	// Until the next segment is the active one, Prepare would make it again.
	l.pmu.Lock()
	defer l.pmu.Unlock()
	next, err := l.takeNext(padded(n))
	if err != nil {
		return l.fail(err)
	}
	// The seal is synced before the next segment has its first batch, so a
	// batch there proves that this segment was whole. See recover.go.
	l.enc.begin(l.active().seed)
	if err := l.write(kindSeal); err != nil {
		_ = next.release()
		return err
	}
	if err := l.sync(); err != nil {
		_ = next.release()
		return err
	}
	return l.begin(next)
}

// begin makes the segment the active one and writes what the log knows at this
// point: all that is needed from the segments before, once these are deleted.
func (l *Log) begin(next *segment) error {
	l.mu.Lock()
	l.segs = append(l.segs, next)
	l.end = firstBatch
	l.mu.Unlock()
	return l.writeOpening(next)
}

// writeOpening writes the first batch of the active segment.
func (l *Log) writeOpening(seg *segment) error {
	l.enc.begin(seg.seed)
	l.enc.hardState(l.hs)
	l.enc.base(itemBase, l.base)
	l.enc.last(l.index.next() - 1)
	return l.write(kindOpen)
}

// commitAtLeast is the hard state after entries up to id are known to be
// committed. A term that the log has not seen yet comes without a vote: none
// was cast in it, or it would be on disk.
func (hs hardState) commitAtLeast(id entryID) hardState {
	hs.commit = max(hs.commit, id.index)
	if id.term > hs.term {
		hs.term, hs.vote = id.term, 0
	}
	return hs
}
