package controllers

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/membership"
	"github.com/conclave-dev/conclave/internal/rollout"
)

// What a roll has cost is counted from the first that a leader tells, and over edits
// on the way, up to the end of the last.
func TestExpiriesOfARoll(t *testing.T) {
	type step struct {
		hash    string
		updated int
		expired int64 // as the leader counts; -1 while there is none
		want    int64
	}
	for name, steps := range map[string][]step{
		"a leader throughout":      {{"a", 0, 7, 0}, {"a", 1, 7, 0}, {"a", 2, 9, 2}, {"a", 3, 9, 2}},
		"no leader when it begins": {{"a", 0, -1, 0}, {"a", 1, 7, 0}, {"a", 2, 8, 1}, {"a", 3, -1, 1}},
		"an edit on the way":       {{"a", 0, 7, 0}, {"a", 1, 8, 1}, {"b", 0, 8, 1}, {"b", 2, 9, 2}, {"b", 3, 9, 2}},
		"another one later":        {{"a", 0, 7, 0}, {"a", 2, 9, 2}, {"a", 3, 9, 2}, {"b", 0, 12, 0}, {"b", 1, 13, 1}},
	} {
		p := &pass{Reconciler: &Reconciler{Now: time.Now}, status: &v1alpha1.CoordinationClusterStatus{}}
		for i, s := range steps {
			p.seen.voters = &appsv1.StatefulSet{}
			p.seen.voters.Annotations = map[string]string{v1alpha1.AnnotationHash: s.hash}
			p.roll = rollout.Plan{Act: rollout.Lower, Updated: s.updated, Total: 3}
			p.plan = membership.Plan{Act: membership.Rest}
			if s.updated == 3 {
				p.roll.Act = rollout.Rest
			}
			var leader *adminpb.StatusResponse
			if s.expired >= 0 {
				leader = &adminpb.StatusResponse{Sessions: &adminpb.SessionCounts{Expired: s.expired}}
			}
			p.summarizeRollout(leader)
			r := p.status.Rollout
			if r.SessionsExpired != s.want || (r.CompletionTime != nil) != (s.updated == 3) || r.Hash != s.hash {
				t.Errorf("%s, step %d: %d expired, want %d: %+v", name, i, r.SessionsExpired, s.want, r)
			}
		}
	}
}
