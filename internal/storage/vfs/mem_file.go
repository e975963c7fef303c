package vfs

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
)

// SectorSize is the unit, in bytes, that a disk writes wholly or not at all.
const SectorSize = 512

// sectorVersion is what one write made of a sector.
type sectorVersion struct {
	at   uint64 // Mem.clock of the write
	data *[SectorSize]byte
}

type sizeVersion struct {
	at   uint64
	size int64
}

// resize returns b with length n; what it gains is zero.
func resize(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		clear(b[n:])
		return b[:n]
	}
	if n <= int64(cap(b)) {
		return b[:n] // cleared when it shrank
	}
	return append(b, make([]byte, n-int64(len(b)))...)
}

func (n *memNode) setSize(at uint64, size int64) {
	if size != int64(len(n.data)) {
		n.data = resize(n.data, size)
		n.sizes = append(n.sizes, sizeVersion{at, size})
	}
}

// touch records what the sectors of [off, end) have become.
func (n *memNode) touch(at uint64, off, end int64) {
	if n.dirty == nil {
		n.dirty = make(map[int64][]sectorVersion)
	}
	for s := off / SectorSize; s*SectorSize < end; s++ {
		v := sectorVersion{at, new([SectorSize]byte)}
		if from := s * SectorSize; from < int64(len(n.data)) {
			copy(v.data[:], n.data[from:])
		}
		n.dirty[s] = append(n.dirty[s], v)
	}
}

func (n *memNode) write(at uint64, p []byte, off int64) {
	end := off + int64(len(p))
	if end > int64(len(n.data)) {
		n.setSize(at, end)
	}
	copy(n.data[off:], p)
	n.touch(at, off, end)
}

func (n *memNode) truncate(at uint64, size int64) {
	old := int64(len(n.data))
	n.setSize(at, size)
	if size < old {
		n.touch(at, size, old)
	}
}

func (n *memNode) sync() {
	n.durable = resize(n.durable, int64(len(n.data)))
	for s := range n.dirty {
		if from := s * SectorSize; from < int64(len(n.data)) {
			to := min(from+SectorSize, int64(len(n.data)))
			copy(n.durable[from:to], n.data[from:to])
		}
	}
	n.loseDirty()
}

// loseDirty forgets that anything was written: what a failed sync does.
func (n *memNode) loseDirty() { n.dirty, n.sizes = nil, nil }

type memFile struct {
	m        *Mem
	node     *memNode
	name     string
	epoch    uint64 // of m when it was opened
	writable bool
	closed   bool
}

// alive is called with m.mu held.
func (f *memFile) alive() error {
	switch {
	case f.epoch != f.m.epoch:
		return ErrCrashed
	case f.closed:
		return fs.ErrClosed
	}
	return nil
}

// enter checks the handle, runs the hook and takes the lock. A nil error from
// enter means that the lock is held; hookErr is what the hook returned.
func (f *memFile) enter(op Op, off int64, n int) (hookErr, err error) {
	f.m.mu.Lock()
	if err := f.alive(); err != nil {
		f.m.mu.Unlock()
		return nil, pathError(op, f.name, err)
	}
	if f.m.hook == nil {
		return nil, nil
	}
	f.m.mu.Unlock()
	hookErr = f.m.hook(op, f.name, off, n)
	f.m.mu.Lock()
	if err := f.alive(); err != nil { // the hook may have pulled the plug
		f.m.mu.Unlock()
		return nil, pathError(op, f.name, err)
	}
	return hookErr, nil
}

// do is enter for operations that a hook's error stops.
func (f *memFile) do(op Op, off int64, fn func() error) error {
	hookErr, err := f.enter(op, off, 0)
	if err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	if hookErr != nil {
		return pathError(op, f.name, hookErr)
	}
	return pathError(op, f.name, fn())
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	hookErr, err := f.enter(OpRead, off, len(p))
	if err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	if hookErr != nil && !errors.Is(hookErr, ErrCorruptSector) {
		return 0, pathError(OpRead, f.name, hookErr)
	}
	if off < 0 {
		return 0, pathError(OpRead, f.name, syscall.EINVAL)
	}
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if hookErr != nil {
		for i := range n {
			p[i] ^= 0xa5
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	hookErr, err := f.enter(OpWrite, off, len(p))
	if err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	if !f.writable {
		return 0, pathError(OpWrite, f.name, syscall.EBADF)
	}
	if off < 0 {
		return 0, pathError(OpWrite, f.name, syscall.EINVAL)
	}
	if hookErr != nil {
		var short *ShortWrite
		if !errors.As(hookErr, &short) {
			return 0, pathError(OpWrite, f.name, hookErr)
		}
		p = p[:min(short.N, len(p))]
	}
	if len(p) > 0 {
		f.m.clock++
		f.node.write(f.m.clock, p, off)
	}
	return len(p), pathError(OpWrite, f.name, hookErr)
}

func (f *memFile) Sync() error     { return f.sync(OpSync) }
func (f *memFile) Datasync() error { return f.sync(OpDatasync) }

func (f *memFile) sync(op Op) error {
	hookErr, err := f.enter(op, 0, 0)
	if err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	if hookErr != nil {
		f.node.loseDirty()
		return pathError(op, f.name, hookErr)
	}
	f.node.sync()
	return nil
}

func (f *memFile) Truncate(size int64) error {
	return f.do(OpTruncate, size, func() error {
		if !f.writable || size < 0 {
			return syscall.EINVAL
		}
		f.m.clock++
		f.node.truncate(f.m.clock, size)
		return nil
	})
}

func (f *memFile) Preallocate(size int64) error {
	return f.do(OpPreallocate, size, func() error {
		if !f.writable || size < 0 {
			return syscall.EINVAL
		}
		if size > int64(len(f.node.data)) {
			f.m.clock++
			f.node.setSize(f.m.clock, size)
		}
		return nil
	})
}

func (f *memFile) Size() (int64, error) {
	var size int64
	err := f.do(OpSize, 0, func() error {
		size = int64(len(f.node.data))
		return nil
	})
	return size, err
}

func (f *memFile) Close() error {
	return f.do(OpClose, 0, func() error {
		f.closed = true
		return nil
	})
}
