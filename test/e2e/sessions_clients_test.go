//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	links "github.com/conclave-dev/conclave/test/conformance/ensemble"

	"github.com/conclave-dev/conclave/test/conformance/compile"
	"github.com/conclave-dev/conclave/test/conformance/proc"
)

// languages of the genuine clients.
var languages = []string{"go", "java", "c"}

// candidates are the client programs of test/e2e/candidate, compiled once: by
// language, the command that a candidate's own arguments follow.
var candidates = sync.OnceValues(func() (map[string][]string, error) {
	dir, err := os.MkdirTemp("", "e2e-candidates-")
	if err != nil {
		return nil, err
	}
	afterwards = append(afterwards, func() { os.RemoveAll(dir) })
	java, err := compile.Java(filepath.Join(dir, "classes"), "test/e2e/candidate/java/Candidate.java")
	if err != nil {
		return nil, err
	}
	c := filepath.Join(dir, "c")
	if err := compile.C(c, "test/e2e/candidate/c/candidate.c"); err != nil {
		return nil, err
	}
	// The image has this folder's programs.
	program := filepath.Join(dir, "image", "candidate")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "./test/e2e/candidate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the candidate: %w\n%s", err, out)
	}
	return map[string][]string{"go": {program}, "c": {c}, "java": append(append([]string{"java", "-Xmx64m"}, java...), "Candidate")}, nil
})

// candidateImage is the Go candidate for pods; giveCandidate gives it to all nodes
// of the local cluster, once.
const candidateImage = "candidate:e2e"

var giveCandidate = sync.OnceValue(func() error {
	programs, err := candidates()
	if err != nil {
		return err
	}
	files := filepath.Dir(programs["go"][0])
	archive := files + ".tar"
	platform := "linux/" + runtime.GOARCH
	if err := command(filepath.Join(target.local.Bin(), "image"), "-out", archive, "-name", candidateImage, "-entrypoint", "/candidate",
		"-own", "/data", "-platform", platform+"="+files, "-docker-platform", platform); err != nil {
		return err
	}
	return command("go", "run", "./hack/localcluster", "load", archive)
})

// A candidate is a client program, a process on this machine.
type candidate struct {
	t     *testing.T
	name  string
	child *proc.Process
	stdin *os.File
	// link is its way to the ensemble, to one of members at a time; nil if it has many
	// of its own.
	link    *links.Proxy
	members []string

	mu   sync.Mutex
	told []saying
}

// saying is a line of a candidate's.
type saying struct {
	at   time.Time
	text string
}

// stand starts a candidate. It ends with the test.
func stand(t *testing.T, language, hosts string, timeout time.Duration, kind, path, name string) *candidate {
	t.Helper()
	programs, err := candidates()
	if err != nil {
		t.Fatal(err)
	}
	c := &candidate{t: t, name: name}
	in, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	c.stdin = stdin
	out, lines := io.Pipe()
	words := programs[language]
	args := append(slices.Clone(words[1:]), hosts, fmt.Sprint(timeout.Milliseconds()), kind, path, name)
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	if c.child, err = proc.Start(proc.Spec{Name: name, Path: words[0], Args: args, Stdin: in, Stdout: lines, Stderr: stderr}); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		scan := bufio.NewScanner(out)
		for scan.Scan() {
			c.mu.Lock()
			c.told = append(c.told, saying{time.Now(), scan.Text()})
			c.mu.Unlock()
		}
	})
	reading.Go(func() {
		<-c.child.Done()
		lines.Close()
	})
	t.Cleanup(func() {
		if err := c.child.Kill(); err != nil {
			t.Error(err)
		}
		reading.Wait()
		stdin.Close()
		stderr.Close()
		if c.link != nil {
			c.link.Close()
		}
		if t.Failed() {
			c.mu.Lock()
			defer c.mu.Unlock()
			var story strings.Builder
			for _, s := range c.told {
				fmt.Fprintf(&story, "\n%s %s", s.at.UTC().Format("15:04:05.000"), s.text)
			}
			t.Logf("%s, now %s:%s\n%s", name, time.Now().UTC().Format("15:04:05.000"), story.String(), proc.Tail(stderr.Name(), 10))
		}
	})
	return c
}

