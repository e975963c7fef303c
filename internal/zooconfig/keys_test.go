package zooconfig

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// keyCase tells for one key which values make which fields, and which values
// are refused. Every key of the table has one, see TestEveryKeyHasACase.
type keyCase struct {
	key   string
	field func(*Config) any
	def   any // without the key
	good  map[string]any
	wrong []string
}

var keyCases = []keyCase{
	{"dataDir", func(c *Config) any { return c.DataDir }, "/d", map[string]any{"/var/lib/zk": "/var/lib/zk", "C:\\\\zk": `C:\zk`}, []string{""}},
	{"dataLogDir", func(c *Config) any { return c.DataLogDir }, "/d", map[string]any{"/log": "/log"}, []string{"", `a\u0000b`}},
	{"datadir.autocreate", func(c *Config) any { return c.DataDirAutocreate }, true, map[string]any{"false": false, "TRUE": true}, []string{"no", ""}},
	{"clientPort", func(c *Config) any { return c.ClientPort }, 2181, map[string]any{"1": 1, "65535": 65535, "+2182": 2182}, []string{"-1", "65536", "x", "", "0", "21 81"}},
	{"clientPortAddress", func(c *Config) any { return c.ClientAddress() }, ":2181",
		map[string]any{"127.0.0.1": "127.0.0.1:2181", "::1": "[::1]:2181", "[::1]": "[::1]:2181", "0.0.0.0": ":2181", "::": ":2181", "zk-1.example_x.": "zk-1.example_x.:2181"},
		[]string{"", "1.2.3.256", "1.2.3", "a b", "a..b", "-a", "a:1", strings.Repeat("a.", 128), strings.Repeat("a", 64)}},
	{"maxClientCnxns", func(c *Config) any { return c.MaxClientCnxns }, 60, map[string]any{"0": 0, "-1": 0, "1": 1, "2147483647": math.MaxInt32}, []string{"2147483648", "many"}},
	{"maxCnxns", func(c *Config) any { return c.MaxCnxns }, 0, map[string]any{"5": 5, "-5": 0}, []string{"1.5", "010"}},
	{"jute.maxbuffer", func(c *Config) any { return c.MaxBuffer }, 0xfffff, map[string]any{"0x200000": 0x200000, "1024": 1024, "4194304": 4 << 20, "2147483647": math.MaxInt32}, []string{"1023", "2147483648", "4M", "0x", "0x-5", "01024"}},
	{"globalOutstandingLimit", func(c *Config) any { return c.GlobalOutstandingLimit }, 20000, map[string]any{"1": 1}, []string{"0", "-1"}},
	{"tickTime", func(c *Config) any { return c.TickTime }, 3000 * ms, map[string]any{"1": ms, "2000": 2000 * ms, "107374182": 107374182 * ms}, []string{"0", "-5", "107374183", "2s", "9223372036854775808"}},
	{"minSessionTimeout", func(c *Config) any { return c.MinSessionTimeout }, 6000 * ms, map[string]any{"-1": 6000 * ms, "0": 0 * ms, "60000": 60000 * ms}, []string{"-2", "60001", "x"}},
	{"maxSessionTimeout", func(c *Config) any { return c.MaxSessionTimeout }, 60000 * ms, map[string]any{"-1": 60000 * ms, "6000": 6000 * ms, "2147483647": math.MaxInt32 * ms}, []string{"-2", "5999", "2147483648"}},
	{"initLimit", func(c *Config) any { return c.InitLimit }, 30 * time.Second, map[string]any{"1": 3 * time.Second, "715827": 715827 * 3 * time.Second}, []string{"0", "-1", "715828"}},
	{"syncLimit", func(c *Config) any { return c.SyncLimit }, 15 * time.Second, map[string]any{"2": 6 * time.Second}, []string{"0", "2147483647"}},
	{"snapCount", func(c *Config) any { return c.SnapCount }, 100000, map[string]any{"2": 2, "1": 2, "-7": 2, "500": 500}, []string{"", "1e5", "2147483648"}},
	{"snapSizeLimitInKb", func(c *Config) any { return c.SnapSizeLimit }, int64(4 << 30), map[string]any{"0": int64(0), "-1": int64(0), "1": int64(1024), "9007199254740991": int64(math.MaxInt64 - 1023)}, []string{"9007199254740992", "4G"}},
	{"autopurge.snapRetainCount", func(c *Config) any { return c.SnapRetainCount }, 3, map[string]any{"3": 3, "2": 3, "010": 10}, []string{"three"}},
	{"autopurge.purgeInterval", func(c *Config) any { return c.PurgeInterval }, 0 * time.Hour, map[string]any{"1": time.Hour, "0": 0 * time.Hour, "-3": 0 * time.Hour, "1000000": 1_000_000 * time.Hour}, []string{"1h", "1000001"}},
	{"fsync.warningthresholdms", func(c *Config) any { return c.FsyncWarning }, 1000 * ms, map[string]any{"0": 0 * ms, "20": 20 * ms}, []string{"-1"}},
	{"dynamicConfigFile", func(c *Config) any { return fmt.Sprint(c.Servers, c.ConfigVersion) }, "[] 0", map[string]any{"/dyn": "[server.1=a:1:2:participant] 0", "/dyn.1f": "[] 31"}, []string{"", "/nowhere"}},
	{"peerType", func(c *Config) any { return c.Observer }, false, map[string]any{"participant": false, "Observer": false}, []string{"leader", ""}},
	{"standaloneEnabled", func(c *Config) any { return c.Standalone }, true, map[string]any{"true": true, "True": true}, []string{"yes", "false"}},
	{"reconfigEnabled", func(c *Config) any { return c.ReconfigEnabled }, false, map[string]any{"true": true, "false": false}, []string{"1"}},
	{"quorumListenOnAllIPs", func(c *Config) any { return c.PeerAddress }, "", map[string]any{"true": "", "false": ""}, []string{"on"}},
	{"4lw.commands.whitelist", func(c *Config) any { return fmt.Sprint(c.FourLetterWords, c.AllFourLetterWords) }, "[srvr] false",
		map[string]any{"*": "[srvr] true", "stat, ruok,conf ,": "[conf ruok srvr stat] false", "": "[srvr] false", "stat,*": "[srvr stat] true", "abcd": "[abcd srvr] false"},
		[]string{"stat ruok", "RUOK", "all", "mntr;ruok"}},
	{"admin.enableServer", func(c *Config) any { return c.AdminServer.Enabled }, true, map[string]any{"false": false}, []string{"no"}},
	{"admin.serverAddress", func(c *Config) any { return c.AdminServer.Address() }, ":8080", map[string]any{"127.0.0.1": "127.0.0.1:8080", "::": ":8080"}, []string{"http://x"}},
	{"admin.serverPort", func(c *Config) any { return c.AdminServer.Port }, 8080, map[string]any{"0": 0, "65535": 65535}, []string{"-1", "65536"}},
	{"admin.commandURL", func(c *Config) any { return c.AdminServer.CommandURL }, "/commands", map[string]any{"/zk/cmd/": "/zk/cmd"}, []string{"commands", "/", "", "/a*", "/a b"}},
	{"admin.idleTimeout", func(c *Config) any { return c.AdminServer.IdleTimeout }, 30000 * ms, map[string]any{"0": 0 * ms, "-1": 0 * ms, "1": ms}, []string{"x"}},
	{"metricsProvider.className", func(c *Config) any { return c.Metrics.Enabled }, false,
		map[string]any{prometheus: true, "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider": false, "org.apache.zookeeper.metrics.impl.NullMetricsProvider": false},
		[]string{"foo.Bar", "PrometheusMetricsProvider"}},
	{"metricsProvider.httpHost", func(c *Config) any { return c.Metrics.Address() }, ":7000", map[string]any{"localhost": "localhost:7000"}, []string{"a/b"}},
	{"metricsProvider.httpPort", func(c *Config) any { return c.Metrics.Port }, 7000, map[string]any{"0": 0, "7070": 7070}, []string{"70000"}},
	{"metricsProvider.exportJvmInfo", func(c *Config) any { return c.Metrics.Runtime }, true, map[string]any{"false": false}, []string{"0"}},
	{"DigestAuthenticationProvider.superDigest", func(c *Config) any { return c.SuperDigest }, "", map[string]any{superTest: superTest},
		[]string{"", "super", "super:", ":D/InIHSb7yEEbrWz8b9l71RjZJU=", "super:test", "super:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="}},
	{"DigestAuthenticationProvider.digestAlg", func(c *Config) any { return c.DigestAlg }, "SHA1",
		map[string]any{"SHA": "SHA1", "sha-1": "SHA1", "SHA256": "SHA-256", "SHA-512": "SHA-512", "SHA3-256": "SHA3-256", "sha3-512": "SHA3-512"},
		[]string{"MD5", "SHA-3", "RipeMD160", ""}},
	{"skipACL", func(c *Config) any { return c.SkipACL }, false, map[string]any{"yes": true, "no": false}, []string{"true", "1"}},
	{"enforceQuota", func(c *Config) any { return c.EnforceQuota }, false, map[string]any{"true": true}, []string{"yes"}},
	{"extendedTypesEnabled", func(c *Config) any { return c.ExtendedTypesEnabled }, false, map[string]any{"true": true}, []string{"yes"}},
	{"znode.container.checkIntervalMs", func(c *Config) any { return c.Container.CheckInterval }, 60000 * ms, map[string]any{"1": ms, "0x10": 16 * ms}, []string{"0"}},
	{"znode.container.maxPerMinute", func(c *Config) any { return c.Container.MaxPerMinute }, 10000, map[string]any{"1": 1}, []string{"0"}},
	{"znode.container.maxNeverUsedIntervalMs", func(c *Config) any { return c.Container.MaxNeverUsed }, 0 * ms, map[string]any{"0": 0 * ms, "2592000000": 30 * 24 * time.Hour}, []string{"9223372036855"}},
	{"conclave.adminAddress", func(c *Config) any { return c.AdminAddress }, "", map[string]any{"127.0.0.1:9999": "127.0.0.1:9999", ":0": ":0", "[::]:1": ":1", "": ""}, []string{"9999", "a:b", "::1:5", "a:65536"}},
	{"conclave.healthAddress", func(c *Config) any { return c.HealthAddress }, "", map[string]any{":2891": ":2891", "": ""}, []string{"2891"}},
	{"conclave.tls.dir", func(c *Config) any { return c.TLS }, TLS{}, map[string]any{"/t\nconclave.tls.serverName=m.c.ns.conclave.dev": TLS{"/t", "m.c.ns.conclave.dev"}}, []string{"", "/t"}},
	{"conclave.tls.serverName", func(c *Config) any { return c.TLS.ServerName }, "", map[string]any{"m\nconclave.tls.dir=t": "m"}, []string{"", "a:b", "m", "0.0.0.0\nconclave.tls.dir=t"}},
	{"conclave.peerAddress", func(c *Config) any { return c.PeerAddress }, "", map[string]any{":2888": ""}, []string{"host"}},
	{"conclave.heartbeatMs", func(c *Config) any { return c.Heartbeat }, 50 * ms, map[string]any{"5": 5 * ms, "5000": 5000 * ms}, []string{"4", "5001"}},
	{"conclave.electionMs", func(c *Config) any { return c.Election }, 500 * ms, map[string]any{"250": 250 * ms, "600000": 600000 * ms}, []string{"249", "24", "600001"}},
	{"conclave.leaveMs", func(c *Config) any { return c.Leave }, 0 * ms, map[string]any{"5000": 5000 * ms, "600000": 600000 * ms}, []string{"-1", "600001", "soon"}},
	{"conclave.maxUnsentBytes", func(c *Config) any { return c.MaxUnsentBytes }, 16 << 20, map[string]any{"65536": 65536, "1073741824": 1 << 30}, []string{"65535", "1073741825"}},
	{"conclave.maxOutstandingPerSession", func(c *Config) any { return c.MaxOutstandingPerSession }, 1000, map[string]any{"1": 1, "1000000": 1000000}, []string{"0", "1000001"}},
}

