package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOSFiles(t *testing.T) {
	o, dir := OS(), t.TempDir()
	sub := filepath.Join(dir, "a", "b")
	check(t, o.MkdirAll(sub))
	check(t, o.MkdirAll(sub))
	name := filepath.Join(sub, "x")
	f := must[File](t)(o.Create(name))
	check(t, f.Preallocate(3<<20+5))
	write(t, f, 7, []byte("hello"))
	check(t, f.Datasync())
	check(t, f.Sync())
	check(t, f.Truncate(4<<10))
	check(t, f.Preallocate(1))
	if size := must[int64](t)(f.Size()); size != 4<<10 {
		t.Fatalf("size = %d", size)
	}
	check(t, f.Close())
	check(t, o.Rename(name, name+"2"))
	check(t, o.SyncDir(sub))
	got := contents(t, o, name+"2")
	if !bytes.Equal(got[:14], []byte("\x00\x00\x00\x00\x00\x00\x00hello\x00\x00")) {
		t.Fatalf("contents = %q", got[:14])
	}
	f = must[File](t)(o.OpenReadWrite(name + "2"))
	write(t, f, 0, []byte("J"))
	check(t, f.Close())
	if names := must[[]string](t)(o.List(sub)); !slices.Equal(names, []string{"x2"}) {
		t.Fatalf("List = %v", names)
	}
	if info := must[Info](t)(o.Stat(name + "2")); info.Size != 4<<10 || info.IsDir {
		t.Fatalf("Stat = %+v", info)
	}
	check(t, o.Remove(name+"2"))
	if _, err := o.Open(name + "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Open of a removed file = %v", err)
	}
	if err := o.MkdirAll(filepath.Join(os.Args[0], "x")); !errors.Is(err, unix.ENOTDIR) {
		t.Fatalf("MkdirAll below a file = %v", err)
	}
}

func TestOSFilesAreNotForOthers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x")
	f := must[File](t)(OS().Create(name))
	check(t, f.Close())
	info, err := os.Stat(name)
	check(t, err)
	if info.Mode().Perm()&0o007 != 0 {
		t.Fatalf("mode = %v", info.Mode())
	}
}

func TestOSPreallocateWritesTheExtents(t *testing.T) {
	f := must[File](t)(OS().Create(filepath.Join(t.TempDir(), "x")))
	defer f.Close()
	check(t, f.Preallocate(1<<20))
	info, err := os.Stat(f.Name())
	check(t, err)
	if info.Size() != 1<<20 {
		t.Fatalf("size = %d", info.Size())
	}
	var st unix.Stat_t
	check(t, unix.Stat(f.Name(), &st))
	if st.Blocks*512 < 1<<20 {
		t.Fatalf("only %d bytes have blocks", st.Blocks*512)
	}
}

// TestOSLock also asks a second process, which is this test binary again.
func TestOSLock(t *testing.T) {
	if path := os.Getenv("VFS_TEST_LOCK"); path != "" {
		_, err := OS().Lock(path)
		fmt.Printf("refused: %v %v\n", errors.Is(err, ErrLocked), err)
		return
	}
	path := filepath.Join(t.TempDir(), "LOCK")
	lock, err := OS().Lock(path)
	check(t, err)
	if _, err := OS().Lock(path); !errors.Is(err, ErrLocked) {
		t.Fatalf("second Lock = %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestOSLock$")
	cmd.Env = append(os.Environ(), "VFS_TEST_LOCK="+path)
	out, err := cmd.CombinedOutput()
	check(t, err)
	if want := fmt.Sprintf("refused: true lock %s: %v (pid %d)", path, ErrLocked, os.Getpid()); !strings.Contains(string(out), want) {
		t.Fatalf("another process got\n%s\nwant %s", out, want)
	}
	check(t, lock.Close())
	lock, err = OS().Lock(path)
	check(t, err)
	check(t, lock.Close())
}

// BenchmarkDatasync is what the comment at Preallocate quotes.
func BenchmarkDatasync(b *testing.B) {
	const segment = 64 << 20
	prepare := map[string]func(*osFile) error{
		"growing": func(*osFile) error { return nil },
		"fallocate": func(f *osFile) error {
			return unix.Fallocate(int(f.f.Fd()), 0, 0, segment)
		},
		"zeros": func(f *osFile) error { return f.Preallocate(segment) },
	}
	for _, size := range []int{256, 4096, 65536} {
		for _, mode := range []string{"growing", "fallocate", "zeros"} {
			b.Run(fmt.Sprintf("%s/%d", mode, size), func(b *testing.B) {
				name := filepath.Join(b.TempDir(), "x")
				var f *osFile
				off := int64(segment)
				buf := bytes.Repeat([]byte{1}, size)
				var took []time.Duration
				for range b.N {
					if off+int64(size) > segment {
						b.StopTimer()
						if f != nil {
							_ = f.Close()
						}
						file, err := OS().Create(name)
						if err != nil {
							b.Fatal(err)
						}
						f, off = file.(*osFile), 4096
						if err := errors.Join(prepare[mode](f), f.Sync()); err != nil {
							b.Fatal(err)
						}
						b.StartTimer()
					}
					start := time.Now()
					if _, err := f.WriteAt(buf, off); err != nil {
						b.Fatal(err)
					}
					if err := f.Datasync(); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(start))
					off += int64(size)
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
				_ = f.Close()
			})
		}
	}
}
