package controllers

import (
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/membership"
)

// latches reads from status what earlier passes have written there.
func latches(s *v1alpha1.CoordinationClusterStatus) (membership.Latches, error) {
	l := membership.Latches{ClusterID: s.ClusterID}
	if b := s.Bootstrap; b != nil {
		if l.ClusterID == "" {
			l.ClusterID = b.ClusterID
		}
		l.Bootstrapped = b.Succeeded
		if b.MemberID != "" {
			id, err := strconv.ParseUint(b.MemberID, 16, 64)
			if err != nil {
				return l, fmt.Errorf("status.bootstrap.memberID: %w", err)
			}
			l.FirstMember = id
		}
	}
	if t := s.Target; t != nil {
		l.Target = membership.Target{Voters: int(t.Replicas), Observers: int(t.Observers)}
	}
	if k := s.Parked; k != nil {
		l.Parked = membership.Target{Voters: int(k.Replicas), Observers: int(k.Observers)}
	}
	return l, nil
}

func hexID(id uint64) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatUint(id, 16)
}

// setLatches puts what a plan wants kept into status.
func (p *pass) setLatches(plan membership.Plan) {
	l, now, s := plan.Latches, metav1.NewTime(p.Now()), p.status
	switch plan.Act {
	case membership.LatchBootstrap:
		s.ClusterID = l.ClusterID
		s.Bootstrap = &v1alpha1.BootstrapStatus{ClusterID: l.ClusterID, MemberID: hexID(l.FirstMember), Pod: p.podName(membership.Seat{}), LatchedTime: &now}
	case membership.LatchEnsemble:
		switch {
		case s.Bootstrap == nil:
			s.Bootstrap = &v1alpha1.BootstrapStatus{ClusterID: l.ClusterID, Adopted: true, LatchedTime: &now}
		case l.ClusterID != s.ClusterID:
			if s.Recovery == nil || s.Recovery.FormerClusterID != s.ClusterID {
				s.Recovery = &v1alpha1.RecoveryStatus{FormerClusterID: s.ClusterID}
			}
			s.Recovery.ClusterID, s.Recovery.Time, s.Recovery.Message = l.ClusterID, &now, ""
		}
		s.ClusterID = l.ClusterID
		if l.Bootstrapped && !s.Bootstrap.Succeeded {
			s.Bootstrap.Succeeded, s.Bootstrap.SucceededTime = true, &now
		}
	case membership.LatchTarget:
		if s.Target == nil {
			s.Target = &v1alpha1.TargetStatus{}
		}
		s.Target.Generation = p.cluster.Generation
		s.Target.Replicas, s.Target.Observers = int32(l.Target.Voters), int32(l.Target.Observers)
	case membership.LatchParked:
		s.Parked = nil
		if l.Parked != (membership.Target{}) {
			s.Parked = &v1alpha1.ParkedStatus{Replicas: int32(l.Parked.Voters), Observers: int32(l.Parked.Observers), Time: now}
		}
	}
}

// want is the size that the spec asks for.
func want(c *v1alpha1.CoordinationCluster) membership.Target {
	t := membership.Target{Voters: int(ptr.Deref(c.Spec.Replicas, 3)), Observers: int(ptr.Deref(c.Spec.Observers, 0))}
	if t.Voters == 0 {
		t.Observers = 0
	}
	return t
}
