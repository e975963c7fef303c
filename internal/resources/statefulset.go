package resources

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// Set is what is decided about a StatefulSet from one pass to the next.
type Set struct {
	// Replicas is how many pods there are to be now, which is not what the spec says
	// while members are added or removed.
	Replicas int32
	// Partition is the lowest ordinal whose pod may be replaced by one of the
	// revision; those below it keep, and return on, what they have.
	Partition int32
	// Sizes are those of the claim templates of the StatefulSet that exists, which
	// can't be changed; ClaimSizes returns them. Without one: nil.
	Sizes map[Volume]resource.Quantity
}

// ClaimSizes returns what Set needs to know of a StatefulSet that exists.
func ClaimSizes(s *appsv1.StatefulSet) map[Volume]resource.Quantity {
	if s == nil {
		return nil
	}
	out := map[Volume]resource.Quantity{}
	for _, t := range s.Spec.VolumeClaimTemplates {
		out[Volume(t.Name)] = t.Spec.Resources.Requests[corev1.ResourceStorage]
	}
	return out
}

// StatefulSet is a role's, with pods of the revision. Pods start side by side: the
// order in which members come matters to nobody, and a cluster that is down is up
// the sooner. Kubernetes never deletes a volume claim: it could not tell parking
// from scaling down, nor a StatefulSet that was deleted by mistake from a cluster
// that is given up.
func StatefulSet(c *v1alpha1.CoordinationCluster, r Role, rev *Revision, set Set) *appsv1ac.StatefulSetApplyConfiguration {
	spec := appsv1ac.StatefulSetSpec().
		WithReplicas(set.Replicas).
		WithServiceName(HeadlessName(c)).
		WithPodManagementPolicy(appsv1.ParallelPodManagement).
		WithRevisionHistoryLimit(5).
		WithSelector(metav1ac.LabelSelector().WithMatchLabels(RoleSelector(c, r))).
		WithUpdateStrategy(appsv1ac.StatefulSetUpdateStrategy().
			WithType(appsv1.RollingUpdateStatefulSetStrategyType).
			WithRollingUpdate(appsv1ac.RollingUpdateStatefulSetStrategy().WithPartition(set.Partition))).
		WithPersistentVolumeClaimRetentionPolicy(appsv1ac.StatefulSetPersistentVolumeClaimRetentionPolicy().
			WithWhenDeleted(appsv1.RetainPersistentVolumeClaimRetentionPolicyType).
			WithWhenScaled(appsv1.RetainPersistentVolumeClaimRetentionPolicyType)).
		WithTemplate(rev.pods[r])
	for _, v := range Volumes(c) {
		size, class := wanted(c, v)
		if s, ok := set.Sizes[v]; ok {
			size = s
		}
		// No labels: a claim template can't be changed, and theirs might want to.
		spec.WithVolumeClaimTemplates(&corev1ac.PersistentVolumeClaimApplyConfiguration{
			ObjectMetaApplyConfiguration: metav1ac.ObjectMeta().WithName(string(v)),
			Spec:                         claimSpec(size, class),
		})
	}
	return appsv1ac.StatefulSet(StatefulSetName(c, r), c.Namespace).
		WithLabels(RoleLabels(c, r)).
		WithAnnotations(map[string]string{v1alpha1.AnnotationHash: rev.Hash}).
		WithOwnerReferences(owner(c)).
		WithSpec(spec)
}

func wanted(c *v1alpha1.CoordinationCluster, v Volume) (size resource.Quantity, class *string) {
	if v == VolumeLog && c.Spec.Storage.Log != nil {
		return c.Spec.Storage.Log.Size, c.Spec.Storage.Log.StorageClassName
	}
	return c.Spec.Storage.Size, c.Spec.Storage.StorageClassName
}

func claimSpec(size resource.Quantity, class *string) *corev1ac.PersistentVolumeClaimSpecApplyConfiguration {
	spec := corev1ac.PersistentVolumeClaimSpec().
		WithAccessModes(corev1.ReadWriteOnce).
		WithResources(corev1ac.VolumeResourceRequirements().WithRequests(corev1.ResourceList{corev1.ResourceStorage: size}))
	if class != nil {
		spec.WithStorageClassName(*class)
	}
	return spec
}

// Claim is a member's volume claim as it should be: as large as the spec says, and
// owned by the cluster if it is to go with it. found is the claim that there is;
// nil if there is none, and one that is made so is taken up by the StatefulSet.
// A claim never shrinks, whatever the spec says.
func Claim(c *v1alpha1.CoordinationCluster, v Volume, r Role, ordinal int, found *corev1.PersistentVolumeClaim) *corev1ac.PersistentVolumeClaimApplyConfiguration {
	size, class := wanted(c, v)
	if found != nil {
		class = found.Spec.StorageClassName
		if has := found.Spec.Resources.Requests[corev1.ResourceStorage]; has.Cmp(size) > 0 {
			size = has
		}
	}
	return claim(c, v, r, ordinal, size, class)
}

// OwnedClaim is a member's volume claim as it is, but owned by the cluster if it is
// to go with it, and not otherwise: who owns it can be changed where its size can't.
func OwnedClaim(c *v1alpha1.CoordinationCluster, v Volume, r Role, ordinal int, found *corev1.PersistentVolumeClaim) *corev1ac.PersistentVolumeClaimApplyConfiguration {
	return claim(c, v, r, ordinal, found.Spec.Resources.Requests[corev1.ResourceStorage], found.Spec.StorageClassName)
}

func claim(c *v1alpha1.CoordinationCluster, v Volume, r Role, ordinal int, size resource.Quantity, class *string) *corev1ac.PersistentVolumeClaimApplyConfiguration {
	out := corev1ac.PersistentVolumeClaim(ClaimName(c, v, r, ordinal), c.Namespace).
		WithLabels(RoleLabels(c, r)).
		WithSpec(claimSpec(size, class))
	if c.Spec.Storage.Retention.WhenDeleted == v1alpha1.RetentionDelete {
		// Not the controller: a StatefulSet looks away from claims that have one.
		out.WithOwnerReferences(owner(c).WithController(false))
	}
	return out
}

// Larger reports whether a claim has to grow to what the spec says.
func Larger(c *v1alpha1.CoordinationCluster, v Volume, found *corev1.PersistentVolumeClaim) bool {
	size, _ := wanted(c, v)
	has := found.Spec.Resources.Requests[corev1.ResourceStorage]
	return size.Cmp(has) > 0
}
