package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
)

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}

// bind shows the file or folder source at target. Both exist.
func bind(source, target string) error { return mount(source, target, "", syscall.MS_BIND, "") }

// ownView gives a machine its own /proc and /run, after which nothing that it
// mounts is seen outside. propagation is what it gets from outside.
func ownView(propagation uintptr) error {
	if err := mount("", "/", "", syscall.MS_REC|propagation, ""); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return err
	}
	return mount("tmpfs", "/run", "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=755")
}

// yardMounts makes the volumes' folder the one place from which mounts go on to
// the nodes: the provisioner mounts there.
func yardMounts(c *layout.Cluster) error {
	if err := ownView(syscall.MS_PRIVATE); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Volumes(), 0o755); err != nil {
		return err
	}
	if err := bind(c.Volumes(), c.Volumes()); err != nil {
		return err
	}
	return mount("", c.Volumes(), "", syscall.MS_SHARED, "")
}

// hostFolders are the paths that containerd, the kubelet and CNI plugins keep
// things in whatever they are told: each node sees its own there.
var hostFolders = []string{
	"/etc/cni/net.d", "/opt/containerd", "/var/lib/cni", "/var/lib/containerd",
	"/var/lib/kubelet", "/var/log/containers", "/var/log/pods",
}

// wantedSysctls are what the kubelet sets on a machine that is its own. Here it
// is shown files that have the values already.
var wantedSysctls = map[string]string{
	"kernel/keys/root_maxbytes": "25000000",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
}

// nodeMounts makes a node's view of the file system.
func nodeMounts(c *layout.Cluster, n layout.Node) error {
	// Slave: the provisioner's mounts arrive, and the node's go nowhere. Shared
	// on top of that: they do go to the node's containers.
	if err := ownView(syscall.MS_SLAVE); err != nil {
		return err
	}
	if err := mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return err
	}
	if err := coverHostFolders(filepath.Join(c.Dir(n), "root")); err != nil {
		return err
	}
	for name, value := range wantedSysctls {
		file := filepath.Join(c.Dir(n), "sysctl", strings.ReplaceAll(name, "/", "."))
		if err := writeFile(file, value+"\n"); err != nil {
			return err
		}
		if err := bind(file, "/proc/sys/"+name); err != nil {
			return err
		}
	}
	return nil
}

// coverHostFolders binds a folder below root over each of hostFolders. Where
// the machine lacks one, an overlay over its parent has it: nothing is made
// outside of the node.
func coverHostFolders(root string) error {
	overlaid := make(map[string]bool)
	for _, dir := range hostFolders {
		own := filepath.Join(root, dir)
		if err := os.MkdirAll(own, 0o755); err != nil {
			return err
		}
		if _, err := os.Stat(dir); err != nil {
			// One overlay for all that a parent lacks: they cannot be stacked high.
			parent := existing(dir)
			if !overlaid[parent] {
				if err := overlay(parent, filepath.Join(root, ".overlay", strings.ReplaceAll(parent, "/", "-"))); err != nil {
					return err
				}
				overlaid[parent] = true
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		if err := bind(own, dir); err != nil {
			return err
		}
	}
	return nil
}

// existing returns the nearest folder above dir that exists.
func existing(dir string) string {
	for dir = filepath.Dir(dir); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
}

// overlay makes dir writable, with what is written kept in scratch.
func overlay(dir, scratch string) error {
	upper, work := filepath.Join(scratch, "upper"), filepath.Join(scratch, "work")
	for _, d := range []string{upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return mount("overlay", dir, "overlay", 0, "lowerdir="+dir+",upperdir="+upper+",workdir="+work)
}

// writeFile writes a file and the folders that it is in.
func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
