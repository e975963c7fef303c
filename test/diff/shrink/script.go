package shrink

import (
	"slices"

	"github.com/conclave-dev/conclave/test/diff/script"
)

// Script returns a part of steps that still fails and from which no step, no
// operation of a step and no part of a multi can be left out. fails and more are
// those of List. Neither steps nor what they consist of are changed.
func Script(steps []script.Step, fails func([]script.Step) bool, more func() bool) []script.Step {
	steps = List(slices.Clone(steps), fails, more)
	for i := range steps {
		// with returns the steps with other operations in this one.
		with := func(ops []script.Op) []script.Step {
			out := slices.Clone(steps)
			out[i].Ops = ops
			return out
		}
		steps[i].Ops = List(steps[i].Ops, func(ops []script.Op) bool { return len(ops) > 0 && fails(with(ops)) }, more)
		for j := range steps[i].Ops {
			ops := slices.Clone(steps[i].Ops)
			ops[j].Ops = List(ops[j].Ops, func(parts []script.Op) bool {
				candidate := slices.Clone(ops)
				candidate[j].Ops = parts
				return len(parts) > 0 && fails(with(candidate))
			}, more)
			steps[i].Ops = ops
		}
	}
	return steps
}
