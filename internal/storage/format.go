package storage

import (
	"encoding/binary"
	"hash/crc32"

	"go.etcd.io/raft/v3/raftpb"
)

// The log on disk
//
// A log is a row of segments, files named by a number that rises by one. A
// segment is a header in a page of its own and then batches, back to back, each
// aligned to batchAlign:
//
//	segment header   magic[8] version:4 flags:4 logID:8 seq:8 size:8 crc:4
//	batch header     magic:4 headerCRC:4 bodyCRC:4 bodyLen:4 prev:4 kind:1 0[3] watermark:8
//	batch body       items, zero-padded to batchAlign
//
// All numbers are little-endian, all checksums CRC32C. headerCRC is seeded with
// log id, segment number and offset, none of which is stored: a header counts
// only in the place for which it was written, so that neither a segment's former
// life, nor another log, nor bytes that a client stored in a znode can be taken
// for a batch. prev is the headerCRC of the batch before, also across segments:
// a batch cannot be missing, or be left over from before a cut, unnoticed.
//
// watermark is the position up to which the log was known to be synced when the
// batch was written. It is how recovery tells a tail that was never
// acknowledged from damage to what was: see recover.go.
//
// The items of a body:
//
//	entry      1 type:1 flags:1 0:1 dataLen:4 index:8 term:8 crc:4 data
//	hardState  2 term:8 vote:8 commit:8
//	base       3 index:8 term:8    entries up to index were compacted
//	reset      4 index:8 term:8    as base, and no entry after it is left
//	last       5 index:8           last index when the segment began
//
// An entry has a checksum of its own (seeded with log id and segment number)
// because it is read again, alone, long after recovery.

const (
	segmentMagic      = "cnclvlog"
	segmentVersion    = 1
	segmentHeaderSize = 44
	// firstBatch leaves the header alone in its page, so that no later write
	// touches the sectors that it is in.
	firstBatch = 4096

	// flagRecycled: what follows the last batch are leftovers, not zeros.
	flagRecycled = 1

	batchMagic      = 0x48435442 // "BTCH"
	batchHeaderSize = 32
	batchAlign      = 8
	// maxBatchBody bounds the body, in bytes; offsets are 32 bits wide.
	maxBatchBody = 1 << 30

	entryHeaderSize = 28
	hardStateSize   = 25
	baseSize        = 17
	lastSize        = 9
)

// The kinds of batch.
const (
	kindOpen byte = 1 + iota // first in its segment: what was known before it
	kindData                 // entries, hard state, compaction
	kindSeal                 // last in its segment: the log goes on in the next
	kindMark                 // empty; its watermark is the point
)

// The items of a body. itemPad ends it.
const (
	itemPad byte = iota
	itemEntry
	itemHardState
	itemBase
	itemReset
	itemLast
)

