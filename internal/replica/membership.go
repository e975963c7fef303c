package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/statemachine"
)

// A membership change is one raft configuration change whose context is the
// whole membership after it, so that what raft and what clients are told comes
// from one entry.

// promoteLag is how many entries a learner may lack to be called caught up.
const promoteLag = 200

// promoteTicks is how often the leader looks for learners that have caught up.
const promoteTicks = 5

// ErrNotLeader is returned for what only the leader can do.
var ErrNotLeader = errors.New("replica: this member is not the leader")

// Join takes a member into the ensemble as a learner, and returns when that is
// applied here. It is promoted by the leader itself once it has caught up,
// unless it is an observer; then it takes the seat of the voter of the same
// name, if there is one. Joining again is no error.
func (n *Node) Join(ctx context.Context, p statemachine.Member) error {
	p.Voter = false
	for {
		changed := n.membersChanged()
		if old, ok := n.Members().Get(p.ID); ok && old.Name == p.Name {
			return nil
		}
		var err error
		if e := n.callWait(func() { err = n.proposeJoin(p) }); e != nil {
			return e
		}
		if err != nil && !errors.Is(err, raft.ErrProposalDropped) {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("replica: joining server.%d as %x is not committed yet: %w", p.Name, p.ID, ctx.Err())
		case <-time.After(4 * n.electionTimeout()):
			// Raft drops a change while another is under way.
		}
	}
}

// BeginJoin is Join for who can't wait: done is told by the loop whether the
// change was proposed. It may still be lost; then the caller asks again.
func (n *Node) BeginJoin(p statemachine.Member, done func(error)) {
	p.Voter = false
	n.call(func() { done(n.proposeJoin(p)) })
}

func (n *Node) proposeJoin(p statemachine.Member) error {
	if !n.role.IsLeader {
		return ErrNotLeader
	}
	now := n.Members()
	progress := n.rn.Status().Progress
	var changes []*raftpb.ConfChangeSingle
	var list []statemachine.Member
	for _, old := range now.List {
		switch {
		case old.Name != p.Name:
		case old.ID == n.cfg.ID || progress[old.ID].RecentActive:
			return fmt.Errorf("replica: server.%d is a member already, under id %x, and answers; a second process with the same number can't join", p.Name, old.ID)
		case !old.Voter:
			// A learner that never caught up and has come back as another.
			changes = append(changes, single(raftpb.ConfChangeRemoveNode, old.ID))
			continue
		}
		list = append(list, old)
	}
	changes = append(changes, single(raftpb.ConfChangeAddLearnerNode, p.ID))
	return n.proposeChange(changes, append(list, p))
}

func single(typ raftpb.ConfChangeType, id uint64) *raftpb.ConfChangeSingle {
	return &raftpb.ConfChangeSingle{Type: &typ, NodeId: &id}
}

func (n *Node) proposeChange(changes []*raftpb.ConfChangeSingle, list []statemachine.Member) error {
	return n.rn.ProposeConfChange(&raftpb.ConfChangeV2{Changes: changes, Context: statemachine.EncodeMembers(list)})
}

// promote makes a voter of a learner that has caught up, in the seat of the
// voter that had its name. The leader calls it every few ticks; it does one
// thing at a time, and what is lost is done the next time.
func (n *Node) promote() {
	st := n.rn.Status()
	if len(st.Config.Voters[1]) > 0 {
		return // a change is under way
	}
	last, _ := n.cfg.Log.LastIndex()
	now := n.Members()
	for i, p := range now.List {
		pr, ok := st.Progress[p.ID]
		if p.Voter || p.Observer || !ok || !pr.IsLearner || !pr.RecentActive || pr.Match+promoteLag < last {
			continue
		}
		changes := []*raftpb.ConfChangeSingle{single(raftpb.ConfChangeAddNode, p.ID)}
		list := slices.Clone(now.List)
		list[i].Voter = true
		list = slices.DeleteFunc(list, func(o statemachine.Member) bool {
			if o.Name != p.Name || o.ID == p.ID {
				return false
			}
			changes = append(changes, single(raftpb.ConfChangeRemoveNode, o.ID))
			return true
		})
		n.cfg.Logger.Info("a member has caught up and becomes a voter", "member", fmt.Sprintf("%x", p.ID), "server", p.Name)
		_ = n.proposeChange(changes, list) // dropped, it is proposed again
		return
	}
}

// membersChanged returns a channel that is closed at the next change of the
// membership.
func (n *Node) membersChanged() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.membersCh
}
