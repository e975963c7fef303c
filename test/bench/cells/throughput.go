package cells

import (
	"errors"
	"fmt"
	"time"

	"github.com/conclave-dev/conclave/test/bench/cluster"
	"github.com/conclave-dev/conclave/test/bench/load"
	"github.com/conclave-dev/conclave/test/bench/prep"
	"github.com/conclave-dev/conclave/test/bench/proto"
	"github.com/conclave-dev/conclave/test/bench/report"
	"github.com/conclave-dev/conclave/test/bench/usage"
)

// sessionTimeout of clients that are never idle, in ms.
const sessionTimeout = 30_000

// traffic is what a throughput cell sends. It prepares the nodes below root and
// returns a function that makes a script, one for each thread of the generator,
// and one that removes the nodes again.
type traffic func(env *Env, e *cluster.Ensemble, root string) (script func() load.Script, clean func() error, err error)

// throughput makes a cell of a kind of traffic.
func throughput(name, about string, depth int, writes bool, times float64, t traffic) Cell {
	run := func(env *Env, e *cluster.Ensemble, repeat int, rate float64) (report.Values, error) {
		mode := ""
		if rate > 0 {
			mode = "o"
		}
		r, cost, syncs, err := drive(env, e, root(name, repeat, mode), depth, rate, t)
		if err != nil {
			return nil, err
		}
		if writes && syncs == 0 {
			return nil, errors.New("writes were acknowledged, and no member says that it has synced its log")
		}
		v := report.Values{}
		if rate > 0 {
			v.Set(report.OpenRate, r.PerSecond())
			latencies(v, &r.Latencies, report.OpenP50, report.OpenP99, report.OpenP999, report.OpenMax)
			return v, nil
		}
		v.Set(report.Throughput, r.PerSecond())
		latencies(v, &r.Latencies, report.P50, report.P99, report.P999, report.Max)
		v.Set(report.GeneratorCPU, cost.Self)
		v.Set(report.ServersCPU, cost.Servers)
		v.Set(report.OthersCPU, cost.Others)
		v.Set(report.GeneratorPerOp, cost.Self*1e6/r.PerSecond())
		v.Set(report.ServersPerOp, cost.Servers*1e6/r.PerSecond())
		v.Set(report.Syncs, syncs)
		return v, nil
	}
	return Cell{
		Cell: report.Cell{Name: name, About: about, Bars: better(times)},
		Run: func(env *Env, e *cluster.Ensemble, repeat int) (report.Values, error) {
			return run(env, e, repeat, 0)
		},
		RunOpen: run,
		Profile: func(env *Env, e *cluster.Ensemble) error {
			return profile(env, e, name, func() error {
				_, err := run(env, e, 0, 0)
				return err
			})
		},
	}
}

// drive runs a kind of traffic once. syncs is how often the members synced their
// logs, a second.
func drive(env *Env, e *cluster.Ensemble, root string, depth int, rate float64, t traffic) (r *load.Result, cost usage.Cost, syncs float64, err error) {
	script, clean, err := t(env, e, root)
	if err != nil {
		return nil, cost, 0, fmt.Errorf("prepare: %w", err)
	}
	pids := e.PIDs()
	var before, after usage.CPU
	var usageErr error
	began, syncsBefore, err := time.Now(), 0.0, error(nil)
	if syncsBefore, err = e.Syncs(); err != nil {
		return nil, cost, 0, err
	}
	r, err = load.Run(load.Plan{
		Servers: e.Addrs(), Conns: env.Conns, Depth: depth, Rate: rate, Threads: env.Threads,
		Warmup: env.Warmup, Measure: env.Measure, SessionTimeout: sessionTimeout,
		Window: func(begin bool) {
			c, err := usage.Read(pids)
			usageErr = errors.Join(usageErr, err)
			if begin {
				before = c
			} else {
				after = c
			}
		},
	}, script)
	if err = errors.Join(err, usageErr); err != nil {
		return nil, cost, 0, err
	}
	syncsAfter, err := e.Syncs()
	if err != nil {
		return nil, cost, 0, err
	}
	syncs = (syncsAfter - syncsBefore) / time.Since(began).Seconds()
	return r, usage.Between(before, after), syncs, clean()
}

