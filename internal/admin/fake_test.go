package admin

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/metrics"
)

var rewrite = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("differs from %s (go test -update rewrites it); got:\n%s", file, got)
	}
}

// section adds an answer to a golden file, in which each has its own heading.
func section(b *bytes.Buffer, name, answer string) {
	if !strings.HasSuffix(answer, "\n") {
		answer += "<no newline>\n"
	}
	b.WriteString("=== " + name + "\n" + answer)
}

// start is when everything in these tests began, and now a bit more than two
// minutes later.
var (
	start = time.Date(2026, 11, 22, 13, 10, 0, 0, time.UTC)
	now   = start.Add(2*time.Minute + 3*time.Second + 4*time.Millisecond)
)

// fake is a member without any insides. Fields are set before it is used, or
// through change.
type fake struct {
	mu          sync.Mutex
	status      Status
	peers       []Peer
	config      Configuration
	connections []Connection
	sessions    []Session
	byPath      []PathWatches
	bySession   []SessionWatches
	digests     []Digest
	snapshot    *Snapshot
	mask        int64
	resets      int
	drains      []DrainRequest
	transferErr error
	transferred []uint64
	snapshotErr error
	sightings   []Sighting
	orders      []string
	orderErr    error
}

func (f *fake) order(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders = append(f.orders, fmt.Sprintf(format, args...))
	return f.orderErr
}

func (f *fake) Sightings() []Sighting { return f.sightings }
func (f *fake) Bootstrap(_ context.Context, cluster string, member uint64) error {
	return f.order("bootstrap %s %x", cluster, member)
}
func (f *fake) AddLearner(_ context.Context, index uint64, p Peer) error {
	return f.order("add on %d: %x as %d at %s:%d (%d), clients %s:%d, observer %t", index, p.ID, p.Name, p.Host, p.PeerPort, p.ElectionPort, p.ClientHost, p.ClientPort, p.Observer)
}
func (f *fake) Promote(_ context.Context, index, member, maxLag uint64) error {
	return f.order("promote on %d: %x within %d", index, member, maxLag)
}
func (f *fake) Remove(_ context.Context, index, member uint64) error {
	return f.order("remove on %d: %x", index, member)
}
func (f *fake) StartClean(_ context.Context, r StartClean) (string, error) {
	return "there", f.order("start clean %s %x", r.ClusterID, r.Member)
}
func (f *fake) RecoverLostMajority(_ context.Context, r RecoverRequest) (Recovery, error) {
	return Recovery{ClusterID: "new", LastZxid: 5, FirstZxid: 9, GivenUp: []Sighting{{ID: 3, Name: 2, Zxid: 4}}}, f.order("recover %+v", r)
}
func (f *fake) WatchSessions(_ context.Context, r *adminpb.WatchSessionsRequest, send func(*adminpb.SessionsUpdate) error) error {
	for _, z := range []int64{7, 8} {
		if err := send(&adminpb.SessionsUpdate{Zxid: z, Position: r.GetResume()}); err != nil {
			return err
		}
	}
	return f.order("watch sessions from %d", r.GetResume().GetSequence())
}
func (f *fake) OpenSnapshot(context.Context) (SnapshotFile, error) {
	s, _ := f.TakeSnapshot(context.Background())
	return SnapshotFile{Snapshot: s, Term: 2, ReadCloser: io.NopCloser(strings.NewReader(strings.Repeat("0123456789", 60_000)))}, f.orderErr
}

func (f *fake) change(g func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g(f)
}

func (f *fake) Status() Status                     { f.mu.Lock(); defer f.mu.Unlock(); return f.status }
func (f *fake) Peers() []Peer                      { f.mu.Lock(); defer f.mu.Unlock(); return f.peers }
func (f *fake) Configuration() Configuration       { return f.config }
func (f *fake) DirSizes() (data, log int64)        { return 457, 67109337 }
func (f *fake) Digests() []Digest                  { return f.digests }
func (f *fake) Connections() []Connection          { return f.connections }
func (f *fake) Sessions() []Session                { return f.sessions }
func (f *fake) WatchesByPath() []PathWatches       { return f.byPath }
func (f *fake) WatchesBySession() []SessionWatches { return f.bySession }
func (f *fake) TraceMask() int64                   { f.mu.Lock(); defer f.mu.Unlock(); return f.mask }
func (f *fake) SetTraceMask(mask int64)            { f.change(func(f *fake) { f.mask = mask }) }
func (f *fake) ResetConnectionStats()              { f.change(func(f *fake) { f.resets++ }) }
func (f *fake) LastSnapshot() (s Snapshot, ok bool) {
	if f.snapshot == nil {
		return Snapshot{}, false
	}
	return *f.snapshot, true
}

