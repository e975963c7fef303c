package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/machine"
)

// needed are programs that nodes, the yard and this package call, and the
// Debian packages that have them.
var needed = []struct{ program, debian string }{
	{"runc", "runc"},
	{"nft", "nftables"},
	{"iptables", "iptables"},
	{"conntrack", "conntrack"},
	{"ip", "iproute2"},
	{"modprobe", "kmod"},
	{"mkfs.xfs", "xfsprogs"},
	{"xfs_growfs", "xfsprogs"},
	{"nsenter", "util-linux"},
	{"losetup", "mount"},
}

// prepare checks that a cluster can run here, and installs what it lacks.
func prepare(ctx context.Context, progress io.Writer) error {
	if os.Getuid() != 0 {
		return errors.New("a cluster needs root, for namespaces, mounts and cgroups: run it with sudo, or use a real cluster (docs/development.md)")
	}
	var packages []string
	for _, n := range needed {
		if _, err := exec.LookPath(n.program); err != nil && !slices.Contains(packages, n.debian) {
			packages = append(packages, n.debian)
		}
	}
	if len(packages) > 0 {
		fmt.Fprintf(progress, "installing Debian packages: %s\n", strings.Join(packages, " "))
		if err := install(ctx, packages); err != nil {
			return err
		}
	}
	// Where they are compiled into the kernel, modprobe has nothing to do; where
	// they are missing, the part that needs one says so.
	for _, module := range []string{"overlay", "br_netfilter", "nf_tables", "loop", "xfs"} {
		_ = exec.CommandContext(ctx, "modprobe", "-q", module).Run()
	}
	if _, err := os.Stat("/proc/sys/net/bridge"); err != nil {
		return errors.New("this kernel has no br_netfilter, without which services are not reached from pods of the same node")
	}
	return foreignRoutes()
}

func install(ctx context.Context, packages []string) error {
	args := append([]string{"install", "-y", "-q", "--no-install-recommends"}, packages...)
	for _, command := range [][]string{{"update", "-q"}, args} {
		cmd := exec.CommandContext(ctx, "apt-get", command...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: install these packages by hand\n%s", strings.Join(command, " "), err, out)
		}
	}
	return nil
}

// foreignRoutes complains of addresses of the cluster's networks that the
// machine uses for something else.
func foreignRoutes() error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, link := range links {
		if link.Name == layout.HostLink {
			continue
		}
		addrs, err := link.Addrs()
		if err != nil {
			return err
		}
		for _, a := range addrs {
			theirs, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			for _, ours := range []string{layout.MachineIP, layout.PodCIDR, layout.ServiceCIDR} {
				if netip.MustParsePrefix(ours).Overlaps(theirs.Masked()) {
					return fmt.Errorf("%s has %s, and the cluster wants %s for itself: they cannot be told apart", link.Name, theirs, ours)
				}
			}
		}
	}
	return nil
}

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

// Leftovers returns everything of a cluster that is on the machine: processes,
// mounts, loop devices, links, routes, cgroups and files. It is empty after Down.
func Leftovers(state string) ([]string, error) {
	var list []string
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	for _, p := range procs {
		data, err := os.ReadFile(p)
		if err != nil {
			continue // it has ended meanwhile
		}
		// Processes of the cluster have a path below the state in their arguments.
		// The containers' have not, but they are in the cluster's cgroups.
		if args := strings.ReplaceAll(string(data), "\x00", " "); strings.Contains(args, state+"/") || strings.Contains(args, " yard "+state) {
			list = append(list, "process "+filepath.Base(filepath.Dir(p))+": "+args)
		}
	}
	if err := matchLines("/proc/self/mountinfo", state+"/", func(l string) { list = append(list, "mount "+l) }); err != nil {
		return nil, err
	}
	backing, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	for _, f := range backing {
		if data, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(data), state+"/") {
			list = append(list, "loop device of "+strings.TrimSpace(string(data)))
		}
	}
	if _, err := net.InterfaceByName(layout.HostLink); err == nil {
		list = append(list, "link "+layout.HostLink)
	}
	if err := matchLines("/proc/net/route", layout.HostLink+"\t", func(l string) { list = append(list, "route "+l) }); err != nil {
		return nil, err
	}
	cgroups, err := machine.Cgroups()
	if err != nil {
		return nil, err
	}
	for _, dir := range cgroups {
		list = append(list, "cgroup "+dir)
	}
	if _, err := os.Stat(state); !errors.Is(err, fs.ErrNotExist) {
		list = append(list, "folder "+state)
	}
	return list, nil
}

func matchLines(file, part string, found func(string)) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.Contains(s.Text(), part) {
			found(s.Text())
		}
	}
	return nil
}

// Down ends the cluster and removes all that there is of it.
func Down(state string) error {
	c := &layout.Cluster{State: state}
	if pid := yardPID(c); pid != 0 {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill the yard, process %d: %w", pid, err)
		}
		if err := until("the yard's processes are still there", func() bool { return yardPID(c) == 0 }); err != nil {
			return err
		}
	}
	// The kernel takes apart namespaces in its own time: the link and the loop
	// devices go with them.
	if _, err := net.InterfaceByName(layout.HostLink); err == nil {
		_ = exec.Command("ip", "link", "delete", layout.HostLink).Run()
	}
	if err := machine.RemoveCgroups(); err != nil {
		return err
	}
	err := until("loop devices or mounts are still there", func() bool {
		list, err := Leftovers(state)
		return err == nil && !slices.ContainsFunc(list, func(l string) bool {
			return strings.HasPrefix(l, "loop") || strings.HasPrefix(l, "mount") || strings.HasPrefix(l, "link")
		})
	})
	if err == nil {
		err = os.RemoveAll(state)
	}
	if err != nil {
		return err
	}
	list, err := Leftovers(state)
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("left behind:\n%s", strings.Join(list, "\n"))
	}
	return err
}

func until(what string, done func() bool) error {
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New(what + " after a minute")
		}
	}
	return nil
}
