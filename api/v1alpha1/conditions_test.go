package v1alpha1

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every reason has a comment of its own and a condition that has it, and every
// condition its reasons.
func TestReasons(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "conditions.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var used []string
	for _, c := range Conditions() {
		reasons := Reasons(c)
		if len(reasons) == 0 {
			t.Errorf("%s has no reasons", c)
		}
		if sorted := slices.Sorted(slices.Values(reasons)); len(slices.Compact(sorted)) != len(reasons) {
			t.Errorf("%s has a reason twice", c)
		}
		used = append(used, reasons...)
	}
	seen := map[string]string{}
	for _, decl := range file.Decls {
		consts, ok := decl.(*ast.GenDecl)
		if !ok || consts.Tok != token.CONST {
			continue
		}
		for _, spec := range consts.Specs {
			s := spec.(*ast.ValueSpec)
			name := s.Names[0].Name
			value, err := strconv.Unquote(s.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(s.Doc.Text(), name+" ") && !strings.HasPrefix(s.Doc.Text(), name+":") {
				t.Errorf("%s has no comment that begins with its name", name)
			}
			if other := seen[value]; other != "" {
				t.Errorf("%s and %s are both %q", name, other, value)
			}
			seen[value] = name
			switch {
			case strings.HasPrefix(name, "Condition"):
				if !slices.Contains(Conditions(), value) {
					t.Errorf("%s is no condition", name)
				}
			case !slices.Contains(used, value):
				t.Errorf("%s belongs to no condition", name)
			}
		}
	}
	if len(seen) != len(Conditions())+len(slices.Compact(slices.Sorted(slices.Values(used)))) {
		t.Errorf("%d constants, and the tables have others", len(seen))
	}
}
