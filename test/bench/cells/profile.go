package cells

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/conclave-dev/conclave/test/bench/cluster"
)

// profile runs fn while perf samples the members, and writes the hottest
// functions to a text file in the directory of results.
func profile(env *Env, e *cluster.Ensemble, name string, fn func() error) error {
	perf, err := exec.LookPath("perf")
	if err != nil {
		return fmt.Errorf("-profile needs perf (Debian's package linux-perf): %w", err)
	}
	var pids []string
	for _, pid := range e.PIDs() {
		pids = append(pids, fmt.Sprint(pid))
	}
	data := filepath.Join(env.Out, name+".perf")
	record := exec.Command(perf, "record", "-q", "-F", "499", "-g", "-o", data, "-p", strings.Join(pids, ","))
	if err := record.Start(); err != nil {
		return err
	}
	err = fn()
	// perf writes its file when it is interrupted, and ends with that signal.
	record.Process.Signal(syscall.SIGINT)
	record.Wait()
	if err != nil {
		return err
	}
	defer os.Remove(data)
	var text []byte
	for _, by := range []string{"--no-children", "--children"} {
		out, err := exec.Command(perf, "report", "-i", data, "--stdio", "-g", "none", by, "--sort", "symbol", "--percent-limit", "0.7").Output()
		if err != nil {
			return errors.Join(fmt.Errorf("perf report: %w", err))
		}
		text = append(text, out...)
	}
	path := filepath.Join(env.Out, name+".profile.txt")
	env.Log("%s: the profile is in %s", name, path)
	return os.WriteFile(path, text, 0o644)
}