// data is reads and sets of nodes that exist.
func data(sets int, read int32) traffic {
	return func(env *Env, e *cluster.Ensemble, root string) (func() load.Script, func() error, error) {
		n, clean, err := nodes(env, e, root)
		return func() load.Script { return load.NewData(n, env.Conns, sets, read) }, clean, err
	}
}

func multi(env *Env, e *cluster.Ensemble, root string) (func() load.Script, func() error, error) {
	n, clean, err := nodes(env, e, root)
	return func() load.Script { return load.NewMulti(n, env.Conns) }, clean, err
}

// nodes creates the nodes that data and multi work on.
func nodes(env *Env, e *cluster.Ensemble, root string) (*load.Nodes, func() error, error) {
	n := load.NewNodes(root+"/n", env.Conns)
	if err := prep.Create(e.Addrs()[:1], []string{root}, false); err != nil {
		return nil, nil, err
	}
	clean := func() error {
		return errors.Join(prep.Delete(e.Addrs(), n.Paths), prep.Delete(e.Addrs()[:1], []string{root}))
	}
	return n, clean, prep.Create(e.Addrs()[:1], n.Paths, true)
}

// dirs creates a directory for each connection, or each lock.
func dirs(e *cluster.Ensemble, root string, n int) (paths []string, clean func() error, err error) {
	for i := range n {
		paths = append(paths, load.ConnDir(root, i))
	}
	clean = func() error {
		return errors.Join(prep.Delete(e.Addrs()[:1], paths), prep.Delete(e.Addrs()[:1], []string{root}))
	}
	return paths, clean, prep.Create(e.Addrs()[:1], append([]string{root}, paths...), false)
}

func create(env *Env, e *cluster.Ensemble, root string) (func() load.Script, func() error, error) {
	_, clean, err := dirs(e, root, env.Conns)
	var scripts []*load.Create
	script := func() load.Script {
		s := load.NewCreate(root, env.Conns)
		scripts = append(scripts, s)
		return s
	}
	cleanAll := func() error {
		var paths []string
		for _, s := range scripts {
			s.Created(func(path string) { paths = append(paths, path) })
		}
		return errors.Join(prep.Delete(e.Addrs(), paths), clean())
	}
	return script, cleanAll, err
}

func ephemeral(env *Env, e *cluster.Ensemble, root string) (func() load.Script, func() error, error) {
	_, clean, err := dirs(e, root, env.Conns)
	return func() load.Script { return load.NewEphemeral(root, env.Conns) }, clean, err
}

func lock(env *Env, e *cluster.Ensemble, root string) (func() load.Script, func() error, error) {
	paths, clean, err := dirs(e, root, env.Locks)
	return func() load.Script { return load.NewLock(paths, env.Conns) }, clean, err
}

// Throughput are the cells that count operations a second.
func Throughput() []Cell {
	var out []Cell
	for _, depth := range []int{1, 16} {
		at := func(name, about string, writes bool, times float64, t traffic) {
			about = fmt.Sprintf("%s, %d outstanding on each connection", about, depth)
			out = append(out, throughput(fmt.Sprintf("%s-%d", name, depth), about, depth, writes, times, t))
		}
		shallow := func(a, b float64) float64 {
			if depth == 1 {
				return a
			}
			return b
		}
		at("create", "creates of 100 bytes", true, 3, create)
		at("set", "sets of 100 bytes", true, 3, data(100, proto.OpGetData))
		at("get", "reads of 100 bytes", false, shallow(1.5, 3), data(0, proto.OpGetData))
		at("exists", "exists", false, 3, data(0, proto.OpExists))
		at("mixed", "nine reads to one set of 100 bytes", true, shallow(2, 3), data(10, proto.OpGetData))
		at("ephemeral", "creates of ephemeral nodes and, as many, deletes of them", true, 3, ephemeral)
		at("multi", "transactions of 10 sets of 100 bytes", true, 3, multi)
	}
	l := throughput("lock", "the lock recipe with every connection as a candidate; an operation is a hand-over", 1, true, 3, lock)
	l.RunOpen = nil
	// On one thread whatever was asked for: only then does the script see
	// everybody who could hold a lock.
	run := l.Run
	l.Run = func(env *Env, e *cluster.Ensemble, repeat int) (report.Values, error) {
		one := *env
		one.Threads = 1
		return run(&one, e, repeat)
	}
	l.Bars = []report.Bar{{Metric: report.Throughput, Ratio: 3}, {Metric: report.P99, Ratio: 2}}
	return append(out, l)
}
