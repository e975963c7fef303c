//go:build diff

package diff

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
	"github.com/conclave-dev/conclave/test/diff/compare"
	"github.com/conclave-dev/conclave/test/diff/generate"
	"github.com/conclave-dev/conclave/test/diff/script"
	"github.com/conclave-dev/conclave/test/diff/side"
)

// ensembles are the two that are compared, ZooKeeper first.
type ensembles [2]*ensemble.Ensemble

// startBoth starts both from nothing.
func startBoth() (es ensembles, err error) {
	for i, target := range []ensemble.Target{ensemble.ZooKeeper, ensemble.Conclave} {
		if es[i], err = ensemble.New(target); err != nil {
			return es, errors.Join(err, es.close(true))
		}
	}
	if err := es.start(); err != nil {
		return es, errors.Join(err, es.close(true))
	}
	return es, nil
}

// sides are the names of the two.
var sides = [2]string{"zookeeper", "conclave"}

// both runs f for both at the same time.
func both(f func(i int) error) error {
	named := func(i int) error {
		if err := f(i); err != nil {
			return fmt.Errorf("%s: %w", sides[i], err)
		}
		return nil
	}
	done := make(chan error)
	go func() { done <- named(1) }()
	err := named(0)
	return errors.Join(err, <-done)
}

// start starts all members that do not run.
func (es *ensembles) start() error { return both(func(i int) error { return es[i].StartAll() }) }

// restart kills all members and starts them again with what they have on disk.
func (es *ensembles) restart() error {
	for _, e := range es {
		for _, m := range e.Members {
			if err := m.Kill(); err != nil {
				return err
			}
		}
	}
	return es.start()
}

// close ends both; with KEEP set and after a failure their files stay.
func (es *ensembles) close(failed bool) error {
	var errs []error
	for _, e := range es {
		if e != nil {
			errs = append(errs, e.Close(failed && os.Getenv("KEEP") != ""))
		}
	}
	return errors.Join(errs...)
}

// epoch returns the epoch of ZooKeeper's leader, as soon as it has one. Tries
// are counted, not time: it may be the machine that has no time.
func (es *ensembles) epoch() (epoch int64, err error) {
	for range 300 {
		time.Sleep(100 * time.Millisecond)
		var s *side.Side
		if s, err = side.New(es[0].Addrs()); err != nil {
			continue
		}
		epoch, err = s.Epoch()
		s.Close()
		if err == nil {
			return epoch, nil
		}
	}
	return 0, fmt.Errorf("zookeeper has no leader: %w", err)
}

// nudge makes ZooKeeper order a transaction every now and then, until stop is
// closed: 3.8 sometimes leaves a request unanswered until the next commit, and
// with nobody else at work that would be the end of some session a minute later.
func (es *ensembles) nudge(stop <-chan struct{}) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var s *side.Side
	for {
		select {
		case <-stop:
			if s != nil {
				s.Close()
			}
			return
		case <-tick.C:
		}
		if s == nil {
			s, _ = side.New(es[0].Addrs()) // it may be starting: try again
			continue
		}
		if s.Nudge() != nil {
			s.Close()
			s = nil
		}
	}
}

func (es *ensembles) logTails() string {
	return "zookeeper:\n" + es[0].LogTails(15) + "conclave:\n" + es[1].LogTails(15)
}

// pair is a lane's connection to both.
type pair [2]*side.Side

func newPair(es ensembles) (p pair, err error) {
	for i := range p {
		if p[i], err = side.New(es[i].Addrs()); err != nil {
			p.close()
			return p, err
		}
	}
	return p, nil
}

func (p *pair) close() {
	for _, s := range p {
		if s != nil {
			s.Close()
		}
	}
}

// failure is what came of a script that did not end well.
type failure struct {
	// step is the index of the step that went wrong.
	step int
	// why says how the two outcomes differ; err is set instead when one could not
	// be asked.
	why          string
	zk, conclave []side.Frame
	err          error
	steps        []script.Step
}

func (f *failure) String() string {
	if f.err != nil {
		return fmt.Sprintf("step %d: %v\n%s", f.step+1, f.err, f.steps[f.step])
	}
	return fmt.Sprintf("%s\nthe last of these steps brings (%s):\n%s", script.Format(f.steps[:f.step+1]), f.why, compare.SideBySide(f.zk, f.conclave))
}

// bases numbers the places of scripts.
var bases atomic.Int64

// outcome is what one step brought on one side.
type outcome struct {
	frames []side.Frame
	err    error
}

// ahead is how many steps one side may be ahead of the other.
const ahead = 32

// run does steps on both sides and compares. The error is for a place that
// could not be prepared or cleared; what the steps brought is in the failure.
// With keep nothing is cleared.
func (p *pair) run(steps []script.Step, tally *compare.Tally) (*failure, error) {
	base := fmt.Sprintf("/d%d", bases.Add(1))
	settled := script.UsesQuotas(steps)
	err := both(func(i int) error { return p[i].Begin(base, generate.Slots, settled) })
	if err != nil {
		return nil, err
	}
	fail := p.compare(steps, tally)
	if fail != nil && fail.err != nil {
		return fail, nil // whoever cannot be asked cannot clear up either
	}
	if err := both(func(i int) error { return p[i].End() }); err != nil && fail == nil {
		return nil, err
	}
	return fail, nil
}

// compare does steps on both sides, each at its own pace.
func (p *pair) compare(steps []script.Step, tally *compare.Tally) *failure {
	var outcomes [2]chan outcome
	stop := make(chan struct{})
	for i := range p {
		outcomes[i] = make(chan outcome, ahead)
		go func() {
			defer close(outcomes[i])
			for _, step := range steps {
				frames, err := p[i].Do(step)
				select {
				case <-stop:
					return
				case outcomes[i] <- outcome{frames, err}:
				}
				if err != nil {
					return
				}
			}
		}()
	}
	defer func() {
		close(stop)
		for i := range p {
			for range outcomes[i] {
				continue // until it has stopped
			}
		}
	}()
	c := compare.New(tally)
	for n := range steps {
		zk, conclave := <-outcomes[0], <-outcomes[1]
		f := &failure{step: n, zk: zk.frames, conclave: conclave.frames, steps: steps}
		if zk.err != nil {
			f.err = fmt.Errorf("zookeeper: %w", zk.err)
		}
		if conclave.err != nil {
			f.err = errors.Join(f.err, fmt.Errorf("conclave: %w", conclave.err))
		}
		if f.err != nil {
			return f
		}
		if f.why = c.Step(zk.frames, conclave.frames); f.why != "" {
			return f
		}
	}
	return nil
}

// indent makes text stand out in a log.
func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ") + "\n"
}
