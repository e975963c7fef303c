package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TopologySpread spreads members of a role over the values of a node label.
type TopologySpread struct {
	// The node label, for example topology.kubernetes.io/zone.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	TopologyKey string `json:"topologyKey"`
	// By how many members two values may differ.
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	// +optional
	MaxSkew int32 `json:"maxSkew,omitempty"`
	// What happens if that can't be kept: ScheduleAnyway starts the member all the
	// same, DoNotSchedule leaves it pending.
	// +kubebuilder:default=ScheduleAnyway
	// +kubebuilder:validation:Enum=ScheduleAnyway;DoNotSchedule
	// +optional
	WhenUnsatisfiable string `json:"whenUnsatisfiable,omitempty"`
}

// UpdateStrategy is how members are restarted: observers first, then followers,
// the leader last after handing over, one at a time, each only while every voter
// is in sync.
type UpdateStrategy struct {
	// Over how long the connections of a member are closed before it is restarted,
	// so that its clients move to the others little by little. Their sessions go on.
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=600
	// +optional
	DrainSeconds *int32 `json:"drainSeconds,omitempty"`
	// How long a step may take (a restarted member to be in sync again, a new one
	// to catch up) before condition Progressing says that it is stuck. Nothing is
	// given up then: the next member is not touched, and the step goes on.
	// +kubebuilder:default=600
	// +kubebuilder:validation:Minimum=30
	// +kubebuilder:validation:Maximum=86400
	// +optional
	StepTimeoutSeconds *int32 `json:"stepTimeoutSeconds,omitempty"`
}

// MonitoringSpec is how metrics are served and found.
type MonitoringSpec struct {
	// A PodMonitor (monitoring.coreos.com), from which a Prometheus operator
	// learns what to scrape. Nothing is made, and condition Progressing is not
	// held up, where that kind is not installed.
	// +optional
	PodMonitor *PodMonitorSpec `json:"podMonitor,omitempty"`
}

// PodMonitorSpec is how a Prometheus operator scrapes the members.
type PodMonitorSpec struct {
	// Labels of the PodMonitor, by which a Prometheus selects it.
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// Time between two scrapes.
	// +kubebuilder:default=30
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3600
	// +optional
	IntervalSeconds int32 `json:"intervalSeconds,omitempty"`
}

// TargetStatus is the part of the spec that the operator works towards. It is
// latched: an edit waits until the step under way is done.
type TargetStatus struct {
	// Generation of the newest spec that all of this is from. It is behind
	// metadata.generation while another size waits for the step under way.
	Generation int64 `json:"generation"`
	// Voters wanted.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=7
	Replicas int32 `json:"replicas"`
	// Observers wanted.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=32
	Observers int32 `json:"observers"`
	// Image that every member is to run.
	// +kubebuilder:validation:MaxLength=640
	Image string `json:"image"`
	// Hash of what the spec says about pods; those with another one are restarted.
	// +kubebuilder:validation:MaxLength=64
	Hash string `json:"hash"`
	// The step under way, if there is one.
	// +optional
	Step *StepStatus `json:"step,omitempty"`
}

// StepStatus is the one step under way. What it needs to be taken up again after
// a restart of the operator is here.
type StepStatus struct {
	// What is being done: one of the steps' names, for example AddMember.
	// +kubebuilder:validation:MaxLength=64
	Action string `json:"action"`
	// Name of the member's pod.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Member string `json:"member,omitempty"`
	// Id of the member, if it has one yet.
	// +kubebuilder:validation:MaxLength=16
	// +optional
	MemberID string `json:"memberID,omitempty"`
	// Configuration index on which the step was planned.
	// +optional
	ConfigurationIndex int64 `json:"configurationIndex,omitempty"`
	// UID of the pod that the step is about, so that nothing is done to the next pod
	// of that name.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	PodUID string `json:"podUID,omitempty"`
	// When the step began.
	StartTime metav1.Time `json:"startTime"`
}

// RolloutStatus is the restart of members under way, or the last one.
type RolloutStatus struct {
	// Hash that the members are, or were, being brought to.
	// +kubebuilder:validation:MaxLength=64
	Hash string `json:"hash"`
	// What changed: for example image, configuration, resources.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Cause string `json:"cause,omitempty"`
	// Members that have the hash, observers included.
	// +optional
	Updated int32 `json:"updated"`
	// Members in all, observers included.
	// +optional
	Total int32 `json:"total"`
	// Pod of the member that is being restarted.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Member string `json:"member,omitempty"`
	// What is being done with it, or what holds the roll back.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Message string `json:"message,omitempty"`
	// When the roll began.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// When the last member was in sync again; not set while the roll goes on.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// What the ensemble's count of expired sessions was when the roll began, or when a
	// leader could first tell it.
	// +optional
	ExpiredBefore *int64 `json:"expiredBefore,omitempty"`
	// Sessions of the ensemble that have expired since then, also those whose clients
	// simply died. An edit on the way, or its taking back, goes on counting. Of a roll
	// alone it must be 0.
	// +optional
	SessionsExpired int64 `json:"sessionsExpired"`
}
