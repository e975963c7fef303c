package process

import (
	"path"
	"strings"
	"syscall"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// planVariable carries a plan to the child, in JSON. Its presence makes the
// test binary a member.
const planVariable = "CONCLAVE_TEST_MEMBER"

// plan is what a child is to be: a member with small files, and how its disk is
// to behave.
type plan struct {
	DataDir string
	// SnapCount, SegmentSize, Spares and KeepEntries are the member's; 0 for its
	// defaults.
	SnapCount   int
	SegmentSize int64
	Spares      int
	KeepEntries uint64

	Crash *crash
	Fault *fault
	// Report is a file to which the child writes, when it crashes or ends, what
	// it did to its files: see report.
	Report string
}

// crash ends the process at one of its changes to the disk.
type crash struct {
	// At counts the changes since the process began, from 1; those of one kind
	// only if Step is given.
	At   int
	Step *step
	When moment
	// PowerLoss takes back what was not synced, but for a choice made by Seed.
	PowerLoss bool
	Seed      uint64
}

type moment string

const (
	before moment = "before"
	after  moment = "after"
	torn   moment = "half way" // of a write or an allocation; otherwise before
)

// fault makes operations fail.
type fault struct {
	Op    vfs.Op
	Class class
	// Nth is the first operation of that kind that fails, from 1; all further
	// ones fail too.
	Nth   int
	Errno syscall.Errno
	// LoseAtEnd cuts the power when the process ends: what a failed sync was to
	// make durable is gone.
	LoseAtEnd bool
}

// class is what a file is for.
type class string

const (
	classIdentity     class = "identity"
	classIdentityTemp class = "identity.tmp"
	classSnapshot     class = "snapshot"
	classSnapshotTemp class = "snapshot.tmp"
	classSegment      class = "segment"
	classNext         class = "next segment.tmp"
	classSpare        class = "spare segment.tmp"
	classLock         class = "lock"
	classDir          class = "directory"
)

func classOf(name string) class {
	switch base := path.Base(name); {
	case base == "identity":
		return classIdentity
	case base == "identity.tmp":
		return classIdentityTemp
	case strings.HasSuffix(base, ".snap"):
		return classSnapshot
	case strings.HasSuffix(base, ".snap.tmp"):
		return classSnapshotTemp
	case strings.HasSuffix(base, ".log"):
		return classSegment
	case base == "next.tmp":
		return classNext
	case strings.HasPrefix(base, "spare-"):
		return classSpare
	case base == "LOCK":
		return classLock
	}
	return classDir
}

// step is one kind of change to the disk.
type step struct {
	Op    vfs.Op
	Class class
}

// report is what a child did to its files.
type report struct {
	// Steps are the changes in order, the last being the one at which the
	// process crashed, if it did.
	Steps []step
	// Survived and Lost count the unsynced changes on which a power loss decided.
	Survived, Lost int
}
