//go:build conformance

package conformance

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
)

// target is the server under test.
var target ensemble.Target

// lazyEnsemble is an ensemble that is started by the first test that asks, and
// ended by TestMain.
type lazyEnsemble struct {
	once sync.Once
	e    *ensemble.Ensemble
	err  error
}

var (
	// shared is for tests without faults: they keep to paths of their own and do
	// nothing to its members.
	shared lazyEnsemble
	// abused is for tests that kill and pause members, one test at a time.
	abused lazyEnsemble
)

func (l *lazyEnsemble) get(t *testing.T) *ensemble.Ensemble {
	t.Helper()
	l.once.Do(func() {
		if l.e, l.err = ensemble.New(target); l.err == nil {
			l.err = l.e.StartAll()
		}
	})
	if l.err != nil {
		t.Fatalf("start an ensemble: %v", l.err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the members' last lines:\n%s", l.e.LogTails(20))
		}
	})
	return l.e
}

// close ends the ensemble; after a failure it may keep its files.
func (l *lazyEnsemble) close(failed bool) error {
	if l.e == nil {
		return nil
	}
	return l.e.Close(failed && os.Getenv("CONFORMANCE_KEEP") != "")
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
	failed := code != 0
	if err := errors.Join(shared.close(failed), abused.close(failed)); err != nil {
		return 1, err
	}
	return code, nil
}

// sharedEnsemble returns the running ensemble that tests without faults share.
func sharedEnsemble(t *testing.T) *ensemble.Ensemble {
	t.Helper()
	return shared.get(t)
}

// faultyEnsemble returns an ensemble whose members the test may kill and pause.
// All of them serve now, and are made to serve again when the test ends.
func faultyEnsemble(t *testing.T) *ensemble.Ensemble {
	t.Helper()
	e := abused.get(t)
	restore := func() {
		if err := e.StartAll(); err != nil {
			t.Fatalf("make every member serve again: %v", err)
		}
	}
	restore()
	t.Cleanup(restore)
	return e
}

// conclaveOnly skips a test that ZooKeeper itself does not pass, or would not
// survive.
func conclaveOnly(t *testing.T) {
	t.Helper()
	if target != ensemble.Conclave {
		t.Skip("a promise of Conclave's that ZooKeeper does not make")
	}
}
