//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/hack/localcluster/faults"
)

func (n *namespace) pod(name string) faults.Pod { return faults.Pod{Namespace: n.name, Name: name} }

// silent returns an error if a pod gets an answer from url.
func (n *namespace) silent(pod, url string) error {
	if got, err := n.probe(pod, "get", url); err == nil {
		return fmt.Errorf("%s answered %s with %q", url, pod, got)
	} else if !strings.Contains(err.Error(), "deadline") && !strings.Contains(err.Error(), "timeout") {
		return fmt.Errorf("no answer, but not for the cut: %w", err)
	}
	return nil
}

// url is a pod's by its address, so that names have no part in it.
func (n *namespace) url(pod string) string {
	return "http://" + n.jsonpath("{.status.podIP}", "pod", pod) + ":8080/"
}

func TestNodeStoppedAndBack(t *testing.T) {
	c := local(t)
	n := newNamespace(t)
	n.startWeb(3)
	node := n.jsonpath("{.spec.nodeName}", "pod", "web-1")
	if err := c.StopNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		if err := c.StartNode(context.Background(), node); err != nil {
			t.Error(err)
		}
		n.nodeIs("True", node)
	})
	n.nodeIs("Unknown", node)
	n.replicasReadyOf(2, 3)
	n.eventually(func() error { return n.answers("web-0", n.url("web-2"), "web-2") })
	if err := n.silent("web-0", n.url("web-1")); err != nil && !strings.Contains(err.Error(), "no route to host") {
		t.Error(err)
	}

	if err := c.StartNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	n.nodeIs("True", node)
	n.replicasReady(3)
	n.eventually(func() error {
		starts, err := n.probe("web-1", "cat", "/data/starts")
		if err == nil && starts != "web-1\nweb-1\n" {
			err = fmt.Errorf("web-1's volume has %q", starts)
		}
		return err
	})
	n.eventually(func() error { return n.answers("web-0", "http://web-1.web-members:8080/", "web-1") })
}

func (n *namespace) replicasReadyOf(ready, all int) {
	n.t.Helper()
	n.becomes(fmt.Sprintf("%d/%d", ready, all), "{.status.readyReplicas}/{.status.replicas}", "statefulset", "web")
}

func TestCuts(t *testing.T) {
	c := local(t)
	n := newNamespace(t)
	n.startWeb(4) // two of them share a node
	t.Cleanup(func() {
		if err := c.Heal(context.Background()); err != nil {
			t.Error(err)
		}
	})
	var neighbours []string
	seen := make(map[string]string)
	for _, p := range []string{"web-0", "web-1", "web-2", "web-3"} {
		node := n.jsonpath("{.spec.nodeName}", "pod", p)
		if other := seen[node]; other != "" {
			neighbours = []string{other, p}
		}
		seen[node] = p
	}
	if len(neighbours) != 2 {
		t.Fatalf("four pods on three nodes: %v", seen)
	}
	near, cut := neighbours[0], neighbours[1]
	var far string
	for _, p := range seen {
		if p != near && p != cut {
			far = p
		}
	}

	if err := c.CutPod(t.Context(), n.pod(cut)); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{near, far} {
		if err := n.silent(from, n.url(cut)); err != nil {
			t.Error(err)
		}
		if err := n.silent(cut, n.url(from)); err != nil {
			t.Error(err)
		}
	}
	if err := n.answers(near, n.url(far), far); err != nil {
		t.Errorf("a bystander of the cut: %v", err)
	}
	if ready := n.jsonpath(`{.status.conditions[?(@.type=="Ready")].status}`, "pod", cut); ready != "True" {
		t.Errorf("the kubelet's probes do not get through the cut: ready is %q", ready)
	}
	if err := c.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.eventually(func() error { return n.answers(far, n.url(cut), cut) })

	if err := c.Split(t.Context(), []faults.Pod{n.pod(near)}, []faults.Pod{n.pod(cut), n.pod(far)}); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{cut, far} {
		if err := n.silent(near, n.url(other)); err != nil {
			t.Error(err)
		}
	}
	if err := n.answers(far, n.url(cut), cut); err != nil {
		t.Errorf("pods of the same side: %v", err)
	}
	if err := c.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.eventually(func() error { return n.answers(near, n.url(far), far) })

	node := n.jsonpath("{.spec.nodeName}", "pod", far)
	if err := c.CutNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if err := n.silent(near, n.url(far)); err != nil {
		t.Error(err)
	}
	n.nodeIs("Unknown", node)
	if err := c.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.nodeIs("True", node)
	n.eventually(func() error { return n.answers(near, n.url(far), far) })
}

func TestKilledContainer(t *testing.T) {
	c := local(t)
	n := newNamespace(t)
	n.startWeb(1)
	if err := c.KillContainer(t.Context(), n.pod("web-0"), "probe"); err != nil {
		t.Fatal(err)
	}
	n.becomes("1", "{.status.containerStatuses[0].restartCount}", "pod", "web-0")
	n.becomes("137", "{.status.containerStatuses[0].lastState.terminated.exitCode}", "pod", "web-0")
	n.replicasReady(1)
	if err := c.KillContainer(t.Context(), n.pod("web-0"), "absent"); err == nil {
		t.Error("a container that does not exist was killed")
	}
}

func TestFullVolumeAndABiggerOne(t *testing.T) {
	c := local(t)
	n := newNamespace(t)
	n.startWeb(1)
	write := func() error {
		_, err := n.probe("web-0", "write", "/data/file", "100000")
		return err
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	if err := c.FillVolume(t.Context(), n.name, "data-web-0"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.probe("web-0", "write", "/data/other", "100000"); err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Fatalf("a full volume: %v", err)
	}

	before := n.capacity("web-0")
	n.must("patch", "pvc", "data-web-0", "--patch", `{"spec":{"resources":{"requests":{"storage":"128Mi"}}}}`)
	n.becomes("128Mi", "{.status.capacity.storage}", "pvc", "data-web-0")
	if after := n.capacity("web-0"); after < before*3/2 {
		t.Errorf("the volume had %d bytes and has %d", before, after)
	}
	if err := write(); err != nil {
		t.Errorf("there is room again: %v", err)
	}

	if err := c.FillVolume(t.Context(), n.name, "data-web-0"); err != nil {
		t.Fatal(err)
	}
	if err := c.FreeVolume(t.Context(), n.name, "data-web-0"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.probe("web-0", "write", "/data/other", "10000000"); err != nil {
		t.Errorf("a volume that is freed: %v", err)
	}
}

func TestCrashIsSeen(t *testing.T) {
	c := local(t)
	n := newNamespace(t)
	const node = "node3"
	if out, err := exec.Command(localcluster, "status").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := c.Exec(t.Context(), node, "sh", "-c", "kill -9 $(pidof kube-proxy)"); err != nil {
		t.Fatal(err)
	}
	n.eventually(func() error {
		out, err := exec.Command(localcluster, "status").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "kube-proxy of node3 ended") || !strings.Contains(string(out), "killed") {
			return fmt.Errorf("cluster-status: %v\n%s", err, out)
		}
		return nil
	})
	if out, err := exec.Command(localcluster, "up", "-nodes", "3").CombinedOutput(); err == nil {
		t.Errorf("cluster-up says that all is well:\n%s", out)
	}
	if err := c.StopNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if err := c.StartNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if err := command(localcluster, "up", "-nodes", "3"); err != nil {
		t.Errorf("the node was started again, and still: %v", err)
	}
}
