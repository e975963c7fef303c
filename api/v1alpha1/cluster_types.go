package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CoordinationCluster is an ensemble of Conclave servers, which every ZooKeeper
// client can use. Its status shows the members, the sessions of the clients and
// which of them are about to expire.
//
// +kubebuilder:object:root=true
// +genclient
// +kubebuilder:resource:path=coordinationclusters,singular=coordinationcluster,shortName=cc,categories=all
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.ready`,description="Voters that are ready, of those wanted"
// +kubebuilder:printcolumn:name="Leader",type=string,JSONPath=`.status.leader`,description="Pod of the leader"
// +kubebuilder:printcolumn:name="Sessions",type=integer,JSONPath=`.status.sessions.total`,description="Sessions of all states"
// +kubebuilder:printcolumn:name="Connected",type=integer,priority=1,JSONPath=`.status.sessions.connected`,description="Sessions with an open connection"
// +kubebuilder:printcolumn:name="Connecting",type=integer,priority=1,JSONPath=`.status.sessions.connecting`,description="Sessions without a connection at the moment"
// +kubebuilder:printcolumn:name="NotConnected",type=integer,priority=1,JSONPath=`.status.sessions.notConnected`,description="Sessions not seen since the whole ensemble restarted"
// +kubebuilder:printcolumn:name="Closed",type=integer,priority=1,JSONPath=`.status.sessions.closed`,description="Sessions that their clients have closed so far"
// +kubebuilder:printcolumn:name="Expired",type=integer,priority=1,JSONPath=`.status.sessions.expired`,description="Sessions that have expired so far"
// +kubebuilder:printcolumn:name="Ephemerals",type=integer,priority=1,JSONPath=`.status.sessions.ephemerals`,description="Ephemeral nodes"
// +kubebuilder:printcolumn:name="Watches",type=integer,priority=1,JSONPath=`.status.sessions.watches`,description="Watches that clients have set"
// +kubebuilder:printcolumn:name="Leases",type=integer,priority=1,JSONPath=`.status.leases.mirrored`,description="Leases that mirror ephemeral nodes"
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`,description="Version that all members run"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Available",type=string,JSONPath=`.status.conditions[?(@.type=="Available")].status`,description="Whether clients are served"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 40",message="metadata.name may have 40 characters: names of pods, and of the services that clients use, are made from it"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must begin with a letter and consist of lower-case letters, digits and '-': it becomes the name of a Service"
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.endsWith('-members') && !self.metadata.name.endsWith('-observer')",message="metadata.name must not end in -members or -observer: another cluster's Service or StatefulSet may have that name"
type CoordinationCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is wanted.
	// +kubebuilder:default={}
	// +optional
	Spec CoordinationClusterSpec `json:"spec,omitzero"`
	// What was seen. Written by the operator alone.
	// +optional
	Status CoordinationClusterStatus `json:"status,omitzero"`
}

// CoordinationClusterList is a list of clusters.
//
// +kubebuilder:object:root=true
type CoordinationClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CoordinationCluster `json:"items"`
}
