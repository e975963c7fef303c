package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// Pod is one pod of a StatefulSet and the member in it.
type Pod struct {
	Name    string
	UID     string
	Ordinal int
	// Revision is the ControllerRevision that it was made from.
	Revision    string
	Ready       bool
	Terminating bool
	// Problem is why its container does not run, in Kubernetes' words, if that does
	// not go away by waiting: an image that can't be pulled, a crash loop.
	Problem string
	// Status is the member's own answer; nil if there is none.
	Status *adminpb.StatusResponse
}

// broken: nothing is lost if it is restarted. No pod is not broken.
func (p *Pod) broken() bool { return p != nil && p.Status == nil && !p.Ready && p.Problem != "" }

// setOf is the name of a pod's StatefulSet.
func setOf(pod string) string { return pod[:max(0, strings.LastIndexByte(pod, '-'))] }

// Set is a StatefulSet.
type Set struct {
	Replicas  int
	Partition int
	// UpdateRevision is what pods are brought to; CurrentRevision what those below
	// the partition come back as.
	UpdateRevision, CurrentRevision string
	// Seen: the StatefulSet's controller has seen its latest template, so that the
	// revisions are about it.
	Seen bool
	Pods []Pod
}

// Voter is one as the leader knows it.
type Voter struct {
	// Pod is the name of its pod.
	Pod    string
	ID     uint64
	Synced bool
	// Problem says why not.
	Problem string
}

// Observed is all that Next looks at.
type Observed struct {
	Observers, Voters Set
	// Founded: there is an ensemble, or may be.
	Founded bool
	// Leader is the pod whose member leads, confirmed by a quorum; empty if there is
	// none.
	Leader string
	// Ensemble is who votes, as the leader knows them, or, if there is none, the member
	// that knows of the latest change; empty if nobody answers.
	Ensemble []Voter
	// Busy is why the membership must not be disturbed; empty if it may.
	Busy string
	// DrainPatience is how long clients of a member are waited for.
	DrainPatience time.Duration
}

// Act is what is to be done.
type Act string

// The acts.
const (
	// Rest: every pod is of the revision that it is to be of.
	Rest Act = "Rest"
	// Wait: nothing can be done now; it goes on by itself.
	Wait Act = "Wait"
	// Hold: the roll stands still until somebody changes something.
	Hold Act = "Hold"
	// TransferLeadership hands leadership from Ask to Member.
	TransferLeadership Act = "TransferLeadership"
	// Drain lets the clients of the member in pod Ask go.
	Drain Act = "Drain"
	// Lower brings the partition of the voters' or observers' set to Partition.
	Lower Act = "Lower"
	// DeletePod deletes pod Ask, if it still is the one of that UID.
	DeletePod Act = "DeletePod"
)

// Changes tells whether an act changes something.
func (a Act) Changes() bool {
	switch a {
	case Rest, Wait, Hold:
		return false
	}
	return true
}

// Plan is the one next step, or why there is none.
type Plan struct {
	Act     Act
	Reason  Reason
	Message string

	// Ask is the pod asked, or deleted; UID which pod of that name.
	Ask, UID string
	// Member is the id of the one that is to lead.
	Member uint64
	// Observers: it is about the observers' StatefulSet.
	Observers bool
	Partition int

	// Pod is the one whose turn it is, by name; empty if there is none.
	Pod string
	// Updated and Total count pods.
	Updated, Total int
	// Drained are the pods whose clients are to be let go for this plan's sake.
	Drained []string
}

// Reason says why a step is planned, or why none is.
type Reason string

