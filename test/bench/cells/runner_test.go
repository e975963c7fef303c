package cells

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/test/bench/cluster"
	"github.com/conclave-dev/conclave/test/bench/report"
)

// rig is a runner whose ensembles have no members, and a list of what it did.
type rig struct {
	*runner
	did []string
}

func newRig(o Options) *rig {
	env := &Env{Options: o, Log: func(string, ...any) {}}
	r := &rig{runner: newRunner(env, []cluster.Kind{cluster.ZooKeeper, cluster.Conclave}, &report.Report{}, func() bool { return false })}
	r.start = func(_ *Env, kind cluster.Kind) (*cluster.Ensemble, error) {
		r.did = append(r.did, "start "+string(kind))
		return &cluster.Ensemble{Kind: kind}, nil
	}
	r.warmUp = func(_ *Env, e *cluster.Ensemble) error {
		r.did = append(r.did, "warm "+string(e.Kind))
		return nil
	}
	return r
}

// cell notes its runs; throughput is what each server shows.
func (r *rig) cell(name string, throughput map[cluster.Kind]float64) Cell {
	return Cell{
		Cell: report.Cell{Name: name},
		Run: func(_ *Env, e *cluster.Ensemble, repeat int) (report.Values, error) {
			r.did = append(r.did, fmt.Sprintf("%s %s %d", name, e.Kind, repeat))
			v := report.Values{}
			v.Set(report.Throughput, throughput[e.Kind])
			return v, nil
		},
	}
}

func TestServersTakeTurns(t *testing.T) {
	r := newRig(Options{Repeats: 2, FailureRepeats: 3})
	failure := r.cell("b", nil)
	failure.Failure = true
	if err := r.all([]Cell{r.cell("a", nil), failure}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"start zookeeper", "warm zookeeper", "a zookeeper 0", "start conclave", "warm conclave", "a conclave 0",
		"a conclave 1", "a zookeeper 1",
		"b zookeeper 0", "b conclave 0", "b conclave 1", "b zookeeper 1", "b zookeeper 2", "b conclave 2",
	}
	if !slices.Equal(r.did, want) {
		t.Errorf("got %q\nwant %q", r.did, want)
	}
	if len(r.report.Samples) != 10 {
		t.Errorf("%d samples", len(r.report.Samples))
	}
}

// A cell with ensembles of its own comes last, and has the machine for itself.
func TestOwnEnsembles(t *testing.T) {
	r := newRig(Options{Repeats: 1})
	own := r.cell("own", nil)
	own.Own = true
	run := own.Run
	own.Run = func(env *Env, e *cluster.Ensemble, repeat int) (report.Values, error) {
		if len(r.standing) > 0 {
			t.Errorf("%d ensembles stand beside the cell's own", len(r.standing))
		}
		return run(env, e, repeat)
	}
	if err := r.all([]Cell{own, r.cell("a", nil)}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"start zookeeper", "warm zookeeper", "a zookeeper 0", "start conclave", "warm conclave", "a conclave 0",
		"start zookeeper", "own zookeeper 0", "start conclave", "own conclave 0",
	}
	if !slices.Equal(r.did, want) {
		t.Errorf("got %q\nwant %q", r.did, want)
	}
}

func TestOpenLoopRunsAtHalfTheSlowerOne(t *testing.T) {
	r := newRig(Options{Repeats: 2, Open: true})
	c := r.cell("a", map[cluster.Kind]float64{cluster.ZooKeeper: 1000, cluster.Conclave: 5000})
	var rates []float64
	c.RunOpen = func(_ *Env, e *cluster.Ensemble, repeat int, rate float64) (report.Values, error) {
		rates = append(rates, rate)
		return nil, nil
	}
	if err := r.all([]Cell{c}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(rates, []float64{500, 500, 500, 500}) {
		t.Errorf("rates %v", rates)
	}
}

// A sample that fails is noted, and the next one gets a fresh ensemble.
func TestAFailedSample(t *testing.T) {
	r := newRig(Options{Repeats: 2})
	c := r.cell("a", nil)
	run := c.Run
	c.Run = func(env *Env, e *cluster.Ensemble, repeat int) (report.Values, error) {
		if e.Kind == cluster.Conclave && repeat == 0 {
			return nil, errors.New("a write was lost")
		}
		return run(env, e, repeat)
	}
	if err := r.all([]Cell{c}); err != nil {
		t.Fatal(err)
	}
	starts := slices.DeleteFunc(slices.Clone(r.did), func(s string) bool { return s != "start conclave" })
	if len(starts) != 2 {
		t.Errorf("did %q", r.did)
	}
	failed := slices.DeleteFunc(slices.Clone(r.report.Samples), func(s report.Sample) bool { return s.Error == "" })
	if len(failed) != 1 || failed[0].Error != "a write was lost" || failed[0].Values != nil || len(r.report.Samples) != 4 {
		t.Errorf("samples %+v", r.report.Samples)
	}
}

func TestAnInterruptedRun(t *testing.T) {
	r := newRig(Options{Repeats: 100})
	c := r.cell("a", nil)
	r.runner.stop = func() bool { return len(r.report.Samples) >= 3 }
	if err := r.all([]Cell{c, r.cell("b", nil)}); err == nil || len(r.report.Samples) != 3 {
		t.Errorf("%d samples, %v", len(r.report.Samples), err)
	}
}

// Every cell has a name of its own, and every bar a figure that it can be held
// against.
func TestCells(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range All() {
		if seen[c.Name] || c.Name == "" || c.About == "" || c.Run == nil {
			t.Errorf("cell %q, %q", c.Name, c.About)
		}
		seen[c.Name] = true
		if strings.ContainsAny(c.Name, ",/ ") {
			t.Errorf("%q can't be named by -cells, or is no part of a path", c.Name)
		}
		for _, b := range c.Bars {
			if b.Metric == report.OpenP99 && c.RunOpen == nil {
				t.Errorf("%s has a bar for an open loop and none to run", c.Name)
			}
			if b.Ratio > 0 && b.Metric.Better == report.Neither {
				t.Errorf("%s has a ratio for %s, of which neither more nor less is better", c.Name, b.Metric.Name)
			}
		}
	}
}
