package process

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// journal remembers how to take back what a process has done to its files and
// not synced, so that a kill can be made to look like a failed power supply: a
// killed process alone loses nothing, since the kernel keeps what was written.
//
// A nil journal remembers nothing and lets everything pass.
type journal struct {
	mu     sync.Mutex
	shadow string // a directory that keeps links to files that were removed or replaced
	links  int
	inodes map[inodeKey]*inode
	order  []*inode // as first opened
	dirs   map[string][]dirChange
}

type inodeKey struct{ dev, ino uint64 }

// inode is a file's contents, whatever its name. The journal's own handle keeps
// its number from being given to another file.
type inode struct {
	j       *journal
	f       *os.File
	pending []extent
}

// extent is what a range of a file was before a change.
type extent struct {
	off  int64
	old  []byte
	size int64 // of the file
}

// dirChange is a change of a directory.
type dirChange struct {
	undo func() error
	done func() // once the change is durable
}

const sector = 512

func newJournal(shadow string) *journal {
	must(os.MkdirAll(shadow, 0o700))
	return &journal{shadow: shadow, inodes: make(map[inodeKey]*inode), dirs: make(map[string][]dirChange)}
}

// must ends the process loudly: a journal that fails makes no test.
func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "panic: the journal:", err)
		os.Exit(70)
	}
}

// opened returns the state of the file of that name, nil without a journal.
func (j *journal) opened(name string) *inode {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(err)
	var st syscall.Stat_t
	must(syscall.Fstat(int(f.Fd()), &st))
	key := inodeKey{st.Dev, st.Ino}
	if n := j.inodes[key]; n != nil {
		must(f.Close())
		return n
	}
	n := &inode{j: j, f: f}
	j.inodes[key] = n
	j.order = append(j.order, n)
	return n
}

// creating is called before a file is made or emptied; what it returns is
// called after.
func (j *journal) creating(name string) func(err error) {
	if j == nil {
		return nil
	}
	if _, err := os.Lstat(name); err == nil {
		j.opened(name).resizing(0)
		return nil
	}
	return func(err error) {
		if err == nil {
			j.note(name, dirChange{undo: func() error { return os.Remove(name) }, done: func() {}})
		}
	}
}

func (j *journal) note(name string, c dirChange) {
	j.mu.Lock()
	defer j.mu.Unlock()
	dir := path.Dir(name)
	j.dirs[dir] = append(j.dirs[dir], c)
}

// keep links name to where it can be found again; "" if there is no such file.
func (j *journal) keep(name string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.links++
	link := filepath.Join(j.shadow, fmt.Sprintf("%d-%d", os.Getpid(), j.links))
	err := os.Link(name, link)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	must(err)
	return link
}

func (j *journal) renaming(from, to string, do func() error) error {
	if j == nil {
		return do()
	}
	replaced := j.keep(to)
	if err := do(); err != nil {
		return err
	}
	j.note(to, dirChange{
		undo: func() error {
			err := os.Rename(to, from)
			if err == nil && replaced != "" {
				err = os.Rename(replaced, to)
			}
			return err
		},
		done: func() { _ = os.Remove(replaced) },
	})
	return nil
}

func (j *journal) removing(name string, do func() error) error {
	if j == nil {
		return do()
	}
	link := j.keep(name)
	if err := do(); err != nil {
		return err
	}
	j.note(name, dirChange{
		undo: func() error { return os.Rename(link, name) },
		done: func() { _ = os.Remove(link) },
	})
	return nil
}

func (j *journal) syncingDir(dir string, do func() error) error {
	if j == nil {
		return do()
	}
	j.mu.Lock()
	n := len(j.dirs[dir])
	j.mu.Unlock()
	if err := do(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.dirs[dir][:n] {
		c.done()
	}
	j.dirs[dir] = j.dirs[dir][n:]
	return nil
}

// writing is called before bytes are written.
func (n *inode) writing(p []byte, off int64) {
	if n == nil {
		return
	}
	n.j.mu.Lock()
	defer n.j.mu.Unlock()
	size := n.size()
	old := make([]byte, len(p)) // zeros beyond the end
	_, err := n.f.ReadAt(old[:max(0, min(int64(len(p)), size-off))], off)
	must(err)
	n.pending = append(n.pending, extent{off, old, size})
}

// resizing is called before the size changes.
func (n *inode) resizing(to int64) {
	if n == nil {
		return
	}
	n.j.mu.Lock()
	defer n.j.mu.Unlock()
	size := n.size()
	old := make([]byte, max(0, size-to))
	_, err := n.f.ReadAt(old, to)
	must(err)
	n.pending = append(n.pending, extent{to, old, size})
}

func (n *inode) size() int64 {
	info, err := n.f.Stat()
	must(err)
	return info.Size()
}

func (n *inode) syncing(sync func() error) error {
	if n == nil {
		return sync()
	}
	n.j.mu.Lock()
	k := len(n.pending)
	n.j.mu.Unlock()
	if err := sync(); err != nil {
		return err
	}
	n.j.mu.Lock()
	defer n.j.mu.Unlock()
	n.pending = n.pending[k:]
	return nil
}

// lose takes back a choice of everything that is not durable. Of each
// directory's changes the first few stay, since file systems keep their order;
// of each file's bytes any sectors may have reached the disk.
func (j *journal) lose(seed uint64) (survived, lost int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := rand.New(rand.NewPCG(seed, 1))
	for _, n := range j.order {
		s, l := n.lose(r)
		survived, lost = survived+s, lost+l
	}
	dirs := make([]string, 0, len(j.dirs))
	for dir := range j.dirs {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	for _, dir := range dirs {
		changes := j.dirs[dir]
		stay := r.IntN(len(changes) + 1)
		survived, lost = survived+stay, lost+len(changes)-stay
		for i := len(changes) - 1; i >= stay; i-- {
			must(changes[i].undo())
		}
	}
	return survived, lost
}

func (n *inode) lose(r *rand.Rand) (survived, lost int) {
	if len(n.pending) == 0 {
		return 0, 0
	}
	// The size on disk may be any that the file has had.
	sizes := []int64{n.size()}
	all := r.IntN(3) == 0
	for i := len(n.pending) - 1; i >= 0; i-- {
		e := n.pending[i]
		sizes = append(sizes, e.size)
		for from := int64(0); from < int64(len(e.old)); {
			to := min(int64(len(e.old)), (e.off+from)/sector*sector+sector-e.off)
			if all || r.IntN(2) == 0 {
				_, err := n.f.WriteAt(e.old[from:to], e.off+from)
				must(err)
				lost++
			} else {
				survived++
			}
			from = to
		}
	}
	size := sizes[r.IntN(len(sizes))]
	if all {
		size = sizes[len(sizes)-1]
	}
	must(n.f.Truncate(size))
	return survived, lost
}
