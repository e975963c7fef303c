//go:build diff

package diff

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/diff/compare"
	"github.com/conclave-dev/conclave/test/diff/generate"
	"github.com/conclave-dev/conclave/test/diff/script"
	"github.com/conclave-dev/conclave/test/diff/shrink"
)

// phase is how many operations the same two ensembles are asked before they are
// made to restart, and then to start from nothing.
const phase = 250_000

// shrinkTime bounds how long a failing script is cut down.
const shrinkTime = 10 * time.Minute

// number reads a setting from the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// start starts both ensembles for a test.
func start(t *testing.T) ensembles {
	t.Helper()
	es, err := startBoth()
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var nudging sync.WaitGroup
	nudging.Go(func() { es.nudge(stop) })
	t.Cleanup(func() {
		close(stop)
		nudging.Wait()
		if err := es.close(t.Failed()); err != nil {
			t.Error(err)
		}
	})
	return es
}

// TestRandom does OPS random operations. With LANE and EPOCH it does the one
// script that a failure has named.
func TestRandom(t *testing.T) {
	seed := number(t, "SEED", rand.Uint64N(1_000_000))
	if os.Getenv("EPOCH") != "" {
		p := generate.Params{Seed: seed, Lane: int(number(t, "LANE", 0)), Epoch: int(number(t, "EPOCH", 0))}
		runScript(t, start(t), p.String(), generate.Script(p))
		return
	}
	goal := number(t, "OPS", 20_000)
	r := &runner{t: t, seed: seed, tally: compare.NewTally(), started: time.Now(), lanes: int(number(t, "LANES", 4)), stalls: watchForStalls(t)}
	t.Logf("SEED=%d OPS=%d LANES=%d", seed, goal, r.lanes)
	for done := uint64(0); done < goal && !t.Failed(); done = r.done.Load() {
		r.phase(min(goal, done+phase))
	}
	took := time.Since(r.started)
	t.Logf("%d operations in %d scripts, %v: %.0f operations a second", r.done.Load(), r.scripts.Load(), took.Round(time.Second), float64(r.done.Load())/took.Seconds())
	if done := r.done.Load(); uint64(r.tally.Answered) < done/2 {
		t.Errorf("of %d operations %d were answered: little was compared", done, r.tally.Answered)
	}
	t.Logf("%d answers to operations were compared", r.tally.Answered)
	for _, name := range slices.Sorted(maps.Keys(r.tally.Known)) {
		t.Logf("known difference, %d times: %s", r.tally.Known[name], name)
	}
	t.Logf("what was compared:\n%s", indent(table(r.tally.Results)))
}

// runner runs scripts in several lanes.
type runner struct {
	t       *testing.T
	seed    uint64
	lanes   int
	started time.Time
	epoch   atomic.Int64
	scripts atomic.Int64
	done    atomic.Uint64
	// stalls counts how often the machine stood still, and interruptions the
	// scripts that came to nothing by that or by an election of ZooKeeper's.
	stalls        *stallMeter
	interruptions atomic.Int64

	mu    sync.Mutex
	tally *compare.Tally
	last  time.Time
}

// phase runs scripts until goal operations are done in all, on ensembles of its
// own.
func (r *runner) phase(goal uint64) {
	es, err := startBoth()
	if err != nil {
		r.t.Error(err)
		return
	}
	stop := make(chan struct{})
	var nudging sync.WaitGroup
	nudging.Go(func() { es.nudge(stop) })
	defer func() {
		close(stop)
		nudging.Wait()
		if err := es.close(r.t.Failed()); err != nil {
			r.t.Error(err)
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	type report struct {
		params generate.Params
		fail   *failure
		err    error
	}
	reports := make(chan report, r.lanes)
	var lanes sync.WaitGroup
	for number := range r.lanes {
		lanes.Go(func() {
			l := lane{runner: r, es: es}
			defer l.pair.close()
			for ctx.Err() == nil && r.done.Load() < goal {
				params := generate.Params{Seed: r.seed, Lane: number, Epoch: int(r.epoch.Add(1))}
				if fail, err := l.run(params); fail != nil || err != nil {
					reports <- report{params, fail, err}
					cancel()
					return
				}
			}
		})
	}
	lanes.Wait()
	close(reports)
	for rep := range reports {
		switch {
		case rep.err != nil:
			r.t.Errorf("%s: %v\n%s", rep.params, rep.err, es.logTails())
		case rep.fail.err != nil:
			r.t.Errorf("%s: %s\n%s", rep.params, rep.fail, es.logTails())
		default:
			explain(r.t, es, rep.params.String(), rep.fail)
		}
	}
	if !r.t.Failed() {
		r.keep(es, generate.Params{Seed: r.seed, Lane: r.lanes, Epoch: int(r.epoch.Add(1))})
	}
}

// table lists counts, a line for each operation.
func table(counts map[string]int) string {
	lines := map[string]string{}
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		what, result, _ := strings.Cut(kind, " ")
		lines[what] += fmt.Sprintf(" %s %d", result, counts[kind])
	}
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(lines)) {
		b.WriteString(what + lines[what] + "\n")
	}
	return b.String()
}

