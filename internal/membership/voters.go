package membership

import (
	"slices"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// voters plans for the members with a vote: growth first, then what is too many.
func (v *view) voters() Plan {
	if p := v.grow(); p.Act != Rest {
		return p
	}
	if p := v.shrink(); p.Act != Rest {
		return p
	}
	if text := v.evidence(v.newest.GetVoters()); text != "" {
		return plan(Wait, VotersNotInSync, "not every voter is in sync: %s", text)
	}
	return nothing()
}

// grow fills the seats of voters.
func (v *view) grow() Plan {
	voters, learners := v.newest.GetVoters(), v.newest.GetLearners()
	wait := nothing()
	var ready []*adminpb.Member // learners that have caught up, for a seat of their own
	seated := 0
	for i := range v.Target.Voters {
		s := Seat{false, i}
		voter, learner := byName(voters, s.ServerName()), byName(learners, s.ServerName())
		if voter != nil {
			seated++
		}
		p := v.join(s, voter, learner)
		if p.Act == SetPods && (wait.Act == Wait || len(ready) >= 2) {
			break // one after another
		}
		switch {
		case p.Act.Changes():
			// A learner that can be promoted goes first: an even number of voters
			// is not left waiting for somebody else.
			if q := v.promote(ready, seated, false); q.Act.Changes() {
				return q
			}
			return p
		case p.Act == Wait && wait.Act != Wait:
			wait = p
		}
		if learner == nil || p.Act == Wait {
			continue
		}
		switch {
		case synced(learner) && voter != nil:
			if !v.majority(v.after(learner, voter)) {
				return plan(Wait, QuorumAtRisk, "%v would take its old seat, and too few of the voters would be in sync: %s", v.member(learner), v.evidence(v.after(learner, voter)))
			}
			return v.order(Promote, v.member(learner), ReplacingMember, "%v has caught up, and takes the seat of member %x", v.member(learner), voter.GetId())
		case synced(learner):
			ready = append(ready, learner)
		case learner.GetConnected():
			// One at a time copies from the others.
			if q := v.promote(ready, seated, false); q.Act.Changes() {
				return q
			}
			return plan(Wait, CatchingUp, "%v is catching up", v.member(learner))
		case wait.Act != Wait:
			wait = plan(Wait, AwaitingPod, "%v does not answer the leader: %s", v.member(learner), v.why(s))
		}
	}
	if q := v.promote(ready, seated, true); q.Act.Changes() || wait.Act != Wait {
		return q
	}
	return wait
}

// promote gives learners their votes: two at a time, or the last one. all says
// that every seat has been looked at.
func (v *view) promote(ready []*adminpb.Member, seated int, all bool) Plan {
	if len(ready) == 0 {
		return nothing()
	}
	m := v.member(ready[0])
	n := len(v.newest.GetVoters())
	if n%2 == 1 && len(ready) < 2 && !(all && v.Target.Voters-seated == 1) {
		return plan(Wait, AwaitingSecondLearner, "%v has caught up; it is promoted together with the next one, since %d voters bear no more failures than %d", m, n+1, n)
	}
	if after := v.after(ready[0], nil); !v.majority(after) {
		return plan(Wait, QuorumAtRisk, "%v has caught up, and with it too few of the voters would be in sync: %s", m, v.evidence(after))
	}
	return v.order(Promote, m, ScalingUp, "%v has caught up, and becomes a voter: %d of %d", m, n+1, v.Target.Voters)
}

// after is who votes with one more and without another.
func (v *view) after(in, out *adminpb.Member) (list []*adminpb.Member) {
	for _, m := range v.newest.GetVoters() {
		if out == nil || m.GetId() != out.GetId() {
			list = append(list, m)
		}
	}
	if in != nil {
		list = append(list, in)
	}
	return list
}

// majority tells whether most of the voters are in sync.
func (v *view) majority(voters []*adminpb.Member) bool {
	n := 0
	for _, m := range voters {
		if synced(m) {
			n++
		}
	}
	return n >= len(voters)/2+1
}

// shrink takes out the voters that are too many, and then their pods. Every seat
// that stays has its voter.
func (v *view) shrink() Plan {
	var stay, surplus []*adminpb.Member
	for _, m := range v.newest.GetVoters() {
		if s, ok := SeatOf(m.GetName()); ok && !s.Observer && s.Ordinal < v.Target.Voters {
			stay = append(stay, m)
		} else {
			surplus = append(surplus, m)
		}
	}
	if len(surplus) == 0 {
		if v.Voters.Replicas > v.Target.Voters {
			return v.pods(Target{v.Target.Voters, v.Observers.Replicas}, ScalingDown, "pods of voters that were taken out go: %d to %d", v.Voters.Replicas, v.Target.Voters)
		}
		return nothing()
	}
	if text := v.evidence(stay); text != "" {
		return plan(Wait, VotersNotInSync, "%d voters are to stay, and not all of them are in sync: %s", len(stay), text)
	}
	slices.SortFunc(stay, func(a, b *adminpb.Member) int { return int(a.GetName() - b.GetName()) })
	if id := v.leader.Status.GetMemberId(); slices.ContainsFunc(surplus, func(m *adminpb.Member) bool { return m.GetId() == id }) {
		return v.order(TransferLeadership, v.member(stay[0]), ScalingDown, "%s leads and is to be taken out: it hands over to %v",
			describe(v.leader.ServerName(), id), v.member(stay[0]))
	}
	// First those that do not answer, then the highest.
	slices.SortFunc(surplus, func(a, b *adminpb.Member) int {
		if synced(a) != synced(b) {
			if synced(b) {
				return -1
			}
			return 1
		}
		return int(b.GetName() - a.GetName())
	})
	batch := surplus[:1]
	if len(v.newest.GetVoters())%2 == 1 && len(surplus) > 1 {
		batch = surplus[:2]
	}
	rest := v.newest.GetVoters()
	for _, gone := range batch {
		rest = slices.DeleteFunc(slices.Clone(rest), func(m *adminpb.Member) bool { return m.GetId() == gone.GetId() })
		if !v.majority(rest) {
			return plan(Wait, QuorumAtRisk, "without %v too few voters would be in sync: %s", v.member(gone), v.evidence(rest))
		}
	}
	if p := v.drain(batch); p.Act != Rest {
		return p
	}
	m := v.member(batch[0])
	p := v.order(Remove, m, ScalingDown, "%v is taken out: %d voters, on the way to %d", m, len(v.newest.GetVoters())-1, v.Target.Voters)
	p.Drained = v.podNames(batch)
	return p
}
