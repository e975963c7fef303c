package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

func testMeta(index uint64) SnapshotMeta {
	return SnapshotMeta{Index: index, Term: index / 10, ConfState: []byte{1, 2, 3}, Zxid: -5, Time: 1700000000123, ClusterID: "c1"}
}

func testBody(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

func openStore(t testing.TB, fs vfs.FS) *SnapshotStore {
	t.Helper()
	s, err := OpenSnapshotStore(fs, "snap")
	check(t, err)
	return s
}

func writeSnapshot(t testing.TB, s *SnapshotStore, meta SnapshotMeta, body []byte) {
	t.Helper()
	w, err := s.Create(meta)
	check(t, err)
	for len(body) > 0 { // in uneven pieces
		n := min(len(body), 1+len(body)*2/3)
		got, err := w.Write(body[:n])
		if err != nil || got != n {
			t.Fatalf("Write = %d, %v", got, err)
		}
		body = body[n:]
	}
	check(t, w.Commit())
	check(t, w.Abort())
}

func readSnapshot(s *SnapshotStore, meta SnapshotMeta) ([]byte, error) {
	r, err := s.Open(meta)
	if err != nil {
		return nil, err
	}
	if !r.Meta().Equal(meta) {
		return nil, fmt.Errorf("meta is %+v", r.Meta())
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

func TestSnapshotKeepsItsBody(t *testing.T) {
	fs := vfs.NewMem(nil)
	s := openStore(t, fs)
	if _, ok, err := s.Latest(); ok || err != nil {
		t.Fatalf("Latest of nothing = %v, %v", ok, err)
	}
	var metas []SnapshotMeta
	for i, size := range []int{0, 1, snapshotBlock - 1, snapshotBlock, snapshotBlock + 1, 3*snapshotBlock + 17, syncEvery + 5} {
		meta := testMeta(uint64(1 + i*1000))
		if i == 3 {
			meta.ConfState, meta.ClusterID = nil, ""
		}
		metas = append(metas, meta)
		writeSnapshot(t, s, meta, testBody(size))
		fs.Crash(newRand(uint64(i)))
		s = openStore(t, fs)
		got, err := readSnapshot(s, meta)
		if err != nil || !bytes.Equal(got, testBody(size)) {
			t.Fatalf("%d bytes: read %d, %v", size, len(got), err)
		}
		latest, ok, err := s.Latest()
		if err != nil || !ok || !latest.Equal(meta) {
			t.Fatalf("Latest = %+v, %v, %v", latest, ok, err)
		}
	}
	list, err := s.List()
	check(t, err)
	if !slices.EqualFunc(list, metas, SnapshotMeta.Equal) {
		t.Fatalf("List = %+v", list)
	}

	// A reader is not disturbed by Purge.
	r, err := s.Open(metas[5])
	check(t, err)
	check(t, s.Purge(0))
	if b, err := io.ReadAll(r); err != nil || len(b) != 3*snapshotBlock+17 {
		t.Fatalf("read %d bytes of a purged snapshot, %v", len(b), err)
	}
	check(t, s.Purge(3))
	if list, err = s.List(); err != nil || len(list) != 1 || list[0].Index != 6001 {
		t.Fatalf("after Purge: %+v, %v", list, err)
	}
	if _, err := s.Open(metas[0]); err == nil {
		t.Fatal("a purged snapshot opens")
	}
}

// TestDamagedSnapshotIsFound flips every byte, cuts at every length, and adds
// one.
func TestDamagedSnapshotIsFound(t *testing.T) {
	fs := vfs.NewMem(nil)
	s := openStore(t, fs)
	meta := testMeta(77)
	writeSnapshot(t, s, testMeta(33), nil)
	writeSnapshot(t, s, meta, testBody(300))
	file := "snap/" + snapshotName(77, 7)
	info, err := fs.Stat(file)
	check(t, err)
	wantCorrupt := func(what string, at int64) {
		t.Helper()
		_, _, err := s.Latest()
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || corrupt.File != file {
			t.Fatalf("%s at %d: Latest = %v", what, at, err)
		}
		if _, err := readSnapshot(s, meta); !errors.As(err, &corrupt) {
			t.Fatalf("%s at %d: read = %v", what, at, err)
		}
	}
	for off := range info.Size {
		check(t, fs.Corrupt(file, off, 0x40))
		wantCorrupt("flip", off)
		check(t, fs.Corrupt(file, off, 0x40))
	}
	f, err := fs.OpenReadWrite(file)
	check(t, err)
	whole := make([]byte, info.Size)
	_, err = f.ReadAt(whole, 0)
	check(t, err)
	for size := info.Size - 1; size >= 0; size-- {
		check(t, f.Truncate(size))
		wantCorrupt("cut", size)
		check(t, f.Truncate(info.Size)) // a size that came without the bytes
		wantCorrupt("zeros", size)
	}
	_, err = f.WriteAt(append(whole, 0), 0)
	check(t, err)
	wantCorrupt("a byte more", info.Size)

	check(t, fs.Rename(file, "snap/"+snapshotName(78, 7)))
	if _, err := s.List(); err == nil {
		t.Fatal("a snapshot under another's name passes")
	}
}

func TestSnapshotBlocksCannotBeMissingOrChangePlaces(t *testing.T) {
	fs := vfs.NewMem(nil)
	s := openStore(t, fs)
	meta := testMeta(5)
	writeSnapshot(t, s, meta, testBody(3*snapshotBlock))
	file := "snap/" + snapshotName(5, 0)
	raw, err := readFile(fs, file)
	check(t, err)
	const block = blockHeaderSize + snapshotBlock
	start := len(meta.encode())
	b := func(i int) []byte { return raw[start+i*block : start+(i+1)*block] }
	head, trailer := raw[:start], raw[start+3*block:]
	for name, parts := range map[string][][]byte{
		"whole":       {head, b(0), b(1), b(2), trailer},
		"swapped":     {head, b(1), b(0), b(2), trailer},
		"missing":     {head, b(0), b(1), trailer},
		"repeated":    {head, b(0), b(0), b(2), trailer},
		"no trailer":  {head, b(0), b(1), b(2)},
		"two at once": {head, b(0), b(1), b(2), b(2), trailer},
	} {
		patch(t, fs, file, 0, make([]byte, len(raw)))
		f, err := fs.OpenReadWrite(file)
		check(t, err)
		check(t, f.Truncate(0))
		patch(t, fs, file, 0, bytes.Join(parts, nil))
		if _, err := readSnapshot(s, meta); (err == nil) != (name == "whole") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSnapshotIsSentAsItIs(t *testing.T) {
	from, to := openStore(t, vfs.NewMem(nil)), openStore(t, vfs.NewMem(nil))
	meta := testMeta(99)
	writeSnapshot(t, from, meta, testBody(100_000))
	receive := func(meta SnapshotMeta, spoil func([]byte) []byte) error {
		raw, err := from.OpenRaw(testMeta(99))
		check(t, err)
		b, err := io.ReadAll(raw)
		check(t, err)
		if int64(len(b)) != raw.Size() {
			t.Fatalf("sent %d of %d bytes", len(b), raw.Size())
		}
		check(t, raw.Close())
		w, err := to.Receive(meta)
		check(t, err)
		if _, err := to.Receive(meta); err == nil {
			t.Fatal("two receivers of one snapshot")
		}
		if _, err := to.Create(meta); err == nil {
			t.Fatal("a writer beside the receiver")
		}
		for chunk := range slices.Chunk(spoil(b), 1000) {
			if _, err := w.Write(chunk); err != nil {
				t.Fatal(err)
			}
		}
		return w.Commit()
	}
	other := meta
	other.ClusterID = "another"
	for name, err := range map[string]error{
		"cut":       receive(meta, func(b []byte) []byte { return b[:len(b)-1] }),
		"flipped":   receive(meta, func(b []byte) []byte { b[70_000] ^= 1; return b }),
		"nothing":   receive(meta, func(b []byte) []byte { return nil }),
		"different": receive(other, func(b []byte) []byte { return b }),
	} {
		if err == nil {
			t.Errorf("%s: committed", name)
		}
		if names, _ := to.fs.List("snap"); len(names) > 0 {
			t.Errorf("%s: left behind %v", name, names)
		}
	}
	check(t, receive(meta, func(b []byte) []byte { return b }))
	if got, err := readSnapshot(to, meta); err != nil || !bytes.Equal(got, testBody(100_000)) {
		t.Fatalf("received %d bytes, %v", len(got), err)
	}
	check(t, receive(meta, func(b []byte) []byte { return b })) // once more
	w, err := to.Receive(testMeta(100))
	check(t, err)
	check(t, w.Abort())
	if _, err := w.Write([]byte("x")); err == nil {
		t.Fatal("a write after Abort")
	}
	if err := w.Commit(); err == nil {
		t.Fatal("a commit after Abort")
	}
}

// TestSnapshotIsThereOrNot makes every operation on the disk fail in turn, and
// cuts the power afterwards: a snapshot whose Commit succeeded is there, any
// other is whole or not there.
func TestSnapshotIsThereOrNot(t *testing.T) {
	for k := 1; ; k++ {
		for seed := range uint64(6) {
			fuse := 1 << 30
			fs := vfs.NewMem(func(op vfs.Op, _ string, _ int64, n int) error {
				if fuse--; fuse > 0 || fuse < 0 && seed%2 == 0 {
					return nil
				}
				if op == vfs.OpWrite && n > 0 {
					return &vfs.ShortWrite{N: n / 2, Err: syscall.ENOSPC}
				}
				return syscall.ENOSPC
			})
			s := openStore(t, fs)
			writeSnapshot(t, s, testMeta(1), testBody(10))
			fuse = k
			w, err := s.Create(testMeta(2))
			if err == nil {
				_, err = w.Write(testBody(2 * snapshotBlock))
				if cerr := w.Commit(); err == nil {
					err = cerr
				} else if cerr == nil {
					t.Fatalf("operation %d: Commit after %v", k, err)
				}
			}
			done := fuse > 0
			if err != nil && (!errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), snapshotName(2, 0))) {
				t.Fatalf("operation %d: %v", k, err)
			}
			fuse = 1 << 30
			if err != nil {
				if latest, _, err := s.Latest(); err != nil || latest.Index != 1 {
					if seed%2 == 0 { // the disk works again, so it was tidied up
						t.Fatalf("operation %d: Latest = %+v, %v", k, latest, err)
					}
				}
			}
			if seed < 3 {
				fs.Crash(newRand(seed))
			} else {
				fs.Kill()
			}
			s = openStore(t, fs)
			latest, ok, lerr := s.Latest()
			if lerr != nil || !ok || err == nil && latest.Index != 2 {
				t.Fatalf("operation %d, seed %d: Latest = %+v, %v, %v after %v", k, seed, latest, ok, lerr, err)
			}
			fs.Crash(newRand(seed))
			if again, _, err := openStore(t, fs).Latest(); err != nil || !again.Equal(latest) {
				t.Fatalf("operation %d, seed %d: what was seen is gone: %+v, %v", k, seed, again, err)
			}
			if names, _ := fs.List("snap"); slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, tempSuffix) }) {
				t.Fatalf("left behind %v", names)
			}
			if done && seed == 5 {
				return
			}
		}
	}
}

