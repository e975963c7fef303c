package zooconfig

import (
	"net"
	"slices"
	"strconv"
	"time"
)

// Config is a complete, checked configuration of one server. Unless a field
// says otherwise, a Config made by Parse, Load or FromFlags has every field
// set, by the file, by a system property or by the default in Keys.
//
// Hosts are names or IP literals without brackets. The wildcard addresses
// 0.0.0.0 and :: are stored as "": Java listens on IPv4 and IPv6 when it is
// given either, and so does Go for an empty host only.
type Config struct {
	// DataDir holds snapshots and the myid file. Never empty.
	DataDir string
	// DataLogDir holds the log; DataDir unless dataLogDir says otherwise.
	DataLogDir string
	// DataDirAutocreate allows missing data directories to be made. Load
	// refuses missing directories when it is false.
	DataDirAutocreate bool

	// SnapCount is how many transactions are logged between snapshots; at
	// least 2, as in ZooKeeper.
	SnapCount int
	// SnapSizeLimit is how many bytes are logged between snapshots, whichever
	// of the two limits is met first; 0 means no limit.
	SnapSizeLimit int64
	// SnapRetainCount is how many snapshots a purge keeps; at least 3, as in
	// ZooKeeper.
	SnapRetainCount int
	// PurgeInterval is the time between purges of old snapshots and logs; 0
	// means that none are made.
	PurgeInterval time.Duration
	// FsyncWarning is the duration from which on a sync of the log is worth a
	// warning.
	FsyncWarning time.Duration

	// ClientHost and ClientPort are where clients are served. The port is 0
	// only if FromFlags was given port 0: any free port.
	ClientHost string
	ClientPort int
	// MaxClientCnxns bounds the connections from one IP address; 0 means no
	// limit.
	MaxClientCnxns int
	// MaxCnxns bounds the connections of all clients together; 0 means no
	// limit.
	MaxCnxns int
	// MaxBuffer is the largest request in bytes, and so the largest node. A
	// larger request closes its connection.
	MaxBuffer int
	// GlobalOutstandingLimit bounds the requests that are received and not yet
	// answered, over all connections.
	GlobalOutstandingLimit int

	// TickTime is ZooKeeper's unit of time. At most MaxInt32 ms / 20, so that
	// 20 of them fit into the protocol's timeout.
	TickTime time.Duration
	// MinSessionTimeout and MaxSessionTimeout bound what clients negotiate.
	// Min <= Max.
	MinSessionTimeout time.Duration
	MaxSessionTimeout time.Duration
	// InitLimit is how long a member may take to connect and catch up.
	InitLimit time.Duration
	// SyncLimit is how long a member may stay silent towards the leader.
	SyncLimit time.Duration

	// FourLetterWords are the commands answered on the client port, sorted.
	// srvr is always among them, as in ZooKeeper: its scripts depend on it.
	FourLetterWords []string
	// AllFourLetterWords is true if the whitelist was *.
	AllFourLetterWords bool

	// AdminServer is ZooKeeper's HTTP server for commands.
	AdminServer AdminServer
	// Metrics is the exporter for Prometheus.
	Metrics Metrics

	// SuperDigest is user:base64(hash(user:password)) of the user whom no ACL
	// binds, or empty. The hash has the length of DigestAlg's. Secret.
	SuperDigest string
	// DigestAlg is the hash of the digest scheme: SHA1, SHA-224, SHA-256,
	// SHA-384, SHA-512, SHA3-224, SHA3-256, SHA3-384 or SHA3-512.
	DigestAlg string
	// SkipACL turns all checks of access rights off.
	SkipACL bool
	// EnforceQuota makes hard quotas refuse writes.
	EnforceQuota bool
	// ExtendedTypesEnabled allows nodes with a time to live.
	ExtendedTypesEnabled bool
	// ReconfigEnabled allows clients to change the membership.
	ReconfigEnabled bool

	// Container rules the removal of empty containers and expired nodes.
	Container Container

	// Servers are the members that the configuration names, ordered by ID, no
	// ID and no address twice. Empty or one server if Standalone.
	Servers []Server
	// ConfigVersion is the version of the list of servers, 0 if none is given.
	ConfigVersion uint64
	// MyID is this server's number, 0 to 255. If there are Servers and the
	// server is not Standalone, one of them has it. Without a myid file it is
	// the number of the only server line, or 1.
	MyID int
	// Observer is true if this server does not vote. It follows the server
	// line, not peerType (as ZooKeeper does).
	Observer bool
	// Standalone is true for an ensemble of one that needs no peers: no voter
	// or one, and standaloneEnabled not turned off.
	Standalone bool
	// StandaloneEnabled is what decides about that; with it, clients can't
	// reconfigure an ensemble to less than two voters.
	StandaloneEnabled bool
	// PeerAddress is host:port where the other members reach this one, to be
	// listened on; empty if Standalone.
	PeerAddress string

	// AdminAddress is host:port of the gRPC admin API; empty if it is not
	// served over TCP.
	AdminAddress string
	// HealthAddress is host:port of the health service that has an address of its
	// own; empty if there is none.
	HealthAddress string
	// TLS is for the admin API's address and the peer port.
	TLS TLS
	// Heartbeat is the time between the leader's heartbeats.
	Heartbeat time.Duration
	// Election is the silence of the leader after which a member stands for
	// election. At least five heartbeats.
	Election time.Duration
	// Leave is how long a server that is told to stop goes on serving, unless it is
	// drained.
	Leave time.Duration
	// MaxUnsentBytes bounds the replies and events that wait in memory for one
	// connection to take them.
	MaxUnsentBytes int
	// MaxOutstandingPerSession bounds the unanswered requests of one session.
	MaxOutstandingPerSession int
}

