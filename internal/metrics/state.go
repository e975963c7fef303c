package metrics

// collectState shows what the member is. A figure that the member does not
// know is left out.
func collectState(s State, emit func(Family)) {
	gauge := func(name, help string, v float64) {
		emit(Family{Name: name, Help: help, Type: TypeGauge, Samples: []Sample{{Value: v}}})
	}
	flag := func(name, help string, b bool) {
		v := 0.0
		if b {
			v = 1
		}
		gauge(name, help, v)
	}
	gauge("conclave_member_number", "The N of this member's server.N.", float64(s.Name))
	flag("conclave_is_leader", "Whether this member leads.", s.Leader)
	flag("conclave_serving", "Whether this member serves client requests.", s.Serving)
	flag("conclave_ready", "Whether this member should get new clients.", s.Ready)
	flag("conclave_has_quorum", "Whether this member has contact with a leader that a quorum confirmed.", s.HasQuorum)
	flag("conclave_caught_up", "Whether this member has applied what is committed, but for the usual few entries.", s.CaughtUp)
	flag("conclave_draining", "Whether this member is being drained.", s.Draining)
	flag("conclave_disk_failed", "Whether this member's disk has failed.", s.DiskFailed)
	flag("conclave_disk_slow", "Whether this member's disk is slow.", s.DiskSlow)

	gauge("conclave_zxid", "Zxid of the last applied transaction.", float64(s.Zxid))
	gauge("conclave_raft_term", "Raft term.", float64(s.Term))
	gauge("conclave_raft_applied_index", "Last log index applied.", float64(s.Applied))
	gauge("conclave_raft_committed_index", "Last log index known to be committed.", float64(s.Committed))

	gauge("conclave_znodes", "Nodes in the tree.", float64(s.Nodes))
	gauge("conclave_ephemerals", "Ephemeral nodes in the tree.", float64(s.Ephemerals))
	gauge("conclave_data_bytes", "Length of all paths and data in the tree.", float64(s.DataBytes))
	gauge("conclave_watches", "Watches held by this member.", float64(s.Watches))
	gauge("conclave_connections", "Open client connections.", float64(s.Connections))
	gauge("conclave_outstanding_requests", "Client requests received and not yet answered.", float64(s.Outstanding))
	gauge("conclave_sessions", "Sessions of the ensemble.", float64(s.Sessions))
	if s.SessionStatesKnown {
		state := func(name string, n int) Sample {
			return Sample{Labels: []Label{{"state", name}}, Value: float64(n)}
		}
		emit(Family{"conclave_sessions_by_state", "Sessions of the ensemble by state, on the leader.", TypeGauge, []Sample{
			state("connected", s.SessionsConnected), state("connecting", s.SessionsConnecting), state("not_connected", s.SessionsNotConnected)}})
	}
	gauge("conclave_voters", "Members with a vote.", float64(s.Voters))
	gauge("conclave_learners", "Members without a vote.", float64(s.Learners))
	if s.Leader {
		gauge("conclave_synced_voters", "Voters in sync with this leader, itself not counted.", float64(s.SyncedVoters))
	}
}
