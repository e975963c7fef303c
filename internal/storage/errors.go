package storage

import (
	"errors"
	"fmt"
	"io/fs"
)

// CorruptError says that durable bytes are not what was written. A member that
// meets one must not start: what it once acknowledged may be missing. The way
// out is to restore the file, or to let the member rejoin under a new identity.
type CorruptError struct {
	File   string
	Offset int64 // of the record that is damaged, in bytes from the file's start
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is corrupt at offset %d: %s", e.File, e.Offset, e.Reason)
}

// ErrClosed is returned by a Log after Close.
var ErrClosed = errors.New("log is closed")

// ErrRefused is wrapped by the error for a call that would break the log: a
// gap, a term that goes back, entries over committed ones. Nothing was written
// and the log works on; the caller has a bug.
var ErrRefused = errors.New("refused by the log")

// ioError names file and operation. The path in a *fs.PathError is dropped for
// the one given: a segment is opened under another name than it ends up with.
func ioError(op, file string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("%s %s: %w", op, file, err)
}
