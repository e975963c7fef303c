package cells

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/conclave-dev/conclave/test/bench/cluster"
	"github.com/conclave-dev/conclave/test/bench/disk"
	"github.com/conclave-dev/conclave/test/bench/hist"
	"github.com/conclave-dev/conclave/test/bench/load"
	"github.com/conclave-dev/conclave/test/bench/prep"
	"github.com/conclave-dev/conclave/test/bench/proto"
	"github.com/conclave-dev/conclave/test/bench/report"
)

// Writer are the cells of one client that writes one node after the other,
// through the leader or through a follower. Only the first one has a bar: the
// second one needs a round trip between members more.
func Writer() []Cell {
	leader := Cell{Cell: report.Cell{
		Name:  "writer",
		About: "one client sets 100 bytes through the leader, one request at a time; the disk's own fdatasync is measured before and after",
		Bars:  []report.Bar{{Metric: report.P50, NotAbove: report.Allowed.Name}},
	}}
	leader.Run = func(env *Env, e *cluster.Ensemble, repeat int) (report.Values, error) {
		return writer(env, e, root("writer", repeat, ""), true)
	}
	follower := Cell{Cell: report.Cell{Name: "writer-follower", About: "the same through a follower"}}
	follower.Run = func(env *Env, e *cluster.Ensemble, repeat int) (report.Values, error) {
		return writer(env, e, root("writer-follower", repeat, ""), false)
	}
	return []Cell{leader, follower}
}

// synced tells whether the members have synced their logs as often as one client has
// written: with one request outstanding no two writes share a sync, and the disk's time
// is a bar only for those that wait for it.
func synced(syncs float64, writes uint64) error {
	if syncs < float64(writes) {
		return fmt.Errorf("one client was told of %d writes, one after the other, and the members say that they have synced their logs %.0f times", writes, syncs)
	}
	return nil
}

func writer(env *Env, e *cluster.Ensemble, root string, throughLeader bool) (report.Values, error) {
	m, err := e.Leader()
	if err != nil {
		return nil, err
	}
	if !throughLeader {
		m = e.Members[m.ID%len(e.Members)]
	}
	if err := prep.Create(e.Addrs()[:1], []string{root}, false); err != nil {
		return nil, err
	}
	n := load.NewNodes(root+"/n", 1)
	if err := prep.Create([]netip.AddrPort{m.Addr}, n.Paths, true); err != nil {
		return nil, err
	}
	run := func(sets int, read int32, d time.Duration) (*load.Result, error) {
		return load.Run(load.Plan{
			Servers: []netip.AddrPort{m.Addr}, Conns: 1, Depth: 1, Warmup: env.Warmup / 2, Measure: d, SessionTimeout: sessionTimeout,
		}, func() load.Script {
			// The versions of one script do not hold for the next one's sets:
			// reads come first.
			return load.NewData(n, 1, sets, read)
		})
	}
	var floor hist.H
	probe := func() error {
		h, err := disk.Measure(env.Program, env.Cluster.Dir, env.Measure/4)
		if err == nil {
			floor.Merge(h)
		}
		return err
	}
	if err := probe(); err != nil {
		return nil, err
	}
	trip, err := run(0, proto.OpExists, env.Measure/4)
	if err != nil {
		return nil, err
	}
	before, err := e.Syncs()
	if err != nil {
		return nil, err
	}
	r, err := run(100, proto.OpGetData, env.Measure)
	if err != nil {
		return nil, err
	}
	after, err := e.Syncs()
	if err != nil {
		return nil, err
	}
	if err := synced(after-before, r.Latencies.Count()); err != nil {
		return nil, err
	}
	if err := probe(); err != nil {
		return nil, err
	}
	v := report.Values{}
	v.Set(report.Throughput, r.PerSecond())
	latencies(v, &r.Latencies, report.P50, report.P99, report.P999, report.Max)
	diskP50, tripP50 := float64(floor.Quantile(0.5))/millisecond, float64(trip.Latencies.Quantile(0.5))/millisecond
	v.Set(report.DiskP50, diskP50)
	v.Set(report.DiskP99, float64(floor.Quantile(0.99))/millisecond)
	v.Set(report.RoundTrip, tripP50)
	v.Set(report.Allowed, 2*diskP50+tripP50)
	if err := prep.Delete(e.Addrs()[:1], n.Paths); err != nil {
		return nil, err
	}
	return v, prep.Delete(e.Addrs()[:1], []string{root})
}
