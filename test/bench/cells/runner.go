package cells

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/test/bench/cluster"
	"github.com/conclave-dev/conclave/test/bench/proto"
	"github.com/conclave-dev/conclave/test/bench/report"
	"github.com/conclave-dev/conclave/test/bench/usage"
)

// All are the cells in the order in which they run.
func All() []Cell {
	out := append(Throughput(), Writer()...)
	out = append(out, Clients()...)
	out = append(out, Failures()...)
	return append(out, Sessions(), Memory())
}

// Run takes all samples of the cells, for each of the servers, and adds them to
// r. A sample that fails is noted and the run goes on; the error is of what no
// cell can do without. stop is asked before each sample.
func Run(env *Env, kinds []cluster.Kind, cells []Cell, r *report.Report, stop func() bool) error {
	run := newRunner(env, kinds, r, stop)
	return run.all(cells)
}

func newRunner(env *Env, kinds []cluster.Kind, r *report.Report, stop func() bool) *runner {
	return &runner{env: env, kinds: kinds, report: r, stop: stop, standing: make(map[cluster.Kind]*cluster.Ensemble), start: start, warmUp: warmUp}
}

func start(env *Env, kind cluster.Kind) (*cluster.Ensemble, error) {
	return cluster.Start(kind, env.Cluster)
}

func (r *runner) all(cells []Cell) error {
	defer r.close()
	for _, own := range []bool{false, true} {
		for _, c := range cells {
			if c.Own != own {
				continue
			}
			if own {
				r.close() // one ensemble at a time on the machine
			}
			if err := r.cell(c); err != nil {
				return err
			}
			if r.stop() {
				return errors.New("interrupted")
			}
		}
	}
	return nil
}

type runner struct {
	env      *Env
	kinds    []cluster.Kind
	report   *report.Report
	stop     func() bool
	standing map[cluster.Kind]*cluster.Ensemble
	// start and warmUp are what a test replaces.
	start  func(*Env, cluster.Kind) (*cluster.Ensemble, error)
	warmUp func(*Env, *cluster.Ensemble) error
}

func (r *runner) close() {
	for kind, e := range r.standing {
		if err := e.Close(); err != nil {
			r.env.Log("%s: %v", kind, err)
		}
		delete(r.standing, kind)
	}
}

// ensemble returns the standing ensemble of a kind, warmed up.
func (r *runner) ensemble(kind cluster.Kind) (*cluster.Ensemble, error) {
	if e := r.standing[kind]; e != nil {
		return e, nil
	}
	e, err := r.start(r.env, kind)
	if err != nil {
		return nil, err
	}
	r.standing[kind] = e
	if err := r.warmUp(r.env, e); err != nil {
		return nil, err
	}
	return e, nil
}

// warmUp runs reads and sets that nobody measures, so that the JVM has compiled
// what matters.
func warmUp(env *Env, e *cluster.Ensemble) error {
	warm := *env
	warm.Warmup, warm.Measure = 0, env.FirstWarmup
	if _, _, _, err := drive(&warm, e, root("warmup", 0, ""), 8, 0, data(50, proto.OpGetData)); err != nil {
		return fmt.Errorf("%s, warming up: %w", e.Kind, err)
	}
	return nil
}

// cell takes a cell's samples, the servers in turn, and each of them first as
// often as the other.
func (r *runner) cell(c Cell) error {
	repeats := r.env.Repeats
	if c.Failure {
		repeats = r.env.FailureRepeats
	}
	for repeat := range repeats {
		for i := range r.kinds {
			kind := r.kinds[(i+repeat)%len(r.kinds)]
			if r.stop() {
				return nil
			}
			if err := r.sample(c.Name, kind, c.Own, repeat, func(e *cluster.Ensemble) (report.Values, error) {
				return c.Run(r.env, e, repeat)
			}); err != nil {
				return err
			}
		}
	}
	if c.RunOpen != nil && r.env.Open {
		if err := r.open(c, repeats); err != nil {
			return err
		}
	}
	if c.Profile != nil && r.env.Profile && r.standing[cluster.Conclave] != nil {
		if err := c.Profile(r.env, r.standing[cluster.Conclave]); err != nil {
			return err
		}
	}
	return nil
}

