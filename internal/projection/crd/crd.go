package crd

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/projection/leases"
	"github.com/conclave-dev/conclave/internal/projection/mirror"
	"github.com/conclave-dev/conclave/internal/projection/summary"
)

// Settings reads spec.leases, with its defaults; nil has no rules. The error says
// what the CRD let through and can't be carried out.
func Settings(spec *v1alpha1.LeasesSpec) (leases.Settings, error) {
	s := leases.Settings{Rules: &leases.Rules{}, Duration: time.Minute, Max: 1000}
	if spec == nil {
		return s, nil
	}
	if spec.DurationSeconds > 0 {
		s.Duration = time.Duration(spec.DurationSeconds) * time.Second
	}
	if spec.MaxLeases > 0 {
		s.Max = int(spec.MaxLeases)
	}
	var list []leases.Rule
	for _, r := range spec.Rules {
		list = append(list, leases.Rule{
			Name: r.Name, Kind: leases.Kind(r.Kind), Path: r.Path, Children: r.Children,
			Holder: leases.Source(r.Holder.From), JSONField: r.Holder.JSONField, LeaseName: r.LeaseName,
			Labels: plain(r.Labels), Annotations: plain(r.Annotations),
		})
	}
	rules, err := leases.Compile(list)
	if err != nil {
		return leases.Settings{}, fmt.Errorf("spec.leases: %w", err)
	}
	s.Rules = rules
	return s, nil
}

func plain[V ~string](m map[string]V) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}

// Bounds of the CRD's texts, in characters.
const (
	maxMessage     = 512
	maxConditionMe = 1024
)

// limited cuts a text to a number of characters.
func limited(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

// Sessions is status.sessions.
func Sessions(s summary.Summary) *v1alpha1.SessionsStatus {
	t := s.Totals
	out := &v1alpha1.SessionsStatus{
		Zxid: fmt.Sprintf("0x%x", s.Zxid), ObservedTime: at(s.Observed),
		Total: t.NotConnected + t.Connecting + t.Connected, NotConnected: t.NotConnected, Connecting: t.Connecting, Connected: t.Connected,
		Closed: t.Closed, Expired: t.Expired, Ephemerals: t.Ephemerals, Watches: t.Watches,
	}
	for _, x := range s.AtRisk {
		r := v1alpha1.SessionAtRisk{
			ID: fmt.Sprintf("0x%x", x.ID), State: v1alpha1.SessionState(x.State.String()),
			SilenceMilliseconds: x.Silence.Milliseconds(), TimeoutMilliseconds: x.Timeout.Milliseconds(),
			Ephemerals: int64(x.Ephemerals), Member: x.Member, ClientAddress: x.Client,
		}
		if x.Pod != (summary.Pod{}) {
			r.Pod = &v1alpha1.ClientPod{Namespace: x.Pod.Namespace, Name: x.Pod.Name, Owner: limited(x.Pod.Owner, 320)}
		}
		out.AtRisk = append(out.AtRisk, r)
	}
	return out
}

func at(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	m := metav1.NewTime(t)
	return &m
}

// Leases is status.leases.
func Leases(s leases.Status) *v1alpha1.LeasesStatus {
	out := &v1alpha1.LeasesStatus{
		ObservedTime: at(s.ObservedTime), Mirrored: int64(s.Mirrored), Truncated: int64(s.Truncated), Conflicts: int64(s.Conflicts),
		DurationSeconds: int32(s.Duration / time.Second),
	}
	for _, r := range s.Rules {
		out.Rules = append(out.Rules, v1alpha1.LeaseRuleStatus{
			Name: r.Name, Mirrored: int64(r.Mirrored), Truncated: int64(r.Truncated), Conflicts: int64(r.Conflicts), Message: limited(r.Message, maxMessage),
		})
	}
	return out
}

// SessionsSynced is the condition, without generation and time of transition. whole
// tells whether everything has been told once.
func SessionsSynced(state mirror.State, settled, whole bool, observed time.Time) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionSessionsSynced}
	c.Status, c.Reason, c.Message = synced(state, whole, observed, "status.sessions")
	if c.Status == metav1.ConditionTrue {
		c.Message = "status.sessions follows the leader"
		if !settled {
			c.Message += "; members are still telling it who is connected to them"
		}
	}
	return c
}

// synced is what both conditions say of the stream.
func synced(state mirror.State, whole bool, observed time.Time, what string) (metav1.ConditionStatus, string, string) {
	since := "nothing has been told yet"
	if whole {
		since = fmt.Sprintf("%s is as of %s", what, observed.UTC().Format(time.RFC3339))
	}
	switch state {
	case mirror.Fresh:
		return metav1.ConditionTrue, v1alpha1.ReasonSynced, ""
	case mirror.Frozen:
		return metav1.ConditionFalse, v1alpha1.ReasonFrozen, "there is no quorum, and nobody knows who holds what: " + since
	default:
		return metav1.ConditionFalse, v1alpha1.ReasonConnecting, "the leader's stream is not there: " + since
	}
}

// LeasesSynced is the condition, without generation and time of transition.
func LeasesSynced(s leases.Status) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionLeasesSynced}
	if c.Status, c.Reason, c.Message = synced(s.State, s.Whole, s.ObservedTime, "what Leases say"); c.Status != metav1.ConditionTrue {
		switch {
		case len(s.Rules) == 0:
			// There is nothing that could be wrong.
		case c.Reason == v1alpha1.ReasonFrozen:
			c.Message += "; holders stay, and Leases run out by themselves"
			return c
		default:
			return c
		}
	}
	c.Status = metav1.ConditionFalse
	switch {
	case s.Pending > 0 && len(s.Rules) == 0:
		c.Reason, c.Message = v1alpha1.ReasonWritingLeases, many(s.Pending, "Lease that no rule selects is", "Leases that no rule selects are")+" to be removed"
	case len(s.Rules) == 0:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonNoRules, "spec.leases has no rules"
	case s.Truncated > 0:
		c.Reason, c.Message = v1alpha1.ReasonTruncated, fmt.Sprintf("%s no Lease, since there would be more than spec.leases.maxLeases; %s one", many(s.Truncated, "node or election has", "nodes and elections have"), many(s.Mirrored, "has", "have"))
	case s.Conflicts > 0:
		c.Reason, c.Message = v1alpha1.ReasonNameConflict, many(s.Conflicts, "Lease", "Leases")+" can't be had"
		for _, r := range s.Rules {
			if r.Message != "" {
				c.Message = limited(fmt.Sprintf("%s: rule %s: %s", c.Message, r.Name, r.Message), maxConditionMe)
				break
			}
		}
	case s.Pending > 0:
		c.Reason, c.Message = v1alpha1.ReasonWritingLeases, fmt.Sprintf("%s to be written; %s there", many(s.Pending, "Lease is", "Leases are"), many(s.Mirrored, "is", "are"))
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonSynced, many(s.Mirrored, "Lease follows", "Leases follow")+" the leader"
	}
	return c
}

func many(n int, one, more string) string {
	if n == 1 {
		more = one
	}
	return fmt.Sprintf("%d %s", n, more)
}
