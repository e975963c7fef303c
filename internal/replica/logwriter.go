package replica

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/storage"
)

// logState is what the log writer remembers between its batches.
type logState struct {
	// hard is the last HardState that raft asked for; what it says of the
	// commit index may be newer than what is written.
	hard *raftpb.HardState
	// dirty tells that something was written since the last sync. Invariant:
	// no response leaves the log writer while dirty.
	dirty bool
	// entries counts what was written since the last sync.
	entries int
	// restoring is the message whose snapshot the applier is restoring, or has
	// just restored.
	restoring *raftpb.Message
}

// writeOnce makes everything in tasks durable with one sync, and only then
// delivers the answers that depend on it: acknowledgements to the leader,
// votes, and raft's own note of what is stable. What queues up during the sync
// is the next call's tasks.
func (n *Node) writeOnce(tasks []task) {
	for i, t := range tasks {
		if raft.IsEmptySnap(t.msg.GetSnapshot()) || t.msg == n.logState.restoring {
			continue
		}
		// The log begins anew with a snapshot. What came before ends first, what
		// follows waits until the state is there.
		if i > 0 {
			n.writeOnce(tasks[:i])
		}
		if err := n.installSnapshot(t.msg); err != nil {
			n.fail(err)
			return
		}
		n.logs.hold(tasks[i:])
		n.apply.put(task{msg: t.msg, restore: true})
		return
	}
	n.logState.restoring = nil
	answers := false
	for _, t := range tasks {
		if err := n.writeMessage(t.msg); err != nil {
			n.fail(err)
			return
		}
		answers = answers || len(t.msg.GetResponses()) > 0
	}
	if n.logState.dirty && answers {
		start := n.cfg.Now()
		if err := n.cfg.Log.Sync(); err != nil {
			n.fail(err)
			return
		}
		n.logState.dirty = false
		took := n.cfg.Now() - start
		n.cfg.Metrics.Fsync.Observe(took)
		if n.cfg.SlowFsync > 0 && took >= n.cfg.SlowFsync {
			n.cfg.Logger.Warn("the disk is slow: a sync of the log took long, and every write waited for it", "took", took, "threshold", n.cfg.SlowFsync)
		}
		n.cfg.Metrics.LogBatch.Observe(n.logState.entries)
		n.logState.entries = 0
	}
	var own, peers []*raftpb.Message
	for _, t := range tasks {
		for _, r := range t.msg.GetResponses() {
			if r.GetTo() == n.cfg.ID {
				own = append(own, r)
			} else {
				peers = append(peers, r)
			}
		}
	}
	if len(peers) > 0 {
		n.cfg.Transport.Send(peers)
	}
	n.stepAll(own)
	select {
	case n.prepare <- struct{}{}:
	default:
	}
}

// prepareLog makes the log's next segment while the present one fills.
func (n *Node) prepareLog() {
	for {
		select {
		case <-n.stop:
			return
		case <-n.prepare:
		}
		n.prepareOnce()
	}
}

func (n *Node) prepareOnce() {
	if err := n.cfg.Log.Prepare(); err != nil {
		n.fail(err)
	}
}

func (n *Node) writeMessage(m *raftpb.Message) error {
	b := storage.Batch{Entries: m.GetEntries()}
	if m.Term != nil {
		hs := &raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
		old := n.logState.hard
		n.logState.hard = hs
		if len(b.Entries) == 0 && old != nil && hs.GetTerm() == old.GetTerm() && hs.GetVote() == old.GetVote() {
			// Only the commit index moved. It is worth no write of its own:
			// a restarted member learns it again from the leader.
			return nil
		}
	}
	if len(b.Entries) == 0 && m.Term == nil {
		return nil
	}
	b.HardState = n.logState.hard
	if err := n.cfg.Log.Append(b); err != nil {
		return err
	}
	n.logState.dirty = true
	n.logState.entries += len(b.Entries)
	for _, e := range b.Entries {
		n.cfg.Metrics.LogAppendedBytes.Add(uint64(len(e.GetData())))
	}
	return nil
}

// installSnapshot makes the log go on from a snapshot that a peer sent and that
// is on disk already.
func (n *Node) installSnapshot(m *raftpb.Message) error {
	meta := m.GetSnapshot().GetMetadata()
	n.logState.restoring = m
	return n.cfg.Log.Reset(meta.GetIndex(), meta.GetTerm())
}
