package storage

import (
	"fmt"
	"hash/crc32"
	"io"
)

const scanWindow = 1 << 20

// segmentReader reads a segment from front to back through a window.
type segmentReader struct {
	seg    *segment
	window []byte
	off    int64 // of window in the segment
	header [batchHeaderSize]byte
}

// bytes returns n bytes at off, which must be within the segment, valid until
// the next call.
func (r *segmentReader) bytes(off, n int64) ([]byte, error) {
	if off < r.off || off+n > r.off+int64(len(r.window)) {
		size := min(max(n, scanWindow), r.seg.size-off)
		if int64(cap(r.window)) < size {
			r.window = make([]byte, size)
		}
		r.window = r.window[:size]
		r.off = off
		if got, err := r.seg.f.ReadAt(r.window, off); err != nil && (err != io.EOF || int64(got) < size) {
			r.window = r.window[:0]
			return nil, ioError(fmt.Sprintf("read %d bytes at offset %d of", size, off), r.seg.path, err)
		}
	}
	from := off - r.off
	return r.window[from : from+n], nil
}

// headerAt reads the batch header at off; ok is false if none was written
// there.
func (r *segmentReader) headerAt(off int64) (h batchHeader, ok bool, err error) {
	if off+batchHeaderSize > r.seg.size {
		return h, false, nil
	}
	b, err := r.bytes(off, batchHeaderSize)
	if err != nil || le.Uint32(b) != batchMagic {
		return h, false, err
	}
	copy(r.header[:], b)
	return h, h.decode(r.seg.seed, off, r.header[:]), nil
}

// batchAt reads the batch at off, after the one whose header checksum is prev.
// If there is no whole batch, bad says why. The body is valid until the next
// call.
func (r *segmentReader) batchAt(off int64, prev uint32) (h batchHeader, body []byte, bad string, err error) {
	h, ok, err := r.headerAt(off)
	switch {
	case err != nil:
		return h, nil, "", err
	case !ok:
		return h, nil, "there is no valid batch header", nil
	case h.prev != prev:
		return h, nil, "the batch does not follow the one before it", nil
	case int64(h.bodyLen) > r.seg.size-off-batchHeaderSize || h.bodyLen%batchAlign != 0 || h.watermark > at(r.seg.seq, off):
		return h, nil, "the batch header makes no sense", nil
	}
	body, err = r.bytes(off+batchHeaderSize, int64(h.bodyLen))
	if err != nil {
		return h, nil, "", err
	}
	if crc32.Checksum(body, castagnoli) != h.bodyCRC {
		return h, nil, "the checksum of the batch is wrong", nil
	}
	return h, body, "", nil
}

// trace is what is left in a segment beyond the last whole batch.
type trace struct {
	// end is the offset after the last thing that somebody wrote there for
	// this log, the offset itself if there is nothing.
	end int64
	// watermark is the highest in any batch header, 0 without one, and
	// markedAt where that header is.
	watermark pos
	markedAt  int64
}

// traceFrom looks for batch headers, and in a segment that was zeros before it
// was written, for anything else, from off to the end.
func (r *segmentReader) traceFrom(off int64) (trace, error) {
	t := trace{end: off}
	for ; off+batchAlign <= r.seg.size; off += batchAlign {
		b, err := r.bytes(off, batchAlign)
		if err != nil {
			return t, err
		}
		if le.Uint64(b) == 0 {
			continue
		}
		if !r.seg.recycled {
			t.end = off + batchAlign
		}
		h, ok, err := r.headerAt(off)
		if err != nil {
			return t, err
		}
		if !ok {
			continue
		}
		t.end = max(t.end, off+batchHeaderSize)
		if h.watermark > t.watermark {
			t.watermark, t.markedAt = h.watermark, off
		}
	}
	return t, nil
}
