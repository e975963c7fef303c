package v1alpha1

import networkingv1 "k8s.io/api/networking/v1"

// SessionsSpec bounds the timeouts that clients negotiate. Times are in
// milliseconds, as in ZooKeeper.
//
// +kubebuilder:validation:XValidation:rule="!has(self.minTimeoutMilliseconds) || !has(self.maxTimeoutMilliseconds) || self.minTimeoutMilliseconds <= self.maxTimeoutMilliseconds",message="sessions.minTimeoutMilliseconds must not be more than sessions.maxTimeoutMilliseconds"
// +kubebuilder:validation:XValidation:rule="!has(self.minTimeoutMilliseconds) || has(self.maxTimeoutMilliseconds) || self.minTimeoutMilliseconds <= 20 * (has(self.tickMilliseconds) ? self.tickMilliseconds : 2000)",message="sessions.minTimeoutMilliseconds is more than 20 ticks, which is the longest timeout as long as maxTimeoutMilliseconds is not set: set it too, or a longer tick"
// +kubebuilder:validation:XValidation:rule="!has(self.maxTimeoutMilliseconds) || has(self.minTimeoutMilliseconds) || self.maxTimeoutMilliseconds >= 2 * (has(self.tickMilliseconds) ? self.tickMilliseconds : 2000)",message="sessions.maxTimeoutMilliseconds is less than 2 ticks, which is the shortest timeout as long as minTimeoutMilliseconds is not set: set it too, or a shorter tick"
type SessionsSpec struct {
	// ZooKeeper's tickTime, the unit in which its other times are given.
	// +kubebuilder:default=2000
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=60000
	// +optional
	TickMilliseconds int32 `json:"tickMilliseconds,omitempty"`
	// Shortest session timeout that a client gets. Without it: 2 ticks. A session
	// outlives a change of leader whatever its timeout; but a short one ends
	// with a client's garbage collection, or a node's pause.
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=86400000
	// +optional
	MinTimeoutMilliseconds *int32 `json:"minTimeoutMilliseconds,omitempty"`
	// Longest session timeout that a client gets. Without it: 20 ticks. So long
	// may ephemeral nodes and locks outlive the client that held them.
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=86400000
	// +optional
	MaxTimeoutMilliseconds *int32 `json:"maxTimeoutMilliseconds,omitempty"`
	// Most client connections of one member; 0 for no limit. Those beyond it are
	// refused, and clients try another member.
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	MaxPerMember int32 `json:"maxPerMember,omitempty"`
}

// LogLevel is what a server writes into its log.
//
// +kubebuilder:validation:Enum=debug;info;warn;error
type LogLevel string

// ServerSpec is how a server is configured.
type ServerSpec struct {
	// Keys of ZooKeeper's zoo.cfg and their values, for what has no field here, for
	// example snapCount, maxClientCnxns or 4lw.commands.whitelist. Keys that the
	// operator decides are refused: addresses, ports, directories, members, TLS,
	// and what has a field here.
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 128 && k.matches('^[A-Za-z0-9][A-Za-z0-9._-]*$'))",message="server.config: a key is a word of letters, digits, '.', '_' and '-'"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !self[k].matches('[\\\\n\\\\r]'))",message="server.config: a value is one line"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['dataDir', 'dataLogDir', 'datadir.autocreate', 'clientPort', 'clientPortAddress', 'secureClientPort', 'secureClientPortAddress', 'dynamicConfigFile', 'standaloneEnabled', 'reconfigEnabled', 'peerType', 'quorumListenOnAllIPs']) && !k.startsWith('server.') && !k.startsWith('group.') && !k.startsWith('weight.') && !k.startsWith('admin.') && !k.startsWith('metricsProvider.') && !(k.startsWith('conclave.') && (k.endsWith('Address') || k.startsWith('conclave.tls.'))))",message="server.config: addresses, ports, directories, TLS and members are decided by the operator (dataDir, dataLogDir, datadir.autocreate, clientPort*, secureClientPort*, dynamicConfigFile, standaloneEnabled, reconfigEnabled, peerType, quorumListenOnAllIPs, server.*, group.*, weight.*, admin.*, metricsProvider.*, conclave.*Address, conclave.tls.*): take the key out"
	// +kubebuilder:validation:XValidation:rule="!('tickTime' in self) && !('minSessionTimeout' in self) && !('maxSessionTimeout' in self) && !('maxCnxns' in self)",message="server.config: tickTime, minSessionTimeout, maxSessionTimeout and maxCnxns have fields of their own: use spec.sessions"
	// +kubebuilder:validation:XValidation:rule="!self.exists(k, k == 'superDigest' || k == 'DigestAuthenticationProvider.superDigest')",message="server.config: the super user's digest is a secret and everybody can read a CoordinationCluster: use server.superDigestSecret"
	// +optional
	Config map[string]ConfigValue `json:"config,omitempty"`
	// Secret with the digest of the user whom no ACL binds, as user:base64 of the
	// hash of user:password (ZooKeeper's superDigest).
	// +optional
	SuperDigestSecret *SecretKey `json:"superDigestSecret,omitempty"`
	// What the servers write into their logs.
	// +kubebuilder:default=info
	// +optional
	LogLevel LogLevel `json:"logLevel,omitempty"`
}

