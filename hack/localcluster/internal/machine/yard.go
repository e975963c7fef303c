package machine

import (
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/supervise"
)

// ControlMachine is the name under which the yard's components are listed. The
// nodes' process 1 are among them, each under its node's name.
const ControlMachine = "control"

// Namespaces are what the yard has, and every node once more.
const Namespaces = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC

// RunYard is the yard's process 1. It returns only if the yard cannot be set up
// or its socket is gone; everything ends with it.
func RunYard(state string) error {
	c, err := layout.Load(state)
	if err != nil {
		return err
	}
	s, err := supervise.New(c.Statuses(), ControlMachine, func(component string) string { return c.Log(ControlMachine, component) })
	if err != nil {
		return err
	}
	y := &yard{c: c, s: s}
	if err := y.setUp(); err != nil {
		log.Print(err)
		// The machine stays as it is, for whoever looks into it, until cluster-down.
		_ = s.Fail(err)
		select {}
	}
	l, err := net.Listen("unix", c.Socket())
	if err != nil {
		_ = s.Fail(err)
		return err
	}
	if err := s.Ready(); err != nil {
		return err
	}
	return y.serve(l)
}

type yard struct {
	c *layout.Cluster
	s *supervise.Supervisor
	// gateway is the node whose kube-proxy the yard uses, 0 before there is one.
	gateway layout.Node
}

func (y *yard) setUp() error {
	if err := syscall.Sethostname([]byte("conclave-control")); err != nil {
		return err
	}
	if err := yardMounts(y.c); err != nil {
		return err
	}
	if err := yardNetwork(); err != nil {
		return err
	}
	return startControlPlane(y.c, y.s)
}

// startNode starts a node's process 1, which does the rest.
func (y *yard) startNode(n layout.Node) error {
	if y.s.Running(n.Name()) {
		return nil
	}
	// What the node said about itself before it was stopped.
	if err := supervise.Remove(y.c.Statuses(), n.Name()); err != nil {
		return err
	}
	pid, err := y.s.StartIn(n.Name(), &syscall.SysProcAttr{Cloneflags: Namespaces, Setsid: true},
		"/proc/self/exe", "node", y.c.State, strconv.Itoa(int(n)))
	if err != nil {
		return err
	}
	if err := connect(n, pid); err != nil {
		return err
	}
	if y.gateway == 0 {
		return y.setGateway(n)
	}
	return nil
}

// stopNode does what pulling a node's plug does.
func (y *yard) stopNode(n layout.Node) error {
	if err := y.s.Stop(n.Name()); err != nil {
		return err
	}
	if err := supervise.Remove(y.c.Statuses(), n.Name()); err != nil {
		return err
	}
	if y.gateway != n {
		return nil
	}
	y.gateway = 0
	for other := layout.Node(1); int(other) <= y.c.Nodes; other++ {
		if y.s.Running(other.Name()) {
			return y.setGateway(other)
		}
	}
	return nil
}

func (y *yard) setGateway(n layout.Node) error {
	y.gateway = n
	return serveServices(n)
}

// RunNode is a node's process 1. It returns only if its arguments are wrong.
func RunNode(state, number string) error {
	c, err := layout.Load(state)
	if err != nil {
		return err
	}
	i, err := strconv.Atoi(number)
	if err != nil || i < 1 || i > c.Nodes {
		return fmt.Errorf("there is no node %q", number)
	}
	n := layout.Node(i)
	s, err := supervise.New(c.Statuses(), n.Name(), func(component string) string { return c.Log(n.Name(), component) })
	if err != nil {
		return err
	}
	start := time.Now()
	if err := setUpNode(c, n, s); err != nil {
		log.Print(err)
		_ = s.Fail(err)
	} else if err := s.Ready(); err != nil {
		return err
	} else {
		log.Printf("%s is set up after %v", n.Name(), time.Since(start).Round(time.Millisecond))
	}
	select {}
}

func setUpNode(c *layout.Cluster, n layout.Node, s *supervise.Supervisor) error {
	if err := syscall.Sethostname([]byte(n.Name())); err != nil {
		return err
	}
	if err := nodeMounts(c, n); err != nil {
		return err
	}
	if err := nodeNetwork(n); err != nil {
		return err
	}
	if err := makeCgroups(n); err != nil {
		return err
	}
	if err := os.Setenv("PATH", c.Bin+":"+os.Getenv("PATH")); err != nil {
		return err
	}
	return startNodeComponents(c, n, s)
}
