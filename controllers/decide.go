package controllers

import (
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/ptr"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/membership"
	"github.com/conclave-dev/conclave/internal/rollout"
)

// drainSeconds is over how long a member closes its clients' connections.
func drainSeconds(c *v1alpha1.CoordinationCluster) time.Duration {
	return time.Duration(ptr.Deref(c.Spec.UpdateStrategy.DrainSeconds, 10)) * time.Second
}

// drainPatience is how long that is waited for.
func drainPatience(c *v1alpha1.CoordinationCluster) time.Duration {
	return drainSeconds(c) + 30*time.Second
}

// decide asks the planners.
func (p *pass) decide() {
	o, err := p.observed()
	if err != nil {
		p.plan = membership.Plan{Act: membership.Hold, Reason: membership.EnsembleLost, Message: "status can't be read: " + err.Error()}
		return
	}
	p.plan = membership.Next(o)
	p.roll = rollout.Next(p.rolling(o))
}

// rolling is what the planner of restarts looks at.
func (p *pass) rolling(o membership.Observed) rollout.Observed {
	out := rollout.Observed{
		// Until it is known that nothing has data, there may be an ensemble.
		Founded:       o.ClusterID != "" || p.plan.Reason == membership.EnsembleFound || p.plan.Act == membership.Hold,
		DrainPatience: drainPatience(p.cluster),
		Voters:        p.rollingSet(p.seen.voters, false, o),
		Observers:     p.rollingSet(p.seen.observers, true, o),
	}
	for _, pod := range o.Pods {
		if pod.Status.GetClusterId() != "" {
			out.Founded = true
		}
	}
	if p.plan.Unsettled || p.plan.Act.Latch() {
		out.Busy = p.plan.Message
	}
	if leader := membership.Leader(o); leader != nil {
		out.Leader = leader.Name
	}
	for _, m := range membership.Newest(o).GetVoters() {
		v := rollout.Voter{ID: m.GetId(), Synced: out.Leader != "" && m.GetConnected() && m.GetSynced(), Problem: "it does not answer the leader, or lags"}
		if s, ok := membership.SeatOf(m.GetName()); ok {
			v.Pod = p.podName(s)
			if a := p.seen.answers[v.Pod]; a.Err != nil {
				v.Problem = a.Err.Error()
			}
		}
		out.Ensemble = append(out.Ensemble, v)
	}
	return out
}

func (p *pass) rollingSet(s *appsv1.StatefulSet, observer bool, o membership.Observed) rollout.Set {
	if s == nil || !s.DeletionTimestamp.IsZero() {
		return rollout.Set{}
	}
	out := rollout.Set{
		Replicas:        int(ptr.Deref(s.Spec.Replicas, 1)),
		UpdateRevision:  s.Status.UpdateRevision,
		CurrentRevision: s.Status.CurrentRevision,
		Seen:            s.Status.ObservedGeneration >= s.Generation,
	}
	if u := s.Spec.UpdateStrategy.RollingUpdate; u != nil {
		out.Partition = int(ptr.Deref(u.Partition, 0))
	}
	for i := range p.seen.pods {
		pod := &p.seen.pods[i]
		seat, ok := p.seatOf(pod.Name)
		if !ok || seat.Observer != observer {
			continue
		}
		r := rollout.Pod{Name: pod.Name, UID: string(pod.UID), Ordinal: seat.Ordinal, Revision: pod.Labels[appsv1.StatefulSetRevisionLabel],
			Ready: podReady(pod), Terminating: pod.DeletionTimestamp != nil, Problem: problem(pod)}
		for _, m := range o.Pods {
			if m.Name == pod.Name {
				r.Status = m.Status
			}
		}
		out.Pods = append(out.Pods, r)
	}
	return out
}

// rollingOut tells whether a restart of members is under way.
func (p *pass) rollingOut() bool {
	return p.roll.Act != "" && p.roll.Act != rollout.Rest && p.roll.Updated < p.roll.Total
}

// disturbed tells whether a voter is about to go, or has just gone, on purpose: no
// other may be evicted then.
func (p *pass) disturbed() bool {
	r := p.status.Rollout // the last one may have its revision and not be back yet
	return p.plan.Unsettled || p.rollingOut() || r != nil && r.CompletionTime == nil
}

// drained are the pods whose clients are to be let go, by either plan. No pod goes
// for a roll that has to wait for the spec to be put right.
func (p *pass) drained() []string {
	if p.revision == nil && (p.roll.Act.Changes() || p.roll.Reason == rollout.Draining) {
		return p.plan.Drained
	}
	return slices.Concat(p.plan.Drained, p.roll.Drained)
}

// sentence joins what is to be read together.
func sentence(parts ...string) string {
	var out []string
	for _, s := range parts {
		if s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, ": ")
}
