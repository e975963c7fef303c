package cluster

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/proc"
)

// Member is one server. It is used by one goroutine at a time.
type Member struct {
	// ID is the N of server.N.
	ID   int
	Addr netip.AddrPort
	dir  string
	path string
	args []string
	p    *proc.Process
}

func (m *Member) logPath() string { return filepath.Join(m.dir, "log") }

func (m *Member) running() bool { return m.p != nil && m.p.Running() }

// ended tells whether the process has ended by itself.
func (m *Member) ended() bool { return m.p != nil && !m.p.Running() }

// PID is the id of the member's process, which has to run.
func (m *Member) PID() int { return m.p.PID() }

// Start starts the process and does not wait until it serves.
func (m *Member) Start() error {
	log, err := os.OpenFile(m.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has a descriptor of its own
	m.p, err = proc.Start(proc.Spec{Name: fmt.Sprintf("member %d", m.ID), Path: m.path, Args: m.args, Dir: m.dir, Stdout: log, Stderr: log})
	return err
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (m *Member) Kill() error {
	if m.p == nil {
		return nil
	}
	err := m.p.Kill()
	m.p = nil
	return err
}

// Stop asks the process to end and waits until it has.
func (m *Member) Stop() error {
	if m.p == nil {
		return nil
	}
	if err := m.p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-m.p.Done(): // whatever its status: a JVM's is 143
	case <-time.After(time.Minute):
		return fmt.Errorf("member %d still runs a minute after SIGTERM", m.ID)
	}
	m.p = nil
	return nil
}

// Pause stops the process where it is (SIGSTOP); Resume lets it go on.
func (m *Member) Pause() error { return m.p.Signal(syscall.SIGSTOP) }

// Resume ends a pause.
func (m *Member) Resume() error { return m.p.Signal(syscall.SIGCONT) }

// Collect asks a JVM to collect its garbage and give back what it does not need,
// so that its memory is what it takes rather than what it was given. Conclave has
// no such request, and is left as it is.
func (e *Ensemble) Collect() error {
	if e.Kind != ZooKeeper {
		return nil
	}
	for _, m := range e.Members {
		out, err := exec.Command("jcmd", fmt.Sprint(m.PID()), "GC.run").CombinedOutput()
		if err != nil {
			return fmt.Errorf("jcmd, of the JDK, asks ZooKeeper's JVM to collect its garbage: %w: %s", err, out)
		}
	}
	return nil
}
