package machine

import (
	"fmt"
	"net"
	"os"
	"time"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/supervise"
)

// Uplink is the yard's end of the link to the machine, on the bridge.
const Uplink = "uplink"

// bridge is what all nodes and the machine are connected to.
const bridge = "yard"

// ip runs the program ip once for each line of arguments.
func ip(lines ...[]string) error {
	for _, args := range lines {
		if err := supervise.Command("ip", args...); err != nil {
			return err
		}
	}
	return nil
}

func words(w ...string) []string { return w }

// waitForLink waits until the process outside has moved a link into here.
func waitForLink(name string) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := net.InterfaceByName(name); err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("link %s has not come within a minute", name)
		}
	}
}

// yardNetwork makes the bridge, with the control plane's address on it.
func yardNetwork() error {
	if err := waitForLink(Uplink); err != nil {
		return err
	}
	err := ip(
		words("link", "set", "lo", "up"),
		// With an address of its own, since otherwise it changes with each node
		// that comes, and everybody's ARP tables are wrong for a while.
		words("link", "add", bridge, "address", "02:c0:4c:1a:7e:01", "type", "bridge"),
		words("addr", "add", layout.ControlIP+"/24", "dev", bridge),
		words("link", "set", bridge, "up"),
		words("link", "set", Uplink, "master", bridge, "up"),
		words("route", "replace", "default", "via", layout.HostIP),
	)
	if err != nil {
		return err
	}
	return podRoutes(0)
}

// connect puts the node whose process 1 is pid on the bridge.
func connect(n layout.Node, pid int) error {
	// The old link of a node that was stopped goes with its namespace, but not at once.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := net.InterfaceByName(n.Name()); err != nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the old link of %s is still there", n.Name())
		}
	}
	return ip(
		words("link", "add", n.Name(), "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(pid)),
		words("link", "set", n.Name(), "master", bridge, "up"),
	)
}

// serveServices has the yard reach services through a node's kube-proxy: the
// API server calls webhooks by their service's address.
func serveServices(n layout.Node) error {
	return ip(words("route", "replace", layout.ServiceCIDR, "via", n.IP()))
}

// nodeNetwork configures the node's link, the routes to other nodes' pods, and
// what kube-proxy and the CNI plugins expect of the kernel.
func nodeNetwork(n layout.Node) error {
	if err := waitForLink("eth0"); err != nil {
		return err
	}
	err := ip(
		words("link", "set", "lo", "up"),
		words("addr", "add", n.IP()+"/24", "dev", "eth0"),
		words("link", "set", "eth0", "up"),
		words("route", "replace", "default", "via", layout.ControlIP),
	)
	if err != nil {
		return err
	}
	if err := podRoutes(n); err != nil {
		return err
	}
	for _, name := range []string{"net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"} {
		if err := os.WriteFile("/proc/sys/"+name, []byte("1"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// podRoutes leads to the pods of all nodes but self. Nodes that are not there
// yet have their address already.
func podRoutes(self layout.Node) error {
	for n := layout.Node(1); n <= layout.MaxNodes; n++ {
		if n == self {
			continue
		}
		if err := ip(words("route", "replace", n.PodCIDR(), "via", n.IP())); err != nil {
			return err
		}
	}
	return nil
}
