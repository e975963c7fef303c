package v1alpha1

import "k8s.io/apimachinery/pkg/api/resource"

// StorageSpec is the disk of each member.
//
// +kubebuilder:validation:XValidation:rule="has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",message="storage.storageClassName can't be changed, set or removed later: volumes do not move between classes; to change it, make a new cluster of the other class, and move the clients and their data to it"
// +kubebuilder:validation:XValidation:rule="has(self.log) == has(oldSelf.log)",message="storage.log can't be added or removed later: the log would be left on the other volume; decide when the cluster is created"
type StorageSpec struct {
	// Size of the volume with snapshots, and with the log if that has no volume of
	// its own. It can grow later, without a restart if the storage class can do
	// that; it can't shrink.
	// +kubebuilder:default="10Gi"
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^[0-9]+([.][0-9]+)?(k|[KMGTPE]i|[MGTPE])?$`
	// +kubebuilder:validation:XValidation:rule="quantity(self).compareTo(quantity('256Mi')) >= 0",message="storage.size must be 256Mi or more: the log is made in files of 64Mi, and snapshots need room beside it"
	// +kubebuilder:validation:XValidation:rule="quantity(self).compareTo(quantity(oldSelf)) >= 0",message="storage.size can't shrink: volumes only grow; restore the size it had"
	// +optional
	Size resource.Quantity `json:"size,omitzero"`
	// Storage class of the volume; the Kubernetes cluster's default if it is not
	// set. It can't be changed later.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClassName *string `json:"storageClassName,omitempty"`
	// A volume of its own for the log, which makes writes wait less for
	// snapshots. It can't be added or removed later.
	// +optional
	Log *LogStorageSpec `json:"log,omitempty"`
	// What becomes of the volumes.
	// +kubebuilder:default={}
	// +optional
	Retention RetentionSpec `json:"retention,omitzero"`
}

// LogStorageSpec is the volume of the log.
//
// +kubebuilder:validation:XValidation:rule="has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",message="storage.log.storageClassName can't be changed, set or removed later: volumes do not move between classes; to change it, make a new cluster of the other class, and move the clients and their data to it"
type LogStorageSpec struct {
	// Size of the volume. It can grow later and can't shrink.
	// +kubebuilder:default="10Gi"
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^[0-9]+([.][0-9]+)?(k|[KMGTPE]i|[MGTPE])?$`
	// +kubebuilder:validation:XValidation:rule="quantity(self).compareTo(quantity('256Mi')) >= 0",message="storage.log.size must be 256Mi or more: the log is made in files of 64Mi"
	// +kubebuilder:validation:XValidation:rule="quantity(self).compareTo(quantity(oldSelf)) >= 0",message="storage.log.size can't shrink: volumes only grow; restore the size it had"
	// +optional
	Size resource.Quantity `json:"size,omitzero"`
	// Storage class of the volume; the Kubernetes cluster's default if it is not
	// set. It can't be changed later.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClassName *string `json:"storageClassName,omitempty"`
}

// RetentionPolicy is what becomes of a volume that is no longer used.
//
// +kubebuilder:validation:Enum=Retain;Delete
type RetentionPolicy string

const (
	// RetentionRetain keeps the volume claim, for a person to look at or to take up
	// again.
	RetentionRetain RetentionPolicy = "Retain"
	// RetentionDelete deletes the volume claim.
	RetentionDelete RetentionPolicy = "Delete"
)

// RetentionSpec is what becomes of volumes.
type RetentionSpec struct {
	// When the CoordinationCluster is deleted. A cluster of the same name that is
	// created over kept volumes is the old ensemble, with its data.
	// +kubebuilder:default=Retain
	// +optional
	WhenDeleted RetentionPolicy `json:"whenDeleted,omitempty"`
	// When a member is taken out of the ensemble by scaling down. Parking (replicas:
	// 0) takes no member out and always keeps the volumes.
	// +kubebuilder:default=Retain
	// +optional
	WhenScaled RetentionPolicy `json:"whenScaled,omitempty"`
}
