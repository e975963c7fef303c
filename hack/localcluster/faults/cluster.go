package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/host"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/parts"
)

// A Cluster is the local cluster of this machine, which runs.
type Cluster struct{ c *layout.Cluster }

// Open finds the cluster that make cluster-up has started. Breaking it needs root.
func Open() (*Cluster, error) {
	cache, err := parts.DefaultCache()
	if err != nil {
		return nil, err
	}
	state, err := layout.DefaultState(cache)
	if err != nil {
		return nil, err
	}
	c, err := host.Running(state)
	if err != nil {
		return nil, err
	}
	return &Cluster{c}, nil
}

// Kubeconfig is the administrator's.
func (c *Cluster) Kubeconfig() string { return c.c.Admin() }

// Bin is the folder of the programs of the cluster's version, kubectl among them.
func (c *Cluster) Bin() string { return c.c.Bin }

// Audit is the API server's audit log, a JSON object a line: the writes of programs
// in pods.
func (c *Cluster) Audit() string { return c.c.Log("control", "audit") }

// Nodes returns the nodes' names, the stopped ones' among them.
func (c *Cluster) Nodes() []string {
	var names []string
	for n := layout.Node(1); int(n) <= c.c.Nodes; n++ {
		names = append(names, n.Name())
	}
	return names
}

// StopNode kills everything on a node at once, as a power failure does. It
// returns when all of it is dead; Kubernetes notices in some 20 seconds.
func (c *Cluster) StopNode(ctx context.Context, node string) error {
	n, err := c.c.ParseNode(node)
	if err != nil {
		return err
	}
	return host.StopNode(ctx, c.c, n)
}

// StartNode starts a node that was stopped, with its images and volumes. It
// returns before the node is ready.
func (c *Cluster) StartNode(ctx context.Context, node string) error {
	n, err := c.c.ParseNode(node)
	if err != nil {
		return err
	}
	return host.StartNode(ctx, c.c, n)
}

// Exec runs a command with root's rights inside a node's namespaces (or inside
// "control", the control plane's) and returns what it wrote.
func (c *Cluster) Exec(ctx context.Context, machine string, command ...string) (string, error) {
	return c.input(ctx, machine, "", command...)
}

func (c *Cluster) input(ctx context.Context, machine, input string, command ...string) (string, error) {
	cmd, err := host.Command(ctx, c.c, machine, command...)
	if err != nil {
		return "", err
	}
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s on %s: %w: %s", strings.Join(command, " "), machine, err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// A Pod names a pod.
type Pod struct{ Namespace, Name string }

func (p Pod) String() string { return p.Namespace + "/" + p.Name }

// pod is what is read of a pod.
type pod struct {
	Spec struct {
		NodeName string
	}
	Status struct {
		PodIP             string
		ContainerStatuses []struct{ Name, ContainerID string }
	}
}

func (c *Cluster) pod(ctx context.Context, p Pod) (*pod, error) {
	out, err := host.Kubectl(ctx, c.c, "--namespace="+p.Namespace, "get", "pod", p.Name, "--output=json")
	if err != nil {
		return nil, err
	}
	got := new(pod)
	if err := json.Unmarshal([]byte(out), got); err != nil {
		return nil, fmt.Errorf("pod %v: %w", p, err)
	}
	if got.Spec.NodeName == "" || got.Status.PodIP == "" {
		return nil, fmt.Errorf("pod %v is on no node, or has no address yet", p)
	}
	return got, nil
}

// KillContainer kills the first process of a pod's container with signal 9.
func (c *Cluster) KillContainer(ctx context.Context, p Pod, container string) error {
	got, err := c.pod(ctx, p)
	if err != nil {
		return err
	}
	for _, s := range got.Status.ContainerStatuses {
		id, ok := strings.CutPrefix(s.ContainerID, "containerd://")
		if s.Name == container && ok {
			_, err := c.Exec(ctx, got.Spec.NodeName, c.c.Program("ctr"), "--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", id)
			return err
		}
	}
	return fmt.Errorf("pod %v has no container %q that runs", p, container)
}

// running says whether a node has not been stopped.
func (c *Cluster) running(node string) bool {
	_, err := host.Command(context.Background(), c.c, node, "true")
	return err == nil
}
