package cells

import (
	"fmt"
	"time"

	"github.com/conclave-dev/conclave/test/bench/cluster"
	"github.com/conclave-dev/conclave/test/bench/report"
	"github.com/conclave-dev/conclave/test/bench/swarm"
)

// Sessions is the cell of very many sessions. It has an ensemble of its own:
// tens of thousands of sessions that expire would disturb whatever comes next.
func Sessions() Cell {
	return Cell{
		Cell: report.Cell{
			Name:  "sessions",
			About: "sessions are opened, spread over the members, and then only ping; one process of the generator for each member",
			Bars: []report.Bar{
				{Metric: report.Opened, Ratio: 3},
				{Metric: report.OpenedAll, Ratio: 3},
				{Metric: report.PingP99, Ratio: 2},
				{Metric: report.SessionBytes, Ratio: 4},
			},
		},
		Own: true,
		Run: sessions,
	}
}

// warmSessions are opened and closed before anything is measured, so that the
// JVM has compiled what opens one.
const warmSessions = 3000

func sessions(env *Env, e *cluster.Ensemble, _ int) (report.Values, error) {
	if err := warmUp(env, e); err != nil {
		return nil, err
	}
	if err := openAndClose(e, warmSessions); err != nil {
		return nil, err
	}
	if err := settle(e); err != nil {
		return nil, err
	}
	var ws workers
	defer func() { ws.close() }()
	for _, m := range e.Members {
		w, err := startWorker(env.Program, m.Addr)
		if err != nil {
			return nil, err
		}
		ws = append(ws, w)
	}
	before, err := memoryOf(e)
	if err != nil {
		return nil, err
	}
	n := len(ws)
	first, err := ws.do(order{Open: env.FirstSessions / n, Parallel: env.Parallel / n})
	if err != nil {
		return nil, err
	}
	rest, err := ws.do(order{Open: (env.Sessions - env.FirstSessions) / n, Parallel: env.Parallel / n})
	if err != nil {
		return nil, err
	}
	pings, err := ws.do(order{Ping: env.Hold})
	if err != nil {
		return nil, err
	}
	if lost := first.Expired + rest.Expired + pings.Drops; lost > 0 {
		return nil, fmt.Errorf("%d sessions were refused or lost their connections", lost)
	}
	after, err := memoryOf(e)
	if err != nil {
		return nil, err
	}
	held := float64(first.Each.Count() + rest.Each.Count())
	v := report.Values{}
	v.Set(report.Opened, float64(first.Each.Count())/first.Took.Seconds())
	v.Set(report.OpenedAll, held/(first.Took+rest.Took).Seconds())
	first.Each.Merge(rest.Each)
	v.Set(report.OpenedP99, quantile(first.Each, 0.99))
	v.Set(report.PingP50, quantile(pings.Each, 0.5))
	v.Set(report.PingP99, quantile(pings.Each, 0.99))
	v.Set(report.SessionBytes, (after-before)/held/1024)
	env.Log("sessions: %.0f held, %d pings answered; %s", held, pings.Each.Count(), (first.Took + rest.Took).Round(time.Millisecond))
	return v, nil
}

func openAndClose(e *cluster.Ensemble, n int) error {
	s, err := swarm.New(e.Addrs(), sessionTimeout)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := opened(s, n); err != nil {
		return err
	}
	return s.CloseAll()
}
