package admin

import (
	"math"
	"strconv"
	"strings"

	"github.com/conclave-dev/conclave/internal/metrics"
)

// figure is one thing that mntr, /commands/monitor and Prometheus tell under
// ZooKeeper's name for it.
type figure struct {
	name string
	kind figureKind
	// text is set for a figure that is no number.
	text string
	// value is the number, for a counter since the last reset; whole tells an
	// integer. total is a counter's value since the process began.
	value, total float64
	whole        bool
	// summary is set for a summary, in milliseconds or things.
	summary *metrics.Summary
	help    string
}

type figureKind uint8

const (
	text figureKind = iota
	gauge
	counter
	basicSummary    // without quantiles
	advancedSummary // with quantiles
)

// figures returns everything that is known of the member. What is not known,
// or means nothing here, is not among them. The version comes first and the
// server's state second: there are parsers that count on it.
func (s *Surface) figures() []figure {
	st, peers, m := s.Source.Status(), s.Source.Peers(), s.Metrics
	var fs []figure
	word := func(name, v string) { fs = append(fs, figure{name: name, text: v}) }
	whole := func(name, help string, v int64) {
		fs = append(fs, figure{name: name, kind: gauge, value: float64(v), whole: true, help: help})
	}
	count := func(name, help string, cs ...*metrics.Counter) {
		f := figure{name: name, kind: counter, whole: true, help: help}
		for _, c := range cs {
			f.value += float64(c.SinceReset())
			f.total += float64(c.Total())
		}
		fs = append(fs, f)
	}
	summary := func(name, help string, kind figureKind, sum metrics.Summary) {
		fs = append(fs, figure{name: name, kind: kind, summary: &sum, help: help})
	}

	word("version", s.Version.String())
	word("server_state", st.Role.String())
	if st.inEnsemble() {
		word("peer_state", peerState(&st))
	}

	latency := m.Latency()
	whole("min_latency", "Least request latency in ms.", millis(latency.Min))
	fs = append(fs, figure{name: "avg_latency", kind: gauge, value: round4(latency.Avg / 1e6), help: "Mean request latency in ms."})
	whole("max_latency", "Largest request latency in ms.", millis(latency.Max))
	whole("packets_received", "Packets received from clients.", int64(m.PacketsReceived.SinceReset()))
	whole("packets_sent", "Packets sent to clients.", int64(m.PacketsSent.SinceReset()))
	whole("num_alive_connections", "Open client connections.", int64(st.Connections))
	whole("outstanding_requests", "Requests received and not yet answered.", int64(st.Outstanding))
	whole("znode_count", "Nodes in the tree.", int64(st.Nodes))
	whole("watch_count", "Watches held here.", int64(st.Watches))
	whole("ephemerals_count", "Ephemeral nodes in the tree.", int64(st.Ephemerals))
	whole("approximate_data_size", "Length of all paths and data.", st.DataBytes)
	whole("global_sessions", "Sessions of the ensemble.", int64(st.Sessions.Total))
	whole("local_sessions", "Sessions known to this member only.", 0) // there is no such thing here
	open, limit := s.fileDescriptors()
	if open >= 0 {
		whole("open_file_descriptor_count", "Open file descriptors.", open)
	}
	if limit >= 0 {
		whole("max_file_descriptor_count", "Limit of open file descriptors.", limit)
	}
	whole("uptime", "Age of the process in ms.", s.since(st.Started))
	last, least, largest := m.ResponseSize.Read()
	whole("last_client_response_size", "Bytes of the last reply, -1 if there was none.", last)
	whole("min_client_response_size", "Bytes of the smallest reply, -1 if there was none.", least)
	whole("max_client_response_size", "Bytes of the largest reply, -1 if there was none.", largest)
	if st.inEnsemble() {
		whole("quorum_size", "Members with a vote.", int64(tally(peers).voters))
	}
	if st.Role == RoleLeader {
		t := tally(peers)
		whole("leader_uptime", "Time since this member became leader, in ms.", s.since(st.LeaderSince))
		whole("learners", "Other members that are connected to this leader.", int64(t.connected))
		whole("synced_followers", "Voters in sync with this leader.", int64(t.syncedVoters))
		whole("synced_observers", "Members without a vote in sync with this leader.", int64(t.syncedOthers))
		whole("pending_syncs", "Syncs that wait.", int64(st.PendingSyncs))
		last, least, largest := m.ProposalSize.Read()
		whole("last_proposal_size", "Bytes of the last proposal, -1 if there was none.", last)
		whole("min_proposal_size", "Bytes of the smallest proposal, -1 if there was none.", least)
		whole("max_proposal_size", "Bytes of the largest proposal, -1 if there was none.", largest)
	}

	count("auth_failed_count", "Failed authentications.", &m.AuthFailures)
	count("bytes_received_count", "Bytes received from clients.", &m.BytesReceived)
	count("response_bytes", "Bytes sent to clients.", &m.BytesSent)
	count("connection_rejected", "Connections refused because there were too many.",
		&m.ConnectionsRefused[metrics.RefusedTooMany], &m.ConnectionsRefused[metrics.RefusedTooManyFromHost])
	count("connection_revalidate_count", "Sessions taken up again.", &m.SessionsAttached)
	count("sessionless_connections_expired", "Connections closed because no session was asked for.",
		&m.ConnectionsRefused[metrics.RefusedSilent])
	count("stale_sessions_expired", "Sessions expired by this leader.", &m.SessionsExpired)
	count("large_requests_rejected", "Requests over jute.maxbuffer.", &m.LargeRequests)
	count("proposal_count", "Writes proposed by this leader.", &m.TransactionsProposed)
	count("looking_count", "Times without a leader.", &m.Elections)
	count("snap_count", "Snapshots sent to lagging members.", &m.SnapshotsSent)
	count("digest_mismatches_count", "Digests of the tree that differed.", &m.DigestMismatches)

	summary("fsynctime", "Time of a sync of the log, in ms.", basicSummary, inMillis(m.Fsync.Summary()))
	summary("snapshottime", "Time to write a snapshot, in ms.", basicSummary, inMillis(m.SnapshotWrite.Summary()))
	summary("dbinittime", "Time to load snapshot and log at the start, in ms.", basicSummary, inMillis(m.Recovery.Summary()))
	summary("election_time", "Time without a leader, in ms.", basicSummary, inMillis(m.Election.Summary()))
	summary("sync_processor_batch_size", "Entries in one sync of the log.", basicSummary, m.LogBatch.Summary())
	summary("readlatency", "Latency of reads, in ms.", advancedSummary, inMillis(m.ReadLatency()))
	summary("updatelatency", "Latency of writes, in ms.", advancedSummary, inMillis(m.UpdateLatency()))
	summary("proposal_latency", "Time from submitting a write to its result, in ms.", advancedSummary, inMillis(m.Proposal.Summary()))
	summary("quorum_ack_latency", "Time from proposal to commit, in ms.", advancedSummary, inMillis(m.Commit.Summary()))
	return fs
}

