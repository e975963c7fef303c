package replica

import "time"

// PeerLost tells that the streams to a peer broke; gone means that its process
// is not there any more. If it was the leader, the members do not wait for its
// heartbeats to be missed: the first in the order of ids stands for election at
// once, each next one a little later, so that they do not split the vote.
func (n *Node) PeerLost(id uint64, gone bool) {
	n.call(func() {
		if !gone || id != n.role.Leader || n.role.IsLeader {
			return
		}
		voters := n.rn.Status().Config.Voters[0].Slice()
		rank, voter := 0, false
		for _, v := range voters {
			if v == n.cfg.ID {
				voter = true
			}
			if v < n.cfg.ID && v != id {
				rank++
			}
		}
		if err := n.rn.ForgetLeader(); err != nil || !voter {
			return
		}
		turn := 2 * n.cfg.Tick
		n.hurry = hurry{at: n.cfg.Now() + time.Duration(rank)*turn, every: time.Duration(len(voters)-1) * turn, left: hurryRounds}
	})
}

// hurryRounds is how often each member stands for election out of turn. The first
// time may be in vain: its log is behind another's, or the other has not noticed yet
// that the leader is gone, and its vote is still the leader's.
const hurryRounds = 3

// hurry is elections that do not wait for raft's timeout, until there is a leader.
type hurry struct {
	at, every time.Duration
	left      int
}

// due tells whether an election is due, and when the next is.
func (h *hurry) due(now time.Duration) bool {
	if h.left == 0 || now < h.at {
		return false
	}
	h.left--
	h.at = now + h.every
	return true
}