// ConfigValue is the value of a key of zoo.cfg.
//
// +kubebuilder:validation:MaxLength=1024
type ConfigValue string

// SecretKey is one value in a Secret of the cluster's namespace.
type SecretKey struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Key in the Secret's data.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// ServiceType is how clients reach the members.
//
// +kubebuilder:validation:Enum=ClusterIP;NodePort;LoadBalancer
type ServiceType string

// ServiceSpec is the Service that clients connect to: the cluster's name, and the
// members that are ready.
//
// +kubebuilder:validation:XValidation:rule="!has(self.nodePort) || (has(self.type) && self.type != 'ClusterIP')",message="service.nodePort needs service.type NodePort or LoadBalancer"
// +kubebuilder:validation:XValidation:rule="!has(self.loadBalancerClass) || (has(self.type) && self.type == 'LoadBalancer')",message="service.loadBalancerClass needs service.type LoadBalancer"
// +kubebuilder:validation:XValidation:rule="!has(self.externalTrafficPolicy) || (has(self.type) && self.type != 'ClusterIP')",message="service.externalTrafficPolicy needs service.type NodePort or LoadBalancer"
type ServiceSpec struct {
	// Type of the Service.
	// +kubebuilder:default=ClusterIP
	// +optional
	Type ServiceType `json:"type,omitempty"`
	// Port of the Service. Pods serve clients on port 2181 whatever it is.
	// +kubebuilder:default=2181
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	Port int32 `json:"port,omitempty"`
	// Port on the nodes, for types NodePort and LoadBalancer. Without it Kubernetes
	// chooses one.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	NodePort *int32 `json:"nodePort,omitempty"`
	// Labels of the Service, besides the operator's.
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations of the Service, for example for a cloud's load balancer.
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// Which load balancer serves a Service of type LoadBalancer.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	LoadBalancerClass *string `json:"loadBalancerClass,omitempty"`
	// Whether connections from outside stay on the node where they arrive (Local),
	// which keeps the client's address, or may go to any member (Cluster).
	// +kubebuilder:validation:Enum=Cluster;Local
	// +optional
	ExternalTrafficPolicy string `json:"externalTrafficPolicy,omitempty"`
}

// NetworkPolicyMode says whether there is a NetworkPolicy.
//
// +kubebuilder:validation:Enum=Managed;None
type NetworkPolicyMode string

const (
	// NetworkPolicyManaged is a NetworkPolicy of the operator's making.
	NetworkPolicyManaged NetworkPolicyMode = "Managed"
	// NetworkPolicyNone is no NetworkPolicy.
	NetworkPolicyNone NetworkPolicyMode = "None"
)

// NetworkPolicySpec is who may reach the members.
type NetworkPolicySpec struct {
	// Managed: members reach each other, the operator reaches their admin ports,
	// and clients the client port. None: no NetworkPolicy is made; mutual TLS
	// keeps strangers from peer and admin ports all the same.
	// +kubebuilder:default=Managed
	// +optional
	Mode NetworkPolicyMode `json:"mode,omitempty"`
	// From where clients may connect. Without it: from everywhere.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Clients []networkingv1.NetworkPolicyPeer `json:"clients,omitempty"`
}
