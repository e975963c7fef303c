//go:build conformance

package conformance

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestCClient is the C client, in its multi-threaded form.
func TestCClient(t *testing.T) {
	sources, err := filepath.Glob("c/*.c")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(scratch, "c-client")
	args := append([]string{"-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-DTHREADED", "-o", binary}, sources...)
	if out, err := exec.Command("gcc", append(args, "-lzookeeper_mt")...).CombinedOutput(); err != nil {
		t.Fatalf("gcc (run test/conformance/setup.sh first): %v\n%s", err, out)
	}
	program{path: binary, timeout: 3 * time.Minute}.run(t, sharedEnsemble(t))
}
