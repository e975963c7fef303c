package storage

import (
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

const (
	// readSpan bounds one read of several entries, in bytes.
	readSpan = 1 << 20
	// readGap is how many bytes between two entries are rather read than
	// skipped: the headers of the batches that they are in.
	readGap = 512
)

// FirstIndex returns the index of the first entry that Entries can return, or
// the one after LastIndex. The error is always nil.
func (l *Log) FirstIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.base.index + 1, nil
}

// LastIndex returns the index of the last entry, or FirstIndex-1. The error is
// always nil.
func (l *Log) LastIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.index.next() - 1, nil
}

// Term returns the term of entry i, FirstIndex-1 <= i <= LastIndex. Below that
// it returns raft.ErrCompacted, above raft.ErrUnavailable.
func (l *Log) Term(i uint64) (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case i < l.base.index:
		return 0, raft.ErrCompacted
	case i == l.base.index:
		return l.base.term, nil
	case i >= l.index.next():
		return 0, raft.ErrUnavailable
	}
	return l.index.at(i).term, nil
}

// HardState returns the last one appended, synced or not; nil if there is none.
func (l *Log) HardState() *raftpb.HardState {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.hs.message()
}

// Entries returns the entries lo <= i < hi, or as many of them, but at least
// one, as weigh no more than maxSize bytes as messages. The slice is the
// caller's, the entries are shared and must not be changed. Entries are there as
// soon as Append has returned.
//
// It returns raft.ErrCompacted if lo is gone and raft.ErrUnavailable if hi is
// beyond LastIndex+1. Any other error means that the disk failed to return what
// was written to it (a *CorruptError if it returned something else).
func (l *Log) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	l.mu.RLock()
	switch {
	case lo <= l.base.index:
		l.mu.RUnlock()
		return nil, raft.ErrCompacted
	case hi > l.index.next():
		l.mu.RUnlock()
		return nil, raft.ErrUnavailable
	case lo >= hi:
		l.mu.RUnlock()
		return nil, nil
	}
	size := l.index.at(lo).messageSize(lo)
	end := lo + 1
	for ; end < hi; end++ {
		if size += l.index.at(end).messageSize(end); size > maxSize {
			break
		}
	}
	ents := make([]*raftpb.Entry, end-lo)
	cached := max(lo, l.cache.holdsFrom(l.index.next()))
	for i := cached; i < end; i++ {
		ents[i-lo] = l.cache.get(i)
	}
	onDisk := min(cached, end)
	if onDisk == lo {
		l.mu.RUnlock()
		return ents, nil
	}
	slots := make([]slot, onDisk-lo)
	for i := range slots {
		slots[i] = *l.index.at(lo + uint64(i))
	}
	// Slots are in the order of segments: a later entry was written later.
	segs := l.segs[slots[0].seq-l.segs[0].seq : slots[len(slots)-1].seq-l.segs[0].seq+1]
	segs = append([]*segment(nil), segs...)
	for _, s := range segs {
		s.retain()
	}
	l.mu.RUnlock()

	err := readEntries(ents, slots, lo, segs)
	for _, s := range segs {
		if rerr := s.release(); err == nil {
			err = rerr
		}
	}
	if err != nil {
		return nil, err
	}
	return ents, nil
}

// readEntries reads the entries from first on, which stand at slots in segs,
// into ents. Neighbours are read together.
func readEntries(ents []*raftpb.Entry, slots []slot, first uint64, segs []*segment) error {
	var buf []byte
	for i := 0; i < len(slots); {
		s := &slots[i]
		j, end := i+1, s.end()
		for j < len(slots) {
			n := &slots[j]
			if n.seq != s.seq || int64(n.off)-end > readGap || n.end()-int64(s.off) > readSpan {
				break
			}
			j, end = j+1, n.end()
		}
		if n := int(end - int64(s.off)); cap(buf) < n {
			buf = make([]byte, n)
		}
		buf = buf[:end-int64(s.off)]
		seg := segs[s.seq-segs[0].seq]
		if _, err := seg.f.ReadAt(buf, int64(s.off)); err != nil {
			return ioError(fmt.Sprintf("read entries at offset %d of", s.off), seg.path, err)
		}
		for ; i < j; i++ {
			item := buf[slots[i].off-s.off : slots[i].end()-int64(s.off)]
			ent := decodeEntry(item)
			if le.Uint32(item[24:]) != entryCRC(seg.seed, item) || int(le.Uint32(item[4:])) != int(slots[i].size) ||
				ent.GetIndex() != first+uint64(i) || ent.GetTerm() != slots[i].term {
				return &CorruptError{seg.path, int64(slots[i].off), fmt.Sprintf("entry %d is not what was written", first+uint64(i))}
			}
			ents[i] = ent
		}
	}
	return nil
}

// decodeEntry makes a message of an entry item. It copies the data: what the
// state machine keeps of it must not hold on to a whole read buffer.
func decodeEntry(item []byte) *raftpb.Entry {
	m := &struct {
		ent         raftpb.Entry
		term, index uint64
		typ         raftpb.EntryType
	}{index: le.Uint64(item[8:]), term: le.Uint64(item[16:]), typ: raftpb.EntryType(item[1])}
	m.ent.Index, m.ent.Term = &m.index, &m.term
	if item[2]&entryHasType != 0 {
		m.ent.Type = &m.typ
	}
	if item[2]&entryHasData != 0 {
		m.ent.Data = append(make([]byte, 0, len(item)-entryHeaderSize), item[entryHeaderSize:]...)
	}
	return &m.ent
}
