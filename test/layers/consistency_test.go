package layers

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tests returns the names of all tests, with whatever build tags.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") || e.IsDir() {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				out[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// docs/consistency.md names a test for each promise, and tests that exist.
func TestConsistencyNamesTests(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "consistency.md"))
	if err != nil {
		t.Fatal(err)
	}
	have := tests(t)
	named := regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)`")
	for _, m := range named.FindAllSubmatch(page, -1) {
		if !have[string(m[1])] {
			t.Errorf("there is no test %s", m[1])
		}
	}
	_, promises, ok := bytes.Cut(page, []byte("\n## What is promised\n"))
	if !ok {
		t.Fatal("nothing is promised")
	}
	promises, _, _ = bytes.Cut(promises, []byte("\n## "))
	rows := 0
	for line := range bytes.Lines(promises) {
		if !bytes.HasPrefix(line, []byte("| **")) {
			continue
		}
		rows++
		if !named.Match(line) {
			t.Errorf("no test shows this: %s", line)
		}
	}
	if rows < 10 {
		t.Errorf("%d promises were found: the table is not where it was", rows)
	}
}
