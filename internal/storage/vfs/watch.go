package vfs

import (
	"io"
	"strings"
	"sync"
	"time"
)

// Watched is an FS that knows which of its operations have not come back. A
// disk that stops answering fails nothing: whoever called it waits, and somebody
// else has to notice.
type Watched struct {
	fs  FS
	now func() time.Duration

	mu    sync.Mutex
	busy  []*underway
	spare []*underway
	files map[*watchedFile]struct{} // open ones, whose names Rename changes
}

// Underway is an operation that has not come back.
type Underway struct {
	Op Op
	// Path is the file or directory, by its present name.
	Path string
	// For is how long ago it began.
	For time.Duration
}

type underway struct {
	op    Op
	file  *watchedFile // nil if it is not on an open file
	path  string
	since time.Duration
}

// Watch returns fs, watched by a monotonic clock.
func Watch(fs FS, now func() time.Duration) *Watched {
	return &Watched{fs: fs, now: now, files: make(map[*watchedFile]struct{})}
}

// Busy returns the operation that is longest under way of those on paths that in
// approves; ok is false if there is none.
func (w *Watched) Busy(in func(path string) bool) (u Underway, ok bool) {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.busy {
		path := b.path
		if b.file != nil {
			path = b.file.path
		}
		if age := now - b.since; in(path) && (!ok || age > u.For) {
			u, ok = Underway{b.op, path, age}, true
		}
	}
	return u, ok
}

// Within reports whether path is dir or lies below it.
func Within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}

func (w *Watched) begin(op Op, file *watchedFile, path string) *underway {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &underway{}
	if n := len(w.spare); n > 0 {
		b, w.spare = w.spare[n-1], w.spare[:n-1]
	}
	*b = underway{op, file, path, now}
	w.busy = append(w.busy, b)
	return b
}

func (w *Watched) end(b *underway) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, o := range w.busy { // a handful
		if o == b {
			last := len(w.busy) - 1
			w.busy[i] = w.busy[last]
			w.busy[last] = nil
			w.busy = w.busy[:last]
			break
		}
	}
	w.spare = append(w.spare, b)
}

func (w *Watched) open(op Op, path string, open func(string) (File, error)) (File, error) {
	defer w.end(w.begin(op, nil, path))
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	wf := &watchedFile{File: f, w: w, path: path}
	w.mu.Lock()
	w.files[wf] = struct{}{}
	w.mu.Unlock()
	return wf, nil
}

// Create implements FS.
func (w *Watched) Create(path string) (File, error) { return w.open(OpCreate, path, w.fs.Create) }

// Open implements FS.
func (w *Watched) Open(path string) (File, error) { return w.open(OpOpen, path, w.fs.Open) }

// OpenReadWrite implements FS.
func (w *Watched) OpenReadWrite(path string) (File, error) {
	return w.open(OpOpenReadWrite, path, w.fs.OpenReadWrite)
}

// Rename implements FS.
func (w *Watched) Rename(oldPath, newPath string) error {
	defer w.end(w.begin(OpRename, nil, newPath))
	if err := w.fs.Rename(oldPath, newPath); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for f := range w.files {
		if f.path == oldPath {
			f.path = newPath
		}
	}
	return nil
}

// Remove implements FS.
func (w *Watched) Remove(path string) error {
	defer w.end(w.begin(OpRemove, nil, path))
	return w.fs.Remove(path)
}

// MkdirAll implements FS.
func (w *Watched) MkdirAll(path string) error {
	defer w.end(w.begin(OpMkdirAll, nil, path))
	return w.fs.MkdirAll(path)
}

// List implements FS.
func (w *Watched) List(path string) ([]string, error) {
	defer w.end(w.begin(OpList, nil, path))
	return w.fs.List(path)
}

// Stat implements FS.
func (w *Watched) Stat(path string) (Info, error) {
	defer w.end(w.begin(OpStat, nil, path))
	return w.fs.Stat(path)
}

// Lock implements FS.
func (w *Watched) Lock(path string) (io.Closer, error) { return w.fs.Lock(path) }

// SyncDir implements FS.
func (w *Watched) SyncDir(path string) error {
	defer w.end(w.begin(OpSyncDir, nil, path))
	return w.fs.SyncDir(path)
}

type watchedFile struct {
	File
	w    *Watched
	path string // guarded by w.mu
}

func (f *watchedFile) begin(op Op) *underway { return f.w.begin(op, f, "") }

func (f *watchedFile) ReadAt(p []byte, off int64) (int, error) {
	defer f.w.end(f.begin(OpRead))
	return f.File.ReadAt(p, off)
}

func (f *watchedFile) WriteAt(p []byte, off int64) (int, error) {
	defer f.w.end(f.begin(OpWrite))
	return f.File.WriteAt(p, off)
}

func (f *watchedFile) Sync() error {
	defer f.w.end(f.begin(OpSync))
	return f.File.Sync()
}

func (f *watchedFile) Datasync() error {
	defer f.w.end(f.begin(OpDatasync))
	return f.File.Datasync()
}

func (f *watchedFile) Truncate(size int64) error {
	defer f.w.end(f.begin(OpTruncate))
	return f.File.Truncate(size)
}

func (f *watchedFile) Preallocate(size int64) error {
	defer f.w.end(f.begin(OpPreallocate))
	return f.File.Preallocate(size)
}

func (f *watchedFile) Size() (int64, error) {
	defer f.w.end(f.begin(OpSize))
	return f.File.Size()
}

func (f *watchedFile) Close() error {
	f.w.mu.Lock()
	delete(f.w.files, f)
	f.w.mu.Unlock()
	defer f.w.end(f.w.begin(OpClose, nil, f.Name()))
	return f.File.Close()
}
