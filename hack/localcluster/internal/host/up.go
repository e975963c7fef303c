package host

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/machine"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/parts"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/pki"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/supervise"
)

//go:embed manifests/base.yaml
var base string

// patience bounds each wait for a part of the cluster.
const patience = 5 * time.Minute

// An Up is a start of the cluster.
type Up struct {
	State    string
	Nodes    int
	Builder  *parts.Builder
	Progress io.Writer

	start time.Time
}

// Run starts the cluster, or what is missing of it. A cluster that runs and is
// well is left alone.
func (u *Up) Run(ctx context.Context) (*layout.Cluster, error) {
	u.start = time.Now()
	if u.Nodes < 1 || u.Nodes > layout.MaxNodes {
		return nil, fmt.Errorf("%d nodes: there can be 1 to %d", u.Nodes, layout.MaxNodes)
	}
	if err := prepare(ctx, u.Progress); err != nil {
		return nil, err
	}
	c, err := layout.Load(u.State)
	switch {
	case err == nil && yardPID(c) != 0:
		if c.Nodes != u.Nodes {
			return nil, fmt.Errorf("a cluster with %d nodes is running: make cluster-down first for one with %d", c.Nodes, u.Nodes)
		}
		u.say("it is running")
	case err == nil || errors.Is(err, fs.ErrNotExist):
		// What is left of a cluster that ended by itself, as with the machine.
		if err := Down(u.State); err != nil {
			return nil, fmt.Errorf("clean up after an earlier cluster: %w", err)
		}
		if c, err = u.startYard(ctx); err != nil {
			return nil, err
		}
	default:
		return nil, err
	}
	if err := u.phases(ctx, c); err != nil {
		return nil, fmt.Errorf("%w\n(everything is left as it is: make cluster-status, and then make cluster-down)", err)
	}
	return c, nil
}

func (u *Up) say(format string, args ...any) {
	fmt.Fprintf(u.Progress, "%5.1f s  %s\n", time.Since(u.start).Seconds(), fmt.Sprintf(format, args...))
}

