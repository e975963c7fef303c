package storage

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

const snapshotSuffix = ".snap"

// SnapshotStore keeps snapshots in a directory, one file each. A file that has
// its own name is whole and durable; until then it is called .tmp. Methods may be
// called from several goroutines, a writer or reader is for one.
type SnapshotStore struct {
	fs  vfs.FS
	dir string

	mu sync.Mutex
	// writing has the names of the snapshots under way: two writers of one
	// file would make a mess that only its checksums could tell.
	writing map[string]bool
}

// OpenSnapshotStore opens the directory, makes it if need be, and removes what
// writers that came to no end have left.
func OpenSnapshotStore(fs vfs.FS, dir string) (*SnapshotStore, error) {
	if err := fs.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, snapshotSuffix+tempSuffix) {
			if err := fs.Remove(path.Join(dir, name)); err != nil {
				return nil, fmt.Errorf("open snapshots: %w", err)
			}
		}
	}
	// A name that the last process saw need not be durable.
	if err := fs.SyncDir(dir); err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	return &SnapshotStore{fs: fs, dir: dir, writing: make(map[string]bool)}, nil
}

// snapshotName sorts by index, then by term.
func snapshotName(index, term uint64) string {
	return fmt.Sprintf("%016x-%016x%s", index, term, snapshotSuffix)
}

func parseSnapshotName(name string) (index, term uint64, ok bool) {
	n, err := fmt.Sscanf(name, "%016x-%016x", &index, &term)
	return index, term, n == 2 && err == nil && name == snapshotName(index, term)
}

