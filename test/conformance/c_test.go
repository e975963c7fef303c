//go:build conformance

package conformance

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/compile"
)

// cClient compiles the C program, once.
var cClient = sync.OnceValues(func() (string, error) {
	sources, err := filepath.Glob("c/*.c")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(scratch, "c-client")
	if err := compile.C(binary, sources...); err != nil {
		return "", err
	}
	return binary, nil
})

// cProgram runs the C program with the arguments.
func cProgram(t *testing.T, args ...string) program {
	t.Helper()
	binary, err := cClient()
	if err != nil {
		t.Fatal(err)
	}
	return program{path: binary, args: args, timeout: 3 * time.Minute}
}

// TestCClient is the C client, in its multi-threaded form.
func TestCClient(t *testing.T) {
	p := cProgram(t)
	p.run(t, sharedEnsemble(t))
}

// TestFaultC is the C client while members are killed and paused.
func TestFaultC(t *testing.T) {
	p := cProgram(t, "faults")
	p.run(t, faultyEnsemble(t))
}
