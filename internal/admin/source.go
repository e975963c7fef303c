package admin

import (
	"context"
	"time"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/jute"
)

// Source is a member as the operations surface sees it. Any method may be
// called at any time from several goroutines, also before the member serves
// and while it stops, and must not wait for a quorum unless it takes a
// context. What is returned belongs to the caller.
type Source interface {
	// Status is one view of the member. It is read for every word, command,
	// scrape and health check, and so has to be cheap: counters and a snapshot
	// of raft's state, no walks.
	Status() Status

	// Peers are the members of the ensemble as this member knows them, itself
	// included, in the order of their names. Empty before there is an ensemble.
	Peers() []Peer
	// Configuration is what the member runs with.
	Configuration() Configuration
	// DirSizes adds up the bytes of the files in the directories of snapshots
	// and of the log. It may walk them.
	DirSizes() (data, log int64)
	// LastSnapshot describes the newest snapshot on disk; ok is false if there
	// is none.
	LastSnapshot() (s Snapshot, ok bool)
	// Digests are the digests of the tree that were recorded last, oldest
	// first. Equal zxids have equal digests on every member, or the trees
	// differ.
	Digests() []Digest

	// Connections are the open client connections, in the order of their ids.
	Connections() []Connection
	// Sessions are all sessions of the ensemble as this member has applied
	// them, in the order of their ids.
	Sessions() []Session
	// WatchSummary counts what the next two would report.
	WatchSummary() WatchSummary
	// WatchesByPath and WatchesBySession report every watch held on this
	// member, in the order of paths and of session ids. They copy the whole
	// table: for people, not for scrapes.
	WatchesByPath() []PathWatches
	WatchesBySession() []SessionWatches

	// ResetConnectionStats zeroes the counters and latencies of every open
	// connection. (Those of the server are in metrics.Metrics.)
	ResetConnectionStats()
	// TraceMask and SetTraceMask hold ZooKeeper's bit mask of what to trace.
	TraceMask() int64
	SetTraceMask(mask int64)

	// TransferLeadership hands leadership to the voter with the raft id target,
	// or, if target is 0, to the voter that is furthest along. It returns once
	// another member leads, with that member's raft id. It fails if this member
	// does not lead, if target is no voter, or if ctx ends first.
	TransferLeadership(ctx context.Context, target uint64) (leader uint64, err error)
	// Drain starts a drain, or ends one that is under way, and returns without
	// waiting for it. Asking for what is already so is no error.
	Drain(ctx context.Context, req DrainRequest) error
	// TakeSnapshot writes a snapshot of the applied state to this member's disk
	// and returns once it is durable.
	TakeSnapshot(ctx context.Context) (Snapshot, error)
	// Sightings are what this member has heard of the others by asking them
	// itself, in the order of their names.
	Sightings() []Sighting
	// WatchSessions sends the ensemble's sessions and ephemerals, and what becomes
	// of them, until ctx ends, send fails, or the member ceases to lead. What is
	// sent is not changed afterwards.
	WatchSessions(ctx context.Context, req *adminpb.WatchSessionsRequest, send func(*adminpb.SessionsUpdate) error) error
	Orders
}

// Membership is a member's relation to an ensemble.
type Membership = adminpb.Membership

// Sighting is what a member has heard of another.
type Sighting struct {
	ID      uint64
	Name    int
	Address string
	Voter   bool
	// Answers tells whether it answered when it was last asked, Problem why not
	// or what is wrong with who answers.
	Answers bool
	Problem string
	// Seen is when it last answered itself, and not somebody else in its place, the
	// zero time for never; Zxid and LastIndex are what it said then.
	Seen      time.Time
	Zxid      int64
	LastIndex uint64
	// ClusterID is the ensemble of who answered last, whoever it was.
	ClusterID string
}

// Role is a member's part in the ensemble.
type Role uint8

// The roles of a member.
const (
	// RoleLooking: there is no leader that this member knows of, or no ensemble
	// yet.
	RoleLooking Role = iota
	RoleLeader
	RoleFollower
	// RoleObserver is a member without a vote, whether it is meant to stay one
	// or is catching up before it gets one.
	RoleObserver
	// RoleStandalone is the only member of an ensemble that was configured
	// without peers. An only member that was made to grow is a leader.
	RoleStandalone
)

// String returns the role as ZooKeeper names it in "Mode:" and server_state.
func (r Role) String() string {
	switch r {
	case RoleLeader:
		return "leader"
	case RoleFollower:
		return "follower"
	case RoleObserver:
		return "observer"
	case RoleStandalone:
		return "standalone"
	default:
		return "looking"
	}
}

