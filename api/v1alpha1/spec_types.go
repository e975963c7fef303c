package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// CoordinationClusterSpec is what is wanted.
//
// +kubebuilder:validation:XValidation:rule="!has(self.image) || !has(self.version)",message="set image or version, not both: image names a version already"
// +kubebuilder:validation:XValidation:rule="!has(self.recovery) || !has(self.paused) || !self.paused",message="recovery does nothing while the cluster is paused: set paused to false, or take recovery out"
type CoordinationClusterSpec struct {
	// How many members vote: 1, 3, 5 or 7. The ensemble serves as long as a
	// majority of them is up: with 3 one may fail, with 5 two. Members are added
	// and removed one at a time, without losing a session. 0 parks the ensemble:
	// no pods, and all data kept; any other number brings the same ensemble back.
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=7
	// +kubebuilder:validation:XValidation:rule="self == 0 || self % 2 == 1",message="replicas can't be even: an even number of voters survives no more failures than one voter fewer, and more of them must be up; use 1, 3, 5 or 7 (or 0, which parks the ensemble)"
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`

	// How many members do not vote. They serve reads, and take load from the
	// voters, without making writes slower; they do not count for the majority.
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=32
	// +optional
	Observers *int32 `json:"observers,omitempty"`

	// Image of the servers, as registry/repository:tag or with a digest. If
	// neither image nor version is set, the operator's own image is taken when the
	// cluster is created, and kept: upgrading the operator restarts no server.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Image string `json:"image,omitempty"`

	// Version of the servers: the tag of the repository that the operator's own
	// image comes from.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9._-]*$`
	// +optional
	Version string `json:"version,omitempty"`

	// When a node pulls the image.
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	// +optional
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`

	// Secrets of this namespace with which the image is pulled.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`

	// The disks of the members.
	// +kubebuilder:default={}
	// +optional
	Storage StorageSpec `json:"storage,omitzero"`

	// How long a client may be silent before its session ends.
	// +kubebuilder:default={}
	// +optional
	Sessions SessionsSpec `json:"sessions,omitzero"`

	// Options of the servers.
	// +kubebuilder:default={}
	// +optional
	Server ServerSpec `json:"server,omitzero"`

	// Requests and limits of each server for CPU and memory. All nodes of the tree
	// are in memory, on each member.
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitzero"`

	// Changes to the pods that the operator makes, merged into them as kubectl
	// patch --type=strategic does: metadata.labels, metadata.annotations and spec
	// of a pod template. The container of the server is called "server". What the
	// ensemble stands on can't be changed: name, command, arguments, ports, probes
	// and mounts of that container, the volumes that it mounts, restart policy,
	// service account, and what would break the restricted Pod Security standard.
	// Such an override is refused; condition Progressing says which.
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	// +optional
	PodTemplate *runtime.RawExtension `json:"podTemplate,omitempty"`

	// Over what the members of a role are spread. Without it: over nodes and over
	// zones, where possible. An empty list spreads over nothing.
	// +kubebuilder:default={{topologyKey: "kubernetes.io/hostname"}, {topologyKey: "topology.kubernetes.io/zone"}}
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=topologyKey
	// +optional
	TopologySpread []TopologySpread `json:"topologySpread,omitempty"`

	// The Service that clients connect to.
	// +kubebuilder:default={}
	// +optional
	Service ServiceSpec `json:"service,omitzero"`

	// Who may reach the members through the network.
	// +kubebuilder:default={}
	// +optional
	NetworkPolicy NetworkPolicySpec `json:"networkPolicy,omitzero"`

	// How members are restarted when image, configuration or resources change.
	// +kubebuilder:default={}
	// +optional
	UpdateStrategy UpdateStrategy `json:"updateStrategy,omitzero"`

	// Metrics of the servers.
	// +kubebuilder:default={}
	// +optional
	Monitoring MonitoringSpec `json:"monitoring,omitzero"`

	// Ephemeral nodes that are shown as Lease objects.
	// +optional
	Leases *LeasesSpec `json:"leases,omitempty"`

	// The operator changes nothing, and goes on showing what it sees. A membership
	// change or a restart under way stops where it is.
	// +optional
	Paused bool `json:"paused,omitempty"`

	// Gives up members whose data is lost for good, so that those that are left can
	// serve again. Only for an ensemble that has lost its majority for ever:
	// writes that the lost members alone had are gone.
	// +optional
	Recovery *RecoverySpec `json:"recovery,omitempty"`
}

// RecoverySpec is the order to go on from one surviving member. It names what the
// person who gives it has looked at, so that it can be carried out once, and only
// in that situation: the ensemble that goes on has another id.
type RecoverySpec struct {
	// The ensemble that has lost its majority: what status.clusterID says now.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{32}$`
	// +kubebuilder:validation:MaxLength=32
	ClusterID string `json:"clusterID"`
	// The id, in status.members, of the member to go on from: of those that are
	// left, the one with the highest zxid.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{1,16}$`
	// +kubebuilder:validation:MaxLength=16
	Survivor string `json:"survivor"`
	// Who decided this and why. It is kept in the members' logs and in an event.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Reason string `json:"reason"`
}
