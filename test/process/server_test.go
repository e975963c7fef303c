package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/proc"
)

// patience bounds every wait. It is far beyond what a loaded machine needs, and
// is only ever used up by a failure.
const patience = 30 * time.Second

// eventually asks, again and again, until there is no error.
func eventually(t testing.TB, what string, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still not so after %v: %v", what, patience, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// lines returns the lines that contain all of the words.
func (o *output) lines(words ...string) []string {
	var found []string
next:
	for line := range strings.Lines(o.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		found = append(found, strings.TrimSuffix(line, "\n"))
	}
	return found
}

// server is a member's process.
type server struct {
	t    testing.TB
	p    *proc.Process
	log  *output
	addr string // where clients connect, once it is known
	// reportFile is the child's, for a member with a plan.
	reportFile string
}

// startMember starts a member whose disk follows a plan.
func startMember(t testing.TB, p plan) *server {
	t.Helper()
	p.Report = filepath.Join(t.TempDir(), "report")
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, os.Args[0], nil, planVariable+"="+string(text))
	s.reportFile = p.Report
	return s
}

func start(t testing.TB, program string, args []string, env ...string) *server {
	t.Helper()
	s := &server{t: t, log: &output{}}
	// A race detected ends the process; its runtime's second of sleep at every
	// exit would be most of a test.
	env = append(env, "GORACE=atexit_sleep_ms=0 halt_on_error=1")
	var err error
	s.p, err = proc.Start(proc.Spec{Name: filepath.Base(program), Path: program, Args: args, Env: env, Stdout: s.log, Stderr: s.log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.p.Kill()
		s.checkLog()
		if t.Failed() && lastLogs.more(t) {
			t.Logf("the log of process %d:\n%s", s.p.PID(), tail(s.log.String(), 40))
		}
	})
	return s
}

// lastLogs sees to it that of a test's processes only the last two tell their
// story: there may be hundreds.
var lastLogs logCounter

type logCounter struct {
	mu   sync.Mutex
	seen map[testing.TB]int
}

func (l *logCounter) more(t testing.TB) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = make(map[testing.TB]int)
	}
	l.seen[t]++
	return l.seen[t] <= 2
}

func tail(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

// maxLogLine bounds what a client can make a server log at once, in bytes.
const maxLogLine = 4096

// checkLog fails the test for what no process may ever say.
func (s *server) checkLog() {
	s.t.Helper()
	log := s.log.String()
	for line := range strings.Lines(log) {
		if len(line) > maxLogLine {
			s.t.Errorf("process %d has a line of %d bytes in its log: %.200s...", s.p.PID(), len(line), line)
		}
	}
	for _, bad := range []string{"panic:", "fatal error:", "DATA RACE", "goroutine 1 ["} {
		if i := strings.Index(log, bad); i >= 0 {
			s.t.Errorf("process %d says %q:\n%s", s.p.PID(), bad, log[i:min(len(log), i+4000)])
			return
		}
	}
}

var startedLine = regexp.MustCompile(`msg=started .*clients=(\S+)`)

// errEnded tells that a process ended while somebody waited for it to serve.
var errEnded = errors.New("the process has ended")

// serving waits until the member takes clients, or has ended.
func (s *server) serving() error {
	s.t.Helper()
	var ended bool
	eventually(s.t, "the member serves", func() error {
		if !s.p.Running() {
			ended = true
			return nil
		}
		if s.addr == "" {
			m := startedLine.FindStringSubmatch(s.log.String())
			if m == nil {
				return errors.New("it has not started")
			}
			s.addr = m[1]
		}
		answer, err := fourLetter(s.addr, "srvr")
		if err != nil || !strings.Contains(answer, "Mode: ") {
			return fmt.Errorf("srvr: %q, %v", answer, err)
		}
		return nil
	})
	if ended {
		return errEnded
	}
	return nil
}

// mustServe is for when it has to.
func (s *server) mustServe() *server {
	s.t.Helper()
	if err := s.serving(); err != nil {
		s.t.Fatalf("%v: %s\n%s", err, s.exit(), tail(s.log.String(), 20))
	}
	return s
}

// exit waits for the process to end and describes how it did.
func (s *server) exit() string {
	s.t.Helper()
	err := s.p.Wait(patience)
	if s.p.Running() {
		s.t.Fatalf("the process does not end: %v\n%s", err, tail(s.log.String(), 20))
	}
	var exit *exec.ExitError
	if err == nil {
		return "exit 0"
	} else if !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if st := exit.Sys().(syscall.WaitStatus); st.Signaled() {
		return st.Signal().String()
	}
	return fmt.Sprintf("exit %d", exit.ExitCode())
}

// stop tells the member to stop and expects it to do so cleanly.
func (s *server) stop() {
	s.t.Helper()
	if err := s.p.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if got := s.exit(); got != "exit 0" {
		s.t.Fatalf("told to stop, the member ended with %s\n%s", got, tail(s.log.String(), 20))
	}
}

// report returns what a member with a plan has left behind.
func (s *server) report() (r report) {
	s.t.Helper()
	b, err := os.ReadFile(s.reportFile)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		s.t.Fatalf("the report of process %d: %v", s.p.PID(), err)
	}
	return r
}

// dataDir returns a directory for a member's data, in memory where that can be
// had: the tests need thousands of syncs to be made in order, not to be slow.
func dataDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "conclave-process-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "data")
}

// host returns an address of the loopback network that nobody else is likely
// to use: with a port below those of outgoing connections, a member that is
// started again finds its port free.
func host() string {
	return fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(128), rand.IntN(256), 1+rand.IntN(254))
}
