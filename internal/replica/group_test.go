package replica

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage"
	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

const (
	groupTick  = 10 * time.Millisecond
	groupTicks = 10 // of an election timeout
)

// group is members in this process on one clock, a step at a time: but for a log
// writer whose disk hangs, everything happens on the test's goroutine.
type group struct {
	t     *testing.T
	now   time.Duration // the test's; others read clock
	clock atomic.Int64
	nodes []*groupNode
}

// groupNode is a member.
type groupNode struct {
	*Node
	g      *group
	dir    *storage.Dir
	log    bytes.Buffer
	got    []string // data of applied entries
	in     []*raftpb.Message
	cut    bool // nothing comes or goes
	failed error

	mu    sync.Mutex
	hangs storage.Disk  // the disk that does not answer, while gate is set
	gate  chan struct{} // closed when it answers again
	// writing is open while the log writer has a goroutine of its own, since its
	// disk may hang.
	writing chan struct{}
}

func newGroup(t *testing.T, n int) *group {
	g := &group{t: t}
	g.advance(time.Minute)
	clock := func() time.Duration { return time.Duration(g.clock.Load()) }
	var members statemachine.Members
	cs := &raftpb.ConfState{}
	for i := range uint64(n) {
		members.List = append(members.List, statemachine.Member{ID: i + 1, Name: int(i + 1), Voter: true, Host: "h", PeerPort: 1})
		cs.Voters = append(cs.Voters, i+1)
	}
	members.Index = 1
	for i := range uint64(n) {
		m := &groupNode{g: g}
		fs := vfs.Watch(vfs.NewMem(m.hook), clock)
		var err error
		if m.dir, err = storage.OpenDir(fs, "data", "logs"); err != nil {
			t.Fatal(err)
		}
		if err := m.dir.Identity.Update(func(id *storage.Identity) { id.MemberID, id.ClusterID = i+1, "c" }); err != nil {
			t.Fatal(err)
		}
		log, _, err := m.dir.OpenLog(storage.Options{SegmentSize: 64 << 10})
		if err == nil {
			err = log.Reset(1, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		m.Node, err = NewNode(Config{
			ID: i + 1, Log: log, Snapshots: m.dir.Snapshots, App: groupApp{m}, Transport: groupTransport{m},
			Tick: groupTick, ElectionTicks: groupTicks, ProbeInterval: groupTick,
			SnapshotEntries: 1 << 30, SnapshotBytes: 1 << 40, KeepSnapshots: 1, Busy: m.dir.Busy,
			ClusterID: "c", PeerAddr: func(statemachine.Member) string { return "" },
			Now: clock, WallMillis: func() int64 { return 1 }, Metrics: metrics.New(),
			Logger: slog.New(slog.NewTextHandler(&m.log, nil)), Fail: func(err error) { m.failed = err },
		}, storage.SnapshotMeta{Index: 1, Term: 1, ClusterID: "c"}, cs, members)
		if err != nil {
			t.Fatal(err)
		}
		g.nodes = append(g.nodes, m)
	}
	t.Cleanup(func() {
		for _, m := range g.nodes {
			m.answer()
			if m.failed != nil {
				t.Errorf("member %x failed: %v", m.cfg.ID, m.failed)
			}
		}
	})
	return g
}

// hook holds up what goes to a disk that hangs.
func (m *groupNode) hook(op vfs.Op, file string, _ int64, _ int) error {
	if op != vfs.OpWrite && op != vfs.OpDatasync && op != vfs.OpSync {
		return nil
	}
	m.mu.Lock()
	gate := m.gate
	if path.Dir(file) == m.dir.Path(storage.LogDisk) != (m.hangs == storage.LogDisk) {
		gate = nil
	}
	m.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return nil
}

// hang makes a disk not answer any more.
func (m *groupNode) hang(d storage.Disk) {
	m.mu.Lock()
	m.hangs, m.gate = d, make(chan struct{})
	m.mu.Unlock()
}

// answer makes it answer again, and waits for the log writer if that was held up.
func (m *groupNode) answer() {
	m.mu.Lock()
	if m.gate != nil {
		close(m.gate)
	}
	m.gate = nil
	m.mu.Unlock()
	if m.writing != nil {
		<-m.writing
		m.writing = nil
	}
}

func (m *groupNode) work() (worked bool) {
	w := m.Pending()
	if len(m.in) > 0 {
		for _, msg := range m.in {
			m.Step(msg)
		}
		m.in = nil
		w |= Loop
	}
	if w&Loop != 0 {
		m.Turn()
	}
	if w&LogWriter != 0 && m.writing == nil {
		m.mu.Lock()
		hangs := m.gate != nil && m.hangs == storage.LogDisk
		m.mu.Unlock()
		if !hangs {
			m.WriteLog()
		} else {
			done := make(chan struct{})
			m.writing = done
			go func() { m.WriteLog(); close(done) }()
			for m.writing != nil {
				if _, busy := m.dir.Busy(storage.LogDisk); busy {
					break // it waits for the disk
				}
				select {
				case <-done: // there was nothing to write
					m.writing = nil
				default:
					runtime.Gosched()
				}
			}
		}
	}
	if w&Applier != 0 {
		m.ApplyCommitted()
	}
	return w != 0
}

// settle lets everybody work until there is nothing left to do.
func (g *group) settle() {
	for worked := true; worked; {
		worked = false
		for _, m := range g.nodes {
			worked = m.work() || worked
		}
	}
}

// advance moves the clock, and nobody has noticed yet.
func (g *group) advance(d time.Duration) {
	g.now += d
	g.clock.Store(int64(g.now))
}

// pass lets time go by.
func (g *group) pass(d time.Duration) {
	for end := g.now + d; g.now < end; {
		g.advance(groupTick / 2)
		for _, m := range g.nodes {
			m.Turn()
		}
		g.settle()
	}
}

// until lets time go by until cond holds, and returns how long that was.
func (g *group) until(what string, bound time.Duration, cond func() bool) time.Duration {
	g.t.Helper()
	began := g.now
	for !cond() {
		if g.now-began > bound {
			g.t.Fatalf("after %v: not %s\n%s", bound, what, g.logs())
		}
		g.pass(groupTick / 2)
	}
	return g.now - began
}

func (g *group) logs() string {
	var b strings.Builder
	for _, m := range g.nodes {
		fmt.Fprintf(&b, "member %x:\n%s", m.cfg.ID, m.log.String())
	}
	return b.String()
}

// leader waits for a leader among all but some.
func (g *group) leader(but ...*groupNode) (leader *groupNode) {
	g.t.Helper()
	g.until("a leader", 100*groupTicks*groupTick, func() bool {
		for _, m := range g.nodes {
			if m.Role().IsLeader && !slices.Contains(but, m) {
				leader = m
				return true
			}
		}
		return false
	})
	return leader
}

// put puts an operation into the member's outbox, which sends it once.
func (m *groupNode) put() {
	b := m.outbox.Begin()
	b.Ops = statemachine.AppendReap(b.Ops, "/nothing", 0)
	m.outbox.End(b)
	b.Done()
	m.outbox.Announce()
}

// groupApp and groupTransport are what a member of a group is made of.
type groupApp struct{ *groupNode }

func (m groupApp) Apply(entries []*raftpb.Entry) error {
	for _, e := range entries {
		if len(e.GetData()) > 0 {
			m.got = append(m.got, string(e.GetData()))
		}
	}
	return nil
}

func (groupApp) ApplyMembers(uint64, uint64, []statemachine.Member) {}
func (groupApp) BeginSnapshot() (*statemachine.Snapshot, error) {
	return statemachine.New().BeginSnapshot()
}
func (groupApp) ReadSnapshot(f func())                { f() }
func (groupApp) EndSnapshot(s *statemachine.Snapshot) { s.Close() }
func (groupApp) Restore(io.Reader) (statemachine.Members, error) {
	return statemachine.Members{}, errors.New("nobody sends snapshots here")
}
func (groupApp) RoleChanged(Role)      {}
func (groupApp) Report(uint64, []byte) {}

type groupTransport struct{ *groupNode }

func (g *group) to(id uint64) *groupNode { return g.nodes[id-1] }

func (m groupTransport) Send(msgs []*raftpb.Message) {
	for _, msg := range msgs {
		if to := m.g.to(msg.GetTo()); !m.cut && !to.cut {
			to.in = append(to.in, proto.Clone(msg).(*raftpb.Message))
		}
	}
}

func (groupTransport) Report(uint64, []byte) bool { return true }
func (groupTransport) SetPeers(map[uint64]string) {}
func (groupTransport) SendSnapshot(uint64, *raftpb.Message, io.Reader) error {
	return errors.New("nobody sends snapshots here")
}

func (m groupTransport) Forward(to uint64, batch []byte) bool {
	if !m.cut && !m.g.to(to).cut {
		m.g.to(to).Forwarded(m.cfg.ID, batch)
	}
	return true
}
