package host

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
)

func TestManifestIsFilledIn(t *testing.T) {
	for nodes, replicas := range map[int]string{1: "replicas: 1", 5: "replicas: 2"} {
		text := manifest(&layout.Cluster{Nodes: nodes})
		if strings.Contains(text, "$") || !strings.Contains(text, replicas) || !strings.Contains(text, "clusterIP: "+layout.DNSIP) {
			t.Errorf("%d nodes: not filled in as it should be:\n%s", nodes, text)
		}
	}
}

func TestAnotherProcessIsNotTheYard(t *testing.T) {
	c := &layout.Cluster{State: t.TempDir()}
	if pid := yardPID(c); pid != 0 {
		t.Errorf("without a file: %d", pid)
	}
	for _, text := range []string{"1", "no number", "999999999"} {
		if err := os.WriteFile(c.PIDFile(), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if pid := yardPID(c); pid != 0 {
			t.Errorf("%q: %d", text, pid)
		}
	}
}

func TestLeftoversNamesTheFolder(t *testing.T) {
	dir := t.TempDir()
	list, err := Leftovers(dir)
	if err != nil || !slices.Contains(list, "folder "+dir) {
		t.Errorf("%q, %v", list, err)
	}
	list, err = Leftovers(filepath.Join(dir, "absent"))
	if err != nil || slices.ContainsFunc(list, func(l string) bool { return strings.HasPrefix(l, "folder") }) {
		t.Errorf("%q, %v", list, err)
	}
}

func TestNodesAreCounted(t *testing.T) {
	for _, n := range []int{0, layout.MaxNodes + 1} {
		u := &Up{State: t.TempDir(), Nodes: n, Progress: os.Stderr}
		if _, err := u.Run(t.Context()); err == nil {
			t.Errorf("%d nodes were started", n)
		}
	}
}

func TestNoClusterRuns(t *testing.T) {
	if _, err := Running(t.TempDir()); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
