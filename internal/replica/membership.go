package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/conclave-dev/conclave/internal/statemachine"
)

// A membership change is one raft configuration change whose context is the
// whole membership after it, so that what raft and what clients are told comes
// from one entry. One that raft takes in two steps (joint consensus) is done
// when the second is applied.
//
// What is planned on Members can't meet another membership: raft drops a change
// while one that it has in its log is not applied, and Members is set before
// raft is told that it was.

// promoteTicks is how often the leader looks for learners that have caught up.
const promoteTicks = 5

// ErrNotLeader is returned for what only the leader can do.
var ErrNotLeader = errors.New("replica: this member is not the leader")

// AddLearner takes a member into the ensemble, without a vote. Like Promote and
// Remove it returns when the change is applied here, with the membership after
// it; if it is so already, it returns at once.
//
// index is that of the membership on which the change was planned: if that has
// moved, the change is refused. 0 stands for whatever the membership is. A
// refusal is a *Refusal. If ctx ends first, the change may still come about.
func (n *Node) AddLearner(ctx context.Context, index uint64, p statemachine.Member) (statemachine.Members, error) {
	return n.change(ctx, index, func(v *view) ([]statemachine.Member, *Refusal) { return planAdd(v, p) })
}

// Promote gives a learner a vote, if it lacks no more than maxLag entries; 0
// stands for defaultPromoteLag.
func (n *Node) Promote(ctx context.Context, index, id, maxLag uint64) (statemachine.Members, error) {
	return n.change(ctx, index, func(v *view) ([]statemachine.Member, *Refusal) { return planPromote(v, id, maxLag) })
}

// Remove takes a member out of the ensemble, for good: its id is never used
// again.
func (n *Node) Remove(ctx context.Context, index, id uint64) (statemachine.Members, error) {
	return n.change(ctx, index, func(v *view) ([]statemachine.Member, *Refusal) { return planRemove(v, id) })
}

// Reconfigure makes voters and observers what wanted says, in one change. Those
// that are to vote and do not yet must be learners that have caught up.
func (n *Node) Reconfigure(ctx context.Context, index uint64, wanted []statemachine.Member) (statemachine.Members, error) {
	return n.change(ctx, index, func(v *view) ([]statemachine.Member, *Refusal) { return planTarget(v, wanted) })
}

// Changing reports whether a change of the membership is half applied.
func (n *Node) Changing() bool { return n.joint.Load() }

// Join takes in a member that asked for it by itself.
func (n *Node) Join(ctx context.Context, p statemachine.Member) error {
	if old, ok := n.Members().Get(p.ID); ok && old.Name == p.Name {
		return nil
	}
	_, err := n.AddLearner(ctx, 0, p)
	return err
}

func (n *Node) change(ctx context.Context, index uint64, plan func(*view) ([]statemachine.Member, *Refusal)) (statemachine.Members, error) {
	for {
		changed := n.membersChanged()
		done, wait, err := false, 4*n.electionTimeout(), error(nil)
		if e := n.callWait(func() { done, wait, err = n.tryChange(index, plan) }); e != nil {
			return n.Members(), e
		}
		if done || err != nil {
			return n.Members(), err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return n.Members(), fmt.Errorf("replica: the change is not committed yet, and may still be: %w", ctx.Err())
		case <-time.After(wait): // what was proposed may be lost
		}
	}
}

// BeginJoin is Join for who can't wait: done is told by the loop whether the
// change was proposed. It may still be lost; then the caller asks again.
func (n *Node) BeginJoin(p statemachine.Member, done func(error)) {
	n.call(func() {
		_, _, err := n.tryChange(0, func(v *view) ([]statemachine.Member, *Refusal) { return planAdd(v, p) })
		done(err)
	})
}

// BeginRemove is Remove for who can't wait, as BeginJoin is.
func (n *Node) BeginRemove(id uint64, done func(error)) {
	n.call(func() {
		_, _, err := n.tryChange(0, func(v *view) ([]statemachine.Member, *Refusal) { return planRemove(v, id) })
		done(err)
	})
}