func (f *fake) WatchSummary() WatchSummary {
	w := WatchSummary{Connections: len(f.bySession), Paths: len(f.byPath)}
	for _, p := range f.byPath {
		w.Watches += len(p.Sessions)
	}
	return w
}

func (f *fake) TransferLeadership(ctx context.Context, target uint64) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.transferred = append(f.transferred, target)
	return 0xb, f.transferErr
}

func (f *fake) Drain(_ context.Context, r DrainRequest) error {
	f.change(func(f *fake) {
		f.drains = append(f.drains, r)
		f.status.Drain = DrainState{Active: !r.Cancel, Remaining: f.status.Connections}
		if !r.Cancel {
			f.status.Drain.Since = now.Add(-time.Second)
		}
	})
	return nil
}

func (f *fake) TakeSnapshot(context.Context) (Snapshot, error) {
	return Snapshot{Zxid: 7, Index: 9, Bytes: 1234, Taken: now}, f.snapshotErr
}

// The members that the tests ask: as in the ensembles from which
// testdata/genuine was taken.
const (
	standalone = "standalone"
	leading    = "leader"
	following  = "follower"
	observing  = "observer"
)

var states = []string{standalone, leading, following, observing}

func newFake(state string) *fake {
	const s1, s2 = 0x300002facaa0000, 0x300002facaa0001
	f := &fake{mask: 306}
	f.status = Status{
		ClusterID: "00c0ffee", MemberID: 0xa, Name: 3, Serving: true, HasQuorum: true, CaughtUp: true,
		Zxid: 0x10000000e, Term: 5, LeaderID: 0xa, AppliedIndex: 41, CommittedIndex: 42, ConfigIndex: 4,
		Started: start, Nodes: 10, Ephemerals: 3, DataBytes: 81, Sessions: SessionCounts{Total: 2},
		Connections: 3, Watches: 3, Outstanding: 1,
	}
	f.config = Configuration{
		ClientPort: 2181, DataDir: "/var/lib/zookeeper", DataLogDir: "/var/lib/zookeeper/log", TickTime: 2 * time.Second,
		MaxClientCnxns: 60, MinSessionTimeout: 4 * time.Second, MaxSessionTimeout: 40 * time.Second,
		Initial:    "tickTime=2000\ndataDir=/var/lib/zookeeper\n",
		Properties: map[string]string{"tickTime": "2000", "dataDir": "/var/lib/zookeeper", "4lw.commands.whitelist": "*"},
	}
	f.connections = []Connection{
		{ID: 1, Remote: "127.0.0.1:54554", Session: s1, Received: 21, Sent: 22, Established: start, Timeout: 10 * time.Second,
			Deadline: now.Add(9 * time.Second), LastOp: jute.OpPing, LastCxid: 7, LastZxid: 0x10000000e,
			LastResponse: now.Add(-time.Second), AvgLatency: 1200 * time.Microsecond, MaxLatency: 6 * time.Millisecond},
		{ID: 2, Remote: "[::1]:54562", Session: s2, Secure: true, Paused: true, Queued: 1, Received: 16, Sent: 16,
			Established: start.Add(time.Second), Timeout: 10 * time.Second, Deadline: now.Add(9 * time.Second),
			LastOp: jute.OpCreate2, LastCxid: 2, LastZxid: 0x10000000e, LastResponse: now},
		{ID: 3, Remote: "127.0.0.1:54608", Received: 1, Established: now, Deadline: now.Add(30 * time.Second)},
	}
	f.sessions = []Session{
		{ID: s1, Timeout: 10 * time.Second, Member: 0xa, Client: "127.0.0.1:54554", Ephemerals: []string{"/app/e1", "/app/e2"}},
		{ID: s2, Timeout: 10 * time.Second, Member: 0xa, Client: "[::1]:54562", Ephemerals: []string{"/app/e3"}},
	}
	f.byPath = []PathWatches{{"/app", []int64{s1, s2}}, {"/gone", []int64{s1}}}
	f.bySession = []SessionWatches{{s1, []string{"/app", "/gone"}}, {s2, []string{"/app"}}}
	f.digests = []Digest{{128, 266084673617, 2}, {256, 526897252022, 2}}
	f.snapshot = &Snapshot{Zxid: 0x100000000, Index: 12, Taken: start, Bytes: 4096}

	if state != standalone {
		peer := func(id uint64, name int, voter bool) Peer {
			return Peer{ID: id, Name: name, Voter: voter, Observer: !voter, Self: id == f.status.MemberID, Host: "zk-" + string('0'+rune(name)),
				PeerPort: 2888, ElectionPort: 3888, ClientHost: "0.0.0.0", ClientPort: 2181}
		}
		switch state {
		case following:
			f.status.MemberID, f.status.Name = 0xb, 2
		case observing:
			f.status.MemberID, f.status.Name = 0xd, 4
			f.config.Observer = true
		}
		f.peers = []Peer{peer(0xc, 1, true), peer(0xb, 2, true), peer(0xa, 3, true), peer(0xd, 4, false)}
		f.config.InitLimit, f.config.SyncLimit = 20*time.Second, 10*time.Second
		f.config.QuorumPort, f.config.ElectionPort = 2888, 3888
		f.config.Membership = "server.1=zk-1:2888:3888:participant;0.0.0.0:2181\nserver.2=zk-2:2888:3888:participant;0.0.0.0:2181\n" +
			"server.3=zk-3:2888:3888:participant;0.0.0.0:2181\nserver.4=zk-4:2888:3888:observer;0.0.0.0:2181\nversion=100000001"
	}
	switch state {
	case standalone:
		f.status.Role, f.status.Name, f.status.LeaderID = RoleStandalone, 0, 0xa
	case leading:
		f.status.Role = RoleLeader
		f.status.LeaderSince = start.Add(time.Second)
		f.status.Sessions = SessionCounts{Total: 2, Known: true, Connected: 1, Connecting: 1}
		for i := range f.peers {
			f.peers[i].Match, f.peers[i].Connected, f.peers[i].Synced = uint64(40+i), true, i != 0
		}
	case following:
		f.status.Role = RoleFollower
	case observing:
		f.status.Role = RoleObserver
	}
	if state == standalone || state == leading {
		f.sessions[0].Expires = now.Add(8 * time.Second)
		f.sessions[1].Expires = now.Add(3 * time.Second)
	}
	return f
}

