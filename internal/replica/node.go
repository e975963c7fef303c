package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage"
	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// App is the state machine and whoever lives from it. Apply, ApplyMembers,
// BeginSnapshot and Restore are called by the applier alone, in log order.
type App interface {
	// Apply applies committed entries of operations.
	Apply(entries []*raftpb.Entry) error
	// ApplyMembers applies a committed change of the membership.
	ApplyMembers(index, term uint64, list []statemachine.Member)
	// BeginSnapshot fixes the state as it is now.
	BeginSnapshot() (*statemachine.Snapshot, error)
	// ReadSnapshot runs f while nothing is applied: a step of writing a
	// snapshot. EndSnapshot must follow the last.
	ReadSnapshot(f func())
	EndSnapshot(*statemachine.Snapshot)
	// Restore replaces the state by a snapshot.
	Restore(r io.Reader) (statemachine.Members, error)
	// RoleChanged tells of a new leader, term or role. It is called by the loop
	// and must not block.
	RoleChanged(Role)
	// Report delivers a member's report on sessions to the leader.
	Report(from uint64, payload []byte)
}

// Transport carries messages to the other members. Send, Forward and Report
// never block; what can't be queued is dropped.
type Transport interface {
	Send(msgs []*raftpb.Message)
	Forward(to uint64, batch []byte) bool
	Report(to uint64, payload []byte) bool
	SendSnapshot(to uint64, m *raftpb.Message, body io.Reader) error
	SetPeers(map[uint64]string)
}

// Role is a member's place in the ensemble.
type Role struct {
	Leader   uint64 // raft id, 0 when there is none
	Term     uint64
	IsLeader bool
}

// Config is what a Node is made of.
type Config struct {
	ID        uint64
	Log       *storage.Log
	Snapshots *storage.SnapshotStore
	App       App
	Transport Transport

	// Tick is the leader's heartbeat interval, ElectionTicks how many of them
	// a follower waits before it stands for election.
	Tick          time.Duration
	ElectionTicks int
	// ProbeInterval is how often the member asks whether its leader still has
	// a quorum.
	ProbeInterval time.Duration
	// SnapshotEntries and SnapshotBytes say when a snapshot is due at the latest,
	// in operations' entries and bytes of log since the last: see snapshotDue.
	SnapshotEntries uint64
	SnapshotBytes   int64
	// KeepEntries is how much log stays behind a snapshot, so that a member
	// that is a little behind catches up from the log; 0 for defaultKeepEntries.
	KeepEntries uint64
	// KeepSnapshots is how many snapshots stay on disk.
	KeepSnapshots int
	// Busy returns the operation that has been under way on a disk for longest;
	// nil if nobody watches.
	Busy func(storage.Disk) (vfs.Underway, bool)
	// SlowFsync is the duration from which on a sync of the log is worth a
	// warning.
	SlowFsync time.Duration

	// AutoPromote says which learners the leader makes voters by itself once they
	// have caught up; nil for all that are no observers. The others wait for
	// Promote.
	AutoPromote func(statemachine.Member) bool

	ClusterID string
	// PeerAddr returns where the transport reaches a member.
	PeerAddr func(statemachine.Member) string
	// Now is a monotonic clock, WallMillis the time of day in milliseconds
	// since the Unix epoch.
	Now        func() time.Duration
	WallMillis func() int64
	Metrics    *metrics.Metrics
	Logger     *slog.Logger
	// Spawn runs what takes long beside everything else: writing a snapshot,
	// sending one. Nil for a goroutine each, which Stop waits for.
	Spawn func(func())
	// Fail is told once of what the member can't survive: a failed disk, an
	// unreadable entry. The member must stop.
	Fail func(error)
}