// line is one line of mntr without its prefix: a name, and the value as a
// number (int64 or float64) or as text.
type line struct {
	name  string
	value any
}

// lines spells a figure out as mntr does.
func (f *figure) lines() []line {
	switch {
	case f.kind == text:
		return []line{{f.name, f.text}}
	case f.summary == nil && f.whole:
		return []line{{f.name, int64(f.value)}}
	case f.summary == nil:
		return []line{{f.name, f.value}}
	}
	s := f.summary
	out := []line{{"avg_" + f.name, round4(s.Avg)}, {"min_" + f.name, int64(s.Min)}, {"max_" + f.name, int64(s.Max)},
		{"cnt_" + f.name, int64(s.Count)}, {"sum_" + f.name, int64(s.Sum)}}
	if f.kind == advancedSummary {
		out = append(out, line{"p50_" + f.name, int64(s.P50)}, line{"p95_" + f.name, int64(s.P95)},
			line{"p99_" + f.name, int64(s.P99)}, line{"p999_" + f.name, int64(s.P999)})
	}
	return out
}

// peerState is zk_peer_state: what the member is doing, and how far it is.
func peerState(st *Status) string {
	doing := map[Role]string{RoleLeader: "leading", RoleFollower: "following", RoleObserver: "observing"}[st.Role]
	if doing == "" {
		return "looking"
	}
	return doing + " - " + phase(st)
}

// phase names how far a member is as ZooKeeper's protocol does.
func phase(st *Status) string {
	switch {
	case st.Role == RoleLooking:
		return "election"
	case st.Serving && st.CaughtUp:
		return "broadcast"
	default:
		return "synchronization"
	}
}

// tallied is a count of peers; the one that answers counts as a voter only.
type tallied struct {
	voters, connected, syncedVoters, syncedOthers int
}

func tally(peers []Peer) (t tallied) {
	for _, p := range peers {
		if p.Voter {
			t.voters++
		}
		if p.Self {
			continue
		}
		if p.Connected {
			t.connected++
		}
		switch {
		case p.Synced && p.Voter:
			t.syncedVoters++
		case p.Synced:
			t.syncedOthers++
		}
	}
	return t
}

// inMillis turns a summary of nanoseconds into one of milliseconds.
func inMillis(s metrics.Summary) metrics.Summary {
	for _, v := range []*float64{&s.TotalSum, &s.Sum, &s.Min, &s.Avg, &s.Max, &s.P50, &s.P90, &s.P95, &s.P99, &s.P999} {
		*v /= 1e6
	}
	return s
}

func millis(ns float64) int64 { return int64(ns / 1e6) }

// round4 rounds to four decimals, as ZooKeeper shows averages.
func round4(v float64) float64 { return math.Round(v*1e4) / 1e4 }

// decimal writes a number that ZooKeeper keeps as a double, as Java does for
// the sizes that occur: always with a decimal.
func decimal(v float64) string {
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