// AdminServer is the HTTP server for commands such as /commands/stat.
type AdminServer struct {
	Enabled bool
	Host    string
	// Port 0 means any free port.
	Port int
	// CommandURL is the path under which the commands are found. It begins
	// with a slash and does not end with one.
	CommandURL string
	// IdleTimeout closes connections on which nothing happens; 0 means never.
	IdleTimeout time.Duration
}

// TLS is what members show each other and the operator.
type TLS struct {
	// Dir holds ca.crt, tls.crt and tls.key; empty for no TLS. Whether they are
	// there is not asked.
	Dir string
	// ServerName is in every member's certificate. Set if Dir is.
	ServerName string
}

// Metrics is the HTTP server for Prometheus.
type Metrics struct {
	Enabled bool
	Host    string
	// Port 0 means any free port.
	Port int
	// Runtime adds metrics of the Go runtime and the process
	// (exportJvmInfo).
	Runtime bool
}

// Container rules the removal of container and TTL nodes.
type Container struct {
	CheckInterval time.Duration
	MaxPerMinute  int
	// MaxNeverUsed is how long a container that never had a child is kept; 0
	// means for ever.
	MaxNeverUsed time.Duration
}

// ClientAddress is host:port for net.Listen.
func (c *Config) ClientAddress() string { return address(c.ClientHost, c.ClientPort) }

// Address is host:port for net.Listen.
func (a AdminServer) Address() string { return address(a.Host, a.Port) }

// Address is host:port for net.Listen.
func (m Metrics) Address() string { return address(m.Host, m.Port) }

func address(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// FourLetterWordAllowed reports whether the whitelist has word.
func (c *Config) FourLetterWordAllowed(word string) bool {
	return c.AllFourLetterWords || slices.Contains(c.FourLetterWords, word)
}

// Self returns the server line of this server. There is none if the
// configuration names no servers, and there may be none if Standalone.
func (c *Config) Self() (Server, bool) {
	for _, s := range c.Servers {
		if s.ID == c.MyID {
			return s, true
		}
	}
	return Server{}, false
}

// Voters counts the servers that vote.
func (c *Config) Voters() int {
	n := 0
	for _, s := range c.Servers {
		if !s.Observer {
			n++
		}
	}
	return n
}
