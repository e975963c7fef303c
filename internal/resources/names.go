package resources

import (
	"fmt"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// Role is what the members of a StatefulSet are.
type Role string

const (
	// Voter members vote. Their StatefulSet has the cluster's name.
	Voter Role = v1alpha1.ComponentVoter
	// Observer members do not.
	Observer Role = v1alpha1.ComponentObserver
)

// observerOffset keeps observers' numbers apart from voters', in the 255 that
// ZooKeeper has.
const observerOffset = 100

// Ports of a member. The election port is only shown: elections need none here.
const (
	PortClient   = 2181
	PortPeer     = 2888
	PortElection = 3888
	PortAdmin    = 2890
	PortHealth   = 2891
	PortMetrics  = 7000
)

// ContainerName is the name of the server's container.
const ContainerName = "server"

// StatefulSetName is also what a role's pods are named after, and its
// PodDisruptionBudget.
func StatefulSetName(c *v1alpha1.CoordinationCluster, r Role) string {
	if r == Observer {
		return c.Name + "-observer"
	}
	return c.Name
}

// PodName is the name of a member's pod.
func PodName(c *v1alpha1.CoordinationCluster, r Role, ordinal int) string {
	return fmt.Sprintf("%s-%d", StatefulSetName(c, r), ordinal)
}

// Number is the N of server.N of a member.
func Number(r Role, ordinal int) int32 {
	n := int32(ordinal) + 1
	if r == Observer {
		n += observerOffset
	}
	return n
}

// ServiceName is the Service that clients connect to.
func ServiceName(c *v1alpha1.CoordinationCluster) string { return c.Name }

// HeadlessName is the Service that names the members.
func HeadlessName(c *v1alpha1.CoordinationCluster) string { return c.Name + "-members" }

// Host is where a member is found, whatever its pod's address.
func Host(c *v1alpha1.CoordinationCluster, r Role, ordinal int) string {
	return fmt.Sprintf("%s.%s.%s.svc", PodName(c, r, ordinal), HeadlessName(c), c.Namespace)
}

// PeerAddress is where the other members reach a member.
func PeerAddress(c *v1alpha1.CoordinationCluster, r Role, ordinal int) string {
	return fmt.Sprintf("%s:%d", Host(c, r, ordinal), PortPeer)
}

// ClientAddress is where clients reach a member, as the membership has it.
func ClientAddress(c *v1alpha1.CoordinationCluster, r Role, ordinal int) string {
	return fmt.Sprintf("%s:%d", Host(c, r, ordinal), PortClient)
}

// ClientEndpoint is where clients of the whole cluster connect.
func ClientEndpoint(c *v1alpha1.CoordinationCluster) string {
	return fmt.Sprintf("%s.%s.svc:%d", ServiceName(c), c.Namespace, c.Spec.Service.Port)
}

// TLSName is the name that every member's certificate has, and that dialers
// verify.
func TLSName(c *v1alpha1.CoordinationCluster) string {
	return fmt.Sprintf("member.%s.%s.%s", c.Name, c.Namespace, v1alpha1.Group)
}

// TLSSecretName is the Secret with what members trust and show.
func TLSSecretName(c *v1alpha1.CoordinationCluster) string { return c.Name + "-tls" }

// ReaderSecretName is the Secret with which people read from the admin port.
func ReaderSecretName(c *v1alpha1.CoordinationCluster) string { return c.Name + "-reader" }

// AuthoritySecretName is the Secret with the authority's key. No pod mounts it.
func AuthoritySecretName(c *v1alpha1.CoordinationCluster) string { return c.Name + "-ca" }

// ServiceAccountName is the members' account, which may do nothing.
func ServiceAccountName(c *v1alpha1.CoordinationCluster) string { return c.Name + "-member" }

// RevisionName is the ConfigMap of a revision.
func RevisionName(c *v1alpha1.CoordinationCluster, hash string) string {
	return c.Name + "-config-" + hash
}

// Volume is one of a member's volumes.
type Volume string

const (
	// VolumeData has snapshots, and the log if that has no volume of its own.
	VolumeData Volume = "data"
	// VolumeLog has the log.
	VolumeLog Volume = "log"
)

// Volumes are those that each member has.
func Volumes(c *v1alpha1.CoordinationCluster) []Volume {
	if c.Spec.Storage.Log != nil {
		return []Volume{VolumeData, VolumeLog}
	}
	return []Volume{VolumeData}
}

// ClaimName is the name that a StatefulSet gives to a member's volume claim.
func ClaimName(c *v1alpha1.CoordinationCluster, v Volume, r Role, ordinal int) string {
	return string(v) + "-" + PodName(c, r, ordinal)
}

// Labels are on everything of a cluster.
func Labels(c *v1alpha1.CoordinationCluster) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":       "conclave",
		"app.kubernetes.io/instance":   c.Name,
		"app.kubernetes.io/managed-by": v1alpha1.FieldOwner,
		v1alpha1.LabelCluster:          c.Name,
	}
}

const labelComponent = "app.kubernetes.io/component"

// RoleLabels are on everything of a role.
func RoleLabels(c *v1alpha1.CoordinationCluster, r Role) map[string]string {
	l := Labels(c)
	l[labelComponent] = string(r)
	return l
}

// Selector selects the pods of a cluster.
func Selector(c *v1alpha1.CoordinationCluster) map[string]string {
	return map[string]string{v1alpha1.LabelCluster: c.Name}
}

// RoleSelector selects the pods of a role. A StatefulSet keeps its selector for
// ever: nothing may be added here.
func RoleSelector(c *v1alpha1.CoordinationCluster, r Role) map[string]string {
	return map[string]string{v1alpha1.LabelCluster: c.Name, labelComponent: string(r)}
}
