package server

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/replica"
	"github.com/conclave-dev/conclave/internal/roster"
	"github.com/conclave-dev/conclave/internal/session"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/watch"
)

// Options are what a member's configuration says of its clients.
type Options struct {
	// Member is the member's raft id; Boot rises with each start of it.
	Member, Boot uint64

	TickTime               time.Duration
	MinTimeout, MaxTimeout time.Duration // bounds of session timeouts
	MaxBuffer              int           // largest request in bytes (jute.maxbuffer)
	MaxConnsPerIP          int           // 0 for no bound (maxClientCnxns)
	MaxConns               int           // 0 for no bound (maxCnxns)
	MaxUnsent              int           // bytes that one connection may leave unsent or have on the way
	MaxOutstanding         int           // requests of one connection without an answer
	// MaxHandshakes bounds how many handshakes are on their way through the log at a
	// time; 0 for DefaultMaxHandshakes.
	MaxHandshakes int
	// GlobalOutstanding bounds the requests of all connections without an
	// answer: beyond it nothing is read from a connection that has any. 0 for
	// no bound.
	GlobalOutstanding int

	SkipACL, EnforceQuota  bool
	ExtendedTypes          bool
	ReconfigEnabled        bool
	SuperDigest, DigestAlg string
	// Reconfig serves reconfig; needed if ReconfigEnabled.
	Reconfig Reconfigure

	ContainerInterval  time.Duration // how often the leader looks for nodes to reap
	ContainerPerMinute int
	ContainerNeverUsed time.Duration // 0 for never

	// ElectionTime is how long the ensemble may well take to find a new leader:
	// so long a client that wants a session is kept waiting for one.
	ElectionTime time.Duration
	// QuorumLease is the share of a session's timeout after which a member
	// without contact to a quorum lets its client go.
	QuorumLease int

	// Spawn runs what waits for a client that does not read; nil for a goroutine
	// each, which Stop waits for.
	Spawn func(func())

	Now        func() time.Duration // monotonic
	WallMillis func() int64         // time of day, milliseconds since the Unix epoch
	Metrics    *metrics.Metrics
	Logger     *slog.Logger
	// Words answers four-letter words; nil when there are none.
	Words FourLetterWords
}

// FourLetterWords answers what a connection asks instead of a handshake.
type FourLetterWords interface {
	IsWord(word uint32) bool
	// ArgLen is how many bytes follow the word as its argument.
	ArgLen(word uint32) int
	HandleArg(word [4]byte, arg []byte, w io.Writer) (known bool)
}

// Replica is what the server needs of the member's raft side.
type Replica interface {
	Outbox() *replica.Outbox
	ProposeAsLeader(ops []byte)
	// Contact is when the member last knew that its leader had a quorum.
	Contact() (at time.Duration, ok bool)
	CaughtUp() bool
	// Stalled is since when the disk of the member's log has not answered; ok is
	// false if it does.
	Stalled() (since time.Duration, ok bool)
}

// Reporter carries reports on sessions to the leader.
type Reporter interface {
	Report(to uint64, payload []byte) bool
}

// Server serves the clients of one member.
type Server struct {
	opt      Options
	flags    byte // of session operations
	node     Replica
	reporter Reporter

	// state guards machine and what must change together with it.
	state   sync.RWMutex
	machine *statemachine.Machine
	watches *watch.Table[*Conn]
	// bySession are the connections that sessions are attached through here, or
	// were before they moved (Conn.moved). Invariant: a connection is here from
	// when its session is attached until the session ends, is attached here
	// anew, or the connection leaves the table.
	bySession map[int64]*Conn
	// handshakes are the connections whose createSession or attach is on its
	// way, by its number. An entry stays until the log has answered, even if
	// the client has gone: the member's numbers must come without a gap. It
	// and memberSeq are changed under the state's write lock, or under its read
	// lock together with the outbox's.
	handshakes map[uint64]*Conn
	memberSeq  uint64
	admission  admission
	underWay   atomic.Int64 // handshakes; Options.MaxHandshakes at most
	dirty      []*Conn      // of the batch being applied
	removed    []*Conn      // lost their session in the batch being applied
	attached   attachedIn
	// quotaWarned is when a soft quota was last warned of.
	quotaWarned time.Duration

	conns connTable

	// Sessions' clocks; only the leader's run.
	clockMu  sync.Mutex
	clock    *session.Clock
	expiring bool // this member is the leader and has applied its own term
	role     replica.Role
	pause    *session.PauseDetector
	wentOn   time.Duration // when this process went on after the last pause
	lastReap time.Duration
	told     told

	// roster is of all sessions, while this member is the leader. Its lock is
	// taken after clockMu.
	roster *roster.Roster

	serving  atomic.Bool
	hasNode  atomic.Bool
	draining atomic.Bool
	flusher  flusher

	lastWords   lastWords
	outstanding atomic.Int64
	held        atomic.Int64 // bytes, by the same requests
}

