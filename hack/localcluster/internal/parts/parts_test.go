package parts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../../../.."

func TestVersionsMatchTheModules(t *testing.T) {
	staging := strings.Replace(KubernetesVersion, "v1.", "v0.", 1)
	for module, want := range map[string][]string{
		"kubernetes": {"k8s.io/kubernetes " + KubernetesVersion, "=> k8s.io/api " + staging, "=> k8s.io/kubectl " + staging},
		"containerd": {"github.com/containerd/containerd/v2 " + containerdVersion},
	} {
		data, err := os.ReadFile(filepath.Join(root, modules, module, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(string(data), w) {
				t.Errorf("%s/go.mod has no %q", module, w)
			}
		}
	}
}

func TestEveryPartIsThere(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range Cluster() {
		if _, err := os.Stat(filepath.Join(root, p.Dir, "go.mod")); err != nil {
			t.Errorf("part %s: %v", p.Name, err)
		}
		for _, prog := range p.Programs {
			if seen[prog.Name] {
				t.Errorf("two programs are called %s", prog.Name)
			}
			seen[prog.Name] = true
		}
	}
	for _, p := range APIServer() {
		for _, prog := range p.Programs {
			if !seen[prog.Name] {
				t.Errorf("a cluster has no %s", prog.Name)
			}
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestBuild(t *testing.T) {
	clone := t.TempDir()
	source := filepath.Join(clone, "part", "main.go")
	write(t, filepath.Join(clone, "part", "go.mod"), "module example.org/part\n\ngo 1.26.0\n")
	write(t, source, "package main\n\nvar said = \"nothing\"\n\nfunc main() { println(said) }\n")
	list := []Part{{Name: "p", Dir: "part", LDFlags: "-X main.said=something", Programs: []Program{{"prog", "."}}}}
	var progress bytes.Buffer
	b := &Builder{Root: clone, Cache: filepath.Join(clone, "cache"), Progress: &progress}

	build := func() (dir, said string) {
		t.Helper()
		progress.Reset()
		dir, err := b.Build(t.Context(), list)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(filepath.Join(dir, "prog")).CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		return dir, string(out)
	}
	first, said := build()
	if said != "something\n" || !strings.Contains(progress.String(), "[1/1] prog: took") {
		t.Errorf("%q; progress: %s", said, &progress)
	}
	if again, _ := build(); again != first || progress.Len() != 0 {
		t.Errorf("built again: %s and %s; progress: %s", first, again, &progress)
	}
	list[0].LDFlags = "-X main.said=else"
	second, said := build()
	if second == first || said != "else\n" {
		t.Errorf("other flags: %s and %s, %q", first, second, said)
	}

	if err := b.Clean(list); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(b.Cache, "parts"))
	if err != nil || len(entries) != 1 {
		t.Errorf("after Clean there are %v, %v", entries, err)
	}
	if cleaned, _ := build(); cleaned != second || progress.Len() != 0 {
		t.Errorf("what was in use is gone: %s", &progress)
	}

	write(t, source, "package main\n\nfunc main() { undefined() }\n")
	if _, err := b.Build(t.Context(), list); err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("a program that does not compile: %v", err)
	}
}
