package membership

import (
	"fmt"
	"slices"
	"strings"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// Next plans the one next step.
func Next(o Observed) Plan {
	v := look(o)
	switch {
	case o.ClusterID == "":
		return v.ask()
	case !o.Bootstrapped:
		return v.bootstrap()
	}
	return v.steer()
}

// view is what is observed, and what follows from it.
type view struct {
	Observed
	// leader is the pod whose member leads the ensemble, confirmed by a quorum;
	// nil if there is none.
	leader *Pod
	// newest is the latest membership that anybody knows: the leader's own, or
	// the one with the highest index. nil if no member of the ensemble answers.
	newest *adminpb.StatusResponse
}

func look(o Observed) *view {
	v := &view{Observed: o}
	v.Pods = slices.Clone(o.Pods)
	slices.SortFunc(v.Pods, func(a, b Pod) int {
		if a.Observer != b.Observer {
			if b.Observer {
				return -1
			}
			return 1
		}
		return a.Ordinal - b.Ordinal
	})
	for i := range v.Pods {
		p := &v.Pods[i]
		if st := p.Status; st != nil && st.GetName() != p.ServerName() {
			p.Status, p.NoAnswer = nil, fmt.Sprintf("server.%d answers there, and not server.%d", st.GetName(), p.ServerName())
		}
	}
	if o.ClusterID == "" {
		return v
	}
	for i := range v.Pods {
		p := &v.Pods[i]
		st := p.Status
		if st == nil || !belongs(st) || st.GetClusterId() != o.ClusterID {
			continue
		}
		if leads(st) && (v.leader == nil || st.GetTerm() > v.leader.Status.GetTerm()) {
			v.leader = p
		}
		if v.newest == nil || st.GetConfigurationIndex() > v.newest.GetConfigurationIndex() {
			v.newest = st
		}
	}
	if v.leader != nil {
		v.newest = v.leader.Status
	}
	return v
}

func plan(act Act, reason Reason, format string, args ...any) Plan {
	return Plan{Act: act, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// pods plans SetPods, never fewer of one kind while it is about the other.
func (v *view) pods(t Target, reason Reason, format string, args ...any) Plan {
	p := plan(SetPods, reason, format, args...)
	p.Pods = t
	return p
}

// replicas is how many pods both StatefulSets are asked for now.
func (v *view) replicas() Target { return Target{v.Voters.Replicas, v.Observers.Replicas} }

// order plans a call to the leader about a member.
func (v *view) order(act Act, m Member, reason Reason, format string, args ...any) Plan {
	p := plan(act, reason, format, args...)
	p.Ask, p.Member, p.ClusterID, p.Index = v.leader.Name, m, v.ClusterID, v.leader.Status.GetConfigurationIndex()
	return p
}

// steer plans for an ensemble that exists.
func (v *view) steer() Plan {
	if p, ok := v.otherEnsemble(); ok {
		return p
	}
	switch {
	case v.Want.Voters == 0:
		return v.park()
	case v.Parked != Target{}:
		return v.unpark()
	case v.leader == nil:
		return v.leaderless()
	}
	if p, ok := v.restore(); ok {
		return p
	}
	if v.Target != v.Want {
		return v.retarget()
	}
	return v.change()
}

// otherEnsemble looks for a member that serves another ensemble.
func (v *view) otherEnsemble() (Plan, bool) {
	for _, p := range v.Pods {
		st := p.Status
		if st == nil || !belongs(st) || st.GetClusterId() == v.ClusterID || !st.GetHasQuorum() {
			continue
		}
		if slices.Contains(st.GetFormerClusterIds(), v.ClusterID) {
			q := plan(LatchEnsemble, EnsembleRecovered, "ensemble %s lost its majority and goes on as %s, from what %s had", v.ClusterID, st.GetClusterId(), describe(st.GetName(), st.GetMemberId()))
			q.Latches = v.Latches
			q.Latches.ClusterID = st.GetClusterId()
			return q, true
		}
		return plan(Hold, SeveralEnsembles, "%s in pod %s serves ensemble %s, and this is %s; nothing is changed until only one of them is there",
			describe(st.GetName(), st.GetMemberId()), p.Name, st.GetClusterId(), v.ClusterID), true
	}
	return Plan{}, false
}

// needs is how many pods it takes so that every voter and every observer of a
// membership has one.
func needs(st *adminpb.StatusResponse) (t Target) {
	for _, m := range st.GetVoters() {
		if s, ok := SeatOf(m.GetName()); ok && !s.Observer {
			t.Voters = max(t.Voters, s.Ordinal+1)
		}
	}
	for _, m := range st.GetLearners() {
		if s, ok := SeatOf(m.GetName()); ok && s.Observer && m.GetObserver() {
			t.Observers = max(t.Observers, s.Ordinal+1)
		}
	}
	return t
}

// restore brings pods back for members that have none: a StatefulSet that was
// deleted or scaled by hand, or volumes of a larger ensemble under a new resource.
func (v *view) restore() (Plan, bool) {
	need, have := needs(v.newest), v.replicas()
	to := Target{max(need.Voters, have.Voters), max(need.Observers, have.Observers)}
	if to == have && v.Voters.Exists && v.Observers.Exists {
		return Plan{}, false
	}
	return v.pods(to, RestoringPods, "the ensemble has members for %v, and there are pods for %v", need, have), true
}

// retarget latches the size that the spec asks for, once the step under way is
// finished. A step that can't be finished does not keep the spec waiting.
func (v *view) retarget() Plan {
	if v.Target != (Target{}) && len(v.newest.GetVoters())%2 == 0 {
		if p := v.change(); p.Act.Changes() {
			p.Message += fmt.Sprintf("; after that step: %v, as the spec says now", v.Want)
			return p
		}
	}
	p := plan(LatchTarget, v.firstTarget(), "the ensemble is brought to %v", v.Want)
	if v.Target != (Target{}) {
		p.Reason = SpecChanged
		p.Message += fmt.Sprintf(", and not to %v any more", v.Target)
	}
	p.Latches = v.Latches
	p.Latches.Target = v.Want
	return p
}

// firstTarget is what the first target means for an ensemble that was just founded
// or found: nobody has changed the spec.
func (v *view) firstTarget() Reason {
	switch has := needs(v.newest); {
	case has.Voters < v.Want.Voters, has.Voters == v.Want.Voters && has.Observers < v.Want.Observers:
		return ScalingUp
	case has != v.Want:
		return ScalingDown
	}
	return Founded
}

func (v *view) park() Plan {
	if v.Parked == (Target{}) {
		if v.leader != nil && v.Target != (Target{}) && len(v.newest.GetVoters())%2 == 0 {
			if p := v.change(); p.Act.Changes() {
				p.Message += "; after that step the ensemble is parked"
				return p
			}
		}
		size := v.replicas()
		if v.newest != nil {
			n := needs(v.newest)
			size = Target{max(size.Voters, n.Voters), max(size.Observers, n.Observers)}
		}
		if size.Voters == 0 {
			size = Target{max(1, v.Target.Voters), v.Target.Observers}
		}
		p := plan(LatchParked, Parking, "no voters are wanted: the ensemble is parked at %v; its membership and data stay", size)
		p.Latches = v.Latches
		p.Latches.Parked = size
		return p
	}
	if !v.Voters.Exists || !v.Observers.Exists || v.replicas() != (Target{}) {
		return v.pods(Target{}, Parking, "no voters are wanted: the pods go; membership and data of %v stay", v.Parked)
	}
	if p := v.leaving(); p.Act != Rest {
		p.Reason = Parking
		return p
	}
	return plan(Rest, Parked, "no voters are wanted: %v are parked, with their data", v.Parked)
}

func (v *view) unpark() Plan {
	have := v.replicas()
	to := Target{max(have.Voters, v.Parked.Voters), max(have.Observers, v.Parked.Observers)}
	switch {
	case to != have || !v.Voters.Exists || !v.Observers.Exists:
		return v.pods(to, Unparking, "the ensemble comes back as it was parked, at %v", v.Parked)
	case v.leader == nil:
		p := v.leaderless()
		if p.Reason == QuorumUnknown {
			p.Reason = Unparking // nobody has begun yet
		}
		return p
	}
	p := plan(LatchParked, Unparking, "the ensemble is back at %v, as it was parked", v.Parked)
	p.Latches = v.Latches
	p.Latches.Parked = Target{}
	return p
}

// leaderless says why nobody leads. It changes nothing but to bring back pods.
func (v *view) leaderless() Plan {
	if v.newest == nil {
		have := v.replicas()
		to := Target{max(have.Voters, v.Target.Voters, v.Parked.Voters, 1), max(have.Observers, v.Target.Observers, v.Parked.Observers)}
		if !v.Voters.Exists {
			to.Voters = max(to.Voters, v.Voters.covers())
		}
		if to != have || !v.Voters.Exists || !v.Observers.Exists {
			return v.pods(to, RestoringPods, "the ensemble is there, and its pods are not: %v", to)
		}
		if missing := v.silent(); len(missing) > 0 {
			return plan(Wait, QuorumUnknown, "no member of ensemble %s answers: %s", v.ClusterID, strings.Join(missing, "; "))
		}
		var all []string
		for _, p := range v.Pods {
			all = append(all, v.why(p.Seat))
		}
		return plan(Hold, EnsembleLost, "every pod answers, and none has the data of ensemble %s: %s; no other ensemble is made in its place", v.ClusterID, strings.Join(all, "; "))
	}
	if p, ok := v.restore(); ok {
		return p
	}
	voters := v.newest.GetVoters()
	var missing []string
	for _, m := range voters {
		s, ok := SeatOf(m.GetName())
		if p := v.pod(s); ok && p != nil && p.Status != nil && belongs(p.Status) && p.Status.GetMemberId() == m.GetId() {
			continue
		}
		missing = append(missing, fmt.Sprintf("%s: %s%s", describe(m.GetName(), m.GetId()), v.why(s), v.lastSeen(m.GetId())))
	}
	if len(voters) == 0 {
		// A member that has just been founded, or has just restarted, has not
		// read its own membership yet.
		return plan(Wait, AskingMembers, "ensemble %s is there, and the member that answers does not tell its membership yet", v.ClusterID)
	}
	if len(voters)-len(missing) >= len(voters)/2+1 {
		return plan(Wait, NoLeader, "%d of %d voters answer and have not elected a leader yet", len(voters)-len(missing), len(voters))
	}
	return plan(Wait, QuorumLost, "%d of %d voters answer, and it takes %d: %s", len(voters)-len(missing), len(voters), len(voters)/2+1, strings.Join(missing, "; "))
}

// lastSeen is what those that answer have heard of a member last.
func (v *view) lastSeen(id uint64) string {
	best := int64(-1)
	var zxid int64
	for _, p := range v.Pods {
		for _, s := range p.Status.GetSightings() {
			if s.GetMemberId() == id && s.GetSeenMsAgo() >= 0 && (best < 0 || s.GetSeenMsAgo() < best) {
				best, zxid = s.GetSeenMsAgo(), s.GetZxid()
			}
		}
	}
	if best < 0 {
		return ""
	}
	// The time itself would make every pass's message another one.
	return fmt.Sprintf(" (last heard of at zxid 0x%x)", zxid)
}

// silent lists the pods that are to be and do not answer.
func (v *view) silent() (out []string) {
	for _, observer := range []bool{false, true} {
		n := v.set(observer).Replicas
		for _, p := range v.Pods {
			if p.Observer == observer {
				n = max(n, p.Ordinal+1)
			}
		}
		for i := range n {
			s := Seat{observer, i}
			if p := v.pod(s); p == nil || p.Status == nil {
				out = append(out, fmt.Sprintf("server.%d: %s", s.ServerName(), v.why(s)))
			}
		}
	}
	if len(out) > 0 && len(v.Pods) == 0 {
		return []string{"there is no pod; if none comes, kubectl describe statefulset says why"}
	}
	return out
}

// Leader returns the pod whose member leads the ensemble, confirmed by a quorum;
// nil if there is none.
func Leader(o Observed) *Pod { return look(o).leader }

// Newest returns what is said by the member that knows the latest membership, which
// is the leader if there is one; nil if no member of the ensemble answers.
func Newest(o Observed) *adminpb.StatusResponse { return look(o).newest }
