package cells

import (
	"errors"
	"fmt"
	"time"

	"github.com/conclave-dev/conclave/test/bench/cluster"
	"github.com/conclave-dev/conclave/test/bench/prep"
	"github.com/conclave-dev/conclave/test/bench/report"
	"github.com/conclave-dev/conclave/test/bench/swarm"
)

const (
	failureWriters = 6
	failureClients = 60 // the writers among them
	failureTimeout = 6000
	// A failure is looked at for this long at least, so that an outage in several
	// parts is seen whole. Clients of a member that has fallen silent leave it
	// after two thirds of the session's timeout, and a session that is not found
	// again then has expired at the end.
	observedKill = 4 * time.Second
	observedStop = 2 * failureTimeout * time.Millisecond
	// recovered: writes are flowing again.
	recovered = 100 * time.Millisecond
	giveUp    = 90 * time.Second
)

// Failures are the cells that take the leader away.
func Failures() []Cell {
	return []Cell{{
		Cell: report.Cell{
			Name:  "kill",
			About: "kill -9 of the leader while two clients on each member write, one request at a time, and 54 only keep their sessions",
			Bars: []report.Bar{
				{Metric: report.Gap, Below: 300},
				{Metric: report.SessionsLost, Zero: true},
				{Metric: report.SurvivorsDropped, Zero: true},
			},
		},
		Failure: true,
		Run: func(env *Env, e *cluster.Ensemble, repeat int) (report.Values, error) {
			return fail(e, root("kill", repeat, ""), observedKill, (*cluster.Member).Kill, (*cluster.Member).Start)
		},
	}, {
		Cell: report.Cell{
			Name:  "stop",
			About: "the same with SIGSTOP of the leader, which goes on when the clients have got over it",
			Bars:  []report.Bar{{Metric: report.SessionsLost, Zero: true}},
		},
		Failure: true,
		Run: func(env *Env, e *cluster.Ensemble, repeat int) (report.Values, error) {
			return fail(e, root("stop", repeat, ""), observedStop, (*cluster.Member).Pause, (*cluster.Member).Resume)
		},
	}}
}

// fail has clients write, takes the leader away, waits until all clients have
// got over it, and lets it come back.
func fail(e *cluster.Ensemble, root string, observed time.Duration, take, restore func(*cluster.Member) error) (v report.Values, err error) {
	var paths []string
	for i := range failureWriters {
		paths = append(paths, fmt.Sprintf("%s-w%d", root, i))
	}
	if err := prep.Create(e.Addrs()[:1], paths, true); err != nil {
		return nil, err
	}
	leader, err := e.Leader()
	if err != nil {
		return nil, err
	}
	s, err := swarm.New(e.Addrs(), failureTimeout)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := opened(s, failureClients); err != nil {
		return nil, err
	}
	w, err := s.StartWriters(paths)
	if err != nil {
		return nil, err
	}
	time.Sleep(time.Second) // a second of undisturbed writing
	if err := w.Mark(); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := take(leader); err != nil {
		return nil, err
	}
	// Whatever happens, the member has to come back for the next cell.
	defer func() {
		err = errors.Join(err, restore(leader), e.WaitReady())
		if err == nil {
			err = errors.Join(w.Stop(), s.CloseAll(), prep.Delete(e.Addrs()[:1], paths))
		}
	}()
	var o swarm.Outage
	var ended error
	err = cluster.Poll(giveUp, func() error {
		if o, ended = w.Outage(); ended != nil {
			return nil // a violation, most likely: there is nothing to wait for
		}
		if time.Since(began) < observed || o.SinceAck > recovered || o.Attached+o.Expired < failureClients {
			return fmt.Errorf("%d of %d clients attached, %d sessions lost, the last write acknowledged %v ago", o.Attached, failureClients, o.Expired, o.SinceAck)
		}
		return nil
	})
	if err = errors.Join(err, ended); err != nil {
		return nil, err
	}
	v = report.Values{}
	v.Set(report.Gap, o.Gap.Seconds()*1000)
	v.Set(report.SessionsLost, float64(o.Expired))
	survivors := 0
	for i, n := range o.Dropped {
		if i != leader.ID-1 {
			survivors += n
		}
	}
	v.Set(report.SurvivorsDropped, float64(survivors))
	return v, nil
}
