package vfs

import (
	"errors"
	"io"
	"io/fs"
)

// FS is the part of a file system that the storage layer uses. Paths are
// slash-separated and are used as given. Errors are *fs.PathError (or wrap
// one), so that they name operation and path, and errors.Is works with
// fs.ErrNotExist and friends.
//
// Nothing that an FS changes about a directory (a file created, renamed or
// removed) is durable before SyncDir on that directory has returned.
type FS interface {
	// Create makes the file, or empties it if it exists, and opens it for
	// reading and writing.
	Create(path string) (File, error)
	// Open opens an existing file for reading.
	Open(path string) (File, error)
	// OpenReadWrite opens an existing file for reading and writing.
	OpenReadWrite(path string) (File, error)
	// Rename moves a file within its directory and replaces what has the new
	// name. It is atomic: after a crash either name leads to the file, or
	// only the new one does.
	Rename(oldPath, newPath string) error
	// Remove unlinks a file. Open handles keep working.
	Remove(path string) error
	// MkdirAll makes a directory and those above it, and makes each new one
	// durable by syncing its parent: a directory that vanishes in a crash
	// would take with it every file that was carefully synced inside.
	MkdirAll(path string) error
	// List returns the names in a directory, sorted.
	List(path string) ([]string, error)
	// Stat describes a file or directory.
	Stat(path string) (Info, error)
	// Lock takes an exclusive advisory lock on path, which it creates if
	// need be, and holds it until the Closer is closed or the process ends.
	// If somebody else holds it the error is (or wraps) ErrLocked.
	Lock(path string) (io.Closer, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(path string) error
}

// File is an open file. Its methods may be called from several goroutines, as
// far as they do not touch the same bytes.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes contents and all metadata of the file durable (fsync).
	//
	// After a failed Sync or Datasync the unsynced bytes must be taken for
	// lost, even if they can still be read and even if a later sync
	// succeeds: Linux marks the pages clean whose writeback failed.
	Sync() error
	// Datasync makes contents durable, and the metadata that is needed to
	// read them back: the size, not the timestamps (fdatasync).
	Datasync() error
	// Truncate sets the size. Bytes that are gained read as zero.
	Truncate(size int64) error
	// Preallocate grows the file to at least size bytes of zeros, so that
	// later writes within that size can neither fail for want of space nor
	// need a change of metadata to become durable. It never shrinks.
	Preallocate(size int64) error
	// Size returns the current size in bytes.
	Size() (int64, error)
	// Name returns the path under which the file was opened.
	Name() string
}

// Info is what Stat tells.
type Info struct {
	Size  int64
	IsDir bool
}

// ErrLocked means that another process (or another handle in this one) holds
// the lock.
var ErrLocked = errors.New("locked by another process")

// Op names an operation to a Hook.
type Op string

// The operations, as a Hook sees them.
const (
	OpCreate        Op = "create"
	OpOpen          Op = "open"
	OpOpenReadWrite Op = "open read-write"
	OpRename        Op = "rename"
	OpRemove        Op = "remove"
	OpMkdirAll      Op = "mkdir"
	OpList          Op = "list"
	OpStat          Op = "stat"
	OpLock          Op = "lock"
	OpSyncDir       Op = "sync directory"
	OpRead          Op = "read"
	OpWrite         Op = "write"
	OpSync          Op = "fsync"
	OpDatasync      Op = "fdatasync"
	OpTruncate      Op = "truncate"
	OpPreallocate   Op = "preallocate"
	OpSize          Op = "size"
	OpClose         Op = "close"
)

// Hook is called before every operation on a Mem. Off and n are the range of a
// read or write, the new size for truncate and preallocate, zero otherwise. An
// error makes the operation fail with it (wrapped in an *fs.PathError) and
// have no effect, with these exceptions:
//
//   - OpSync and OpDatasync: the unsynced data of the file is lost to the disk,
//     though it can still be read until the next crash, as on Linux;
//   - OpWrite with a *ShortWrite: the first N bytes are written;
//   - OpRead with ErrCorruptSector: the read succeeds and the bytes that it
//     returns are wrong.
//
// The hook is called without any lock of the Mem held, and may use it.
type Hook func(op Op, path string, off int64, n int) error

// ShortWrite, returned by a Hook, lets the first N bytes of a write through.
type ShortWrite struct {
	N   int
	Err error
}

func (e *ShortWrite) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ShortWrite) Unwrap() error { return e.Err }

// ErrCorruptSector, returned by a Hook, garbles a read.
var ErrCorruptSector = errors.New("corrupt sector")

// ErrCrashed is the cause of every failure on a handle that was opened before
// the last Crash or Kill of its Mem: it belongs to a process that is gone.
var ErrCrashed = errors.New("the process that opened this is gone")

func pathError(op Op, path string, err error) error {
	if err == nil {
		return nil
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return err
	}
	return &fs.PathError{Op: string(op), Path: path, Err: err}
}