// open runs the open loop at half of what the slower server has shown, for both.
func (r *runner) open(c Cell, repeats int) error {
	rate := 0.0
	for _, kind := range r.kinds {
		sum, n := 0.0, 0
		for _, s := range r.report.Samples {
			if v, ok := s.Values[report.Throughput.Name]; ok && s.Cell == c.Name && s.Server == string(kind) {
				sum, n = sum+v, n+1
			}
		}
		if n == 0 {
			return nil // it has failed, and that is noted
		}
		if half := sum / float64(n) / 2; rate == 0 || half < rate {
			rate = half
		}
	}
	for repeat := range repeats {
		for i := range r.kinds {
			kind := r.kinds[(i+repeat)%len(r.kinds)]
			if r.stop() {
				return nil
			}
			if err := r.sample(c.Name, kind, c.Own, repeat, func(e *cluster.Ensemble) (report.Values, error) {
				return c.RunOpen(r.env, e, repeat, rate)
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// sample takes one sample and notes it. After a failure a standing ensemble is
// replaced: nobody knows what state it is in.
func (r *runner) sample(cell string, kind cluster.Kind, own bool, repeat int, take func(*cluster.Ensemble) (report.Values, error)) error {
	var e *cluster.Ensemble
	var err error
	if own {
		if e, err = r.start(r.env, kind); err == nil {
			defer e.Close()
		}
	} else {
		e, err = r.ensemble(kind)
	}
	if err != nil {
		return err
	}
	var all []*cluster.Ensemble
	for _, other := range r.standing {
		all = append(all, other)
	}
	if err := settle(all...); err != nil {
		return err
	}
	values, err := take(e)
	s := report.Sample{Cell: cell, Server: string(kind), Repeat: repeat, Values: values}
	if err != nil {
		s.Values, s.Error = nil, err.Error()
		r.env.Log("%s, %s, repeat %d: %v\n%s", cell, kind, repeat+1, err, e.Logs())
		if !own {
			delete(r.standing, kind)
			if err := e.Close(); err != nil {
				return err
			}
		}
	} else {
		r.env.Log("%s, %s, repeat %d: %s", cell, kind, repeat+1, brief(values))
	}
	r.report.Samples = append(r.report.Samples, s)
	return nil
}

// brief is what the log says of a sample: what the bars are about.
func brief(v report.Values) string {
	var parts []string
	for _, m := range []report.Metric{
		report.Throughput, report.P50, report.P99, report.OpenRate, report.OpenP50, report.OpenP99, report.GeneratorPerOp, report.ServersPerOp, report.OthersCPU,
		report.Allowed, report.ToldAll, report.ToldAllP99, report.Opened, report.OpenedAll, report.PingP99, report.SessionBytes,
		report.ReattachAll, report.ReattachP99, report.Loaded, report.Memory, report.StartUp, report.Gap, report.SessionsLost, report.SurvivorsDropped,
	} {
		if value, ok := v[m.Name]; ok {
			parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %.4g %s", m.Name, value, m.Unit)))
		}
	}
	return strings.Join(parts, ", ")
}

const (
	// quiet is how many cores the members may use between two samples: syncs of
	// old log files, snapshots and the collection of garbage have to be over.
	quiet      = 0.15
	quietCheck = 250 * time.Millisecond
	quietLimit = 30 * time.Second
)

// settle waits until the ensembles have nothing more to do, or half a minute:
// one that never comes to rest is measured as it is.
func settle(ensembles ...*cluster.Ensemble) error {
	var pids []int
	for _, e := range ensembles {
		pids = append(pids, e.PIDs()...)
	}
	if len(pids) == 0 {
		return nil
	}
	last, err := usage.Read(pids)
	if err != nil {
		return err
	}
	for began := time.Now(); time.Since(began) < quietLimit; {
		time.Sleep(quietCheck)
		now, err := usage.Read(pids)
		if err != nil {
			return err
		}
		if usage.Between(last, now).Servers < quiet {
			return nil
		}
		last = now
	}
	return nil
}
