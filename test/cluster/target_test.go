//go:build cluster

package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/hack/localcluster/faults"
)

// patience bounds every wait: it matters only when something is broken.
const patience = 5 * time.Minute

// target is the cluster under test.
var target struct {
	// local is nil if the cluster is kubectl's current one.
	local *faults.Cluster
	image string
	// ours is set if this process has started the local cluster and ends it.
	ours bool
}

func TestMain(m *testing.M) {
	code, err := setUp(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func setUp(m *testing.M) (int, error) {
	if err := os.Chdir("../.."); err != nil {
		return 1, err
	}
	if os.Getenv("CLUSTER") == "current" {
		if target.image = os.Getenv("CLUSTER_IMAGE"); target.image == "" {
			return 1, fmt.Errorf("CLUSTER=current: set CLUSTER_IMAGE to an image of test/cluster/probe that the cluster can pull")
		}
		return m.Run(), nil
	}
	before, err := snapshot()
	if err != nil {
		return 1, err
	}
	if running, err := faults.Open(); err != nil {
		target.ours = true
	} else if err := unused(running); err != nil {
		return 1, err
	}
	tool := filepath.Join(os.TempDir(), fmt.Sprintf("localcluster-%d", os.Getpid()))
	defer os.Remove(tool)
	if err := command("go", "build", "-o", tool, "./hack/localcluster"); err != nil {
		return 1, err
	}
	localcluster = tool
	if err := command(localcluster, "up", "-nodes", "3"); err != nil {
		return 1, err
	}
	if target.local, err = faults.Open(); err != nil {
		return 1, err
	}
	os.Setenv("KUBECONFIG", target.local.Kubeconfig())
	os.Setenv("PATH", target.local.Bin()+":"+os.Getenv("PATH"))
	if err := loadProbe(); err != nil {
		return 1, err
	}
	code := m.Run()
	if !target.ours {
		fmt.Println("the cluster was running before and is left so: its end is not tested")
		return code, nil
	}
	if code != 0 && os.Getenv("CLUSTER_KEEP") != "" {
		fmt.Println("CLUSTER_KEEP: the cluster is left as it is")
		return code, nil
	}
	if err := command(localcluster, "down"); err != nil {
		return 1, err
	}
	after, err := snapshot()
	if err != nil {
		return 1, err
	}
	if diff := compare(before, after); diff != "" {
		return 1, fmt.Errorf("after cluster-down the machine is not what it was:\n%s", diff)
	}
	fmt.Println("cluster-down left nothing behind")
	return code, nil
}

var localcluster string

// unused returns an error if a cluster that runs is somebody's: the tests stop
// its nodes.
func unused(c *faults.Cluster) error {
	out, err := exec.Command(filepath.Join(c.Bin(), "kubectl"), "--kubeconfig="+c.Kubeconfig(), "get", "pods",
		"--all-namespaces", "--field-selector=metadata.namespace!=kube-system", "--output=name").Output()
	if err != nil {
		return fmt.Errorf("the cluster that runs on this machine does not answer: %w: make cluster-down ends it", err)
	}
	if pods := strings.Fields(string(out)); len(pods) > 0 {
		return fmt.Errorf("somebody uses the cluster on this machine, which the tests would break: %s: make cluster-down ends it", strings.Join(pods, ", "))
	}
	return nil
}

// loadProbe builds the probe, as an image, and gives it to all nodes.
func loadProbe() error {
	dir, err := os.MkdirTemp("", "probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files, archive := filepath.Join(dir, "files"), filepath.Join(dir, "probe.tar")
	cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(files, "probe"), "./test/cluster/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the probe: %w\n%s", err, out)
	}
	target.image = "conclave.dev/test/probe:1"
	platform := "linux/" + runtime.GOARCH
	if err := command(filepath.Join(target.local.Bin(), "image"), "-out", archive, "-name", target.image,
		"-entrypoint", "/probe", "-platform", platform+"="+files, "-docker-platform", platform); err != nil {
		return err
	}
	return command(localcluster, "load", archive)
}

func command(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(name), strings.Join(args, " "), err)
	}
	return nil
}

// local returns the local cluster, or skips a test that breaks things.
func local(t *testing.T) *faults.Cluster {
	t.Helper()
	if target.local == nil {
		t.Skip("it would break kubectl's current cluster")
	}
	return target.local
}

// A namespace is where a test does its things. It is deleted at the test's end.
type namespace struct {
	t    *testing.T
	name string
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{t, fmt.Sprintf("test-%s-%d", strings.ToLower(strings.TrimPrefix(t.Name(), "Test")), os.Getpid())}
	n.must("create", "namespace", n.name)
	n.must("label", "namespace", n.name, "pod-security.kubernetes.io/enforce=restricted")
	t.Cleanup(func() {
		if t.Failed() {
			out, err := n.try("get", "pods,pvc,events", "--output=wide")
			t.Logf("%v\n%s", err, out)
		}
		if _, err := n.try("delete", "namespace", n.name, "--timeout=4m"); err != nil {
			t.Errorf("delete the namespace: %v", err)
		}
	})
	return n
}

