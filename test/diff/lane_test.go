//go:build diff

package diff

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/diff/compare"
	"github.com/conclave-dev/conclave/test/diff/generate"
)

// maxInterruptions is how many scripts may come to nothing: each election of
// ZooKeeper's, and each time that the machine stands still, ends all that are
// under way.
const maxInterruptions = 100

// lane does one script after another. It is not safe for concurrent use.
type lane struct {
	*runner
	es ensembles
	// pair is a connection to both, if ready.
	pair  pair
	ready bool
	// epoch is that of ZooKeeper's leader when the pair was made.
	epoch int64
}

// connect makes the pair.
func (l *lane) connect() (err error) {
	if l.epoch, err = l.es.epoch(); err != nil {
		return err
	}
	l.pair.close()
	l.pair, err = newPair(l.es)
	l.ready = err == nil
	return err
}

// run does one script, again if it was interrupted, and counts it if it went
// well.
func (l *lane) run(params generate.Params) (fail *failure, err error) {
	steps := generate.Script(params)
	for {
		stalls := l.stalls.n.Load()
		tally := compare.NewTally()
		if !l.ready {
			err = l.connect()
		}
		if err == nil {
			fail, err = l.pair.run(steps, tally)
		}
		if fail == nil && err == nil {
			l.count(steps, tally)
			return nil, nil
		}
		why := l.interrupted(stalls)
		if why == "" || l.interruptions.Add(1) > maxInterruptions {
			return fail, err
		}
		what := err
		if fail != nil {
			if what = fail.err; what == nil {
				what = fmt.Errorf("step %d: %s", fail.step, fail.why)
			}
		}
		l.t.Logf("%s: once more, %s; it had come to: %v", params, why, what)
		fail, err, l.ready = nil, nil, false
	}
}

// interrupted says why a failure since then means nothing, if it does not. When
// ZooKeeper has elected a leader, it has closed all connections; when the machine
// stood still, sessions have expired that were to live.
func (l *lane) interrupted(stalls int64) string {
	if l.stalls.count() != stalls {
		return "the machine stood still"
	}
	if now, err := l.es.epoch(); err == nil && now != l.epoch {
		return "ZooKeeper has elected a leader"
	}
	return ""
}

// stallMeter notices when nothing runs for a while: on a busy machine, or on a
// virtual one that is stopped.
type stallMeter struct{ n atomic.Int64 }

// longestStall is what the shortest-lived session of a script survives.
const longestStall = 1500 * time.Millisecond

// watchForStalls starts a meter that runs until the end of the test.
func watchForStalls(t *testing.T) *stallMeter {
	m := &stallMeter{}
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			now := time.Now()
			// The wall clock shows what the monotonic one may not: that the machine was
			// stopped.
			if max(now.Sub(last), now.Round(0).Sub(last.Round(0))) > longestStall {
				m.n.Add(1)
			}
			last = now
		}
	})
	t.Cleanup(func() {
		close(stop)
		running.Wait()
	})
	return m
}

// count returns how often the machine stood still, up to now. A failure comes up
// as soon as it runs again: the meter is given the time to notice, too.
func (m *stallMeter) count() int64 {
	time.Sleep(200 * time.Millisecond)
	return m.n.Load()
}
