package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f File, off int64, p []byte) {
	t.Helper()
	if n, err := f.WriteAt(p, off); err != nil || n != len(p) {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
}

func contents(t *testing.T, m FS, name string) []byte {
	t.Helper()
	f := must[File](t)(m.Open(name))
	buf := make([]byte, must[int64](t)(f.Size()))
	if len(buf) > 0 {
		if _, err := f.ReadAt(buf, 0); err != nil {
			t.Fatal(err)
		}
	}
	check(t, f.Close())
	return buf
}

func sectors(fill ...byte) []byte {
	var b []byte
	for _, c := range fill {
		b = append(b, bytes.Repeat([]byte{c}, SectorSize)...)
	}
	return b
}

func TestSyncedDataSurvivesEveryCrash(t *testing.T) {
	for seed := range uint64(50) {
		m := NewMem(nil)
		check(t, m.MkdirAll("/d/e"))
		f := must[File](t)(m.Create("/d/e/x"))
		check(t, f.Preallocate(4*SectorSize))
		write(t, f, 0, sectors('a', 'b'))
		check(t, f.Datasync())
		check(t, m.SyncDir("/d/e"))
		write(t, f, SectorSize, sectors('c', 'd'))
		m.Crash(rng(seed))
		got := contents(t, m, "/d/e/x")
		if len(got) != 4*SectorSize || !bytes.Equal(got[:SectorSize], sectors('a')) {
			t.Fatalf("seed %d: synced bytes are gone", seed)
		}
		for i, want := range map[int]string{1: "bc", 2: "\x00d"} {
			sector := got[i*SectorSize : (i+1)*SectorSize]
			if strings.IndexByte(want, sector[0]) < 0 || !bytes.Equal(sector, sectors(sector[0])) {
				t.Fatalf("seed %d: sector %d is neither old nor new: %q", seed, i, sector)
			}
		}
	}
}

func TestCrashTearsWritesAndReordersThem(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(400) {
		m := NewMem(nil)
		f := must[File](t)(m.Create("x"))
		check(t, f.Preallocate(2*SectorSize))
		check(t, f.Sync())
		check(t, m.SyncDir("/"))
		write(t, f, 0, sectors('a', 'a'))
		write(t, f, 0, sectors('b', 'b'))
		m.Crash(rng(seed))
		got := contents(t, m, "x")
		seen[string([]byte{got[0], got[SectorSize]})] = true
	}
	for _, want := range []string{"\x00\x00", "aa", "bb", "a\x00", "\x00a", "ab", "ba", "b\x00"} {
		if !seen[want] {
			t.Errorf("no crash left the sectors as %q; saw %v", want, seen)
		}
	}
}

func TestUnsyncedSizeMayBeLostOrComeWithoutBytes(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(300) {
		m := NewMem(nil)
		f := must[File](t)(m.Create("x"))
		check(t, f.Sync())
		check(t, m.SyncDir("/"))
		write(t, f, 0, []byte("ab"))
		m.Crash(rng(seed))
		seen[string(contents(t, m, "x"))] = true
	}
	for _, want := range []string{"", "ab", "\x00\x00"} {
		if !seen[want] {
			t.Errorf("never saw %q after the crash: %v", want, seen)
		}
	}
	if len(seen) != 3 {
		t.Errorf("saw bytes that nobody wrote: %v", seen)
	}
}

func TestNamesAreDurableOnlyAfterSyncDir(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(300) {
		m := NewMem(nil)
		check(t, m.MkdirAll("d"))
		for _, n := range []string{"d/kept", "d/gone", "d/old"} {
			f := must[File](t)(m.Create(n))
			check(t, f.Sync())
		}
		check(t, m.SyncDir("d"))
		must[File](t)(m.Create("d/new"))
		check(t, m.Remove("d/gone"))
		check(t, m.Rename("d/old", "d/renamed"))
		m.Crash(rng(seed))
		names := strings.Join(must[[]string](t)(m.List("d")), " ")
		if strings.Contains(names, "old") == strings.Contains(names, "renamed") {
			t.Fatalf("seed %d: a rename is not atomic: %s", seed, names)
		}
		if !strings.Contains(names, "kept") {
			t.Fatalf("seed %d: a durable name is lost: %s", seed, names)
		}
		seen[names] = true
	}
	if len(seen) != 8 {
		t.Errorf("of the 8 outcomes of three changes, saw %d: %v", len(seen), seen)
	}
}

func TestFailedSyncLosesTheData(t *testing.T) {
	eio := fmt.Errorf("disk: %w", syscall.EIO)
	fail := true
	m := NewMem(func(op Op, path string, off int64, n int) error {
		if op == OpDatasync && fail {
			return eio
		}
		return nil
	})
	f := must[File](t)(m.Create("x"))
	check(t, f.Preallocate(2*SectorSize))
	check(t, f.Sync())
	check(t, m.SyncDir("/"))
	write(t, f, 0, sectors('a'))
	err := f.Datasync()
	var pe *fs.PathError
	if !errors.Is(err, syscall.EIO) || !errors.As(err, &pe) || pe.Path != "x" {
		t.Fatalf("Datasync = %v", err)
	}
	fail = false
	write(t, f, SectorSize, sectors('b'))
	check(t, f.Datasync())
	if got := contents(t, m, "x"); !bytes.Equal(got, sectors('a', 'b')) {
		t.Fatalf("the bytes should still be readable: %q", got)
	}
	m.Crash(rng(1))
	if got := contents(t, m, "x"); !bytes.Equal(got, sectors(0, 'b')) {
		t.Fatalf("a later sync must not bring back what a failed one lost: %q", got)
	}
}

func TestHandlesAndLocksDieWithTheProcess(t *testing.T) {
	m := NewMem(nil)
	f := must[File](t)(m.Create("x"))
	write(t, f, 0, []byte("a"))
	lock, err := m.Lock("LOCK")
	check(t, err)
	if _, err := m.Lock("LOCK"); !errors.Is(err, ErrLocked) {
		t.Fatalf("second Lock = %v", err)
	}
	m.Kill()
	if _, err := f.WriteAt([]byte("b"), 0); !errors.Is(err, ErrCrashed) {
		t.Fatalf("WriteAt on a dead handle = %v", err)
	}
	if got := contents(t, m, "x"); string(got) != "a" {
		t.Fatalf("a killed process's writes are in the page cache: %q", got)
	}
	second, err := m.Lock("LOCK")
	check(t, err)
	check(t, lock.Close()) // the dead owner's
	if _, err := m.Lock("LOCK"); !errors.Is(err, ErrLocked) {
		t.Fatal("a dead owner released its successor's lock")
	}
	check(t, second.Close())
	_, err = m.Lock("LOCK")
	check(t, err)
}

func TestHookFaults(t *testing.T) {
	var fault error
	m := NewMem(func(Op, string, int64, int) error { return fault })
	f := must[File](t)(m.Create("x"))
	write(t, f, 0, []byte("hello"))

	fault = syscall.ENOSPC
	if n, err := f.WriteAt([]byte("J"), 0); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
	if err := m.Rename("x", "y"); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Rename = %v", err)
	}
	fault = &ShortWrite{N: 2, Err: syscall.ENOSPC}
	if n, err := f.WriteAt([]byte("JEL"), 0); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("short WriteAt = %d, %v", n, err)
	}
	fault = nil
	if got := contents(t, m, "x"); string(got) != "JEllo" {
		t.Fatalf("after a short write: %q", got)
	}
	buf := make([]byte, 5)
	fault = ErrCorruptSector
	if _, err := f.ReadAt(buf, 0); err != nil || string(buf) == "JEllo" {
		t.Fatalf("ReadAt of a corrupt sector = %q, %v", buf, err)
	}
	fault = nil
	check(t, m.Corrupt("x", 4, 1))
	if got := contents(t, m, "x"); string(got) != "JElln" {
		t.Fatalf("after Corrupt: %q", got)
	}
}

