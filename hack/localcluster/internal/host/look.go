package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/machine"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/supervise"
)

// Running returns the cluster that runs on this machine.
func Running(state string) (*layout.Cluster, error) {
	c, err := layout.Load(state)
	if err != nil || yardPID(c) == 0 {
		return nil, errors.New("no cluster is running: make cluster-up starts one")
	}
	return c, nil
}

// Status writes what runs and what has crashed, which is its error too.
func Status(w io.Writer, c *layout.Cluster) error {
	machines, err := supervise.Read(c.Statuses())
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "MACHINE\tCOMPONENT\tSTATE\tSINCE\tLOG")
	for _, m := range machines {
		for _, s := range m.Components {
			state, since := "running", s.Started
			switch {
			case s.Crashed():
				state, since = "CRASHED: "+s.Exit, s.Ended
			case !s.Running():
				state, since = "stopped", s.Ended
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", m.Name, s.Component, state, since.Format(time.TimeOnly), s.Log)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nexport KUBECONFIG=%s PATH=%s:$PATH\n", c.Admin(), c.Bin)
	return supervise.Crashed(machines)
}

// Command prepares a program to be run inside of a machine: a node's name, or
// "control" for the yard.
func Command(ctx context.Context, c *layout.Cluster, name string, program ...string) (*exec.Cmd, error) {
	yard := yardPID(c)
	if yard == 0 {
		return nil, errors.New("no cluster is running")
	}
	args := enter(yard)
	if name != machine.ControlMachine {
		if _, err := c.ParseNode(name); err != nil {
			return nil, err
		}
		pid, err := nodePID(c, name)
		if err != nil {
			return nil, err
		}
		// The node's number is one of the yard's namespace: from there, one more step.
		args = append(append(args, "nsenter"), enter(pid)...)
	}
	cmd := exec.CommandContext(ctx, "nsenter", append(args, program...)...)
	cmd.Env = append(os.Environ(), "PATH="+c.Bin+":"+os.Getenv("PATH"))
	return cmd, nil
}

func enter(pid int) []string {
	return []string{"--target", strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--"}
}

// nodePID is the node's process 1 as the yard sees it.
func nodePID(c *layout.Cluster, name string) (int, error) {
	machines, err := supervise.Read(c.Statuses())
	if err != nil {
		return 0, err
	}
	for _, m := range machines {
		if m.Name != machine.ControlMachine {
			continue
		}
		for _, s := range m.Components {
			if s.Component == name && s.Running() {
				return s.PID, nil
			}
		}
	}
	return 0, fmt.Errorf("%s is not running", name)
}

// Load imports an archive's images on every node that runs.
func Load(ctx context.Context, c *layout.Cluster, progress io.Writer, archive string) error {
	archive, err := filepath.Abs(archive)
	if err != nil {
		return err
	}
	if _, err := os.Stat(archive); err != nil {
		return err
	}
	for n := layout.Node(1); int(n) <= c.Nodes; n++ {
		if _, err := nodePID(c, n.Name()); err != nil {
			fmt.Fprintf(progress, "%s: not running, left out\n", n.Name())
			continue
		}
		cmd, err := Command(ctx, c, n.Name(), append([]string{c.Program("ctr")}, machine.ImportArgs(archive)...)...)
		if err != nil {
			return err
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", n.Name(), err, out)
		}
		fmt.Fprintf(progress, "%s: has the images of %s\n", n.Name(), archive)
	}
	return nil
}

// StopNode pulls a node's plug. Its containers' images and its volumes stay.
func StopNode(ctx context.Context, c *layout.Cluster, n layout.Node) error {
	if err := machine.StopNode(c, n); err != nil {
		return err
	}
	return servicesWithout(ctx, c, n)
}

// servicesWithout has the machine reach services through another node than one
// that is stopped, or has just been started and has no kube-proxy yet.
func servicesWithout(ctx context.Context, c *layout.Cluster, n layout.Node) error {
	for other := layout.Node(1); int(other) <= c.Nodes; other++ {
		if _, err := nodePID(c, other.Name()); err == nil && other != n {
			return serviceRoute(ctx, other)
		}
	}
	return serviceRoute(ctx, n)
}

// StartNode starts a node that was stopped. It does not wait for it to be ready.
func StartNode(ctx context.Context, c *layout.Cluster, n layout.Node) error {
	if err := machine.StartNode(c, n); err != nil {
		return err
	}
	return servicesWithout(ctx, c, n)
}
