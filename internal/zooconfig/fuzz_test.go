package zooconfig

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzParse: whatever the file, the flags, the myid and the dynamic file say,
// Parse neither panics nor lets a Config through that breaks its promises.
func FuzzParse(f *testing.F) {
	dirs, _ := filepath.Glob("testdata/configs/*")
	for _, dir := range dirs {
		env := dirEnv(dir)
		text, _ := os.ReadFile(filepath.Join(dir, "zoo.cfg"))
		id, _ := os.ReadFile(filepath.Join(dir, "myid"))
		f.Add(text, env.Getenv("JVMFLAGS"), string(id), "server.1=a:1:2\n")
	}
	f.Fuzz(func(t *testing.T, text []byte, flags, id, dynamic string) {
		env := Env{
			Getenv: func(name string) string {
				if name == "JVMFLAGS" {
					return flags
				}
				return ""
			},
			ReadFile: func(name string) ([]byte, error) {
				switch {
				case filepath.Base(name) == "myid" && id != "":
					return []byte(id), nil
				case strings.Contains(name, "dyn"):
					return []byte(dynamic), nil
				}
				return nil, os.ErrNotExist
			},
		}
		c, warnings, err := Parse("zoo.cfg", text, env)
		if err != nil {
			if c != nil {
				t.Error("a Config along with an error")
			}
			return
		}
		if msg := broken(c); msg != "" {
			t.Errorf("%s: %+v", msg, c)
		}
		// The same input gives the same result.
		c2, warnings2, err2 := Parse("zoo.cfg", text, env)
		if a, b := describe(c, warnings, err), describe(c2, warnings2, err2); a != b {
			t.Errorf("twice the same input:\n%s\n%s", a, b)
		}
	})
}

// broken names a promise of Config that c breaks.
func broken(c *Config) string {
	least := func(what string, got, min time.Duration) string {
		if got < min {
			return fmt.Sprintf("%s is %v", what, got)
		}
		return ""
	}
	for _, msg := range []string{
		least("tick", c.TickTime, time.Millisecond),
		least("minimum timeout", c.MinSessionTimeout, 0),
		least("maximum timeout", c.MaxSessionTimeout, c.MinSessionTimeout),
		least("longest timeout", 1<<31*time.Millisecond, c.MaxSessionTimeout),
		least("initLimit", c.InitLimit, c.TickTime),
		least("syncLimit", c.SyncLimit, c.TickTime),
		least("heartbeat", c.Heartbeat, 5*time.Millisecond),
		least("election", c.Election, 5*c.Heartbeat),
		least("purge interval", c.PurgeInterval, 0),
		least("idle timeout", c.AdminServer.IdleTimeout, 0),
		least("container interval", c.Container.CheckInterval, time.Millisecond),
		least("container age", c.Container.MaxNeverUsed, 0),
		least("fsync warning", c.FsyncWarning, 0),
	} {
		if msg != "" {
			return msg
		}
	}
	self, ok := c.Self()
	switch {
	case c.DataDir == "" || c.DataLogDir == "":
		return "no directory"
	case c.SnapCount < 2 || c.SnapRetainCount < 3 || c.SnapSizeLimit < 0:
		return "snapshots"
	case c.ClientPort < 1 || c.ClientPort > 65535:
		return "no client port"
	case c.MaxClientCnxns < 0 || c.MaxCnxns < 0 || c.MaxBuffer < 1024 || c.GlobalOutstandingLimit < 1 || c.MaxUnsentBytes < 1 || c.MaxOutstandingPerSession < 1 || c.Container.MaxPerMinute < 1:
		return "a bound"
	case !c.FourLetterWordAllowed("srvr"):
		return "srvr is not allowed"
	case c.MyID < 0 || c.MyID > MaxServerID:
		return "number"
	case c.Standalone == (c.PeerAddress != ""):
		return "peer address"
	case c.Standalone && len(c.Servers) > 1, !c.Standalone && (!ok || c.Voters() == 0):
		return "servers"
	case c.Observer != (ok && self.Observer):
		return "role"
	}
	for i, s := range c.Servers {
		if i > 0 && c.Servers[i-1].ID >= s.ID {
			return "order of the servers"
		}
		_, line, _ := strings.Cut(s.String(), "=")
		again, more, err := parseServer(s.ID, line)
		again.Line = s.Line
		if err != nil || more != 0 || again != s {
			return fmt.Sprintf("%v does not read back: %v %v", s, again, err)
		}
	}
	return ""
}
