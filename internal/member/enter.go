package member

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/replica"
	"github.com/conclave-dev/conclave/internal/replica/formation"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage"
)

// foundingIndex and foundingTerm are where every founder of an ensemble begins
// its log: behind a snapshot that says who the founders are.
const (
	foundingIndex = 1
	foundingTerm  = 1
)

func clusterID(hexID string) (id formation.ClusterID) {
	b, err := hex.DecodeString(hexID)
	if err == nil {
		copy(id[:], b)
	}
	return id
}

// enter makes the member part of its ensemble, founding it or joining it if
// need be, and begins to serve.
func (m *Member) enter() error {
	ctx, cancel := m.runContext()
	defer cancel()
	id := m.dir.Identity.Get()
	if m.damage.Load() != nil {
		m.refuseDamaged()
		return nil
	}
	if state, reason, ok := storedRefusal(id); ok {
		m.clusterID.Store(&id.ClusterID)
		m.refuse(state, reason)
		return nil
	}
	if id.ClusterID == "" {
		if err := m.findEnsemble(ctx); err != nil {
			return err
		}
		id = m.dir.Identity.Get()
	}
	m.stand(adminpb.Membership_MEMBERSHIP_MEMBER, "")
	m.clusterID.Store(&id.ClusterID)
	if m.transport != nil {
		m.transport.SetIdentity(clusterID(id.ClusterID), id.MemberID)
	}
	start := time.Now()
	n, err := m.openNode(ctx)
	if err != nil {
		if err = m.endure(err); err == nil {
			m.refuseDamaged()
		}
		return err
	}
	m.metrics.Recovery.Since(start)
	m.server.Attach(n, m.sender())
	m.node.Store(n)
	if goOn, err := m.vet(ctx); err != nil || !goOn {
		return err
	}
	n.Start()
	m.server.SetServing(true)
	m.log.Info("in the ensemble", "cluster", id.ClusterID, "member", fmt.Sprintf("%x", id.MemberID), "server", m.cfg.MyID,
		"applied", n.Applied(), "members", len(n.Members().List))
	m.watchOthers(ctx)
	return nil
}

// openNode restores what is on disk and puts the replica over it.
func (m *Member) openNode(ctx context.Context) (*replica.Node, error) {
	snaps := m.dir.Snapshots
	machine := statemachine.New()
	cs := &raftpb.ConfState{}
	list, err := snaps.List()
	if err != nil {
		return nil, err
	}
	var meta storage.SnapshotMeta
	if len(list) > 0 {
		meta = list[len(list)-1]
		if machine, err = restore(snaps, meta); err != nil {
			return nil, fmt.Errorf("snapshot of index %d: %w", meta.Index, err)
		}
		if err := proto.Unmarshal(meta.ConfState, cs); err != nil {
			return nil, fmt.Errorf("snapshot of index %d: membership: %w", meta.Index, err)
		}
	}
	log, rec, err := m.dir.OpenLog(storage.Options{SegmentSize: m.opt.SegmentSize, Spares: m.opt.SpareSegments})
	if err != nil {
		return nil, err
	}
	m.raftLog = log
	if rec.Cut != nil {
		m.log.Warn("the log ended in a write that was never acknowledged; it was cut off", "cut", rec.Cut.String())
	}
	if err := m.alignLog(log, meta); err != nil {
		return nil, err
	}
	members := machine.Members()
	if meta.Index == 0 {
		// It has joined, and its first snapshot has not come: who the others
		// are is on no disk here, unless it was told.
		if id := m.dir.Identity.Get(); id.Hosts != nil {
			if m.hosts, err = statemachine.DecodeMembers(id.Hosts); err != nil {
				return nil, err
			}
		}
		if len(m.hosts) == 0 {
			if err := m.join(ctx, clusterID(m.dir.Identity.Get().ClusterID), m.anotherServer(0)); err != nil {
				return nil, err
			}
		}
		members.List = m.hosts
	}
	m.server.Load(machine)
	return replica.NewNode(replica.Config{
		ID: m.dir.Identity.Get().MemberID, Log: log, Snapshots: snaps, App: m.app(), Transport: m.sender(),
		Tick: m.cfg.Heartbeat, ElectionTicks: int(m.cfg.Election / m.cfg.Heartbeat), ProbeInterval: m.probeInterval(),
		SnapshotEntries: uint64(m.cfg.SnapCount), SnapshotBytes: snapshotBytes(m.cfg.SnapSizeLimit), KeepSnapshots: m.cfg.SnapRetainCount,
		KeepEntries: m.opt.KeepEntries, Busy: m.dir.Busy, SlowFsync: m.cfg.FsyncWarning,
		AutoPromote: m.promotesItself,
		ClusterID:   m.dir.Identity.Get().ClusterID, PeerAddr: m.peerAddr, Now: m.now, WallMillis: wallMillis,
		Metrics: m.metrics, Logger: m.log, Fail: m.fail,
	}, meta, cs, members)
}