// startYard makes the state folder and starts the yard, connected to the machine.
func (u *Up) startYard(ctx context.Context) (*layout.Cluster, error) {
	bin, err := u.Builder.Build(ctx, parts.Cluster())
	if err != nil {
		return nil, err
	}
	u.say("programs are built: %s", bin)
	c := &layout.Cluster{State: u.State, Bin: bin, Nodes: u.Nodes}
	for _, dir := range []string{c.Images(), c.Statuses(), filepath.Dir(c.Log(machine.ControlMachine, "yard"))} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if err := c.Save(); err != nil {
		return nil, err
	}
	if err := pki.Make(c); err != nil {
		return nil, err
	}
	for image, program := range map[string]string{layout.PauseImage: "pause", layout.DNSImage: "coredns"} {
		if err := systemImage(ctx, c, image, program); err != nil {
			return nil, err
		}
	}
	// go run's program is gone when it ends; the yard's and the nodes' is kept.
	self := filepath.Join(u.State, "localcluster")
	if err := copyProgram(self); err != nil {
		return nil, err
	}
	out, err := os.Create(c.Log(machine.ControlMachine, "yard"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(self, "yard", u.State)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: machine.Namespaces, Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("namespaces: %w", err)
	}
	pid := cmd.Process.Pid
	// It is its own parent's only while this command runs; should it end, it must
	// not look alive.
	go func() { _ = cmd.Wait() }()
	if err := os.WriteFile(c.PIDFile(), []byte(strconv.Itoa(pid)+"\n"), 0o644); err != nil {
		return nil, err
	}
	if err := connectHost(ctx, pid); err != nil {
		return nil, err
	}
	u.say("namespaces are there")
	return c, nil
}

// systemImage writes the archive of a program as an image.
func systemImage(ctx context.Context, c *layout.Cluster, image, program string) error {
	files, err := os.MkdirTemp(c.State, "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(files)
	path, err := filepath.EvalSymlinks(c.Program(program))
	if err != nil {
		return err
	}
	if err := os.Symlink(path, filepath.Join(files, program)); err != nil {
		return err
	}
	platform := "linux/" + runtime.GOARCH
	return run(ctx, c.Program("image"), "-out", filepath.Join(c.Images(), program+".tar"), "-name", image,
		"-entrypoint", "/"+program, "-platform", platform+"="+files, "-docker-platform", platform)
}

func copyProgram(to string) error {
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

// phases waits for the control plane, starts the nodes, and waits until pods run.
func (u *Up) phases(ctx context.Context, c *layout.Cluster) error {
	if err := u.wait(ctx, c, "control plane", func() bool { return machineReady(c, machine.ControlMachine) }); err != nil {
		return err
	}
	if err := kubectlInput(ctx, c, manifest(c), "apply", "-f", "-"); err != nil {
		return err
	}
	for n := layout.Node(1); int(n) <= c.Nodes; n++ {
		if err := machine.StartNode(c, n); err != nil {
			return err
		}
	}
	for n := layout.Node(1); int(n) <= c.Nodes; n++ {
		if err := u.wait(ctx, c, n.Name(), func() bool { return nodeReady(ctx, c, n) }); err != nil {
			return err
		}
	}
	return u.wait(ctx, c, "names of services and pods", func() bool {
		out, err := Kubectl(ctx, c, "--namespace=kube-system", "get", "deployment", "coredns",
			"--output=jsonpath={.status.availableReplicas}/{.spec.replicas}")
		have, want, _ := strings.Cut(out, "/")
		return err == nil && have == want && want != ""
	})
}

// wait returns when ready does. That something has crashed is its error even if
// what is waited for is ready.
func (u *Up) wait(ctx context.Context, c *layout.Cluster, what string, ready func() bool) error {
	for deadline := time.Now().Add(patience); ; {
		machines, err := supervise.Read(c.Statuses())
		if err != nil {
			return err
		}
		if err := supervise.Crashed(machines); err != nil {
			return err
		}
		if ready() {
			break
		}
		if yardPID(c) == 0 {
			log := c.Log(machine.ControlMachine, "yard")
			return fmt.Errorf("the yard has ended; the end of %s:\n%s", log, supervise.Tail(log, 12))
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not ready after %v; logs are in %s", what, patience, filepath.Join(c.State, "log"))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	u.say("%s: ready", what)
	return nil
}

func machineReady(c *layout.Cluster, name string) bool {
	machines, err := supervise.Read(c.Statuses())
	if err != nil {
		return false
	}
	for _, m := range machines {
		if m.Name == name {
			return m.Ready
		}
	}
	return false
}

func nodeReady(ctx context.Context, c *layout.Cluster, n layout.Node) bool {
	if !machineReady(c, n.Name()) {
		return false
	}
	out, err := Kubectl(ctx, c, "get", "node", n.Name(), `--output=jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
	return err == nil && out == "True"
}

// manifest is what every cluster has. Names are served twice where there are
// two nodes, so that one of them can be lost.
func manifest(c *layout.Cluster) string {
	return strings.NewReplacer(
		"$DNS_REPLICAS", strconv.Itoa(min(c.Nodes, 2)),
		"$DNS_IMAGE", layout.DNSImage,
		"$DNS_IP", layout.DNSIP,
		"$DOMAIN", layout.Domain,
	).Replace(base)
}

// Kubectl runs kubectl as the cluster's administrator and returns its output.
func Kubectl(ctx context.Context, c *layout.Cluster, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.Program("kubectl"), append([]string{"--kubeconfig=" + c.Admin()}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

func kubectlInput(ctx context.Context, c *layout.Cluster, input string, args ...string) error {
	cmd := exec.CommandContext(ctx, c.Program("kubectl"), append([]string{"--kubeconfig=" + c.Admin()}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
