package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/replica"
	"github.com/conclave-dev/conclave/internal/replica/formation"
	"github.com/conclave-dev/conclave/internal/replica/transport"
	"github.com/conclave-dev/conclave/internal/server"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage"
	"github.com/conclave-dev/conclave/internal/storage/vfs"
	"github.com/conclave-dev/conclave/internal/tlsfiles"
	"github.com/conclave-dev/conclave/internal/zooconfig"
)

// Options are what a member is started with.
type Options struct {
	Config *zooconfig.Config
	// ConfigText is the configuration file as it was read, for whoever asks.
	ConfigText string
	Version    admin.Version
	Logger     *slog.Logger
	// FS is the disk; nil for the operating system's. Tests break it.
	FS vfs.FS
	// SegmentSize is that of the log's files in bytes, SpareSegments how many of
	// those that compaction frees are kept, and KeepEntries how many entries stay in
	// the log behind a snapshot; 0 for what is good in production. Tests make them
	// small, so that files come and go often.
	SegmentSize   int64
	SpareSegments int
	KeepEntries   uint64
	// AwaitBootstrap makes a member without data wait to be told which ensemble
	// it belongs to (Bootstrap, AddLearner), and one with data leave membership
	// to such orders. The configuration names no server but this one.
	AwaitBootstrap bool
}

// Member is one member of an ensemble, running.
type Member struct {
	opt     Options
	cfg     *zooconfig.Config
	log     *slog.Logger
	metrics *metrics.Metrics
	start   time.Time

	dir     *storage.Dir
	raftLog *storage.Log // once the member belongs to an ensemble
	// hosts are the members that took this one in, until it has a snapshot that
	// names them.
	hosts     []statemachine.Member
	server    *server.Server
	transport *transport.Transport // nil for an ensemble of one
	tls       *tlsfiles.Files      // nil without TLS
	surface   *admin.Surface
	grpc      *admin.GRPCServer

	// node is set once the member belongs to an ensemble.
	node      atomic.Pointer[replica.Node]
	clusterID atomic.Pointer[string]
	former    atomic.Pointer[formation.Node]

	clientListener *server.Listener
	servers        []func(context.Context) // stop what serves people and monitoring

	// orders is held by whatever decides about the member's standing.
	orders   sync.Mutex
	standing atomic.Pointer[standing]
	settled  chan struct{} // closed when await has an end
	// damage is why the member can't read its data, for one that stays
	// nevertheless.
	damage atomic.Pointer[error]
	survey survey

	traceMask   atomic.Int64
	leaderSince atomic.Int64 // Unix nanoseconds, 0 if it does not lead
	leaderless  atomic.Int64 // Unix nanoseconds since when no leader is known
	drainSince  atomic.Int64

	failOnce sync.Once
	failed   chan struct{}
	failure  error
	stop     chan struct{}
	work     sync.WaitGroup
}

// now is a monotonic clock that starts near zero with the process.
func (m *Member) now() time.Duration { return time.Since(m.start) + time.Second }

func wallMillis() int64 { return time.Now().UnixMilli() }

// Start opens the member's data and begins to serve. The ensemble is formed or
// joined in the background: until then clients are turned away.
func Start(opt Options) (*Member, error) {
	m := &Member{
		opt: opt, cfg: opt.Config, log: opt.Logger, metrics: metrics.New(), start: time.Now(),
		failed: make(chan struct{}), stop: make(chan struct{}), settled: make(chan struct{}),
	}
	m.stand(adminpb.Membership_MEMBERSHIP_FORMING, "")
	if opt.AwaitBootstrap {
		m.stand(adminpb.Membership_MEMBERSHIP_AWAITING, "the member is empty, and waits to be told which ensemble it belongs to (--await-bootstrap): Bootstrap makes a new one of it, AddLearner on a leader takes it in")
	}
	if m.opt.FS == nil {
		m.opt.FS = vfs.OS()
	}
	m.opt.FS = vfs.Watch(m.opt.FS, m.now)
	m.leaderless.Store(m.start.UnixNano())
	if err := m.open(); err != nil {
		m.close()
		return nil, err
	}
	m.work.Go(func() { tuneMemory(m.stop) })
	m.work.Go(func() { m.server.Run(m.stop) })
	m.work.Go(func() {
		if err := m.server.Serve(m.clientListener); err != nil {
			m.fail(err)
		}
	})
	m.work.Go(func() {
		if err := m.enter(); err != nil && !errors.Is(err, errStopping) {
			m.fail(err)
		}
	})
	return m, nil
}

