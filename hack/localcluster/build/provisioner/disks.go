package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// minimum is the size of the smallest file system made, in bytes: XFS refuses
// less than 16 MiB, and with 32 MiB a log and some data fit.
const minimum = 32 << 20

// disks are the file systems under root. Every operation can be repeated.
type disks struct{ root string }

func (d disks) file(node, volume string) string {
	return filepath.Join(d.root, ".files", node, volume+".xfs")
}

// path is where a volume is mounted, for the provisioner and for its node.
func (d disks) path(node, volume string) string { return filepath.Join(d.root, node, volume) }

// create makes and mounts a file system of at least size bytes and returns the
// size that it has.
func (d disks) create(node, volume string, size int64) (int64, error) {
	size = max(size, minimum)
	file, dir := d.file(node, volume), d.path(node, volume)
	for _, p := range []string{filepath.Dir(file), dir} {
		if err := os.MkdirAll(p, 0o755); err != nil {
			return 0, err
		}
	}
	mounted, err := mounts(dir)
	if err != nil || mounted {
		return size, err
	}
	// Made under another name: a file with the right one is a whole file system.
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		tmp := file + ".new"
		if err := sparse(tmp, size); err != nil {
			return 0, err
		}
		// XFS, since growing ext4 while it is mounted needs CAP_SYS_RESOURCE,
		// which containers and some machines lack. "Unsupported" is said of
		// sizes under 300 MB, where its performance is not what it could be.
		if err := command("mkfs.xfs", "--unsupported", "-q", "-f", tmp); err != nil {
			return 0, err
		}
		if err := os.Rename(tmp, file); err != nil {
			return 0, err
		}
	} else if err != nil {
		return 0, err
	}
	if err := command("mount", "-o", "loop", file, dir); err != nil {
		return 0, err
	}
	// As any fresh disk: the kubelet gives it to the pod's fsGroup.
	return size, os.Chmod(dir, 0o777)
}

// grow makes a mounted file system size bytes big.
func (d disks) grow(node, volume string, size int64) error {
	file := d.file(node, volume)
	if err := os.Truncate(file, size); err != nil {
		return err
	}
	out, err := exec.Command("losetup", "--noheadings", "--output", "NAME", "-j", file).Output()
	loop := strings.TrimSpace(string(out))
	if err != nil || loop == "" {
		return fmt.Errorf("no loop device of %s: %v", file, err)
	}
	if err := command("losetup", "--set-capacity", loop); err != nil {
		return err
	}
	return command("xfs_growfs", d.path(node, volume))
}

// remove unmounts a file system and deletes it.
func (d disks) remove(node, volume string) error {
	dir := d.path(node, volume)
	mounted, err := mounts(dir)
	if err != nil {
		return err
	}
	if mounted {
		// Lazily, because a node's copy of the mount may be in use a moment longer.
		if err := command("umount", "--lazy", dir); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(d.file(node, volume)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// mounts says whether something is mounted on dir.
func mounts(dir string) (bool, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	for _, line := range strings.Split(string(data), "\n") {
		if f := strings.Fields(line); len(f) > 4 && f[4] == dir {
			return true, nil
		}
	}
	return false, nil
}

func sparse(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
