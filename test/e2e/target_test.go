//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/hack/localcluster/faults"
)

const (
	// patience bounds every wait: it matters only when something is broken.
	patience = 8 * time.Minute
	// system is where the operator is.
	system = "conclave-system"
)

// target is the Kubernetes under test.
var target struct {
	// local is nil if it is kubectl's current one.
	local *faults.Cluster
	kube  client.WithWatch
	// config is for clients of other kinds.
	config *rest.Config
	// image and next are two builds of the image, with different versions.
	image, next string
}

func TestMain(m *testing.M) {
	code, err := setUp(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func setUp(m *testing.M) (code int, err error) {
	if err := os.Chdir("../.."); err != nil {
		return 1, err
	}
	if os.Getenv("CLUSTER") == "current" {
		target.image, target.next = os.Getenv("CLUSTER_IMAGE"), os.Getenv("CLUSTER_IMAGE_NEXT")
		if target.image == "" || target.next == "" || target.image == target.next {
			return 1, errors.New("CLUSTER=current: set CLUSTER_IMAGE and CLUSTER_IMAGE_NEXT to two builds of the image that the cluster can pull")
		}
	} else {
		end, err := startLocal()
		if err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, end(code)) }()
	}
	if err := connect(); err != nil {
		return 1, err
	}
	if err := deploy(target.image); err != nil {
		return 1, err
	}
	code = m.Run()
	for _, f := range afterwards {
		f()
	}
	return code, nil
}

// startLocal starts the local cluster, unless it runs and nobody has pods on it,
// and gives its nodes the images. The function that it returns ends it.
func startLocal() (func(code int) error, error) {
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		return nil, err
	}
	tool := filepath.Join(dir, "localcluster")
	if err := command("go", "build", "-o", tool, "./hack/localcluster"); err != nil {
		return nil, err
	}
	running, err := faults.Open()
	ours := err != nil
	if !ours {
		if err := unused(running); err != nil {
			return nil, err
		}
	}
	if err := command(tool, "up", "-nodes", "3"); err != nil {
		return nil, err
	}
	end := func(code int) error {
		defer os.RemoveAll(dir)
		switch {
		case !ours:
			return nil
		case code != 0 && os.Getenv("CLUSTER_KEEP") != "":
			fmt.Println("CLUSTER_KEEP: the cluster is left as it is")
			return nil
		}
		return command(tool, "down")
	}
	if target.local, err = faults.Open(); err == nil {
		os.Setenv("KUBECONFIG", target.local.Kubeconfig())
		os.Setenv("PATH", target.local.Bin()+":"+os.Getenv("PATH"))
		target.image, target.next = "conclave:e2e-1", "conclave:e2e-2"
		err = errors.Join(give(tool, dir, target.image, "v0.1.0-e2e"), give(tool, dir, target.next, "v0.2.0-e2e"))
	}
	if err == nil && !ours {
		// The operator that is left from an earlier run is of another build under the
		// same name.
		_, err = kubectl(system, "delete", "pods", "--selector=app.kubernetes.io/name=conclave-operator")
	}
	if err != nil {
		return nil, errors.Join(err, end(1))
	}
	return end, nil
}

// unused returns an error if a cluster that runs is somebody's: the tests stop
// its nodes. An operator that an earlier run has left is nobody's.
func unused(c *faults.Cluster) error {
	out, err := exec.Command(filepath.Join(c.Bin(), "kubectl"), "--kubeconfig="+c.Kubeconfig(), "get", "pods",
		"--all-namespaces", "--field-selector=metadata.namespace!=kube-system,metadata.namespace!="+system, "--output=name").Output()
	if err != nil {
		return fmt.Errorf("the cluster that runs on this machine does not answer: %w: make cluster-down ends it", err)
	}
	if pods := strings.Fields(string(out)); len(pods) > 0 {
		return fmt.Errorf("somebody uses the cluster on this machine, which the tests would break: %s: make cluster-down ends it", strings.Join(pods, ", "))
	}
	return nil
}

