// Package layout has every name, address and path of the cluster, so that what
// is inside the namespaces and what is outside agree on them.
//
// In the room: pure functions of a Cluster. Not in the room: anything that
// reads or changes the machine.
package layout

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// MaxNodes is how many nodes there are addresses and zones for.
const MaxNodes = 5

// The cluster's networks. All of them exist in the cluster's namespaces only,
// except for HostLink with its address and the routes through it.
const (
	HostIP    = "10.250.0.1"
	ControlIP = "10.250.0.2"
	MachineIP = "10.250.0.0/24"
	PodCIDR   = "10.244.0.0/16"
	// ServiceCIDR's first address is the API server's service.
	ServiceCIDR  = "10.96.0.0/16"
	APIServiceIP = "10.96.0.1"
	DNSIP        = "10.96.0.10"
	Domain       = "cluster.local"
)

// Names on the machine, of which there can be one of each.
const (
	HostLink = "conclave0"
	// Cgroup is the folder of the pods' cgroups, below every hierarchy's root.
	Cgroup = "conclave-local"
)

// PauseImage and DNSImage are in no registry: every node is given them.
const (
	PauseImage = "conclave.dev/localcluster/pause:1"
	DNSImage   = "conclave.dev/localcluster/coredns:1"
)

// A Cluster is what cluster-up was told. It is kept in the state folder.
type Cluster struct {
	// State is the folder of everything that the cluster writes.
	State string
	// Bin has the programs that package parts built.
	Bin string
	// Nodes is how many nodes there are, numbered from 1.
	Nodes int
}

// Node is the number of a node, from 1.
type Node int

// ParseNode reads a node's name.
func (c *Cluster) ParseNode(name string) (Node, error) {
	for n := Node(1); int(n) <= c.Nodes; n++ {
		if n.Name() == name {
			return n, nil
		}
	}
	return 0, fmt.Errorf("no node %q: there are node1 to node%d", name, c.Nodes)
}

// Name is the node's host name and its name in Kubernetes.
func (n Node) Name() string { return fmt.Sprintf("node%d", n) }

// IP is the node's address on the bridge.
func (n Node) IP() string { return fmt.Sprintf("10.250.0.%d", 10+n) }

// PodCIDR is what the node's pods get their addresses from.
func (n Node) PodCIDR() string { return fmt.Sprintf("10.244.%d.0/24", n) }

// Zone is the value of the node's topology label: every node has one of its own.
func (n Node) Zone() string { return "zone-" + string(rune('a'+n-1)) }

// Cgroup is the folder of the node's pods' cgroups, below every hierarchy's root.
func (n Node) Cgroup() string { return Cgroup + "/" + n.Name() }

// Dir is the node's own folder, which outlives a stop of the node.
func (c *Cluster) Dir(n Node) string { return filepath.Join(c.State, "nodes", n.Name()) }

// PKI is a file of the folder of keys and certificates.
func (c *Cluster) PKI(file string) string { return filepath.Join(c.State, "pki", file) }

// Kubeconfig is the file with which one of the cluster's users comes in.
func (c *Cluster) Kubeconfig(user string) string { return filepath.Join(c.State, user+".conf") }

// Admin is the kubeconfig for people and tests.
func (c *Cluster) Admin() string { return c.Kubeconfig("admin") }

// Volumes is the root of the provisioner's volumes: a folder per node.
func (c *Cluster) Volumes() string { return filepath.Join(c.State, "volumes") }

// Log is what a component has written. Its machine is "control" or a node's name.
func (c *Cluster) Log(machine, component string) string {
	return filepath.Join(c.State, "log", machine, component+".log")
}

// Images is the folder of the archives that every node has loaded.
func (c *Cluster) Images() string { return filepath.Join(c.State, "images") }

// Statuses is the folder of what package supervise writes, a file per machine.
func (c *Cluster) Statuses() string { return filepath.Join(c.State, "status") }

// Socket is where the yard takes orders.
func (c *Cluster) Socket() string { return filepath.Join(c.State, "yard.sock") }

// PIDFile has the yard's process on the machine.
func (c *Cluster) PIDFile() string { return filepath.Join(c.State, "yard.pid") }

// Server is the API server's URL.
func (c *Cluster) Server() string { return "https://" + ControlIP + ":6443" }

// Program is the path of a program that was built.
func (c *Cluster) Program(name string) string { return filepath.Join(c.Bin, name) }

const specFile = "cluster.json"

// Save writes the cluster into its state folder.
func (c *Cluster) Save() error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.State, specFile), append(data, '\n'), 0o644)
}

// Load reads the cluster that Save wrote.
func Load(state string) (*Cluster, error) {
	data, err := os.ReadFile(filepath.Join(state, specFile))
	if err != nil {
		return nil, err
	}
	c := new(Cluster)
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(state, specFile), err)
	}
	return c, nil
}

// StateVariable names the environment variable that overrides DefaultState.
const StateVariable = "CONCLAVE_CLUSTER_STATE"

// DefaultState is the state's folder: one for a user, since a machine has room
// for one cluster.
func DefaultState(cache string) (string, error) {
	state := filepath.Join(cache, "state")
	if dir := os.Getenv(StateVariable); dir != "" {
		var err error
		if state, err = filepath.Abs(dir); err != nil {
			return "", err
		}
	}
	return state, checkState(state)
}

// checkState refuses folders that cannot hold a cluster's state.
func checkState(state string) error {
	// A socket's path has to fit into 107 bytes.
	if len(state) > 90 || strings.ContainsAny(state, " \n'\"\\:,") {
		return fmt.Errorf("%s is too long or too odd for the cluster's state: set %s", state, StateVariable)
	}
	// Nodes see other things there than the machine does.
	for _, dir := range []string{"/dev", "/etc", "/opt", "/proc", "/run", "/sys", "/var/lib", "/var/log"} {
		if state == dir || strings.HasPrefix(state, dir+"/") {
			return fmt.Errorf("the cluster's state cannot be in %s: set %s to another folder than %s", dir, StateVariable, state)
		}
	}
	return nil
}
