package ensemble

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Target is the server under test.
type Target string

// The two servers that the suite knows.
const (
	Conclave  Target = "conclave"
	ZooKeeper Target = "zookeeper"
)

// TargetFromEnv reads CONFORMANCE_TARGET; unset means Conclave.
func TargetFromEnv() (Target, error) {
	switch t := Target(os.Getenv("CONFORMANCE_TARGET")); t {
	case "":
		return Conclave, nil
	case Conclave, ZooKeeper:
		return t, nil
	default:
		return "", fmt.Errorf("CONFORMANCE_TARGET is %q: want %q or %q", t, Conclave, ZooKeeper)
	}
}

// zookeeperJar is where Debian's libzookeeper-java puts it; its manifest names
// the jars it needs, except for one that prints the log and one that its HTTP
// server needs.
const (
	zookeeperJar = "/usr/share/java/zookeeper.jar"
	slf4jSimple  = "/usr/share/java/slf4j-simple.jar"
	servletAPI   = "/usr/share/java/servlet-api.jar"
)

// command returns the program and arguments that start one member with the
// configuration file at cfg.
func (t Target) command(cfg string) (path string, args []string, err error) {
	switch t {
	case Conclave:
		bin := os.Getenv("CONCLAVE_BIN")
		if bin == "" {
			return "", nil, fmt.Errorf("CONCLAVE_BIN is not set: build conclave-server and name the binary, or set CONFORMANCE_TARGET=zookeeper")
		}
		if bin, err = filepath.Abs(bin); err != nil {
			return "", nil, err
		}
		return bin, []string{"--config", cfg}, nil
	case ZooKeeper:
		java, err := exec.LookPath("java")
		if err != nil {
			return "", nil, fmt.Errorf("no java: run test/conformance/setup.sh: %w", err)
		}
		if _, err := os.Stat(zookeeperJar); err != nil {
			return "", nil, fmt.Errorf("no ZooKeeper: run test/conformance/setup.sh: %w", err)
		}
		return java, []string{
			// Three servers share the machine with their clients: start quickly
			// and stay small.
			"-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
			"-Dzookeeper.jmx.log4j.disable=true",
			// ZooKeeper reads this one as a bare system property only; Conclave
			// reads the same key from zoo.cfg.
			fmt.Sprintf("-D%s=%s", containerCheckKey, containerCheckMillis),
			"-Dorg.slf4j.simpleLogger.showDateTime=true",
			"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
			"-cp", strings.Join([]string{zookeeperJar, slf4jSimple, servletAPI}, ":"),
			"org.apache.zookeeper.server.quorum.QuorumPeerMain", cfg,
		}, nil
	}
	return "", nil, fmt.Errorf("unknown target %q", t)
}
