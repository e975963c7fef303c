package replica

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/statemachine"
)

func (n *Node) runLoop() {
	ticker := time.NewTicker(max(min(n.cfg.Tick, n.cfg.ProbeInterval)/2, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-n.stop:
			return
		case <-ticker.C:
		case <-n.wake:
		}
		n.Drive()
	}
}

// turn does everything that there is to do at now: it takes what others left,
// lets time pass for raft, sends operations on their way and hands raft's
// output to disk, network and state machine. One goroutine at a time calls it:
// drive.
func (n *Node) turn(now time.Duration) {
	n.mu.Lock()
	in := n.in
	n.in = inbox{msgs: n.spareMsgs[:0], forwardBytes: in.forwardBytes}
	n.mu.Unlock()
	n.wakeAt = 0
	n.held.forwards = append(n.held.forwards, in.forwards...)
	n.held.leaderOps = append(n.held.leaderOps, in.leaderOps...)
	n.held.ops += in.forwardOps + len(in.leaderOps)

	for _, f := range in.calls {
		f()
	}
	n.watchDisks(now)
	for _, m := range in.msgs {
		if n.stalled() && dropsWhileStalled(m) {
			continue
		}
		if err := n.forgotten(m); err != nil {
			n.fail(err)
			continue
		}
		// Step refuses what is of no use to it (an unknown peer's answer, a
		// proposal without a leader). Raft's messages may always get lost.
		_ = n.rn.Step(m)
	}
	clear(in.msgs)
	n.spareMsgs = in.msgs[:0]
	n.passTime(now)
	// Roles change by what was just stepped; operations go where the new role
	// says.
	n.drainReady(now)
	n.sendOperations(now)
	n.drainReady(now)
	if len(n.outgoing) > 0 {
		n.cfg.Transport.Send(n.outgoing)
		clear(n.outgoing)
		n.outgoing = n.outgoing[:0]
	}
}

func (n *Node) passTime(now time.Duration) {
	if now-n.lastTick >= n.cfg.Tick {
		// One tick, however late: after a pause of the process nobody was
		// silent but this member.
		n.lastTick += n.cfg.Tick
		if now-n.lastTick >= n.cfg.Tick {
			n.lastTick = now
		}
		if n.role.IsLeader {
			n.noteActive(now)
			if n.stalled() {
				n.handOver(now)
			}
		}
		if n.role.IsLeader || !n.stalled() {
			n.rn.Tick()
		}
		if n.ticks++; n.role.IsLeader && n.ticks%promoteTicks == 0 {
			n.promote()
		}
	}
	// Votes that are being counted are not asked for again.
	if n.hurry.due(now) && n.role.Leader == raft.None && !n.stalled() && n.rn.BasicStatus().RaftState != raft.StateCandidate {
		_ = n.rn.Campaign() // refused only when there is nothing to win
	}
	if now-n.lastProbe >= n.cfg.ProbeInterval {
		n.probe(now)
	}
}

// probe asks whether the leader has a quorum. A new leader answers once it has
// committed an entry of its own term.
func (n *Node) probe(now time.Duration) {
	n.lastProbe = now
	n.rn.ReadIndex(probeContext(now))
}

// maxForwarded is how many batches a follower has on their way to the leader.
// The leader decides what travels together (pacer): what is held back here only
// misses its round.
const maxForwarded = 16

// rewind makes everything in the outbox go out again, in order.
func (n *Node) rewind() {
	n.given = 0
	n.progressAt = n.cfg.Now()
}

// sendOperations forwards the member's operations to the leader or, on the
// leader, packs everything that has queued up into entries and proposes them.
func (n *Node) sendOperations(now time.Duration) {
	if released := n.outbox.Release(); released > 0 {
		n.given = max(0, n.given-released)
		n.progressAt = now
		n.resendAfter = 2 * n.electionTimeout()
	}
	if n.role.IsLeader {
		n.propose(now)
		return
	}
	// What others forwarded is forgotten: they send it to whoever leads.
	n.releaseHeld()
	if n.role.Leader == raft.None {
		return
	}
	if n.given > 0 && now-n.progressAt > n.resendAfter {
		n.resendAfter = min(2*n.resendAfter, 16*n.electionTimeout())
		n.rewind()
	}
	if n.given == 0 {
		n.progressAt = now
	}
	if n.given >= maxForwarded {
		// What queues up until one of them has come back is the next batch.
		return
	}
	full := false
	sent := n.given
	n.given = n.outbox.Take(n.given, func(ops []byte) {
		if full || !n.cfg.Transport.Forward(n.role.Leader, ops) {
			full = true
			return
		}
		sent++
	})
	// What did not fit goes at the next turn: a tick away at most.
	n.given = sent
}

// waitingOps is how many operations the leader could propose.
func (n *Node) waitingOps() int { return n.held.ops + n.outbox.Waiting(n.given) }

func (n *Node) releaseHeld() {
	if n.held.ops == 0 && len(n.held.forwards) == 0 {
		return
	}
	bytes := 0
	for _, f := range n.held.forwards {
		bytes += len(f)
	}
	n.mu.Lock()
	n.in.forwardBytes -= bytes
	n.mu.Unlock()
	clear(n.held.forwards)
	clear(n.held.leaderOps)
	n.held = heldOps{forwards: n.held.forwards[:0], leaderOps: n.held.leaderOps[:0]}
}

