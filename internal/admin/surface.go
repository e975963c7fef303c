package admin

import (
	"time"

	"github.com/conclave-dev/conclave/internal/metrics"
)

// CompatibleWith is the release of ZooKeeper whose words, commands and figures
// this package answers like.
const CompatibleWith = "3.8.0"

// Version is what was built, and when.
type Version struct {
	// Number is Conclave's own version.
	Number string
	// Built is the moment of the build or of its commit; the zero time if
	// unknown.
	Built time.Time
}

// String returns the version as clients of ZooKeeper read it. It begins with a
// version of ZooKeeper, and a hyphen: kazoo takes the leading digits to decide
// what a server can do, Datadog wants three numbers, Metricbeat a date behind
// "built on". What follows the hyphen is a commit in ZooKeeper, and here says
// who really answers. The date is written as up to ZooKeeper 3.6: go-zookeeper
// reads nothing of srvr if it is written as later versions do.
func (v Version) String() string {
	number, built := v.Number, "unknown"
	if number == "" {
		number = "unknown"
	}
	if !v.Built.IsZero() {
		built = v.Built.UTC().Format("01/02/2006 15:04 GMT")
	}
	return CompatibleWith + "-conclave-" + number + ", built on " + built
}

// Surface is what words, commands, gRPC and figures answer from. It has no
// state of its own.
type Surface struct {
	Source  Source
	Metrics *metrics.Metrics
	Version Version

	// Now and FileDescriptors replace time.Now and metrics.FileDescriptors in
	// tests; nil elsewhere.
	Now             func() time.Time
	FileDescriptors func() (open, limit int64)
	// Environment replaces the process' environment in tests; nil elsewhere.
	Environment func() []Setting
}

// Setting is a name and a value, as envi prints them.
type Setting struct{ Name, Value string }

func (s *Surface) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Surface) fileDescriptors() (open, limit int64) {
	if s.FileDescriptors != nil {
		return s.FileDescriptors()
	}
	return metrics.FileDescriptors()
}

// since returns the milliseconds from t to now, 0 if t is the zero time or
// lies ahead.
func (s *Surface) since(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(s.now().Sub(t).Milliseconds(), 0)
}

// inEnsemble tells whether a member has an ensemble to speak of: whether it is
// what ZooKeeper calls a quorum peer.
func (s Status) inEnsemble() bool { return s.Role != RoleStandalone }

// leader returns the peer that is this member's leader.
func leader(st *Status, peers []Peer) (Peer, bool) {
	for _, p := range peers {
		if st.LeaderID != 0 && p.ID == st.LeaderID {
			return p, true
		}
	}
	return Peer{}, false
}
