package replica

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/conclave-dev/conclave/internal/storage"
	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// A disk that does not answer fails nothing, and raft does not see it: a leader's
// heartbeats need no disk. But everything else does. So the member looks itself
// whether an operation has been under way for longer than stallTime.
//
// A stalled disk of the data (snapshots) is told of, and no more. Without the log's
// disk a member has no vote and no acknowledgement to give, so
//
//   - as a leader it hands leadership over, if a majority of the voters can go on
//     without it. Where that is not so a new leader could commit nothing either, and
//     nobody would confirm to the members that there is a leader: it stays;
//   - otherwise raft's time stands still for it, so that it does not stand for an
//     election that it could win without its own vote;
//   - the leader does not count on it (Progress.Stuck).
//
// When the disk answers it is a member as before.

// stallTime is how long an operation on a disk may be under way before the disk
// counts as stalled: two election timeouts.
func (n *Node) stallTime() time.Duration { return 2 * n.electionTimeout() }

// stall is a disk that does not answer, as the loop has found it.
type stall struct {
	on   bool
	what vfs.Underway
	// seen is when it was last looked at: then the operation was under way for
	// what.For.
	seen time.Duration
}

// Stalled returns since when, on the injected clock, the log's disk has not
// answered; ok is false if it does.
func (n *Node) Stalled() (since time.Duration, ok bool) {
	v := n.stalledSince.Load()
	return time.Duration(v), v != 0
}

// DiskProblem says which disk does not answer, if one does not, in a sentence;
// log tells that it is the log's.
func (n *Node) DiskProblem() (reason string, log bool) {
	for d := range storage.NumDisks {
		if what, busy := n.busy(d); busy && what.For >= n.stallTime() {
			return fmt.Sprintf("the %v disk does not answer: %s of %s has been under way for %v", d, what.Op, what.Path, what.For.Round(10*time.Millisecond)), d == storage.LogDisk
		}
	}
	return "", false
}

func (n *Node) busy(d storage.Disk) (vfs.Underway, bool) {
	if n.cfg.Busy == nil {
		return vfs.Underway{}, false
	}
	return n.cfg.Busy(d)
}

// watchDisks notes which disks are stalled, and since when. The loop calls it.
func (n *Node) watchDisks(now time.Duration) {
	gap := now - n.looked
	n.looked = now
	if gap > n.stallTime()/2 {
		return // it was the process that stood still; what came back meanwhile shows at the next look
	}
	for d := range storage.NumDisks {
		s := &n.stalls[d]
		what, busy := n.busy(d)
		same := s.on && busy && what.Op == s.what.Op && what.Path == s.what.Path && what.For >= s.what.For
		on := busy && what.For >= n.stallTime()
		if s.on && !same {
			// It came back at some time since the last look.
			took := s.what.For + now - s.seen
			n.cfg.Metrics.DiskStalls[d].Observe(took)
			n.cfg.Logger.Warn("the disk answers again", "disk", d.String(), "operation", string(s.what.Op), "path", s.what.Path, "stalled", took)
		}
		if on && !same {
			n.cfg.Logger.Warn("the disk does not answer: an operation on it has been under way for too long", "disk", d.String(),
				"operation", string(what.Op), "path", what.Path, "for", what.For, "bound", n.stallTime())
			if d == storage.LogDisk {
				n.handing = handing{}
			}
		}
		*s = stall{on: on, what: what, seen: now}
		stalledFor := time.Duration(0)
		if on {
			stalledFor = what.For
		}
		n.cfg.Metrics.DiskStalled[d].Set(int64(stalledFor))
		if d == storage.LogDisk {
			since := time.Duration(0)
			if on {
				since = max(now-what.For, 1)
			}
			n.stalledSince.Store(int64(since))
		}
	}
}

// handing is the handing over of leadership by a leader whose log's disk is
// stalled.
type handing struct {
	tried []uint64 // targets, in this round
	// next is when another target is tried: raft gives one up after an election
	// timeout.
	next   time.Duration
	lonely bool // it was said that nobody could take over
}

// handOver gives leadership to a voter that can lead, if there is one. The loop
// calls it while this member leads and its log's disk is stalled.
func (n *Node) handOver(now time.Duration) {
	h := &n.handing
	if now < h.next {
		return
	}
	able := n.ableWithoutMe()
	if able == nil {
		if !h.lonely {
			h.lonely = true
			n.cfg.Logger.Warn("the log's disk does not answer, and leadership stays here: no majority of the voters could go on without this member")
		}
		return
	}
	pick := slices.IndexFunc(able, func(id uint64) bool { return !slices.Contains(h.tried, id) })
	if pick < 0 {
		h.tried, pick = h.tried[:0], 0
	}
	target := able[pick]
	h.tried = append(h.tried, target)
	h.next = now + n.electionTimeout() + n.cfg.Tick
	n.cfg.Logger.Warn("leadership is handed over: the log's disk does not answer", "to", fmt.Sprintf("%x", target))
	n.rn.TransferLeader(target)
}

// ableWithoutMe returns the voters that answer and keep up, who has most of the
// log first; nil if they are no majority.
func (n *Node) ableWithoutMe() (able []uint64) {
	progress := n.progress()
	voters := n.rn.Status().Config.Voters
	for id := range voters.IDs() {
		if p := progress[id]; id != n.cfg.ID && p.Active && !p.Stuck {
			able = append(able, id)
		}
	}
	for _, half := range voters {
		count := 0
		for _, id := range able {
			if _, ok := half[id]; ok {
				count++
			}
		}
		if count < len(half)/2+1 && len(half) > 0 {
			return nil
		}
	}
	slices.SortFunc(able, func(a, b uint64) int {
		return cmp.Or(cmp.Compare(progress[b].Match, progress[a].Match), cmp.Compare(a, b))
	})
	return able
}

// ack is how far a member has acknowledged the log.
type ack struct {
	match uint64
	at    time.Duration // when it last came further, or had nothing left to acknowledge
}

// noteAck notes how far a member has come. Who has entries to acknowledge and
// does not for stallTime is stuck: its disk is stalled, or it is being sent a
// snapshot. It may well answer heartbeats.
func (n *Node) noteAck(now time.Duration, id uint64, pr tracker.Progress, last uint64) {
	a, known := n.acks[id]
	if !known || pr.Match != a.match || pr.Match >= last && pr.Match+1 >= pr.Next {
		n.acks[id] = ack{pr.Match, now}
	}
}

func (n *Node) stuck(now time.Duration, id uint64) bool {
	a, known := n.acks[id]
	return known && now-a.at > n.stallTime()
}

// stalled reports whether the log's disk is. It is the loop's.
func (n *Node) stalled() bool { return n.stalls[storage.LogDisk].on }

// dropsWhileStalled reports whether a message is one that a member with a stalled
// log must not hear: the order to stand for election.
func dropsWhileStalled(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgTimeoutNow }
