package api

import (
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/internal/projection/pattern"
)

// What the API server lets in, the operator understands; what it refuses is what
// the operator would refuse.
func TestPatternsAreTheOperators(t *testing.T) {
	for _, p := range leasePaths {
		path, err := pattern.ParsePath(p.path)
		if err == nil {
			_, err = pattern.ParseLeaseName(p.leaseName, path)
		}
		if (err == nil) != (p.want == "") {
			t.Errorf("%s %q: the operator says %v, the API server %q", p.path, p.leaseName, err, p.want)
		}
	}
	for _, name := range []string{"*", "*-latch-*", "a/*", "..", strings.Repeat("a", 128)} {
		_, err := pattern.ParseName(name)
		refused := newLibrary(t).judge(newLibrary(t).object(t, "main", rule(`kind: Election, path: /a, children: "`+name+`"`), ""), nil)
		if (err == nil) != (len(refused) == 0) {
			t.Errorf("children %q: the operator says %v, the API server %v", name, err, refused)
		}
	}
}
