package process

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"syscall"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// faultFS is the operating system's file system, on which a plan acts. It
// counts changes only: to die before a read is to die before the next change.
type faultFS struct {
	vfs.FS
	plan plan
	disk *journal // nil unless the power is to fail

	// living is held, for reading, by every change under way, and for writing
	// by whoever crashes, for good.
	living sync.RWMutex

	mu     sync.Mutex
	steps  []step
	due    int                   // steps so far of the kind to crash at
	faulty int                   // operations so far of the kind to fail
	files  map[*faultFile]string // open ones, by the name that they have now
}

func newFaultFS(p plan) *faultFS {
	f := &faultFS{FS: vfs.OS(), plan: p, files: make(map[*faultFile]string)}
	if p.Crash != nil && p.Crash.PowerLoss || p.Fault != nil && p.Fault.LoseAtEnd {
		f.disk = newJournal(p.DataDir + ".shadow")
	}
	return f
}

// change does one change, or dies of it. half is what is left of it when the
// process dies in the middle, nil where there is no middle.
func (f *faultFS) change(op vfs.Op, name string, half func(), do func() error) error {
	f.living.RLock()
	s := step{op, classOf(name)}
	due := f.count(s)
	if err := f.fault(op, name); err != nil {
		f.living.RUnlock()
		return err
	}
	if due && f.plan.Crash.When != after {
		if f.plan.Crash.When == torn && half != nil {
			half()
		}
		f.living.RUnlock()
		f.die()
	}
	err := do()
	f.living.RUnlock()
	if due {
		f.die()
	}
	return err
}

// count notes a step, and reports whether it is the one to crash at.
func (f *faultFS) count(s step) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps = append(f.steps, s)
	c := f.plan.Crash
	if c == nil || c.Step != nil && *c.Step != s {
		return false
	}
	f.due++
	return f.due == c.At
}

// fault returns the error that the plan has for an operation.
func (f *faultFS) fault(op vfs.Op, name string) error {
	p := f.plan.Fault
	if p == nil || op != p.Op || classOf(name) != p.Class {
		return nil
	}
	f.mu.Lock()
	f.faulty++
	n := f.faulty
	f.mu.Unlock()
	if n < p.Nth {
		return nil
	}
	return &os.PathError{Op: string(op), Path: name, Err: p.Errno}
}

// die ends the process as a kill does, with every other change finished or not
// begun, and nothing running between this and the end.
func (f *faultFS) die() {
	f.living.Lock()
	f.report(f.plan.Crash.PowerLoss, f.plan.Crash.Seed)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// end is for a process that ends by itself.
func (f *faultFS) end() {
	f.living.Lock()
	f.report(f.plan.Fault != nil && f.plan.Fault.LoseAtEnd, 0)
}

func (f *faultFS) report(powerLoss bool, seed uint64) {
	r := report{Steps: f.steps}
	if powerLoss {
		r.Survived, r.Lost = f.disk.lose(seed)
	}
	b, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(f.plan.Report, b, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "panic: the report can't be written:", err)
	}
}

func (f *faultFS) open(op vfs.Op, name string, open func(string) (vfs.File, error)) (vfs.File, error) {
	var out vfs.File
	err := f.change(op, name, nil, func() error {
		var undo func(error)
		if op == vfs.OpCreate {
			undo = f.disk.creating(name)
		}
		file, err := open(name)
		if undo != nil {
			undo(err)
		}
		if err != nil {
			return err
		}
		out = f.opened(file, f.disk.opened(name))
		return nil
	})
	return out, err
}

func (f *faultFS) opened(file vfs.File, state *inode) vfs.File {
	out := &faultFile{File: file, fs: f, state: state}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[out] = file.Name()
	return out
}

func (f *faultFS) Create(name string) (vfs.File, error) {
	return f.open(vfs.OpCreate, name, f.FS.Create)
}

// OpenReadWrite changes nothing by itself, but its file has to be watched.
func (f *faultFS) OpenReadWrite(name string) (vfs.File, error) {
	if err := f.fault(vfs.OpOpenReadWrite, name); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenReadWrite(name)
	if err != nil {
		return nil, err
	}
	return f.opened(file, f.disk.opened(name)), nil
}

func (f *faultFS) Open(name string) (vfs.File, error) {
	if err := f.fault(vfs.OpOpen, name); err != nil {
		return nil, err
	}
	file, err := f.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return f.opened(file, nil), nil
}

func (f *faultFS) Rename(from, to string) error {
	return f.change(vfs.OpRename, to, nil, func() error {
		err := f.disk.renaming(from, to, func() error { return f.FS.Rename(from, to) })
		if err == nil {
			f.renamed(from, to)
		}
		return err
	})
}

// renamed follows open files to their new name: what a file is for changes with
// it.
func (f *faultFS) renamed(from, to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for file, name := range f.files {
		if name == from {
			f.files[file] = to
		}
	}
}

func (f *faultFS) Remove(name string) error {
	return f.change(vfs.OpRemove, name, nil, func() error {
		return f.disk.removing(name, func() error { return f.FS.Remove(name) })
	})
}

// MkdirAll makes its directories durable itself.
func (f *faultFS) MkdirAll(name string) error {
	return f.change(vfs.OpMkdirAll, name, nil, func() error { return f.FS.MkdirAll(name) })
}

func (f *faultFS) SyncDir(name string) error {
	return f.change(vfs.OpSyncDir, name, nil, func() error {
		return f.disk.syncingDir(name, func() error { return f.FS.SyncDir(name) })
	})
}

func (f *faultFS) Lock(name string) (lock io.Closer, err error) {
	err = f.change(vfs.OpLock, name, nil, func() error {
		lock, err = f.FS.Lock(name)
		return err
	})
	return lock, err
}

// faultFile is an open file on a faultFS.
type faultFile struct {
	vfs.File
	fs    *faultFS
	state *inode // nil unless the power is to fail
}

func (f *faultFile) name() string {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.fs.files[f]
}

func (f *faultFile) Close() error {
	f.fs.mu.Lock()
	delete(f.fs.files, f)
	f.fs.mu.Unlock()
	return f.File.Close()
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.fault(vfs.OpRead, f.name()); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultFile) WriteAt(p []byte, off int64) (n int, err error) {
	half := func() {
		f.state.writing(p[:len(p)/2], off)
		_, _ = f.File.WriteAt(p[:len(p)/2], off)
	}
	err = f.fs.change(vfs.OpWrite, f.name(), half, func() error {
		f.state.writing(p, off)
		n, err = f.File.WriteAt(p, off)
		return err
	})
	return n, err
}

func (f *faultFile) sync(op vfs.Op, sync func() error) error {
	return f.fs.change(op, f.name(), nil, func() error {
		return f.state.syncing(sync)
	})
}

func (f *faultFile) Sync() error     { return f.sync(vfs.OpSync, f.File.Sync) }
func (f *faultFile) Datasync() error { return f.sync(vfs.OpDatasync, f.File.Datasync) }

func (f *faultFile) Truncate(size int64) error {
	return f.fs.change(vfs.OpTruncate, f.name(), nil, func() error {
		f.state.resizing(size)
		return f.File.Truncate(size)
	})
}

func (f *faultFile) Preallocate(size int64) error {
	half := func() {
		f.state.resizing(math.MaxInt64)
		if have, err := f.File.Size(); err == nil && have < size {
			_ = f.File.Preallocate(have + (size-have)/2)
		}
	}
	return f.fs.change(vfs.OpPreallocate, f.name(), half, func() error {
		f.state.resizing(math.MaxInt64)
		return f.File.Preallocate(size)
	})
}
