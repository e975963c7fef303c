package admin

import (
	"os"
	"os/user"
	"runtime"
	"strings"
)

// environment is what envi tells: ZooKeeper's names where they mean something
// outside of a JVM.
func (s *Surface) environment() []Setting {
	settings := []Setting{
		// First: kazoo reads the server's version from here.
		{"zookeeper.version", s.Version.String()},
	}
	if s.Environment != nil {
		return append(settings, s.Environment()...)
	}
	return append(settings, processEnvironment()...)
}

func processEnvironment() []Setting {
	var settings []Setting
	add := func(name, value string) {
		if value != "" {
			settings = append(settings, Setting{name, value})
		}
	}
	host, _ := os.Hostname()
	add("host.name", host)
	add("go.version", runtime.Version())
	add("os.name", osName())
	add("os.arch", runtime.GOARCH)
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	add("os.version", strings.TrimSpace(string(release)))
	if u, err := user.Current(); err == nil {
		add("user.name", u.Username)
		add("user.home", u.HomeDir)
	}
	dir, _ := os.Getwd()
	add("user.dir", dir)
	return settings
}

func osName() string {
	if runtime.GOOS == "linux" {
		return "Linux"
	}
	return runtime.GOOS
}
