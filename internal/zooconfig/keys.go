package zooconfig

import (
	"math"
	"time"
)

// maxTick keeps 20 ticks, the default of maxSessionTimeout, within the int32
// milliseconds of the protocol.
const maxTick = math.MaxInt32 / 20

// maxMillis is the longest time.Duration in milliseconds.
const maxMillis = math.MaxInt64 / int64(time.Millisecond)

// java says where ZooKeeper looks for a key, and so who wins if it is given in
// the file and as a -D flag.
type java int

const (
	// fileOnly: read from the file; no system property.
	fileOnly java = iota
	// prefixed: the system property zookeeper.NAME, which ZooKeeper overwrites
	// with the value of the file.
	prefixed
	// bare: the system property NAME itself, which nothing in ZooKeeper's file
	// reaches. Conclave takes it from the file too; a -D flag wins, since it is
	// what ZooKeeper goes by.
	bare
	// own: a key of Conclave's. In the file and as a -D flag it has the same
	// name, and the file wins.
	own
)

// setting is one key that Conclave uses.
type setting struct {
	name string
	java java
	// alias is a second name in the file.
	alias string
	// property is a second system property, beside the one that java names.
	property string
	// def is read like a value of the file. Empty: nothing is set.
	def string
	// secret values do not appear in messages.
	secret bool
	kind
	doc string
}

