//go:build faults

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// insideVariable is set for the process that has namespaces of its own.
const insideVariable = "CONCLAVE_FAULTS_INSIDE"

func TestMain(m *testing.M) {
	if plan, ok := os.LookupEnv(victimVariable); ok {
		os.Exit(runVictim(plan))
	}
	if os.Getenv(insideVariable) == "" {
		os.Exit(enter())
	}
	if err := settle(); err != nil {
		fmt.Fprintln(os.Stderr, "faults: prepare the namespaces:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// enter runs this program again in a network and a mount namespace of its own:
// whatever it sets up there ends with it, however it ends.
func enter() int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "faults: network namespaces need root; run make test-faults as root")
		return 1
	}
	runtime.LockOSThread() // Pdeathsig is about the thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if cmd.ProcessState != nil {
		return max(cmd.ProcessState.ExitCode(), btoi(err != nil))
	}
	fmt.Fprintln(os.Stderr, "faults: enter namespaces:", err)
	return 1
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// settle keeps mounts to this process, gives ip a place for namespaces, and
// makes the bridge to which members are connected.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("netns", "/run/netns", "tmpfs", 0, ""); err != nil {
		return err
	}
	return makeBridge()
}

// seconds is how long a storm lasts.
func seconds(t testing.TB) time.Duration {
	text := os.Getenv("FAULTS_SECONDS")
	if text == "" {
		return 20 * time.Second
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("FAULTS_SECONDS=%q: a number of seconds", text)
	}
	return time.Duration(n) * time.Second
}

// seed returns FAULTS_SEED, or one of the day, and prints it.
func seed(t testing.TB) uint64 {
	n := uint64(time.Now().UnixNano() % 1e9)
	if text := os.Getenv("FAULTS_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("FAULTS_SEED=%q: %v", text, err)
		}
	}
	t.Logf("FAULTS_SEED=%d", n)
	return n
}
