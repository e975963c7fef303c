package storage

import (
	"fmt"
	"path"
	"strings"
)

// Recovery: what may be cut and what may not
//
// A log that is found after a crash ends, most of the time, in batches that
// were written and not synced. Of these the disk may have anything: the last
// half, every second sector, a size without bytes. Nobody was told that they
// are durable, and they are cut. But the same bytes can be a batch that was
// synced, acknowledged, and has since rotted; to cut that would take back a vote
// or an entry that a majority counted on, and the member must refuse to start.
//
// What tells the two apart is the watermark in every batch header, the position
// up to which the log had been synced when the batch was written. Let X be where
// the chain of whole batches ends.
//
//   - If any header beyond X, in this segment or a later one, carries a
//     watermark greater than X, then what is at X was durable once and has been
//     damaged: *CorruptError. A header proves that on its own, whatever has
//     become of its body, because it has its own checksum, which no bytes pass
//     that were not written as a header at that very place of this very log.
//   - Otherwise every batch beyond X was written after the last sync that was
//     followed by a batch, and recovery cuts at X. That covers all the ways of
//     tearing: zeroed sectors, a lost page in the middle, a later batch that
//     reached the disk before an earlier one (its watermark is no greater than
//     X: it was not synced either).
//
// Segments: before anything is written to a segment, the one before gets a
// kindSeal and is synced, and the first watermark in the new one is beyond that
// seal. So a chain that ends before a seal is a tail like any other, unless a
// later segment has a header, and then the rule above speaks. A segment made
// ready early has no header. A segment is made, name and all, before the one
// before it is sealed, and at its full length: one that is missing behind a
// seal, or is shorter than it was made, is damage.
//
// What this cannot see: damage to batches after which nothing was written. A
// torn tail and rot in the very last sync look the same. The window is short
// (raft writes the new commit index right after the entries) and Close shuts it
// with a kindMark.
//
// After the cut three things make the rest trustworthy:
//
//   - What was found beyond X is zeroed, before anything new is written. The
//     chain of checksums keeps an old batch from being read behind a new one,
//     but not behind the very same one: a leader sends again what was lost.
//   - What is beyond the last watermark in the chain is written again, then
//     synced: if the last process died, or gave up after a failed fsync, these
//     bytes may be in the page cache only, and even marked clean there, so that
//     an fsync alone would do nothing. raft is about to treat them as durable.
//   - The directory is synced, for the same reason.

// open finds the segments, replays them and makes the log ready for appends.
func (l *Log) open() (Recovered, error) {
	if err := l.fs.MkdirAll(l.dir); err != nil {
		return Recovered{}, err
	}
	seqs, err := l.listSegments()
	if err != nil {
		return Recovered{}, err
	}
	if len(seqs) == 0 {
		return l.create()
	}
	// Compaction deletes from the front, but a crash may keep the deletion of
	// a later segment and lose that of an earlier one: what counts is the
	// last run without a gap. Replay tells if that is all that is needed.
	first := len(seqs) - 1
	for first > 0 && seqs[first-1] == seqs[first]-1 {
		first--
	}
	for i, seq := range seqs[first:] {
		seg, h, err := openSegment(l.fs, l.dir, seq)
		if err != nil {
			return Recovered{}, err
		}
		l.segs = append(l.segs, seg)
		if i == 0 && l.opt.LogID == 0 {
			l.opt.LogID = h.logID
		}
		if l.id = l.opt.LogID; h.logID != l.id {
			return Recovered{}, &CorruptError{seg.path, 0, fmt.Sprintf("the segment is of log %016x, not of this one, %016x", h.logID, l.id)}
		}
	}
	rec, tail, err := l.replay()
	if err != nil {
		return Recovered{}, err
	}
	for _, seq := range seqs[:first] {
		if err := l.fs.Remove(path.Join(l.dir, segmentName(seq))); err != nil {
			return Recovered{}, err
		}
	}
	if err := l.settle(tail); err != nil {
		return Recovered{}, err
	}
	rec.HardState = l.hs.message()
	rec.FirstIndex, rec.LastIndex = l.base.index+1, l.index.next()-1
	rec.Segments = len(l.segs)
	return rec, nil
}

// listSegments returns the numbers of the segments in rising order, and removes
// temporary files that a crash has left behind.
func (l *Log) listSegments() ([]uint32, error) {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return nil, err
	}
	var seqs []uint32
	for _, name := range names {
		switch {
		case temporary(name):
			if err := l.fs.Remove(path.Join(l.dir, name)); err != nil {
				return nil, err
			}
		case strings.HasSuffix(name, segmentSuffix):
			seq := parseSegmentName(name)
			if seq == 0 {
				return nil, fmt.Errorf("%s is not a log segment; remove it if it does not belong there", path.Join(l.dir, name))
			}
			seqs = append(seqs, seq)
		}
	}
	return seqs, nil
}

// create makes the first segment of a new log.
func (l *Log) create() (Recovered, error) {
	if l.opt.MustExist {
		return Recovered{}, fmt.Errorf("%s holds no log, but this member has had one (log id %016x): mount the volume that holds it, or, if the ensemble has other members, move the data directory aside, and this one joins again with an empty one", l.dir, l.opt.LogID)
	}
	if l.id = l.opt.LogID; l.id == 0 {
		l.id = newLogID()
	}
	l.index.first = 1
	seg, err := l.makeSegment(1, l.opt.SegmentSize)
	if err != nil {
		return Recovered{}, err
	}
	if err := l.begin(seg); err != nil {
		return Recovered{}, err
	}
	return Recovered{FirstIndex: 1, Created: true, Segments: 1}, l.sync()
}

