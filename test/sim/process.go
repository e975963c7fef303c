package sim

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/replica"
	"github.com/conclave-dev/conclave/internal/server"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage"
	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// Settings of every member: small files and few entries, so that they come and
// go often, and short times.
const (
	tick          = 50 * time.Millisecond
	electionTicks = 8
	minTimeout    = 2 * time.Second
	maxTimeout    = 6 * time.Second
	segmentSize   = 16 << 10
	snapEntries   = 60
	keepEntries   = 30
	maxUnsent     = 4 << 10
	// window is how much of what the server sends a client that does not read can
	// have on the way, in bytes.
	window = 1 << 10
)

// process is one life of a member.
type process struct {
	w     *World
	m     *member
	began time.Duration
	alive bool
	// frozenUntil is when a process that stands still goes on.
	frozenUntil time.Duration
	failed      error // why it can't go on

	dir  *storage.Dir
	log  *storage.Log
	node *replica.Node
	srv  *server.Server
	said []string // logged during this step
	// ticked is the server's last tick, on the process's clock; ticking tells that
	// one is under way. restarted is when a leader's patience last had to begin
	// anew, on the world's.
	ticked    time.Duration
	ticking   bool
	restarted time.Duration

	// Of each worker, whether a step is due.
	due        replica.Work
	writer     *coroutine // the log writer's, in the middle of something
	coroutines []*coroutine
	conns      []*conn
}

// now is the process's monotonic clock.
func (p *process) now() time.Duration { return p.w.now - p.began + time.Second }

// wall is the machine's time of day.
func (p *process) wall() int64 {
	return wallEpoch + (p.w.now - epoch).Milliseconds() + p.m.wallSkew
}

// open restores what is on disk and puts the server and the replica over it, as
// package member does.
func (p *process) open() error {
	m := p.m
	dir, err := m.openDir(true)
	if err != nil {
		return err
	}
	p.dir = dir
	id := dir.Identity.Get()
	logger := slog.New(logTap{p})
	p.srv = server.New(server.Options{
		Member: id.MemberID, Boot: id.Boot,
		TickTime: time.Second, MinTimeout: minTimeout, MaxTimeout: maxTimeout,
		MaxBuffer: jute.DefaultMaxBuffer, MaxUnsent: maxUnsent, MaxOutstanding: 20, MaxHandshakes: 2,
		SkipACL: p.w.opt.Bug == bugOpenHouse && m.place == 0, EnforceQuota: true, ExtendedTypes: true, DigestAlg: "SHA1",
		ContainerInterval: time.Second, ContainerPerMinute: 10000, ElectionTime: 2 * time.Duration(p.w.opt.ElectionTicks) * tick, QuorumLease: 3,
		Spawn: func(f func()) { p.wake(p.spawn(f), p.w.between(0, time.Millisecond)) },
		Now:   p.now, WallMillis: p.wall, Metrics: metrics.New(), Logger: logger,
	})
	list, err := dir.Snapshots.List()
	if err != nil {
		return err
	}
	var meta storage.SnapshotMeta
	machine := statemachine.New()
	cs := &raftpb.ConfState{}
	if len(list) > 0 {
		meta = list[len(list)-1]
		if machine, err = restore(dir.Snapshots, meta); err != nil {
			return err
		}
		if err := proto.Unmarshal(meta.ConfState, cs); err != nil {
			return err
		}
	}
	if p.log, _, err = dir.OpenLog(storage.Options{SegmentSize: segmentSize, Spares: 2, CacheSize: 8 << 10}); err != nil {
		return err
	}
	if err := alignLog(p.log, meta); err != nil {
		return err
	}
	members := machine.Members()
	if meta.Index == 0 {
		for _, o := range p.w.members {
			if o != m {
				members.List = append(members.List, o.entry())
			}
		}
	}
	p.srv.Load(machine)
	p.node, err = replica.NewNode(replica.Config{
		ID: id.MemberID, Log: p.log, Snapshots: dir.Snapshots, App: &app{Server: p.srv, p: p}, Transport: transport{p},
		Tick: tick, ElectionTicks: p.w.opt.ElectionTicks, ProbeInterval: minTimeout / 16,
		SnapshotEntries: snapEntries, SnapshotBytes: 1 << 30, KeepEntries: keepEntries, KeepSnapshots: 2,
		ClusterID: clusterID, PeerAddr: func(q statemachine.Member) string { return q.Host }, Busy: p.busy,
		Now: p.now, WallMillis: p.wall, Metrics: metrics.New(), Logger: logger,
		Spawn: func(f func()) { p.wake(p.spawn(f), p.w.between(0, time.Millisecond)) },
		Fail:  func(err error) { p.failed = err },
	}, meta, cs, members)
	if err != nil {
		return err
	}
	p.srv.Attach(served{p.node, p}, transport{p})
	p.srv.SetServing(true)
	return nil
}

