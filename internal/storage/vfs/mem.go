package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Mem is a file system in memory that remembers what a disk would have. Every
// file has the bytes that programs see and the bytes that survive a crash;
// every directory has the names that programs see and those that survive.
// Crash makes the second into the first, after a random part of what was in
// between has been let through.
//
// It is safe for concurrent use and deterministic: the same calls and the same
// random source give the same bytes.
type Mem struct {
	hook Hook

	mu   sync.Mutex
	root *memNode
	// epoch counts the lives of the machine. A handle, and a lock, of an
	// earlier epoch is dead.
	epoch uint64
	// clock counts writes, so that a crash can be "everything up to then".
	clock uint64
	locks map[string]*memLock
}

// NewMem returns an empty file system. The hook may be nil.
func NewMem(hook Hook) *Mem {
	return &Mem{hook: hook, root: newMemDir(), locks: make(map[string]*memLock)}
}

// SetHook replaces the hook. It must not race with operations.
func (m *Mem) SetHook(hook Hook) { m.hook = hook }

// memNode is a directory or a file.
type memNode struct {
	dir *memDir // nil for a file

	// data is what programs read; durable what is on the disk for certain.
	data, durable []byte
	// dirty has, per sector, what was written to it since the last sync,
	// oldest first. The disk may hold any of these, or what durable has.
	dirty map[int64][]sectorVersion
	// sizes has the sizes that the file was given since the last sync.
	sizes []sizeVersion
}

type memDir struct {
	names   map[string]*memNode // what programs see
	durable map[string]*memNode // what is on the disk for certain
	// pending has the changes since the last SyncDir, oldest first. Each may
	// or may not be on the disk.
	pending []dirChange
}

// dirChange is one change of a directory: node appears under the name to
// (unless empty), and is no longer found under the name from (unless empty).
type dirChange struct {
	at       uint64
	node     *memNode
	from, to string
}

func newMemDir() *memNode {
	return &memNode{dir: &memDir{names: map[string]*memNode{}, durable: map[string]*memNode{}}}
}

func (d *memDir) change(c dirChange) {
	d.pending = append(d.pending, c)
	applyDirChange(d.names, c)
}

// applyDirChange does nothing if the node is not where the change expects it:
// an earlier change on which this one builds was lost.
func applyDirChange(names map[string]*memNode, c dirChange) {
	if c.from != "" {
		if names[c.from] != c.node {
			return
		}
		delete(names, c.from)
	}
	if c.to != "" {
		names[c.to] = c.node
	}
}

// find returns the node at a path, and the directory and name that lead to it.
// The node is nil if the last element does not exist.
func (m *Mem) find(name string) (node *memNode, dir *memDir, base string, err error) {
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if clean == "" {
		return m.root, nil, "", nil
	}
	node = m.root
	for part := range strings.SplitSeq(clean, "/") {
		if node == nil {
			return nil, nil, "", fs.ErrNotExist
		}
		if node.dir == nil {
			return nil, nil, "", syscall.ENOTDIR
		}
		dir, base = node.dir, part
		node = dir.names[part]
	}
	return node, dir, base, nil
}

// enter runs the hook and takes the lock.
func (m *Mem) enter(op Op, name string) error {
	if m.hook != nil {
		if err := m.hook(op, name, 0, 0); err != nil {
			return pathError(op, name, err)
		}
	}
	m.mu.Lock()
	return nil
}

func (m *Mem) open(op Op, name string, create, writable bool) (File, error) {
	if err := m.enter(op, name); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	node, dir, base, err := m.find(name)
	switch {
	case err != nil:
		return nil, pathError(op, name, err)
	case node == nil && !create:
		return nil, pathError(op, name, fs.ErrNotExist)
	case node == nil:
		node = &memNode{}
		m.clock++
		dir.change(dirChange{at: m.clock, node: node, to: base})
	case node.dir != nil:
		return nil, pathError(op, name, syscall.EISDIR)
	case create:
		m.clock++
		node.truncate(m.clock, 0)
	}
	return &memFile{m: m, node: node, name: name, epoch: m.epoch, writable: writable}, nil
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) { return m.open(OpCreate, name, true, true) }

// Open implements FS.
func (m *Mem) Open(name string) (File, error) { return m.open(OpOpen, name, false, false) }

// OpenReadWrite implements FS.
func (m *Mem) OpenReadWrite(name string) (File, error) {
	return m.open(OpOpenReadWrite, name, false, true)
}

