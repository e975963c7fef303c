package plugin

import (
	"context"
	"errors"
	"net/netip"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	v1alpha1 "github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/projection/stream"
)

// World is what commands see of Kubernetes and of ensembles.
type World interface {
	// Namespace is the one that the person is in.
	Namespace() (string, error)
	// Clusters lists those of the namespace.
	Clusters(ctx context.Context) ([]v1alpha1.CoordinationCluster, error)
	// Cluster gets one.
	Cluster(ctx context.Context, name string) (*v1alpha1.CoordinationCluster, error)
	// Tree connects to the client port of a member.
	Tree(ctx context.Context, c *v1alpha1.CoordinationCluster, auth []Auth) (Tree, error)
	// Watch asks the leader for its stream of sessions. The stream ends with the
	// context, or when stop is called.
	Watch(ctx context.Context, c *v1alpha1.CoordinationCluster, r *adminpb.WatchSessionsRequest) (s stream.Receiver, stop func(), err error)
	// Leases lists those that mirror a cluster's nodes.
	Leases(ctx context.Context, c *v1alpha1.CoordinationCluster) ([]coordinationv1.Lease, error)
	// PodAt names the pod that has an address, as namespace/name, as far as the person
	// may know; empty if there is none.
	PodAt(ctx context.Context, a netip.Addr) string
	Now() time.Time
}

// Auth is what a client shows to be let in, as in ZooKeeper's addauth.
type Auth struct{ Scheme, Value string }

// Tree is the nodes of an ensemble, as a client sees them.
type Tree interface {
	Children(path string) ([]string, error)
	Get(path string) ([]byte, Stat, error)
	Stat(path string) (Stat, error)
	Close()
}

// Errors of a Tree. Others are about the connection.
var (
	ErrNoNode = errors.New("there is no such node")
	ErrNoAuth = errors.New("the node's ACL does not allow it: try --auth digest:USER:PASSWORD")
)

// Stat is what is known of a node besides its data.
type Stat struct {
	Czxid, Mzxid, Pzxid            int64
	Created, Modified              time.Time
	Version, ChildVersion, ACLVers int32
	EphemeralOwner                 int64
	DataLength, NumChildren        int32
}
