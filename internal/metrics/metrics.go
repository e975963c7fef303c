package metrics

import (
	"sync"
	"sync/atomic"
)

// Metrics is what one member counts and measures. Every field is written by
// whoever does the thing that it names, each event once, and may be written
// from any goroutine. Make one with New.
type Metrics struct {
	// requests is the time from a request's arrival, complete, to the moment
	// its reply is queued on the connection, by operation. Observe it through
	// Request for every reply, failed requests and pings included: the latencies
	// of srvr, and read and update latency, are sums of these.
	requests [numOps]Histogram

	// Proposal is the time from handing a write to the replica to its result,
	// on the member whose client sent it.
	Proposal Histogram
	// Commit is the time from proposing an entry to seeing it committed, on the
	// leader.
	Commit Histogram
	// Apply is the time that applying one committed entry took.
	Apply Histogram
	// Fsync is the time that one sync of the log took.
	Fsync Histogram
	// LogBatch is the number of entries that one sync of the log made durable.
	LogBatch Distribution
	// SnapshotWrite is the time that writing one snapshot to disk took, sync
	// included.
	SnapshotWrite Histogram
	// Recovery is the time from opening the data directory at the start to
	// having applied what it holds; one observation in a process.
	Recovery Histogram
	// Election is the time from losing sight of a leader (or from the start) to
	// following or being one.
	Election Histogram

	// DiskStalls are the times for which a disk has not answered, each observed
	// once it has: that of the log, and that of the data (storage.Disk).
	// DiskStalled is for how long each has not answered now, in nanoseconds; 0 if
	// it does.
	DiskStalls  [2]Histogram
	DiskStalled [2]Gauge
	// Pauses are the times for which the process stood still.
	Pauses Histogram

	// LogAppendedBytes counts bytes written to the log.
	LogAppendedBytes Counter
	// SnapshotBytes is the size of the newest snapshot on disk.
	SnapshotBytes Gauge
	// SnapshotsSent and SnapshotsReceived count snapshots streamed whole to a
	// lagging member, and from a leader.
	SnapshotsSent, SnapshotsReceived Counter

	// TransactionsProposed counts client writes proposed by this member as the
	// leader; TransactionsApplied those applied here, failed ones included.
	TransactionsProposed, TransactionsApplied Counter
	// Elections counts how often this member was without a leader and looked for
	// one; LeaderChanges how often it saw another leader than the last.
	Elections, LeaderChanges Counter
	// ProposalSize is the size of an entry proposed by this member as the leader.
	ProposalSize Sizes

	// PacketsReceived and PacketsSent count packets of the client protocol,
	// handshakes, pings and events included; BytesReceived and BytesSent their
	// bytes with the length in front. Add once per batch.
	PacketsReceived, PacketsSent Counter
	BytesReceived, BytesSent     Counter
	// WatchEvents counts events queued on connections.
	WatchEvents Counter
	// ResponseSize is the size of a reply's body.
	ResponseSize Sizes

	// ConnectionsAccepted counts client connections that were let in, those that
	// only sent a four-letter word included.
	ConnectionsAccepted Counter
	// ConnectionsRefused counts those that were turned away before they had a
	// session, by reason.
	ConnectionsRefused [numRefusals]Counter
	// ConnectionsClosed counts those with a session that ended, by reason.
	ConnectionsClosed [numClosures]Counter

	// HandshakesQueued counts clients that had to wait for others before their
	// handshake entered the log.
	HandshakesQueued Counter
	// SessionsCreated and SessionsAttached count sessions that were made, and
	// that were taken up again after a connection was lost, through a connection
	// to this member.
	SessionsCreated, SessionsAttached Counter
	// SessionsClosed counts sessions that their client closed through this
	// member; SessionsExpired those whose expiry this member proposed, as the
	// leader, and saw applied. Summed over the members, each session counts once.
	SessionsClosed, SessionsExpired Counter

	// AuthFailures counts failed auth requests, QuotaExceeded writes that a hard
	// quota refused, LargeRequests requests over jute.maxbuffer, and
	// ThrottledReads how often reading from a connection was paused because too
	// much was outstanding.
	AuthFailures, QuotaExceeded, LargeRequests, ThrottledReads Counter
	// DiskFailures counts failed writes, syncs and reads of log and snapshots.
	DiskFailures Counter
	// DigestMismatches counts digests of the tree that differed from another
	// member's for the same zxid.
	DigestMismatches Counter

	state atomic.Pointer[func() State]

	mu sync.Mutex
	// collectors are asked after the figures above; guarded by mu.
	collectors []Collector
}

