package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// fails runs a process that is to end by itself, because of its disk, with an
// error that has all of the words.
func (h *history) fails(p plan, edits int, words ...string) {
	h.t.Helper()
	s := startMember(h.t, p)
	err := s.serving()
	if err == nil {
		err = h.resume(s)
	}
	if err == nil {
		err = h.write(edits)
	}
	if err == nil {
		h.t.Fatalf("the disk never failed\n%s", tail(s.log.String(), 20))
	}
	if got := s.exit(); got != "exit 1" {
		h.t.Fatalf("%v: the process ended with %s\n%s", err, got, tail(s.log.String(), 30))
	}
	s.checkLog()
	lines := s.log.lines("member: ")
	if len(lines) != 1 {
		h.t.Fatalf("the process says\n%s", tail(s.log.String(), 20))
	}
	for _, w := range words {
		if !strings.Contains(lines[0], w) {
			h.t.Errorf("the error is\n%s\nwithout %q", lines[0], w)
		}
	}
}

// TestDiskFails lets one kind of operation fail, once for a full disk, once for
// a broken one, at the start and later. The member stops and says why, and
// nothing that was answered is missing once the disk works again: not even if
// what a failed sync was to make durable has been lost.
func TestDiskFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		op    vfs.Op
		class class
		errno syscall.Errno
		nth   int
	}{
		{vfs.OpMkdirAll, classDir, syscall.EACCES, 1},
		{vfs.OpSyncDir, classDir, syscall.EIO, 1},
		{vfs.OpSyncDir, classDir, syscall.EIO, 6},
		{vfs.OpSyncDir, classDir, syscall.EIO, 9},
		{vfs.OpLock, classLock, syscall.EROFS, 1},
		{vfs.OpRead, classIdentity, syscall.EIO, 1},
		{vfs.OpCreate, classIdentityTemp, syscall.ENOSPC, 1},
		{vfs.OpWrite, classIdentityTemp, syscall.ENOSPC, 1},
		{vfs.OpSync, classIdentityTemp, syscall.EIO, 1},
		{vfs.OpRename, classIdentity, syscall.EIO, 1},
		{vfs.OpRead, classSnapshot, syscall.EIO, 1},
		{vfs.OpRead, classSnapshot, syscall.EIO, 5},
		{vfs.OpOpenReadWrite, classSegment, syscall.EMFILE, 1},
		{vfs.OpRead, classSegment, syscall.EIO, 1},
		{vfs.OpRead, classSegment, syscall.EIO, 3},
		{vfs.OpWrite, classSegment, syscall.EIO, 1},
		{vfs.OpWrite, classSegment, syscall.EIO, 5},
		{vfs.OpWrite, classSegment, syscall.ENOSPC, 30},
		{vfs.OpDatasync, classSegment, syscall.EIO, 1},
		{vfs.OpDatasync, classSegment, syscall.EIO, 4},
		{vfs.OpDatasync, classSegment, syscall.EIO, 25},
		{vfs.OpCreate, classNext, syscall.EMFILE, 1},
		{vfs.OpPreallocate, classNext, syscall.ENOSPC, 1},
		{vfs.OpPreallocate, classNext, syscall.ENOSPC, 200}, // of a later one
		{vfs.OpSync, classNext, syscall.EIO, 3},
		{vfs.OpRename, classNext, syscall.EIO, 1},
		{vfs.OpRename, classSegment, syscall.EIO, 1},
		{vfs.OpRename, classSpare, syscall.EIO, 1},
		{vfs.OpCreate, classSnapshotTemp, syscall.EMFILE, 1},
		{vfs.OpWrite, classSnapshotTemp, syscall.ENOSPC, 2},
		{vfs.OpSync, classSnapshotTemp, syscall.EIO, 1},
		{vfs.OpRename, classSnapshot, syscall.EIO, 1},
		{vfs.OpRemove, classSnapshot, syscall.EIO, 1},
	} {
		t.Run(fmt.Sprintf("%v of %v number %d: %v", c.op, c.class, c.nth, c.errno), func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, 5)
			p := small(dataDir(t))
			h.live(p, 60)
			p.Fault = &fault{Op: c.op, Class: c.class, Nth: c.nth, Errno: c.errno, LoseAtEnd: c.op == vfs.OpSync || c.op == vfs.OpDatasync || c.op == vfs.OpSyncDir}
			h.fails(p, 200, p.DataDir, c.errno.Error())
			p.Fault = nil
			h.survive(p)
		})
	}
}

