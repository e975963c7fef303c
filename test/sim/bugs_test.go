package sim

import (
	"testing"
	"time"
)

// Every checker finds the bug that is meant for it, by itself.
func TestCheckersBite(t *testing.T) {
	alone(t)
	for _, c := range []struct {
		bug, checker string
		faults       []string
	}{
		{bugLyingDisk, "lost", []string{"blackout", "power"}},
		{bugRenumber, "doubled", []string{}},
		{bugSwap, "order", []string{}},
		{bugStale, "read", []string{}},
		{bugEternal, "ephemeral", []string{}},
		{bugSilentReports, "expiry", []string{}},
		{bugBlindFaith, "expiry", []string{"isolate", "split"}},
		{bugNoEvent, "watch", []string{}},
		{bugTwice, "watch", []string{}},
		{bugLate, "watch", []string{}},
		{bugSkip, "digest", []string{}},
		{bugBlindToDisk, "stall", []string{"hang"}},
		{bugMute, "live", []string{}},
	} {
		t.Run(c.bug, func(t *testing.T) {
			for seed := range uint64(20) {
				opt := Options{Members: 3, Clients: 8, Pace: 3 * time.Second, Storm: 30 * time.Second, Calm: 10 * time.Second, Faults: c.faults, Bug: c.bug, Only: c.checker}
				if r := Run(seed, opt); r.Violation != nil {
					t.Logf("seed %d: %v", seed, r.Violation)
					return
				}
				// Without the bug the same seeds find nothing, or the finding
				// would say nothing.
				opt.Bug = ""
				if r := Run(seed, opt); r.Violation != nil {
					t.Fatalf("seed %d, without the bug: %v", seed, r.Violation)
				}
			}
			t.Errorf("the checker %q does not see %q", c.checker, c.bug)
		})
	}
}
