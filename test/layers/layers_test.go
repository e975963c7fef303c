// Package layers holds the rule of the house: data flows one way through the
// packages.
package layers

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/conclave-dev/conclave/"
)

// server are the server's layers: each imports only those before it. A
// sub-package belongs to the layer of its parent.
var server = []string{
	"internal/jute", "internal/tree", "internal/session", "internal/watch", "internal/statemachine", "internal/storage",
	"internal/metrics", "internal/tlsfiles", "internal/replica", "internal/roster", "internal/server", "internal/admin", "internal/zooconfig", "internal/member",
}

// operator are the operator's packages. They know the server by the generated
// client of its admin API alone.
var operator = []string{
	"cmd/conclave-operator", "cmd/kubectl-conclave", "api", "controllers", "internal/resources", "internal/membership", "internal/rollout",
	"internal/projection", "internal/projector", "internal/pace", "internal/ensemble", "internal/pki", "internal/plugin",
}

const adminClient = "internal/admin/adminpb"

// strict are the exceptions that go further than the order of layers.
var strict = map[string][]string{
	// The operations surface sees a member through the interface it defines.
	"internal/admin": {"internal/jute", "internal/metrics"},
	// The configuration file is about nothing but itself.
	"internal/zooconfig": {},
	"internal/metrics":   {},
	"internal/tlsfiles":  {},
}

func layerOf(pkg string, layers []string) int {
	for i, l := range layers {
		if pkg == l || strings.HasPrefix(pkg, l+"/") {
			return i
		}
	}
	return -1
}

// imports returns what each package of the module imports, tests left out, by
// the package's path within the module.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	out := make(map[string][]string)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (strings.HasPrefix(e.Name(), ".") && path != root || e.Name() == "testdata" || e.Name() == "run"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			out[filepath.ToSlash(pkg)] = append(out[filepath.ToSlash(pkg)], name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestServerLayers(t *testing.T) {
	seen := 0
	for pkg, list := range imports(t) {
		layer := layerOf(pkg, server)
		if layer < 0 {
			continue
		}
		seen++
		for _, name := range list {
			if strings.HasPrefix(name, "k8s.io/") || strings.HasPrefix(name, "sigs.k8s.io/") {
				t.Errorf("%s imports %s: the server never imports Kubernetes", pkg, name)
			}
			name, ours := strings.CutPrefix(name, module)
			if !ours {
				continue
			}
			other := layerOf(name, server)
			switch allowed, isStrict := strict[server[layer]]; {
			case other == layer:
			case other < 0:
				t.Errorf("%s imports %s, which is no layer of the server", pkg, name)
			case other > layer:
				t.Errorf("%s imports %s, which is built on it", pkg, name)
			case isStrict && layerOf(name, allowed) < 0:
				t.Errorf("%s imports %s; it may import only %v", pkg, name, allowed)
			}
		}
	}
	if seen < len(server) {
		t.Errorf("only %d packages were looked at; there are at least %d", seen, len(server))
	}
}

func TestOperatorKnowsTheServerByItsClientOnly(t *testing.T) {
	for pkg, list := range imports(t) {
		if layerOf(pkg, operator) < 0 {
			continue
		}
		for _, name := range list {
			name, ours := strings.CutPrefix(name, module)
			if ours && layerOf(name, server) >= 0 && name != adminClient {
				t.Errorf("%s imports %s: the operator side imports only %s of the server", pkg, name, adminClient)
			}
		}
	}
}
