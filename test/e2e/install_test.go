//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// An operator with rights in one namespace alone sees to the clusters there, and
// to no others.
func TestOneNamespace(t *testing.T) {
	everywhere := func(n int) {
		t.Helper()
		if out, err := kubectl(system, "scale", "deployment/conclave-operator", fmt.Sprintf("--replicas=%d", n)); err != nil {
			t.Fatal(out, err)
		}
		if out, err := kubectl(system, "rollout", "status", "deployment/conclave-operator", "--timeout=4m"); err != nil {
			t.Fatal(out, err)
		}
	}
	t.Cleanup(func() { everywhere(1) })
	everywhere(0)
	other := fmt.Sprintf("e2e-elsewhere-%d", os.Getpid())
	e := begin(t)
	e.must("create", "namespace", other)
	t.Cleanup(func() { e.must("delete", "namespace", other, "--wait=false") })
	e.must("apply", "--server-side", "--filename="+namespaced(t, e.namespace))
	e.must("rollout", "status", "deployment/conclave-operator", "--timeout=4m")
	if out := e.must("get", "clusterrolebindings", "--output=jsonpath={range .items[*]}{.subjects[*].namespace} {end}"); strings.Contains(" "+out+" ", " "+e.namespace+" ") {
		t.Errorf("it has rights in the whole cluster: %s", out)
	}
	(&ensemble{t: t, namespace: other}).create(3)
	e.create(3)
	e.started(ordinary)
	e.through(1)
	cc := &v1alpha1.CoordinationCluster{}
	if err := (&ensemble{t: t, namespace: other}).read(cc, name); err != nil || cc.Status.ObservedGeneration != 0 {
		t.Errorf("a cluster in another namespace was seen to: %+v, %v", cc.Status, err)
	}
	e.conclude()
}

// namespaced renders config/namespaced for a namespace, as its comment says.
func namespaced(t *testing.T, namespace string) (file string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "config")
	if err := os.CopyFS(dir, os.DirFS("config")); err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "namespaced", "kustomization.yaml")
	text, err := os.ReadFile(overlay)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("\nnamespace: conclave-system\n"), []byte("\nnamespace: "+namespace+"\n"))
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "run", "sigs.k8s.io/kustomize/kustomize/v5@v5.8.2", "build", filepath.Dir(overlay))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "operator.yaml")
	if err := os.WriteFile(file, bytes.ReplaceAll(out, []byte("conclave:latest"), []byte(target.image)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
