package v1alpha1

// LeasesSpec selects the ephemeral nodes that are shown as Leases
// (coordination.k8s.io/v1) in the cluster's namespace. Nobody can take a lock by
// writing such a Lease: edits are undone.
type LeasesSpec struct {
	// What is mirrored. A node that several rules match has a Lease for each.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	Rules []LeaseRule `json:"rules"`
	// After how long a Lease that is not renewed has run out: so long does it
	// outlive the ensemble, or the operator. Renewals take turns within a third of
	// it; it is stretched where there are too many Leases for that (see
	// status.leases.durationSeconds).
	// +kubebuilder:default=60
	// +kubebuilder:validation:Minimum=15
	// +kubebuilder:validation:Maximum=3600
	// +optional
	DurationSeconds int32 `json:"durationSeconds,omitempty"`
	// Most Leases of this cluster. Beyond it nothing more is mirrored, and condition
	// LeasesSynced says Truncated.
	// +kubebuilder:default=1000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=20000
	// +optional
	MaxLeases int32 `json:"maxLeases,omitempty"`
}

// LeaseRuleKind is what a rule's path stands for.
//
// +kubebuilder:validation:Enum=Node;Election
type LeaseRuleKind string

const (
	// LeaseNode mirrors each matching ephemeral node: the Lease is there as long as
	// the node, and its holder is the node's session.
	LeaseNode LeaseRuleKind = "Node"
	// LeaseElection mirrors each matching node with sequential ephemeral children:
	// the holder is the owner of the lowest one.
	LeaseElection LeaseRuleKind = "Election"
)

// LeaseHolderSource is where a Lease's holderIdentity comes from.
//
// +kubebuilder:validation:Enum=Session;Data;Pod
type LeaseHolderSource string

const (
	// HolderSession is the session's id, 0x and hexadecimal digits.
	HolderSession LeaseHolderSource = "Session"
	// HolderData is the ephemeral node's data, or a field of it.
	HolderData LeaseHolderSource = "Data"
	// HolderPod is the client's pod.
	HolderPod LeaseHolderSource = "Pod"
)

