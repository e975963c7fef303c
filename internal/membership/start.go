package membership

import (
	"slices"
	"strings"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// ask plans as long as it is not known which ensemble this resource stands for:
// one that is there already, or a new one.
func (v *view) ask() Plan {
	if v.Want.Voters == 0 {
		if !v.Voters.Exists || !v.Observers.Exists || v.replicas() != (Target{}) {
			return v.pods(Target{}, Parking, "no voters are wanted: there are no pods, and no ensemble yet")
		}
		return plan(Rest, Parked, "no voters are wanted, and no ensemble has been made yet")
	}
	// Every volume gets a pod, so that it can be asked what is on it.
	to := Target{max(v.Want.Voters, v.Voters.covers()), max(v.Want.Observers, v.Observers.covers())}
	if to != v.replicas() || !v.Voters.Exists || !v.Observers.Exists {
		return v.pods(to, Creating, "pods for %v, of which there are to be %v", to, v.Want)
	}
	silent := v.silent()
	if p, ok := v.adopt(silent); ok {
		return p
	}
	if len(silent) > 0 {
		return plan(Wait, AskingMembers, "every pod is asked for data before an ensemble is made: %s", strings.Join(silent, "; "))
	}
	var refusing []string
	for _, p := range v.Pods {
		if refuses(p.Status) || p.Status.GetClusterId() != "" {
			refusing = append(refusing, v.why(p.Seat))
		} else if !awaits(p.Status) || p.Terminating {
			return plan(Wait, AskingMembers, "%s", v.why(p.Seat))
		}
	}
	if len(refusing) > 0 {
		return plan(Hold, OnlyRefusingMembers, "the only data there is belongs to members that are no longer part of their ensemble: %s; "+
			"no ensemble is made beside it. Bring back the volumes of the others, or delete these", strings.Join(refusing, "; "))
	}
	first := v.pod(Seat{})
	p := plan(LatchBootstrap, Founding, "all %d pods answer and are empty: ensemble %s begins with %s", len(v.Pods), v.FreshClusterID, describe(first.ServerName(), first.Status.GetMemberId()))
	p.Latches = v.Latches
	p.Latches.ClusterID, p.Latches.FirstMember = v.FreshClusterID, first.Status.GetMemberId()
	return p
}

// adopt plans for data that is there.
func (v *view) adopt(silent []string) (Plan, bool) {
	var found []*adminpb.StatusResponse
	for _, p := range v.Pods {
		if p.Status != nil && belongs(p.Status) {
			found = append(found, p.Status)
		}
	}
	// An ensemble that goes on under another id after a recovery is one.
	found = slices.DeleteFunc(found, func(old *adminpb.StatusResponse) bool {
		return slices.ContainsFunc(found, func(st *adminpb.StatusResponse) bool {
			return slices.Contains(st.GetFormerClusterIds(), old.GetClusterId())
		})
	})
	if len(found) == 0 {
		return Plan{}, false
	}
	newest := found[0]
	for _, st := range found {
		if st.GetClusterId() != newest.GetClusterId() {
			return plan(Hold, SeveralEnsembles, "%s belongs to ensemble %s, and %s to %s; nothing is done until the volumes of only one of them are there",
				describe(newest.GetName(), newest.GetMemberId()), newest.GetClusterId(), describe(st.GetName(), st.GetMemberId()), st.GetClusterId()), true
		}
		if st.GetConfigurationIndex() > newest.GetConfigurationIndex() {
			newest = st
		}
	}
	answering := 0
	for _, m := range newest.GetVoters() {
		if slices.ContainsFunc(found, func(st *adminpb.StatusResponse) bool { return st.GetMemberId() == m.GetId() }) {
			answering++
		}
	}
	if len(silent) > 0 && answering < len(newest.GetVoters())/2+1 && !slices.ContainsFunc(found, (*adminpb.StatusResponse).GetHasQuorum) {
		return plan(Wait, AskingMembers, "%d members of ensemble %s answer; the others are asked first: %s", len(found), newest.GetClusterId(), strings.Join(silent, "; ")), true
	}
	p := plan(LatchEnsemble, EnsembleFound, "%d members with the data of ensemble %s answer: it goes on", len(found), newest.GetClusterId())
	p.Latches = v.Latches
	p.Latches.ClusterID, p.Latches.FirstMember, p.Latches.Bootstrapped = newest.GetClusterId(), 0, true
	return p, true
}

// bootstrap plans between the latch and the confirmation of the one Bootstrap
// call. It may have been made already, by an operator that died over it.
func (v *view) bootstrap() Plan {
	if p, ok := v.otherEnsemble(); ok {
		return p
	}
	for _, p := range v.Pods {
		if p.Status != nil && belongs(p.Status) && p.Status.GetClusterId() == v.ClusterID {
			q := plan(LatchEnsemble, Founded, "ensemble %s has begun, with %s", v.ClusterID, describe(p.ServerName(), p.Status.GetMemberId()))
			q.Latches = v.Latches
			q.Latches.Bootstrapped = true
			return q
		}
	}
	first := v.pod(Seat{})
	if v.Want.Voters == 0 && (first == nil || first.Status == nil) {
		if !v.Voters.Exists || !v.Observers.Exists || v.replicas() != (Target{}) {
			return v.pods(Target{}, Parking, "no voters are wanted: the pods go; ensemble %s has not begun yet", v.ClusterID)
		}
		return plan(Rest, Parked, "no voters are wanted, and ensemble %s has not begun yet", v.ClusterID)
	}
	if have := v.replicas(); have.Voters == 0 || !v.Voters.Exists || !v.Observers.Exists {
		return v.pods(Target{max(have.Voters, v.Want.Voters, 1), max(have.Observers, v.Want.Observers)}, Creating, "ensemble %s begins in pod 0, which has to be there", v.ClusterID)
	}
	switch {
	case first == nil || first.Status == nil || first.Terminating:
		return plan(Wait, AwaitingFirstMember, "ensemble %s begins with %s: %s", v.ClusterID, describe(1, v.FirstMember), v.why(Seat{}))
	case first.Status.GetMemberId() != v.FirstMember && first.Status.GetMemberId() != 0:
		return plan(Hold, FirstMemberGone, "ensemble %s was to begin with %s, and that is not there any more: %s. Whether it had begun can't be known, so no other is made; "+
			"bring its volume back, or delete the resource with its volumes and create it again", v.ClusterID, describe(1, v.FirstMember), v.why(Seat{}))
	case !awaits(first.Status):
		return plan(Wait, AwaitingFirstMember, "%s", v.why(Seat{}))
	}
	q := plan(Bootstrap, Founding, "ensemble %s is made of %s alone; the others are added to it", v.ClusterID, describe(1, v.FirstMember))
	q.Ask, q.ClusterID, q.Member = first.Name, v.ClusterID, Member{Seat: first.Seat, ID: v.FirstMember}
	return q
}