var errStopping = errors.New("member: stopping")

func (m *Member) open() error {
	if err := m.openTLS(); err != nil {
		return err
	}
	for _, dir := range []string{m.cfg.DataDir, m.cfg.DataLogDir} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		if err := zooconfig.CheckNoZooKeeperData(dir); err != nil {
			return err
		}
	}
	dir, err := storage.OpenDir(m.opt.FS, m.cfg.DataDir, m.cfg.DataLogDir)
	if err != nil && m.endure(err) == nil {
		dir, err = storage.OpenDamagedDir(m.opt.FS, m.cfg.DataDir, m.cfg.DataLogDir)
	}
	if err != nil {
		return err
	}
	m.dir = dir
	if id := dir.Identity.Get(); id.MoveAside {
		if err := dir.MoveAside(); err != nil {
			return err
		}
		m.log.Warn("the member starts clean: its data was moved aside", "data", filepath.Join(m.cfg.DataDir, "conclave"), "suffix", storage.AsideSuffix(id.MemberID))
	}
	if m.damage.Load() == nil {
		if err := m.endure(m.identify()); err != nil {
			return err
		}
	}
	if dir.Identity.Get().ClusterID != "" {
		m.stand(adminpb.Membership_MEMBERSHIP_MEMBER, "")
	}
	if err := m.endure(m.recoverLost()); err != nil {
		return err
	}
	if m.damage.Load() != nil {
		m.stand(adminpb.Membership_MEMBERSHIP_UNREADABLE, m.damageReason())
	}
	id := dir.Identity.Get()
	m.surface = &admin.Surface{Source: (*source)(m), Metrics: m.metrics, Version: m.opt.Version}
	words := admin.NewFourLetter(m.surface, m.cfg.FourLetterWords...)
	if m.cfg.AllFourLetterWords {
		words = admin.NewFourLetter(m.surface, "*")
	}
	m.server = server.New(server.Options{
		Member: id.MemberID, Boot: id.Boot,
		TickTime: m.cfg.TickTime, MinTimeout: m.cfg.MinSessionTimeout, MaxTimeout: m.cfg.MaxSessionTimeout,
		MaxBuffer: m.cfg.MaxBuffer, MaxConnsPerIP: m.cfg.MaxClientCnxns, MaxConns: m.maxConns(),
		MaxUnsent: m.cfg.MaxUnsentBytes, MaxOutstanding: m.cfg.MaxOutstandingPerSession,
		GlobalOutstanding: m.cfg.GlobalOutstandingLimit,
		SkipACL:           m.cfg.SkipACL, EnforceQuota: m.cfg.EnforceQuota, ExtendedTypes: m.cfg.ExtendedTypesEnabled,
		ReconfigEnabled: m.cfg.ReconfigEnabled, Reconfig: m.reconfig, SuperDigest: m.cfg.SuperDigest, DigestAlg: m.cfg.DigestAlg,
		ContainerInterval: m.cfg.Container.CheckInterval, ContainerPerMinute: m.cfg.Container.MaxPerMinute,
		ContainerNeverUsed: m.cfg.Container.MaxNeverUsed, QuorumLease: 3, ElectionTime: m.quorumContact(),
		Now: m.now, WallMillis: wallMillis, Metrics: m.metrics, Logger: m.log, Words: words,
	})
	if m.clientListener, err = server.Listen(m.cfg.ClientAddress()); err != nil {
		return fmt.Errorf("client address (clientPort, clientPortAddress or --listen): %w", err)
	}
	if !m.cfg.Standalone && id.MemberID != 0 { // without an identity it has nothing to say to others
		if err := m.openTransport(); err != nil {
			return err
		}
	}
	return m.openSurfaces()
}

