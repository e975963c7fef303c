package replica

import "testing"

// When the leader is gone, the others do not wait for raft's timeout: also not if
// the one that stands for election first asks before the other has noticed, and the
// other, which comes next, is behind it.
func TestElectionsOutOfTurn(t *testing.T) {
	g := newGroup(t, 3)
	lead := g.leader()
	lead.put()
	g.pass(groupElection)
	var others []*groupNode
	for _, m := range g.nodes {
		if m != lead {
			others = append(others, m)
		}
	}
	first, second := others[0], others[1]
	second.cut = true
	lead.put()
	g.pass(groupTick)
	if len(first.got) != len(lead.got) || len(second.got) != len(lead.got)-1 {
		t.Fatalf("applied: %d, %d, and %d at the leader", len(first.got), len(second.got), len(lead.got))
	}
	second.cut, lead.cut = false, true
	gone := lead.cfg.ID
	first.PeerLost(gone, true)
	g.pass(groupTick) // the first one's question is refused
	second.PeerLost(gone, true)
	took := g.until("led by the first", groupElection, func() bool { return first.Role().IsLeader })
	if took > 5*groupTick {
		t.Errorf("there is a leader after %v; a tick is %v, an election timeout %v", took, groupTick, groupElection)
	}
	if first.Role().Term != lead.Role().Term+1 {
		t.Errorf("term %d, and %d before: members have disturbed each other", first.Role().Term, lead.Role().Term)
	}
}