// Refusal is why a client connection was turned away before it had a session.
type Refusal uint8

// The refusals.
const (
	RefusedTooManyFromHost Refusal = iota // maxClientCnxns
	RefusedTooMany                        // maxCnxns
	RefusedNotServing
	RefusedDraining
	RefusedZxidAhead // the client has seen a later zxid than this member
	RefusedMalformed // the handshake made no sense
	RefusedSilent    // no complete handshake in time
	RefusedExpired   // the session is gone, or its password wrong
	RefusedTLS       // the TLS handshake failed
	numRefusals
)

var refusalNames = [numRefusals]string{"too_many_from_host", "too_many", "not_serving", "draining", "zxid_ahead",
	"malformed", "silent", "session_expired", "tls"}

// Closure is why a client connection with a session ended.
type Closure uint8

// The closures.
const (
	ClosedByClient       Closure = iota // the client hung up, or the network broke
	ClosedSessionClosed                 // after closeSession
	ClosedSessionExpired                // the ensemble ended the session
	ClosedSessionMoved                  // the session came back elsewhere, or on a newer connection here
	ClosedSilent                        // the client was silent for too long
	ClosedNoQuorum                      // this member lost the quorum for too long
	ClosedMalformed                     // a request made no sense, or was of an unknown type
	ClosedTooLarge                      // a request over jute.maxbuffer
	ClosedSlow                          // too much unread by the client
	ClosedAuthFailed
	ClosedDraining
	ClosedStopping
	ClosedDiskStalled // the disk of this member's log did not answer for too long
	numClosures
)

var closureNames = [numClosures]string{"client", "session_closed", "session_expired", "session_moved", "silent",
	"no_quorum", "malformed", "too_large", "slow_client", "auth_failed", "draining", "stopping", "disk_stalled"}

// State is what a member is at one moment.
type State struct {
	// Name is the N of server.N.
	Name                   int
	Leader, Serving, Ready bool
	HasQuorum, CaughtUp    bool
	Draining               bool
	DiskFailed, DiskSlow   bool

	Zxid               int64
	Term               uint64
	Applied, Committed uint64

	Nodes, Ephemerals int
	DataBytes         int64
	Watches           int
	Connections       int
	Outstanding       int

	Sessions int
	// SessionStatesKnown tells whether the next three are.
	SessionStatesKnown                                          bool
	SessionsConnected, SessionsConnecting, SessionsNotConnected int

	Voters, Learners int
	// SyncedVoters counts voters in sync, the leader not counted. Only shown if
	// Leader.
	SyncedVoters int
}

// New returns Metrics on which nothing has been counted.
func New() *Metrics { return new(Metrics) }

// Request returns the histogram of an operation's latency, in which every
// reply is observed.
func (m *Metrics) Request(op Op) *Histogram {
	if op >= numOps {
		op = OpOther
	}
	return &m.requests[op]
}

// Latency sums up the latency of all requests since the last reset, in
// nanoseconds.
func (m *Metrics) Latency() Summary { return m.latency(func(kind) bool { return true }) }

// ReadLatency does so for what is answered from the member's own tree.
func (m *Metrics) ReadLatency() Summary { return m.latency(func(k kind) bool { return k == read }) }

// UpdateLatency does so for what the quorum decides.
func (m *Metrics) UpdateLatency() Summary { return m.latency(func(k kind) bool { return k == update }) }

func (m *Metrics) latency(include func(kind) bool) Summary {
	cells := make([]*cell, 0, numOps)
	for op := range m.requests {
		if include(opKinds[op]) {
			cells = append(cells, &m.requests[op].cell)
		}
	}
	return summarize(1, cells...)
}

// SetState names the function that is asked for the member's state when
// somebody collects. It must be cheap and safe to call at any time.
func (m *Metrics) SetState(f func() State) { m.state.Store(&f) }

// AddCollector makes c be asked whenever the figures are collected.
func (m *Metrics) AddCollector(c Collector) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collectors = append(m.collectors, c)
}

// Reset forgets, for all that speaks of "since the last reset", what has been
// counted so far: srst. What Prometheus reads goes on growing, as it must.
func (m *Metrics) Reset() {
	for i := range m.requests {
		m.requests[i].cell.reset()
	}
	for _, h := range m.histograms() {
		h.cell.reset()
	}
	for _, c := range m.counters() {
		for i := range c.counters {
			c.counters[i].reset()
		}
	}
	m.ProposalSize.reset()
	m.ResponseSize.reset()
}
