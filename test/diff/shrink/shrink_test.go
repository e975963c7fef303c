package shrink

import (
	"reflect"
	"slices"
	"testing"

	"github.com/conclave-dev/conclave/test/diff/script"
)

func always() bool { return true }

func numbers(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func TestListKeepsWhatMatters(t *testing.T) {
	for _, culprits := range [][]int{{0}, {99}, {41}, {3, 17, 64}, {0, 1, 98, 99}, numbers(100)} {
		list := numbers(100)
		tries := 0
		got := List(list, func(l []int) bool {
			tries++
			for _, c := range culprits {
				if !slices.Contains(l, c) {
					return false
				}
			}
			return true
		}, always)
		if !slices.Equal(got, culprits) {
			t.Errorf("%v are to blame, %v are left", culprits, got)
		}
		if !slices.Equal(list, numbers(100)) {
			t.Fatal("the list itself was changed")
		}
		// Every candidate is a script that two ensembles have to do.
		if most := 200 + 20*len(culprits); tries > most {
			t.Errorf("%v: %d tries, more than %d", culprits, tries, most)
		}
	}
}

// Of culprits any of which will do, one is left; of a list that fails whatever
// is in it, nothing.
func TestListLeavesNothingOver(t *testing.T) {
	anyOfTwo := func(l []int) bool { return slices.Contains(l, 7) || slices.Contains(l, 8) }
	if got := List(numbers(20), anyOfTwo, always); len(got) != 1 || !anyOfTwo(got) {
		t.Errorf("%v is left of two of which one will do", got)
	}
	if got := List(numbers(20), func([]int) bool { return true }, always); len(got) != 0 {
		t.Errorf("%v is left of what fails in any case", got)
	}
	// An element that can go only after another one has.
	latch := func(l []int) bool { return slices.Contains(l, 5) && (slices.Contains(l, 2) || !slices.Contains(l, 15)) }
	if got := List(numbers(20), latch, always); !slices.Equal(got, []int{5}) {
		t.Errorf("%v is left, not 5", got)
	}
}

func TestListStopsWhenTold(t *testing.T) {
	left := 3
	got := List(numbers(64), func(l []int) bool { left--; return slices.Contains(l, 63) }, func() bool { return left > 0 })
	if left != 0 || !slices.Contains(got, 63) || len(got) == 64 {
		t.Errorf("%d tries left, %v", left, got)
	}
}

func parse(t *testing.T, text string) []script.Step {
	t.Helper()
	steps, err := script.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

// A planted failure: session 1 deletes, in a multi, what session 0 has created.
func TestScript(t *testing.T) {
	const long = `
s0 open member=1
s1 open member=2
s0 create @/a data="x" acl=open mode=0
 + create @/b data="" acl=open mode=0
 + getData @/a watch
s1 exists @/a watch
s1 drop
s1 attach member=3
s0 setData @/b data="y" version=-1
s1 whoAmI
 + multi [check @/b version=-1] [delete @/a version=-1] [setData @/b data="" version=-1]
 + getChildren @
s1 close
`
	const minimal = `s0 open member=1
s0 create @/a data="x" acl=open mode=0
s1 multi [delete @/a version=-1]
`
	fails := func(steps []script.Step) bool {
		var open, created bool
		for _, s := range steps {
			open = open || s.Verb == script.Open && s.Session == 0
			for _, op := range s.Ops {
				created = created || open && op.Name == "create" && op.Path == "@/a"
				if op.Name != "multi" || s.Session != 1 || !created {
					continue
				}
				for _, part := range op.Ops {
					if part.Name == "delete" && part.Path == "@/a" {
						return true
					}
				}
			}
		}
		return false
	}
	steps := parse(t, long)
	got := Script(steps, fails, always)
	if text := script.Format(got); text != minimal {
		t.Errorf("left:\n%s\nwant:\n%s", text, minimal)
	}
	if !reflect.DeepEqual(steps, parse(t, long)) {
		t.Error("the script itself was changed")
	}
}
