package controllers

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/membership"
	"github.com/conclave-dev/conclave/internal/rollout"
)

// Every reason of the planners has its place in Progressing, and every reason its
// line in the manual.
func TestReasonsAreKnown(t *testing.T) {
	manual, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, r := range membership.Reasons {
		all = append(all, string(r))
		v, ok := progress[r]
		if !ok || !slices.Contains(v1alpha1.Reasons(v1alpha1.ConditionProgressing), v.reason) {
			t.Errorf("%s: Progressing says %q", r, v.reason)
		}
	}
	for _, r := range rollout.Reasons {
		all = append(all, string(r))
	}
	// Events that are no planner's say their reason where they are told.
	all = append(all, reasonRepaired, "DrainEnded")
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	literal := regexp.MustCompile(`\.(?:tell|warn)\(ctx, "(\w+)"`)
	for _, name := range sources {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range literal.FindAllStringSubmatch(string(text), -1) {
			all = append(all, m[1])
		}
	}
	for _, r := range all {
		if !strings.Contains(string(manual), "| `"+r+"` | ") {
			t.Errorf("docs/operations.md has no line for %s", r)
		}
	}
	for _, kind := range v1alpha1.Conditions() {
		for _, r := range v1alpha1.Reasons(kind) {
			common := r == v1alpha1.ReasonParked || r == v1alpha1.ReasonDeleting || r == v1alpha1.ReasonUnknown
			if line := "| `" + kind + "` | `" + r + "` | "; !strings.Contains(string(manual), line) && !(common && strings.Contains(string(manual), "`"+r+"`")) {
				t.Errorf("docs/operations.md has no line for reason %s of %s", r, kind)
			}
		}
	}
	if len(progress) != len(membership.Reasons) {
		t.Errorf("%d reasons have a place, and there are %d", len(progress), len(membership.Reasons))
	}
}
