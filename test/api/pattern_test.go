package api

import (
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/internal/projection/pattern"
)

// What the API server lets in, the operator understands. It may refuse more: what
// can't come to good, though it can be read.
func TestPatternsAreTheOperators(t *testing.T) {
	for _, p := range leasePaths {
		path, err := pattern.ParsePath(p.path)
		if err == nil {
			_, err = pattern.ParseLeaseName(p.leaseName, path)
		}
		if err != nil && p.want == "" {
			t.Errorf("%s %q is let in, and the operator says %v", p.path, p.leaseName, err)
		}
	}
	for _, name := range []string{"*", "*-latch-*", "a/*", "..", strings.Repeat("a", 128)} {
		_, err := pattern.ParseName(name)
		refused := newLibrary(t).judge(newLibrary(t).object(t, "main", rule(`kind: Election, path: /a, children: "`+name+`"`), ""), nil)
		if err != nil && len(refused) == 0 {
			t.Errorf("children %q are let in, and the operator says %v", name, err)
		}
	}
}
