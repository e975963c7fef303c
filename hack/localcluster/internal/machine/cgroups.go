package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
)

// hierarchies returns the folders on which cgroups are mounted, and whether
// they are version 2's, which has one for all controllers. A machine that has
// both is one of version 1.
func hierarchies() (dirs []string, v2 bool, err error) {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, false, err
	}
	dirs, unified := parseHierarchies(string(data))
	if len(dirs) > 0 {
		return dirs, false, nil
	}
	if unified == "" {
		return nil, false, errors.New("no cgroups are mounted on this machine")
	}
	return []string{unified}, true, nil
}

func parseHierarchies(mounts string) (v1 []string, v2 string) {
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		switch f[2] {
		case "cgroup":
			v1 = append(v1, f[1])
		case "cgroup2":
			v2 = f[1]
		}
	}
	return v1, v2
}

// makeCgroups makes the folder that a node's kubelet is told to be its root in
// every hierarchy. The kubelet makes what is below, and wants the root to exist.
func makeCgroups(n layout.Node) error {
	dirs, v2, err := hierarchies()
	if err != nil {
		return err
	}
	for _, top := range dirs {
		dir := top
		for _, part := range strings.Split(n.Cgroup(), "/") {
			parent := dir
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("cgroup: %w", err)
			}
			if v2 {
				// Not verified: there was no machine with version 2 to try it on.
				err = enableControllers(parent)
			} else {
				err = inheritCPUSet(parent, dir)
			}
			if err != nil {
				return err
			}
		}
		if v2 {
			if err := enableControllers(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// inheritCPUSet fills in what version 1 leaves empty in a new cpuset: without
// CPUs and memory nothing can be put into it.
func inheritCPUSet(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		data, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	return nil
}

// enableControllers lets the folders below dir use all controllers that dir has.
func enableControllers(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	for _, name := range strings.Fields(string(data)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0o644); err != nil {
			return fmt.Errorf("cgroup: controller %s of %s: %w", name, dir, err)
		}
	}
	return nil
}

// Cgroups returns the cluster's folders that exist, the deepest first.
func Cgroups() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	tops, unified := parseHierarchies(string(data))
	if unified != "" {
		// runc makes them there too, where a machine has both versions.
		tops = append(tops, unified)
	}
	var list []string
	for _, top := range tops {
		var found []string
		err := filepath.WalkDir(filepath.Join(top, layout.Cgroup), func(path string, d fs.DirEntry, err error) error {
			// What goes away while one looks is what one wants.
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && d.IsDir() {
				found = append(found, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		for i := len(found) - 1; i >= 0; i-- {
			list = append(list, found[i])
		}
	}
	return list, nil
}

// RemoveCgroups removes all folders of the cluster's cgroups. The processes in
// them have been killed, and are given a moment to be gone.
func RemoveCgroups() error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		list, err := Cgroups()
		if err != nil || len(list) == 0 {
			return err
		}
		var failed error
		for _, dir := range list {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = err
			}
		}
		if failed != nil && time.Now().After(deadline) {
			return failed
		}
	}
}
