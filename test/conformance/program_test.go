//go:build conformance

package conformance

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
	"github.com/conclave-dev/conclave/test/conformance/proc"
)

// program is a client program in another language. It prints "PASS name: duration",
// "SKIP name: why" or "FAIL name: why" for each of its tests, indented lines of
// detail behind a failure, and "DONE count" at the very end.
type program struct {
	path string
	args []string
	env  []string
	// timeout bounds the whole run. A program that hangs is sent SIGQUIT first:
	// a JVM answers it by printing the stacks of all its threads.
	timeout time.Duration
}

// result is what a program said about one of its tests.
type result struct {
	verdict, name, why string
}

// run runs the program against e and makes a subtest of each of its tests.
func (p program) run(t *testing.T, e *ensemble.Ensemble) {
	t.Helper()
	control, err := ensemble.NewControl(e)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()

	stderr := filepath.Join(t.TempDir(), "stderr")
	errFile, err := os.Create(stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer errFile.Close()
	out, in := io.Pipe()
	child, err := proc.Start(proc.Spec{
		Name: filepath.Base(p.path), Path: p.path, Args: p.args, Stdout: in, Stderr: errFile,
		Env: append([]string{
			"CONNECT=" + e.ConnectString(),
			"CONTROL=" + control.Addr(),
			"TARGET=" + string(e.Target),
			"ONLY=" + os.Getenv("CONFORMANCE_ONLY"),
			"PASSWORD=" + ensemble.SuperPassword,
		}, p.env...),
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-child.Done()
		in.Close()
	}()
	watchdog := time.AfterFunc(p.timeout, func() {
		child.Signal(syscall.SIGQUIT)
		// Time to print, then the end; a program without a handler is gone already.
		time.AfterFunc(5*time.Second, func() { child.Signal(syscall.SIGKILL) })
	})
	defer watchdog.Stop()

	var pending *result
	var detail, stray strings.Builder
	seen, done := 0, -1
	flush := func() {
		if pending != nil {
			seen++
			report(t, *pending, detail.String())
		}
		pending = nil
		detail.Reset()
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		verdict, rest, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(line, "\t") && pending != nil:
			detail.WriteString(line + "\n")
		case verdict == "PASS" || verdict == "SKIP" || verdict == "FAIL":
			flush()
			name, why, _ := strings.Cut(rest, ": ")
			pending = &result{verdict, name, why}
		case verdict == "DONE":
			flush()
			if done, err = strconv.Atoi(rest); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		default:
			stray.WriteString(line + "\n")
		}
	}
	flush()
	io.Copy(io.Discard, out) // a line too long ends the scan, not the child
	err = child.Wait(10 * time.Second)
	switch {
	case err != nil || done < 0:
		t.Errorf("the program died or hung after %d tests (%v); its last lines:\n%s\n%s", seen, err, lastLines(stray.String(), 400), proc.Tail(stderr, 60))
	case done != seen:
		t.Errorf("the program counts %d tests and reported %d", done, seen)
	case seen == 0 && os.Getenv("CONFORMANCE_ONLY") == "":
		t.Errorf("the program ran no test")
	case t.Failed():
		t.Logf("the program's last lines:\n%s", proc.Tail(stderr, 40))
	}
}

func report(t *testing.T, r result, detail string) {
	t.Run(r.name, func(t *testing.T) {
		switch r.verdict {
		case "PASS":
			t.Log(r.why)
		case "SKIP":
			t.Skip(r.why)
		case "FAIL":
			t.Errorf("%s\n%s", r.why, detail)
		}
	})
}

func lastLines(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