// mountTmpfs mounts a small file system, or skips the test.
func mountTmpfs(t testing.TB, size int) (dir string, resize func(size int)) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system to fill up")
	}
	dir = t.TempDir()
	options := func(size int) string { return fmt.Sprintf("size=%d", size) }
	if err := unix.Mount("conclave-test", dir, "tmpfs", 0, options(size)); err != nil {
		t.Skipf("no small file system can be mounted to fill up (it takes CAP_SYS_ADMIN): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, func(size int) {
		t.Helper()
		if err := unix.Mount("conclave-test", dir, "tmpfs", unix.MS_REMOUNT, options(size)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskFull fills a small file system up, a little later each time.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	seed := seed(t)
	dir, resize := mountTmpfs(t, 64<<10)
	h := newHistory(t, seed)
	p := small(filepath.Join(dir, "data"))
	for size := 64 << 10; size < 160<<10; size += 8 << 10 {
		resize(size)
		h.fails(p, 10_000, p.DataDir, syscall.ENOSPC.Error())
	}
	resize(8 << 20)
	h.survive(p)
}

// TestProgramDiskFull fills the disk of conclave-server itself, with files of
// their true size.
func TestProgramDiskFull(t *testing.T) {
	t.Parallel()
	const size = 300 << 20
	dir, _ := mountTmpfs(t, size)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 180<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	s := startProgram(t, data).mustServe()
	c := connect(t, s.addr)
	contents := func(i int) []byte { return bytes.Repeat([]byte{byte(i), byte(i >> 8), 'x'}, 200_000) }
	name := func(i int) string { return fmt.Sprintf("/n%04d", i) }
	answered := 0
	for ; ; answered++ {
		r, err := c.Call(wire.OpCreate2, wire.CreateBody(name(answered), contents(answered), wire.OpenACL, wire.Persistent))
		if err != nil {
			if !isBroken(err) {
				t.Fatal(err)
			}
			break
		}
		if r.Err != wire.OK {
			t.Fatalf("create %d: error %d", answered, r.Err)
		}
	}
	if got := s.exit(); got != "exit 1" {
		t.Fatalf("on a full disk the program ended with %s\n%s", got, s.log)
	}
	if len(s.log.lines("conclave-server: the member can't go on: ", data, "no space left on device")) != 1 {
		t.Errorf("on a full disk the program says\n%s", s.log)
	}

	// It does not begin to serve what it could not write.
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	rest := filepath.Join(dir, "rest")
	if err := os.WriteFile(rest, make([]byte, int64(st.Bavail)*st.Bsize), 0o600); err != nil {
		t.Fatal(err)
	}
	s = startProgram(t, data)
	if got := s.exit(); got != "exit 1" || len(s.log.lines("conclave-server: ", data, "no space left on device")) != 1 {
		t.Errorf("started on a full disk, the program ended with %s\n%s", got, s.log)
	}

	for _, f := range []string{ballast, rest} {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	s = startProgram(t, data).mustServe()
	if err := c.open(s.addr); err != nil {
		t.Fatal(err)
	}
	for i := range answered {
		b := c.must(t, wire.OpGetData, wire.WatchBody(name(i), false))
		if got := b.Buffer(); !bytes.Equal(got, contents(i)) {
			t.Fatalf("%s has %d other bytes", name(i), len(got))
		}
		if st := b.Stat(); st.Version != 0 {
			t.Fatalf("%s: %+v", name(i), st)
		}
	}
	children := c.must(t, wire.OpGetChildren, wire.WatchBody("/", false)).Strings()
	if n := len(children) - 1; n != answered && n != answered+1 {
		t.Errorf("there are %d nodes; %d were answered and one more was sent", n, answered)
	}
	s.stop()
	t.Logf("%d nodes", answered)
}
