package cells

import (
	"errors"
	"fmt"

	"github.com/conclave-dev/conclave/test/bench/cluster"
	"github.com/conclave-dev/conclave/test/bench/hist"
	"github.com/conclave-dev/conclave/test/bench/prep"
	"github.com/conclave-dev/conclave/test/bench/report"
	"github.com/conclave-dev/conclave/test/bench/swarm"
)

// Clients are the cells of many clients that do little.
func Clients() []Cell {
	return []Cell{{
		Cell: report.Cell{
			Name:  "watch",
			About: "many clients watch one node, one sets it; the next round begins when all have been told and watch again",
			Bars:  []report.Bar{{Metric: report.ToldAll, Ratio: 3}, {Metric: report.ToldAllP99, Ratio: 2}},
		},
		Run: watch,
	}, {
		Cell: report.Cell{
			Name:  "reattach",
			About: "many sessions lose their connections at once and attach through the next member",
			Bars:  []report.Bar{{Metric: report.ReattachAll, Ratio: 3}, {Metric: report.ReattachP99, Ratio: 2}},
		},
		Run: reattach,
	}}
}

func quantile(h *hist.H, q float64) float64 { return float64(h.Quantile(q)) / millisecond }

// parallelLocal is how many sessions of this process are being opened at a time.
const parallelLocal = 96

func watch(env *Env, e *cluster.Ensemble, repeat int) (v report.Values, err error) {
	path := root("watch", repeat, "")
	if err := prep.Create(e.Addrs()[:1], []string{path}, true); err != nil {
		return nil, err
	}
	s, err := swarm.New(e.Addrs(), sessionTimeout)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	// The last client is the one that sets.
	if err := opened(s, env.Watchers+1); err != nil {
		return nil, err
	}
	_, version, err := s.Watch(path, 0, env.Warmup)
	if err != nil {
		return nil, err
	}
	told, _, err := s.Watch(path, version, env.Measure)
	if err != nil {
		return nil, err
	}
	v = report.Values{}
	v.Set(report.ToldAll, quantile(&told.All, 0.5))
	v.Set(report.ToldAllP99, quantile(&told.All, 0.99))
	v.Set(report.ToldEachP50, quantile(&told.Each, 0.5))
	v.Set(report.ToldEachP99, quantile(&told.Each, 0.99))
	return v, errors.Join(s.CloseAll(), prep.Delete(e.Addrs()[:1], []string{path}))
}

func opened(s *swarm.Swarm, n int) error {
	a, err := s.Open(n, parallelLocal)
	if err == nil && a.Expired > 0 {
		err = fmt.Errorf("%d of %d new sessions were refused", a.Expired, n)
	}
	return err
}

func reattach(env *Env, e *cluster.Ensemble, _ int) (v report.Values, err error) {
	s, err := swarm.New(e.Addrs(), sessionTimeout)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := opened(s, env.Moved); err != nil {
		return nil, err
	}
	a, err := s.Reattach()
	if err != nil {
		return nil, err
	}
	if a.Expired > 0 {
		return nil, fmt.Errorf("%d of %d sessions were lost when their connections were", a.Expired, env.Moved)
	}
	v = report.Values{}
	v.Set(report.ReattachAll, a.Took.Seconds()*1000)
	v.Set(report.ReattachP50, quantile(a.Each, 0.5))
	v.Set(report.ReattachP99, quantile(a.Each, 0.99))
	v.Set(report.Retries, float64(a.Retries))
	return v, s.CloseAll()
}