// LeaseRule mirrors the ephemeral nodes that match a path.
//
// +kubebuilder:validation:XValidation:rule="!has(self.children) || self.kind == 'Election'",message="children is for rules of kind Election: a Node rule says it all in its path"
// +kubebuilder:validation:XValidation:rule="!has(self.leaseName) || self.leaseName.findAll('[{][^{}]*[}]').all(p, p in ['{cluster}', '{rule}', '{name}', '{hash}'] || self.path.contains(p))",message="leaseName: a word in braces is cluster, rule, name, hash, or a capture of path: for {tenant}, path needs an element {tenant}"
// +kubebuilder:validation:XValidation:rule="!has(self.leaseName) || self.leaseName.contains('{hash}') || !(self.path.contains('*') || self.path.contains('{')) || (self.leaseName.contains('{name}') && self.path.matches('/[^/]*[*{][^/]*$')) || self.path.findAll('[{][^{}]*[}]').exists(p, self.leaseName.contains(p))",message="leaseName is the same for every path that matches: add {hash}, a capture of path, or, where the last element differs, {name}"
type LeaseRule struct {
	// Name of the rule: a label of its Leases, and part of their names.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
	// Node: path matches ephemeral nodes, and each has a Lease. Election: path
	// matches the parents of sequential ephemeral nodes, as Curator's LeaderLatch
	// and LeaderSelector, kazoo's Election and ZooKeeper's own recipe make them,
	// and each parent has a Lease.
	Kind LeaseRuleKind `json:"kind"`
	// Path, from the root. An element can be * (any name), have * in it (any
	// letters), or be {word} (any name, which leaseName can use); a last element **
	// is one or more elements. /zookeeper can't be mirrored.
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.startsWith('/')",message="path begins at the root: put a / in front"
	// +kubebuilder:validation:XValidation:rule="!self.endsWith('/')",message="path ends in the name of a node: take the / at its end away"
	// +kubebuilder:validation:XValidation:rule="!self.contains('//')",message="path has an element without a name: write one / instead of two"
	// +kubebuilder:validation:XValidation:rule="!self.matches('(^|/)[.][.]?(/|$)')",message="path can't have the elements . and ..: ZooKeeper has no relative paths"
	// +kubebuilder:validation:XValidation:rule="!self.matches('[*][*].') && !self.matches('[^/][*][*]')",message="path: ** stands alone, as the last element"
	// +kubebuilder:validation:XValidation:rule="!self.matches('[{}]') || self.matches('^(/([^/{}]+|[{][a-z][a-z0-9]*[}]))+$')",message="path: a capture is an element of its own, a word of lower-case letters and digits in braces: /locks/{tenant}"
	// +kubebuilder:validation:XValidation:rule="self != '/zookeeper' && !self.startsWith('/zookeeper/')",message="path: what is below /zookeeper is the ensemble's own"
	// +kubebuilder:validation:XValidation:rule="self.findAll('[{][^{}]*[}]').all(p, self.indexOf(p) == self.lastIndexOf(p))",message="path: each capture needs a name of its own"
	// +kubebuilder:validation:XValidation:rule="self.findAll('[{][^{}]*[}]').all(p, !(p in ['{cluster}', '{rule}', '{name}', '{hash}']))",message="path: cluster, rule, name and hash have a meaning in leaseName: give the capture another name"
	// +kubebuilder:validation:XValidation:rule="self.split('/').size() <= 17",message="path can have 16 elements"
	Path string `json:"path"`
	// For Election, which children are candidates, as a name in which * is any
	// letters. Only children whose names end in ZooKeeper's ten digits are, in any
	// case. Without it: all.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!self.contains('/') && self != '.' && self != '..'",message="children is the name of a node, without /, and neither . nor .."
	// +optional
	Children string `json:"children,omitempty"`
	// Who is the holder.
	// +kubebuilder:default={}
	// +optional
	Holder LeaseHolder `json:"holder,omitzero"`
	// Name of the Lease, with {cluster}, {rule}, {name} (of the matching node),
	// {hash} (of its path) or a capture of path; made fit for a DNS name, and
	// shortened. Without it: {cluster}-{rule}-{hash}. If two paths have one name,
	// neither has a Lease, and condition LeasesSynced says NameConflict.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([-.a-z0-9]|\{[a-z][a-z0-9]*\})+$`
	// +optional
	LeaseName string `json:"leaseName,omitempty"`
	// Labels of the Leases, besides the operator's.
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('conclave.dev/') && !k.startsWith('app.kubernetes.io/'))",message="labels of conclave.dev and app.kubernetes.io are the operator's: use another prefix"
	// +optional
	Labels map[string]LeaseLabel `json:"labels,omitempty"`
	// Annotations of the Leases, besides the operator's (path, holder-path,
	// holder-from, session, czxid, fencing-token, cluster-id).
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('conclave.dev/'))",message="annotations of conclave.dev are the operator's: use another prefix"
	// +optional
	Annotations map[string]LeaseAnnotation `json:"annotations,omitempty"`
}

// LeaseLabel is the value of a label.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$`
type LeaseLabel string

// LeaseAnnotation is the value of an annotation.
//
// +kubebuilder:validation:MaxLength=1024
type LeaseAnnotation string

// LeaseHolder says what stands in holderIdentity.
//
// +kubebuilder:validation:XValidation:rule="!has(self.jsonField) || (has(self.from) && self.from == 'Data')",message="holder.jsonField is a field of the node's data: set holder.from to Data"
type LeaseHolder struct {
	// Session: the id of the session that owns the node. Data: the node's data, as
	// text, which for most election recipes is the candidate's name. Pod: the
	// client's pod, as namespace/name. Where there is no data or no such pod, the
	// session's id stands instead.
	// +kubebuilder:default=Session
	// +optional
	From LeaseHolderSource `json:"from,omitempty"`
	// The data is JSON, and this field of it is the holder; fields within fields are
	// separated by dots: payload.id.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$`
	// +optional
	JSONField string `json:"jsonField,omitempty"`
}
