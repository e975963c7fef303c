// Package proc runs the child processes of the conformance suite: servers and
// client programs alike. A child never outlives the test binary, its output is
// kept in a file, and its end can be waited for by anyone.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is one running or finished child.
type Process struct {
	name string
	cmd  *exec.Cmd
	// done is closed once the child has been reaped; err is written before that
	// and only read after it.
	done chan struct{}
	err  error
}

// Spec describes a child to start. Stdin may be nil (empty), Stdout and Stderr too
// (discarded).
type Spec struct {
	Name   string // for messages
	Path   string // the program
	Args   []string
	Env    []string // added to this process's environment
	Dir    string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// Start starts the child described by s. The child is killed by the kernel when
// this process ends for whatever reason (a `go test -timeout` panic runs no
// deferred call), so that no server stays behind on the machine.
func Start(s Spec) (*Process, error) {
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Dir = s.Dir
	cmd.Stdin = s.Stdin
	cmd.Stdout = s.Stdout
	cmd.Stderr = s.Stderr
	// A child of the child that inherited the pipes must not keep Wait waiting.
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

	p := &Process{name: s.Name, cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// Pdeathsig watches the thread that forked, not the process: the thread
		// has to live exactly as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	return p, nil
}

// PID is the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running tells whether the child has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Wait waits at most d for the child's end and returns its exit error, nil for
// status 0.
func (p *Process) Wait(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.err
	case <-timer.C:
		return fmt.Errorf("%s (pid %d) still runs after %v", p.name, p.PID(), d)
	}
}

// Signal sends sig to the child. A child that has already ended is no error.
func (p *Process) Signal(sig os.Signal) error {
	err := p.cmd.Process.Signal(sig)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to %s: %w", sig, p.name, err)
	}
	return nil
}

// Kill kills the child at once (SIGKILL also ends a stopped process) and waits
// until it is gone, so that its ports and files are free afterwards.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Tail returns the last n lines of the file at path, or the reason why it
// cannot be read: it is made for failure messages.
func Tail(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	data = bytes.TrimRight(data, "\n")
	for i := len(data) - 1; i >= 0; i-- {
		if data[i] == '\n' {
			if n--; n == 0 {
				return string(data[i+1:])
			}
		}
	}
	return string(data)
}
