package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// Dir is a member's place on disk, locked against other processes:
//
//	dataDir/conclave/LOCK
//	dataDir/conclave/identity
//	dataDir/conclave/snap/
//	logDir/conclave/log/          with a LOCK of its own: logDir may be shared
//
// Beside it, in the same directories, ZooKeeper's own version-2/ and myid may
// live; they are not touched.
type Dir struct {
	// Identity of the member.
	Identity *IdentityFile
	// Snapshots of the member.
	Snapshots *SnapshotStore

	fs           vfs.FS
	dataDir      string // with conclave/
	logDir       string // with conclave/log
	locks        []io.Closer
	hadSnapshots bool
	hadLog       bool
}

// Disk is one of the places that a member writes to. They may be one device.
type Disk uint8

// The disks.
const (
	// LogDisk has the log: every write waits for it.
	LogDisk Disk = iota
	// DataDisk has identity and snapshots: no write waits for it.
	DataDisk
	// NumDisks is how many there are.
	NumDisks
)

// String names the disk as logs and metrics do.
func (d Disk) String() string { return [...]string{"log", "data"}[d] }

// Busy returns the operation that has been under way on a disk for longest; ok is
// false if there is none, or if the file system that the directory was opened on
// is not watched (vfs.Watched).
func (d *Dir) Busy(disk Disk) (u vfs.Underway, ok bool) {
	w, watched := d.fs.(*vfs.Watched)
	if !watched {
		return u, false
	}
	return w.Busy(func(path string) bool {
		if vfs.Within(path, d.logDir) {
			return disk == LogDisk
		}
		return disk == DataDisk && vfs.Within(path, d.dataDir)
	})
}

// Path returns the directory that the member has on a disk.
func (d *Dir) Path(disk Disk) string {
	if disk == LogDisk {
		return d.logDir
	}
	return d.dataDir
}

// OpenDir opens, or makes, a member's directories and locks them. An empty
// logDir means dataDir. If another process has them locked, the error wraps
// vfs.ErrLocked.
func OpenDir(fsys vfs.FS, dataDir, logDir string) (*Dir, error) {
	if logDir == "" {
		logDir = dataDir
	}
	return newDir(fsys, dataDir, logDir, false)
}

// OpenDamagedDir is OpenDir for a directory whose identity is corrupt: it is
// treated as none, and can't be updated. Such a Dir is only good for SetAside.
func OpenDamagedDir(fsys vfs.FS, dataDir, logDir string) (*Dir, error) {
	if logDir == "" {
		logDir = dataDir
	}
	return newDir(fsys, dataDir, logDir, true)
}

func newDir(fsys vfs.FS, dataDir, logDir string, damaged bool) (*Dir, error) {
	d := &Dir{fs: fsys, dataDir: path.Join(dataDir, "conclave"), logDir: path.Join(logDir, "conclave", "log")}
	if err := d.open(damaged); err != nil {
		return nil, errors.Join(fmt.Errorf("open data directory %s: %w", dataDir, err), d.Close())
	}
	return d, nil
}

func (d *Dir) open(damaged bool) error {
	for _, dir := range []string{d.dataDir, d.logDir} {
		if err := d.fs.MkdirAll(dir); err != nil {
			return err
		}
		lock, err := d.fs.Lock(path.Join(dir, "LOCK"))
		if errors.Is(err, vfs.ErrLocked) {
			return fmt.Errorf("is another conclave-server running on it? %w", err)
		}
		if err != nil {
			return err
		}
		d.locks = append(d.locks, lock)
	}
	var err error
	d.Identity, err = OpenIdentity(d.fs, d.dataDir)
	var corrupt *CorruptError
	if damaged && errors.As(err, &corrupt) {
		d.Identity, err = &IdentityFile{err: err}, nil
	}
	if err != nil {
		return err
	}
	if d.Snapshots, err = OpenSnapshotStore(d.fs, path.Join(d.dataDir, "snap")); err != nil {
		return err
	}
	snapshots, err := d.Snapshots.names()
	if err != nil {
		return err
	}
	segments, err := d.segments()
	d.hadSnapshots, d.hadLog = len(snapshots) > 0, len(segments) > 0
	return err
}

func (d *Dir) segments() ([]string, error) {
	names, err := d.fs.List(d.logDir)
	if err != nil {
		return nil, err
	}
	var segments []string
	for _, name := range names {
		if strings.HasSuffix(name, segmentSuffix) {
			segments = append(segments, name)
		}
	}
	return segments, nil
}

