package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/machine"
)

func run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// connectHost gives the machine its end of the link, and the routes through it.
func connectHost(ctx context.Context, pid int) error {
	for _, args := range [][]string{
		{"link", "add", layout.HostLink, "type", "veth", "peer", "name", machine.Uplink, "netns", strconv.Itoa(pid)},
		{"addr", "add", layout.HostIP + "/24", "dev", layout.HostLink},
		{"link", "set", layout.HostLink, "up"},
	} {
		if err := run(ctx, "ip", args...); err != nil {
			return err
		}
	}
	for n := layout.Node(1); n <= layout.MaxNodes; n++ {
		if err := run(ctx, "ip", "route", "replace", n.PodCIDR(), "via", n.IP()); err != nil {
			return err
		}
	}
	return serviceRoute(ctx, 1)
}

// serviceRoute has the machine reach services through a node's kube-proxy.
func serviceRoute(ctx context.Context, n layout.Node) error {
	return run(ctx, "ip", "route", "replace", layout.ServiceCIDR, "via", n.IP())
}

// yardPID returns the yard's process, or 0 if there is none.
func yardPID(c *layout.Cluster) int {
	data, err := os.ReadFile(c.PIDFile())
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || !isYard(pid, c.State) {
		return 0
	}
	return pid
}

// isYard guards against a number that now is another process's.
func isYard(pid int, state string) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	args := strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
	return len(args) == 3 && args[1] == "yard" && args[2] == state
}
