package sim

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Options are what a simulation is made of besides its seed.
type Options struct {
	Members, Clients int
	// Calm is how long everything works in the end, Storm how long things break
	// before.
	Storm, Calm time.Duration
	// Pace is the longest time between two faults.
	Pace time.Duration
	// ElectionTicks are those of an election timeout; 0 for electionTicks.
	ElectionTicks int
	// Faults are those that may happen; nil for all (see faults.go).
	Faults []string
	// Bug is one of bugs.go; "" for none.
	Bug string
	// Only is the one checker whose findings count; "" for all.
	Only string
}

// Defaults returns the options of a seed: ensembles of one, three and five.
func Defaults(seed uint64) Options {
	return Options{
		Members: []int{3, 5, 3, 3, 1, 3, 5, 3}[seed%8], Clients: 8,
		Storm: 40 * time.Second, Calm: 30 * time.Second,
		Pace: []time.Duration{3 * time.Second, time.Second, 600 * time.Millisecond}[seed%3],
	}
}

// World is one simulation.
type World struct {
	opt    Options
	seed   uint64
	rng    *mathrand.Rand
	now    time.Duration
	agenda agenda
	// running is the coroutine that runs, nil if none does.
	running *coroutine

	members []*member
	clients []*client
	net     network
	truth   *truth
	// mended tells that the storm is over: nothing breaks any more.
	mended bool
	quiet  bool // clients send nothing any more
	// troubledUntil is when the last thing that broke between members, or broke one
	// of them, is over at the latest.
	troubledUntil time.Duration
	dials         int

	history   strings.Builder
	lines     int
	violation *Violation
	steps     int
	stats     Stats
}

// Violation is what a checker has found.
type Violation struct {
	Checker string
	At      time.Duration
	What    string
}

func (v *Violation) String() string {
	return fmt.Sprintf("%s: at %s: %s", v.Checker, stamp(v.At), v.What)
}

// Stats count what happened in a simulation.
type Stats struct {
	Requests, Writes, Reads, Events     int
	Sessions, Expired, Entries, Changes int
	Crashes, Elections, Snapshots       int
	// Bereft counts sessions that expired while their client still wanted them.
	Bereft int
	Faults map[string]int
}

// Result is a simulation that has come to its end.
type Result struct {
	Seed    uint64
	History string
	// Violation is nil if everything was as it should be.
	Violation *Violation
	Stats     Stats
	Steps     int
	Simulated time.Duration
}

// epoch is what the clocks show when a simulation begins.
const epoch = time.Hour

// wallEpoch is the time of day then, in milliseconds since the Unix epoch.
const wallEpoch = 1_700_000_000_000

// entropy replaces the one source of everything random in the production
// packages: ids, passwords and raft's election timeouts. It is the process's, so
// there is one simulation at a time.
var entropy sync.Mutex

// Run runs the simulation of a seed.
func Run(seed uint64, opt Options) *Result {
	entropy.Lock()
	defer entropy.Unlock()
	genuine := rand.Reader
	defer func() { rand.Reader = genuine }()
	rand.Reader = mathrand.NewChaCha8([32]byte{1: byte(seed), 2: byte(seed >> 8), 3: byte(seed >> 16), 4: byte(seed >> 24)})

	if opt.ElectionTicks == 0 {
		opt.ElectionTicks = electionTicks
	}
	w := &World{opt: opt, seed: seed, rng: mathrand.New(mathrand.NewPCG(seed, 1)), now: epoch, truth: newTruth()}
	w.truth.w = w
	w.stats.Faults = make(map[string]int)
	w.note("seed %d: %d members, %d clients", seed, opt.Members, opt.Clients)
	w.net.init(w)
	w.found(opt.Members)
	for i := range opt.Clients {
		w.newClient(i)
	}
	w.scheduleFault()
	w.runUntil(epoch + opt.Storm)
	w.mend()
	w.runUntil(epoch + opt.Storm + opt.Calm)
	w.conclude()
	w.end()
	return &Result{
		Seed: seed, History: w.history.String(), Violation: w.violation, Stats: w.stats,
		Steps: w.steps, Simulated: w.now - epoch,
	}
}

// end lets go of everything that is still paused.
func (w *World) end() {
	for _, m := range w.members {
		if m.proc != nil {
			m.proc.die()
		}
	}
}

func stamp(t time.Duration) string { return fmt.Sprintf("%10.6f", (t - epoch).Seconds()) }

// note adds a line to the history.
func (w *World) note(format string, args ...any) {
	w.lines++
	w.history.WriteString(stamp(w.now))
	w.history.WriteByte(' ')
	fmt.Fprintf(&w.history, format, args...)
	w.history.WriteByte('\n')
}

// violate notes what a checker has found. The first finding ends the simulation.
func (w *World) violate(checker, format string, args ...any) {
	if w.violation != nil || w.opt.Only != "" && w.opt.Only != checker {
		return
	}
	w.violation = &Violation{Checker: checker, At: w.now, What: fmt.Sprintf(format, args...)}
	w.note("!! %s: %s", checker, w.violation.What)
}