const (
	prometheus = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"
	superTest  = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
)

func TestKeys(t *testing.T) {
	env := world(map[string]string{"/dyn": "server.1=a:1:2", "/dyn.1f": ""}, nil)
	c, _ := mustParse(t, base, env)
	for _, k := range keyCases {
		if got := k.field(c); got != k.def {
			t.Errorf("%s: default %v, want %v", k.key, got, k.def)
		}
	}
	for _, k := range keyCases {
		for value, want := range k.good {
			c, _ := mustParse(t, base+k.key+"="+value, env)
			if got := k.field(c); got != want {
				t.Errorf("%s=%s: got %v, want %v", k.key, value, got, want)
			}
		}
		for _, value := range k.wrong {
			// Exactly one complaint, about this key and with its place.
			msgs := mustFail(t, base+k.key+"="+value, env)
			if len(msgs) != 1 {
				t.Errorf("%s=%s: %d messages: %q", k.key, value, len(msgs), msgs)
			}
			if k.key == "clientPort" && value == "0" {
				continue // not a wrong value: no client port at all
			}
			if !strings.HasPrefix(msgs[0], "zoo.cfg:3: ") || !strings.Contains(msgs[0], k.key) {
				t.Errorf("%s=%s: %q does not name the line and the key", k.key, value, msgs[0])
			}
		}
	}
}