// identify gives the data directory a member id when it has none, and counts
// the start.
func (m *Member) identify() error {
	id := m.dir.Identity.Get()
	where := filepath.Join(m.cfg.DataDir, "conclave")
	switch {
	case id.MemberID == 0 && !m.dir.Empty():
		return lost("%s holds a log or snapshots but no identity: the file was lost, and without it nobody can tell what this member has voted for: put it back, or, if the ensemble has other members, move the directory aside, and this one joins again with an empty one", where)
	case id.MemberID != 0 && id.Name != m.cfg.MyID:
		return fmt.Errorf("%s belongs to server.%d, but this is server.%d: correct myid, or use the right dataDir", where, id.Name, m.cfg.MyID)
	}
	return m.dir.Identity.Update(func(id *storage.Identity) {
		if id.MemberID == 0 {
			id.MemberID, id.Name = randomMemberID(), m.cfg.MyID
		}
		id.Boot++
	})
}

// ClientAddr is where clients are served.
func (m *Member) ClientAddr() net.Addr { return m.clientListener.Addr() }

// AdminAddr is where the admin API is served over TCP, nil if it is not.
func (m *Member) AdminAddr() net.Addr { return m.grpc.Addr() }

// Failed is closed when the member can't go on; Err then says why.
func (m *Member) Failed() <-chan struct{} { return m.failed }

// Err returns why the member failed. It may be called once Failed is closed.
func (m *Member) Err() error { return m.failure }

// fail ends the member's service: nothing more is acknowledged.
func (m *Member) fail(err error) {
	m.failOnce.Do(func() {
		m.server.SetServing(false)
		m.failure = err
		close(m.failed)
	})
}

// leaveTick is how often a member that leaves looks whether its last client is gone.
const leaveTick = 20 * time.Millisecond

// Leave goes on serving for as long as conclave.leaveMs says: whoever tells a member
// to stop may tell those who send it clients (a Service's endpoints, a load balancer)
// at the same moment. Nothing is waited for where nobody is served: without an
// ensemble, after a failure, and when the member is drained and its last client is
// gone. Stop is due then.
func (m *Member) Leave() {
	end := time.NewTimer(m.cfg.Leave)
	defer end.Stop()
	tick := time.NewTicker(leaveTick)
	defer tick.Stop()
	for m.node.Load() != nil && !(m.drainSince.Load() != 0 && m.server.Connections() == 0) {
		select {
		case <-end.C:
			return
		case <-m.failed:
			return
		case <-tick.C:
		}
	}
}

// drainTime bounds how long a member takes to hand over and let its clients go
// when it is told to stop.
const drainTime = 5 * time.Second

// Stop hands over leadership, lets the clients go and ends the member, within
// a bound.
func (m *Member) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	m.server.Drain(true)
	m.drainSince.CompareAndSwap(0, time.Now().UnixNano()) // it is no longer ready
	if m.clientListener != nil {
		_ = m.clientListener.Close()
	}
	if n := m.node.Load(); n != nil && n.Role().IsLeader && m.Err() == nil && !m.standing.Load().refuses() {
		m.handOver(ctx, n)
	}
	m.server.CloseAll(1<<30, func() {})
	m.close()
}

// handOver gives leadership away and waits until it is gone, so that the
// others need not find out by themselves.
func (m *Member) handOver(ctx context.Context, n *replica.Node) {
	if len(n.Members().List) < 2 {
		return
	}
	if err := n.TransferLeadership(0); err != nil {
		m.log.Warn("leadership could not be handed over; the others will elect a leader", "error", err)
		return
	}
	// Raft gives a transfer up after an election timeout.
	ctx, cancel := context.WithTimeout(ctx, 2*m.cfg.Election)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n.Role().IsLeader || n.Role().Leader == 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			m.log.Warn("leadership was not taken over in time; the others will elect a leader", "within", 2*m.cfg.Election)
			return
		}
	}
}

// close releases everything that has been opened, in the reverse order of use.
func (m *Member) close() {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	select {
	case <-m.stop:
	default:
		close(m.stop)
	}
	for _, stop := range m.servers {
		stop(ctx)
	}
	if m.clientListener != nil {
		_ = m.clientListener.Close()
	}
	if m.transport != nil {
		_ = m.transport.Close()
	}
	m.work.Wait()
	if n := m.node.Load(); n != nil {
		n.Stop()
	}
	if m.server != nil {
		m.server.Stop()
	}
	if m.raftLog != nil {
		if err := m.raftLog.Close(); err != nil && m.failure == nil {
			m.log.Warn("closing the log", "error", err)
		}
	}
	if m.dir != nil {
		if err := m.dir.Close(); err != nil {
			m.log.Warn("closing the data directory", "error", err)
		}
	}
}