// alignLog makes the log go on from the newest snapshot; meta is zero without one.
func (m *Member) alignLog(log *storage.Log, meta storage.SnapshotMeta) error {
	if id := m.dir.Identity.Get().ClusterID; meta.Index != 0 && meta.ClusterID != id {
		return lost("the snapshot of index %d is of cluster %s, and this member belongs to %s: its file does not belong here", meta.Index, meta.ClusterID, id)
	}
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := log.LastIndex()
	if err != nil {
		return err
	}
	if first > meta.Index+1 {
		return lost("the log begins with entry %d, and what was before it is in no snapshot (the newest ends at %d): files are missing from %s: put them back, or, if the ensemble has other members, move the data directory aside, and this one joins again with an empty one",
			first, meta.Index, filepath.Join(m.cfg.DataDir, "conclave", "snap"))
	}
	if last >= meta.Index {
		switch term, err := log.Term(meta.Index); {
		case err != nil:
			return err
		case term == meta.Term:
			return nil
		}
	}
	// The member stopped between receiving a snapshot and resetting its log, or
	// has just been founded.
	return log.Reset(meta.Index, meta.Term)
}

// restore reads a snapshot to its end, so that all of its checksums are
// verified.
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

// promotesItself reports whether the leader makes a voter of this learner once
// it has caught up: it does where the configuration names the member, and leaves
// it to Promote otherwise.
func (m *Member) promotesItself(p statemachine.Member) bool {
	line, ok := m.configured(p.Name)
	return ok && !line.Observer && !m.opt.AwaitBootstrap
}

// maxSnapshotBytes is how much log there may be behind a snapshot when the
// configuration sets no limit: what a start has to read again.
const maxSnapshotBytes = 1 << 30

func snapshotBytes(limit int64) int64 {
	if limit <= 0 {
		return maxSnapshotBytes
	}
	return limit
}

// probeInterval is how often the member makes sure of a quorum: several times
// in the share of the shortest session timeout for which it vouches.
func (m *Member) probeInterval() time.Duration {
	return min(max(m.cfg.MinSessionTimeout/16, 10*time.Millisecond), 250*time.Millisecond)
}

// found writes the state that every founder begins with.
func (m *Member) found(cluster string, members []statemachine.Member, time int64) error {
	machine := statemachine.New()
	machine.Found(foundingIndex, foundingTerm, members, time)
	if err := m.writeState(machine, cluster, time); err != nil {
		return err
	}
	return m.adopt(cluster)
}

// writeState writes a snapshot of a state that did not come out of the log.
func (m *Member) writeState(machine *statemachine.Machine, cluster string, time int64) error {
	cs := &raftpb.ConfState{}
	for _, p := range machine.Members().List {
		cs.Voters = append(cs.Voters, p.ID)
	}
	conf, err := proto.MarshalOptions{Deterministic: true}.Marshal(cs)
	if err != nil {
		return err
	}
	index, term := machine.Applied()
	w, err := m.dir.Snapshots.Create(storage.SnapshotMeta{
		Index: index, Term: term, ConfState: conf, Zxid: machine.Zxid(), Time: time, ClusterID: cluster,
	})
	if err != nil {
		return err
	}
	snap, err := machine.BeginSnapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	var buf []byte
	for done := false; !done; {
		buf, done = snap.Next(buf[:0], 1<<20)
		if _, err := w.Write(buf); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	return w.Commit()
}

// adopt makes the member part of an ensemble, for good: it is the last step of
// founding and of joining.
func (m *Member) adopt(cluster string) error {
	return m.dir.Identity.Update(func(id *storage.Identity) { id.ClusterID = cluster })
}

// findEnsemble founds the ensemble that the configuration describes, or joins
// it.
func (m *Member) findEnsemble(ctx context.Context) error {
	if m.opt.AwaitBootstrap {
		return m.await(ctx)
	}
	if m.cfg.Standalone {
		self, ok := m.cfg.Self()
		p := statemachine.Member{Name: m.cfg.MyID, Voter: true}
		if ok {
			p, _ = m.configured(self.ID)
		}
		p.ID = m.dir.Identity.Get().MemberID
		return m.found(newClusterID(), []statemachine.Member{p}, wallMillis())
	}
	return m.formOrJoin(ctx)
}
