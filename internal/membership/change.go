package membership

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// change plans the next step from what the ensemble is to v.Target. There is a
// leader.
func (v *view) change() Plan {
	p := v.clean()
	if p.Act == Rest {
		p.Message = "the ensemble has " + v.Target.String() + ", as the spec says"
	}
	for _, next := range []func() Plan{v.misplaced, v.voters, v.observers, v.leaving} {
		if p.Act.Changes() {
			break
		}
		q := next()
		drained := append(p.Drained, q.Drained...)
		// The first that is not at rest is the one that is told, unless there is
		// something to do.
		if p.Act == Rest && q.Act != Rest || q.Act.Changes() {
			p = q
		}
		p.Drained = drained
	}
	p.Unsettled = p.Act.Changes() || len(p.Drained) > 0 || len(v.newest.GetVoters())%2 == 0
	return p
}

func nothing() Plan { return Plan{Act: Rest, Reason: AtTarget} }

// size is what a kind of members is brought to.
func (v *view) size(observer bool) int {
	if observer {
		return v.Target.Observers
	}
	return v.Target.Voters
}

// clean lets members begin anew that returned on data which is not the
// ensemble's, or can't be read. Their data is moved aside and not deleted.
func (v *view) clean() Plan {
	for _, p := range v.Pods {
		st := p.Status
		if st == nil || p.Terminating || !refuses(st) || p.Ordinal >= v.size(p.Observer) {
			continue
		}
		if st.GetMembership() == adminpb.Membership_MEMBERSHIP_UNREADABLE {
			if !v.spares(p.Seat) {
				continue
			}
			q := plan(StartClean, CleaningMember, "server.%d can't read its data, and all others are well: it begins anew: %s", st.GetName(), standing(st))
			q.Ask, q.ClusterID, q.Member = p.Name, st.GetClusterId(), Member{Seat: p.Seat, ID: st.GetMemberId()}
			return q
		}
		if v.has(st.GetMemberId()) {
			continue
		}
		if st.GetMembership() == adminpb.Membership_MEMBERSHIP_FOREIGN && st.GetClusterId() == v.ClusterID {
			continue // it has met strangers; it goes on by itself once it meets its own
		}
		q := plan(StartClean, CleaningMember, "%s returned on old data, and begins anew: %s", describe(st.GetName(), st.GetMemberId()), standing(st))
		q.Ask, q.ClusterID, q.Member = p.Name, st.GetClusterId(), Member{Seat: p.Seat, ID: st.GetMemberId()}
		return q
	}
	return nothing()
}

// spares tells whether all voters but the one of a seat are in sync: its data is
// not needed.
func (v *view) spares(s Seat) bool {
	for _, m := range v.newest.GetVoters() {
		if m.GetName() != s.ServerName() && !synced(m) {
			return false
		}
	}
	return true
}

// misplaced takes out members without a vote that are in the way: no longer
// wanted, or of the wrong kind for their number.
func (v *view) misplaced() Plan {
	for _, m := range v.newest.GetLearners() {
		s, ok := SeatOf(m.GetName())
		switch {
		case !ok || s.Observer != m.GetObserver():
			return v.order(Remove, v.member(m), ScalingDown, "%s has no place in this ensemble (observer: %t)", describe(m.GetName(), m.GetId()), m.GetObserver())
		case !s.Observer && s.Ordinal >= v.Target.Voters:
			return v.order(Remove, v.member(m), ScalingDown, "%s was to become a voter, and is not wanted any more", describe(m.GetName(), m.GetId()))
		}
	}
	return nothing()
}

func (v *view) has(id uint64) bool {
	is := func(m *adminpb.Member) bool { return m.GetId() == id }
	return slices.ContainsFunc(v.newest.GetVoters(), is) || slices.ContainsFunc(v.newest.GetLearners(), is)
}

func (v *view) member(m *adminpb.Member) Member {
	s, _ := SeatOf(m.GetName())
	return Member{Seat: s, ID: m.GetId(), PeerAddress: m.GetPeerAddress(), ClientAddress: m.GetClientAddress()}
}

func byName(list []*adminpb.Member, name int32) *adminpb.Member {
	i := slices.IndexFunc(list, func(m *adminpb.Member) bool { return m.GetName() == name })
	if i < 0 {
		return nil
	}
	return list[i]
}

func synced(m *adminpb.Member) bool { return m.GetConnected() && m.GetSynced() }

