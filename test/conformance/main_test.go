//go:build conformance

package conformance

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
)

// target is the server under test.
var target ensemble.Target

// shared is the ensemble that every test without faults uses; it is started by
// the first test that asks.
var shared struct {
	once sync.Once
	e    *ensemble.Ensemble
	err  error
}

// scratch holds what is compiled for this run.
var scratch string

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if target, err = ensemble.TargetFromEnv(); err != nil {
		return 1, err
	}
	if scratch, err = os.MkdirTemp("", "conformance-build-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(scratch)
	code = m.Run()
	if shared.e != nil {
		keep := code != 0 && os.Getenv("CONFORMANCE_KEEP") != ""
		if err := shared.e.Close(keep); err != nil {
			return 1, err
		}
	}
	return code, nil
}

// sharedEnsemble returns the running ensemble that tests share. Tests keep to
// paths of their own and do nothing to its members.
func sharedEnsemble(t *testing.T) *ensemble.Ensemble {
	t.Helper()
	shared.once.Do(func() {
		if shared.e, shared.err = ensemble.New(target); shared.err == nil {
			shared.err = shared.e.StartAll()
		}
	})
	if shared.err != nil {
		t.Fatalf("start the shared ensemble: %v", shared.err)
	}
	logTailsOnFailure(t, shared.e)
	return shared.e
}

// ownEnsemble starts an ensemble that only this test uses, for tests that kill
// and pause members.
func ownEnsemble(t *testing.T) *ensemble.Ensemble {
	t.Helper()
	e, err := ensemble.New(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		keep := t.Failed() && os.Getenv("CONFORMANCE_KEEP") != ""
		if err := e.Close(keep); err != nil {
			t.Error(err)
		}
	})
	if err := e.StartAll(); err != nil {
		t.Fatalf("start an ensemble: %v", err)
	}
	logTailsOnFailure(t, e)
	return e
}

func logTailsOnFailure(t *testing.T, e *ensemble.Ensemble) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the members' last lines:\n%s", e.LogTails(20))
		}
	})
}

// conclaveOnly skips a test that ZooKeeper itself does not pass, or would not
// survive.
func conclaveOnly(t *testing.T) {
	t.Helper()
	if target != ensemble.Conclave {
		t.Skip("a promise of Conclave's that ZooKeeper does not make")
	}
}