// Rename implements FS.
func (m *Mem) Rename(oldPath, newPath string) error {
	if err := m.enter(OpRename, oldPath); err != nil {
		return err
	}
	defer m.mu.Unlock()
	node, dir, from, err := m.find(oldPath)
	if err != nil {
		return pathError(OpRename, oldPath, err)
	}
	if node == nil {
		return pathError(OpRename, oldPath, fs.ErrNotExist)
	}
	_, newDir, to, err := m.find(newPath)
	if err != nil {
		return pathError(OpRename, newPath, err)
	}
	if dir != newDir {
		return pathError(OpRename, newPath, syscall.EXDEV)
	}
	m.clock++
	dir.change(dirChange{at: m.clock, node: node, from: from, to: to})
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	if err := m.enter(OpRemove, name); err != nil {
		return err
	}
	defer m.mu.Unlock()
	node, dir, base, err := m.find(name)
	if err == nil && node == nil {
		err = fs.ErrNotExist
	}
	if err == nil && node.dir != nil {
		err = syscall.EISDIR
	}
	if err != nil {
		return pathError(OpRemove, name, err)
	}
	m.clock++
	dir.change(dirChange{at: m.clock, node: node, from: base})
	return nil
}

// MkdirAll implements FS. The new directories are durable at once.
func (m *Mem) MkdirAll(name string) error {
	if err := m.enter(OpMkdirAll, name); err != nil {
		return err
	}
	defer m.mu.Unlock()
	node := m.root
	for part := range strings.SplitSeq(strings.Trim(path.Clean("/"+name), "/"), "/") {
		if part == "" {
			continue
		}
		if node.dir == nil {
			return pathError(OpMkdirAll, name, syscall.ENOTDIR)
		}
		next := node.dir.names[part]
		if next == nil {
			next = newMemDir()
			node.dir.names[part] = next
			node.dir.durable[part] = next
		}
		node = next
	}
	if node.dir == nil {
		return pathError(OpMkdirAll, name, syscall.ENOTDIR)
	}
	return nil
}

// List implements FS.
func (m *Mem) List(name string) ([]string, error) {
	if err := m.enter(OpList, name); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	dir, err := m.findDir(name)
	if err != nil {
		return nil, pathError(OpList, name, err)
	}
	return sortedNames(dir.names), nil
}

func (m *Mem) findDir(name string) (*memDir, error) {
	node, _, _, err := m.find(name)
	switch {
	case err != nil:
		return nil, err
	case node == nil:
		return nil, fs.ErrNotExist
	case node.dir == nil:
		return nil, syscall.ENOTDIR
	}
	return node.dir, nil
}

func sortedNames(names map[string]*memNode) []string {
	out := make([]string, 0, len(names))
	for n := range names {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// Stat implements FS.
func (m *Mem) Stat(name string) (Info, error) {
	if err := m.enter(OpStat, name); err != nil {
		return Info{}, err
	}
	defer m.mu.Unlock()
	node, _, _, err := m.find(name)
	if err == nil && node == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return Info{}, pathError(OpStat, name, err)
	}
	return Info{Size: int64(len(node.data)), IsDir: node.dir != nil}, nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(name string) error {
	if err := m.enter(OpSyncDir, name); err != nil {
		return err
	}
	defer m.mu.Unlock()
	dir, err := m.findDir(name)
	if err != nil {
		return pathError(OpSyncDir, name, err)
	}
	for _, c := range dir.pending {
		applyDirChange(dir.durable, c)
	}
	dir.pending = nil
	return nil
}

type memLock struct {
	m    *Mem
	path string
}

// Lock implements FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	if err := m.enter(OpLock, name); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	node, dir, base, err := m.find(name)
	if err != nil {
		return nil, pathError(OpLock, name, err)
	}
	if node == nil {
		m.clock++
		dir.change(dirChange{at: m.clock, node: &memNode{}, to: base})
	}
	clean := path.Clean("/" + name)
	if m.locks[clean] != nil {
		return nil, pathError(OpLock, name, ErrLocked)
	}
	l := &memLock{m: m, path: clean}
	m.locks[clean] = l
	return l, nil
}

// Close releases the lock, unless a crash has released it already.
func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.m.locks[l.path] == l {
		delete(l.m.locks, l.path)
	}
	return nil
}

// Corrupt flips the bits of mask in one byte of a file, in what programs see
// and in whatever a crash may leave of it: bit rot.
func (m *Mem) Corrupt(name string, off int64, mask byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	node, _, _, err := m.find(name)
	if err != nil {
		return err
	}
	if node == nil || node.dir != nil || off < 0 || off >= int64(len(node.data)) {
		return fmt.Errorf("corrupt %s at %d: no such byte", name, off)
	}
	node.data[off] ^= mask
	if off < int64(len(node.durable)) {
		node.durable[off] ^= mask
	}
	for _, v := range node.dirty[off/SectorSize] {
		v.data[off%SectorSize] ^= mask
	}
	return nil
}
