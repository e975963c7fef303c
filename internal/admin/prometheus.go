package admin

import "github.com/conclave-dev/conclave/internal/metrics"

// RegisterMetrics makes the member's state, and all figures under ZooKeeper's
// names for them, part of what s.Metrics collects. Call it once.
func (s *Surface) RegisterMetrics() {
	s.Metrics.SetState(s.metricsState)
	s.Metrics.AddCollector(s.collectZooKeeperNames)
}

func (s *Surface) metricsState() metrics.State {
	st, peers := s.Source.Status(), s.Source.Peers()
	t := tally(peers)
	ready, _ := st.Ready()
	return metrics.State{
		Name: st.Name, Leader: st.Role == RoleLeader, Serving: st.Serving, Ready: ready,
		HasQuorum: st.HasQuorum, CaughtUp: st.CaughtUp, Draining: st.Drain.Active,
		DiskFailed: st.Disk.Failed, DiskSlow: st.Disk.Slow,
		Zxid: st.Zxid, Term: st.Term, Applied: st.AppliedIndex, Committed: st.CommittedIndex,
		Nodes: st.Nodes, Ephemerals: st.Ephemerals, DataBytes: st.DataBytes,
		Watches: st.Watches, Connections: st.Connections, Outstanding: st.Outstanding,
		Sessions: st.Sessions.Total, SessionStatesKnown: st.Sessions.Known, SessionsConnected: st.Sessions.Connected,
		SessionsConnecting: st.Sessions.Connecting, SessionsNotConnected: st.Sessions.NotConnected,
		Voters: t.voters, Learners: len(peers) - t.voters, SyncedVoters: t.syncedVoters,
	}
}

// collectZooKeeperNames gives every figure of mntr that is a number under the
// name that ZooKeeper's own exporter has for it, so that dashboards made for
// ZooKeeper go on working. They have no prefix, no units, and counters no
// suffix: that is how ZooKeeper names them.
func (s *Surface) collectZooKeeperNames(emit func(metrics.Family)) {
	for _, f := range s.figures() {
		switch {
		case f.kind == text:
		case f.kind == gauge:
			emit(metrics.Family{Name: f.name, Help: f.help, Type: metrics.TypeGauge, Samples: []metrics.Sample{{Value: f.value}}})
		case f.kind == counter:
			emit(metrics.Family{Name: f.name, Help: f.help, Type: metrics.TypeCounter, Samples: []metrics.Sample{{Value: f.total}}})
		default:
			emit(summaryFamily(&f))
		}
	}
}

func summaryFamily(f *figure) metrics.Family {
	quantile := func(q string, v float64) metrics.Sample {
		return metrics.Sample{Labels: []metrics.Label{{Name: "quantile", Value: q}}, Value: v}
	}
	samples := []metrics.Sample{quantile("0.5", f.summary.P50)}
	if f.kind == advancedSummary {
		samples = append(samples, quantile("0.9", f.summary.P90), quantile("0.99", f.summary.P99))
	}
	return metrics.Family{Name: f.name, Help: f.help, Type: metrics.TypeSummary, Samples: append(samples,
		metrics.Sample{Suffix: "_sum", Value: f.summary.TotalSum},
		metrics.Sample{Suffix: "_count", Value: float64(f.summary.TotalCount)})}
}
