package metrics

import "math"

// Type is the kind of a metric family, as Prometheus' text format names it.
type Type string

// The types of families.
const (
	TypeCounter   Type = "counter"
	TypeGauge     Type = "gauge"
	TypeHistogram Type = "histogram"
	TypeSummary   Type = "summary"
)

// Family is all samples of one name.
type Family struct {
	Name, Help string
	Type       Type
	Samples    []Sample
}

// Sample is one line of a family. Its name is the family's, followed by
// Suffix.
type Sample struct {
	Suffix string // "", "_bucket", "_sum" or "_count"
	Labels []Label
	Value  float64
}

// Label is a name and a value. Values must come from a bounded set.
type Label struct{ Name, Value string }

// Collector calls emit for every family that it has. No two collectors may
// have a family of the same name.
type Collector func(emit func(Family))

// Collect calls emit for every family of the member, each with a name of its
// own, and then for those of the collectors that were added.
func (m *Metrics) Collect(emit func(Family)) {
	m.collectRequests(emit)
	m.collectDisks(emit)
	for _, h := range m.histograms() {
		emit(Family{h.name, h.help, TypeHistogram, h.cell.samples(nil, h.unit, h.bounds)})
	}
	for _, c := range m.counters() {
		f := Family{Name: c.name, Help: c.help, Type: TypeCounter}
		for i := range c.counters {
			var labels []Label
			if c.values != nil {
				labels = []Label{{c.label, c.values[i]}}
			}
			f.Samples = append(f.Samples, Sample{Labels: labels, Value: float64(c.counters[i].Total())})
		}
		emit(f)
	}
	gauge := func(name, help string, v float64) {
		emit(Family{Name: name, Help: help, Type: TypeGauge, Samples: []Sample{{Value: v}}})
	}
	gauge("conclave_snapshot_size_bytes", "Size of the newest snapshot on disk.", float64(m.SnapshotBytes.Value()))
	if f := m.state.Load(); f != nil {
		collectState((*f)(), emit)
	}
	m.mu.Lock()
	collectors := m.collectors
	m.mu.Unlock()
	for _, c := range collectors {
		c(emit)
	}
}

func (m *Metrics) collectRequests(emit func(Family)) {
	f := Family{Name: "conclave_request_duration_seconds", Type: TypeHistogram,
		Help: "Time from a client request's arrival to its reply, by operation."}
	for op := range m.requests {
		label := []Label{{"op", opNames[op]}}
		f.Samples = append(f.Samples, m.requests[op].cell.samples(label, nanosecond, coarse)...)
	}
	emit(f)
}

// diskNames are those of storage.Disk.
var diskNames = [...]string{"log", "data"}

func (m *Metrics) collectDisks(emit func(Family)) {
	stalls := Family{Name: "conclave_disk_stall_duration_seconds", Type: TypeHistogram,
		Help: "Times for which a disk did not answer, by disk, once it has."}
	stalled := Family{Name: "conclave_disk_stalled_seconds", Type: TypeGauge,
		Help: "How long a disk has not answered now, by disk; 0 if it does."}
	for i, name := range diskNames {
		label := []Label{{"disk", name}}
		stalls.Samples = append(stalls.Samples, m.DiskStalls[i].cell.samples(label, nanosecond, long)...)
		stalled.Samples = append(stalled.Samples, Sample{Labels: label, Value: float64(m.DiskStalled[i].Value()) * nanosecond})
	}
	emit(stalls)
	emit(stalled)
}

// namedCell is a histogram and how it is shown.
type namedCell struct {
	name, help string
	cell       *cell
	unit       float64 // what a unit of the cell counts for in the unit of name
	bounds     bounds
}

const (
	nanosecond = 1e-9
	oneThing   = 1.0 / distributionUnit
)

// bounds are the powers of two, as exponents of the cell's unit, at which a
// histogram's buckets are shown: Prometheus gets fewer than there are.
type bounds struct{ first, last, step int }

var (
	// fine goes from 16 microseconds to 17 seconds by factors of 2; coarse, for
	// what has one set of buckets per operation, by factors of 4.
	fine   = bounds{14, 34, 1}
	coarse = bounds{14, 34, 2}
	// long goes from half a second to more than a minute.
	long = bounds{29, 36, 1}
	// numbers goes from 1 to 4096 things.
	numbers = bounds{10, 22, 1}
)

func (m *Metrics) histograms() []namedCell {
	return []namedCell{
		{"conclave_proposal_duration_seconds", "Time from handing a write to the replica to its result, on the member whose client sent it.", &m.Proposal.cell, nanosecond, fine},
		{"conclave_commit_duration_seconds", "Time from proposing a log entry to its commit, on the leader.", &m.Commit.cell, nanosecond, fine},
		{"conclave_apply_duration_seconds", "Time to apply one committed log entry.", &m.Apply.cell, nanosecond, fine},
		{"conclave_log_fsync_duration_seconds", "Time of one sync of the log to disk.", &m.Fsync.cell, nanosecond, fine},
		{"conclave_log_batch_entries", "Log entries made durable by one sync.", &m.LogBatch.cell, oneThing, numbers},
		{"conclave_snapshot_write_duration_seconds", "Time to write one snapshot to disk.", &m.SnapshotWrite.cell, nanosecond, fine},
		{"conclave_recovery_duration_seconds", "Time to load the newest snapshot and the log behind it at the start.", &m.Recovery.cell, nanosecond, fine},
		{"conclave_election_duration_seconds", "Time without a leader.", &m.Election.cell, nanosecond, fine},
		{"conclave_process_pause_duration_seconds", "Times for which the whole process stood still.", &m.Pauses.cell, nanosecond, long},
	}
}