func restore(snaps *storage.SnapshotStore, meta storage.SnapshotMeta) (*statemachine.Machine, error) {
	r, err := snaps.Open(meta)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	machine, err := statemachine.Restore(r)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, r)
	return machine, err
}

// alignLog makes the log go on from the newest snapshot.
func alignLog(log *storage.Log, meta storage.SnapshotMeta) error {
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := log.LastIndex()
	if err != nil {
		return err
	}
	if first > meta.Index+1 {
		return fmt.Errorf("the log begins with entry %d, the newest snapshot ends at %d", first, meta.Index)
	}
	if last >= meta.Index {
		switch term, err := log.Term(meta.Index); {
		case err != nil:
			return err
		case term == meta.Term:
			return nil
		}
	}
	return log.Reset(meta.Index, meta.Term)
}

func (p *process) busy(d storage.Disk) (vfs.Underway, bool) {
	if p.w.opt.Bug == bugBlindToDisk {
		return vfs.Underway{}, false
	}
	return p.dir.Busy(d)
}

// run sets the process's clocks going.
func (p *process) run() {
	p.every(tick/2, p.node.Turn)
	p.every(p.srv.TickInterval(), p.tick)
	p.w.tellPeers(p, false)
	p.settle()
}

// tick lets time pass for the server, and notes when sessions' clocks have to start
// again.
func (p *process) tick() {
	now, interval := p.now(), p.srv.TickInterval()
	if now-p.ticked >= 4*interval && p.ticked != 0 {
		p.restarted = p.w.now
		for t := p.ticked + interval; t < now && p.w.opt.Bug == bugUnbroken; t += interval {
			p.srv.Tick(t)
		}
	}
	p.ticked = now
	if at, ok := p.node.Contact(); !ok || now-at >= minTimeout/3 {
		p.restarted = p.w.now
	}
	if _, stalled := p.node.Stalled(); stalled {
		p.restarted = p.w.now
	}
	p.ticking = true
	p.srv.Tick(now)
	p.ticking = false
}

func (p *process) every(d time.Duration, f func()) {
	p.after(p.w.between(0, d), func() {
		f()
		p.again(d, f)
	})
}

func (p *process) again(d time.Duration, f func()) {
	p.after(d, func() {
		f()
		p.again(d, f)
	})
}

// after lets the process do something when d has passed, if it is still alive
// then; while it is frozen it does nothing.
func (p *process) after(d time.Duration, f func()) {
	p.w.after(d, func() { p.step(f) })
}

// step runs f as a step of the process.
func (p *process) step(f func()) {
	if !p.alive {
		return
	}
	if p.w.now < p.frozenUntil {
		p.w.at(p.frozenUntil, func() { p.step(f) })
		return
	}
	p.guard(f)
	p.settle()
}

// guard makes the end of a process out of a panic: an accident if the disk gave
// it reason to.
func (p *process) guard(f func()) {
	defer func() {
		if r := recover(); r != nil {
			p.failed = fmt.Errorf("panic: %v", r)
			if !p.m.disk.bad {
				p.w.violate("panic", "%s: %v\n%s", p.m.name, r, debug.Stack())
			}
		}
	}()
	f()
}

// settle sees to what a step has left: work for the workers, output for
// clients, the end.
func (p *process) settle() {
	if !p.alive {
		return
	}
	p.tellLog()
	if p.failed != nil {
		p.w.note("%s can't go on: %v", p.m.name, p.failed)
		if p.m.disk.bad {
			p.m.disk.mem.Kill()
		} else {
			// What a failed sync has lost is lost.
			p.m.disk.mem.Crash(p.w.rng)
		}
		p.w.stats.Crashes++
		p.die()
		p.m.restartIn(p.w.between(100*time.Millisecond, 3*time.Second))
		return
	}
	if p.writer != nil && p.writer.ended {
		p.writer = nil
	}
	p.coroutines = slices.DeleteFunc(p.coroutines, func(c *coroutine) bool { return c.ended })
	pending := p.node.Pending() &^ p.due
	if p.writer != nil {
		pending &^= replica.LogWriter
	}
	p.due |= pending
	w := p.w
	if pending&replica.Loop != 0 {
		p.after(w.between(0, 100*time.Microsecond), func() {
			p.due &^= replica.Loop
			p.node.Turn()
		})
	}
	if pending&replica.LogWriter != 0 {
		p.after(w.between(0, 100*time.Microsecond), func() {
			p.due &^= replica.LogWriter
			p.writer = p.spawn(p.node.WriteLog)
			p.writer.logs = true
			p.writer.resume()
		})
	}
	if pending&replica.Applier != 0 {
		d := w.between(0, 200*time.Microsecond)
		if w.chance(100) {
			d = w.between(0, 100*time.Millisecond)
		}
		p.after(d, func() {
			p.due &^= replica.Applier
			p.node.ApplyCommitted()
			p.after(w.between(0, 200*time.Microsecond), p.srv.FlushTouched)
		})
	}
	for _, c := range p.conns {
		c.settle()
	}
	p.conns = slices.DeleteFunc(p.conns, func(c *conn) bool { return c.st.Left() })
	p.tellLog()
}

