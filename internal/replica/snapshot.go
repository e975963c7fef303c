package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage"
)

func unmarshalConfState(b []byte, cs *raftpb.ConfState) error {
	if err := proto.Unmarshal(b, cs); err != nil {
		return fmt.Errorf("replica: the configuration in a snapshot is unreadable: %w", err)
	}
	return nil
}

// defaultKeepEntries is Config.KeepEntries where none are given.
const defaultKeepEntries = 2000

// snapshotStep is how much of a snapshot is encoded at a time while nothing is
// applied, in bytes.
const snapshotStep = 256 << 10

// logSize is an amount of log.
type logSize struct {
	entries uint64
	bytes   int64
}

// snapshotDue is how much log there may be behind the snapshot of index: between
// half of most and all of it, and on each member something else, as with
// ZooKeeper. If all members wrote their snapshots after the same entry, no quorum
// would be left that has its disks and processors for its clients then.
func snapshotDue(most logSize, id, index uint64) logSize {
	h := id ^ bits.RotateLeft64(index, 32)
	// The finalizer of SplitMix64: ids and indices that differ in a bit have
	// nothing in common afterwards.
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	h ^= h >> 31
	return logSize{most.entries - h%(most.entries/2+1), most.bytes - int64(h%uint64(most.bytes/2+1))}
}

// countAnew counts from the snapshot of index.
func (n *Node) countAnew(index uint64) {
	n.since = logSize{}
	n.due = snapshotDue(logSize{n.cfg.SnapshotEntries, n.cfg.SnapshotBytes}, n.cfg.ID, index)
}

// maybeSnapshot starts a snapshot of the state as it is now when enough has
// been applied since the last. It is written beside the appliers' work.
func (n *Node) maybeSnapshot() {
	if n.since.entries < n.due.entries && n.since.bytes < n.due.bytes {
		return
	}
	n.startSnapshot()
}

// startSnapshot must be called by the applier.
func (n *Node) startSnapshot() {
	if n.newest.Load().Index >= n.applied.Load() || !n.snapshotting.CompareAndSwap(false, true) {
		return
	}
	cs, err := proto.MarshalOptions{Deterministic: true}.Marshal(n.confState)
	if err == nil {
		var snap *statemachine.Snapshot
		if snap, err = n.cfg.App.BeginSnapshot(); err == nil {
			n.countAnew(snap.Index)
			n.cfg.Spawn(func() {
				defer n.snapshotting.Store(false)
				if err := n.writeSnapshot(snap, cs); err != nil {
					n.fail(err)
				}
			})
			return
		}
	}
	n.snapshotting.Store(false)
	n.fail(err)
}

func (n *Node) writeSnapshot(snap *statemachine.Snapshot, confState []byte) error {
	start := n.cfg.Now()
	meta := storage.SnapshotMeta{
		Index: snap.Index, Term: snap.Term, ConfState: confState, Zxid: snap.Zxid,
		Time: n.cfg.WallMillis(), ClusterID: n.cfg.ClusterID,
	}
	size, err := n.writeSnapshotFile(meta, snap)
	if err != nil {
		return fmt.Errorf("replica: snapshot of index %d: %w", meta.Index, err)
	}
	if size == 0 {
		return nil // stopping
	}
	n.newest.Store(&meta)
	n.cfg.Metrics.SnapshotWrite.Observe(n.cfg.Now() - start)
	n.cfg.Metrics.SnapshotBytes.Set(size)
	n.cfg.Logger.Info("snapshot written", "index", meta.Index, "zxid", fmt.Sprintf("%#x", meta.Zxid), "bytes", size, "took", n.cfg.Now()-start)
	keep := n.cfg.KeepEntries
	if first, _ := n.cfg.Log.FirstIndex(); meta.Index > keep && meta.Index-keep >= first {
		if err := n.cfg.Log.Compact(meta.Index - keep); err != nil {
			return err
		}
	}
	return n.cfg.Snapshots.Purge(n.cfg.KeepSnapshots)
}

func (n *Node) writeSnapshotFile(meta storage.SnapshotMeta, snap *statemachine.Snapshot) (int64, error) {
	defer n.cfg.App.EndSnapshot(snap)
	w, err := n.cfg.Snapshots.Create(meta)
	if err != nil {
		return 0, err
	}
	var buf []byte
	var size int64
	for done := false; !done; {
		select {
		case <-n.stop:
			return 0, w.Abort()
		default:
		}
		n.cfg.App.ReadSnapshot(func() { buf, done = snap.Next(buf[:0], snapshotStep) })
		size += int64(len(buf))
		if _, err := w.Write(buf); err != nil {
			return 0, errors.Join(err, w.Abort())
		}
	}
	return size, w.Commit()
}

// encodeMeta and decodeMeta carry a snapshot file's metadata in raft's message.
func encodeMeta(m storage.SnapshotMeta) []byte {
	var b []byte
	for _, v := range []int64{int64(m.Index), int64(m.Term), m.Zxid, m.Time} {
		b = jute.AppendInt64(b, v)
	}
	return jute.AppendBuffer(jute.AppendString(b, m.ClusterID), m.ConfState)
}

func decodeMeta(b []byte) (m storage.SnapshotMeta, err error) {
	d := jute.NewDecoder(b)
	m.Index, m.Term, m.Zxid, m.Time = uint64(d.Int64()), uint64(d.Int64()), d.Int64(), d.Int64()
	m.ClusterID, m.ConfState = strings.Clone(d.String()), bytes.Clone(d.Buffer())
	return m, d.Err()
}

// ReceiveSnapshot takes a snapshot that the leader streams: it is on disk,
// whole and verified, before raft hears of it.
func (n *Node) ReceiveSnapshot(m *raftpb.Message, body io.Reader) error {
	meta, err := decodeMeta(m.GetSnapshot().GetData())
	if err != nil {
		return fmt.Errorf("replica: receive a snapshot: its metadata: %w", err)
	}
	announced := m.GetSnapshot().GetMetadata()
	if meta.Index != announced.GetIndex() || meta.Term != announced.GetTerm() || meta.ClusterID != n.cfg.ClusterID {
		return fmt.Errorf("replica: receive a snapshot: it is of index %d, term %d, cluster %s; announced were index %d, term %d, and this is cluster %s",
			meta.Index, meta.Term, meta.ClusterID, announced.GetIndex(), announced.GetTerm(), n.cfg.ClusterID)
	}
	if meta.Index <= n.applied.Load() {
		return nil // it came late; raft has moved on
	}
	w, err := n.cfg.Snapshots.Receive(meta)
	if err != nil {
		return fmt.Errorf("replica: receive the snapshot of index %d: %w", meta.Index, err)
	}
	if _, err := io.Copy(w, body); err != nil {
		return errors.Join(fmt.Errorf("replica: receive the snapshot of index %d: %w", meta.Index, err), w.Abort())
	}
	if err := w.Commit(); err != nil {
		return fmt.Errorf("replica: receive the snapshot of index %d: %w", meta.Index, err)
	}
	n.Step(m)
	n.Drive()
	return nil
}

// RequestSnapshot makes the applier begin a snapshot of the state as it is then.
func (n *Node) RequestSnapshot() { n.apply.put(task{snapshot: true}) }

// TakeSnapshot writes a snapshot of the state as it is now, and returns when
// it is durable.
func (n *Node) TakeSnapshot(ctx context.Context) error {
	want := n.applied.Load()
	n.RequestSnapshot()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n.newest.Load().Index < want {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-n.stop:
			return ErrStopped
		}
	}
	return nil
}
