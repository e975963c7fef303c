package storage

import "fmt"

// replayer follows the batches of a log in order.
type replayer struct {
	log *Log
	// floor is the last index of which no entry is known yet, because it is in
	// a segment that was deleted: while replaying, the index begins at
	// floor+1. At the end it must not be above the base.
	floor uint64
	// watermark of the last batch.
	watermark pos
}

// segment replays one segment and returns where its whole batches end, and
// whether with a seal; if not, why the next one is bad. first is true for the
// first segment of the run.
func (r *replayer) segment(reader *segmentReader, first bool) (off int64, sealed bool, bad string, err error) {
	l, seg := r.log, reader.seg
	off = firstBatch
	if first && seg.seq == 1 {
		l.index.reset(1)
	} else if first {
		// The batch before the first one is gone; take the chain as it is.
		h, _, err := reader.headerAt(off)
		if err != nil {
			return off, false, "", err
		}
		l.lastCRC = h.prev
	}
	for {
		h, body, bad, err := reader.batchAt(off, l.lastCRC)
		if err != nil || bad != "" {
			return off, false, bad, err
		}
		if wrong := r.batch(seg, off, h, body, first); wrong != "" {
			return off, false, "", &CorruptError{seg.path, off, wrong}
		}
		l.lastCRC, l.marked, r.watermark = h.crc, h.kind == kindMark, h.watermark
		off += batchHeaderSize + int64(h.bodyLen)
		if h.kind == kindSeal {
			return off, true, "", nil
		}
	}
}

// batch takes in one whole batch. What it returns is wrong in spite of sound
// checksums: the work of another program, or of a bug.
func (r *replayer) batch(seg *segment, off int64, h batchHeader, body []byte, first bool) (wrong string) {
	switch {
	case (h.kind == kindOpen) != (off == firstBatch):
		return fmt.Sprintf("a batch of kind %d is out of place", h.kind)
	case h.kind < kindOpen || h.kind > kindMark:
		return fmt.Sprintf("the batch has the unknown kind %d; it may be from a newer version", h.kind)
	case (h.kind == kindSeal || h.kind == kindMark) && len(body) > 0:
		return "a seal or mark has a body"
	case h.kind == kindOpen:
		return r.opening(body, first)
	}
	for rest := body; len(rest) > 0 && wrong == ""; {
		var n int
		n, wrong = r.item(seg, off+batchHeaderSize+int64(len(body)-len(rest)), rest)
		if n == 0 {
			break
		}
		rest = rest[n:]
	}
	return wrong
}

// opening takes in the first batch of a segment: at the beginning of the run it
// is all that is known, later it must agree with what is known.
func (r *replayer) opening(body []byte, first bool) string {
	l := r.log
	if len(body) != int(padded(hardStateSize+baseSize+lastSize)-batchHeaderSize) ||
		body[0] != itemHardState || body[hardStateSize] != itemBase || body[hardStateSize+baseSize] != itemLast {
		return "the first batch of the segment is not what it should be"
	}
	hs, base := decodeHardState(body), decodeBase(body[hardStateSize:])
	last := le.Uint64(body[hardStateSize+baseSize+1:])
	if first {
		if last < base.index || last+1 == 0 {
			return fmt.Sprintf("the log is said to end at %d and to be compacted up to %d", last, base.index)
		}
		l.hs, l.base, r.floor = hs, base, last
		l.index.reset(last + 1)
		return ""
	}
	if hs != l.hs || base != l.base || last != l.index.next()-1 {
		return fmt.Sprintf("the segment goes on from %+v, base %+v, last entry %d; the log before it ends with %+v, base %+v, last entry %d",
			hs, base, last, l.hs, l.base, l.index.next()-1)
	}
	return ""
}

func decodeHardState(b []byte) hardState {
	return hardState{le.Uint64(b[1:]), le.Uint64(b[9:]), le.Uint64(b[17:])}
}

func decodeBase(b []byte) entryID { return entryID{le.Uint64(b[1:]), le.Uint64(b[9:])} }

// item takes in the item at the beginning of b, which stands at off, and
// returns its size, 0 at the end.
func (r *replayer) item(seg *segment, off int64, b []byte) (n int, wrong string) {
	l := r.log
	sizes := [...]int{itemPad: 1, itemEntry: entryHeaderSize, itemHardState: hardStateSize, itemBase: baseSize, itemReset: baseSize}
	if int(b[0]) >= len(sizes) || sizes[b[0]] > len(b) {
		return 0, fmt.Sprintf("the batch has an item of unknown type %d or beyond its end; it may be from a newer version", b[0])
	}
	n = sizes[b[0]]
	switch b[0] {
	case itemPad:
		for _, c := range b {
			if c != 0 || len(b) >= batchAlign {
				return 0, "the batch is padded with something else than zeros"
			}
		}
		return 0, ""
	case itemEntry:
		size := int(le.Uint32(b[4:]))
		if size > len(b)-n {
			return 0, "an entry goes beyond the end of its batch"
		}
		n += size
		if le.Uint32(b[24:]) != entryCRC(seg.seed, b[:n]) {
			return n, "the checksum of an entry is wrong"
		}
		return n, r.entry(slot{
			term: le.Uint64(b[16:]), seq: seg.seq, off: uint32(off), size: uint32(size), typ: b[1], flags: b[2],
		}, le.Uint64(b[8:]))
	case itemHardState:
		hs := decodeHardState(b)
		if hs.term < l.hs.term || hs.commit < l.hs.commit {
			return n, fmt.Sprintf("the hard state goes back from %+v to %+v", l.hs, hs)
		}
		l.hs = hs
	case itemBase:
		id := decodeBase(b)
		if id.index < l.base.index || id.index >= l.index.next() {
			return n, fmt.Sprintf("entries are compacted up to %d, but the log has those from %d to %d", id.index, l.base.index+1, l.index.next()-1)
		}
		l.base = id
		if id.index >= l.index.first {
			l.index.dropBefore(id.index + 1)
			r.floor = id.index
		}
	case itemReset:
		l.base = decodeBase(b)
		if l.base.index+1 == 0 {
			return n, "the log is reset to an impossible index"
		}
		l.index.reset(l.base.index + 1)
		r.floor = l.base.index
	}
	return n, ""
}

// entry puts an entry in its place, over what is there from a former leader.
func (r *replayer) entry(s slot, index uint64) string {
	x := &r.log.index
	switch {
	case index <= r.log.base.index || index > x.next() || index+1 == 0:
		return fmt.Sprintf("entry %d does not follow the entries %d to %d", index, r.log.base.index+1, x.next()-1)
	case index >= x.first:
		x.truncate(index)
	default:
		// It overwrites entries of a deleted segment, and these only.
		x.reset(index)
		r.floor = index - 1
	}
	x.push(s)
	return ""
}

// finish checks the whole, once the end of the log, off in seg, is known.
func (r *replayer) finish(seg *segment, off int64) error {
	l := r.log
	if r.floor > l.base.index {
		return &CorruptError{seg.path, off, fmt.Sprintf("the log is compacted up to entry %d, but entries %d to %d are missing: they were in segment %s or before it",
			l.base.index, l.base.index+1, r.floor, segmentName(l.segs[0].seq-1))}
	}
	if last := l.index.next() - 1; l.hs.commit > last {
		return &CorruptError{seg.path, off, fmt.Sprintf("the log ends at entry %d, but entries up to %d were committed", last, l.hs.commit)}
	}
	return nil
}
