package cells

import (
	"fmt"
	"time"

	"github.com/conclave-dev/conclave/test/bench/cluster"
	"github.com/conclave-dev/conclave/test/bench/hist"
	"github.com/conclave-dev/conclave/test/bench/report"
	"github.com/conclave-dev/conclave/test/bench/usage"
)

// Options are how much is measured.
type Options struct {
	// Repeats is how many samples of each server a cell takes, FailureRepeats
	// how many of each failure.
	Repeats, FailureRepeats int
	// Warmup and Measure are the times of one throughput sample.
	Warmup, Measure time.Duration
	// FirstWarmup is what both ensembles run before the first cell.
	FirstWarmup time.Duration
	// Conns is the number of connections of the throughput cells, Threads how
	// many threads of the generator share them.
	Conns, Threads int
	// Locks is how many locks the connections of the lock cell contend for.
	Locks int
	// Watchers watch one node; Moved is how many sessions are dropped at once.
	Watchers, Moved int
	// FirstSessions are opened first, Sessions in all; Parallel is how many are
	// being opened at a time. Hold is how long they only ping.
	FirstSessions, Sessions, Parallel int
	Hold                              time.Duration
	// Nodes is how many the memory cell creates.
	Nodes int
	// Open also runs the open loop where a cell has one.
	Open bool
	// Profile records where Conclave spends its time, in a run of its own.
	Profile bool
}

// Full is what the figures in the documentation are taken with.
var Full = Options{
	Repeats: 3, FailureRepeats: 5, Warmup: 2 * time.Second, Measure: 5 * time.Second, FirstWarmup: 10 * time.Second,
	Conns: 64, Threads: 1, Locks: 1, Watchers: 1000, Moved: 5000,
	FirstSessions: 10_000, Sessions: 45_000, Parallel: 144, Hold: 20 * time.Second, Nodes: 1_000_000, Open: true,
}

// Quick shows in a few minutes that everything works; its figures are noisy.
var Quick = Options{
	Repeats: 1, FailureRepeats: 1, Warmup: time.Second, Measure: 2 * time.Second, FirstWarmup: 10 * time.Second,
	Conns: 64, Threads: 1, Locks: 1, Watchers: 1000, Moved: 1000,
	FirstSessions: 3000, Sessions: 9000, Parallel: 144, Hold: 8 * time.Second, Nodes: 100_000, Open: true,
}

// Env is what cells run in.
type Env struct {
	Options
	Cluster cluster.Options
	// Program is the bench itself, to be started as a further process.
	Program string
	// Out is the directory of results.
	Out string
	// Log is told what happens.
	Log func(format string, args ...any)
}

// Cell is one thing that is measured.
type Cell struct {
	report.Cell
	// Own: each sample has an ensemble of its own.
	Own bool
	// Failure: it has FailureRepeats repeats.
	Failure bool
	// Run takes one sample.
	Run func(env *Env, e *cluster.Ensemble, repeat int) (report.Values, error)
	// RunOpen, if not nil, takes a sample with an open loop at the rate given.
	RunOpen func(env *Env, e *cluster.Ensemble, repeat int, rate float64) (report.Values, error)
	// Profile, if not nil, runs the cell's traffic under a profiler.
	Profile func(env *Env, e *cluster.Ensemble) error
}

const millisecond = 1e6

// latencies enters four figures of a histogram.
func latencies(v report.Values, h *hist.H, p50, p99, p999, longest report.Metric) {
	v.Set(p50, float64(h.Quantile(0.5))/millisecond)
	v.Set(p99, float64(h.Quantile(0.99))/millisecond)
	v.Set(p999, float64(h.Quantile(0.999))/millisecond)
	v.Set(longest, float64(h.Max())/millisecond)
}

// memoryOf is the resident memory of all members, without garbage of a JVM.
func memoryOf(e *cluster.Ensemble) (float64, error) {
	if err := e.Collect(); err != nil {
		return 0, err
	}
	bytes, err := usage.Memory(e.PIDs())
	return float64(bytes), err
}

// better is the bar of most cells: a ratio of throughput, and p99 at most half.
func better(times float64) []report.Bar {
	return []report.Bar{
		{Metric: report.Throughput, Ratio: times},
		{Metric: report.P99, Ratio: 2},
		{Metric: report.OpenP99, Ratio: 2},
	}
}

// root is where a sample's nodes go. It is different for every sample, so that
// one that broke off does not get in the way.
func root(cell string, repeat int, mode string) string {
	return fmt.Sprintf("/bench-%s-%d%s-%x", cell, repeat, mode, time.Now().UnixMilli())
}