func TestEveryKeyHasACase(t *testing.T) {
	for _, s := range settings {
		i := slices.IndexFunc(keyCases, func(k keyCase) bool { return k.key == s.name })
		if i < 0 || len(keyCases[i].good) == 0 || len(keyCases[i].wrong) == 0 {
			t.Errorf("%s: no case with good and wrong values", s.name)
		}
	}
}

func TestTableIsSound(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Keys() {
		if k.Name == "" || k.Doc == "" || seen[k.Name] {
			t.Errorf("%q: no name, no documentation, or listed twice", k.Name)
		}
		seen[k.Name] = true
		if k.Status == Used && (k.Type == "" || k.Allowed == "") {
			t.Errorf("%s: no type or range", k.Name)
		}
	}
	for _, name := range []string{"server.N", "version", "tickTime", "sslQuorum", "forceSync"} {
		if !seen[name] {
			t.Errorf("%s is missing from Keys", name)
		}
	}
	byName := map[string]Key{}
	for _, k := range Keys() {
		byName[k.Name] = k
	}
	for name, want := range map[string]Key{
		"snapCount":            {Property: "zookeeper.snapCount", Status: Used},
		"jute.maxbuffer":       {Property: "jute.maxbuffer", FlagWins: true, Status: Used},
		"conclave.heartbeatMs": {Property: "conclave.heartbeatMs", Status: Used},
		"tickTime":             {Status: Used},
		"readonlymode.enabled": {Property: "readonlymode.enabled", Status: Unused},
		"sslQuorum":            {Property: "zookeeper.sslQuorum", Status: Refused},
	} {
		got := byName[name]
		if got.Property != want.Property || got.FlagWins != want.FlagWins || got.Status != want.Status {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	// A setting must not be shadowed: an exact name in the tables of refused or
	// unused keys would never be reached.
	for _, s := range settings {
		for _, u := range unusedKeys {
			if u.name == s.name {
				t.Errorf("%s is both used and unused", s.name)
			}
		}
		if r, ok := findRefused(s.name); ok {
			t.Errorf("%s is both used and refused by %s", s.name, r.name)
		}
	}
}

func TestWrongValueNamesWhatIsAllowed(t *testing.T) {
	wantContains(t, "errors", mustFail(t, base+"tickTime=abc\n", Env{}),
		"zoo.cfg:3: tickTime=abc: not a whole number; allowed: 1 to 107374182 (milliseconds)")
	wantContains(t, "errors", mustFail(t, base+"skipACL=true\n", Env{}),
		"zoo.cfg:3: skipACL=true: neither yes nor no; allowed: yes, no (yes or no)")
}

func TestAllMistakesAtOnce(t *testing.T) {
	env := world(nil, map[string]string{"JVMFLAGS": "-Dzookeeper.snapCount=x"})
	text := "tickTime=0\nsslQuorum=true\nclientPort=99999\nserver.1=a:1\nbad=\\u00zz\nserver.900=a:1:2\n"
	wantContains(t, "errors", mustFail(t, text, env),
		"zoo.cfg: dataDir is not set",
		"zoo.cfg:1: tickTime=0",
		"zoo.cfg:2: sslQuorum=true",
		"zoo.cfg:3: clientPort=99999",
		"zoo.cfg:4: server.1=a:1",
		"zoo.cfg:5: ",
		"zoo.cfg:6: server.900",
		"JVMFLAGS: zookeeper.snapCount=x")
}

func TestSecretsStayHidden(t *testing.T) {
	const secret = "hunter2"
	env := world(nil, map[string]string{"SERVER_JVMFLAGS": "-Dzookeeper.DigestAuthenticationProvider.superDigest=super:" + secret + "3"})
	_, warnings, err := Parse("zoo.cfg", []byte(base+"superDigest=super:"+secret+"\nssl.keyStore.password="+secret+"\nunknown="+secret+"\n"), env)
	if err == nil {
		t.Fatal("accepted")
	}
	if all := err.Error() + strings.Join(warnings, "\n"); strings.Contains(all, secret) {
		t.Errorf("a secret shows in %s", all)
	}
	wantContains(t, "errors", strings.Split(err.Error(), "\n"), "zoo.cfg:3: DigestAuthenticationProvider.superDigest (value not shown)", "zoo.cfg:4: ssl.keyStore.password (value not shown)")
}

func TestSuperDigestOfOtherHash(t *testing.T) {
	text := base + "DigestAuthenticationProvider.digestAlg=SHA-256\nsuperDigest=super:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=\n"
	if c, w := mustParse(t, text, Env{}); c.SuperDigest == "" || c.DigestAlg != "SHA-256" || w != nil {
		t.Errorf("%+v %q", c, w)
	}
}

func TestTLSNeedsBothKeys(t *testing.T) {
	wantContains(t, "errors", mustFail(t, base+"conclave.tls.dir=/t\n", Env{}), "zoo.cfg:3: conclave.tls.dir=/t needs conclave.tls.serverName")
	wantContains(t, "errors", mustFail(t, base+"conclave.tls.serverName=m.x\n", Env{}), "zoo.cfg:3: conclave.tls.serverName=m.x is for conclave.tls.dir, which is not set")
}

func TestElectionFollowsHeartbeat(t *testing.T) {
	if c, _ := mustParse(t, base+"conclave.heartbeatMs=200\n", Env{}); c.Election != 2*time.Second {
		t.Errorf("election %v, want ten heartbeats", c.Election)
	}
	if c, _ := mustParse(t, base+"conclave.heartbeatMs=200\nconclave.electionMs=1000\n", Env{}); c.Election != time.Second {
		t.Errorf("election %v, want five heartbeats", c.Election)
	}
	wantContains(t, "errors", mustFail(t, base+"conclave.heartbeatMs=200\nconclave.electionMs=999\n", Env{}), "zoo.cfg:4: conclave.electionMs=999: less than 5 heartbeats")
}

func TestLimitsNeverOverflow(t *testing.T) {
	c, _ := mustParse(t, base+"tickTime=107374182\n", Env{})
	if c.MaxSessionTimeout != 107374182*20*ms || c.InitLimit != 10*c.TickTime || c.SyncLimit != 5*c.TickTime {
		t.Errorf("%v %v %v", c.MaxSessionTimeout, c.InitLimit, c.SyncLimit)
	}
}