// count notes a script that went well.
func (r *runner) count(steps []script.Step, tally *compare.Tally) {
	done := r.done.Add(uint64(script.Count(steps)))
	r.scripts.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.Add(tally)
	if now := time.Now(); now.Sub(r.last) > 30*time.Second {
		r.last = now
		r.t.Logf("%d operations, %.0f a second", done, float64(done)/now.Sub(r.started).Seconds())
	}
}

// runScript runs one script and explains what differs.
func runScript(t *testing.T, es ensembles, name string, steps []script.Step) {
	t.Helper()
	p, err := newPair(es)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	fail, err := p.run(steps, compare.NewTally())
	switch {
	case err != nil:
		t.Errorf("%s: %v\n%s", name, err, es.logTails())
	case fail != nil && fail.err != nil:
		t.Errorf("%s: %s\n%s", name, fail, es.logTails())
	case fail != nil:
		explain(t, es, name, fail)
	}
}

// explain shrinks a failing script and reports it.
func explain(t *testing.T, es ensembles, name string, fail *failure) {
	t.Helper()
	t.Logf("%s: a difference in step %d of %d (%s); shrinking", name, fail.step+1, len(fail.steps), fail.why)
	small, tries := cut(es, fail)
	t.Errorf("%s: ZooKeeper and Conclave differ. After %d tries these steps are left:\n%s\nTo see it again: make test-diff %s\nIn the whole script it was (step %d):\n%s",
		name, tries, indent(small.String()), name, fail.step+1, indent(lastStep(fail)))
}

// lastStep shows what the failing step of the whole script was.
func lastStep(f *failure) string {
	last := *f
	last.steps, last.step = f.steps[f.step:f.step+1], 0
	return last.String()
}

// cut makes a failing script shorter.
func cut(es ensembles, fail *failure) (*failure, int) {
	p, err := newPair(es)
	if err != nil {
		return fail, 0
	}
	defer func() { p.close() }()
	deadline := time.Now().Add(shrinkTime)
	more := func() bool { return time.Now().Before(deadline) }
	best, tries := fail, 0
	fails := func(steps []script.Step) bool {
		tries++
		f, err := p.run(steps, compare.NewTally())
		if err != nil || f != nil && f.err != nil {
			// A script cut in the wrong place: go on with fresh connections.
			p.close()
			if p, err = newPair(es); err != nil {
				deadline = time.Now()
			}
			return false
		}
		if f != nil {
			best = f
		}
		return f != nil
	}
	steps := slices.Clone(fail.steps[:fail.step+1])
	if !fails(steps) {
		return fail, tries // it does not happen again
	}
	shrink.Script(steps, fails, more)
	return best, tries
}

// keep runs a script and leaves what it made, has both ensembles killed and
// started again, and wants to find the same.
func (r *runner) keep(es ensembles, params generate.Params) {
	for {
		stalls := r.stalls.n.Load()
		err := keepScript(es, params)
		if err == nil {
			return
		}
		if r.stalls.count() == stalls || r.interruptions.Add(1) > maxInterruptions {
			r.t.Errorf("%s, with all members killed and started at its end: %v\n%s", params, err, es.logTails())
			return
		}
	}
}

func keepScript(es ensembles, params generate.Params) error {
	p, err := newPair(es)
	if err != nil {
		return err
	}
	defer func() { p.close() }()
	steps := generate.Script(params)
	i := slices.IndexFunc(steps, func(s script.Step) bool { return s.Verb == script.Sweep })
	settled := script.UsesQuotas(steps)
	base := fmt.Sprintf("/d%d", bases.Add(1))
	if err := both(func(i int) error { return p[i].Begin(base, generate.Slots, settled) }); err != nil {
		return err
	}
	if f := p.compare(steps[:i+1], compare.NewTally()); f != nil {
		return errors.New(f.String())
	}
	sweep := script.Step{Verb: script.Sweep}
	var before [2]string
	for i := range p {
		frames, err := p[i].Do(sweep)
		if err != nil {
			return err
		}
		before[i] = fmt.Sprint(frames)
	}
	if err := es.restart(); err != nil {
		return err
	}
	if err := both(func(i int) error { return p[i].Reconnect() }); err != nil {
		return err
	}
	var errs []error
	for i, name := range sides {
		frames, err := p[i].Do(sweep)
		if err != nil {
			return err
		}
		if after := fmt.Sprint(frames); after != before[i] {
			errs = append(errs, fmt.Errorf("%s has changed:\nbefore: %s\nafter: %s", name, before[i], after))
		}
	}
	return errors.Join(append(errs, both(func(i int) error { return p[i].End() }))...)
}