// namedCounters are one counter, or one for each of values, and how they are
// shown.
type namedCounters struct {
	name, help string
	counters   []*Counter
	label      string
	values     []string // nil if there is one counter
}

func (m *Metrics) counters() []namedCounters {
	one := func(name, help string, c *Counter) namedCounters {
		return namedCounters{name: name, help: help, counters: []*Counter{c}}
	}
	return []namedCounters{
		one("conclave_log_appended_bytes_total", "Bytes written to the log.", &m.LogAppendedBytes),
		one("conclave_snapshots_sent_total", "Snapshots streamed to lagging members.", &m.SnapshotsSent),
		one("conclave_snapshots_received_total", "Snapshots received from a leader.", &m.SnapshotsReceived),
		one("conclave_transactions_proposed_total", "Client writes proposed by this member as the leader.", &m.TransactionsProposed),
		one("conclave_transactions_applied_total", "Client writes applied by this member.", &m.TransactionsApplied),
		one("conclave_elections_total", "Times that this member had no leader and looked for one.", &m.Elections),
		one("conclave_leader_changes_total", "Times that this member saw a new leader.", &m.LeaderChanges),
		one("conclave_packets_received_total", "Packets received from clients.", &m.PacketsReceived),
		one("conclave_packets_sent_total", "Packets sent to clients.", &m.PacketsSent),
		one("conclave_received_bytes_total", "Bytes received from clients.", &m.BytesReceived),
		one("conclave_sent_bytes_total", "Bytes sent to clients.", &m.BytesSent),
		one("conclave_watch_events_total", "Watch events queued to clients.", &m.WatchEvents),
		one("conclave_connections_accepted_total", "Client connections accepted.", &m.ConnectionsAccepted),
		{"conclave_connections_refused_total", "Client connections turned away before they had a session, by reason.", pointers(m.ConnectionsRefused[:]), "reason", refusalNames[:]},
		{"conclave_connections_closed_total", "Client connections with a session that ended, by reason.", pointers(m.ConnectionsClosed[:]), "reason", closureNames[:]},
		one("conclave_handshakes_queued_total", "Clients that had to wait for others before their handshake entered the log.", &m.HandshakesQueued),
		one("conclave_sessions_created_total", "Sessions created through this member.", &m.SessionsCreated),
		one("conclave_sessions_attached_total", "Sessions taken up again through this member after a connection was lost.", &m.SessionsAttached),
		one("conclave_sessions_closed_total", "Sessions closed by their clients through this member.", &m.SessionsClosed),
		one("conclave_sessions_expired_total", "Sessions that this member, as the leader, expired.", &m.SessionsExpired),
		one("conclave_auth_failures_total", "Failed authentications.", &m.AuthFailures),
		one("conclave_quota_exceeded_total", "Writes refused by a hard quota.", &m.QuotaExceeded),
		one("conclave_large_requests_refused_total", "Requests refused because they were larger than jute.maxbuffer.", &m.LargeRequests),
		one("conclave_throttled_reads_total", "Times that a connection was not read from because too much was outstanding.", &m.ThrottledReads),
		one("conclave_disk_failures_total", "Failed reads, writes and syncs of log and snapshots.", &m.DiskFailures),
		one("conclave_digest_mismatches_total", "Digests of the tree that differed from another member's.", &m.DigestMismatches),
	}
}

func pointers(cs []Counter) []*Counter {
	out := make([]*Counter, len(cs))
	for i := range cs {
		out[i] = &cs[i]
	}
	return out
}

// samples returns the lines of a histogram, with labels on each.
func (c *cell) samples(labels []Label, unit float64, b bounds) []Sample {
	var now counts
	c.read(&now)
	with := func(le float64) []Label {
		return append(append(make([]Label, 0, len(labels)+1), labels...), Label{"le", formatFloat(le)})
	}
	out := make([]Sample, 0, (b.last-b.first)/b.step+4)
	total, i := uint64(0), 0
	for exp := b.first; exp <= b.last; exp += b.step {
		for ; i < numBuckets && upperBound(i) <= 1<<exp; i++ {
			total += now.buckets[i]
		}
		out = append(out, Sample{"_bucket", with(float64(uint64(1)<<exp) * unit), float64(total)})
	}
	for ; i < numBuckets; i++ {
		total += now.buckets[i]
	}
	return append(out, Sample{"_bucket", with(math.Inf(1)), float64(total)},
		Sample{"_sum", labels, float64(now.sum) * unit}, Sample{"_count", labels, float64(total)})
}
