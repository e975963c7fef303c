//go:build cluster

package cluster

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestStatefulSet(t *testing.T) {
	n := newNamespace(t)
	n.startWeb(3)
	pods := []string{"web-0", "web-1", "web-2"}

	for _, p := range pods {
		n.becomes("Bound", "{.status.phase}", "pvc", "data-"+p)
		if logs := n.must("logs", p); logs != "serving as "+p+"\n" {
			t.Errorf("logs of %s: %q", p, logs)
		}
	}
	for _, from := range pods {
		for _, to := range pods {
			n.eventually(func() error {
				return n.answers(from, "http://"+to+".web-members."+n.name+".svc:8080/", to)
			})
		}
	}
	if _, err := n.probe("web-0", "lookup", "web-9.web-members"); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("the name of a pod that there is not: %v", err)
	}

	t.Run("Service", func(t *testing.T) {
		seen := make(map[string]bool)
		n.eventually(func() error {
			who, err := n.probe("web-0", "get", "http://web/")
			if seen[who] = true; err != nil {
				return err
			}
			if !seen["web-0"] || !seen["web-1"] || !seen["web-2"] {
				return fmt.Errorf("the service has led to %v", seen)
			}
			return nil
		})
	})

	t.Run("DeletedPodKeepsItsVolume", func(t *testing.T) {
		uid := n.jsonpath("{.metadata.uid}", "pod", "web-1")
		n.must("delete", "pod", "web-1", "--wait=true")
		n.replicasReady(3)
		if n.jsonpath("{.metadata.uid}", "pod", "web-1") == uid {
			t.Fatal("web-1 was not replaced")
		}
		if starts, err := n.probe("web-1", "cat", "/data/starts"); err != nil || starts != "web-1\nweb-1\n" {
			t.Fatalf("its volume has %q, %v", starts, err)
		}
		n.eventually(func() error { return n.answers("web-0", "http://web-1.web-members:8080/", "web-1") })
	})

	t.Run("Scale", func(t *testing.T) {
		n.must("scale", "statefulset", "web", "--replicas=4")
		n.replicasReady(4)
		n.must("scale", "statefulset", "web", "--replicas=1")
		n.replicasReady(1)
		n.becomes("Bound", "{.status.phase}", "pvc", "data-web-3")
		n.must("scale", "statefulset", "web", "--replicas=4")
		n.replicasReady(4)
		if starts, err := n.probe("web-3", "cat", "/data/starts"); err != nil || starts != "web-3\nweb-3\n" {
			t.Fatalf("the volume of a pod that came again has %q, %v", starts, err)
		}
	})

	t.Run("ClaimsGoWithTheirSet", func(t *testing.T) {
		volume := n.jsonpath("{.spec.volumeName}", "pvc", "data-web-0")
		n.must("delete", "statefulset", "web")
		n.eventually(func() error {
			if out, err := n.try("get", "pvc", "--output=name"); err != nil || out != "" {
				return fmt.Errorf("claims: %q, %v", out, err)
			}
			if out, err := n.try("get", "pv", volume, "--ignore-not-found", "--output=name"); err != nil || out != "" {
				return fmt.Errorf("volume: %q, %v", out, err)
			}
			return nil
		})
	})
}

func TestDrainHeedsTheBudget(t *testing.T) {
	local(t)
	n := newNamespace(t)
	n.startWeb(3)
	node := func(pod string) string { return n.jsonpath("{.spec.nodeName}", "pod", pod) }
	first, second := node("web-0"), node("web-1")
	drain := func(node, timeout string) error {
		_, err := n.try("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector=app=web", "--timeout="+timeout)
		return err
	}
	t.Cleanup(func() { n.must("uncordon", first, second) })

	if err := drain(first, "4m"); err != nil {
		t.Fatal(err)
	}
	// Its volume is on the node, and so it has to wait for it.
	n.becomes("Pending", "{.status.phase}", "pod", "web-0")
	if err := drain(second, "5s"); err == nil {
		t.Fatal("a second node was drained, and less is there than the budget wants")
	}
	if n.jsonpath("{.status.readyReplicas}", "statefulset", "web") != "2" {
		t.Fatal("the second drain has evicted a pod")
	}
	n.must("uncordon", first)
	n.replicasReady(3)
	if err := drain(second, "4m"); err != nil {
		t.Fatal(err)
	}
	n.must("uncordon", second)
	n.replicasReady(3)
	if starts, err := n.probe("web-0", "cat", "/data/starts"); err != nil || starts != "web-0\nweb-0\n" {
		t.Fatalf("web-0's volume has %q, %v", starts, err)
	}
}

// The image's archive is taken by containerd, and its program runs where
// there is nothing else, as nobody in particular.
func TestImageOfThisClone(t *testing.T) {
	local(t)
	const image = "conclave:test-cluster"
	archive := filepath.Join(t.TempDir(), "image.tar")
	cmd := exec.Command("hack/image/archive.sh", archive, image)
	cmd.Env = append(cmd.Environ(), "VERSION=v0-test-cluster", "BUILT=2026-01-02T03:04:05Z")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := command(localcluster, "load", archive); err != nil {
		t.Fatal(err)
	}
	n := newNamespace(t)
	n.must("run", "version", "--image="+image, "--image-pull-policy=Never", "--restart=Never", `--overrides={
		"spec": {
			"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
			"containers": [{
				"name": "version", "image": "`+image+`", "imagePullPolicy": "Never", "args": ["--version"],
				"securityContext": {
					"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}
				}
			}]
		}
	}`)
	n.becomes("Succeeded", "{.status.phase}", "pod", "version")
	if logs := n.must("logs", "version"); !strings.Contains(logs, "v0-test-cluster") {
		t.Errorf("conclave-server --version wrote %q", logs)
	}
}