// die ends the process at once. What it had on its disk is the disk's matter.
func (p *process) die() {
	if !p.alive {
		return
	}
	p.alive = false
	// To their ends: nothing that they do has any effect. The log writer first: the
	// others may want the locks that it holds.
	if p.writer != nil {
		p.writer.resume()
	}
	for _, c := range slices.Clone(p.coroutines) {
		c.resume()
	}
	for _, c := range p.conns {
		c.processDied()
	}
	p.conns = nil
	if p.m.proc == p {
		p.m.proc = nil
	}
	p.w.tellPeers(p, true)
}

// tellLog adds what the process has logged to the history. Within a step that
// has no order: the connections of a member have none.
func (p *process) tellLog() {
	slices.Sort(p.said)
	for _, line := range p.said {
		p.w.note("%s: %s", p.m.name, line)
	}
	p.said = p.said[:0]
}

// logTap keeps what a process logs.
type logTap struct{ p *process }

func (h logTap) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h logTap) Handle(_ context.Context, rec slog.Record) error {
	if !h.p.alive {
		return nil
	}
	var b strings.Builder
	b.WriteString(rec.Message)
	rec.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%s", a.Key, a.Value)
		return true
	})
	h.p.said = append(h.p.said, b.String())
	if rec.Level >= slog.LevelError {
		h.p.w.violate("log", "%s logs an error: %s", h.p.m.name, b.String())
	}
	return nil
}

func (h logTap) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h logTap) WithGroup(string) slog.Handler      { return h }

// app is the server, with the simulation looking on.
type app struct {
	*server.Server
	p *process
}

func (a *app) Apply(entries []*raftpb.Entry) error {
	w := a.p.w
	mutated := make([]*raftpb.Entry, len(entries))
	for i, e := range entries {
		mutated[i] = w.mutateLog(e)
		w.truth.applied(a.p, mutated[i], e.GetData())
	}
	entries = mutated
	if w.violation != nil {
		return nil
	}
	if err := a.Server.Apply(mutateEntries(a.p, entries)); err != nil {
		return err
	}
	a.compare()
	return nil
}

func (a *app) ApplyMembers(index, term uint64, list []statemachine.Member) {
	a.p.w.truth.appliedMembers(a.p, index, term, list)
	a.Server.ApplyMembers(index, term, list)
	a.compare()
}

func (a *app) Restore(r io.Reader) (statemachine.Members, error) {
	ms, err := a.Server.Restore(r)
	if err == nil {
		a.compare()
	}
	return ms, err
}

func (a *app) compare() {
	a.View(func(m *statemachine.Machine) {
		index, _ := m.Applied()
		a.p.w.truth.compare(a.p, index, m.Digest())
	})
}

// ReadSnapshot pauses between the steps of a snapshot.
func (a *app) ReadSnapshot(f func()) {
	if c := a.p.w.running; c != nil && c.p == a.p {
		c.sleep(a.p.w.between(0, 2*time.Millisecond))
	}
	a.Server.ReadSnapshot(f)
}

func (a *app) RoleChanged(r replica.Role) {
	p := a.p
	p.said = append(p.said, fmt.Sprintf("leader %s term %d", p.w.nameOf(r.Leader), r.Term))
	if r.IsLeader {
		p.w.stats.Elections++
		p.restarted = p.w.now
	}
	a.Server.RoleChanged(r)
}

// served is the replica as the server sees it.
type served struct {
	*replica.Node
	p *process
}

func (s served) ProposeAsLeader(ops []byte) {
	s.p.w.truth.proposed(s.p, ops)
	s.Node.ProposeAsLeader(slices.Clone(ops))
}

func (s served) Contact() (time.Duration, bool) {
	if s.p.w.opt.Bug == bugBlindFaith || s.p.w.opt.Bug == bugRashClock && s.p.ticking {
		return s.p.now(), true
	}
	return s.Node.Contact()
}
