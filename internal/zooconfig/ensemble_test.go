package zooconfig

import (
	"errors"
	"strings"
	"testing"
)

func TestEnsembleOfThree(t *testing.T) {
	c, warnings := mustParse(t, base+three, myid("2\n"))
	if c.Standalone || c.MyID != 2 || c.Observer || c.Voters() != 3 || len(c.Servers) != 3 || warnings != nil {
		t.Errorf("%+v %q", c, warnings)
	}
	if c.PeerAddress != "zoo2:2888" || c.ClientAddress() != ":2181" {
		t.Errorf("peers %s, clients %s", c.PeerAddress, c.ClientAddress())
	}
	if s, ok := c.Self(); !ok || s.Host != "zoo2" || s.Line != "zoo2:2888:3888" {
		t.Errorf("self %v %v", s, ok)
	}
	c, _ = mustParse(t, base+three+"quorumListenOnAllIPs=true\n", myid("2"))
	if c.PeerAddress != ":2888" {
		t.Errorf("peers %s with quorumListenOnAllIPs", c.PeerAddress)
	}
	c, _ = mustParse(t, base+three+"quorumListenOnAllIPs=true\nconclave.peerAddress=10.0.0.1:4000\n", myid("2"))
	if c.PeerAddress != "10.0.0.1:4000" {
		t.Errorf("peers %s with conclave.peerAddress", c.PeerAddress)
	}
	c, _ = mustParse(t, base+strings.Replace(three, "zoo1", "0.0.0.0", 1), myid("1"))
	if c.PeerAddress != ":2888" {
		t.Errorf("peers %s with a wildcard", c.PeerAddress)
	}
}

func TestMyID(t *testing.T) {
	for _, text := range []string{"3", "3\n", " 3 \r\n", "3\nsomething else\n", "03"} {
		if c, _ := mustParse(t, base+three, myid(text)); c.MyID != 3 {
			t.Errorf("%q: %d", text, c.MyID)
		}
	}
	for text, want := range map[string]string{
		"":      "which is no number of a server",
		"zoo3":  "which is no number of a server",
		"256":   "allowed: 1 to 255",
		"-1":    "allowed: 1 to 255",
		"4":     "/d/myid says 4, but the configuration names servers 1, 2, 3 only: correct the file, or add a line server.4=",
		"\n3\n": "which is no number of a server",
	} {
		wantContains(t, text, mustFail(t, base+three, myid(text)), want)
	}
	wantContains(t, "missing", mustFail(t, base+three, Env{}),
		"zoo.cfg: /d/myid is missing: the configuration names servers 1, 2, 3; write the number of this one into the file, for example: echo 1 > /d/myid")
	broken := Env{ReadFile: func(string) ([]byte, error) { return nil, errors.New("disk on fire") }}
	wantContains(t, "unreadable", mustFail(t, base+three, broken), "/d/myid cannot be read: disk on fire")
	// Other mistakes do not hide a missing myid, nor the other way round.
	wantContains(t, "both", mustFail(t, base+three+"tickTime=0\n", Env{}), "/d/myid is missing", "zoo.cfg:6: tickTime=0")
	// Zero works in ZooKeeper too.
	if c, _ := mustParse(t, base+"server.0=a:1:2\nserver.1=b:1:2\n", myid("0")); c.MyID != 0 || c.PeerAddress != "a:1" {
		t.Errorf("%+v", c)
	}
}

func TestStandalone(t *testing.T) {
	one := "server.5=zoo1:2888:3888;2182\n"
	for _, tc := range []struct {
		name, text string
		env        Env
		id         int
		client     string
		warnings   []string
	}{
		{"no servers", base, Env{}, 1, ":2181", nil},
		{"no servers, myid", base, myid("7"), 7, ":2181", nil},
		{"one server without myid fills the gap", "dataDir=/d\n" + one, Env{}, 5, ":2182", nil},
		{"one server without myid does not override", base + one, Env{}, 5, ":2181", []string{"zoo.cfg:2: the client address of server.5 (0.0.0.0:2182) is overridden by clientPort"}},
		{"one server with its myid", "dataDir=/d\n" + one, myid("5"), 5, ":2182", nil},
		{"one server, other myid", base + one, myid("6"), 6, ":2181", []string{"/d/myid says 6, but the only server line is that of server.5"}},
	} {
		c, warnings := mustParse(t, tc.text, tc.env)
		if !c.Standalone || c.MyID != tc.id || c.ClientAddress() != tc.client || c.PeerAddress != "" {
			t.Errorf("%s: %+v", tc.name, c)
		}
		wantContains(t, tc.name, warnings, tc.warnings...)
	}
	wantContains(t, "bad myid", mustFail(t, base, myid("x")), "which is no number of a server")
	wantContains(t, "no port", mustFail(t, "dataDir=/d\n", Env{}), "zoo.cfg: no client could connect: set clientPort")
	wantContains(t, "no port", mustFail(t, "dataDir=/d\n"+three, myid("1")), "no client could connect")
	wantContains(t, "no address", mustFail(t, "dataDir=/d\nclientPortAddress=1.2.3.4\n", Env{}), "zoo.cfg:2: clientPortAddress is set, but clientPort is not")

	// One voter that may grow needs a line and a myid like any other ensemble.
	text := "dataDir=/d\nstandaloneEnabled=false\n"
	if c, _ := mustParse(t, text+one, myid("5")); c.Standalone || c.PeerAddress != "zoo1:2888" || c.ClientAddress() != ":2182" {
		t.Errorf("%+v", c)
	}
	wantContains(t, "no myid", mustFail(t, text+one, Env{}), "/d/myid is missing")
	wantContains(t, "no server", mustFail(t, text+"clientPort=1\n", myid("1")), "zoo.cfg:2: standaloneEnabled=false needs at least one server line")
}

