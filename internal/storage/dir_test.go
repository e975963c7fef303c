package storage

import (
	"errors"

	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

func openDir(t *testing.T, fs vfs.FS, data, log string) *Dir {
	t.Helper()
	d, err := OpenDir(fs, data, log)
	check(t, err)
	return d
}

func TestDirIsLocked(t *testing.T) {
	fs := vfs.NewMem(nil)
	d := openDir(t, fs, "/data", "/log")
	for _, dirs := range [][2]string{{"/data", "/log"}, {"/data", "/other"}, {"/other", "/log"}} {
		_, err := OpenDir(fs, dirs[0], dirs[1])
		if !errors.Is(err, vfs.ErrLocked) || !strings.Contains(err.Error(), dirs[0]) {
			t.Fatalf("OpenDir(%v) = %v", dirs, err)
		}
	}
	check(t, d.Close())
	check(t, openDir(t, fs, "/other", "/log").Close()) // refused openers left no lock
	d = openDir(t, fs, "/data", "")
	if names, err := fs.List("/data/conclave"); err != nil || !slices.Equal(names, []string{"LOCK", "log", "snap"}) {
		t.Fatalf("the directory holds %v, %v", names, err)
	}
	check(t, d.Close())
}

func TestDirIsEmptyUntilItBelongsToAnEnsemble(t *testing.T) {
	for name, fill := range map[string]func(*Dir){
		"boot": func(d *Dir) { check(t, d.Identity.Update(func(id *Identity) { id.Boot++ })) },
		"cluster": func(d *Dir) {
			check(t, d.Identity.Update(func(id *Identity) { id.ClusterID, id.MemberID = "c", 0xabc }))
		},
		"snapshot": func(d *Dir) { writeSnapshot(t, d.Snapshots, testMeta(1), nil) },
		"log": func(d *Dir) {
			l, _, err := d.OpenLog(small)
			check(t, err)
			check(t, l.Close())
		},
	} {
		fs := vfs.NewMem(nil)
		d := openDir(t, fs, "data", "log")
		if !d.Empty() {
			t.Fatal("a new directory is not empty")
		}
		fill(d)
		check(t, d.Close())
		if empty := openDir(t, fs, "data", "log").Empty(); empty != (name == "boot") {
			t.Errorf("with a %s, Empty = %v", name, empty)
		}
	}
}

func TestDirKnowsItsLog(t *testing.T) {
	fs := vfs.NewMem(nil)
	d := openDir(t, fs, "data", "log")
	l, rec, err := d.OpenLog(small)
	check(t, err)
	if !rec.Created || d.Identity.Get().LogID != l.ID() {
		t.Fatalf("%+v, %+v", rec, d.Identity.Get())
	}
	appendSync(t, l, Batch{Entries: run(1, 1, 3, 10)})
	fs.Crash(newRand(1))
	d = openDir(t, fs, "data", "log")
	l, rec, err = d.OpenLog(small)
	if err != nil || rec.LastIndex != 3 {
		t.Fatalf("%+v, %v", rec, err)
	}
	check(t, l.Close())
	check(t, d.Close())

	// The volume with the log is not mounted.
	d = openDir(t, fs, "data", "elsewhere")
	if _, _, err := d.OpenLog(small); err == nil || !strings.Contains(err.Error(), "holds no log") {
		t.Fatalf("OpenLog without the log = %v", err)
	}
	check(t, d.Close())
	// Another member's is.
	d = openDir(t, fs, "data2", "elsewhere")
	if _, _, err = d.OpenLog(Options{SegmentSize: 8 << 10}); err != nil {
		t.Fatal(err)
	}
	fs.Kill()
	d = openDir(t, fs, "data", "elsewhere")
	var corrupt *CorruptError
	if _, _, err := d.OpenLog(small); !errors.As(err, &corrupt) {
		t.Fatalf("OpenLog of another's log = %v", err)
	}
}

// TestMoveAsideIsDoneOrFoundUndone interrupts MoveAside at every operation: the
// next process finds an empty directory, or one that is marked; and then all
// the data is there, under other names.
func TestMoveAsideIsDoneOrFoundUndone(t *testing.T) {
	for k := 1; ; k++ {
		done := false
		for seed := range uint64(12) {
			fuse := 1 << 30
			fs := vfs.NewMem(func(vfs.Op, string, int64, int) error {
				if fuse--; fuse > 0 {
					return nil
				}
				return syscall.EIO
			})
			d := openDir(t, fs, "data", "log")
			check(t, d.Identity.Update(func(id *Identity) { id.ClusterID, id.MemberID = "c", 0xabc }))
			l, _, err := d.OpenLog(small)
			check(t, err)
			check(t, l.Close())
			writeSnapshot(t, d.Snapshots, testMeta(1), nil)
			fuse = k
			err = d.MoveAside()
			if done = err == nil; done && !d.Empty() {
				t.Fatal("a directory whose data was moved aside is not empty")
			}
			fuse = 1 << 30
			fs.Crash(newRand(seed))
			d = openDir(t, fs, "data", "log")
			id := d.Identity.Get()
			untouched := id.ClusterID == "c" && d.hadLog && d.hadSnapshots
			if !d.Empty() && (done || !id.MoveAside && !untouched) {
				t.Fatalf("operation %d, seed %d: after %v, found %+v, log %v, snapshots %v", k, seed, err, id, d.hadLog, d.hadSnapshots)
			}
			if id.MoveAside || untouched {
				check(t, d.MoveAside())
			}
			for dir, want := range map[string]int{"data/conclave": 1, "data/conclave/snap": 1, "log/conclave/log": 1} {
				names, err := fs.List(dir)
				check(t, err)
				got := 0
				for _, name := range names {
					if strings.HasSuffix(name, AsideSuffix(0xabc)) {
						got++
					}
				}
				if got < want {
					t.Fatalf("operation %d, seed %d: %s has %v", k, seed, dir, names)
				}
			}
			if _, rec, err := d.OpenLog(small); err != nil || !rec.Created {
				t.Fatalf("then OpenLog = %+v, %v", rec, err)
			}
		}
		if done {
			return
		}
	}
}

// TestDirOnTheRealDisk is the whole of it, on the operating system's files.
func TestDirOnTheRealDisk(t *testing.T) {
	data, log := t.TempDir(), t.TempDir()
	d := openDir(t, vfs.OS(), data, log)
	if _, err := OpenDir(vfs.OS(), data, ""); !errors.Is(err, vfs.ErrLocked) || !strings.Contains(err.Error(), "pid") {
		t.Fatalf("second OpenDir = %v", err)
	}
	check(t, d.Identity.Update(func(id *Identity) { *id = testIdentity; id.LogID = 0 }))
	opt := Options{SegmentSize: 64 << 10, CacheSize: 1 << 10}
	l, _, err := d.OpenLog(opt)
	check(t, err)
	for i := range uint64(100) {
		appendSync(t, l, Batch{Entries: run(1+i*4, 1, 4, 1000), HardState: hardStateMsg(1, 1, i*4)})
		check(t, l.Prepare())
		if i%30 == 29 {
			writeSnapshot(t, d.Snapshots, testMeta(i*4), testBody(100_000))
			check(t, l.Compact(i*4-20))
		}
	}
	want := readState(t, l)
	check(t, l.Close())
	check(t, d.Close())

	d = openDir(t, vfs.OS(), data, log)
	l, rec, err := d.OpenLog(opt)
	if err != nil || rec.Cut != nil || !readState(t, l).equal(want) {
		t.Fatalf("%+v, %v", rec, err)
	}
	if meta, ok, err := d.Snapshots.Latest(); err != nil || !ok || meta.Index != 89*4 {
		t.Fatalf("Latest = %+v, %v, %v", meta, ok, err)
	}
	check(t, l.Close())
	check(t, d.Close())
}

// A note that is made again after a crash stands there once.
func TestAppendLine(t *testing.T) {
	fs := vfs.NewMem(nil)
	d := openDir(t, fs, "data", "")
	for _, line := range []string{"one", "two", "one", "two", "on"} {
		check(t, d.AppendLine("notes", []byte(line)))
	}
	fs.Crash(newRand(1))
	got, err := readFile(fs, "data/conclave/notes")
	check(t, err)
	if string(got) != "one\ntwo\non\n" {
		t.Errorf("%q", got)
	}
}

// Where nobody can tell whose the data is, it is set aside under a name of its
// own, also if the process dies on the way and it has to be done again.
func TestSetAside(t *testing.T) {
	for again := range 3 {
		fs := vfs.NewMem(nil)
		d := openDir(t, fs, "/data", "/log")
		l, _, err := d.OpenLog(Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.Identity.Update(func(id *Identity) { id.MemberID, id.ClusterID = 7, "c" }), l.Close(), d.Close()); err != nil {
			t.Fatal(err)
		}
		f, err := fs.Create("/data/conclave/identity")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("{"), 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
		var corrupt *CorruptError
		if _, err := OpenDir(fs, "/data", "/log"); !errors.As(err, &corrupt) {
			t.Fatal(err)
		}
		damaged, err := OpenDamagedDir(fs, "/data", "/log")
		if err != nil {
			t.Fatal(err)
		}
		if id := damaged.Identity.Get(); id.MemberID != 0 {
			t.Errorf("%+v", id)
		}
		if err := damaged.Identity.Update(func(*Identity) {}); err == nil {
			t.Error("an identity that can't be read was overwritten")
		}
		for n := range again + 1 {
			if suffix, err := damaged.SetAside(); err != nil || suffix != ".aside-damaged-1" && n == 0 {
				t.Fatalf("%q, %v", suffix, err)
			}
		}
		if err := damaged.Close(); err != nil {
			t.Fatal(err)
		}
		clean := openDir(t, fs, "/data", "/log")
		if !clean.Empty() {
			t.Error("something is left")
		}
		if names, err := fs.List("/log/conclave/log"); err != nil || !slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".aside-damaged-1") }) {
			t.Errorf("%q, %v", names, err)
		}
		if err := clean.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
