package host

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/machine"
)

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
