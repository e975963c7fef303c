package ensemble

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/proc"
)

// Member is one server of an ensemble. Its methods are safe for concurrent use.
type Member struct {
	// ID is the N of server.N.
	ID     int
	target Target
	host   string
	dir    string
	cfg    string

	mu sync.Mutex
	// p is the process that was started last and has not been ended by Kill or
	// Stop; it may have ended by itself.
	p      *proc.Process
	paused bool
}

// Addr is the member's client address, host:port.
func (m *Member) Addr() string { return fmt.Sprintf("%s:%d", m.host, clientPort) }

// AdminURL is where the member answers commands over HTTP.
func (m *Member) AdminURL() string { return fmt.Sprintf("http://%s:%d/commands", m.host, adminPort) }

// LogPath is the file that collects what the member prints, across restarts.
func (m *Member) LogPath() string { return filepath.Join(m.dir, "log") }

// Running tells whether the member's process exists and is not paused.
func (m *Member) Running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.p != nil && m.p.Running() && !m.paused
}

// Stopped tells whether the member was never started, or ended by Kill or Stop.
func (m *Member) Stopped() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.p == nil
}

// Start starts the member's process; it does not wait until it serves.
func (m *Member) Start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p != nil && m.p.Running() {
		return fmt.Errorf("start member %d: it already runs", m.ID)
	}
	path, args, err := m.target.command(m.cfg)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(m.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own descriptor
	fmt.Fprintf(log, "--- %s start of member %d\n", time.Now().Format("15:04:05.000"), m.ID)
	m.paused = false
	m.p, err = proc.Start(proc.Spec{
		Name: fmt.Sprintf("member %d", m.ID), Path: path, Args: args, Dir: m.dir, Stdout: log, Stderr: log,
	})
	return err
}

// Kill ends the member with SIGKILL and waits until it is gone. A member that
// does not run is left alone.
func (m *Member) Kill() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p == nil {
		return nil
	}
	if err := m.p.Kill(); err != nil {
		return err
	}
	m.p, m.paused = nil, false
	return nil
}

// Stop asks the member to end (SIGTERM) and waits at most grace.
func (m *Member) Stop(grace time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p == nil {
		return nil
	}
	if err := m.p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-m.p.Done(): // whatever its exit status: a JVM's is 143
		m.p, m.paused = nil, false
		return nil
	case <-time.After(grace):
		return fmt.Errorf("member %d still runs %v after SIGTERM", m.ID, grace)
	}
}

// Pause stops the member's process with SIGSTOP: it keeps its connections and
// ports, and does nothing.
func (m *Member) Pause() error { return m.pause(syscall.SIGSTOP, true) }

// Resume lets a paused member go on.
func (m *Member) Resume() error { return m.pause(syscall.SIGCONT, false) }

func (m *Member) pause(sig syscall.Signal, paused bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p == nil || !m.p.Running() {
		return fmt.Errorf("%v to member %d: it does not run", sig, m.ID)
	}
	m.paused = paused
	return m.p.Signal(sig)
}

// ended returns a description of the member's end if its process has ended by
// itself.
func (m *Member) ended() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p == nil || m.p.Running() {
		return nil
	}
	return fmt.Errorf("member %d has ended (%v); its last lines:\n%s", m.ID, m.p.Wait(time.Second), proc.Tail(m.LogPath(), 30))
}