func TestSnapshotWriterKeepsItsFirstError(t *testing.T) {
	var fault error
	fs := vfs.NewMem(func(op vfs.Op, _ string, _ int64, _ int) error {
		if op == vfs.OpWrite || op == vfs.OpDatasync {
			return fault
		}
		return nil
	})
	s := openStore(t, fs)
	w, err := s.Create(testMeta(3))
	check(t, err)
	fault = syscall.EIO
	_, err = w.Write(testBody(snapshotBlock))
	if !errors.Is(err, syscall.EIO) {
		t.Fatalf("Write = %v", err)
	}
	fault = nil
	if _, again := w.Write([]byte("x")); again != err {
		t.Fatalf("then Write = %v", again)
	}
	if again := w.Commit(); again != err {
		t.Fatalf("then Commit = %v", again)
	}
	if names, _ := fs.List("snap"); len(names) > 0 {
		t.Fatalf("left behind %v", names)
	}
	writeSnapshot(t, s, testMeta(3), nil) // the name is free again
}

func FuzzSnapshotReader(f *testing.F) {
	s := openStore(f, vfs.NewMem(nil))
	writeSnapshot(f, s, testMeta(9), testBody(100))
	valid, err := readFile(s.fs, "snap/"+snapshotName(9, 0))
	check(f, err)
	f.Add(valid)
	f.Add(valid[:len(valid)-1])
	f.Add(testMeta(9).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s := openStore(t, vfs.NewMem(nil))
		w, err := s.Receive(testMeta(9))
		check(t, err)
		_, err = w.Write(b)
		check(t, err)
		if err := w.Commit(); err != nil {
			return
		}
		if _, err := readSnapshot(s, testMeta(9)); err != nil {
			t.Fatalf("committed and not readable: %v", err)
		}
	})
}
