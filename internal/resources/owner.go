package resources

import (
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// owner makes an object go with its cluster. It does not block the cluster's
// deletion: that would need a permission, and wins nothing.
func owner(c *v1alpha1.CoordinationCluster) *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().
		WithAPIVersion(v1alpha1.SchemeGroupVersion.String()).
		WithKind(v1alpha1.Kind.Kind).
		WithName(c.Name).
		WithUID(c.UID).
		WithController(true)
}