func TestObservers(t *testing.T) {
	observer := "server.4=zoo4:2888:3888:observer\n"
	c, warnings := mustParse(t, base+three+observer+"peerType=observer\n", myid("4"))
	if !c.Observer || c.Voters() != 3 || warnings != nil {
		t.Errorf("%+v %q", c, warnings)
	}
	if c, w := mustParse(t, base+three+observer, myid("4")); !c.Observer || w != nil {
		t.Errorf("%+v %q", c, w)
	}
	c, warnings = mustParse(t, base+three+observer+"peerType=observer\n", myid("1"))
	if c.Observer {
		t.Error("peerType has won over the server line")
	}
	wantContains(t, "warnings", warnings, "zoo.cfg:7: peerType=observer is overridden by the server lines")
	wantContains(t, "observers only", mustFail(t, base+observer, myid("4")), "all 1 servers are observers")
	wantContains(t, "one voter", mustFail(t, base+"server.1=zoo1:2888:3888\n"+observer, myid("4")), "needs standaloneEnabled=false")
	if c, _ := mustParse(t, base+"standaloneEnabled=false\nserver.1=zoo1:2888:3888\n"+observer, myid("4")); c.Standalone || !c.Observer {
		t.Errorf("%+v", c)
	}
}

// TestClientAddressConflicts follows QuorumPeerConfig.setupClientPort.
func TestClientAddressConflicts(t *testing.T) {
	for _, tc := range []struct{ static, line, want string }{
		{"", "2181", ":2181"},
		{"", "127.0.0.1:2181", "127.0.0.1:2181"},
		{"clientPort=2181\n", "2181", ":2181"},
		{"clientPort=2181\n", "127.0.0.1:2181", "127.0.0.1:2181"},
		{"clientPort=2181\n", "2182", ""},
		{"clientPort=2181\nclientPortAddress=127.0.0.1\n", "127.0.0.1:2181", "127.0.0.1:2181"},
		{"clientPort=2181\nclientPortAddress=127.0.0.1\n", "2181", ""},
		{"clientPort=2181\nclientPortAddress=127.0.0.1\n", "127.0.0.2:2181", ""},
		{"clientPort=2181\nclientPortAddress=0.0.0.0\n", "127.0.0.2:2181", "127.0.0.2:2181"},
		{"clientPort=2181\nclientPortAddress=Zoo1\n", "zoo1:2181", "zoo1:2181"},
		{"clientPort=2181\nclientPortAddress=localhost\n", "127.0.0.1:2181", "127.0.0.1:2181"},
		{"clientPort=2181\nclientPortAddress=::1\n", "[0:0::1]:2181", "[::1]:2181"},
	} {
		text := "dataDir=/d\n" + tc.static + strings.Replace(three, "3888\n", "3888;"+tc.line+"\n", 1)
		if tc.want == "" {
			wantContains(t, text, mustFail(t, text, myid("1")), "zoo.cfg:2: clientPort and clientPortAddress (")
			continue
		}
		if c, _ := mustParse(t, text, myid("1")); c.ClientAddress() != tc.want {
			t.Errorf("%q: got %s, want %s", text, c.ClientAddress(), tc.want)
		}
	}
}