func newSurface(f *fake) *Surface {
	m := metrics.New()
	m.Request(metrics.OpPing).Observe(90 * time.Microsecond)
	m.Request(metrics.OpGetData).Observe(1500 * time.Microsecond)
	m.Request(metrics.OpCreate).Observe(6 * time.Millisecond)
	m.Fsync.Observe(1200 * time.Microsecond)
	m.Fsync.Observe(3 * time.Millisecond)
	m.LogBatch.Observe(2)
	m.Election.Observe(348 * time.Millisecond)
	m.Commit.Observe(2 * time.Millisecond)
	m.PacketsReceived.Add(36)
	m.PacketsSent.Add(37)
	m.ConnectionsRefused[metrics.RefusedTooMany].Inc()
	m.ConnectionsRefused[metrics.RefusedTooManyFromHost].Inc()
	if f.status.Role == RoleLeader {
		m.ProposalSize.Observe(93)
		m.ProposalSize.Observe(36)
	}
	return &Surface{
		Source: f, Metrics: m,
		Version:         Version{Number: "0.1.0", Built: time.Date(2026, 11, 20, 8, 30, 0, 0, time.UTC)},
		Now:             func() time.Time { return now },
		FileDescriptors: func() (int64, int64) { return 44, 20000 },
		Environment:     func() []Setting { return []Setting{{"host.name", "zk-3"}, {"os.name", "Linux"}} },
	}
}

// logBuffer is a log that a test can read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *logBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

func newLog() (*slog.Logger, *logBuffer) {
	var b logBuffer
	return slog.New(slog.NewTextHandler(&b, nil)), &b
}
