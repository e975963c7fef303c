package member

import (
	"errors"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/jute"
)

// left runs Leave of a member, and returns what is closed when it is over.
func left(m *Member) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		m.Leave()
	}()
	return over
}

func (e *ensemble) leftSoon(over <-chan struct{}, why string) {
	e.t.Helper()
	select {
	case <-over:
	case <-time.After(patience):
		e.t.Fatalf("after %v it has not left, though %s", patience, why)
	}
}

// A member that leaves serves on for its time, unless there is nobody to serve.
func TestLeave(t *testing.T) {
	const long = "conclave.leaveMs=600000\n"
	t.Run("drained", func(t *testing.T) {
		t.Parallel()
		e := newEnsemble(t, 1, long)
		e.startAll()
		c := e.connect(1, 30*time.Second, nil)
		over := left(e.members[0])
		// It goes on for those that it has, and for those that come.
		if code := c.create("/a", jute.ModePersistent); code != jute.OK {
			t.Fatal(code)
		}
		if code := e.connect(1, 30*time.Second, nil).create("/b", jute.ModePersistent); code != jute.OK {
			t.Fatal(code)
		}
		select {
		case <-over:
			t.Fatal("it has left its clients")
		default:
		}
		e.members[0].drain(admin.DrainRequest{})
		e.leftSoon(over, "it is drained, and no client is left")
	})
	t.Run("drained before", func(t *testing.T) {
		t.Parallel()
		e := newEnsemble(t, 1, long)
		e.startAll()
		e.members[0].drain(admin.DrainRequest{})
		e.leftSoon(left(e.members[0]), "it is drained, and no client is left")
	})
	t.Run("time is up", func(t *testing.T) {
		t.Parallel()
		e := newEnsemble(t, 1, "conclave.leaveMs=50\n")
		e.startAll()
		e.connect(1, 30*time.Second, nil)
		began := time.Now()
		e.leftSoon(left(e.members[0]), "its time is up")
		if took := time.Since(began); took < 50*time.Millisecond {
			t.Errorf("it has left after %v", took)
		}
	})
	t.Run("failed", func(t *testing.T) {
		t.Parallel()
		e := newEnsemble(t, 1, long)
		e.startAll()
		over := left(e.members[0])
		e.members[0].fail(errors.New("a test wants it"))
		e.leftSoon(over, "it has failed")
	})
	t.Run("without an ensemble", func(t *testing.T) {
		t.Parallel()
		e := newEnsemble(t, 1, long)
		e.await = true
		e.start(1)
		e.leftSoon(left(e.members[0]), "it has no ensemble")
	})
}