// settings is the table of all keys that have an effect. To add a key, add a
// line here and a field to Config.
var settings = []setting{
	{name: "dataDir", kind: path(func(d *draft) *string { return &d.DataDir }),
		doc: "Directory of the snapshots and of the myid file. Required."},
	{name: "dataLogDir", kind: path(func(d *draft) *string { return &d.DataLogDir }),
		doc: "Directory of the log. Default: dataDir."},
	{name: "datadir.autocreate", java: prefixed, def: "true", kind: boolean(func(d *draft) *bool { return &d.DataDirAutocreate }),
		doc: "Whether missing data directories are made. With false the server refuses to start instead."},

	{name: "clientPort", kind: port(0, func(d *draft) *int { return &d.clientPort }),
		doc: "Port for clients; 0 means not set. It may stand in this server's server line instead; if both are given, they must agree."},
	{name: "clientPortAddress", kind: hostKind(func(d *draft) *string { return &d.clientPortAddress }),
		doc: "Address on which clients are served. Default: all addresses, IPv4 and IPv6."},
	{name: "maxClientCnxns", def: "60", kind: limit("number", math.MaxInt32, func(d *draft, n int64) { d.MaxClientCnxns = int(n) }),
		doc: "Most connections from one IP address."},
	{name: "maxCnxns", java: prefixed, def: "0", kind: limit("number", math.MaxInt32, func(d *draft, n int64) { d.MaxCnxns = int(n) }),
		doc: "Most connections of all clients together."},
	{name: "jute.maxbuffer", java: bare, def: "1048575", kind: bytes(1024, math.MaxInt32, func(d *draft) *int { return &d.MaxBuffer }),
		doc: "Largest request, and so the largest node. Clients have the same limit and must be changed along with it."},
	{name: "globalOutstandingLimit", java: prefixed, def: "20000", kind: whole(1, math.MaxInt32, func(d *draft) *int { return &d.GlobalOutstandingLimit }),
		doc: "Most unanswered requests of all clients together, beyond which the server stops reading from those that have any. (ZooKeeper's default is 1000; batches here gain from more.)"},

	{name: "tickTime", def: "3000", kind: millis(1, maxTick, func(d *draft) *time.Duration { return &d.TickTime }),
		doc: "The unit in which other times are given."},
	{name: "minSessionTimeout", def: "-1", kind: timeout(func(d *draft) *int { return &d.minTimeoutMs }),
		doc: "Shortest session timeout that a client gets. Default: 2 ticks."},
	{name: "maxSessionTimeout", def: "-1", kind: timeout(func(d *draft) *int { return &d.maxTimeoutMs }),
		doc: "Longest session timeout that a client gets. Default: 20 ticks."},
	{name: "initLimit", def: "10", kind: ticks(func(d *draft) *int { return &d.initTicks }),
		doc: "Time for a member to connect and catch up. ZooKeeper demands it; here it has a default."},
	{name: "syncLimit", def: "5", kind: ticks(func(d *draft) *int { return &d.syncTicks }),
		doc: "Time for which a member may be silent. ZooKeeper demands it; here it has a default."},

	{name: "snapCount", java: prefixed, def: "100000", kind: atLeast(2, func(d *draft) *int { return &d.SnapCount }),
		doc: "Transactions between two snapshots."},
	{name: "snapSizeLimitInKb", java: prefixed, def: "4194304", kind: limit("KiB", math.MaxInt64>>10, func(d *draft, n int64) { d.SnapSizeLimit = n << 10 }),
		doc: "Size of the log between two snapshots, if it comes before snapCount."},
	{name: "autopurge.snapRetainCount", def: "3", kind: atLeast(3, func(d *draft) *int { return &d.SnapRetainCount }),
		doc: "Snapshots that a purge keeps."},
	{name: "autopurge.purgeInterval", def: "0", kind: between("hours", math.MinInt32, 1_000_000, func(d *draft, n int64) { d.PurgeInterval = time.Duration(max(n, 0)) * time.Hour }),
		doc: "Time between purges of old snapshots and logs; 0 or less turns them off."},
	{name: "fsync.warningthresholdms", java: prefixed, property: "fsync.warningthresholdms", def: "1000", kind: millis(0, math.MaxInt32, func(d *draft) *time.Duration { return &d.FsyncWarning }),
		doc: "Duration from which on a sync of the log is warned about."},

	{name: "dynamicConfigFile", kind: path(func(d *draft) *string { return &d.dynamicFile }),
		doc: "File with the server lines. If its name ends in a dot and a hexadecimal number, that is the version of the list. A relative path starts from the working directory, as in ZooKeeper."},
	{name: "peerType", def: "participant", kind: oneOf(func(d *draft) *string { return &d.peerType }, "participant", "observer"),
		doc: "Whether this server votes. The server line decides; a contradiction is warned about."},
	{name: "standaloneEnabled", def: "true", kind: boolean(func(d *draft) *bool { return &d.standaloneEnabled }),
		doc: "Whether a single server line makes a standalone server. With false it makes an ensemble of one that can grow."},
	{name: "reconfigEnabled", def: "false", kind: boolean(func(d *draft) *bool { return &d.ReconfigEnabled }),
		doc: "Whether clients may change the membership."},
	{name: "quorumListenOnAllIPs", def: "false", kind: boolean(func(d *draft) *bool { return &d.quorumListenOnAllIPs }),
		doc: "Whether to listen for the other members on all addresses instead of the one in the server line."},

	{name: "4lw.commands.whitelist", java: prefixed, def: "srvr", kind: whitelist(),
		doc: "Commands that are answered on the client port. srvr always is."},
	{name: "admin.enableServer", java: prefixed, def: "true", kind: boolean(func(d *draft) *bool { return &d.AdminServer.Enabled }),
		doc: "Whether the HTTP server for commands runs. If the server is started by --data-dir, the default is false."},
	{name: "admin.serverAddress", java: prefixed, def: "0.0.0.0", kind: hostKind(func(d *draft) *string { return &d.AdminServer.Host }),
		doc: "Address of the HTTP server for commands."},
	{name: "admin.serverPort", java: prefixed, def: "8080", kind: port(0, func(d *draft) *int { return &d.AdminServer.Port }),
		doc: "Port of the HTTP server for commands; 0 means any free one."},
	{name: "admin.commandURL", java: prefixed, def: "/commands", kind: commandURL(func(d *draft) *string { return &d.AdminServer.CommandURL }),
		doc: "Path under which the commands are found."},
	{name: "admin.idleTimeout", java: prefixed, def: "30000", kind: limit("milliseconds", math.MaxInt32, func(d *draft, n int64) { d.AdminServer.IdleTimeout = time.Duration(n) * time.Millisecond }),
		doc: "Time after which an idle connection of the HTTP server is closed."},
	{name: "metricsProvider.className", def: "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider", kind: text("class", "PrometheusMetricsProvider, DefaultMetricsProvider or NullMetricsProvider with ZooKeeper's package names", func(d *draft) *string { return &d.metricsClass }),
		doc: "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider turns the exporter for Prometheus on."},
	{name: "metricsProvider.httpHost", def: "0.0.0.0", kind: hostKind(func(d *draft) *string { return &d.Metrics.Host }),
		doc: "Address of the exporter for Prometheus."},
	{name: "metricsProvider.httpPort", def: "7000", kind: port(0, func(d *draft) *int { return &d.Metrics.Port }),
		doc: "Port of the exporter for Prometheus; 0 means any free one."},
	{name: "metricsProvider.exportJvmInfo", def: "true", kind: boolean(func(d *draft) *bool { return &d.Metrics.Runtime }),
		doc: "Whether the exporter adds metrics of the runtime and the process."},

	{name: "DigestAuthenticationProvider.superDigest", java: prefixed, alias: "superDigest", secret: true, kind: text("digest", "user:digest, the digest in base64 and of digestAlg's length, e.g. super:D/InIHSb7yEEbrWz8b9l71RjZJU=", func(d *draft) *string { return &d.SuperDigest }),
		doc: "The user whom no ACL binds. Default: none."},
	{name: "DigestAuthenticationProvider.digestAlg", java: prefixed, def: "SHA1", kind: digestAlg(func(d *draft) *string { return &d.DigestAlg }),
		doc: "Hash of the digest scheme. It must be the same on all servers."},
	{name: "skipACL", java: prefixed, def: "no", kind: yesNo(func(d *draft) *bool { return &d.SkipACL }),
		doc: "Turns the checks of access rights off: everybody may do everything."},
	{name: "enforceQuota", java: prefixed, def: "false", kind: boolean(func(d *draft) *bool { return &d.EnforceQuota }),
		doc: "Whether hard quotas refuse writes."},
	{name: "extendedTypesEnabled", java: prefixed, def: "false", kind: boolean(func(d *draft) *bool { return &d.ExtendedTypesEnabled }),
		doc: "Whether nodes with a time to live may be created."},

	{name: "znode.container.checkIntervalMs", java: bare, def: "60000", kind: millis(1, math.MaxInt32, func(d *draft) *time.Duration { return &d.Container.CheckInterval }),
		doc: "Time between two searches for empty containers and expired nodes."},
	{name: "znode.container.maxPerMinute", java: bare, def: "10000", kind: whole(1, math.MaxInt32, func(d *draft) *int { return &d.Container.MaxPerMinute }),
		doc: "Most containers and expired nodes that are removed in a minute."},
	{name: "znode.container.maxNeverUsedIntervalMs", java: bare, def: "0", kind: limit("milliseconds", maxMillis, func(d *draft, n int64) { d.Container.MaxNeverUsed = time.Duration(n) * time.Millisecond }),
		doc: "Time for which a container that never had a child is kept."},

	{name: "conclave.adminAddress", java: own, kind: listenAddress(func(d *draft) *string { return &d.AdminAddress }),
		doc: "Address of the gRPC admin API. Default: not served over TCP."},
	{name: "conclave.healthAddress", java: own, kind: listenAddress(func(d *draft) *string { return &d.HealthAddress }),
		doc: "Address of a gRPC health service of its own, without TLS, for probes that can't do it. Default: none; the admin API serves health too."},
	{name: "conclave.tls.dir", java: own, kind: path(func(d *draft) *string { return &d.TLS.Dir }),
		doc: "Directory with ca.crt, tls.crt and tls.key: the admin API's address and the peer port then speak mutual TLS. The files are read again when they change. Default: no TLS."},
	{name: "conclave.tls.serverName", java: own, kind: hostKind(func(d *draft) *string { return &d.TLS.ServerName }),
		doc: "DNS name that every member's certificate has, and by which members know each other, whatever their addresses. Needed with conclave.tls.dir."},
	{name: "conclave.peerAddress", java: own, kind: listenAddress(func(d *draft) *string { return &d.peerAddress }),
		doc: "Address on which to listen for the other members. Default: host and first port of this server's server line, or that port on all addresses with quorumListenOnAllIPs."},
	{name: "conclave.heartbeatMs", java: own, def: "50", kind: millis(5, 5000, func(d *draft) *time.Duration { return &d.Heartbeat }),
		doc: "Time between the leader's heartbeats."},
	{name: "conclave.electionMs", java: own, kind: whole(25, 600_000, func(d *draft) *int { return &d.electionMs }),
		doc: "Silence of the leader, in milliseconds, after which the members elect another; at least 5 heartbeats. Default: 500, or 10 heartbeats if that is longer."},
	{name: "conclave.leaveMs", java: own, def: "0", kind: millis(0, 600_000, func(d *draft) *time.Duration { return &d.Leave }),
		doc: "Time for which a server that is told to stop (SIGTERM) goes on serving, until nobody sends it clients any more. It is over at once if the server is drained and its last client is gone."},
	{name: "conclave.maxUnsentBytes", java: own, def: "16777216", kind: bytes(64<<10, 1<<30, func(d *draft) *int { return &d.MaxUnsentBytes }),
		doc: "Most bytes in memory for one connection: replies and events that it has not taken, and requests that are not answered yet."},
	{name: "conclave.maxOutstandingPerSession", java: own, def: "1000", kind: whole(1, 1_000_000, func(d *draft) *int { return &d.MaxOutstandingPerSession }),
		doc: "Most unanswered requests of one session, beyond which the server stops reading from it."},
}
