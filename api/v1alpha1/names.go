package v1alpha1

// Labels, annotations and names that the parts of the operator, and people who
// write selectors, agree on.
const (
	// LabelCluster is on everything of a cluster, its Leases included; its value is
	// the cluster's name.
	LabelCluster = "conclave.dev/cluster"
	// LabelRule is on a Lease, and names the rule of spec.leases.
	LabelRule = "conclave.dev/rule"

	// AnnotationHash is on a pod, and its StatefulSet: the hash of what the spec says
	// about pods.
	AnnotationHash = "conclave.dev/hash"
	// AnnotationPath, AnnotationSession and AnnotationCzxid are on a Lease: the path
	// of the node, or of the election; the holder's session; and the zxid that made
	// the holder's node. What rises with every holder is another annotation, the
	// fencing token (internal/projection/leases).
	AnnotationPath    = "conclave.dev/path"
	AnnotationSession = "conclave.dev/session"
	AnnotationCzxid   = "conclave.dev/czxid"

	// FieldOwner is whose fields in server-side apply the operator's are.
	FieldOwner = "conclave-operator"
	// FieldOwnerSessions is whose status.sessions, status.leases and their conditions
	// are: they are written at another pace than the rest.
	FieldOwnerSessions = "conclave-operator-sessions"
)

// Values of app.kubernetes.io/component.
const (
	// ComponentVoter is on everything of the voters.
	ComponentVoter = "voter"
	// ComponentObserver is on everything of the observers.
	ComponentObserver = "observer"
)
