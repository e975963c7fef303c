package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"
)

var built struct {
	once sync.Once
	dir  string
	err  error
}

// program returns conclave-server, built once, with the race detector if this
// test has it.
func program(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "conclave-process-"); built.err != nil {
			return
		}
		args := []string{"build", "-o", built.dir}
		if raceEnabled() {
			args = append(args, "-race")
		}
		out, err := exec.Command("go", append(args, "github.com/conclave-dev/conclave/cmd/conclave-server")...).CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if built.err != nil {
		t.Fatalf("build conclave-server: %v", built.err)
	}
	return filepath.Join(built.dir, "conclave-server")
}

func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

func removeBinary() {
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
}

// startProgram starts conclave-server on a free port of its choice.
func startProgram(t testing.TB, dataDir string, env ...string) *server {
	t.Helper()
	return start(t, program(t), []string{"--data-dir", dataDir, "--listen", "127.0.0.1:0"}, env...)
}