// try runs kubectl in the namespace. Its standard output is returned.
func (n *namespace) try(args ...string) (string, error) { return n.apply("", args...) }

func (n *namespace) apply(input string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kubectl", append([]string{"--namespace=" + n.name}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

func (n *namespace) must(args ...string) string {
	n.t.Helper()
	out, err := n.try(args...)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// probe runs the probe's client in a pod.
func (n *namespace) probe(pod string, args ...string) (string, error) {
	return n.try(append([]string{"exec", pod, "--", "/probe"}, args...)...)
}

func (n *namespace) jsonpath(path, kind, name string) string {
	out, err := n.try("get", kind, name, "--output=jsonpath="+path)
	if err != nil {
		return err.Error()
	}
	return out
}

// eventually waits until what returns nil.
func (n *namespace) eventually(what func() error) {
	n.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		err := what()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("after %v: %v", patience, err)
		}
	}
}

// becomes waits until a field of an object has a value.
func (n *namespace) becomes(want, path, kind, name string) {
	n.t.Helper()
	n.eventually(func() error {
		if got := n.jsonpath(path, kind, name); got != want {
			return fmt.Errorf("%s %s has %s = %q, want %q", kind, name, path, got, want)
		}
		return nil
	})
}

func (n *namespace) replicasReady(want int) {
	n.t.Helper()
	n.becomes(fmt.Sprintf("%d/%d", want, want), "{.status.readyReplicas}/{.status.replicas}", "statefulset", "web")
}

func (n *namespace) nodeIs(ready, node string) {
	n.t.Helper()
	n.becomes(ready, `{.status.conditions[?(@.type=="Ready")].status}`, "node", node)
}

// answers returns an error unless a pod gets from url what is expected.
func (n *namespace) answers(pod, url, want string) error {
	got, err := n.probe(pod, "get", url)
	if err == nil && got != want {
		err = fmt.Errorf("%s from %s got %q, want %q", url, pod, got, want)
	}
	return err
}

// startWeb starts the stateful set under test, one replica on each node, with a
// volume each, and its services.
func (n *namespace) startWeb(replicas int) {
	n.t.Helper()
	text, err := os.ReadFile("test/cluster/testdata/web.yaml")
	if err != nil {
		n.t.Fatal(err)
	}
	manifest := strings.NewReplacer("$IMAGE", target.image, "$REPLICAS", fmt.Sprint(replicas)).Replace(string(text))
	if _, err := n.apply(manifest, "apply", "-f", "-"); err != nil {
		n.t.Fatal(err)
	}
	n.replicasReady(replicas)
}

// snapshot is all that a cluster might leave on a machine.
func snapshot() (map[string][]string, error) {
	s := make(map[string][]string)
	for name, args := range map[string][]string{
		"links":   {"ip", "-o", "link"},
		"routes":  {"ip", "route"},
		"loops":   {"losetup", "--list", "--noheadings", "--output", "BACK-FILE"},
		"mounts":  {"findmnt", "--list", "--noheadings", "--output", "TARGET,SOURCE"},
		"cgroups": {"find", "/sys/fs/cgroup", "-maxdepth", "2", "-type", "d"},
		"etc":     {"find", "/etc/cni", "/opt/cni", "/opt/containerd", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/var/log/pods", "/run/containerd"},
	} {
		out, err := exec.Command(args[0], args[1:]...).Output()
		if err != nil && name != "etc" { // find fails if a folder is not there, as none should be
			return nil, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		}
		s[name] = strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	// What ran in pods was in the cluster's cgroups; the rest is known by its program.
	programs, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return nil, err
	}
	for _, link := range programs {
		if exe, err := os.Readlink(link); err == nil && strings.Contains(exe, "/conclave/localcluster/") {
			s["processes"] = append(s["processes"], link+" "+exe)
		}
	}
	return s, nil
}

func compare(before, after map[string][]string) string {
	var diff []string
	for name, lines := range after {
		had := make(map[string]bool)
		for _, l := range before[name] {
			had[l] = true
		}
		for _, l := range lines {
			if !had[l] {
				diff = append(diff, name+": "+l)
			}
		}
	}
	return strings.Join(diff, "\n")
}

// capacity is a volume's size in bytes, as the pod sees it.
func (n *namespace) capacity(pod string) int {
	out, err := n.probe(pod, "size", "/data")
	if err != nil {
		n.t.Fatal(err)
	}
	var size int
	if err := json.Unmarshal([]byte(out), &size); err != nil {
		n.t.Fatalf("%q: %v", out, err)
	}
	return size
}
