package replica

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/conclave-dev/conclave/internal/statemachine"
)

// applyOnce applies what tasks carry, in log order, and tells raft.
func (n *Node) applyOnce(tasks []task) {
	for i, t := range tasks {
		if t.snapshot {
			n.startSnapshot()
			continue
		}
		if t.restore {
			if err := n.restore(t.msg.GetSnapshot()); err != nil {
				n.fail(fmt.Errorf("replica: restore the snapshot of index %d that the leader sent: %w", t.msg.GetSnapshot().GetMetadata().GetIndex(), err))
				return
			}
			n.logs.release()
			continue
		}
		switch more, err := n.applyEntries(t.msg.GetEntries()); {
		case err != nil:
			n.fail(err)
			return
		case more:
			// The entry at its front waits for the loop.
			n.apply.hold(tasks[i:])
			n.call(n.changeConf)
			return
		}
		n.stepAll(t.msg.GetResponses())
	}
	n.maybeSnapshot()
}

// applyEntries applies what has not been applied yet. more tells that the rest
// begins with a change of the membership that the loop has to hear of first.
func (n *Node) applyEntries(entries []*raftpb.Entry) (more bool, err error) {
	for len(entries) > 0 && entries[0].GetIndex() <= n.applied.Load() {
		entries = entries[1:] // applied before a change of the membership, or covered by the snapshot that was restored
	}
	run := 0
	for i, e := range entries {
		if e.GetType() != raftpb.EntryNormal {
			if err := n.applyRun(entries[run:i]); err != nil {
				return false, err
			}
			run = i + 1
			if more, err := n.applyConfChange(e); more || err != nil {
				return more, err
			}
		}
		n.since.bytes += int64(len(e.GetData()))
	}
	return false, n.applyRun(entries[run:])
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
	n.since.entries += uint64(len(entries))
	return nil
}

// confChange is a change of the membership between the applier, which holds its
// queue for it, and the loop.
type confChange struct {
	index uint64
	cc    *raftpb.ConfChangeV2
	state *raftpb.ConfState // after it, once the loop has told raft
}

// changeConf tells raft of the change that the applier waits with. The loop
// calls it.
func (n *Node) changeConf() {
	n.conf.state = n.rn.ApplyConfChange(n.conf.cc)
	n.apply.release()
}

// applyConfChange applies a change of the membership: to raft on the loop, then
// to the state here; more tells that it has to be called again when the loop
// is done. The entry's context is the whole membership after it; the entry that
// leaves a joint configuration has none, and changes nothing that clients see.
func (n *Node) applyConfChange(e *raftpb.Entry) (more bool, err error) {
	if n.conf.index != e.GetIndex() || n.conf.state == nil {
		if e.GetType() != raftpb.EntryConfChangeV2 {
			return false, fmt.Errorf("replica: entry %d is a configuration change of a kind (%v) that is never proposed", e.GetIndex(), e.GetType())
		}
		cc := &raftpb.ConfChangeV2{}
		if err := proto.Unmarshal(e.GetData(), cc); err != nil {
			return false, fmt.Errorf("replica: entry %d is an unreadable configuration change: %w", e.GetIndex(), err)
		}
		n.conf = confChange{index: e.GetIndex(), cc: cc}
		return true, nil
	}
	n.confState = n.conf.state
	n.conf = confChange{}
	n.confIndex.Store(e.GetIndex())
	list, err := MembersIn(e, n.members)
	if err != nil {
		return false, err
	}
	n.cfg.App.ApplyMembers(e.GetIndex(), e.GetTerm(), list)
	n.applied.Store(e.GetIndex())
	n.adoptMembers(statemachine.Members{Index: e.GetIndex(), List: list})
	return false, nil
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
	n.countAnew(meta.Index)
	n.adoptMembers(members)
	return nil
}