// Status is the state of a member at one moment.
type Status struct {
	// ClusterID is the ensemble's id in hex, empty until the member belongs to
	// one.
	ClusterID string
	// MemberID is the member's raft id.
	MemberID uint64
	// Name is the N of server.N; 0 for a standalone server.
	Name int

	Role Role
	// Serving tells whether client requests are served. If they are not, words
	// and commands answer that the instance is not serving.
	Serving bool
	// NotServingReason says in a sentence why not; empty if Serving.
	NotServingReason string

	// HasQuorum tells whether this member has, or has lately had, contact with a
	// leader that a quorum confirmed (or is that leader).
	HasQuorum bool
	// CaughtUp tells whether everything that was committed when the member last
	// heard of the leader's commit index is applied here, but for the usual few.
	CaughtUp bool
	Drain    DrainState
	Disk     DiskHealth

	// Membership is where the member stands with its ensemble; MembershipReason
	// why it refuses to serve, or what it waits for.
	Membership       Membership
	MembershipReason string
	// FormerClusterIDs are the ensembles that this one is the recovery of.
	FormerClusterIDs []string
	// NoQuorumSince is since when there is no contact with a quorum; the zero
	// time if there is, or if the member belongs to no ensemble.
	NoQuorumSince time.Time
	// PeerAddress and ClientAddress are the member's own, host:port.
	PeerAddress, ClientAddress string

	// TLS is what the member shows to others; nil without.
	TLS *TLSState

	// Zxid is that of the last applied transaction.
	Zxid int64
	Term uint64
	// LeaderID is the raft id of the leader that this member follows; 0 if none.
	LeaderID uint64
	// AppliedIndex <= CommittedIndex, as this member knows them.
	AppliedIndex, CommittedIndex uint64
	// ConfigIndex is the log index of the last applied membership change: what a
	// planned membership call names, to be refused if it has moved.
	ConfigIndex uint64

	// Started is when the process began; LeaderSince when this member last
	// became leader, the zero time if it does not lead.
	Started, LeaderSince time.Time

	Nodes, Ephemerals int
	// DataBytes is the length of all paths and data together, as in ZooKeeper's
	// approximate_data_size.
	DataBytes int64

	Sessions SessionCounts
	// Connections counts open client connections; Watches the watches held here.
	Connections, Watches int
	// Outstanding counts client requests that are received and not yet answered.
	Outstanding int
	// PendingSyncs counts syncs that wait for the leader; only the leader's count
	// is shown.
	PendingSyncs int
}

// Live reports whether the process can still be of use. One whose disk failed
// under it can't, and is restarted; one that can't read what it began with would
// meet the same again, and waits for an order.
func (s *Status) Live() bool {
	return !s.Disk.Failed || s.Membership == adminpb.Membership_MEMBERSHIP_UNREADABLE
}

// Ready reports whether the member should get new clients, and if not, why.
func (s *Status) Ready() (ready bool, reason string) {
	switch {
	case s.Disk.Failed:
		return false, "disk failed: " + s.Disk.Reason
	case !s.HasQuorum:
		return false, "no contact with a quorum"
	case !s.Serving:
		if s.NotServingReason == "" {
			return false, "not serving"
		}
		return false, s.NotServingReason
	case !s.CaughtUp:
		return false, "catching up with the leader"
	case s.Drain.Active:
		return false, "draining"
	}
	return true, ""
}

// SessionCounts are the sessions of the ensemble by state.
type SessionCounts struct {
	// Total is the number of sessions in the replicated table.
	Total int
	// Known tells whether the states below are known: only the leader hears from
	// every member who is connected to it. Then their sum is Total.
	Known bool
	// Connected sessions have an open connection at their member. Connecting
	// ones have none now. NotConnected ones were restored after a restart of the
	// whole ensemble, and their clients have not been seen since.
	Connected, Connecting, NotConnected int
	// Closed and Expired are the sessions that have ended since the ensemble
	// began, closed by their clients and expired.
	Closed, Expired int64
}

// DrainState is how far a drain has come.
type DrainState struct {
	Active bool
	// Since is when the drain began; the zero time if not Active.
	Since time.Time
	// Remaining counts the client connections that are still open.
	Remaining int
}

// DrainRequest asks for a drain: the member becomes unready, takes no new
// sessions, and closes its connections at a pace.
type DrainRequest struct {
	// Cancel ends the drain instead.
	Cancel bool
	// Within is the time over which open connections are closed; 0 leaves the
	// pace to the member.
	Within time.Duration
}

// TLSState is which certificates are in use.
type TLSState struct {
	// CA is the SHA-256 of the authorities' file, Serial the number of the
	// member's certificate, in hexadecimal digits.
	CA, Serial string
	NotAfter   time.Time
	// Problem is why newer files are not used; empty if there are none.
	Problem string
}

