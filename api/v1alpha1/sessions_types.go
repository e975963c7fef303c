package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MaxSessionsAtRisk is how many sessions status.sessions.atRisk lists at most.
const MaxSessionsAtRisk = 20

// SessionState is a session's state as the ensemble sees it. A session that is
// closed is no more, and only counted.
//
// +kubebuilder:validation:Enum=NOT_CONNECTED;CONNECTING;CONNECTED
type SessionState string

const (
	// SessionNotConnected was restored after a restart of the whole ensemble; its
	// client was not seen since. A change of leader never causes it.
	SessionNotConnected SessionState = "NOT_CONNECTED"
	// SessionConnecting has no live connection now, or its handshake is under way.
	SessionConnecting SessionState = "CONNECTING"
	// SessionConnected has an open connection to a member.
	SessionConnected SessionState = "CONNECTED"
)

// SessionsStatus is the clients' sessions, as the leader knew them at Zxid.
type SessionsStatus struct {
	// The transaction up to which this is complete, as 0x and hexadecimal digits.
	// +kubebuilder:validation:MaxLength=18
	// +optional
	Zxid string `json:"zxid,omitempty"`
	// When the leader's stream was last known to be complete. If condition
	// SessionsSynced is not True, this is how old the rest is.
	// +optional
	ObservedTime *metav1.Time `json:"observedTime,omitempty"`
	// Sessions of the three states below.
	Total int64 `json:"total"`
	// Sessions with an open connection.
	Connected int64 `json:"connected"`
	// Sessions without a connection now. They expire unless their clients return.
	Connecting int64 `json:"connecting"`
	// Sessions restored after a restart of the whole ensemble, whose clients were
	// not seen since.
	NotConnected int64 `json:"notConnected"`
	// Sessions that have ended (CLOSED), closed by their clients, counted since the
	// ensemble was founded.
	Closed int64 `json:"closed"`
	// Sessions that have ended (CLOSED) because their clients were silent for too
	// long.
	Expired int64 `json:"expired"`
	// Ephemeral nodes of all sessions.
	Ephemerals int64 `json:"ephemerals"`
	// Watches on all members.
	Watches int64 `json:"watches"`
	// The sessions nearest to expiry, as the leader ranks them, first the nearest;
	// all sessions if there are no more than fit.
	// +kubebuilder:validation:MaxItems=20
	// +listType=atomic
	// +optional
	AtRisk []SessionAtRisk `json:"atRisk,omitempty"`
}

// SessionAtRisk is a session and how near it is to expiry.
type SessionAtRisk struct {
	// The session's id, as 0x and hexadecimal digits.
	// +kubebuilder:validation:MaxLength=18
	ID string `json:"id"`
	// Its state.
	State SessionState `json:"state"`
	// For how long nothing was heard from the client, as of observedTime.
	SilenceMilliseconds int64 `json:"silenceMilliseconds"`
	// After how long a silence it expires.
	TimeoutMilliseconds int64 `json:"timeoutMilliseconds"`
	// Ephemeral nodes that go with it.
	Ephemerals int64 `json:"ephemerals"`
	// Pod of the member to which the client is connected, or was last.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Member string `json:"member,omitempty"`
	// The client's address, host:port.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	ClientAddress string `json:"clientAddress,omitempty"`
	// The client, if its address is that of a pod.
	// +optional
	Pod *ClientPod `json:"pod,omitempty"`
}

// ClientPod is the pod that a session's client runs in.
type ClientPod struct {
	// Namespace of the pod.
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// Name of the pod.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// What made the pod, as kind/name: Deployment/shop.
	// +kubebuilder:validation:MaxLength=320
	// +optional
	Owner string `json:"owner,omitempty"`
}

// LeasesStatus is what became of spec.leases.
type LeasesStatus struct {
	// When the mirror was last known to be complete.
	// +optional
	ObservedTime *metav1.Time `json:"observedTime,omitempty"`
	// Lease objects that mirror a node or an election.
	Mirrored int64 `json:"mirrored"`
	// Matching nodes and elections that have no Lease because there would be too
	// many.
	// +optional
	Truncated int64 `json:"truncated"`
	// Those that have no Lease because its name is taken, by a Lease that is not of
	// this cluster's making or by another path.
	// +optional
	Conflicts int64 `json:"conflicts"`
	// After how long a Lease that is not renewed has run out: the duration that the
	// rules ask for, or more if there are so many Leases that renewing them takes
	// longer.
	// +optional
	DurationSeconds int32 `json:"durationSeconds,omitempty"`
	// The same by rule.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Rules []LeaseRuleStatus `json:"rules,omitempty"`
}

// LeaseRuleStatus is what became of one rule.
type LeaseRuleStatus struct {
	// Name of the rule.
	// +kubebuilder:validation:MaxLength=40
	Name string `json:"name"`
	// Leases that it has.
	Mirrored int64 `json:"mirrored"`
	// Those that it has not because there would be too many.
	// +optional
	Truncated int64 `json:"truncated"`
	// Those that it has not because their name is taken.
	// +optional
	Conflicts int64 `json:"conflicts"`
	// The first conflict, or what else is wrong.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Message string `json:"message,omitempty"`
}
