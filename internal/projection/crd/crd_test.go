package crd

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/projection/leases"
	"github.com/conclave-dev/conclave/internal/projection/mirror"
	"github.com/conclave-dev/conclave/internal/projection/summary"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestSettings(t *testing.T) {
	s, err := Settings(nil)
	if err != nil || s.Rules.Len() != 0 || s.Duration != time.Minute || s.Max != 1000 {
		t.Errorf("%+v %v", s, err)
	}
	s, err = Settings(&v1alpha1.LeasesSpec{DurationSeconds: 30, MaxLeases: 7, Rules: []v1alpha1.LeaseRule{
		{Name: "a", Kind: v1alpha1.LeaseElection, Path: "/e/{x}", Children: "*lock*", LeaseName: "e-{x}",
			Holder: v1alpha1.LeaseHolder{From: v1alpha1.HolderData, JSONField: "id"}, Labels: map[string]v1alpha1.LeaseLabel{"team": "a"}},
		{Name: "b", Kind: v1alpha1.LeaseNode, Path: "/n/*"},
	}})
	if err != nil || s.Rules.Len() != 2 || s.Duration != 30*time.Second || s.Max != 7 || !slices.Equal(s.Rules.DataPatterns(), []string{"/e/*/*lock*"}) {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := Settings(&v1alpha1.LeasesSpec{Rules: []v1alpha1.LeaseRule{{Name: "a", Kind: v1alpha1.LeaseNode, Path: "n"}}}); err == nil || !strings.HasPrefix(err.Error(), "spec.leases: rules[0] (a): path:") {
		t.Errorf("%v", err)
	}
}

func TestSessions(t *testing.T) {
	s := Sessions(summary.Summary{Zxid: 0x1f, Observed: t0, Totals: mirror.Totals{NotConnected: 1, Connecting: 2, Connected: 3, Closed: 4, Expired: 5, Ephemerals: 6, Watches: 7},
		AtRisk: []summary.Session{{ID: 0xab, State: mirror.Connecting, Silence: 1500 * time.Millisecond, Timeout: 10 * time.Second, Ephemerals: 2, Member: "main-0",
			Client: netip.MustParseAddrPort("10.0.0.1:5").String(), Pod: summary.Pod{Namespace: "shop", Name: "cart-0", Owner: "StatefulSet/cart"}}, {ID: 1, State: mirror.Connected}}})
	if s.Zxid != "0x1f" || s.Total != 6 || s.NotConnected != 1 || s.Connecting != 2 || s.Connected != 3 || s.Closed != 4 || s.Expired != 5 || s.Ephemerals != 6 || s.Watches != 7 || !s.ObservedTime.Time.Equal(t0) {
		t.Errorf("%+v", s)
	}
	want := v1alpha1.SessionAtRisk{ID: "0xab", State: v1alpha1.SessionConnecting, SilenceMilliseconds: 1500, TimeoutMilliseconds: 10000, Ephemerals: 2, Member: "main-0", ClientAddress: "10.0.0.1:5"}
	got := s.AtRisk[0]
	if got.Pod == nil || *got.Pod != (v1alpha1.ClientPod{Namespace: "shop", Name: "cart-0", Owner: "StatefulSet/cart"}) {
		t.Errorf("%+v", got.Pod)
	}
	if got.Pod = nil; got != want || s.AtRisk[1].Pod != nil {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestConditions(t *testing.T) {
	rules := []leases.RuleStatus{{Name: "a"}, {Name: "b", Message: "Lease x exists"}}
	for _, c := range []struct {
		s       leases.Status
		status  metav1.ConditionStatus
		reason  string
		message string
	}{
		{leases.Status{State: mirror.Fresh, Whole: true, Rules: rules, Mirrored: 3}, metav1.ConditionTrue, v1alpha1.ReasonSynced, "3 Leases follow"},
		{leases.Status{State: mirror.Fresh, Whole: true, Rules: rules, Mirrored: 1}, metav1.ConditionTrue, v1alpha1.ReasonSynced, "1 Lease follows the leader"},
		{leases.Status{State: mirror.Fresh, Whole: true, Rules: rules, Pending: 2, Mirrored: 3}, metav1.ConditionFalse, v1alpha1.ReasonWritingLeases, "2 Leases are to be written; 3 are there"},
		{leases.Status{State: mirror.Fresh, Whole: true, Rules: rules, Pending: 2, Conflicts: 1}, metav1.ConditionFalse, v1alpha1.ReasonNameConflict, "rule b: Lease x exists"},
		{leases.Status{State: mirror.Fresh, Whole: true, Rules: rules, Truncated: 4, Conflicts: 1}, metav1.ConditionFalse, v1alpha1.ReasonTruncated, "4 nodes and elections"},
		{leases.Status{State: mirror.Frozen, Whole: true, ObservedTime: t0, Rules: rules, Truncated: 4}, metav1.ConditionFalse, v1alpha1.ReasonFrozen, "2026-01-02T03:04:05Z; holders stay"},
		{leases.Status{State: mirror.Stale, Rules: rules}, metav1.ConditionFalse, v1alpha1.ReasonConnecting, "nothing has been told yet"},
		{leases.Status{State: mirror.Stale}, metav1.ConditionTrue, v1alpha1.ReasonNoRules, "no rules"},
		{leases.Status{State: mirror.Frozen, Pending: 1}, metav1.ConditionFalse, v1alpha1.ReasonWritingLeases, "to be removed"},
	} {
		got := LeasesSynced(c.s)
		if got.Status != c.status || got.Reason != c.reason || !strings.Contains(got.Message, c.message) {
			t.Errorf("%+v: %+v", c.s, got)
		}
		if !slices.Contains(v1alpha1.Reasons(got.Type), got.Reason) {
			t.Errorf("%s is no reason of %s", got.Reason, got.Type)
		}
	}
	for state, reason := range map[mirror.State]string{mirror.Fresh: v1alpha1.ReasonSynced, mirror.Stale: v1alpha1.ReasonConnecting, mirror.Frozen: v1alpha1.ReasonFrozen} {
		got := SessionsSynced(state, state != mirror.Fresh, true, t0)
		if state == mirror.Fresh && !strings.Contains(got.Message, "still telling") {
			t.Errorf("of a leader that does not know all yet: %+v", got)
		}
		if got.Reason != reason || (got.Status == metav1.ConditionTrue) != (state == mirror.Fresh) || !slices.Contains(v1alpha1.Reasons(got.Type), got.Reason) {
			t.Errorf("%v: %+v", state, got)
		}
	}
}

func TestLeases(t *testing.T) {
	s := Leases(leases.Status{Mirrored: 1, Truncated: 2, Conflicts: 3, Duration: 90 * time.Second, Rules: []leases.RuleStatus{{Name: "a", Mirrored: 1, Message: strings.Repeat("é", 600)}}})
	if s.Mirrored != 1 || s.Truncated != 2 || s.Conflicts != 3 || s.DurationSeconds != 90 || s.ObservedTime != nil || len([]rune(s.Rules[0].Message)) != 512 {
		t.Errorf("%+v", s)
	}
	if summary.MaxAtRisk != v1alpha1.MaxSessionsAtRisk {
		t.Error(fmt.Sprint("at most ", summary.MaxAtRisk, " sessions at risk"))
	}
}