// tail is how the chain of whole batches ends.
type tail struct {
	seg int // index in Log.segs
	off int64
	// watermark of the last whole batch. Up to there all is durable.
	watermark pos
	// cut is the offset up to which something is to be wiped, off if nothing.
	cut int64
}

// replay reads all batches and leaves the log's state as they say.
func (l *Log) replay() (Recovered, tail, error) {
	var rec Recovered
	r := replayer{log: l}
	for i, seg := range l.segs {
		reader := segmentReader{seg: seg}
		off, sealed, bad, err := r.segment(&reader, i == 0)
		if err != nil {
			return rec, tail{}, err
		}
		seg.used = off
		last := i == len(l.segs)-1
		if sealed && !last {
			continue
		}
		t := tail{seg: i, off: off, watermark: r.watermark, cut: off}
		if sealed {
			return rec, t, &CorruptError{seg.path, off, fmt.Sprintf("the log goes on in the next segment, %s, which is missing", segmentName(seg.seq+1))}
		}
		cut, err := l.judge(&reader, i, off, bad)
		if err != nil {
			return rec, t, err
		}
		if cut > off {
			rec.Cut, t.cut = &Cut{File: seg.path, Offset: off, Bytes: cut - off, Reason: bad}, cut
		}
		if i == 0 && off == firstBatch && seg.seq != 1 {
			return rec, t, &CorruptError{seg.path, off, fmt.Sprintf("the log begins with this segment, and it has no valid first batch; segment %s is missing", segmentName(seg.seq-1))}
		}
		if i < len(l.segs)-2 {
			return rec, t, &CorruptError{seg.path, off, "the log ends here, but two further segments exist"}
		}
		return rec, t, r.finish(seg, off)
	}
	panic("unreachable: the last segment always ends the loop")
}

// judge decides whether the log may be cut at off in segment i, where the batch
// is bad. It returns the end of what was written beyond.
func (l *Log) judge(reader *segmentReader, i int, off int64, bad string) (int64, error) {
	here := at(reader.seg.seq, off)
	t, err := reader.traceFrom(off)
	if err != nil {
		return 0, err
	}
	evidence := func(t trace, seg *segment) error {
		if t.watermark <= here {
			return nil
		}
		return &CorruptError{reader.seg.path, off, fmt.Sprintf("%s, though this was durable: the batch at offset %d of %s was written after a sync up to offset %d of segment %s",
			bad, t.markedAt, path.Base(seg.path), t.watermark.off(), segmentName(t.watermark.seq()))}
	}
	if err := evidence(t, reader.seg); err != nil {
		return 0, err
	}
	for _, seg := range l.segs[i+1:] {
		later, err := (&segmentReader{seg: seg}).traceFrom(firstBatch)
		if err != nil {
			return 0, err
		}
		if err := evidence(later, seg); err != nil {
			return 0, err
		}
	}
	return t.end, nil
}

// settle makes all that was replayed durable, wipes what was cut, and sees to
// it that there is a segment to write to, which begins as a segment must.
func (l *Log) settle(t tail) error {
	seg := l.segs[t.seg]
	if t.seg < len(l.segs)-1 {
		l.next = l.segs[t.seg+1] // made ready, never used
		l.segs = l.segs[:t.seg+1]
	}
	l.end, l.synced = t.off, at(seg.seq, t.off)
	for _, s := range l.segs {
		from := int64(firstBatch)
		if w := t.watermark; w.seq() > s.seq {
			continue
		} else if w.seq() == s.seq {
			from = max(from, w.off())
		}
		if err := rewrite(s, from, s.used); err != nil {
			return err
		}
		if s == seg {
			if err := wipe(s, t.off, t.cut); err != nil {
				return err
			}
		}
		if err := s.f.Datasync(); err != nil {
			return ioError("fdatasync", s.path, err)
		}
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	if t.off == firstBatch {
		if err := l.writeOpening(seg); err != nil {
			return err
		}
	}
	if err := l.sync(); err != nil {
		return err
	}
	l.freeSegments()
	return l.deleteFreed()
}

// rewrite writes what is in [from, to) to the same place again.
func rewrite(s *segment, from, to int64) error {
	r := segmentReader{seg: s}
	for from < to {
		b, err := r.bytes(from, min(scanWindow, to-from))
		if err != nil {
			return err
		}
		if _, err := s.f.WriteAt(b, from); err != nil {
			return ioError(fmt.Sprintf("write %d bytes at offset %d of", len(b), from), s.path, err)
		}
		from += int64(len(b))
	}
	return nil
}

// wipe writes zeros over [from, to).
func wipe(s *segment, from, to int64) error {
	zeros := make([]byte, min(max(to-from, 0), scanWindow))
	for from < to {
		n, err := s.f.WriteAt(zeros[:min(int64(len(zeros)), to-from)], from)
		if err != nil {
			return ioError(fmt.Sprintf("wipe what was cut at offset %d of", from), s.path, err)
		}
		from += int64(n)
	}
	return nil
}