// Empty reports whether the directory belongs to no ensemble: when it was
// opened there was neither log nor snapshot, and the identity has no cluster id.
// (It may count boots and hold promises about an ensemble to be formed.) A
// directory that is neither empty nor has a cluster id has lost its identity.
func (d *Dir) Empty() bool {
	return !d.hadLog && !d.hadSnapshots && d.Identity.Get().ClusterID == ""
}

// OpenLog opens the member's log. The identity keeps the log's id: once it has
// one, another log is refused, and a missing one is an error instead of a new
// log (a log volume that is not mounted looks like an empty directory, and a
// member that has lost its votes must not vote).
func (d *Dir) OpenLog(opt Options) (*Log, Recovered, error) {
	known := d.Identity.Get().LogID
	if known != 0 {
		opt.LogID, opt.MustExist = known, true
	}
	l, rec, err := OpenLog(d.fs, d.logDir, opt)
	if err != nil || known != 0 {
		return l, rec, err
	}
	if err := d.Identity.Update(func(id *Identity) { id.LogID = l.ID() }); err != nil {
		return nil, Recovered{}, errors.Join(err, l.Close())
	}
	return l, rec, nil
}

// AsideSuffix ends the names of what MoveAside has moved, where it lay.
func AsideSuffix(member uint64) string { return fmt.Sprintf(".aside-%016x", member) }

// MoveAside takes identity, log and snapshots out of the way, for a member that
// is to start clean: each file gets a suffix that names the member whose it was.
// The log must be closed. The identity, which is marked first, goes last: if the
// process dies in between, the next one finds the mark and goes on.
func (d *Dir) MoveAside() error {
	if err := d.moveAside(); err != nil {
		return fmt.Errorf("move the data in %s and %s aside: %w", d.dataDir, d.logDir, err)
	}
	return nil
}

func (d *Dir) moveAside() error {
	if err := d.Identity.Update(func(id *Identity) { id.MoveAside = true }); err != nil {
		return err
	}
	if err := d.rename(AsideSuffix(d.Identity.Get().MemberID)); err != nil {
		return err
	}
	d.hadLog, d.hadSnapshots = false, false
	d.Identity.forget()
	return nil
}

// SetAside takes everything out of the way where nobody can tell whose it is: the
// identity is lost or corrupt. It returns the suffix that the files have got, one
// that none had. The identity goes last: until it is gone, or the last of the
// data, the directory is as good as before, and SetAside can be called again.
func (d *Dir) SetAside() (suffix string, err error) {
	used := map[string]bool{}
	for _, dir := range []string{d.dataDir, d.logDir, d.Snapshots.dir} {
		names, err := d.fs.List(dir)
		if err != nil {
			return "", fmt.Errorf("set the data in %s aside: %w", d.dataDir, err)
		}
		for _, name := range names {
			if i := strings.Index(name, asideDamaged); i >= 0 {
				used[name[i:]] = true
			}
		}
	}
	for n := 1; suffix == "" || used[suffix]; n++ {
		suffix = fmt.Sprint(asideDamaged, n)
	}
	if err := d.rename(suffix); err != nil {
		return "", fmt.Errorf("set the data in %s and %s aside: %w", d.dataDir, d.logDir, err)
	}
	return suffix, nil
}

// asideDamaged begins the suffix that SetAside gives.
const asideDamaged = ".aside-damaged-"

// rename gives the log's files, the snapshots and the identity a suffix, in this
// order. What is gone already has been renamed before.
func (d *Dir) rename(suffix string) error {
	segments, err := d.segments()
	if err != nil {
		return err
	}
	snapshots, err := d.Snapshots.names()
	if err != nil {
		return err
	}
	for _, step := range []struct {
		dir   string
		names []string
	}{{d.logDir, segments}, {d.Snapshots.dir, snapshots}, {d.dataDir, []string{identityName}}} {
		for _, name := range step.names {
			name = path.Join(step.dir, name)
			if err := d.fs.Rename(name, name+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if err := d.fs.SyncDir(step.dir); err != nil {
			return err
		}
	}
	return nil
}

// Close releases the locks. The log must be closed before.
func (d *Dir) Close() error {
	var errs []error
	for _, l := range d.locks {
		errs = append(errs, l.Close())
	}
	d.locks = nil
	return errors.Join(errs...)
}

// AppendLine adds a line to a file beside the identity, durably. A line that is
// there already is not added again: what was cut short may be repeated. It is
// for rare notes that people read.
func (d *Dir) AppendLine(name string, line []byte) error {
	file := path.Join(d.dataDir, name)
	old, err := readFile(d.fs, file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for have := range bytes.Lines(old) {
		if bytes.Equal(bytes.TrimSuffix(have, []byte("\n")), line) {
			return nil
		}
	}
	return writeFileAtomic(d.fs, d.dataDir, file, append(append(old, line...), '\n'))
}