// The reasons.
const (
	// UpToDate: every pod is of its StatefulSet's revision.
	UpToDate Reason = "UpToDate"
	// Restarting: a pod is being restarted on the new revision.
	Restarting Reason = "Restarting"
	// HandingOver: leadership is moved away from members that are restarted.
	HandingOver Reason = "HandingOver"
	// Draining: clients of the member that goes next are let go.
	Draining Reason = "Draining"
	// TakenBack: a pod is stuck on a revision that is not wanted any more.
	TakenBack Reason = "TakenBack"
	// NotFoundedYet: there is no ensemble, and nothing to be careful with.
	NotFoundedYet Reason = "NotFoundedYet"
	// RevisionUnknown: the StatefulSet's controller has not seen the template yet.
	RevisionUnknown Reason = "RevisionUnknown"
	// AwaitingUpdated: the pod that was restarted is not ready and in sync yet.
	AwaitingUpdated Reason = "AwaitingUpdated"
	// UpdatedPodBroken: the pod that was restarted does not run on the new revision.
	// No other is touched.
	UpdatedPodBroken Reason = "UpdatedPodBroken"
)

// Reasons are all of them, refusals included.
var Reasons = func() []Reason {
	all := []Reason{UpToDate, Restarting, HandingOver, Draining, TakenBack, NotFoundedYet, RevisionUnknown, AwaitingUpdated, UpdatedPodBroken}
	for _, p := range predicates {
		all = append(all, p.reason)
	}
	return all
}()

// view is what is observed, from the side of one StatefulSet.
type view struct {
	*Observed
	set       Set
	observers bool
	next      *Pod // the one whose turn it is
}

// Next plans the one next step.
func Next(o Observed) Plan {
	var p Plan
	total, updated := 0, 0
	// Observers go first, but a voter that does not run waits for none.
	if v := (&view{Observed: &o, set: o.Voters}); v.ailing() {
		if q := v.plan(); q.Act.Changes() {
			p = q
		}
	}
	for _, observers := range []bool{true, false} {
		v := &view{Observed: &o, set: o.Voters, observers: observers}
		if observers {
			v.set = o.Observers
		}
		for _, pod := range wanted(v.set) {
			total++
			// Which revision is wanted is not known until the template is seen: a
			// StatefulSet that was just made is no restart of its pods.
			if !v.set.Seen || pod.Revision == v.set.UpdateRevision {
				updated++
			}
		}
		if p.Act == "" || p.Act == Rest {
			p = v.plan()
		}
	}
	p.Total, p.Updated = total, updated
	return p
}

func (v *view) say(act Act, reason Reason, format string, args ...any) Plan {
	p := Plan{Act: act, Reason: reason, Message: fmt.Sprintf(format, args...), Observers: v.observers}
	if v.next != nil {
		p.Pod = v.next.Name
	}
	return p
}

// lost: so many voters do not run, and will not, that there is no quorum. There is
// nothing left to be careful with.
func (o *Observed) lost() bool {
	voters, broken := len(o.Ensemble), 0
	if voters == 0 {
		voters = o.Voters.Replicas // nobody answers who could tell
	}
	for i := range o.Voters.Pods {
		if p := &o.Voters.Pods[i]; p.broken() && (len(o.Ensemble) == 0 || o.voter(p.Name) != nil) {
			broken++
		}
	}
	return o.Leader == "" && broken > 0 && 2*broken >= voters
}

// ailing tells whether one that is not on the wanted revision does not run.
func (v *view) ailing() bool {
	return slices.ContainsFunc(v.set.Pods, func(p Pod) bool { return p.Revision != v.set.UpdateRevision && p.broken() })
}