// Node is one member's part in the ensemble.
type Node struct {
	cfg    Config
	rn     *raft.RawNode // owned by the loop
	outbox *Outbox

	mu sync.Mutex
	in inbox
	// turning tells that a goroutine does the loop's work, again that it has to
	// look once more. Invariant: one goroutine at a time, whichever it is, has
	// what the loop owns.
	turning, again   bool
	started, stopped bool
	turned           sync.Cond // of mu: turning has ended
	// membersCh is closed and replaced when the membership changes.
	membersCh chan struct{}
	wake      chan struct{} // capacity 1
	prepare   chan struct{} // capacity 1: something was written to the log

	logs   workQueue // to the log writer
	apply  workQueue // to the applier
	snaps  sync.WaitGroup
	work   sync.WaitGroup
	stop   chan struct{}
	failed sync.Once
	ended  atomic.Bool

	// Owned by the loop.
	given       int // batches of the outbox given out since the last rewind
	role        Role
	lastTick    time.Duration
	lastProbe   time.Duration
	progressAt  time.Duration // when the outbox last moved, or was rewound
	resendAfter time.Duration
	hurry       hurry
	holdUntil   time.Duration // raft takes no proposals before
	ticks       uint64
	pacer       pacer
	held        heldOps
	wakeAt      time.Duration // the loop wants a turn then, 0 for none of its own
	timer       *time.Timer   // for wakeAt
	// activeAt is when, since this member leads, others were last known to have
	// answered; activeSince is since when it leads.
	activeAt    map[uint64]time.Duration
	activeSince time.Duration
	acks        map[uint64]ack // of who is led
	stalls      [storage.NumDisks]stall
	looked      time.Duration // at the disks
	handing     handing
	spareMsgs   []*raftpb.Message
	outgoing    []*raftpb.Message // to peers, of the present turn

	// Owned by the log writer.
	logState logState

	// Owned by the applier.
	confState    *raftpb.ConfState
	members      []statemachine.Member
	snapshotting atomic.Bool
	// since is what was applied since the last snapshot, and due what makes the next
	// one due.
	since, due logSize
	// conf is the applier's, but while it holds its queue: then the loop's.
	conf confChange

	// Read by anyone.
	applied   atomic.Uint64
	committed atomic.Uint64
	lead      atomic.Uint64
	term      atomic.Uint64
	isLeader  atomic.Bool
	// contact is when, on cfg.Now, the member last asked and was then told by a
	// leader that a quorum confirmed; 0 for never. Invariant: a leader that had
	// been deposed at that time can't have answered.
	contact atomic.Int64
	// stalledSince is since when the log's disk has not answered, 0 if it does.
	stalledSince atomic.Int64
	readIndex    atomic.Uint64
	confIndex    atomic.Uint64                        // of the last change of the membership applied
	newest       atomic.Pointer[storage.SnapshotMeta] // snapshot on disk
	memberSet    atomic.Pointer[statemachine.Members]
	joint        atomic.Bool // a change of the membership is half applied
}

// inbox is what others leave for the loop.
type inbox struct {
	msgs         []*raftpb.Message
	forwards     [][]byte
	forwardOps   int // in forwards
	forwardBytes int // in forwards, and in what the loop holds of them
	leaderOps    [][]byte
	calls        []func()
}

// heldOps are operations that the leader has not proposed yet, beside those in
// its outbox.
type heldOps struct {
	forwards  [][]byte
	leaderOps [][]byte
	ops       int
}

func (in *inbox) any() bool {
	return len(in.msgs)+len(in.forwards)+len(in.leaderOps)+len(in.calls) > 0
}

// maxForwardBytes bounds what members have forwarded and the leader has not
// proposed yet. Beyond it forwarded operations are dropped; their members send
// them again.
const maxForwardBytes = 64 << 20

// maxInflightBytes bounds what is on its way to one follower. The transport's
// queue has to hold more: what it drops, raft has to find out about.
const maxInflightBytes = 16 << 20

// QueueBytes is what a transport's queue for one member has to hold, in bytes.
const QueueBytes = 3 * maxInflightBytes

// maxEntryBytes is when the operations that queued up are cut into another
// entry.
const maxEntryBytes = 1 << 20