// give builds the image for this machine only, which is faster than make image,
// and loads it on all nodes.
func give(tool, dir, image, version string) error {
	files, archive := filepath.Join(dir, version), filepath.Join(dir, version+".tar")
	cmd := exec.Command("sh", "hack/image/programs.sh", files)
	cmd.Env = append(os.Environ(), "VERSION="+version)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", image, err, out)
	}
	platform := "linux/" + runtime.GOARCH
	if err := command(filepath.Join(target.local.Bin(), "image"), "-out", archive, "-name", image, "-entrypoint", "/conclave-server",
		"-own", "/data", "-platform", platform+"="+files, "-docker-platform", platform); err != nil {
		return err
	}
	return command(tool, "load", archive)
}

func connect() error {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return err
	}
	config.QPS = -1
	scheme := k8sruntime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	target.config = config
	target.kube, err = client.NewWithWatch(config, client.Options{Scheme: scheme})
	return err
}

// deploy installs the operator of an image, or puts it in the place of another.
func deploy(image string) error {
	if err := command("make", "--no-print-directory", "deploy", "IMG="+image); err != nil {
		return err
	}
	_, err := kubectl(system, "rollout", "status", "deployment/conclave-operator", "--timeout=4m")
	if err != nil {
		out, _ := kubectl(system, "describe", "pods")
		logs, _ := kubectl(system, "logs", "deployment/conclave-operator", "--tail=50")
		err = fmt.Errorf("the operator of %s does not run: %w\n%s\n%s", image, err, out, logs)
	}
	return err
}

func command(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(name), strings.Join(args, " "), err)
	}
	return nil
}

// kubectl returns the standard output.
func kubectl(namespace string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kubectl", append([]string{"--namespace=" + namespace}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// local returns the local cluster, or skips a test that breaks nodes.
func local(t *testing.T) *faults.Cluster {
	t.Helper()
	if target.local == nil {
		t.Skip("it would break kubectl's current cluster")
	}
	return target.local
}

// eventually waits until what returns nil.
func eventually(t *testing.T, name string, what func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(300 * time.Millisecond) {
		err := what()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v, %s: %v", patience, name, err)
		}
	}
}

// operatorPod returns the name of the operator's only pod.
func operatorPod(t *testing.T) string {
	t.Helper()
	out, err := kubectl(system, "get", "pods", "--selector=app.kubernetes.io/name=conclave-operator", "--output=jsonpath={.items[*].metadata.name}")
	if err != nil {
		t.Fatal(err)
	}
	if names := strings.Fields(out); len(names) == 1 {
		return names[0]
	}
	t.Fatalf("the operator's pods: %q", out)
	return ""
}

// operatorGone waits until there is no operator, after it was scaled to none: its
// Deployment is said to be there earlier.
func operatorGone(t *testing.T) {
	t.Helper()
	until(t, "the operator is gone", func() error {
		out, err := kubectl(system, "get", "pods", "--selector=app.kubernetes.io/name=conclave-operator", "--output=name")
		if err == nil && out != "" {
			err = errors.New(out)
		}
		return err
	})
}

// condition returns "True/Reason: message".
func condition(cc *v1alpha1.CoordinationCluster, kind string) string {
	c := meta.FindStatusCondition(cc.Status.Conditions, kind)
	if c == nil {
		return "absent"
	}
	return string(c.Status) + "/" + c.Reason + ": " + c.Message
}

// has returns an error unless a condition has the status and reason.
func has(cc *v1alpha1.CoordinationCluster, kind, statusAndReason string) error {
	if got := condition(cc, kind); !strings.HasPrefix(got, statusAndReason+":") {
		return fmt.Errorf("%s is %s, want %s", kind, got, statusAndReason)
	}
	return nil
}