func (n *Node) propose(now time.Duration) {
	waiting := n.waitingOps()
	if waiting == 0 || !n.logs.idle() || now < n.holdUntil {
		// The disk is busy: what queues up meanwhile is the next entry, and the
		// log writer drives the loop when it is idle. Or raft has just refused a
		// proposal: it is asked again later.
		return
	}
	if until, hold := n.pacer.hold(now, waiting); hold {
		n.wakeAt = until
		return
	}
	var entry []byte
	ok := true
	inEntry := 0
	flush := func() {
		if len(entry) > statemachine.HeaderSize && ok {
			if err := n.rn.Propose(entry); err != nil {
				ok = false
			} else {
				n.pacer.proposed(now, inEntry)
				n.cfg.Metrics.TransactionsProposed.Add(uint64(inEntry))
				n.cfg.Metrics.ProposalSize.Observe(len(entry))
			}
		}
		entry, inEntry = nil, 0
	}
	add := func(ops []byte) {
		if len(entry) > 0 && len(entry)+len(ops) > maxEntryBytes {
			flush()
		}
		if entry == nil {
			entry = statemachine.AppendHeader(make([]byte, 0, statemachine.HeaderSize+len(ops)+1024), n.cfg.WallMillis())
		}
		entry = append(entry, ops...)
		if k, err := statemachine.CountOps(ops); err == nil {
			inEntry += k
		}
	}
	for _, f := range n.held.forwards {
		add(f)
	}
	for _, f := range n.held.leaderOps {
		add(f)
	}
	n.releaseHeld()
	n.given = n.outbox.Take(n.given, add)
	flush()
	if !ok {
		// Raft takes no proposals now: too much is uncommitted, or leadership
		// is being handed over. Members repeat theirs; ours go again too, no
		// sooner than the next tick.
		n.given = 0
		n.progressAt = now
		n.holdUntil = now + n.cfg.Tick
	}
}

func (n *Node) drainReady(now time.Duration) {
	for n.rn.HasReady() {
		rd := n.rn.Ready()
		if rd.SoftState != nil || rd.HardState != nil {
			n.noteRole(rd)
		}
		for _, rs := range rd.ReadStates {
			n.noteContact(rs)
		}
		n.route(rd.Messages)
	}
}

func (n *Node) noteRole(rd raft.Ready) {
	role := n.role
	if rd.HardState != nil {
		role.Term = rd.HardState.GetTerm()
		n.committed.Store(rd.HardState.GetCommit())
	}
	if rd.SoftState != nil {
		role.Leader = rd.SoftState.Lead
		role.IsLeader = rd.SoftState.RaftState == raft.StateLeader
	}
	if role == n.role {
		return
	}
	if role.Leader != raft.None && (role.Leader != n.role.Leader || role.Term != n.role.Term) {
		// Whatever the last leader was given may be lost with it.
		n.rewind()
		n.hurry = hurry{}
		// Until it knows that this leader has a quorum the member vouches for
		// nobody's session: it asks now, not when the next probe is due.
		n.probe(n.cfg.Now())
	}
	n.pacer.forget()
	if role.IsLeader && (!n.role.IsLeader || role.Term != n.role.Term) {
		clear(n.activeAt)
		clear(n.acks)
		n.handing = handing{}
		n.activeSince = n.cfg.Now()
	}
	n.role = role
	n.term.Store(role.Term)
	n.lead.Store(role.Leader)
	n.isLeader.Store(role.IsLeader)
	n.cfg.App.RoleChanged(role)
}

func (n *Node) noteContact(rs raft.ReadState) {
	if len(rs.RequestCtx) != 8 {
		return
	}
	at := int64(binary.BigEndian.Uint64(rs.RequestCtx))
	if at <= n.contact.Load() {
		return
	}
	n.readIndex.Store(rs.Index)
	n.contact.Store(at)
}

// noteCommitted measures how long what this leader has proposed took to be
// committed.
func (n *Node) noteCommitted(entries []*raftpb.Entry) {
	if !n.role.IsLeader {
		return
	}
	for _, e := range entries {
		if e.GetTerm() == n.role.Term && e.GetType() == raftpb.EntryNormal && len(e.GetData()) > 0 {
			if took, ok := n.pacer.committed(n.cfg.Now(), n.waitingOps()); ok {
				n.cfg.Metrics.Commit.Observe(took)
			}
		}
	}
}

// route hands each of raft's messages to whom it is for.
func (n *Node) route(msgs []*raftpb.Message) {
	for _, m := range msgs {
		switch {
		case m.GetTo() == raft.LocalAppendThread:
			n.logs.add(task{msg: m})
		case m.GetTo() == raft.LocalApplyThread:
			n.noteCommitted(m.GetEntries())
			n.apply.add(task{msg: m}) // Drive applies it, or wakes the applier
		case m.GetType() == raftpb.MsgSnap:
			n.sendSnapshot(m)
		default:
			n.outgoing = append(n.outgoing, m)
		}
	}
}

// sendSnapshot streams the newest snapshot to a member that is too far behind
// for the log.
func (n *Node) sendSnapshot(m *raftpb.Message) {
	n.cfg.Spawn(func() {
		err := n.streamSnapshot(m)
		status := raft.SnapshotFinish
		if err != nil {
			status = raft.SnapshotFailure
			n.cfg.Logger.Warn("sending a snapshot failed; it will be tried again", "to", fmt.Sprintf("%x", m.GetTo()), "error", err)
		}
		n.call(func() { n.rn.ReportSnapshot(m.GetTo(), status) })
	})
}

func (n *Node) streamSnapshot(m *raftpb.Message) error {
	meta, err := decodeMeta(m.GetSnapshot().GetData())
	if err != nil {
		return err
	}
	body, err := n.cfg.Snapshots.OpenRaw(meta)
	if err != nil {
		return err
	}
	defer body.Close()
	return n.cfg.Transport.SendSnapshot(m.GetTo(), m, body)
}