const (
	entryHasType = 1 << iota
	entryHasData
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var le = binary.LittleEndian

// pos is a place in the log: segment number and offset. Later places are
// greater.
type pos uint64

func at(seq uint32, off int64) pos { return pos(seq)<<32 | pos(off) }

func (p pos) seq() uint32 { return uint32(p >> 32) }
func (p pos) off() int64  { return int64(uint32(p)) }

// segmentSeed is what checksums in a segment start from.
func segmentSeed(logID uint64, seq uint32) uint32 {
	var b [16]byte
	le.PutUint64(b[:], logID)
	le.PutUint64(b[8:], uint64(seq))
	return crc32.Update(0, castagnoli, b[:])
}

type segmentHeader struct {
	logID    uint64
	seq      uint32
	recycled bool
	// size in bytes with which the file was made. It may be longer: a file that
	// is shorter was cut by something else than a crash, and with its end went
	// what could tell whether the log went on there.
	size int64
}

func (h segmentHeader) encode() []byte {
	b := make([]byte, segmentHeaderSize)
	copy(b, segmentMagic)
	le.PutUint32(b[8:], segmentVersion)
	if h.recycled {
		le.PutUint32(b[12:], flagRecycled)
	}
	le.PutUint64(b[16:], h.logID)
	le.PutUint64(b[24:], uint64(h.seq))
	le.PutUint64(b[32:], uint64(h.size))
	le.PutUint32(b[40:], crc32.Checksum(b[:40], castagnoli))
	return b
}

// decode returns what is wrong with the header, or "".
func (h *segmentHeader) decode(b []byte) string {
	switch {
	case string(b[:8]) != segmentMagic:
		return "this is not a log segment (bad magic)"
	case le.Uint32(b[40:]) != crc32.Checksum(b[:40], castagnoli):
		return "the segment header has a bad checksum"
	case le.Uint32(b[8:]) != segmentVersion:
		return "the segment was written by another version of the format"
	}
	h.logID, h.seq = le.Uint64(b[16:]), uint32(le.Uint64(b[24:]))
	h.recycled = le.Uint32(b[12:])&flagRecycled != 0
	h.size = int64(le.Uint64(b[32:]))
	return ""
}

type batchHeader struct {
	crc       uint32 // of the header
	bodyCRC   uint32
	bodyLen   uint32
	prev      uint32
	kind      byte
	watermark pos
}

// headerCRC computes the checksum of the batch header in b, which is to stand
// at off. It uses the space of magic and checksum, both of which it overwrites.
func headerCRC(seed uint32, off int64, b []byte) uint32 {
	le.PutUint64(b, uint64(off))
	return crc32.Update(seed, castagnoli, b[:batchHeaderSize])
}

// decode reads the header in b, found at off, and reports whether one was
// written there. It destroys b's first 8 bytes.
func (h *batchHeader) decode(seed uint32, off int64, b []byte) bool {
	if le.Uint32(b) != batchMagic {
		return false
	}
	h.crc = le.Uint32(b[4:])
	if h.crc != headerCRC(seed, off, b) {
		return false
	}
	h.bodyCRC, h.bodyLen = le.Uint32(b[8:]), le.Uint32(b[12:])
	h.prev, h.kind, h.watermark = le.Uint32(b[16:]), b[20], pos(le.Uint64(b[24:]))
	return true
}

// encoder builds one batch in a buffer that it uses again.
type encoder struct {
	seed uint32
	buf  []byte
}

func (e *encoder) begin(seed uint32) {
	e.seed = seed
	if cap(e.buf) > 8<<20 { // one huge batch must not be kept for good
		e.buf = nil
	}
	e.buf = append(e.buf[:0], make([]byte, batchHeaderSize)...)
}

// entry returns the offset within the batch at which the entry stands.
func (e *encoder) entry(ent *raftpb.Entry) int {
	start := len(e.buf)
	var flags byte
	if ent.Type != nil {
		flags |= entryHasType
	}
	if ent.Data != nil {
		flags |= entryHasData
	}
	e.buf = append(e.buf, itemEntry, byte(ent.GetType()), flags, 0)
	e.buf = le.AppendUint32(e.buf, uint32(len(ent.Data)))
	e.buf = le.AppendUint64(e.buf, ent.GetIndex())
	e.buf = le.AppendUint64(e.buf, ent.GetTerm())
	e.buf = append(e.buf, 0, 0, 0, 0)
	e.buf = append(e.buf, ent.Data...)
	le.PutUint32(e.buf[start+24:], entryCRC(e.seed, e.buf[start:]))
	return start
}

// entryCRC is over the whole item but for the checksum's own place.
func entryCRC(seed uint32, item []byte) uint32 {
	return crc32.Update(crc32.Update(seed, castagnoli, item[:24]), castagnoli, item[entryHeaderSize:])
}

func (e *encoder) hardState(hs hardState) {
	e.buf = append(e.buf, itemHardState)
	e.buf = le.AppendUint64(e.buf, hs.term)
	e.buf = le.AppendUint64(e.buf, hs.vote)
	e.buf = le.AppendUint64(e.buf, hs.commit)
}

// base is for itemBase and itemReset.
func (e *encoder) base(item byte, id entryID) {
	e.buf = append(e.buf, item)
	e.buf = le.AppendUint64(e.buf, id.index)
	e.buf = le.AppendUint64(e.buf, id.term)
}

func (e *encoder) last(index uint64) {
	e.buf = append(e.buf, itemLast)
	e.buf = le.AppendUint64(e.buf, index)
}

// finish returns the batch, to be written at off, and the checksum of its
// header.
func (e *encoder) finish(kind byte, off int64, prev uint32, watermark pos) ([]byte, uint32) {
	for len(e.buf)%batchAlign != 0 {
		e.buf = append(e.buf, 0)
	}
	b := e.buf
	le.PutUint32(b[8:], crc32.Checksum(b[batchHeaderSize:], castagnoli))
	le.PutUint32(b[12:], uint32(len(b)-batchHeaderSize))
	le.PutUint32(b[16:], prev)
	b[20] = kind
	le.PutUint64(b[24:], uint64(watermark))
	crc := headerCRC(e.seed, off, b)
	le.PutUint32(b, batchMagic)
	le.PutUint32(b[4:], crc)
	return b, crc
}

// padded is the room that a batch with n bytes of items takes.
func padded(n int64) int64 {
	return batchHeaderSize + (n+batchAlign-1)/batchAlign*batchAlign
}

// entryID names an entry. The zero value is the place before the first one.
type entryID struct{ index, term uint64 }

// hardState is raft's, as values.
type hardState struct{ term, vote, commit uint64 }

func (hs hardState) message() *raftpb.HardState {
	if hs == (hardState{}) {
		return nil
	}
	return &raftpb.HardState{Term: &hs.term, Vote: &hs.vote, Commit: &hs.commit}
}