func (v *view) plan() Plan {
	v.set.Pods = wanted(v.set)
	switch {
	case len(v.set.Pods) == 0 && (v.set.Replicas == 0 || !v.Founded && v.set.Partition == 0):
		return v.say(Rest, UpToDate, "there are no pods")
	case len(v.set.Pods) == 0 && v.Founded: // the only one may be the one that was restarted
		return v.say(Wait, AwaitingUpdated, "no pod is there yet")
	case !v.set.Seen:
		return v.say(Wait, RevisionUnknown, "the StatefulSet's controller has not seen the new template yet")
	case len(v.set.Pods) == 0: // those of the old template may have been refused
		return v.say(Lower, NotFoundedYet, "there is no ensemble yet, and no pod: all get the new revision")
	}
	for i := range v.set.Pods {
		p := &v.set.Pods[i]
		if p.Revision == v.set.UpdateRevision {
			continue
		}
		if v.next == nil {
			v.next = p
		}
		// What it comes back as is what is wanted.
		if p.broken() && !p.Terminating && (p.Ordinal >= v.set.Partition || v.set.CurrentRevision == v.set.UpdateRevision) {
			v.next = p
			d := v.say(DeletePod, TakenBack, "pod %s is stuck on a revision that is not wanted any more (%s); it comes back on the wanted one", p.Name, p.Problem)
			d.Ask, d.UID = p.Name, p.UID
			return d
		}
	}
	if v.next == nil {
		// As long as the partition is above it, a pod that is not there comes back on the
		// revision that it had, and that is what an ensemble lives on if the new one is bad.
		if v.Founded && v.set.Partition != 0 {
			if p, ok := v.updated(); !ok {
				return p
			}
			if p, ok := v.missing(0); ok {
				return p
			}
		}
		if v.set.Partition != 0 {
			return v.say(Lower, UpToDate, "every pod is of the wanted revision")
		}
		if p, ok := v.missing(0); ok {
			return p
		}
		return v.say(Rest, UpToDate, "every pod is of the wanted revision")
	}
	if v.next.Ordinal >= v.set.Partition || v.next.Terminating {
		p := v.say(Wait, Restarting, "pod %s is being restarted", v.next.Name)
		p.Drained = []string{v.next.Name}
		return p
	}
	if p, ok := v.updated(); !ok {
		return p
	}
	if !v.Founded {
		p := v.say(Lower, NotFoundedYet, "there is no ensemble yet: all pods get the new revision")
		return p
	}
	if v.next.broken() {
		return v.lower("it does not run: " + v.next.Problem)
	}
	if !v.observers && v.lost() {
		return v.lower("a majority of the voters does not run, and will not on what they have")
	}
	if p, ok := v.observersUpdated(); !ok {
		return p
	}
	for _, r := range predicates {
		if why := r.violated(v); why != "" {
			return v.say(Wait, r.reason, "pod %s is to be restarted: %s", v.next.Name, why)
		}
	}
	if p, ok := v.handOver(); ok {
		return p
	}
	if p, ok := v.drain(); ok {
		return p
	}
	return v.lower("every voter is in sync")
}

func (v *view) lower(why string) Plan {
	p := v.say(Lower, Restarting, "pod %s is restarted on the new revision; %s", v.next.Name, why)
	p.Partition, p.Drained = v.next.Ordinal, []string{v.next.Name}
	return p
}

// updated wants every pod that has the new revision to be well, or, for the sake
// of a broken one whose turn it is, or of an ensemble that has no quorum any more, to
// answer at least: alone it has no quorum. It may be nobody's turn.
func (v *view) updated() (Plan, bool) {
	if p, ok := v.missing(v.set.Partition); ok && !v.next.broken() && v.Founded {
		return p, false
	}
	for _, p := range v.set.Pods {
		if p.Revision != v.set.UpdateRevision {
			continue
		}
		well := p.Ready && !p.Terminating && (p.Status.GetCaughtUp() || !v.Founded)
		if well || p.Status != nil && (v.next.broken() || v.lost()) {
			continue
		}
		if p.broken() {
			q := v.say(Hold, UpdatedPodBroken, "pod %s does not run on the new revision: %s; no other is restarted. Taking the edit back heals it", p.Name, p.Problem)
			q.Pod = p.Name
			return q, false
		}
		if !v.Founded {
			continue
		}
		why := p.Status.GetNotReadyReason()
		switch {
		case p.Problem != "":
			why = p.Problem
		case p.Status == nil:
			why = "it does not answer yet"
		case why == "":
			why = "its pod is not ready yet"
		}
		q := v.say(Wait, AwaitingUpdated, "pod %s is not in sync on the new revision yet: %s", p.Name, why)
		q.Pod = p.Name
		return q, false
	}
	return Plan{}, true
}