// tryChange makes one step towards what plan wants, and returns how long to
// wait for it. The loop calls it.
func (n *Node) tryChange(index uint64, plan func(*view) ([]statemachine.Member, *Refusal)) (done bool, wait time.Duration, err error) {
	wait = 4 * n.electionTimeout()
	if !n.role.IsLeader {
		return false, 0, ErrNotLeader
	}
	v := n.view()
	target, refusal := plan(v)
	if refusal == nil && target == nil {
		return !n.joint.Load(), wait, nil
	}
	if index != 0 && v.members.Index != index {
		return false, 0, refuse(WhyMoved, "the membership has changed: it is that of index %d, and this change was planned on %d; look at it again", v.members.Index, index)
	}
	if refusal != nil {
		if n.cfg.Now()-n.activeSince < n.electionTimeout() && (refusal.Why == WhyLagging || refusal.Why == WhyQuorum) {
			return false, n.cfg.Tick, nil // it leads since a moment, and has heard of nobody yet
		}
		return false, 0, refusal
	}
	if n.joint.Load() {
		return false, wait, nil
	}
	err = n.proposeChange(changesBetween(v.members, target), target)
	if errors.Is(err, raft.ErrProposalDropped) {
		return false, n.cfg.Tick, nil
	}
	return false, wait, err
}

// view is what the leader knows now. The loop calls it.
func (n *Node) view() *view {
	last, _ := n.cfg.Log.LastIndex()
	return &view{self: n.cfg.ID, members: n.Members(), last: last, peers: n.progress()}
}

func (n *Node) progress() map[uint64]Progress {
	n.noteActive(n.cfg.Now())
	out := make(map[uint64]Progress)
	n.rn.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		at, ok := n.activeAt[id]
		active := id == n.cfg.ID || ok && n.cfg.Now()-at <= n.electionTimeout()+n.cfg.Tick
		stuck := n.stuck(n.cfg.Now(), id)
		if id == n.cfg.ID {
			stuck = n.stalled()
		}
		out[id] = Progress{Match: pr.Match, Active: active, Stuck: stuck, Learner: typ == raft.ProgressTypeLearner}
	})
	return out
}

// noteActive notes who has answered: raft itself forgets it with each election
// timeout, and would call everybody silent at that moment.
func (n *Node) noteActive(now time.Duration) {
	last, _ := n.cfg.Log.LastIndex()
	n.rn.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if pr.RecentActive {
			n.activeAt[id] = now
		}
		n.noteAck(now, id, pr, last)
	})
}

// Progress returns what this member knows of the others as the leader; it is
// empty elsewhere.
func (n *Node) Progress() (out map[uint64]Progress) {
	if !n.isLeader.Load() {
		return nil
	}
	_ = n.callWait(func() {
		if n.role.IsLeader {
			out = n.progress()
		}
	})
	return out
}

func (n *Node) proposeChange(changes []*raftpb.ConfChangeSingle, list []statemachine.Member) error {
	return n.rn.ProposeConfChange(&raftpb.ConfChangeV2{Changes: changes, Context: statemachine.EncodeMembers(list)})
}

// promote makes voters of learners that have caught up, where nobody else does
// it (Config.AutoPromote). The leader calls it every few ticks; it does one
// thing at a time, and what is lost is done the next time.
func (n *Node) promote() {
	if n.joint.Load() {
		return // a change is under way
	}
	v := n.view()
	for _, p := range v.members.List {
		if p.Voter || p.Observer || n.cfg.AutoPromote != nil && !n.cfg.AutoPromote(p) {
			continue
		}
		target, refusal := planPromote(v, p.ID, defaultPromoteLag)
		if refusal != nil {
			continue
		}
		n.cfg.Logger.Info("a member has caught up and becomes a voter", "member", fmt.Sprintf("%x", p.ID), "server", p.Name)
		_ = n.proposeChange(changesBetween(v.members, target), target) // dropped, it is proposed again
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
