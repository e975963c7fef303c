package sim

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tail returns the end of a history, for a failure's message.
func tail(history string) string {
	lines := strings.Split(strings.TrimRight(history, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-150):], "\n")
}

func number(t *testing.T, name string, absent uint64) uint64 {
	v := os.Getenv(name)
	if v == "" {
		return absent
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s=%s is not a number", name, v)
	}
	return n
}

// alone skips a test under the race detector: one piece of code runs at a time
// here, so that there is nothing for it to find, and it makes a simulation ten
// times slower. `make test-sim` runs everything without it.
func alone(t *testing.T) {
	if raceDetector {
		t.Skip("nothing runs beside anything else in a simulation: make test-sim runs this without the race detector")
	}
}

// TestSeeds runs SEEDS seeds, from SEED on. A seed that fails leaves its whole
// history in a file, whose name is printed.
func TestSeeds(t *testing.T) {
	usual := uint64(4)
	if raceDetector {
		usual = 1
	}
	first, count := number(t, "SEED", 0), number(t, "SEEDS", usual)
	var ran time.Duration
	var requests int
	start := time.Now()
	for seed := first; seed < first+count; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := Run(seed, Defaults(seed))
			ran += r.Simulated
			requests += r.Stats.Requests
			t.Logf("%+v", r.Stats)
			if r.Violation != nil {
				name := fmt.Sprintf("%s/sim-%d.log", os.TempDir(), seed)
				if err := os.WriteFile(name, []byte(r.History), 0o600); err != nil {
					t.Error(err)
				}
				t.Fatalf("seed %d: %s\nhistory in %s; its end:\n%s", seed, r.Violation, name, tail(r.History))
			}
		})
	}
	took := time.Since(start)
	t.Logf("%d seeds, %v simulated in %v, %.0f requests per second", count, ran, took.Round(time.Millisecond), float64(requests)/took.Seconds())
}

// The same seed gives the same history, byte for byte.
func TestDeterminism(t *testing.T) {
	alone(t)
	for seed := range uint64(2) {
		a, b := Run(seed, Defaults(seed)), Run(seed, Defaults(seed))
		if a.History == b.History {
			continue
		}
		x, y := strings.Split(a.History, "\n"), strings.Split(b.History, "\n")
		for i := range min(len(x), len(y)) {
			if x[i] != y[i] {
				t.Fatalf("seed %d: histories differ in line %d:\n%s\n%s", seed, i+1, x[i], y[i])
			}
		}
		t.Fatalf("seed %d: histories have %d and %d lines", seed, len(x), len(y))
	}
}

// As long as nothing breaks, no session ends but those that their clients close,
// whoever leads; also when the client does not wait for the answer.
func TestNobodyExpires(t *testing.T) {
	alone(t)
	for seed := range uint64(3) {
		r := Run(seed, Options{
			Members: 3, Clients: 20, Pace: time.Second, Storm: 20 * time.Second, Calm: 10 * time.Second,
			Faults: []string{"transfer", "snapshot"},
		})
		if r.Violation != nil || r.Stats.Expired > 0 {
			t.Fatalf("seed %d: %v, %d sessions expired:\n%s", seed, r.Violation, r.Stats.Expired, tail(r.History))
		}
	}
}

// When the power comes back all clients come at once, to members that let two of
// them into the log at a time. None of them comes too late.
func TestCrowd(t *testing.T) {
	alone(t)
	for seed := range uint64(2) {
		r := Run(seed, Options{
			Members: 3, Clients: 120, Pace: 4 * time.Second, Storm: 4 * time.Second, Calm: 8 * time.Second,
			Faults: []string{"blackout"},
		})
		if r.Violation != nil || r.Stats.Bereft > 0 || r.Stats.Faults["blackout"] == 0 {
			t.Fatalf("seed %d: %v, %d clients have lost their sessions, %+v:\n%s", seed, r.Violation, r.Stats.Bereft, r.Stats.Faults, tail(r.History))
		}
	}
}

// What the simulation has found before: none of it comes back.
func TestRegressions(t *testing.T) {
	alone(t)
	fragile := Options{
		Members: 3, Clients: 20, Pace: time.Second, Storm: 40 * time.Second, Calm: 10 * time.Second,
		Faults: []string{"freeze", "client-cut", "kill"},
	}
	for _, c := range []struct {
		name string
		seed uint64
		opt  Options
	}{
		// A member hears from a client, answers it and fails before it has told the
		// leader, who had the session expire up to a look at the connections early.
		{"news that fail with a member", 35, fragile},
		{"news that fail with a member", 78, fragile},
	} {
		if r := Run(c.seed, c.opt); r.Violation != nil {
			t.Errorf("%s, seed %d: %s\n%s", c.name, c.seed, r.Violation, tail(r.History))
		}
	}
}
