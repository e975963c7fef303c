package resources

import (
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// Budget is a role's PodDisruptionBudget: one member may be evicted, and none
// while the operator itself is at a step that takes one away. nil: there is to be
// none, because with a single member (or none) a budget would either forbid every
// drain of its node, or promise nothing. members is how many there are or will be,
// whichever is more.
//
// IfHealthyBudget: pods that are not ready may be evicted only while enough others
// are. With AlwaysAllow everybody could be, during an election.
func Budget(c *v1alpha1.CoordinationCluster, r Role, members int32, step bool) *policyv1ac.PodDisruptionBudgetApplyConfiguration {
	if members <= 1 {
		return nil
	}
	unavailable := intstr.FromInt32(1)
	if step {
		unavailable = intstr.FromInt32(0)
	}
	return policyv1ac.PodDisruptionBudget(StatefulSetName(c, r), c.Namespace).
		WithLabels(RoleLabels(c, r)).
		WithOwnerReferences(owner(c)).
		WithSpec(policyv1ac.PodDisruptionBudgetSpec().
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(RoleSelector(c, r))).
			WithMaxUnavailable(unavailable).
			WithUnhealthyPodEvictionPolicy(policyv1.IfHealthyBudget))
}
