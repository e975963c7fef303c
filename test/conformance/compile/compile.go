// Package compile compiles client programs of other languages against Debian's
// ZooKeeper clients, which test/conformance/setup.sh installs. Not in the room:
// what the programs do, and who runs them.
package compile

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Jars are the Java clients, where Debian's packages put them; each jar's manifest
// names what it needs beside it.
var Jars = []string{
	"/usr/share/java/curator-recipes.jar",
	"/usr/share/java/curator-framework.jar",
	"/usr/share/java/curator-client.jar",
	"/usr/share/java/zookeeper.jar",
	"/usr/share/java/zookeeper-jute.jar",
	"/usr/share/java/slf4j-simple.jar",
}

// Java compiles the sources into the folder. It returns the java program's
// arguments that precede the name of a class.
func Java(dir string, sources ...string) ([]string, error) {
	for _, jar := range Jars {
		if _, err := os.Stat(jar); err != nil {
			return nil, fmt.Errorf("run test/conformance/setup.sh first: %w", err)
		}
	}
	args := append([]string{"-Xlint:all,-try,-processing,-classfile,-path,-deprecation", "-Werror", "-d", dir, "-cp", strings.Join(Jars, ":")}, sources...)
	if out, err := exec.Command("javac", args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("javac: %w\n%s", err, out)
	}
	return []string{
		"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-cp", strings.Join(append([]string{dir}, Jars...), ":"),
	}, nil
}

// C compiles the sources into a program of the multi-threaded client.
func C(binary string, sources ...string) error {
	args := append([]string{"-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-DTHREADED", "-o", binary}, sources...)
	if out, err := exec.Command("gcc", append(args, "-lzookeeper_mt")...).CombinedOutput(); err != nil {
		return fmt.Errorf("gcc (run test/conformance/setup.sh first): %w\n%s", err, out)
	}
	return nil
}
