package storage

import (
	"errors"
	"path"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// fuzzLog is a valid log in one segment, as a file.
func fuzzLog(t testing.TB) []byte {
	fs := vfs.NewMem(nil)
	l, _ := mustOpen(t, fs, Options{SegmentSize: firstBatch + 2048, LogID: testLogID})
	appendSync(t, l, Batch{Entries: run(1, 1, 3, 40), HardState: hardStateMsg(1, 2, 1)})
	check(t, l.Compact(1))
	appendSync(t, l, Batch{Entries: run(3, 2, 2, 40), HardState: hardStateMsg(2, 1, 3)})
	check(t, l.Append(Batch{Entries: run(5, 2, 1, 40)}))
	b := make([]byte, l.active().size)
	_, err := l.active().f.ReadAt(b, 0)
	check(t, err)
	return b
}

// program writes batches from firstBatch on as four bytes each tell it: what, and
// three small numbers. All checksums are right; sense there may be none.
func program(seg []byte, code []byte) {
	var e encoder
	seed := segmentSeed(testLogID, 1)
	off, crc := firstBatch, uint32(0)
	end := func(kind byte, watermark pos) {
		var b []byte
		b, crc = e.finish(kind, int64(off), crc, watermark)
		off += copy(seg[off:], b)
		e.begin(seed)
	}
	e.begin(seed)
	e.hardState(hardState{})
	e.base(itemBase, entryID{})
	e.last(0)
	end(kindOpen, 0)
	for ; len(code) >= 4; code = code[4:] {
		a, b, c := uint64(code[1]), uint64(code[2]), uint64(code[3])
		if off+len(e.buf)+300 > len(seg) {
			break
		}
		switch code[0] % 8 {
		case 0, 1:
			e.entry(entry(a, b, string(make([]byte, c))))
		case 2:
			e.hardState(hardState{a, b, c})
		case 3:
			e.base(itemBase, entryID{a, b})
		case 4:
			e.base(itemReset, entryID{a, b})
		case 5:
			e.last(a)
		case 6:
			e.buf = append(e.buf, code[1:4]...)
		case 7:
			end(byte(a), at(uint32(b), int64(firstBatch+16*c)))
		}
	}
	end(kindData, 0)
}

// FuzzLogReader gives arbitrary bytes to recovery, as a segment of its own, over
// a part of a valid one, or, because checksums stop nearly all of those, as a
// program that makes batches whose checksums are right. Whatever it is: no
// panic, and either an error or a log that is sound, can be written to and
// recovered again.
func FuzzLogReader(f *testing.F) {
	valid := fuzzLog(f)
	f.Add(byte(0), uint16(0), valid[:firstBatch+700])
	f.Add(byte(1), uint16(firstBatch+100), []byte{0, 0, 0, 0})
	f.Add(byte(1), uint16(firstBatch+360), []byte("\xff\xff"))
	f.Add(byte(2), uint16(0), []byte("\x00\x01\x01\x09\x00\x02\x01\x00\x02\x01\x02\x02\x07\x02\x00\x00\x03\x01\x01\x00\x00\x03\x02\x10"))
	f.Add(byte(2), uint16(0), []byte("\x00\x01\x01\x09\x07\x02\x00\x00\x04\x09\x01\x00\x00\x0a\x02\x00\x07\x03\x01\x00"))
	f.Add(byte(2), uint16(0), []byte("\x00\x01\x01\x09\x07\x09\x01\x20\x05\x01\x01\x01\x06\x01\x01\x01"))
	f.Fuzz(func(t *testing.T, mode byte, where uint16, data []byte) {
		seg := append([]byte(nil), valid...)
		switch mode % 3 {
		case 0:
			seg = append(data, make([]byte, firstBatch)...)
		case 1:
			copy(seg[int(where)%len(seg):], data)
		case 2:
			clear(seg[firstBatch:])
			program(seg, data)
		}
		fs := vfs.NewMem(nil)
		check(t, fs.MkdirAll("log"))
		file, err := fs.Create(path.Join("log", segmentName(1)))
		check(t, err)
		_, err = file.WriteAt(seg, 0)
		check(t, err)

		l, rec, err := OpenLog(fs, "log", Options{SegmentSize: firstBatch + 2048, LogID: testLogID})
		if err != nil {
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) {
				t.Fatalf("neither a log nor a corrupt one: %v", err)
			}
			return
		}
		state := readState(t, l)
		if rec.FirstIndex != state.base.index+1 || rec.LastIndex != state.last() {
			t.Fatalf("reported %+v, holds %v", rec, state)
		}
		if last := state.last(); last < 1<<63 {
			ent := entry(last+1, max(state.hs.term, state.term(last)), "more")
			appendSync(t, l, Batch{Entries: []*raftpb.Entry{ent}})
			state.ents = append(state.ents, readState(t, l).ents[len(state.ents)])
		}
		fs.Crash(newRand(1))
		l, rec, err = OpenLog(fs, "log", Options{SegmentSize: firstBatch + 2048})
		check(t, err)
		if got := readState(t, l); !got.equal(state) || rec.Cut != nil {
			t.Fatalf("recovered again: %+v %v, want %v", rec, got, state)
		}
	})
}