// New returns a server that does not serve yet: it answers four-letter words
// and turns clients away until it has a state (Load) and a replica (Attach), and
// SetServing opens the door.
func New(opt Options) *Server {
	s := &Server{
		opt: opt, machine: statemachine.New(), watches: watch.New[*Conn](),
		attached:  attachedIn{term: make(map[int64]uint64)},
		bySession: make(map[int64]*Conn), handshakes: make(map[uint64]*Conn),
		clock: session.NewClock(), pause: session.NewPauseDetector(tickInterval(opt)), roster: roster.New(roster.Options{}),
	}
	if s.opt.MaxHandshakes == 0 {
		s.opt.MaxHandshakes = DefaultMaxHandshakes
	}
	if opt.SkipACL {
		s.flags |= statemachine.FlagSkipACL
	}
	if opt.EnforceQuota {
		s.flags |= statemachine.FlagEnforceQuota
	}
	if opt.ExtendedTypes {
		s.flags |= statemachine.FlagExtendedTypes
	}
	if s.opt.Spawn == nil {
		s.opt.Spawn = s.conns.spawn
	}
	s.conns.init()
	s.flusher.init()
	return s
}

// Load gives the server the state that the member has on disk.
func (s *Server) Load(m *statemachine.Machine) {
	s.state.Lock()
	defer s.state.Unlock()
	s.machine = m
}

// Attach connects the server to its replica.
func (s *Server) Attach(node Replica, reporter Reporter) {
	s.node, s.reporter = node, reporter
	s.hasNode.Store(true)
}

// View runs f with the replicated state held still.
func (s *Server) View(f func(m *statemachine.Machine)) {
	s.state.RLock()
	defer s.state.RUnlock()
	f(s.machine)
}

// SetServing opens or closes the door: a member that does not serve closes
// each connection at the handshake.
func (s *Server) SetServing(v bool) { s.serving.Store(v) }

// Outstanding returns how many requests have been read and not answered.
func (s *Server) Outstanding() int64 { return s.outstanding.Load() }

// fresh reports whether the member has had contact with a quorum within a
// session timeout's share: without it, it must not let a client believe in a
// session that the others may have expired (invariant 9 in
// docs/architecture.md).
func (s *Server) fresh(now, timeout time.Duration) bool {
	at, ok := s.node.Contact()
	return ok && now-at < timeout/time.Duration(s.opt.QuorumLease)
}

// heldUp returns since when this member can't follow the one that leads, because
// the disk of its own log does not answer. Its clients are better off elsewhere. A
// leader in this state would have handed over if any other could lead: its
// clients would wait there as well.
func (s *Server) heldUp() (since time.Duration, ok bool) {
	if !s.hasNode.Load() {
		return 0, false
	}
	if since, ok = s.node.Stalled(); !ok {
		return 0, false
	}
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	return since, !s.role.IsLeader
}

// hopeful reports whether a handshake is worth waiting for: it goes through the
// log, so it is safe without a quorum, but one that will not come soon is
// better sought elsewhere. While this process stood still it could not hear from
// a quorum: that time does not count.
func (s *Server) hopeful(now time.Duration) bool {
	at, ok := s.node.Contact()
	s.clockMu.Lock()
	paused, wentOn := s.pause.Overdue(now), s.wentOn
	s.clockMu.Unlock()
	return ok && (paused || now-max(at, wentOn) < max(s.opt.ElectionTime, s.opt.MinTimeout/time.Duration(s.opt.QuorumLease)))
}

// negotiate bounds a session timeout, in milliseconds.
func (s *Server) negotiate(ms int32) int32 {
	t := max(time.Duration(ms)*time.Millisecond, s.opt.MinTimeout)
	return int32(min(t, s.opt.MaxTimeout) / time.Millisecond)
}

func randomID() int64 {
	var b [8]byte
	for {
		rand.Read(b[:]) // never fails: crypto/rand ends the program instead
		// Positive, so that clients and dashboards that print it signed and
		// those that print it unsigned agree.
		if id := int64(binary.BigEndian.Uint64(b[:]) >> 1); id != 0 {
			return id
		}
	}
}

func randomPassword() (p [session.PasswordSize]byte) {
	rand.Read(p[:])
	return p
}

// clientIP returns the address alone, as ACLs of scheme ip know it.
func clientIP(addr netip.AddrPort) string { return addr.Addr().Unmap().String() }

// isWrite reports whether op goes through the log.
func isWrite(op jute.OpCode) bool {
	switch op {
	case jute.OpCreate, jute.OpCreate2, jute.OpCreateContainer, jute.OpCreateTTL, jute.OpDelete,
		jute.OpSetData, jute.OpSetACL, jute.OpMulti, jute.OpSync, jute.OpCloseSession:
		return true
	}
	return false
}
