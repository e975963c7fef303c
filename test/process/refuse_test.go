package process

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// refusal is one way to start conclave-server that must not succeed.
type refusal struct {
	name string
	// prepare makes what has to be there, in dir, and returns the arguments.
	prepare func(t *testing.T, dir string) []string
	env     []string
}

// write writes a file in dir, and the directories above it, and returns its
// name.
func write(t testing.TB, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// zooCfg is a configuration that works, with lines added.
func zooCfg(t testing.TB, dir string, lines ...string) []string {
	text := fmt.Sprintf("dataDir=%s/data\nclientPort=10000\nclientPortAddress=%s\nadmin.enableServer=false\n%s\n",
		dir, host(), strings.Join(lines, "\n"))
	return []string{"--config", write(t, filepath.Join(dir, "zoo.cfg"), text)}
}

func args(a ...string) func(*testing.T, string) []string {
	return func(_ *testing.T, dir string) []string {
		for i := range a {
			a[i] = strings.ReplaceAll(a[i], "DIR", dir)
		}
		return a
	}
}

// config is a start with lines added to the configuration.
func config(lines ...string) func(*testing.T, string) []string {
	return func(t *testing.T, dir string) []string { return zooCfg(t, dir, lines...) }
}

// lived runs a member with the configuration once, and stops it.
func lived(t *testing.T, dir string, arguments []string) {
	t.Helper()
	s := start(t, program(t), arguments)
	s.mustServe().stop()
}

// listener occupies a port for the rest of the test.
func listener(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

var three = []string{"server.1=127.0.0.1:2001:3001", "server.2=127.0.0.1:2002:3002", "server.3=127.0.0.1:2003:3003"}

var refusals = []refusal{
	{name: "nothing", prepare: args()},
	{name: "config-and-data-dir", prepare: args("--config", "DIR/zoo.cfg", "--data-dir", "DIR/data")},
	{name: "config-and-listen", prepare: args("--config", "DIR/zoo.cfg", "--listen", ":2181")},
	{name: "listen-alone", prepare: args("--listen", ":2181")},
	{name: "argument", prepare: args("zoo.cfg")},
	{name: "unknown-flag", prepare: args("--datadir", "DIR/data")},
	{name: "flag-without-value", prepare: args("--data-dir")},
	{name: "empty-data-dir", prepare: args("--data-dir", "")},
	{name: "log-level", prepare: args("--data-dir", "DIR/data", "--log-level", "loud")},
	{name: "log-format", prepare: args("--data-dir", "DIR/data", "--log-format", "xml")},
	{name: "listen-nonsense", prepare: args("--data-dir", "DIR/data", "--listen", "here")},
	{name: "listen-port", prepare: args("--data-dir", "DIR/data", "--listen", "127.0.0.1:99999")},
	{name: "listen-elsewhere", prepare: args("--data-dir", "DIR/data", "--listen", "192.0.2.1:2181")},
	{name: "port-in-use", prepare: func(t *testing.T, dir string) []string {
		return []string{"--data-dir", filepath.Join(dir, "data"), "--listen", listener(t)}
	}},
	{name: "jvmflags", prepare: args("--data-dir", "DIR/data"), env: []string{"SERVER_JVMFLAGS=-Dzookeeper.snapCount=many -Djute.maxbuffer=12"}},

	{name: "config-missing", prepare: args("--config", "DIR/zoo.cfg")},
	{name: "config-directory", prepare: args("--config", "/proc/self")},
	{name: "config-binary", prepare: func(t *testing.T, dir string) []string {
		return []string{"--config", write(t, filepath.Join(dir, "zoo.cfg"), "\x7fELF\x02\x01\x01\x00\x00\xff\xfe\n\x00\x00=\x01")}
	}},
	{name: "config-empty", prepare: func(t *testing.T, dir string) []string {
		return []string{"--config", write(t, filepath.Join(dir, "zoo.cfg"), "")}
	}},
	{name: "config-wrong-values", prepare: config("tickTime=soon", "maxClientCnxns=-x", "server.1=127.0.0.1", "conclave.electionMs=10")},
	{name: "config-dynamic-missing", prepare: config("dynamicConfigFile=/nowhere/zoo.cfg.dynamic")},
	{name: "config-no-autocreate", prepare: config("datadir.autocreate=false")},
	{name: "admin-port-in-use", prepare: func(t *testing.T, dir string) []string {
		return zooCfg(t, dir, "conclave.adminAddress="+listener(t))
	}},
	{name: "peer-port-in-use", prepare: func(t *testing.T, dir string) []string {
		write(t, filepath.Join(dir, "data", "myid"), "1\n")
		return zooCfg(t, dir, append(three, "conclave.peerAddress="+listener(t))...)
	}},

	{name: "myid-missing", prepare: config(three...)},
	{name: "myid-nonsense", prepare: func(t *testing.T, dir string) []string {
		write(t, filepath.Join(dir, "data", "myid"), "one\n")
		return zooCfg(t, dir, three...)
	}},
	{name: "myid-of-nobody", prepare: func(t *testing.T, dir string) []string {
		write(t, filepath.Join(dir, "data", "myid"), "7\n")
		return zooCfg(t, dir, three...)
	}},
	{name: "myid-of-another", prepare: func(t *testing.T, dir string) []string {
		write(t, filepath.Join(dir, "data", "myid"), "1\n")
		a := zooCfg(t, dir)
		lived(t, dir, a)
		write(t, filepath.Join(dir, "data", "myid"), "2\n")
		return a
	}},

	{name: "data-dir-file", prepare: func(t *testing.T, dir string) []string {
		return []string{"--data-dir", write(t, filepath.Join(dir, "data"), "")}
	}},
	{name: "data-dir-impossible", prepare: args("--data-dir", "/proc/version/data")},
	{name: "data-dir-in-use", prepare: func(t *testing.T, dir string) []string {
		a := []string{"--data-dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0"}
		start(t, program(t), a).mustServe()
		return a
	}},
	{name: "data-dir-of-zookeeper", prepare: func(t *testing.T, dir string) []string {
		write(t, filepath.Join(dir, "data", "version-2", "snapshot.0"), "ZKSN")
		write(t, filepath.Join(dir, "data", "version-2", "log.1"), "ZKLG")
		return []string{"--data-dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0"}
	}},
	{name: "log-dir-of-zookeeper", prepare: func(t *testing.T, dir string) []string {
		write(t, filepath.Join(dir, "log", "version-2", "log.100000001"), "ZKLG")
		return zooCfg(t, dir, "dataLogDir="+dir+"/log")
	}},
	{name: "identity-lost", prepare: func(t *testing.T, dir string) []string {
		a := []string{"--data-dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0"}
		lived(t, dir, a)
		if err := os.Remove(filepath.Join(dir, "data", "conclave", "identity")); err != nil {
			t.Fatal(err)
		}
		return a
	}},
	{name: "log-dir-not-mounted", prepare: func(t *testing.T, dir string) []string {
		a := zooCfg(t, dir, "dataLogDir="+dir+"/log")
		lived(t, dir, a)
		if err := os.RemoveAll(filepath.Join(dir, "log")); err != nil {
			t.Fatal(err)
		}
		return a
	}},
	{name: "snapshots-missing", prepare: func(t *testing.T, dir string) []string {
		a := []string{"--data-dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0"}
		lived(t, dir, a)
		if err := os.RemoveAll(filepath.Join(dir, "data", "conclave", "snap")); err != nil {
			t.Fatal(err)
		}
		return a
	}},
	{name: "snapshot-of-another-cluster", prepare: func(t *testing.T, dir string) []string {
		snap := func(data string) string { return filepath.Join(dir, data, "conclave", "snap") }
		for _, data := range []string{"other", "data"} {
			lived(t, dir, []string{"--data-dir", filepath.Join(dir, data), "--listen", "127.0.0.1:0"})
		}
		if err := os.RemoveAll(snap("data")); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(snap("data"), os.DirFS(snap("other"))); err != nil {
			t.Fatal(err)
		}
		return []string{"--data-dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0"}
	}},
}

// vary is what differs from run to run in what a program says.
var vary = []struct{ from, to string }{
	{`time=\S+ `, ""},
	{`127\.0\.0\.1:[0-9]{5}`, "127.0.0.1:PORT"},
	{`pid [0-9]+`, "pid PID"},
	{`\b[0-9a-f]{32}\b`, "CLUSTER"},
	{`log id [0-9a-f]{16}`, "log id LOG"},
}

// TestRefusals holds what conclave-server says, and how it exits, when it can't
// start. The golden files are in testdata/refusals.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := dataDir(t)
			s := start(t, program(t), c.prepare(t, dir), c.env...)
			got := s.exit() + "\n"
			for line := range strings.Lines(s.log.String()) {
				if !strings.Contains(line, "level=INFO") {
					got += line
				}
			}
			got = strings.ReplaceAll(got, dir, "DIR")
			for _, v := range vary {
				got = regexp.MustCompile(v.from).ReplaceAllString(got, v.to)
			}
			name := filepath.Join("testdata", "refusals", c.name)
			if *update {
				write(t, name, got)
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
