package sim

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/conclave-dev/conclave/internal/storage"
	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// disk is a member's: what it has, and what is wrong with it.
type disk struct {
	mem *vfs.Mem
	// slowUntil and fullUntil say until when syncs take long, and until when
	// there is no space.
	slowUntil, fullUntil time.Duration
	// hungUntil say until when nothing that is written to the log, and to the
	// rest, comes back (storage.Disk).
	hungUntil [storage.NumDisks]time.Duration
	// broken makes the next sync of the log fail.
	broken bool
	// startOps is after how many more operations the power goes while a process
	// starts, 0 for never; lost tells that it has.
	startOps int
	lost     bool
	// bad makes reads of the log come back wrong, until the process has died
	// of it.
	bad bool
}

var errIO = &fs.PathError{Op: "sync", Path: "the disk", Err: syscall.EIO}

// hook is what the disk does before each operation.
func (m *member) hook(op vfs.Op, path string, _ int64, _ int) error {
	w, d, p := m.w, &m.disk, m.proc
	switch {
	case d.lost:
		return vfs.ErrCrashed
	case p != nil && p.alive && p.node == nil && d.startOps > 0:
		if d.startOps--; d.startOps == 0 {
			d.lost = true
			d.mem.Crash(w.rng)
			return vfs.ErrCrashed
		}
	}
	if p == nil || !p.alive || p.node == nil {
		return nil
	}
	switch op {
	case vfs.OpDatasync, vfs.OpSync:
		if d.broken && strings.Contains(path, "/log/") {
			d.broken = false
			return errIO
		}
		// A sync takes its time; if the power goes meanwhile, what was written may
		// be lost.
		m.wait(path, d.syncTime(w))
	case vfs.OpWrite, vfs.OpCreate, vfs.OpPreallocate:
		m.wait(path, 0)
		if w.now < d.fullUntil {
			return syscall.ENOSPC
		}
	case vfs.OpRead:
		if d.bad && strings.Contains(path, "/log/") {
			return vfs.ErrCorruptSector
		}
	}
	return nil
}

// wait lets the coroutine that runs wait for the disk: for d, and for as long as
// the disk hangs. Whoever works on a file of the log and is not the log writer holds
// locks that the log writer wants, and does not pause.
func (m *member) wait(path string, d time.Duration) {
	w := m.w
	c := w.running
	inLog := strings.Contains(path, "/log/")
	if c == nil || c.p != m.proc || c.logs != inLog {
		return
	}
	which := storage.DataDisk
	if inLog {
		which = storage.LogDisk
	}
	if d = max(d, m.disk.hungUntil[which]-w.now); d > 0 {
		c.sleep(d)
	}
}

func (d *disk) syncTime(w *World) time.Duration {
	if w.now < d.slowUntil {
		return w.between(50*time.Millisecond, time.Second)
	}
	if w.chance(50) {
		return w.between(0, 40*time.Millisecond)
	}
	return w.between(50*time.Microsecond, 3*time.Millisecond)
}

// rot flips a bit in a file of the member, at rest. It reports false if there
// is nothing to rot.
func (m *member) rot() bool {
	w := m.w
	dir := []string{"data/conclave/log", "data/conclave/snap"}[w.rng.IntN(2)]
	names, err := m.disk.mem.List(dir)
	if err != nil || len(names) == 0 {
		return false
	}
	path := dir + "/" + names[w.rng.IntN(len(names))]
	info, err := m.disk.mem.Stat(path)
	if err != nil || info.Size == 0 {
		return false
	}
	off := w.rng.Int64N(info.Size)
	if err := m.disk.mem.Corrupt(path, off, 1<<w.rng.IntN(8)); err != nil {
		return false
	}
	w.note("%s: a bit of %s has flipped at %d", m.name, path, off)
	return true
}

// fileSystem is what the member's process gets to see.
func (m *member) fileSystem() vfs.FS {
	var fs vfs.FS = m.disk.mem
	if m.w.opt.Bug == bugLyingDisk {
		fs = lyingFS{m.disk.mem, m.w}
	}
	return vfs.Watch(fs, func() time.Duration { return m.w.now })
}

var errGone = errors.New("sim: the process is gone")
