package replica

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage"
	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// patience bounds every wait: it only matters when something is broken.
const patience = time.Minute

// driven is a member alone, with its goroutines, whose clocks never wake anybody:
// what nobody drives does not happen.
type driven struct {
	*Node
	groupApp
	ops     atomic.Int64
	applied func(ops int)
}

func (d *driven) Apply(entries []*raftpb.Entry) error {
	for _, e := range entries {
		if len(e.GetData()) < statemachine.HeaderSize {
			continue
		}
		ops, err := statemachine.CountOps(e.GetData()[statemachine.HeaderSize:])
		if err != nil {
			return err
		}
		d.ops.Add(int64(ops))
		if d.applied != nil {
			d.applied(ops)
		}
	}
	return nil
}

func newDriven(t *testing.T) *driven {
	d := &driven{}
	dir, err := storage.OpenDir(vfs.NewMem(nil), "data", "")
	if err != nil {
		t.Fatal(err)
	}
	log, _, err := dir.OpenLog(storage.Options{SegmentSize: 64 << 10})
	if err == nil {
		err = log.Reset(1, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	members := statemachine.Members{Index: 1, List: []statemachine.Member{{ID: 1, Name: 1, Voter: true}}}
	d.Node, err = NewNode(Config{
		ID: 1, Log: log, Snapshots: dir.Snapshots, App: d, Transport: groupTransport{},
		Tick: time.Hour, ElectionTicks: 10, ProbeInterval: time.Hour,
		SnapshotEntries: 1 << 30, SnapshotBytes: 1 << 40, KeepSnapshots: 1, ClusterID: "c",
		Now: func() time.Duration { return time.Since(start) + time.Second }, WallMillis: func() int64 { return 1 },
		Metrics: metrics.New(), Logger: slog.New(slog.DiscardHandler), Fail: func(err error) { t.Error(err) },
	}, storage.SnapshotMeta{Index: 1, Term: 1, ClusterID: "c"}, &raftpb.ConfState{Voters: []uint64{1}}, members)
	if err != nil {
		t.Fatal(err)
	}
	d.Start()
	t.Cleanup(d.Stop)
	return d
}

// put puts an operation into the outbox and drives.
func (d *driven) put() {
	b := d.outbox.Begin()
	b.Ops = statemachine.AppendReap(b.Ops, "/nothing", 0)
	d.outbox.End(b)
	b.Done()
	d.outbox.Announce()
}

func (d *driven) await(t *testing.T, ops int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for d.ops.Load() < ops {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d of %d operations are applied, and nobody is at it", d.ops.Load(), ops)
		}
	}
}

// Whatever many goroutines bring at once comes about, with nothing but their own
// calls to wake anybody: also the last of it, which finds another at work that is
// about to end.
func TestDriveLosesNoWakeUp(t *testing.T) {
	d := newDriven(t)
	const workers, rounds = 8, 300
	var answers [workers]chan struct{}
	for i := range answers {
		answers[i] = make(chan struct{}, workers*rounds)
	}
	// Every applied operation lets one worker go on, by turns: who it was does not
	// matter, they are all alike.
	next := 0
	d.applied = func(ops int) {
		for range ops {
			answers[next%workers] <- struct{}{}
			next++
		}
	}
	var work sync.WaitGroup
	for i := range workers {
		work.Go(func() {
			for range rounds {
				d.put()
				select {
				case <-answers[i]:
				case <-time.After(patience):
					t.Error("an operation is not applied, and nobody is at it")
					return
				}
			}
		})
	}
	work.Wait()
	if got := d.ops.Load(); got != workers*rounds {
		t.Errorf("%d operations are applied, of %d", got, workers*rounds)
	}
}

// Who finds another at work leaves it to him, and does not wait.
func TestDriveLeavesItToWhoIsAtWork(t *testing.T) {
	d := newDriven(t)
	d.Drive()
	d.put()
	d.await(t, 1)

	in, gate := make(chan struct{}), make(chan struct{})
	at := 0 // guarded by nothing but that one goroutine at a time takes turns
	d.call(func() { at++; close(in); <-gate })
	<-in // whoever took the turn is held up in it
	var calls sync.WaitGroup
	for range 4 {
		calls.Add(1)
		d.call(func() { at++; calls.Done() })
		d.put() // returns, though the turn does not end
		d.Drive()
	}
	if got := d.ops.Load(); got != 1 {
		t.Errorf("%d operations are applied while a turn is under way", got)
	}
	close(gate)
	calls.Wait()
	d.await(t, 5)
	done := make(chan int)
	d.call(func() { done <- at })
	if got := <-done; got != 5 {
		t.Errorf("%d calls were made in turns, of 5", got)
	}
}

// A member that is stopping takes no turn any more, and waits for the one under
// way.
func TestStopWaitsForTheTurn(t *testing.T) {
	d := newDriven(t)
	d.put()
	d.await(t, 1)
	in, gate, stopped := make(chan struct{}), make(chan struct{}), make(chan struct{})
	ended := false
	d.call(func() { close(in); <-gate; ended = true })
	<-in
	go func() { d.Stop(); close(stopped) }()
	select {
	case <-d.stop: // it has begun to stop
	case <-time.After(patience):
		t.Fatal("it does not begin to stop")
	}
	close(gate)
	<-stopped
	if !ended {
		t.Error("it has stopped in the middle of a turn")
	}
	late := false
	d.call(func() { late = true })
	d.put()
	d.Drive()
	if late || d.ops.Load() != 1 {
		t.Error("a stopped member goes on")
	}
}