// observersUpdated wants the observers to be well on the new revision before a voter
// gets it. Their own plan asks for that before each of them but not after the last,
// and may have been at rest for long.
func (v *view) observersUpdated() (Plan, bool) {
	if v.observers {
		return Plan{}, true
	}
	o := &view{Observed: v.Observed, set: v.Observers, observers: true, next: v.next}
	o.set.Pods = wanted(o.set)
	return o.updated()
}

// wanted are a set's pods from the highest ordinal down. One that is too many only
// goes; on what it runs is nobody's concern.
func wanted(s Set) []Pod {
	pods := slices.DeleteFunc(slices.Clone(s.Pods), func(p Pod) bool { return p.Ordinal >= s.Replicas })
	slices.SortFunc(pods, func(a, b Pod) int { return b.Ordinal - a.Ordinal })
	return pods
}

// missing waits for a pod from an ordinal on that is not there.
func (v *view) missing(from int) (Plan, bool) {
	for o := from; o < v.set.Replicas; o++ {
		if !slices.ContainsFunc(v.set.Pods, func(p Pod) bool { return p.Ordinal == o }) {
			p := v.say(Wait, AwaitingUpdated, "the pod of ordinal %d is being created on the new revision", o)
			if o < v.set.Partition {
				p = v.say(Wait, PodsNotReady, "the pod of ordinal %d is gone and comes back on the revision that it had", o)
			}
			p.Pod = fmt.Sprintf("%s-%d", setOf(v.set.Pods[0].Name), o)
			return p, true
		}
	}
	return Plan{}, false
}

// handOver moves leadership to the lowest ordinal, and from there, when its turn
// comes, to the highest.
func (v *view) handOver() (Plan, bool) {
	if v.observers || len(v.Ensemble) < 2 {
		return Plan{}, false
	}
	// From the lowest up; for the lowest itself, from the highest down.
	order := slices.Clone(v.set.Pods)
	slices.Reverse(order)
	if v.next.Name == order[0].Name {
		if v.Leader != v.next.Name {
			return Plan{}, false
		}
		order = v.set.Pods
	}
	i := slices.IndexFunc(order, func(p Pod) bool { return p.Name != v.next.Name && v.voter(p.Name) != nil })
	if i < 0 || order[i].Name == v.Leader {
		return Plan{}, false
	}
	to := order[i].Name
	m := v.voter(to)
	p := v.say(TransferLeadership, HandingOver, "pod %s hands leadership over to %s, before pod %s is restarted", v.Leader, to, v.next.Name)
	p.Ask, p.Member = v.Leader, m.ID
	return p, true
}

func (o *Observed) voter(pod string) *Voter {
	i := slices.IndexFunc(o.Ensemble, func(m Voter) bool { return m.Pod == pod })
	if i < 0 {
		return nil
	}
	return &o.Ensemble[i]
}

// pod returns the one of a voter; nil if it is not there.
func (v *view) pod(name string) *Pod {
	i := slices.IndexFunc(v.Voters.Pods, func(p Pod) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &v.Voters.Pods[i]
}

// drain lets the clients of the next one go, if there is another member for them
// to go to.
func (v *view) drain() (Plan, bool) {
	others := false
	for _, set := range []Set{v.Voters, v.Observers} {
		for _, p := range set.Pods {
			others = others || p.Name != v.next.Name && p.Ready && p.Status.GetReady()
		}
	}
	st := v.next.Status
	if !others || !st.GetServing() {
		return Plan{}, false
	}
	d := st.GetDrain()
	switch {
	case !d.GetActive():
		p := v.say(Drain, Draining, "clients of pod %s are let go before it is restarted", v.next.Name)
		p.Ask, p.Drained = v.next.Name, []string{v.next.Name}
		return p, true
	case time.Duration(d.GetActiveMs())*time.Millisecond >= v.DrainPatience:
		return Plan{}, false
	case v.next.Ready || d.GetRemaining() > 0: // a pod that is ready is in the Service's endpoints
		p := v.say(Wait, Draining, "clients of pod %s are let go before it is restarted", v.next.Name)
		p.Drained = []string{v.next.Name}
		return p, true
	}
	return Plan{}, false
}