func TestTruncateAndErrors(t *testing.T) {
	m := NewMem(nil)
	check(t, m.MkdirAll("d"))
	f := must[File](t)(m.Create("d/x"))
	write(t, f, 0, []byte("abcdef"))
	check(t, f.Truncate(2))
	check(t, f.Truncate(4))
	if got := contents(t, m, "d/x"); string(got) != "ab\x00\x00" {
		t.Fatalf("after Truncate: %q", got)
	}
	check(t, f.Preallocate(2))
	if size := must[int64](t)(f.Size()); size != 4 {
		t.Fatalf("Preallocate shrank the file to %d", size)
	}
	_, err := m.Open("d/y")
	for what, err := range map[string]error{
		"open": err, "remove": m.Remove("d/y"), "rename": m.Rename("d/y", "d/z"), "syncdir": m.SyncDir("e"),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of what does not exist: %v", what, err)
		}
	}
	if _, err := m.Open("d"); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("open of a directory: %v", err)
	}
	if err := m.MkdirAll("d/x/y"); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("mkdir below a file: %v", err)
	}
	r := must[File](t)(m.Open("d/x"))
	if _, err := r.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a write through a read-only handle passed")
	}
}

func TestSameSeedSameBytesAndCloneIsApart(t *testing.T) {
	base := NewMem(nil)
	for i := range 8 {
		f := must[File](t)(base.Create(fmt.Sprint("f", i)))
		for j := range 6 {
			write(t, f, int64(j)*300, bytes.Repeat([]byte{byte('a' + j)}, 700))
		}
	}
	dump := func(m *Mem) string {
		var b strings.Builder
		for _, n := range must[[]string](t)(m.List("/")) {
			fmt.Fprintf(&b, "%s %q\n", n, contents(t, m, n))
		}
		return b.String()
	}
	before := dump(base)
	for seed := range uint64(20) {
		a, b := base.Clone(), base.Clone()
		a.Crash(rng(seed))
		b.Crash(rng(seed))
		if dump(a) != dump(b) {
			t.Fatalf("seed %d: two outcomes", seed)
		}
	}
	if dump(base) != before {
		t.Fatal("a crash of a clone changed the original")
	}
}
