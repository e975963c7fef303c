package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Kind is which server an ensemble runs.
type Kind string

// The two that the bench knows.
const (
	Conclave  Kind = "conclave"
	ZooKeeper Kind = "zookeeper"
)

// Size is the number of members.
const Size = 3

const (
	clientPort   = 2181
	peerPort     = 2888
	electionPort = 3888
)

// Options are the same for all ensembles of a run.
type Options struct {
	// Dir is where every ensemble makes a directory of its own. It has to be on
	// the disk that is to be measured.
	Dir string
	// Binary is conclave-server.
	Binary string
	// JavaOptions are given to ZooKeeper's JVM. Debian gives none.
	JavaOptions []string
}

// settings are the lines of zoo.cfg that all members share. Whatever is not here
// has its default; that the log is synced before a write is acknowledged
// (forceSync) is one.
var settings = []string{
	"tickTime=2000",
	"initLimit=10",
	"syncLimit=5",
	"maxClientCnxns=0",
	"4lw.commands.whitelist=*",
	"admin.enableServer=false",
}

// config is the text of a member's zoo.cfg.
func config(data string, hosts []string) string {
	lines := append([]string{"dataDir=" + data}, settings...)
	for i, host := range hosts {
		lines = append(lines, fmt.Sprintf("server.%d=%s:%d:%d:participant;%s:%d", i+1, host, peerPort, electionPort, host, clientPort))
	}
	return strings.Join(lines, "\n") + "\n"
}

// writeConfig writes zoo.cfg and myid for member id.
func writeConfig(dir string, id int, hosts []string) error {
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(data, "myid"), fmt.Appendf(nil, "%d\n", id), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "zoo.cfg"), []byte(config(data, hosts)), 0o644)
}

// Where Debian's libzookeeper-java and libslf4j-java put them; the manifest of
// the first names the other jars that it needs.
const (
	zookeeperJar = "/usr/share/java/zookeeper.jar"
	slf4jSimple  = "/usr/share/java/slf4j-simple.jar"
)

// command returns the program and arguments that start a member with the
// configuration in dir. Either server logs warnings only: what is compared is not
// how fast they log.
func (o Options) command(kind Kind, dir string) (path string, args []string, err error) {
	cfg := filepath.Join(dir, "zoo.cfg")
	if kind == Conclave {
		path, err = filepath.Abs(o.Binary)
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			return "", nil, fmt.Errorf("no conclave-server: run 'make build' or name the binary with CONCLAVE_BIN: %w", err)
		}
		return path, []string{"--config", cfg, "--log-level", "warn"}, nil
	}
	if path, err = exec.LookPath("java"); err == nil {
		_, err = os.Stat(zookeeperJar)
	}
	if err != nil {
		return "", nil, fmt.Errorf("no ZooKeeper: install Debian's packages zookeeper and libzookeeper-java (test/conformance/setup.sh does): %w", err)
	}
	return path, append(append([]string{}, o.JavaOptions...),
		"-Dzookeeper.jmx.log4j.disable=true",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-cp", zookeeperJar+":"+slf4jSimple,
		"org.apache.zookeeper.server.quorum.QuorumPeerMain", cfg,
	), nil
}