// NewNode prepares the member: snapshot is the metadata of the snapshot that
// the App was restored from, members the membership in it.
func NewNode(cfg Config, meta storage.SnapshotMeta, confState *raftpb.ConfState, members statemachine.Members) (*Node, error) {
	n := &Node{
		cfg: cfg, wake: make(chan struct{}, 1), prepare: make(chan struct{}, 1), stop: make(chan struct{}),
		membersCh: make(chan struct{}),
		confState: confState, members: members.List, activeAt: make(map[uint64]time.Duration), acks: make(map[uint64]ack),
	}
	n.joint.Store(len(confState.GetVotersOutgoing()) > 0)
	if n.cfg.KeepEntries == 0 {
		n.cfg.KeepEntries = defaultKeepEntries
	}
	if n.cfg.Spawn == nil {
		n.cfg.Spawn = n.snaps.Go
	}
	n.outbox = NewOutbox(n.Drive)
	n.turned.L = &n.mu
	n.logs.init()
	n.apply.init()
	n.applied.Store(meta.Index)
	n.newest.Store(&meta)
	n.memberSet.Store(&members)
	n.countAnew(meta.Index)
	rn, err := raft.NewRawNode(&raft.Config{
		ID: cfg.ID, ElectionTick: cfg.ElectionTicks, HeartbeatTick: 1,
		Storage: &raftStorage{node: n}, Applied: meta.Index,
		AsyncStorageWrites: true, PreVote: true, CheckQuorum: true,
		ReadOnlyOption: raft.ReadOnlySafe, StepDownOnRemoval: true, DisableProposalForwarding: true,
		MaxSizePerMsg: 1 << 20, MaxCommittedSizePerReady: 16 << 20,
		MaxUncommittedEntriesSize: 128 << 20, MaxInflightMsgs: 512, MaxInflightBytes: maxInflightBytes,
		Logger: raftLogger{cfg.Logger},
	})
	if err != nil {
		return nil, fmt.Errorf("replica: %w", err)
	}
	n.rn = rn
	n.resendAfter = n.electionTimeout()
	n.lastTick = cfg.Now()
	n.looked = n.lastTick
	if len(confState.GetVoters()) == 1 && confState.GetVoters()[0] == cfg.ID {
		n.hurry = hurry{at: n.lastTick, left: 1} // nobody else could
	}
	n.setPeers()
	return n, nil
}

func (n *Node) electionTimeout() time.Duration {
	return n.cfg.Tick * time.Duration(n.cfg.ElectionTicks)
}

// Outbox returns where the server puts operations.
func (n *Node) Outbox() *Outbox { return n.outbox }

func (n *Node) fail(err error) {
	if errors.Is(err, ErrStopped) {
		return
	}
	n.failed.Do(func() { n.cfg.Fail(err) })
}

// Step hands a peer's raft message to the loop. Drive must follow.
func (n *Node) Step(m *raftpb.Message) {
	n.mu.Lock()
	n.in.msgs = append(n.in.msgs, m)
	n.mu.Unlock()
}

func (n *Node) stepAll(msgs []*raftpb.Message) {
	n.mu.Lock()
	n.in.msgs = append(n.in.msgs, msgs...)
	n.mu.Unlock()
}

// Forwarded takes operations that another member sent to its leader. batch is
// copied. Drive must follow.
func (n *Node) Forwarded(from uint64, batch []byte) {
	ops, err := statemachine.CountOps(batch)
	if err != nil {
		n.cfg.Logger.Warn("operations forwarded by a member are unreadable and were dropped; it will send them again", "member", fmt.Sprintf("%x", from), "error", err)
		return
	}
	n.mu.Lock()
	if n.in.forwardBytes+len(batch) <= maxForwardBytes {
		n.in.forwards = append(n.in.forwards, append([]byte(nil), batch...))
		n.in.forwardOps += ops
		n.in.forwardBytes += len(batch)
	}
	n.mu.Unlock()
}

// ProposeAsLeader puts operations of the leader's own (expiries, removals)
// into the log if this member is still the leader. They may be lost: whoever
// proposes them looks again later.
func (n *Node) ProposeAsLeader(ops []byte) {
	n.mu.Lock()
	n.in.leaderOps = append(n.in.leaderOps, ops)
	n.mu.Unlock()
	n.notify()
}

