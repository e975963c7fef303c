//go:build conformance

package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
)

// classpath is where Debian's packages put the clients; each jar's manifest
// names what it needs beside it.
var classpath = []string{
	"/usr/share/java/curator-recipes.jar",
	"/usr/share/java/curator-framework.jar",
	"/usr/share/java/curator-client.jar",
	"/usr/share/java/zookeeper.jar",
	"/usr/share/java/zookeeper-jute.jar",
	"/usr/share/java/slf4j-simple.jar",
}

// javaClasses compiles the Java sources, once.
var javaClasses = sync.OnceValues(func() (string, error) {
	for _, jar := range classpath {
		if _, err := os.Stat(jar); err != nil {
			return "", fmt.Errorf("run test/conformance/setup.sh first: %w", err)
		}
	}
	sources, err := filepath.Glob("java/conformance/*.java")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(scratch, "classes")
	args := append([]string{"-Xlint:all,-try,-processing,-classfile,-path,-deprecation", "-Werror", "-d", dir, "-cp", strings.Join(classpath, ":")}, sources...)
	if out, err := exec.Command("javac", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("javac: %w\n%s", err, out)
	}
	return dir, nil
})

// javaProgram runs the named suites, parallel tests at a time.
func javaProgram(t *testing.T, timeout time.Duration, parallel int, suites ...string) program {
	t.Helper()
	dir, err := javaClasses()
	if err != nil {
		t.Fatal(err)
	}
	return program{
		path: "java",
		args: append([]string{
			"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
			"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
			"-Dorg.slf4j.simpleLogger.showDateTime=true",
			"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
			"-cp", strings.Join(append([]string{dir}, classpath...), ":"),
			"conformance.Runner",
		}, suites...),
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
