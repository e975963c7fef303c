package zooconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFromFlags(t *testing.T) {
	c, warnings, err := FromFlags("data", "127.0.0.1:2181", Env{})
	if err != nil || warnings != nil {
		t.Fatal(warnings, err)
	}
	if c.DataDir != "data" || c.DataLogDir != "data" || c.ClientAddress() != "127.0.0.1:2181" || !c.Standalone || c.MyID != 1 || c.Servers != nil || c.PeerAddress != "" {
		t.Errorf("%+v", c)
	}
	if c.AdminServer.Enabled || c.Metrics.Enabled || c.AdminAddress != "" {
		t.Error("a server is on that would get into the way of a second process")
	}
	// Apart from the address and the AdminServer it is what a file would give.
	f, _ := mustParse(t, "dataDir=data\nclientPort=2181\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n", Env{})
	if got, want := describe(c, nil, nil), describe(f, nil, nil); got != want {
		t.Errorf("by flags:\n%s\nby file:\n%s", got, want)
	}
	for listen, want := range map[string]string{":0": ":0", "[::1]:0": "[::1]:0", "0.0.0.0:5": ":5", "localhost:65535": "localhost:65535"} {
		if c, _, err := FromFlags("d", listen, Env{}); err != nil || c.ClientAddress() != want {
			t.Errorf("%s: %v %v", listen, c, err)
		}
	}
	_, _, err = FromFlags("", "2181", Env{})
	if err == nil {
		t.Fatal("accepted")
	}
	wantContains(t, "errors", strings.Split(err.Error(), "\n"),
		"--data-dir: dataDir=: not a path", `--listen: "2181": not host:port; allowed: host:port or :port`)
	for _, listen := range []string{"", "a b:1", "h:-1", "h:65536", "h:x", "1.2.3.4.5:1"} {
		if c, _, err := FromFlags("d", listen, Env{}); err == nil {
			t.Errorf("%q: accepted as %s", listen, c.ClientAddress())
		}
	}
}

func TestFromFlagsWithSystemProperties(t *testing.T) {
	for flags, enabled := range map[string]bool{
		"-Dzookeeper.admin.enableServer=true":                                 true,
		"-Dzookeeper.admin.serverPort=9000":                                   true,
		"-Dzookeeper.admin.enableServer=false":                                false,
		"-Dzookeeper.extendedTypesEnabled=true -Dconclave.adminAddress=:9999": false,
	} {
		c, _, err := FromFlags("d", ":2181", world(nil, map[string]string{"SERVER_JVMFLAGS": flags}))
		if err != nil || c.AdminServer.Enabled != enabled {
			t.Errorf("%s: %v %v", flags, c, err)
			continue
		}
		if strings.Contains(flags, "9999") && (c.AdminAddress != ":9999" || !c.ExtendedTypesEnabled) {
			t.Errorf("%s: %+v", flags, c)
		}
	}
	_, _, err := FromFlags("d", ":2181", world(nil, map[string]string{"JVMFLAGS": "-Dzookeeper.ssl.quorum.protocol=TLSv1.3"}))
	if err == nil || !strings.Contains(err.Error(), "JVMFLAGS: zookeeper.ssl.quorum.protocol") {
		t.Errorf("TLS: %v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	cfg := filepath.Join(dir, "zoo.cfg")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	text := "dataDir=" + data + "\nclientPort=2181\n" + three
	write(cfg, text)
	env := OSEnv()
	env.Getenv = nil // whatever this process has been started with
	if _, _, err := Load(cfg, env); err == nil || !strings.Contains(err.Error(), "myid is missing") {
		t.Errorf("no myid: %v", err)
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(data, "myid"), "2\n")
	if c, _, err := Load(cfg, env); err != nil || c.MyID != 2 {
		t.Errorf("%v %v", c, err)
	}
	if _, _, err := Load(filepath.Join(dir, "no.cfg"), env); err == nil || !strings.Contains(err.Error(), "no.cfg") {
		t.Errorf("missing file: %v", err)
	}

	write(cfg, text+"datadir.autocreate=false\n")
	if _, _, err := Load(cfg, env); err != nil {
		t.Errorf("directory is there: %v", err)
	}
	write(cfg, text+"datadir.autocreate=false\ndataLogDir="+filepath.Join(dir, "log")+"\n")
	if _, _, err := Load(cfg, env); err == nil || !strings.Contains(err.Error(), "datadir.autocreate is false") {
		t.Errorf("missing log directory: %v", err)
	}
	write(cfg, text+"datadir.autocreate=false\ndataLogDir="+cfg+"\n")
	if _, _, err := Load(cfg, env); err == nil || !strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("a file as log directory: %v", err)
	}
}

func TestCheckNoZooKeeperData(t *testing.T) {
	for _, tc := range []struct {
		files []string
		want  string
	}{
		{nil, ""},
		{[]string{"version-2/"}, ""},
		{[]string{"myid", "version-2/currentEpoch", "version-2/acceptedEpoch", "version-2/log.txt", "version-2/snapshot", "version-2/.log.1"}, ""},
		{[]string{"log.1", "snapshot.0"}, ""},
		{[]string{"version-2/log.1"}, "version-2 holds data of ZooKeeper's (log.1)"},
		{[]string{"version-2/snapshot.0"}, "(snapshot.0)"},
		{[]string{"version-2/snapshot.100000a3.gz"}, "(snapshot.100000a3.gz)"},
		{[]string{"version-2/snapshot.0", "version-2/log.100000001", "version-2/snapshot.1000007f.snappy"}, "(log.100000001 and 2 more)"},
	} {
		dir := t.TempDir()
		for _, f := range tc.files {
			name := filepath.Join(dir, f)
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(f, "/") {
				if err := os.MkdirAll(name, 0o700); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := CheckNoZooKeeperData(dir)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%q: %v, want %q", tc.files, err, tc.want)
		}
	}
	if err := CheckNoZooKeeperData(filepath.Join(t.TempDir(), "missing")); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CheckNoZooKeeperData(file); err == nil {
		t.Error("a file passes as a data directory")
	}
}
