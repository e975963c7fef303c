package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CoordinationClusterStatus is what the operator saw last, and what it must not
// forget.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.bootstrap) || !oldSelf.bootstrap.succeeded || has(self.bootstrap)",message="status.bootstrap is kept for good: without it an ensemble might be founded a second time"
type CoordinationClusterStatus struct {
	// Generation of the spec that the operator has seen.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Id of the ensemble: of the one that was founded or adopted, or of the one that
	// came out of the last recovery.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	ClusterID string `json:"clusterID,omitempty"`
	// Pods of voters that exist and are not being deleted.
	// +optional
	Replicas int32 `json:"replicas"`
	// Voters that are ready: their pod is, and they say that they are in sync.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas"`
	// Pods of observers that exist and are not being deleted.
	// +optional
	Observers int32 `json:"observers,omitempty"`
	// Observers that are ready.
	// +optional
	ReadyObservers int32 `json:"readyObservers,omitempty"`
	// readyReplicas and the voters wanted, for people: 3/3.
	// +kubebuilder:validation:MaxLength=16
	// +optional
	Ready string `json:"ready,omitempty"`
	// Label selector of the voters' pods, for the scale subresource.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Selector string `json:"selector,omitempty"`
	// Version that all members run; while they differ, all of them: 1.0.0,1.1.0.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Version string `json:"version,omitempty"`
	// Image that was taken when the cluster was created, if spec set none.
	// +kubebuilder:validation:MaxLength=640
	// +optional
	Image string `json:"image,omitempty"`
	// Pod of the leader, as a quorum confirms it; empty if there is none.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Leader string `json:"leader,omitempty"`
	// Where clients connect, host:port.
	// +kubebuilder:validation:MaxLength=320
	// +optional
	ClientEndpoint string `json:"clientEndpoint,omitempty"`

	// How the ensemble came to be. Never changed once it has succeeded.
	// +optional
	Bootstrap *BootstrapStatus `json:"bootstrap,omitempty"`
	// What the operator works towards.
	// +optional
	Target *TargetStatus `json:"target,omitempty"`
	// The restart of members under way, or the last one.
	// +optional
	Rollout *RolloutStatus `json:"rollout,omitempty"`
	// The membership to come back with, while the cluster is parked (replicas: 0).
	// +optional
	Parked *ParkedStatus `json:"parked,omitempty"`
	// The last recovery from a lost majority.
	// +optional
	Recovery *RecoveryStatus `json:"recovery,omitempty"`

	// The members, and the pods that are to become members.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=pod
	// +optional
	Members []MemberStatus `json:"members,omitempty"`

	// The sessions of the clients.
	// +optional
	Sessions *SessionsStatus `json:"sessions,omitempty"`
	// The Leases that mirror ephemeral nodes.
	// +optional
	Leases *LeasesStatus `json:"leases,omitempty"`

	// How the cluster is, in conditions: Available, Progressing, Degraded,
	// QuorumHealthy, MembersInSync, SessionsSynced, LeasesSynced.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BootstrapStatus is the latch that makes founding an ensemble happen once. It is
// written before the one Bootstrap call that it describes, and again after that
// has succeeded; from then on no such call is made.
//
// +kubebuilder:validation:XValidation:rule="!oldSelf.succeeded || (self.succeeded && self.clusterID == oldSelf.clusterID && self.memberID == oldSelf.memberID)",message="status.bootstrap has succeeded and can't be changed: the ensemble exists"
type BootstrapStatus struct {
	// Id that the ensemble is, or was, founded with; or that of the members whose
	// volumes were found.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{32}$`
	// +kubebuilder:validation:MaxLength=32
	ClusterID string `json:"clusterID"`
	// Id of the member that founds it. Empty if the ensemble was adopted.
	// +kubebuilder:validation:MaxLength=16
	// +optional
	MemberID string `json:"memberID"`
	// Pod of that member.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Pod string `json:"pod,omitempty"`
	// The ensemble existed already, on volumes that were kept.
	// +optional
	Adopted bool `json:"adopted,omitempty"`
	// The ensemble exists. It is never founded again.
	// +optional
	Succeeded bool `json:"succeeded"`
	// When the latch was written.
	// +optional
	LatchedTime *metav1.Time `json:"latchedTime,omitempty"`
	// When the founding had succeeded.
	// +optional
	SucceededTime *metav1.Time `json:"succeededTime,omitempty"`
}

// ParkedStatus is what a parked ensemble comes back as: its raft membership is
// kept, so all of its old voters return before it is scaled to anything else.
type ParkedStatus struct {
	// Voters that the ensemble has.
	Replicas int32 `json:"replicas"`
	// Observers that the ensemble has.
	// +optional
	Observers int32 `json:"observers"`
	// When it was parked.
	Time metav1.Time `json:"time"`
}

// RecoveryStatus is a recovery from a lost majority.
type RecoveryStatus struct {
	// The ensemble that was given up.
	// +kubebuilder:validation:MaxLength=32
	FormerClusterID string `json:"formerClusterID"`
	// The ensemble that goes on; empty until that is decided.
	// +kubebuilder:validation:MaxLength=32
	// +optional
	ClusterID string `json:"clusterID,omitempty"`
	// Id of the member that it goes on from.
	// +kubebuilder:validation:MaxLength=16
	Survivor string `json:"survivor"`
	// Who decided it and why, of an order that is void.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Reason string `json:"reason,omitempty"`
	// The ensemble had its majority when it was looked at: the order is void, also if
	// a majority is lost another day. To give it then, edit spec.recovery, or take it
	// out and put it in again.
	// +optional
	Void bool `json:"void,omitempty"`
	// Last zxid that the survivor had, as 0x and hexadecimal digits.
	// +kubebuilder:validation:MaxLength=18
	// +optional
	LastZxid string `json:"lastZxid,omitempty"`
	// When it was carried out.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`
	// Why it can't be carried out, if so.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}

// MemberRole is what a member is in its ensemble.
//
// +kubebuilder:validation:Enum=Leader;Follower;Observer;Learner;Looking;None
type MemberRole string

const (
	// RoleLeader leads, confirmed by a quorum.
	RoleLeader MemberRole = "Leader"
	// RoleFollower votes and knows a leader.
	RoleFollower MemberRole = "Follower"
	// RoleObserver does not vote, for good.
	RoleObserver MemberRole = "Observer"
	// RoleLearner does not vote yet: it is catching up.
	RoleLearner MemberRole = "Learner"
	// RoleLooking belongs to the ensemble and knows no leader.
	RoleLooking MemberRole = "Looking"
	// RoleNone does not belong to the ensemble, or does not answer.
	RoleNone MemberRole = "None"
)

// MemberStatus is a member, or a pod that is to become one.
type MemberStatus struct {
	// Name of the pod.
	// +kubebuilder:validation:MaxLength=63
	Pod string `json:"pod"`
	// The N of server.N: by it ZooKeeper's tools call the member.
	// +optional
	Number int32 `json:"number,omitempty"`
	// The member's id, which it keeps as long as its data: 16 hexadecimal digits at
	// most.
	// +kubebuilder:validation:MaxLength=16
	// +optional
	ID string `json:"id,omitempty"`
	// What it is in the ensemble.
	// +optional
	Role MemberRole `json:"role,omitempty"`
	// The ensemble counts it among its voters.
	// +optional
	Voter bool `json:"voter,omitempty"`
	// It serves clients and is in sync, by its own word and the kubelet's.
	// +optional
	Ready bool `json:"ready"`
	// Why it is not ready.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Message string `json:"message,omitempty"`
	// Log entries that it has not applied yet, of those that the leader has
	// committed.
	// +optional
	Lag int64 `json:"lag"`
	// Its last zxid, as 0x and hexadecimal digits. Which member has the highest one
	// matters when a majority is lost.
	// +kubebuilder:validation:MaxLength=18
	// +optional
	Zxid string `json:"zxid,omitempty"`
	// Version that it runs.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Version string `json:"version,omitempty"`
	// Hash of the spec that its pod was made from.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Hash string `json:"hash,omitempty"`
	// Node that its pod runs on.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Node string `json:"node,omitempty"`
	// Client connections that it has.
	// +optional
	Connections int64 `json:"connections"`
	// Its clients are being moved to other members.
	// +optional
	Draining bool `json:"draining,omitempty"`
}
