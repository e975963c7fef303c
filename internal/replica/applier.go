package replica

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/conclave-dev/conclave/internal/statemachine"
)

// applyOnce applies what tasks carry, in log order, and tells raft.
func (n *Node) applyOnce(tasks []task) {
	for _, t := range tasks {
		if t.snapshot {
			n.startSnapshot()
			continue
		}
		if t.done != nil {
			t.done <- n.restore(t.msg.GetSnapshot())
			continue
		}
		if err := n.applyEntries(t.msg.GetEntries()); err != nil {
			n.fail(err)
			return
		}
		n.stepAll(t.msg.GetResponses())
	}
	n.maybeSnapshot()
}

func (n *Node) applyEntries(entries []*raftpb.Entry) error {
	for len(entries) > 0 && entries[0].GetIndex() <= n.applied.Load() {
		entries = entries[1:] // covered by the snapshot that was restored
	}
	run := 0
	for i, e := range entries {
		n.sinceBytes += int64(len(e.GetData()))
		if e.GetType() == raftpb.EntryNormal {
			continue
		}
		if err := n.applyRun(entries[run:i]); err != nil {
			return err
		}
		run = i + 1
		if err := n.applyConfChange(e); err != nil {
			return err
		}
	}
	return n.applyRun(entries[run:])
}

func (n *Node) applyRun(entries []*raftpb.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	start := n.cfg.Now()
	if err := n.cfg.App.Apply(entries); err != nil {
		return err
	}
	n.cfg.Metrics.Apply.Observe(n.cfg.Now() - start)
	n.applied.Store(entries[len(entries)-1].GetIndex())
	n.sinceEntries += uint64(len(entries))
	return nil
}

// applyConfChange applies a change of the membership: to raft on the loop, to
// the state here. Its context is the whole membership after it; the entry that
// leaves a joint configuration has none, and changes nothing that clients see.
func (n *Node) applyConfChange(e *raftpb.Entry) error {
	var cc raftpb.ConfChangeV2
	if e.GetType() != raftpb.EntryConfChangeV2 {
		return fmt.Errorf("replica: entry %d is a configuration change of a kind (%v) that is never proposed", e.GetIndex(), e.GetType())
	}
	if err := proto.Unmarshal(e.GetData(), &cc); err != nil {
		return fmt.Errorf("replica: entry %d is an unreadable configuration change: %w", e.GetIndex(), err)
	}
	var cs *raftpb.ConfState
	if err := n.callWait(func() { cs = n.rn.ApplyConfChange(&cc) }); err != nil {
		return err
	}
	n.confState = cs
	n.confIndex.Store(e.GetIndex())
	list, err := MembersIn(e, n.members)
	if err != nil {
		return err
	}
	n.cfg.App.ApplyMembers(e.GetIndex(), e.GetTerm(), list)
	n.applied.Store(e.GetIndex())
	n.adoptMembers(statemachine.Members{Index: e.GetIndex(), List: list})
	return nil
}

// MembersIn returns the membership after a configuration change; before is that
// before it.
func MembersIn(e *raftpb.Entry, before []statemachine.Member) ([]statemachine.Member, error) {
	var cc raftpb.ConfChangeV2
	if err := proto.Unmarshal(e.GetData(), &cc); err != nil {
		return nil, fmt.Errorf("replica: entry %d is an unreadable configuration change: %w", e.GetIndex(), err)
	}
	if len(cc.GetContext()) == 0 {
		return before, nil
	}
	list, err := statemachine.DecodeMembers(cc.GetContext())
	if err != nil {
		return nil, fmt.Errorf("replica: entry %d: %w", e.GetIndex(), err)
	}
	return list, nil
}

func (n *Node) adoptMembers(members statemachine.Members) {
	n.members = members.List
	n.joint.Store(len(n.confState.GetVotersOutgoing()) > 0)
	n.memberSet.Store(&members)
	n.mu.Lock()
	close(n.membersCh)
	n.membersCh = make(chan struct{})
	n.mu.Unlock()
	n.setPeers()
}

// restore replaces the state by a snapshot that is on disk.
func (n *Node) restore(snap *raftpb.Snapshot) error {
	meta, err := decodeMeta(snap.GetData())
	if err != nil {
		return err
	}
	r, err := n.cfg.Snapshots.Open(meta)
	if err != nil {
		return err
	}
	defer r.Close()
	members, err := n.cfg.App.Restore(r)
	if err != nil {
		return err
	}
	n.cfg.Metrics.SnapshotsReceived.Inc()
	n.confState = snap.GetMetadata().GetConfState()
	n.applied.Store(meta.Index)
	n.newest.Store(&meta)
	n.sinceEntries, n.sinceBytes = 0, 0
	n.adoptMembers(members)
	return nil
}
