package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/conclave-dev/conclave/test/bench/disk"
)

// machine describes what the figures were taken on.
func machine() string {
	model := "an unknown processor"
	if m := regexp.MustCompile(`model name\s*: (.*)`).FindStringSubmatch(read("/proc/cpuinfo")); m != nil {
		model = m[1]
	}
	memory := "unknown memory"
	if m := regexp.MustCompile(`MemTotal:\s+(\d+) kB`).FindStringSubmatch(read("/proc/meminfo")); m != nil {
		if kb, err := strconv.Atoi(m[1]); err == nil {
			memory = fmt.Sprintf("%.0f GiB", float64(kb)/(1<<20))
		}
	}
	var u unix.Utsname
	kernel := ""
	if unix.Uname(&u) == nil {
		kernel = ", Linux " + unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%d cores of %s, %s%s", runtime.NumCPU(), model, memory, kernel)
}

func read(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(data)
}

// notes are the circumstances that a reader has to know.
func notes(c *config) map[string]string {
	n := map[string]string{
		"generator":           fmt.Sprintf("on the same machine, %d thread(s) for %d connections; its share is in the tables", c.Threads, c.Conns),
		"throughput samples":  fmt.Sprintf("%d of %v after %v, the servers in turn", c.Repeats, c.Measure, c.Warmup),
		"closed loop":         "a latency counts from when the request was sent",
		"open loop":           "half the slower server's throughput for both; a latency counts from when the operation was due",
		"configuration":       "the same zoo.cfg for both, three members, defaults except for tickTime=2000 and no limit on connections; both log warnings only",
		"the disk's own time": fmt.Sprintf("fdatasync of %d bytes into a file that is already written, by %d processes at the same time", disk.Block, disk.Processes),
		"JVM options":         "none, as Debian's package",
	}
	if c.javaOps != "" {
		n["JVM options"] = c.javaOps
	}
	if out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", "zookeeper").Output(); err == nil {
		n["ZooKeeper"] = "Debian's package " + strings.TrimSpace(string(out))
	}
	return n
}