// join plans for a seat that is to be taken: its pod, then its learner. voter
// and learner are who has the seat's number now, if anybody. It rests once a
// learner or a voter of this very pod is in the membership.
func (v *view) join(s Seat, voter, learner *adminpb.Member) Plan {
	p, name := v.pod(s), s.ServerName()
	switch {
	case s.Ordinal >= v.set(s.Observer).Replicas:
		to := v.replicas()
		if s.Observer {
			to.Observers = s.Ordinal + 1
		} else {
			to.Voters = s.Ordinal + 1
		}
		return v.pods(to, ScalingUp, "a pod for server.%d, on the way to %v", name, v.Target)
	case p == nil || p.Status == nil || p.Terminating:
		if voter != nil || !s.Observer && learner != nil && synced(learner) {
			return nothing() // whether it is well is the leader's to say
		}
		return plan(Wait, AwaitingPod, "server.%d is to join: %s", name, v.why(s))
	case refuses(p.Status):
		return plan(Wait, AwaitingPod, "server.%d is to join: %s", name, v.why(s))
	}
	id := p.Status.GetMemberId()
	if !awaits(p.Status) {
		switch {
		case v.has(id):
			return nothing()
		case belongs(p.Status) && p.Status.GetClusterId() == v.ClusterID:
			return plan(Wait, AwaitingRefusal, "%s is not part of the ensemble any more, and has not heard of it yet", describe(name, id))
		}
		return plan(Wait, AwaitingPod, "server.%d is to join: %s", name, v.why(s))
	}
	reason, text := ScalingUp, "is taken in as a learner"
	if s.Observer {
		text = "is taken in as an observer"
	}
	for _, old := range []*adminpb.Member{voter, learner} {
		switch {
		case old == nil || old.GetId() == id:
		case old.GetConnected():
			return plan(Wait, FormerMemberAnswers, "%s is empty, and %s still answers the leader", describe(name, id), describe(name, old.GetId()))
		default:
			reason, text = ReplacingMember, fmt.Sprintf("is taken in, in the place of member %x, whose data is gone", old.GetId())
		}
	}
	return v.order(AddLearner, Member{Seat: s, ID: id, PeerAddress: p.Status.GetPeerAddress(), ClientAddress: p.Status.GetClientAddress()}, reason,
		"%s %s", describe(name, id), text)
}

// observers plans for the members that stay without a vote.
func (v *view) observers() Plan {
	wait := nothing()
	keep := func(p Plan) {
		if wait.Act != Wait {
			wait = p
		}
	}
	for i := range v.Target.Observers {
		s := Seat{true, i}
		m := byName(v.newest.GetLearners(), s.ServerName())
		p := v.join(s, nil, m)
		switch {
		case p.Act == SetPods && wait.Act == Wait: // one after another
		case p.Act.Changes():
			return p
		case p.Act == Wait:
			keep(p)
		case m != nil && !synced(m):
			keep(plan(Wait, ObserversNotInSync, "%s is not in sync: %s", describe(m.GetName(), m.GetId()), v.why(s)))
		}
		if p.Act == SetPods {
			break
		}
	}
	surplus := slices.DeleteFunc(slices.Clone(v.newest.GetLearners()), func(m *adminpb.Member) bool {
		s, _ := SeatOf(m.GetName())
		return !s.Observer || s.Ordinal < v.Target.Observers
	})
	slices.SortFunc(surplus, func(a, b *adminpb.Member) int { return int(b.GetName() - a.GetName()) })
	if len(surplus) > 0 {
		if p := v.drain(surplus[:1]); p.Act != Rest {
			return p
		}
		m := v.member(surplus[0])
		p := v.order(Remove, m, ScalingDown, "%v is taken out, on the way to %v", m, v.Target)
		p.Drained = v.podNames(surplus[:1])
		return p
	}
	if v.Observers.Replicas > v.Target.Observers {
		return v.pods(Target{v.Voters.Replicas, v.Target.Observers}, ScalingDown, "pods of observers that were taken out go: %d to %d", v.Observers.Replicas, v.Target.Observers)
	}
	return wait
}

// leaving waits for pods that are too many to be gone: until then something of the
// larger ensemble still runs.
func (v *view) leaving() Plan {
	var names []string
	for _, p := range v.Pods {
		if p.Ordinal >= v.set(p.Observer).Replicas {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return nothing()
	}
	return plan(Wait, PodsLeaving, "pods that are not wanted any more are terminating: %s", strings.Join(names, ", "))
}

// drain lets the clients of members go that are about to. It rests once they
// have gone, or have had their time.
func (v *view) drain(going []*adminpb.Member) Plan {
	names := v.podNames(going)
	for _, m := range going {
		s, _ := SeatOf(m.GetName())
		p := v.pod(s)
		if p == nil || p.Status == nil || p.Status.GetMemberId() != m.GetId() || !p.Status.GetServing() {
			continue
		}
		switch d := p.Status.GetDrain(); {
		case !d.GetActive():
			q := plan(Drain, Draining, "clients of %s are let go before it is taken out", describe(m.GetName(), m.GetId()))
			q.Ask, q.Member, q.Drained = p.Name, v.member(m), names
			return q
		case d.GetRemaining() > 0 && time.Duration(d.GetActiveMs())*time.Millisecond < v.DrainPatience:
			q := plan(Wait, Draining, "clients of %s are let go before it is taken out", describe(m.GetName(), m.GetId()))
			q.Drained = names
			return q
		}
	}
	return nothing()
}

func (v *view) podNames(members []*adminpb.Member) (names []string) {
	for _, m := range members {
		s, _ := SeatOf(m.GetName())
		if p := v.pod(s); p != nil {
			names = append(names, p.Name)
		}
	}
	return names
}

// evidence says of members that are not in sync why.
func (v *view) evidence(members []*adminpb.Member) string {
	var out []string
	for _, m := range members {
		if !synced(m) {
			s, _ := SeatOf(m.GetName())
			out = append(out, fmt.Sprintf("%s: %s", describe(m.GetName(), m.GetId()), v.why(s)))
		}
	}
	return strings.Join(out, "; ")
}
