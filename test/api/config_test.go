//go:build envtest

package api

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// built is what kubectl makes of a folder of config.
func built(t *testing.T, folder string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), server.Kubectl, "kustomize", filepath.Join("..", "..", folder))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kubectl kustomize %s: %v\n%s", folder, err, &stderr)
	}
	return string(out)
}

func documents(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for _, doc := range strings.Split(text, "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(doc), &u.Object); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if len(u.Object) > 0 {
			out = append(out, u)
		}
	}
	return out
}

// applyFile is kubectl apply, which refuses what the API server has no field for.
func applyFile(t *testing.T, text string, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubectl(t, append([]string{"apply", "--server-side", "--validate=strict", "-f", file}, args...)...)
}

// make deploy, as far as an API server goes.
func TestConfigDefault(t *testing.T) {
	text := built(t, "config/default")
	applyFile(t, text)
	for _, o := range documents(t, text) {
		if o.GetKind() == "Deployment" {
			wantDeployment(t, o, "")
		}
		if ns := o.GetNamespace(); ns != "" && ns != "conclave-system" {
			t.Errorf("%s %s is in namespace %s", o.GetKind(), o.GetName(), ns)
		}
	}
	// Subjects and references are those of the objects' final names.
	var binding rbacv1.ClusterRoleBinding
	if err := api.Get(t.Context(), client.ObjectKey{Name: "conclave-operator"}, &binding); err != nil {
		t.Fatal(err)
	}
	if s := binding.Subjects[0]; s.Name != "conclave-operator" || s.Namespace != "conclave-system" || binding.RoleRef.Name != "conclave-operator" {
		t.Errorf("%+v %+v", binding.RoleRef, s)
	}
	// The operator's pods get into a namespace with restricted Pod Security.
	out := kubectl(t, "-n", "conclave-system", "get", "deployment", "conclave-operator", "-o", "jsonpath={.spec.template}")
	pod := &unstructured.Unstructured{Object: parse(t, out)}
	pod.SetAPIVersion("v1")
	pod.SetKind("Pod")
	pod.SetNamespace("conclave-system")
	pod.SetName("operator")
	if err := api.Create(t.Context(), pod, client.DryRunAll); err != nil {
		t.Error(err)
	}
}

func wantDeployment(t *testing.T, o *unstructured.Unstructured, watches string) {
	t.Helper()
	containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	if err != nil {
		t.Fatal(err)
	}
	c := containers[0].(map[string]any)
	for _, e := range c["env"].([]any) {
		env := e.(map[string]any)
		if env["name"] == "OPERATOR_IMAGE" && env["value"] != c["image"] {
			t.Errorf("servers get %v, and the operator is %v", env["value"], c["image"])
		}
		if v, ok := env["value"]; env["name"] == "WATCH_NAMESPACE" && ok && v != watches {
			t.Errorf("it watches %v, want %q", v, watches)
		}
	}
}

// The operator of one namespace has no right outside of it.
func TestConfigNamespaced(t *testing.T) {
	text := strings.ReplaceAll(built(t, "config/namespaced"), "conclave-system", "default")
	applyFile(t, text)
	for _, o := range documents(t, text) {
		if strings.HasPrefix(o.GetKind(), "Cluster") || o.GetNamespace() != "default" {
			t.Errorf("%s %s in %q", o.GetKind(), o.GetName(), o.GetNamespace())
		}
	}
}

func TestSamples(t *testing.T) {
	applyFile(t, built(t, "config/samples"), "--dry-run=server", "-n", "default")
}
