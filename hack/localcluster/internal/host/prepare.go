package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
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