// call runs f on the loop, soon.
func (n *Node) call(f func()) {
	n.mu.Lock()
	n.in.calls = append(n.in.calls, f)
	n.mu.Unlock()
	n.notify()
}

// ErrStopped is returned when the member stops before it could answer.
var ErrStopped = errors.New("replica: the member is stopping")

// callWait runs f on the loop and waits until it has run.
func (n *Node) callWait(f func()) error {
	done := make(chan struct{})
	n.call(func() { f(); close(done) })
	select {
	case <-done:
		return nil
	case <-n.stop:
		return ErrStopped
	}
}

// PeerConnected tells that a stream to a peer has come up. What was forwarded
// over the last one may be lost.
func (n *Node) PeerConnected(id uint64) {
	n.call(func() {
		if id == n.role.Leader {
			n.rewind()
		}
	})
}

// Unreachable tells raft that a message to a peer was dropped.
func (n *Node) Unreachable(id uint64) { n.call(func() { n.rn.ReportUnreachable(id) }) }

// Role returns the member's role as last known.
func (n *Node) Role() Role {
	return Role{Leader: n.lead.Load(), Term: n.term.Load(), IsLeader: n.isLeader.Load()}
}

// Applied returns the index of the last entry applied here.
func (n *Node) Applied() uint64 { return n.applied.Load() }

// Committed returns the index of the last entry known to be committed.
func (n *Node) Committed() uint64 { return n.committed.Load() }

// Contact returns when, on the injected clock, the member last knew that its
// leader had a quorum; ok is false if it never did.
func (n *Node) Contact() (at time.Duration, ok bool) {
	v := n.contact.Load()
	return time.Duration(v), v != 0
}

// CaughtUp reports whether the member has applied everything that was
// committed when it last had contact.
func (n *Node) CaughtUp() bool {
	return n.contact.Load() != 0 && n.applied.Load() >= n.readIndex.Load()
}

// NewestSnapshot returns the metadata of the newest snapshot on disk, with
// index 0 if there is none.
func (n *Node) NewestSnapshot() storage.SnapshotMeta { return *n.newest.Load() }

// Members returns the membership as applied here.
func (n *Node) Members() statemachine.Members { return *n.memberSet.Load() }

// Status returns raft's own status, from the loop.
func (n *Node) Status() (st raft.Status, err error) {
	err = n.callWait(func() { st = n.rn.Status() })
	return st, err
}

// TransferLeadership hands leadership to the voter that has most of the log,
// or to target if it is not 0. It returns at once; the change shows in Role.
func (n *Node) TransferLeadership(target uint64) error {
	var err error
	if e := n.callWait(func() { err = n.transfer(target) }); e != nil {
		return e
	}
	return err
}

// BeginTransfer is TransferLeadership for who can't wait: done is told by the
// loop whether leadership is being handed over.
func (n *Node) BeginTransfer(target uint64, done func(error)) {
	n.call(func() { done(n.transfer(target)) })
}

func (n *Node) transfer(target uint64) error {
	if !n.role.IsLeader {
		return fmt.Errorf("replica: this member is not the leader; %x is", n.role.Leader)
	}
	st := n.rn.Status()
	if target == 0 {
		var best uint64
		for _, v := range st.Config.Voters[0].Slice() {
			pr := st.Progress[v]
			if v != n.cfg.ID && pr.RecentActive && !n.stuck(n.cfg.Now(), v) && (target == 0 || pr.Match > best) {
				target, best = v, pr.Match
			}
		}
		if target == 0 {
			return errors.New("replica: no other voter answers and keeps up, so leadership stays here")
		}
	} else if _, ok := st.Progress[target]; !ok {
		return fmt.Errorf("replica: %x is not a member, so it can't lead", target)
	}
	n.rn.TransferLeader(target)
	return nil
}

// setPeers tells the transport who the members are, after a change.
func (n *Node) setPeers() {
	peers := make(map[uint64]string)
	for _, p := range n.members {
		if p.ID != n.cfg.ID {
			peers[p.ID] = n.cfg.PeerAddr(p)
		}
	}
	n.cfg.Transport.SetPeers(peers)
}

func probeContext(now time.Duration) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(now))
}
