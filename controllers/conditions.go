package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/membership"
	"github.com/conclave-dev/conclave/internal/rollout"
)

// probeGrace is how long a member may answer and its pod not be ready: it copies
// what the others have, or elects with them, and kubelet asks every few seconds.
const probeGrace = 15 * time.Second

const (
	yes     = metav1.ConditionTrue
	no      = metav1.ConditionFalse
	unknown = metav1.ConditionUnknown
)

// verdict is a condition without what all have in common.
type verdict struct {
	status  metav1.ConditionStatus
	reason  string
	message string
}

// setConditions sets all of them on every pass, but for those that show writes.
func (p *pass) setConditions() {
	for kind, judge := range map[string]func() verdict{
		v1alpha1.ConditionAvailable:     p.available,
		v1alpha1.ConditionProgressing:   p.progressing,
		v1alpha1.ConditionDegraded:      p.degraded,
		v1alpha1.ConditionQuorumHealthy: p.quorum,
		v1alpha1.ConditionMembersInSync: p.inSync,
	} {
		v := p.overall(kind)
		if v == nil {
			w := judge()
			v = &w
		}
		p.condition(kind, *v)
	}
}

func (p *pass) condition(kind string, v verdict) {
	meta.SetStatusCondition(&p.status.Conditions, metav1.Condition{Type: kind, Status: v.status, Reason: v.reason,
		Message: limit(v.message, 1500), ObservedGeneration: p.cluster.Generation, LastTransitionTime: metav1.NewTime(p.Now())})
}

