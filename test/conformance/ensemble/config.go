package ensemble

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Ports on every member's own loopback address.
const (
	clientPort   = 2181
	peerPort     = 2888
	electionPort = 3888
	adminPort    = 8080
)

// What the tests may rely on.
const (
	// TickTime is short so that sessions can expire within a test.
	TickTime = 500 * time.Millisecond
	// MinSessionTimeout is not configured: it follows from TickTime.
	MinSessionTimeout = 2 * TickTime
	// MaxSessionTimeout is configured, for sessions that have to outlive the
	// restart of a whole ensemble.
	MaxSessionTimeout = time.Minute
	// SuperPassword is the password of the user "super".
	SuperPassword = "test"
)

const (
	containerCheckKey    = "znode.container.checkIntervalMs"
	containerCheckMillis = "300"
)

// settings are the lines of zoo.cfg that all members share.
var settings = []string{
	fmt.Sprintf("tickTime=%d", TickTime.Milliseconds()),
	// Generous for a machine that is doing many other things.
	"initLimit=40",
	"syncLimit=10",
	fmt.Sprintf("maxSessionTimeout=%d", MaxSessionTimeout.Milliseconds()),
	"maxClientCnxns=0",
	"4lw.commands.whitelist=*",
	"extendedTypesEnabled=true",
	"enforceQuota=true",
	fmt.Sprintf("admin.serverPort=%d", adminPort),
	"DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
	containerCheckKey + "=" + containerCheckMillis,
	// ZooKeeper preallocates 64 MB for every log file (the unit is KB).
	"preAllocSize=4096",
}

// writeConfig writes member id's zoo.cfg and myid below dir and returns the path
// of zoo.cfg. hosts are all members' addresses, member 1's first; extra are
// further lines.
func writeConfig(dir string, id int, hosts []string, extra ...string) (string, error) {
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return "", err
	}
	lines := append([]string{"dataDir=" + data, "admin.serverAddress=" + hosts[id-1]}, settings...)
	lines = append(lines, extra...)
	for i, host := range hosts {
		lines = append(lines, fmt.Sprintf("server.%d=%s:%d:%d:participant;%s:%d", i+1, host, peerPort, electionPort, host, clientPort))
	}
	if err := os.WriteFile(filepath.Join(data, "myid"), fmt.Appendf(nil, "%d\n", id), 0o644); err != nil {
		return "", err
	}
	cfg := filepath.Join(dir, "zoo.cfg")
	return cfg, os.WriteFile(cfg, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}