// DiskHealth is what the member's disk is like.
type DiskHealth struct {
	// Failed: a write, sync or read failed, or what was read is damaged. The
	// member takes no further part until it is restarted, or, if it can't read
	// what it began with, until it is told to start clean.
	Failed bool
	// Slow: a disk has not answered for two election timeouts.
	Slow bool
	// Reason says what failed or is slow; empty if all is well.
	Reason string
	// File is what is damaged, at Offset; empty if the trouble is not one file's.
	File   string
	Offset int64
}

// Peer is a member of the ensemble as another member knows it.
type Peer struct {
	ID uint64
	// Name is the N of server.N.
	Name  int
	Voter bool
	// Observer is a member that is meant to stay without a vote.
	Observer bool
	// Self marks the member that answers.
	Self bool

	// Host is where members reach it, ClientHost where clients do. An
	// ElectionPort is shown because clients parse it. ClientPort is 0 if unknown.
	Host                   string
	PeerPort, ElectionPort int
	ClientHost             string
	ClientPort             int

	// What follows is known to the leader only, and zero elsewhere.

	// Match is the last log index that is durable on the peer.
	Match uint64
	// Connected: the peer answered within the last election timeout. True for
	// the leader itself.
	Connected bool
	// Synced: Connected, and Match is close enough behind for the peer to be
	// counted on.
	Synced bool
}

// Configuration is what a member runs with. Durations are printed in
// milliseconds; limits in ticks.
type Configuration struct {
	ClientPort       int
	SecureClientPort int // 0 or less if there is none
	DataDir          string
	DataLogDir       string
	TickTime         time.Duration
	MaxClientCnxns   int
	// The bounds of what clients negotiate.
	MinSessionTimeout, MaxSessionTimeout time.Duration
	// ListenBacklog is 0 or less for the system's default.
	ListenBacklog int
	// InitLimit and SyncLimit are shown in ticks.
	InitLimit, SyncLimit time.Duration
	// ElectionPort and QuorumPort are 0 on a standalone server, for which no
	// ensemble is shown.
	ElectionPort, QuorumPort int
	// Observer is ZooKeeper's peerType 1.
	Observer bool
	// Membership is the ensemble as /zookeeper/config has it: server lines and
	// a last line version=<hex>. Empty on a standalone server.
	Membership string
	// Initial is the text of the configuration file that the member was started
	// with, without secrets. Empty if there was none.
	Initial string
	// Properties are all effective settings by their names in the configuration
	// file, without secrets.
	Properties map[string]string
}

// Connection is one client connection.
type Connection struct {
	ID uint64
	// Remote is the client's address, host:port.
	Remote string
	// Session is 0 until the handshake is done, and on connections that only ask
	// a four-letter word; then what follows Queued, Received and Sent is unused.
	Session int64
	// Secure tells a TLS connection.
	Secure bool
	// Paused: nothing is read from it now, because it has too much outstanding.
	Paused bool
	// Queued counts requests received and not yet answered; Received and Sent
	// count packets.
	Queued, Received, Sent int64
	Established            time.Time
	// Timeout is the session's, as negotiated.
	Timeout time.Duration
	// Deadline is when the member closes the connection if it stays silent; the
	// zero time if it does not say.
	Deadline time.Time

	// LastOp is the last operation that was answered, jute.OpNotification if
	// none was. LastCxid is its xid, negative for pings and the like.
	LastOp       jute.OpCode
	LastCxid     int64
	LastZxid     int64
	LastResponse time.Time // the zero time if there was none
	// Latencies since the connection was opened or reset.
	LastLatency, MinLatency, AvgLatency, MaxLatency time.Duration
}

// Session is one session of the ensemble.
type Session struct {
	ID      int64
	Timeout time.Duration
	// Member is the raft id of the member that it is attached to.
	Member uint64
	// Client is the address that the client connected from.
	Client string
	// Expires is when it ends if its client stays silent. The zero time on
	// members other than the leader, whose clock alone decides.
	Expires time.Time
	// Ephemerals are the paths of its ephemeral nodes, sorted.
	Ephemerals []string
}

// WatchSummary counts watches.
type WatchSummary struct {
	Connections, Paths, Watches int
}

// PathWatches is a path and the sessions that watch it.
type PathWatches struct {
	Path     string
	Sessions []int64
}

// SessionWatches is a session and the paths that it watches.
type SessionWatches struct {
	Session int64
	Paths   []string
}

// Snapshot is a snapshot on disk.
type Snapshot struct {
	Zxid  int64
	Index uint64
	Taken time.Time
	Bytes int64
}

// Digest is a digest of the tree as of a transaction.
type Digest struct {
	Zxid   int64
	Digest uint64
	// Version is that of the digest's algorithm.
	Version int
}
