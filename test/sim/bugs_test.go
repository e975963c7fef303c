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
		tune         func(*Options) // nil if the usual will do
	}{
		{bugLyingDisk, "lost", []string{"blackout", "power"}, nil},
		{bugRenumber, "doubled", []string{}, nil},
		{bugSwap, "order", []string{}, nil},
		{bugStale, "read", []string{}, nil},
		{bugEternal, "ephemeral", []string{}, nil},
		{bugSilentReports, "expiry", []string{}, nil},
		{bugBlindFaith, "expiry", []string{"isolate", "split"}, nil},
		{bugUnbroken, "expiry", []string{"freeze", "client-cut"}, func(o *Options) { o.Members = 1 }},
		{bugRashClock, "expiry", []string{"isolate", "one-way"}, func(o *Options) { o.ElectionTicks = 60 }},
		{bugAnyEpoch, "expiry", []string{"client-cut", "stall"}, func(o *Options) { o.Clients, o.Pace = 20, 400*time.Millisecond }},
		{bugNoEvent, "watch", []string{}, nil},
		{bugTwice, "watch", []string{}, nil},
		{bugLate, "watch", []string{}, nil},
		{bugNoEvent, "persistent", []string{}, nil},
		{bugTwice, "persistent", []string{}, nil},
		{bugLate, "persistent", []string{}, nil},
		{bugOpenHouse, "acl", []string{}, nil},
		{bugEagerReap, "reap", []string{}, nil},
		{bugSkip, "digest", []string{}, nil},
		{bugBlindToDisk, "stall", []string{"hang"}, nil},
		{bugMute, "live", []string{}, nil},
	} {
		t.Run(c.bug+"/"+c.checker, func(t *testing.T) {
			// The rarest finding, that of a disk that lies, comes with one seed in ten.
			for seed := range uint64(80) {
				opt := Options{Members: 3, Clients: 8, Pace: 3 * time.Second, Storm: 30 * time.Second, Calm: 10 * time.Second, Faults: c.faults, Bug: c.bug, Only: c.checker}
				if c.tune != nil {
					c.tune(&opt)
				}
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
