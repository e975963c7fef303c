package zooconfig

import "strings"

// unusedKey is a key of ZooKeeper's that has no effect here. A name that ends
// in * stands for all keys that begin so.
type unusedKey struct {
	name string
	// property is a Java system property that does not begin with zookeeper.
	property string
	doc      string
}

// unusedKeys are named in the warnings with the reason, so that nobody relies
// on them.
var unusedKeys = []unusedKey{
	{name: "group.*", doc: "hierarchical quorums are not supported: every voter has one vote"},
	{name: "weight.*", doc: "hierarchical quorums are not supported: every voter has one vote"},
	{name: "oraclePath", doc: "there are no oracle quorums: a majority decides"},
	{name: "electionAlg", doc: "members are elected by Raft"},
	{name: "leaderServes", doc: "the leader serves clients as every member does"},
	{name: "syncEnabled", doc: "observers always write to disk"},
	{name: "observer.syncEnabled", doc: "observers always write to disk"},
	{name: "forceSync", doc: "the log is always synced before a write is acknowledged"},
	{name: "preAllocSize", doc: "the log manages its own files"},
	{name: "txnLogSizeLimitInKb", doc: "the log manages its own files"},
	{name: "snapshot.*", doc: "snapshots have a format of their own"},
	{name: "snapshotSizeFactor", doc: "a lagging member is caught up by Raft"},
	{name: "commitLogCount", doc: "a lagging member is caught up by Raft"},
	{name: "forceSnapshotSync", doc: "a lagging member is caught up by Raft"},
	{name: "serializeLastProcessedZxid.enabled", doc: "snapshots have a format of their own"},
	{name: "db.autocreate", doc: "an empty member never votes before it has caught up"},
	{name: "readonlymode.enabled", property: "readonlymode.enabled", doc: "there is no read-only mode: a member without a quorum serves nobody"},
	{name: "localSessionsEnabled", doc: "all sessions are global"},
	{name: "localSessionsUpgradingEnabled", doc: "all sessions are global"},
	{name: "clientPortListenBacklog", doc: "the kernel's limit (net.core.somaxconn) holds"},
	{name: "clientTcpKeepAlive", doc: "TCP keep-alive is always on"},
	{name: "tcpKeepAlive", doc: "TCP keep-alive is always on"},
	{name: "observerMasterPort", doc: "observers follow the leader"},
	{name: "observerMaster.*", doc: "observers follow the leader"},
	{name: "observer.*", doc: "observers follow the leader"},
	{name: "leader.*", doc: "replication is by Raft"},
	{name: "learner.*", doc: "replication is by Raft"},
	{name: "follower.*", doc: "replication is by Raft"},
	{name: "connectToLearnerMasterLimit", doc: "replication is by Raft"},
	{name: "leaderConnectDelayDuringRetryMs", doc: "replication is by Raft"},
	{name: "cnxTimeout", doc: "members are elected by Raft"},
	{name: "quorumCnxnTimeoutMs", doc: "members are elected by Raft"},
	{name: "electionPortBindRetry", doc: "members are elected by Raft"},
	{name: "fastleader.*", doc: "members are elected by Raft"},
	{name: "multiAddress.*", doc: "one address per server is used"},
	{name: "quorum.cnxn.threads.size", doc: "there are no such threads"},
	{name: "quorum.auth.*", doc: "members do not speak SASL"},
	{name: "nio.*", doc: "there are no such threads"},
	{name: "commitProcessor.*", doc: "there are no such threads"},
	{name: "commit_processor.*", doc: "there are no such threads"},
	{name: "netty.*", doc: "there is one network layer and it is not Netty"},
	{name: "serverCnxnFactory", doc: "there is one network layer"},
	{name: "clientCnxnSocket", doc: "a setting of clients"},
	{name: "client.*", doc: "a setting of clients"},
	{name: "sasl.*", doc: "SASL is not supported"},
	{name: "kerberos.*", doc: "SASL is not supported"},
	{name: "allowSaslFailedClients", doc: "SASL is not supported"},
	{name: "letAnySaslUserDoX", doc: "SASL is not supported"},
	{name: "jaasLoginRenew", doc: "SASL is not supported"},
	{name: "superUser*", doc: "SASL is not supported; superDigest names a user whom no ACL binds"},
	{name: "SASLAuthenticationProvider.*", doc: "SASL is not supported"},
	{name: "X509AuthenticationProvider.*", doc: "TLS is not supported"},
	{name: "enforce.auth.schemes", doc: "it matters only together with enforce.auth.enabled"},
	{name: "java.security.auth.login.config", property: "java.security.auth.login.config", doc: "SASL is not supported"},
	{name: "fips-mode", doc: "TLS is not supported"},
	{name: "audit.*", doc: "no audit log is written"},
	{name: "digest.enabled", doc: "members are compared in another way"},
	{name: "closeSessionTxn.enabled", doc: "the end of a session always names its nodes"},
	{name: "enableEagerACLCheck", doc: "access rights are checked when a write is applied"},
	{name: "emulate353TTLNodes", doc: "only the format of ZooKeeper 3.5.4 and later is known"},
	{name: "jute.maxbuffer.extrasize", doc: "nothing is added to a request"},
	{name: "jvm.pause.*", doc: "there is no Java machine"},
	{name: "jmx.*", doc: "there is no Java machine"},
	{name: "flushDelay", doc: "writes are grouped without a delay"},
	{name: "maxWriteQueuePollTime", doc: "writes are grouped without a delay"},
	{name: "maxBatchSize", doc: "writes are grouped without a delay"},
	{name: "connection_throttle_*", doc: "connections are bounded by maxCnxns and maxClientCnxns"},
	{name: "connectionMaxTokens", doc: "connections are bounded by maxCnxns and maxClientCnxns"},
	{name: "request_throttle*", doc: "requests are bounded by globalOutstandingLimit"},
	{name: "request_stale_*", doc: "requests are bounded by globalOutstandingLimit"},
	{name: "requestThrottle*", doc: "requests are bounded by globalOutstandingLimit"},
	{name: "throttled_op_wait_time", doc: "requests are bounded by globalOutstandingLimit"},
	{name: "largeRequest*", doc: "requests are bounded by globalOutstandingLimit and jute.maxbuffer"},
	{name: "intBufferStartingSizeBytes", doc: "buffers grow by themselves"},
	{name: "maxResponseCacheSize", doc: "there is no cache of responses"},
	{name: "maxGetChildrenResponseCacheSize", doc: "there is no cache of responses"},
	{name: "watchManagerName", doc: "there is one table of watches"},
	{name: "watcherClean*", doc: "there is one table of watches"},
	{name: "maxInProcessingDeadWatchers", doc: "there is one table of watches"},
	{name: "bitHashCacheSize", doc: "there is one table of watches"},
	{name: "pathStats.*", doc: "requests are not counted by path"},
	{name: "messageTracker.*", doc: "messages between members are not recorded"},
	{name: "admin.*", doc: "this HTTP server has no such setting"},
	{name: "metricsProvider.*", doc: "the exporter has no such setting"},
	{name: "log.*", doc: "logging is configured by command line flags"},
	{name: "root.logger", doc: "logging is configured by command line flags"},
	{name: "console.threshold", doc: "logging is configured by command line flags"},
}

