// Package supervise starts the components of one machine and writes down what
// becomes of them, so that a crash is seen by whoever asks.
//
// A component that ended is not started again: on a cluster for tests a crash
// that heals itself is a crash that nobody looks into.
package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Status is what is known of a component.
type Status struct {
	Component string
	// PID is the process in the machine's own namespace, 0 before it started.
	PID     int
	Started time.Time
	// Ended is zero while the component runs.
	Ended time.Time
	// Exit says how it ended.
	Exit string
	// Stopped is set when it ended because somebody asked for that.
	Stopped bool
	// Log is the file of what it wrote.
	Log string
}

// Running says whether the component has not ended.
func (s Status) Running() bool { return s.Ended.IsZero() }

// Crashed says whether the component has ended and nobody stopped it.
func (s Status) Crashed() bool { return !s.Running() && !s.Stopped }

// A Machine is the file of a machine's components.
type Machine struct {
	Name string
	// Ready is set when all of the machine's components have been started.
	Ready bool
	// Failure says why a machine could not be set up.
	Failure    string
	Components []Status
}

// A Supervisor starts the components of one machine, in its process 1, and
// lives as long as the machine.
type Supervisor struct {
	file string
	log  func(component string) string

	mu      sync.Mutex
	machine Machine
	// done has a channel for each component that runs, closed when it has ended.
	done map[string]chan struct{}
}

// New makes a supervisor that keeps the machine's file in the folder statuses
// and the components' output where log says.
func New(statuses, machine string, log func(component string) string) (*Supervisor, error) {
	s := &Supervisor{
		file:    filepath.Join(statuses, machine+".json"),
		log:     log,
		machine: Machine{Name: machine},
		done:    make(map[string]chan struct{}),
	}
	if err := os.MkdirAll(statuses, 0o755); err != nil {
		return nil, err
	}
	return s, s.write()
}

// Start runs a program as a component, or one again that has been stopped.
func (s *Supervisor) Start(component, program string, args ...string) error {
	_, err := s.StartIn(component, nil, program, args...)
	return err
}

// StartIn does so with attributes such as namespaces, and returns the process.
func (s *Supervisor) StartIn(component string, attr *syscall.SysProcAttr, program string, args ...string) (int, error) {
	path := s.log(component)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return 0, err
	}
	// Appending: a node that comes back goes on in its log.
	out, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = out, out, attr
	s.mu.Lock()
	defer s.mu.Unlock()
	pid, err := children.run(cmd, func(w syscall.WaitStatus) { s.end(component, w) })
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", component, err)
	}
	s.done[component] = make(chan struct{})
	status := Status{Component: component, PID: pid, Started: time.Now(), Log: path}
	if i := s.index(component); i >= 0 {
		s.machine.Components[i] = status
	} else {
		s.machine.Components = append(s.machine.Components, status)
	}
	return pid, s.write()
}

// Command runs a program to its end. Its error has what the program wrote.
func Command(program string, args ...string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = w, w
	done := make(chan syscall.WaitStatus, 1)
	_, err = children.run(cmd, func(status syscall.WaitStatus) { done <- status })
	w.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	out, _ := io.ReadAll(r)
	if status := <-done; status != 0 {
		return fmt.Errorf("%s %s: %s: %s", filepath.Base(program), strings.Join(args, " "), describe(status), strings.TrimSpace(string(out)))
	}
	return nil
}

// Stop kills a component and returns when it has ended. It counts as stopped,
// not as crashed.
func (s *Supervisor) Stop(component string) error {
	s.mu.Lock()
	i := s.index(component)
	if i < 0 || !s.machine.Components[i].Running() {
		s.mu.Unlock()
		return nil
	}
	c, done := &s.machine.Components[i], s.done[component]
	c.Stopped = true
	err := syscall.Kill(c.PID, syscall.SIGKILL)
	s.mu.Unlock()
	if err != nil && err != syscall.ESRCH {
		return fmt.Errorf("stop %s: %w", component, err)
	}
	<-done
	return nil
}

// end writes down that a component has ended.
func (s *Supervisor) end(component string, w syscall.WaitStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.machine.Components[s.index(component)]
	c.Ended, c.Exit = time.Now(), describe(w)
	// Whoever has waited for the end reads it in the file.
	defer close(s.done[component])
	if err := s.write(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func (s *Supervisor) index(component string) int {
	return slices.IndexFunc(s.machine.Components, func(c Status) bool { return c.Component == component })
}

func describe(w syscall.WaitStatus) string {
	if w.Signaled() {
		return "killed by signal " + w.Signal().String()
	}
	return fmt.Sprintf("exit status %d", w.ExitStatus())
}

// Running says whether a component has been started and not ended.
func (s *Supervisor) Running(component string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.index(component)
	return i >= 0 && s.machine.Components[i].Running()
}

// Crashed says whether a component has ended that nobody stopped.
func (s *Supervisor) Crashed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.machine.Components, Status.Crashed)
}

// Ready marks the machine as set up.
func (s *Supervisor) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machine.Ready = true
	return s.write()
}

// Fail marks the machine as one that could not be set up.
func (s *Supervisor) Fail(why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machine.Failure = why.Error()
	return s.write()
}

// write replaces the machine's file. Its caller holds mu, or nobody else has s.
func (s *Supervisor) write() error {
	data, err := json.MarshalIndent(s.machine, "", "  ")
	if err != nil {
		return err
	}
	tmp := s.file + ".tmp"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, s.file)
}

// Remove removes the file of a machine that is no more.
func Remove(statuses, machine string) error {
	err := os.Remove(filepath.Join(statuses, machine+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Read returns what the supervisors of all machines have written, in the order
// of the machines' names.
func Read(statuses string) ([]Machine, error) {
	files, err := filepath.Glob(filepath.Join(statuses, "*.json"))
	if err != nil {
		return nil, err
	}
	var list []Machine
	for _, f := range files {
		data, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a node was stopped in between
		}
		if err != nil {
			return nil, err
		}
		var m Machine
		if err := json.Unmarshal(data, &m); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		list = append(list, m)
	}
	return list, nil
}

// Crashed returns an error that names each component that has ended, with the
// last lines of its log, and each machine that could not be set up.
func Crashed(machines []Machine) error {
	var errs []error
	for _, m := range machines {
		if m.Failure != "" {
			errs = append(errs, fmt.Errorf("%s: %s", m.Name, m.Failure))
		}
		for _, c := range m.Components {
			if c.Crashed() {
				errs = append(errs, fmt.Errorf("%s of %s ended at %s: %s; the end of %s:\n%s",
					c.Component, m.Name, c.Ended.Format(time.TimeOnly), c.Exit, c.Log, Tail(c.Log, 12)))
			}
		}
	}
	return errors.Join(errs...)
}

// Tail returns the last lines of a file, indented, or why it cannot be read.
func Tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "    " + err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return "    " + strings.Join(all[max(0, len(all)-lines):], "\n    ")
}