func TestServersTwice(t *testing.T) {
	wantContains(t, "ids", mustFail(t, base+three+"server.02=zoo4:2888:3888\n", myid("1")), "zoo.cfg:6: server.02=zoo4:2888:3888: server 2 has a line at zoo.cfg:4 already")
	wantContains(t, "addresses", mustFail(t, base+three+"server.4=ZOO2:3888:4000\n", myid("1")), "zoo.cfg:6: server.4=ZOO2:3888:4000: zoo2:3888 belongs to server.2 already (zoo.cfg:4)")
	wantContains(t, "number", mustFail(t, base+three+"server.x=zoo4:1:2\nserver.256=zoo5:1:2\nserver.-1=zoo6:1:2\n", myid("1")),
		`"x" is no number`, `"256" is no number`, `"-1" is no number`)
	c, warnings := mustParse(t, base+three+"server.2=zoo9:2888:3888\n", myid("2"))
	if c.PeerAddress != "zoo9:2888" {
		t.Errorf("%+v", c)
	}
	wantContains(t, "warnings", warnings, "zoo.cfg:6: server.2 was set at zoo.cfg:4 before")
}

func TestSeveralAddresses(t *testing.T) {
	c, warnings := mustParse(t, base+"server.1=net1:2888:3888|net2:2888:3888\nserver.2=b:2888:3888\n", myid("1"))
	if c.PeerAddress != "net1:2888" {
		t.Errorf("%+v", c)
	}
	wantContains(t, "warnings", warnings, "zoo.cfg:3: server.1 has 2 addresses: only the first, net1:2888, is used")
}

func TestDynamicFile(t *testing.T) {
	file := func(name, text string) Env {
		return world(map[string]string{name: text, "/d/myid": "1"}, nil)
	}
	static := "dataDir=/d\ndynamicConfigFile=/conf/zoo.cfg.dynamic.1f\n"
	members := "server.1=a:2888:3888;2181\nserver.2=b:2888:3888;2181\n"
	c, warnings := mustParse(t, static, file("/conf/zoo.cfg.dynamic.1f", members))
	if c.ConfigVersion != 0x1f || len(c.Servers) != 2 || c.ClientPort != 2181 || c.MyID != 1 || warnings != nil {
		t.Errorf("%+v %q", c, warnings)
	}
	c, warnings = mustParse(t, static, file("/conf/zoo.cfg.dynamic.1f", members+"version=2a\n"))
	if c.ConfigVersion != 0x1f {
		t.Errorf("version %x", c.ConfigVersion)
	}
	wantContains(t, "warnings", warnings, "/conf/zoo.cfg.dynamic.1f:3: version is overridden by the name of the file")

	plain := "dataDir=/d\ndynamicConfigFile=zoo.cfg.dynamic\n"
	if c, _ := mustParse(t, plain, file("zoo.cfg.dynamic", members+"version=2a\n")); c.ConfigVersion != 0x2a {
		t.Errorf("version %x", c.ConfigVersion)
	}
	_, warnings = mustParse(t, plain, file("zoo.cfg.dynamic", members+"group.1=1:2\nweight.1=1\nserver.2=c:2888:3888\n"))
	wantContains(t, "warnings", warnings, "zoo.cfg.dynamic:3: group.1 is not used", "zoo.cfg.dynamic:4: weight.1 is not used", "zoo.cfg.dynamic:5: server.2 was set at zoo.cfg.dynamic:2 before")

	wantContains(t, "errors", mustFail(t, plain+"server.3=c:1:2\ngroup.1=1\ntickTime=0\n", file("zoo.cfg.dynamic", members+"tickTime=2000\nversion=xyz\nserver.4=d\nx=\\u1\n")),
		"zoo.cfg:3: server.3=c:1:2: with dynamicConfigFile (zoo.cfg:2) this line must stand in that file",
		"zoo.cfg:4: group.1=1: with dynamicConfigFile",
		"zoo.cfg:5: tickTime=0",
		"zoo.cfg.dynamic:3: tickTime: only server lines belong into a dynamic configuration file; move the key to zoo.cfg",
		"zoo.cfg.dynamic:4: version=xyz: not a version",
		"zoo.cfg.dynamic:5: server.4=d: a server line is",
		"zoo.cfg.dynamic:6: ")
	wantContains(t, "missing", mustFail(t, plain, myid("1")), "zoo.cfg:2: dynamicConfigFile=zoo.cfg.dynamic: open zoo.cfg.dynamic: file does not exist")
	// A version in the static file is that of the static list.
	if c, _ := mustParse(t, base+three+"version=100000002\n", myid("1")); c.ConfigVersion != 0x100000002 {
		t.Errorf("version %x", c.ConfigVersion)
	}
}

func TestVersionOfName(t *testing.T) {
	for name, want := range map[string]string{
		"/c/zoo.cfg.dynamic.1001": "1001", "zoo.cfg.dynamic": "", "/c.1/dynamic": "", "dyn": "", "1f": "", "zoo.": "", "a.-1": "", "a.8000000000000000": "",
	} {
		if got := versionOfName(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