// refusedKey is a key that asks for protection. harmless are the values, in
// lower case, with which it asks for none; warned those with which it offers
// what is not there, though nobody is let in who would not be let in with it,
// and why.
type refusedKey struct {
	name     string
	harmless []string
	warned   map[string]string
	doc      string
}

var off = []string{"", "false", "no"}

const (
	needTLS  = "Conclave does not speak TLS with clients yet"
	peerTLS  = "between members TLS is turned on by conclave.tls.dir and conclave.tls.serverName"
	needSASL = "Conclave does not speak SASL yet"
	needAuth = "Conclave does not demand authentication from clients yet"
)

// refusedKeys stop the server from starting: without them it would run with
// less protection than its administrator has asked for. (serverCnxnFactory is
// not here: Netty asks for nothing as long as none of these keys does.)
var refusedKeys = []refusedKey{
	{name: "secureClientPort", harmless: []string{"", "0"}, doc: needTLS},
	{name: "secureClientPortAddress", harmless: []string{""}, doc: needTLS},
	{name: "sslQuorum", harmless: off, doc: peerTLS},
	{name: "sslQuorumReloadCertFiles", harmless: off, doc: peerTLS},
	{name: "ssl.*", harmless: append([]string{"none"}, off...), doc: needTLS},
	{name: "portUnification", harmless: off, doc: needTLS},
	{name: "client.portUnification", harmless: off, doc: needTLS},
	{name: "admin.portUnification", harmless: off, doc: needTLS},
	{name: "admin.forceHttps", harmless: off, doc: needTLS},
	{name: "admin.needClientAuth", harmless: off, doc: needTLS},
	{name: "metricsProvider.ssl.*", harmless: append([]string{"none"}, off...), doc: needTLS},
	{name: "metricsProvider.httpsPort", harmless: []string{"", "0", "-1"}, doc: needTLS},
	{name: "quorum.auth.enableSasl", harmless: off, doc: needSASL},
	{name: "quorum.auth.learnerRequireSasl", harmless: off, doc: needSASL},
	{name: "quorum.auth.serverRequireSasl", harmless: off, doc: needSASL},
	{name: "authProvider*", harmless: []string{"",
		"org.apache.zookeeper.server.auth.digestauthenticationprovider",
		"org.apache.zookeeper.server.auth.ipauthenticationprovider"},
		warned: map[string]string{
			"org.apache.zookeeper.server.auth.saslauthenticationprovider": "Conclave does not speak SASL yet: clients come in without it, and the scheme sasl is refused in ACLs",
			"org.apache.zookeeper.server.auth.x509authenticationprovider": "Conclave does not speak TLS with clients yet: the scheme x509 is refused in ACLs",
		},
		doc: "Conclave knows the schemes world, auth, digest and ip only"},
	{name: "requireClientAuthScheme*", harmless: []string{"", "none"}, doc: needAuth},
	{name: "sessionRequireClientSASLAuth", harmless: off, doc: needAuth},
	{name: "enforce.auth.enabled", harmless: off, doc: needAuth},
	{name: "ensembleAuthName", harmless: []string{""}, doc: "Conclave does not know the scheme ensemble yet"},
	{name: "DigestAuthenticationProvider.enabled", harmless: []string{"true"}, doc: "Conclave cannot turn the digest scheme off"},
}

// matches reports whether key is meant by name, which may end in *.
func matches(name, key string) bool {
	if prefix, ok := strings.CutSuffix(name, "*"); ok {
		return strings.HasPrefix(key, prefix)
	}
	return name == key
}

func findRefused(key string) (refusedKey, bool) {
	for _, r := range refusedKeys {
		if matches(r.name, key) {
			return r, true
		}
	}
	return refusedKey{}, false
}

// findUnused prefers the row that names the key exactly.
func findUnused(key string) (unusedKey, bool) {
	for _, u := range unusedKeys {
		if u.name == key {
			return u, true
		}
	}
	for _, u := range unusedKeys {
		if matches(u.name, key) {
			return u, true
		}
	}
	return unusedKey{}, false
}