// said waits until it has said, after a time, something that begins so.
func (c *candidate) said(word string, after time.Time) saying {
	c.t.Helper()
	var found saying
	until(c.t, c.name+" says "+word, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s := range c.told {
			if strings.HasPrefix(s.text, word) && !s.at.Before(after) {
				found = s
				return nil
			}
		}
		return fmt.Errorf("it has said %d other things", len(c.told))
	})
	return found
}

// session is the one that it had last.
func (c *candidate) session() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range slices.Backward(c.told) {
		if id, ok := strings.CutPrefix(s.text, "SESSION "); ok {
			return id
		}
	}
	return ""
}

// close makes it end its session, and returns when that has begun.
func (c *candidate) close() time.Time {
	c.t.Helper()
	at := time.Now()
	if _, err := c.stdin.WriteString("close\n"); err != nil {
		c.t.Fatal(err)
	}
	return at
}

func (c *candidate) kill() time.Time {
	c.t.Helper()
	at := time.Now()
	if err := c.child.Kill(); err != nil {
		c.t.Fatal(err)
	}
	return at
}

// cut takes its connection away, and lets no other be.
func (c *candidate) cut() time.Time {
	c.t.Helper()
	at := time.Now()
	if err := c.link.SetMode(links.ProxyCut); err != nil {
		c.t.Fatal(err)
	}
	return at
}

// to has it connect to a member, by its number from 0.
func (c *candidate) to(member int) time.Time {
	c.t.Helper()
	at := c.cut()
	c.link.SetTarget(c.members[member])
	if err := c.link.SetMode(links.ProxyOpen); err != nil {
		c.t.Fatal(err)
	}
	return at
}

// addresses are the members', in the order of their pods.
func (e *ensemble) addresses() []string {
	e.t.Helper()
	var list []string
	for _, p := range e.pods() {
		list = append(list, p.Status.PodIP+":2181")
	}
	return list
}

// linked starts a candidate that has one way to the ensemble, to the first member.
func (e *ensemble) linked(language string, timeout time.Duration, kind, path, name string) *candidate {
	e.t.Helper()
	members := e.addresses()
	link, err := links.NewProxy(members[0])
	if err != nil {
		e.t.Fatal(err)
	}
	c := stand(e.t, language, link.Addr(), timeout, kind, path, name)
	c.link, c.members = link, members
	return c
}

// until is eventually with a closer look.
func until(t *testing.T, name string, what func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience / 4); ; time.Sleep(20 * time.Millisecond) {
		err := what()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v, %s: %v", patience/4, name, err)
		}
	}
}

// inPods runs the Go candidate in pods of a Deployment of its name.
func (e *ensemble) inPods(deployment string, replicas int, timeout time.Duration, kind, path, affinity string) {
	e.t.Helper()
	if err := giveCandidate(); err != nil {
		e.t.Fatal(err)
	}
	file := filepath.Join(e.t.TempDir(), "deployment.yaml")
	text := fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      affinity: %[3]s
      containers:
      - name: candidate
        image: %[4]s
        imagePullPolicy: Never
        args: ["%[5]s:2181", "%[6]d", %[7]s, %[8]s, "$HOSTNAME"]
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        resources: {requests: {cpu: 5m, memory: 16Mi}}
`, deployment, replicas, affinity, candidateImage, name, timeout.Milliseconds(), kind, path)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
	e.must("apply", "--filename="+file)
	e.must("rollout", "status", "deployment/"+deployment, "--timeout=4m")
}

// afterwards is done when all tests are over.
var afterwards []func()

// figure is a measured thing, which is printed and not judged by its speed.
type figure struct {
	what string
	list []time.Duration
}

func (f *figure) add(d time.Duration) { f.list = append(f.list, max(0, d)) }

func (f *figure) String() string {
	if len(f.list) == 0 {
		return f.what + ": nothing measured"
	}
	sorted := slices.Sorted(slices.Values(f.list))
	return fmt.Sprintf("%s: n=%d median=%v max=%v", f.what, len(sorted), sorted[len(sorted)/2].Round(time.Millisecond), sorted[len(sorted)-1].Round(time.Millisecond))
}

// stopsWith ends a goroutine of a test with the test.
func stopsWith(t *testing.T, what func(ctx context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { what(ctx) })
	stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(stop)
	return stop
}