// overall is what is said of every condition in some situations; nil otherwise.
func (p *pass) overall(kind string) *verdict {
	switch {
	case !p.cluster.DeletionTimestamp.IsZero():
		return &verdict{no, v1alpha1.ReasonDeleting, "the cluster is being deleted; its volumes are " + map[bool]string{true: "deleted", false: "kept"}[p.cluster.Spec.Storage.Retention.WhenDeleted == v1alpha1.RetentionDelete]}
	case p.plan.Act == "" && p.trouble == nil:
		return &verdict{unknown, v1alpha1.ReasonUnknown, "the operator has just begun to look at the cluster"}
	case p.plan.Act == "" && kind != p.trouble.condition:
		return &verdict{unknown, v1alpha1.ReasonUnknown, p.trouble.message}
	case p.plan.Reason == membership.Parking && p.plan.Act == membership.Wait && p.trouble == nil && kind != v1alpha1.ConditionProgressing:
		return &verdict{no, v1alpha1.ReasonParked, p.plan.Message} // nothing serves any more
	case p.plan.Reason == membership.Parked && p.trouble == nil:
		if kind == v1alpha1.ConditionProgressing && p.cluster.Spec.Paused {
			return nil
		}
		return &verdict{no, v1alpha1.ReasonParked, p.plan.Message}
	}
	return nil
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func (p *pass) founded() bool {
	b := p.status.Bootstrap
	return b != nil && b.Succeeded
}

func (p *pass) available() verdict {
	ready := p.status.ReadyReplicas + p.status.ReadyObservers
	switch leader := p.leader(); {
	case leader == nil && p.plan.Reason == membership.QuorumUnknown:
		return verdict{unknown, v1alpha1.ReasonUnknown, p.plan.Message}
	case !p.founded():
		return verdict{no, v1alpha1.ReasonNotFounded, "there is no ensemble yet"}
	case leader == nil:
		return verdict{no, v1alpha1.ReasonNoLeader, p.plan.Message}
	case ready == 0:
		return verdict{no, v1alpha1.ReasonNoReadyMember, "there is a leader, and no member that takes clients"}
	case len(leader.GetVoters()) == 1 && want(p.cluster).Voters == 1:
		return verdict{yes, v1alpha1.ReasonServingAlone, count(int(ready), "member takes clients", "members take clients") + "; the only voter has no PodDisruptionBudget: clients wait whenever its pod is away"}
	default:
		return verdict{yes, v1alpha1.ReasonServing, count(int(ready), "member takes clients", "members take clients")}
	}
}

// progress is what Progressing says of each reason of the membership's planner.
var progress = map[membership.Reason]verdict{
	membership.Creating:              {yes, v1alpha1.ReasonCreatingObjects, ""},
	membership.EnsembleFound:         {yes, v1alpha1.ReasonLookingForData, ""},
	membership.EnsembleRecovered:     {yes, v1alpha1.ReasonRecovering, ""},
	membership.Founding:              {yes, v1alpha1.ReasonFounding, ""},
	membership.Founded:               {yes, v1alpha1.ReasonFounding, ""},
	membership.SpecChanged:           {yes, v1alpha1.ReasonAddingMember, ""},
	membership.ScalingUp:             {yes, v1alpha1.ReasonAddingMember, ""},
	membership.ScalingDown:           {yes, v1alpha1.ReasonRemovingMember, ""},
	membership.ReplacingMember:       {yes, v1alpha1.ReasonReplacingMember, ""},
	membership.CleaningMember:        {yes, v1alpha1.ReasonReplacingMember, ""},
	membership.RestoringPods:         {yes, v1alpha1.ReasonWaitingForPods, ""},
	membership.Parking:               {yes, v1alpha1.ReasonParking, ""},
	membership.Unparking:             {yes, v1alpha1.ReasonUnparking, ""},
	membership.AtTarget:              {no, v1alpha1.ReasonSettled, ""},
	membership.Parked:                {no, v1alpha1.ReasonParked, ""},
	membership.AskingMembers:         {yes, v1alpha1.ReasonLookingForData, ""},
	membership.AwaitingFirstMember:   {yes, v1alpha1.ReasonFounding, ""},
	membership.AwaitingPod:           {yes, v1alpha1.ReasonWaitingForPods, ""},
	membership.CatchingUp:            {yes, v1alpha1.ReasonAddingMember, ""},
	membership.AwaitingSecondLearner: {yes, v1alpha1.ReasonAddingMember, ""},
	membership.PodsLeaving:           {yes, v1alpha1.ReasonRemovingMember, ""},
	membership.Draining:              {yes, v1alpha1.ReasonRemovingMember, ""},
	membership.AwaitingRefusal:       {yes, v1alpha1.ReasonReplacingMember, ""},
	membership.FormerMemberAnswers:   {yes, v1alpha1.ReasonReplacingMember, ""},
	membership.VotersNotInSync:       {yes, v1alpha1.ReasonWaitingForSync, ""},
	membership.ObserversNotInSync:    {yes, v1alpha1.ReasonWaitingForSync, ""},
	membership.QuorumAtRisk:          {yes, v1alpha1.ReasonWaitingForSync, ""},
	membership.NoLeader:              {no, v1alpha1.ReasonWaitingForQuorum, ""},
	membership.QuorumLost:            {no, v1alpha1.ReasonWaitingForQuorum, ""},
	membership.QuorumUnknown:         {no, v1alpha1.ReasonWaitingForQuorum, ""},
	membership.SeveralEnsembles:      {no, v1alpha1.ReasonForeignData, ""},
	membership.OnlyRefusingMembers:   {no, v1alpha1.ReasonForeignData, ""},
	membership.FirstMemberGone:       {no, v1alpha1.ReasonDataMissing, ""},
	membership.EnsembleLost:          {no, v1alpha1.ReasonDataMissing, ""},
}

func (p *pass) progressing() verdict {
	text := sentence(string(p.plan.Reason), p.plan.Message)
	if p.failed != nil {
		text += "; the last try failed: " + p.failed.Error()
	}
	v := progress[p.plan.Reason]
	v.message = text
	switch p.plan.Act {
	case membership.TransferLeadership:
		v.reason = v1alpha1.ReasonMovingLeader
	case membership.Promote:
		v.reason = v1alpha1.ReasonPromotingMember
	case membership.LatchTarget:
		if p.plan.Latches.Target.Voters < p.size(false) {
			v.reason = v1alpha1.ReasonRemovingMember
		}
	}
	if p.comingBack() {
		v.status, v.reason = yes, v1alpha1.ReasonUnparking
	}
	// What a restart is at is more than that the others are in sync or wait for it.
	idle := p.plan.Act == membership.Rest || p.plan.Act == membership.Wait && v.status == yes
	if idle && p.rollingOut() {
		v = verdict{yes, v1alpha1.ReasonRollingOut, fmt.Sprintf("%d of %d pods have the new revision: %s: %s", p.roll.Updated, p.roll.Total, p.roll.Reason, p.roll.Message)}
		switch {
		case p.roll.Act == rollout.TransferLeadership:
			v.reason = v1alpha1.ReasonMovingLeader
		case p.roll.Act == rollout.Hold:
			v.status, v.reason = no, v1alpha1.ReasonRolloutStuck
		case p.roll.Reason == rollout.VotersNotInSync, p.roll.Reason == rollout.PodsNotReady, p.roll.Reason == rollout.AwaitingUpdated:
			v.reason = v1alpha1.ReasonWaitingForSync
			if p.stuck() && p.roll.Reason == rollout.AwaitingUpdated {
				v.status, v.reason = no, v1alpha1.ReasonRolloutStuck
			}
		}
	}
	if v.reason == v1alpha1.ReasonSettled {
		if p.aside != nil {
			v = verdict{no, p.aside.reason, p.aside.message + "; all else is as the spec says"}
		}
		if volumes := p.growing(); volumes != "" {
			v = verdict{yes, v1alpha1.ReasonGrowingVolumes, "volumes grow to what the spec says: " + volumes}
		} else if pods := p.arriving(); len(pods) > 0 {
			v = verdict{yes, v1alpha1.ReasonWaitingForPods, "every member is in sync, but these pods are not there, or not ready by kubelet's probes yet: " + strings.Join(pods, ", ")}
		}
	}
	switch r := p.status.Recovery; {
	case p.trouble != nil && p.trouble.condition == v1alpha1.ConditionProgressing:
		return verdict{no, p.trouble.reason, p.trouble.message}
	case p.cluster.Spec.Paused:
		return verdict{no, v1alpha1.ReasonPaused, "nothing is changed while spec.paused is set; what waits: " + v.message}
	case p.cluster.Spec.Recovery != nil && r != nil && r.ClusterID == "" && r.Message != "":
		return verdict{no, v1alpha1.ReasonRecoveryRefused, r.Message}
	case v.status == yes && p.stuck():
		return verdict{no, v1alpha1.ReasonStepStuck, fmt.Sprintf("since %s: %s", p.status.Target.Step.StartTime.UTC().Format("2006-01-02 15:04:05"), v.message)}
	}
	return v
}

// degraded names the worst that a member has, and says what all have.
func (p *pass) degraded() verdict {
	if p.trouble != nil && p.trouble.condition == v1alpha1.ConditionDegraded {
		return verdict{yes, p.trouble.reason, p.trouble.message}
	}
	worst, texts := "", []string(nil)
	note := func(reason, text string) {
		order := []string{v1alpha1.ReasonMemberDown, v1alpha1.ReasonDiskSlow, v1alpha1.ReasonMemberUnschedulable, v1alpha1.ReasonMemberCrashing,
			v1alpha1.ReasonBadImage, v1alpha1.ReasonMemberRefuses, v1alpha1.ReasonDiskFailed}
		rank := func(r string) int {
			for i, o := range order {
				if o == r {
					return i
				}
			}
			return -1
		}
		if rank(reason) > rank(worst) {
			worst = reason
		}
		texts = append(texts, text)
	}
	for i := range p.seen.pods {
		pod := &p.seen.pods[i]
		if seat, ok := p.seatOf(pod.Name); !ok || p.status.Target == nil || seat.Ordinal >= p.size(seat.Observer) {
			continue
		}
		st := p.seen.answers[pod.Name].Status
		disk := st.GetDisk()
		text := func(s string) string { return fmt.Sprintf("pod %s: %s", pod.Name, s) }
		switch why := problem(pod); {
		case disk.GetFailed() || st.GetMembership() == adminpb.Membership_MEMBERSHIP_UNREADABLE:
			note(v1alpha1.ReasonDiskFailed, text(sentence(disk.GetReason(), st.GetMembershipReason())))
		case p.plan.Reason == membership.CleaningMember && !p.joined(pod.Name): // it begins anew
		case st != nil && p.refuses(st):
			note(v1alpha1.ReasonMemberRefuses, text(st.GetMembershipReason()))
		case disk.GetSlow():
			note(v1alpha1.ReasonDiskSlow, text(disk.GetReason()))
		case strings.HasPrefix(why, unschedulable):
			note(v1alpha1.ReasonMemberUnschedulable, text(why))
		case strings.HasPrefix(why, crashLoop):
			note(v1alpha1.ReasonMemberCrashing, text(why))
		case strings.Contains(why, "Image"):
			note(v1alpha1.ReasonBadImage, text(why))
		case why != "":
			note(v1alpha1.ReasonMemberDown, text(why))
		case (st != nil || !p.settled()) && p.probeDue(pod), p.restarting(pod.Name): // on its way
		case st == nil || !podReady(pod) && !st.GetDrain().GetActive():
			for _, m := range p.status.Members {
				// One that is empty, or has no vote yet, is on its way.
				if m.Pod == pod.Name && p.joined(pod.Name) && (st == nil || m.Voter || m.Role == v1alpha1.RoleObserver) {
					note(v1alpha1.ReasonMemberDown, text(m.Message))
				}
			}
		}
	}
	for _, observer := range []bool{false, true} {
		for i := range p.size(observer) {
			name := p.podName(membership.Seat{Observer: observer, Ordinal: i})
			if p.joined(name) && !p.hasPod(name) && !p.restarting(name) && i < p.set(p.live(observer), observer).Replicas {
				note(v1alpha1.ReasonMemberDown, fmt.Sprintf("pod %s is not there (kubectl describe statefulset %s says why)", name, p.setName(observer)))
			}
		}
	}
	if p.plan.Reason == membership.QuorumLost && !p.comingBack() {
		return verdict{yes, v1alpha1.ReasonQuorumLost, sentence(p.plan.Message, strings.Join(texts, "; "))}
	}
	if worst != "" {
		return verdict{yes, worst, strings.Join(texts, "; ")}
	}
	return verdict{no, v1alpha1.ReasonAllWell, "nothing is broken"}
}

// joined tells whether a pod has a seat in the ensemble, or may have one: until it
// is taken in, that it does not answer yet is no fault.
func (p *pass) joined(pod string) bool {
	seat, ok := p.seatOf(pod)
	leader := p.leader()
	if !ok || !p.founded() || leader == nil {
		return ok && p.founded()
	}
	return slices.ContainsFunc(slices.Concat(leader.GetVoters(), leader.GetLearners()), func(m *adminpb.Member) bool { return m.GetName() == seat.ServerName() })
}

// restarting tells whether a pod is away because it is its turn in a roll, or
// comes back with the whole ensemble. If it does not come in time, it is down like
// any other.
func (p *pass) restarting(pod string) bool {
	r := p.status.Rollout
	switch {
	case p.stuck():
		return false
	case p.plan.Reason == membership.Unparking, p.comingBack():
		return true
	case r == nil || r.CompletionTime != nil:
		return false
	}
	switch p.roll.Reason {
	case rollout.Restarting, rollout.AwaitingUpdated, rollout.UpToDate: // the last one is of the revision before it is back
		return r.Member == pod
	}
	return false
}

// comingBack tells whether a parked ensemble has its pods again and too few of them
// answer yet. What they have lost meanwhile is no matter of time.
func (p *pass) comingBack() bool {
	return p.status.Parked != nil && want(p.cluster).Voters > 0 && !p.stuck() && !p.dataGone() &&
		(p.plan.Reason == membership.NoLeader || p.plan.Reason == membership.QuorumLost)
}

// settled tells whether status says that all has been reached. What breaks after
// that is a matter of Degraded, and not of a way that is still to go.
func (p *pass) settled() bool {
	c := meta.FindStatusCondition(p.cluster.Status.Conditions, v1alpha1.ConditionProgressing)
	return c != nil && c.Reason == v1alpha1.ReasonSettled
}

// arriving names the pods that are wanted and on their way to being there and ready,
// until all of them have been so once: kubelet sees late what a member says of itself.
func (p *pass) arriving() []string {
	if p.settled() || p.status.Target == nil {
		return nil
	}
	var names []string
	for _, observer := range []bool{false, true} {
		for i := range p.size(observer) {
			name := p.podName(membership.Seat{Observer: observer, Ordinal: i})
			at := slices.IndexFunc(p.seen.pods, func(pod corev1.Pod) bool { return pod.Name == name })
			if at < 0 || !podReady(&p.seen.pods[at]) && (p.probeDue(&p.seen.pods[at]) || p.seen.answers[name].Status.GetReady()) {
				names = append(names, name)
			}
		}
	}
	return names
}

// probeDue tells whether a pod has been unready for so short a time that kubelet
// may not have asked again. On the way to what the spec says that time begins when
// all members are in sync: until then a pod that is taken in can't be ready.
func (p *pass) probeDue(pod *corev1.Pod) bool {
	var since time.Time
	if c := meta.FindStatusCondition(p.cluster.Status.Conditions, v1alpha1.ConditionMembersInSync); c != nil && !p.settled() {
		since = c.LastTransitionTime.Time
	}
	for _, c := range pod.Status.Conditions {
		if c.Type != corev1.PodReady {
			continue
		}
		if c.LastTransitionTime.After(since) {
			since = c.LastTransitionTime.Time
		}
		return c.Status != corev1.ConditionTrue && p.Now().Sub(since) < probeGrace
	}
	return true
}

func (p *pass) size(observer bool) int {
	if p.status.Target == nil {
		return 0
	}
	if observer {
		return int(p.status.Target.Observers)
	}
	return int(p.status.Target.Replicas)
}

func (p *pass) hasPod(name string) bool {
	_, err := p.endpointOf(name)
	return err == nil
}

func (p *pass) refuses(st *adminpb.StatusResponse) bool {
	switch st.GetMembership() {
	case adminpb.Membership_MEMBERSHIP_REMOVED, adminpb.Membership_MEMBERSHIP_FOREIGN, adminpb.Membership_MEMBERSHIP_SUPERSEDED:
		return true
	}
	return false
}

func (p *pass) quorum() verdict {
	leader := p.leader()
	switch {
	case !p.founded():
		return verdict{no, v1alpha1.ReasonNotFounded, "there is no ensemble yet"}
	case leader != nil:
		n, up := len(leader.GetVoters()), 0
		for _, m := range leader.GetVoters() {
			if m.GetConnected() && m.GetSynced() {
				up++
			}
		}
		return verdict{yes, v1alpha1.ReasonQuorum, fmt.Sprintf("%d of %d voters are in sync; %d more may fail", up, n, max(0, up-(n/2+1)))}
	}
	switch p.plan.Reason {
	case membership.QuorumUnknown:
		return verdict{unknown, v1alpha1.ReasonUnknown, p.plan.Message}
	case membership.QuorumLost:
		if p.dataGone() {
			return verdict{no, v1alpha1.ReasonMajorityLost, p.plan.Message + ". Too many of them have lost their data: spec.recovery gives them up (docs/operations.md)"}
		}
		return verdict{no, v1alpha1.ReasonMajorityDown, p.plan.Message}
	case membership.EnsembleLost:
		return verdict{no, v1alpha1.ReasonMajorityLost, p.plan.Message}
	}
	return verdict{no, v1alpha1.ReasonElecting, p.plan.Message}
}

// dataGone tells whether too few voters can have their data still: those whose
// pods answer with an empty volume, or with one that can't be read, have lost it.
func (p *pass) dataGone() bool {
	var newest *adminpb.StatusResponse
	for _, a := range p.seen.answers {
		if st := a.Status; st.GetClusterId() == p.status.ClusterID && (newest == nil || st.GetConfigurationIndex() > newest.GetConfigurationIndex()) {
			newest = st
		}
	}
	gone := 0
	for _, m := range newest.GetVoters() {
		seat, ok := membership.SeatOf(m.GetName())
		if !ok {
			continue
		}
		st := p.seen.answers[p.podName(seat)].Status
		if st != nil && st.GetMemberId() != m.GetId() {
			gone++
		}
	}
	return gone > (len(newest.GetVoters())-1)/2
}

func (p *pass) inSync() verdict {
	leader := p.leader()
	if leader == nil {
		if !p.founded() {
			return verdict{no, v1alpha1.ReasonNotFounded, "there is no ensemble yet"}
		}
		if p.plan.Reason == membership.QuorumUnknown {
			return verdict{unknown, v1alpha1.ReasonUnknown, p.plan.Message}
		}
		return verdict{no, v1alpha1.ReasonLagging, "there is no leader to be in sync with"}
	}
	var lagging, copying []string
	for _, m := range slices.Concat(leader.GetVoters(), leader.GetLearners()) {
		if m.GetConnected() && m.GetSynced() {
			continue
		}
		text := fmt.Sprintf("server.%d", m.GetName())
		if m.GetConnected() && slices.Contains(leader.GetLearners(), m) {
			copying = append(copying, text)
		} else {
			lagging = append(lagging, text)
		}
	}
	switch {
	case len(lagging) > 0:
		return verdict{no, v1alpha1.ReasonLagging, "not in sync: " + strings.Join(append(lagging, copying...), ", ")}
	case len(copying) > 0:
		return verdict{no, v1alpha1.ReasonCatchingUp, "catching up: " + strings.Join(copying, ", ")}
	}
	return verdict{yes, v1alpha1.ReasonInSync, fmt.Sprintf("all %d members", len(leader.GetVoters())+len(leader.GetLearners()))}
}

// announce tells what was written: a latch, and what has changed and has no step of
// its own.
func (p *pass) announce(ctx context.Context) {
	if p.plan.Act.Latch() && p.lock {
		p.tell(ctx, string(p.plan.Reason), string(p.plan.Act), p.plan.Message)
	}
	for _, c := range p.status.Conditions {
		old := meta.FindStatusCondition(p.cluster.Status.Conditions, c.Type)
		if old != nil && old.Status == c.Status && old.Reason == c.Reason {
			continue
		}
		bad := c.Status == no && c.Reason != v1alpha1.ReasonParked && (c.Type == v1alpha1.ConditionAvailable || c.Type == v1alpha1.ConditionQuorumHealthy) && old != nil && old.Status == yes ||
			c.Status == yes && c.Type == v1alpha1.ConditionDegraded ||
			c.Status == no && c.Type == v1alpha1.ConditionProgressing && c.Reason != v1alpha1.ReasonSettled && c.Reason != v1alpha1.ReasonPaused && c.Reason != v1alpha1.ReasonParked && c.Reason != v1alpha1.ReasonDeleting
		good := old != nil && c.Status == yes && old.Status != yes && (c.Type == v1alpha1.ConditionAvailable || c.Type == v1alpha1.ConditionQuorumHealthy) ||
			old != nil && old.Status == yes && c.Status == no && c.Type == v1alpha1.ConditionDegraded
		kind := corev1.EventTypeNormal
		switch {
		case bad:
			kind = corev1.EventTypeWarning
		case !good:
			continue
		}
		p.note(ctx, c.Reason, c.Type, c.Message)
		p.Recorder.Eventf(p.cluster, nil, kind, c.Reason, c.Type, "%s", limit(c.Message, 900))
	}
	if r := p.status.Rollout; r != nil && r.CompletionTime != nil && (p.cluster.Status.Rollout == nil || p.cluster.Status.Rollout.CompletionTime == nil) {
		p.tell(ctx, "RolledOut", "RollOut", fmt.Sprintf("%d members were restarted; %d sessions expired meanwhile", r.Total, r.SessionsExpired))
	}
}
