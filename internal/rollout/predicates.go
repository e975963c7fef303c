package rollout

import (
	"fmt"
	"strings"
)

// predicate is something that must hold before a pod that runs is restarted.
type predicate struct {
	reason Reason
	// violated says why it does not hold; empty if it does.
	violated func(*view) string
}

// The refusals.
const (
	// MembershipChanging: a change of the membership is under way.
	MembershipChanging Reason = "MembershipChanging"
	// NoLeader: no leader is confirmed by a quorum.
	NoLeader Reason = "NoLeader"
	// VotersNotInSync: another voter is not in sync.
	VotersNotInSync Reason = "VotersNotInSync"
	// PodsNotReady: another voter's pod is not ready, or is going.
	PodsNotReady Reason = "PodsNotReady"
	// DiskFailing: another voter's disk has failed it.
	DiskFailing Reason = "DiskFailing"
)

var predicates = []predicate{
	{MembershipChanging, func(v *view) string { return v.Busy }},
	{NoLeader, func(v *view) string {
		if v.Leader == "" {
			return "no leader is confirmed by a majority"
		}
		return ""
	}},
	{VotersNotInSync, func(v *view) string {
		var out []string
		for _, m := range v.Ensemble {
			if m.Synced {
				continue
			}
			// It would come back on what it has, or had.
			const way = "kubectl delete statefulset %s --cascade=orphan lets it be the first on the new one"
			text := fmt.Sprintf("the voter of pod %s is not in sync: %s", m.Pod, m.Problem)
			switch p, set := v.pod(m.Pod), setOf(m.Pod); {
			case p == nil && m.Pod != "":
				text = fmt.Sprintf("pod %s is not there; kubectl describe statefulset %s says why; if it can't be made on the revision that it had, "+way, m.Pod, set, set)
			case p.broken():
				text = fmt.Sprintf("pod %s does not run (%s); if it can't on the revision that it has, "+way, m.Pod, p.Problem, set)
			}
			out = append(out, text)
		}
		return strings.Join(out, "; ")
	}},
	{PodsNotReady, func(v *view) string {
		for _, p := range v.Voters.Pods {
			if p.Name != v.next.Name && v.voter(p.Name) != nil && (!p.Ready || p.Terminating) {
				return fmt.Sprintf("pod %s is not ready", p.Name)
			}
		}
		return ""
	}},
	{DiskFailing, func(v *view) string {
		for _, p := range v.Voters.Pods {
			if p.Name != v.next.Name && p.Status.GetDisk().GetFailed() {
				return fmt.Sprintf("pod %s: %s", p.Name, p.Status.GetDisk().GetReason())
			}
		}
		return ""
	}},
}