// names returns the names of the snapshots, oldest first.
func (s *SnapshotStore) names() ([]string, error) {
	all, err := s.fs.List(s.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range all {
		if _, _, ok := parseSnapshotName(name); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// List returns the metadata of all snapshots, oldest first. It reads the
// headers only.
func (s *SnapshotStore) List() ([]SnapshotMeta, error) {
	names, err := s.names()
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var metas []SnapshotMeta
	for _, name := range names {
		r, err := s.open(name)
		if err != nil {
			return nil, fmt.Errorf("list snapshots: %w", err)
		}
		metas = append(metas, r.meta)
		if err := r.Close(); err != nil {
			return nil, fmt.Errorf("list snapshots: %w", err)
		}
	}
	return metas, nil
}

// Latest returns the newest snapshot, after it has read all of it and found it
// whole; ok is false if there is none. If the newest one is damaged that is an
// error: an older one may not go as far as the log begins, and it is for a person
// to say whether it does.
func (s *SnapshotStore) Latest() (meta SnapshotMeta, ok bool, err error) {
	names, err := s.names()
	if err != nil {
		return SnapshotMeta{}, false, fmt.Errorf("latest snapshot: %w", err)
	}
	if len(names) == 0 {
		return SnapshotMeta{}, false, nil
	}
	r, err := s.open(names[len(names)-1])
	if err != nil {
		return SnapshotMeta{}, false, fmt.Errorf("latest snapshot: %w", err)
	}
	if err := errors.Join(r.verify(), r.Close()); err != nil {
		return SnapshotMeta{}, false, fmt.Errorf("latest snapshot: %w", err)
	}
	return r.meta, true, nil
}

// Open opens the snapshot with meta's index and term for reading.
func (s *SnapshotStore) Open(meta SnapshotMeta) (*SnapshotReader, error) {
	r, err := s.open(snapshotName(meta.Index, meta.Term))
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	return r, nil
}

func (s *SnapshotStore) open(name string) (*SnapshotReader, error) {
	file := path.Join(s.dir, name)
	f, err := s.fs.Open(file)
	if err != nil {
		return nil, err
	}
	r, err := newSnapshotReader(f, file)
	if err == nil && snapshotName(r.meta.Index, r.meta.Term) != name {
		err = &CorruptError{file, 0, fmt.Sprintf("this is the snapshot at index %d of term %d, under another name", r.meta.Index, r.meta.Term)}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// Purge deletes all but the newest retain snapshots, at least one. Readers that
// have one open are not disturbed.
func (s *SnapshotStore) Purge(retain int) error {
	names, err := s.names()
	if err != nil {
		return fmt.Errorf("purge snapshots: %w", err)
	}
	names = names[:max(0, len(names)-max(retain, 1))]
	if len(names) == 0 {
		return nil
	}
	for _, name := range names {
		if err := s.fs.Remove(path.Join(s.dir, name)); err != nil {
			return fmt.Errorf("purge snapshots: %w", err)
		}
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("purge snapshots: %w", err)
	}
	return nil
}

// begin makes the temporary file for a snapshot.
func (s *SnapshotStore) begin(meta SnapshotMeta) (snapshotFile, error) {
	name := snapshotName(meta.Index, meta.Term)
	final := path.Join(s.dir, name)
	s.mu.Lock()
	busy := s.writing[name]
	s.writing[name] = true
	s.mu.Unlock()
	if busy {
		return snapshotFile{}, fmt.Errorf("snapshot %s is being written already", final)
	}
	f, err := s.fs.Create(final + tempSuffix)
	if err != nil {
		s.mu.Lock()
		delete(s.writing, name)
		s.mu.Unlock()
		return snapshotFile{}, fmt.Errorf("create snapshot: %w", err)
	}
	return snapshotFile{store: s, f: f, name: name, path: final}, nil
}

// snapshotFile is a snapshot on its way to its name.
type snapshotFile struct {
	store      *SnapshotStore
	f          vfs.File
	name, path string
	done       bool
	err        error // the first failure
}

// fail remembers the first failure, after which there is no commit.
func (w *snapshotFile) fail(err error) error {
	if w.err == nil && err != nil {
		w.err = fmt.Errorf("write snapshot %s: %w", w.path, err)
	}
	return w.err
}

func (w *snapshotFile) usable() error {
	if w.done && w.err == nil {
		return fmt.Errorf("snapshot %s was committed or aborted already", w.path)
	}
	return w.err
}

// commit gives the file, which is complete, its name.
func (w *snapshotFile) commit() error {
	s := w.store
	if err := w.f.Sync(); err != nil {
		return w.fail(err)
	}
	if err := s.fs.Rename(w.path+tempSuffix, w.path); err != nil {
		return w.fail(err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		// It looks durable and is not; nobody must find it.
		_ = s.fs.Remove(w.path)
		return w.fail(err)
	}
	w.end()
	return nil
}

func (w *snapshotFile) end() {
	w.done = true
	_ = w.f.Close() // synced, or given up
	w.store.mu.Lock()
	delete(w.store.writing, w.name)
	w.store.mu.Unlock()
}

// Abort gives up and deletes what was written. After Commit it does nothing, so
// that it can be deferred.
func (w *snapshotFile) Abort() error {
	if w.done {
		return nil
	}
	w.end()
	if err := w.store.fs.Remove(w.path + tempSuffix); err != nil && w.err == nil {
		return fmt.Errorf("abort snapshot: %w", err)
	}
	return nil
}

// SnapshotWriter takes the body of a new snapshot.
type SnapshotWriter struct {
	snapshotFile
	w *blockWriter
}

// Create begins a snapshot. The caller writes its body and calls Commit, or
// Abort.
func (s *SnapshotStore) Create(meta SnapshotMeta) (*SnapshotWriter, error) {
	file, err := s.begin(meta)
	if err != nil {
		return nil, err
	}
	w := &SnapshotWriter{snapshotFile: file}
	if w.w, err = newBlockWriter(file.f, meta); err != nil {
		return nil, errors.Join(w.fail(err), w.Abort())
	}
	return w, nil
}

// Write implements io.Writer.
func (w *SnapshotWriter) Write(p []byte) (int, error) {
	if err := w.usable(); err != nil {
		return 0, err
	}
	n, err := w.w.Write(p)
	return n, w.fail(err)
}

// Commit makes the snapshot durable and gives it its name. If it fails there is
// no snapshot.
func (w *SnapshotWriter) Commit() error {
	err := w.usable()
	if err == nil {
		if err = w.fail(w.w.finish()); err == nil {
			err = w.commit()
		}
	}
	_ = w.Abort()
	return err
}

// SnapshotReceiver takes a snapshot from a peer, as OpenRaw returned it there.
type SnapshotReceiver struct {
	snapshotFile
	meta   SnapshotMeta
	off    int64
	synced int64
}

// Receive begins to take a snapshot that a peer announced with meta.
func (s *SnapshotStore) Receive(meta SnapshotMeta) (*SnapshotReceiver, error) {
	file, err := s.begin(meta)
	if err != nil {
		return nil, err
	}
	return &SnapshotReceiver{snapshotFile: file, meta: meta}, nil
}

// Write implements io.Writer.
func (w *SnapshotReceiver) Write(p []byte) (int, error) {
	if err := w.usable(); err != nil {
		return 0, err
	}
	n, err := w.f.WriteAt(p, w.off)
	w.off += int64(n)
	if err == nil && w.off-w.synced >= syncEvery {
		w.synced = w.off
		err = w.f.Datasync()
	}
	return n, w.fail(err)
}

// Commit verifies what came, that it is whole and that it is the snapshot that
// was announced, and then does what SnapshotWriter.Commit does.
func (w *SnapshotReceiver) Commit() error {
	err := w.usable()
	if err == nil {
		if err = w.fail(w.verify()); err == nil {
			err = w.commit()
		}
	}
	_ = w.Abort()
	return err
}

func (w *SnapshotReceiver) verify() error {
	r, err := newSnapshotReader(w.f, w.path+tempSuffix)
	if err != nil {
		return err
	}
	if !r.meta.Equal(w.meta) {
		return fmt.Errorf("announced was the snapshot %+v, received was %+v", w.meta, r.meta)
	}
	return r.verify()
}

// RawSnapshot is a snapshot as it is on disk, to be sent to a peer. The peer
// verifies it.
type RawSnapshot struct {
	*io.SectionReader
	f vfs.File
}

// OpenRaw opens the snapshot with meta's index and term.
func (s *SnapshotStore) OpenRaw(meta SnapshotMeta) (*RawSnapshot, error) {
	f, err := s.fs.Open(path.Join(s.dir, snapshotName(meta.Index, meta.Term)))
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open snapshot: %w", err), f.Close())
	}
	return &RawSnapshot{io.NewSectionReader(f, 0, size), f}, nil
}

// Close closes the file.
func (r *RawSnapshot) Close() error { return r.f.Close() }
