package controllers

import (
	"fmt"
	"os"
	"testing"
)

// The operator dies after each change that it makes, in each story, and another takes
// over that knows nothing. What comes of it is the same healthy ensemble.
func TestKilledAfterEveryChange(t *testing.T) {
	everyChange(t, func(g *rig, k int) { g.killAt = k })
}

// Each change fails once, before it is carried out.
func TestEveryChangeFailsOnce(t *testing.T) {
	everyChange(t, func(g *rig, k int) { g.failAt = k })
}

// The operator dies after each change, and so do all that take over from it, each
// after one more change.
func TestKilledAgainAndAgain(t *testing.T) {
	for name := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, name, func(g *rig) { g.killAlways = true })
		})
	}
}

// And what takes over does not see yet what the one before it has done to pods.
func TestKilledBehindAStaleCache(t *testing.T) {
	for name := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, name, func(g *rig) { g.killAlways, g.stale = true, 3 })
		})
	}
}

func everyChange(t *testing.T, arm func(g *rig, k int)) {
	for name := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := run(t, name, nil).changes // that a story takes which nothing disturbs
			if n < 5 {
				t.Fatalf("only %d changes", n)
			}
			step := max(25, n/4)
			if os.Getenv("EVERY_CHANGE") != "" { // make test-crashes
				step = 1
			}
			for k := 1 + n%step; k <= n; k += step {
				if !t.Run(fmt.Sprint(k), func(t *testing.T) { run(t, name, func(g *rig) { arm(g, k) }) }) {
					return
				}
			}
		})
	}
}
