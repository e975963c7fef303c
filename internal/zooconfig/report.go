package zooconfig

import (
	"cmp"
	"fmt"
	"slices"
)

// problem is what is wrong at one place.
type problem struct {
	at  origin
	err error
}

// report collects everything there is to say about a configuration, so that
// one run names all mistakes.
type report struct {
	sources  []string // in the order in which they are to be reported
	problems []problem
	warnings []problem
}

// top stands for the configuration as a whole.
func (r *report) top() origin { return origin{source: r.sources[0]} }

func (r *report) fail(at origin, format string, args ...any) {
	r.problems = append(r.problems, problem{at, fmt.Errorf(format, args...)})
}

func (r *report) warn(at origin, format string, args ...any) {
	r.warnings = append(r.warnings, problem{at, fmt.Errorf(format, args...)})
}

// sorted renders a list in the order of the sources and their lines.
func (r *report) sorted(list []problem) []error {
	rank := func(o origin) int {
		if i := slices.Index(r.sources, o.source); i >= 0 {
			return i
		}
		return len(r.sources)
	}
	slices.SortStableFunc(list, func(a, b problem) int {
		return cmp.Or(cmp.Compare(rank(a.at), rank(b.at)), cmp.Compare(a.at.line, b.at.line))
	})
	var out []error
	for _, p := range list {
		out = append(out, fmt.Errorf("%s: %w", p.at, p.err))
	}
	return out
}
