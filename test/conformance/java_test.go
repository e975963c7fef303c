//go:build conformance

package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/compile"
	"github.com/conclave-dev/conclave/test/conformance/ensemble"
)

// javaClasses compiles the Java sources, once.
var javaClasses = sync.OnceValues(func() ([]string, error) {
	sources, err := filepath.Glob("java/conformance/*.java")
	if err != nil {
		return nil, err
	}
	return compile.Java(filepath.Join(scratch, "classes"), sources...)
})

// javaProgram runs the named suites, parallel tests at a time.
func javaProgram(t *testing.T, timeout time.Duration, parallel int, suites ...string) program {
	t.Helper()
	flags, err := javaClasses()
	if err != nil {
		t.Fatal(err)
	}
	return program{
		path:    "java",
		args:    append(append(append([]string{"-Xmx512m"}, flags...), "conformance.Runner"), suites...),
		env:     []string{fmt.Sprintf("PARALLEL=%d", parallel)},
		timeout: timeout,
	}
}

// TestJavaClient is the client that ships with ZooKeeper.
func TestJavaClient(t *testing.T) {
	p := javaProgram(t, 4*time.Minute, 8,
		// The slow ones first.
		"ExpiryTests", "OrderTests", "SessionTests", "CreateTests", "WatchTests", "PersistentWatchTests",
		"DataTests", "AclTests", "MultiTests", "QuotaTests", "LimitTests",
	)
	p.run(t, sharedEnsemble(t))
}

// TestCurator is Curator's recipes: what most applications use.
func TestCurator(t *testing.T) {
	p := javaProgram(t, 4*time.Minute, 6,
		"CuratorLockTests", "CuratorLeaderTests", "CuratorCounterTests", "CuratorQueueTests", "CuratorCacheTests", "CuratorNodeTests",
	)
	p.run(t, sharedEnsemble(t))
}

// TestFaultJava is Java's client and Curator while members are killed and paused.
func TestFaultJava(t *testing.T) {
	p := javaProgram(t, 5*time.Minute, 1, "FaultTests")
	p.run(t, faultyEnsemble(t))
}

// TestReconfigJava is Java's client and Curator while clients change who belongs
// to the ensemble. It has one of its own, since that is not the same afterwards.
func TestReconfigJava(t *testing.T) {
	e, err := ensemble.New(target, "reconfigEnabled=true")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the members' last lines:\n%s", e.LogTails(20))
		}
		if err := e.Close(t.Failed() && os.Getenv("CONFORMANCE_KEEP") != ""); err != nil {
			t.Error(err)
		}
	})
	if err := e.StartAll(); err != nil {
		t.Fatal(err)
	}
	p := javaProgram(t, 4*time.Minute, 1, "ReconfigTests")
	p.run(t, e)
}
