package zooconfig

import (
	"strings"
	"testing"
)

// TestWhoWins holds the order of the sources. ZooKeeper copies an unknown key
// of the file over the system property zookeeper.KEY; a property without that
// prefix it never touches.
func TestWhoWins(t *testing.T) {
	type vars = map[string]string
	snapCount := func(c *Config) any { return c.SnapCount }
	maxBuffer := func(c *Config) any { return c.MaxBuffer }
	for _, tc := range []struct {
		name, text string
		vars       vars
		field      func(*Config) any
		want       any
		warnings   []string
	}{
		{"flag alone", "", vars{"SERVER_JVMFLAGS": "-Xmx1g -Dzookeeper.snapCount=5 -server"}, snapCount, 5, nil},
		{"flag in JVMFLAGS", "", vars{"JVMFLAGS": "-Dzookeeper.snapCount=5"}, snapCount, 5, nil},
		{"last flag wins", "", vars{"JVMFLAGS": "-Dzookeeper.snapCount=5 -Dzookeeper.snapCount=6"}, snapCount, 6, nil},
		{"JVMFLAGS come last", "", vars{"SERVER_JVMFLAGS": "-Dzookeeper.snapCount=5", "JVMFLAGS": "-Dzookeeper.snapCount=6"}, snapCount, 6, nil},
		{"hexadecimal", "", vars{"SERVER_JVMFLAGS": "-Djute.maxbuffer=0x200000"}, maxBuffer, 0x200000, nil},
		{"file over flag", "snapCount=7\n", vars{"SERVER_JVMFLAGS": "-Dzookeeper.snapCount=5"}, snapCount, 7,
			[]string{"SERVER_JVMFLAGS: zookeeper.snapCount is overridden by snapCount at zoo.cfg:3"}},
		{"the same in both", "snapCount=7\n", vars{"SERVER_JVMFLAGS": "-Dzookeeper.snapCount=7"}, snapCount, 7, nil},
		{"prefix in the file", "zookeeper.snapCount=8\n", nil, snapCount, 8, nil},
		{"short over prefixed", "snapCount=7\nzookeeper.snapCount=8\n", nil, snapCount, 7,
			[]string{"zoo.cfg:4: zookeeper.snapCount is overridden by snapCount at zoo.cfg:3"}},
		{"prefix in the file over flag", "zookeeper.snapCount=8\n", vars{"JVMFLAGS": "-Dzookeeper.snapCount=5"}, snapCount, 8,
			[]string{"JVMFLAGS: zookeeper.snapCount is overridden at zoo.cfg:3"}},
		{"bare property in the file", "jute.maxbuffer=2048\n", nil, maxBuffer, 2048, nil},
		{"bare property, flag over file", "jute.maxbuffer=2048\n", vars{"SERVER_JVMFLAGS": "-Djute.maxbuffer=4096"}, maxBuffer, 4096,
			[]string{"zoo.cfg:3: jute.maxbuffer is overridden at SERVER_JVMFLAGS"}},
		{"bare property, prefixed flag", "", vars{"SERVER_JVMFLAGS": "-Dzookeeper.jute.maxbuffer=4096"}, maxBuffer, 4096, nil},
		{"bare property, file over prefixed flag", "jute.maxbuffer=2048\n", vars{"SERVER_JVMFLAGS": "-Dzookeeper.jute.maxbuffer=4096"}, maxBuffer, 2048,
			[]string{"SERVER_JVMFLAGS: zookeeper.jute.maxbuffer is overridden by jute.maxbuffer at zoo.cfg:3"}},
		{"fsync without prefix", "", vars{"JVMFLAGS": "-Dfsync.warningthresholdms=7"}, func(c *Config) any { return c.FsyncWarning }, 7 * ms, nil},
		{"fsync, prefix wins", "", vars{"JVMFLAGS": "-Dzookeeper.fsync.warningthresholdms=8 -Dfsync.warningthresholdms=7"}, func(c *Config) any { return c.FsyncWarning }, 8 * ms,
			[]string{"JVMFLAGS: fsync.warningthresholdms is overridden by zookeeper.fsync.warningthresholdms"}},
		{"super digest, quoted", "", vars{"SERVER_JVMFLAGS": `"-Dzookeeper.DigestAuthenticationProvider.superDigest=` + superTest + `"`}, func(c *Config) any { return c.SuperDigest }, superTest, nil},
		{"super digest, short name", "superDigest=" + superTest, nil, func(c *Config) any { return c.SuperDigest }, superTest, nil},
		{"repeated key", "tickTime=1000\ntickTime=4000\n", nil, func(c *Config) any { return c.TickTime }, 4000 * ms,
			[]string{"zoo.cfg:4: tickTime was set at zoo.cfg:3 before; the last one counts"}},
		{"own key as a flag", "", vars{"SERVER_JVMFLAGS": "-Dconclave.heartbeatMs=20"}, func(c *Config) any { return c.Heartbeat }, 20 * ms, nil},
		{"own key, file over flag", "conclave.heartbeatMs=30\n", vars{"SERVER_JVMFLAGS": "-Dconclave.heartbeatMs=20"}, func(c *Config) any { return c.Heartbeat }, 30 * ms,
			[]string{"SERVER_JVMFLAGS: conclave.heartbeatMs is overridden at zoo.cfg:3"}},
	} {
		c, warnings := mustParse(t, base+tc.text, world(nil, tc.vars))
		if got := tc.field(c); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
		wantContains(t, tc.name, warnings, tc.warnings...)
	}
}

func TestBrokenFlags(t *testing.T) {
	env := world(nil, map[string]string{"SERVER_JVMFLAGS": `-Da="b`, "JVMFLAGS": "-Dzookeeper.snapCount=010"})
	wantContains(t, "errors", mustFail(t, base, env),
		"SERVER_JVMFLAGS: a quote",
		"JVMFLAGS: zookeeper.snapCount=010: to ZooKeeper a leading 0 means octal")
}

func TestUnusedKeysAreNamed(t *testing.T) {
	env := world(nil, map[string]string{"JVMFLAGS": "-Dzookeeper.nio.numWorkerThreads=4 -Dfoo=bar -Dfile.encoding=UTF-8 -Dreadonlymode.enabled=true " +
		"-Dzookeeper.tickTime=5 -Djava.security.auth.login.config=/jaas -DsnapCount=5 -Dzookeeper.mystery"})
	text := base + "forceSync=no\npreAllocSize=65536\nfoo.bar=1\nclientport=2182\ngroup.1=1:2:3\nweight.1=2\nzookeeper.syncLimit=4\n" +
		"admin.snapshot.enabled=true\nquorum.auth.server.saslLoginContext=QuorumServer\nmetricsProvider.httpPort=7000\n=5\n"
	_, warnings := mustParse(t, text, env)
	wantContains(t, "warnings", warnings,
		"zoo.cfg:3: forceSync is not used: the log is always synced",
		"zoo.cfg:4: preAllocSize is not used",
		"zoo.cfg:5: foo.bar is not used: unknown key",
		"zoo.cfg:6: clientport is not used: unknown key; did you mean a line clientPort=",
		"zoo.cfg:7: group.1 is not used: hierarchical quorums",
		"zoo.cfg:8: weight.1 is not used: hierarchical quorums",
		"zoo.cfg:9: zookeeper.syncLimit is not used: unknown key; did you mean a line syncLimit=",
		"zoo.cfg:10: admin.snapshot.enabled is not used",
		"zoo.cfg:11: quorum.auth.server.saslLoginContext is not used",
		"zoo.cfg:12: metricsProvider.httpPort is not used: metricsProvider.className",
		"zoo.cfg:13:  is not used: unknown key",
		"JVMFLAGS: -Dzookeeper.nio.numWorkerThreads is not used",
		"JVMFLAGS: -Dreadonlymode.enabled is not used",
		"JVMFLAGS: -Dzookeeper.tickTime is not used: unknown key; did you mean a line tickTime= in the configuration file?",
		"JVMFLAGS: -Djava.security.auth.login.config is not used",
		"JVMFLAGS: -Dzookeeper.mystery is not used: unknown key")
}

func TestValuesTakenOtherwise(t *testing.T) {
	_, warnings := mustParse(t, "dataDir=zk/d\xe4ta\nclientPort=2181\nautopurge.snapRetainCount=1\n4lw.commands.whitelist=ruok,rouk\n", Env{})
	wantContains(t, "warnings", warnings,
		"zoo.cfg:1: dataDir=zk/däta: a configuration is read as ISO-8859-1",
		"zoo.cfg:1: dataDir=zk/däta is relative",
		"zoo.cfg:3: autopurge.snapRetainCount=1: less than 3 counts as 3",
		"zoo.cfg:4: 4lw.commands.whitelist=ruok,rouk: no such four-letter word: rouk")
}

// TestProtectionIsNotLostSilently: every key that asks for TLS, SASL or
// authentication stops the server, in the file with and without prefix and as
// a flag; with a value that asks for nothing it passes.
func TestProtectionIsNotLostSilently(t *testing.T) {
	cases := map[string]struct{ asks, harmless []string }{
		"secureClientPort":                      {[]string{"2182", "x"}, []string{"0", ""}},
		"secureClientPortAddress":               {[]string{"127.0.0.1"}, []string{""}},
		"sslQuorum":                             {[]string{"true", "TRUE", "yes", "ture"}, []string{"false", "False", ""}},
		"sslQuorumReloadCertFiles":              {[]string{"true"}, []string{"false"}},
		"ssl.keyStore.location":                 {[]string{"/k"}, []string{""}},
		"ssl.quorum.clientAuth":                 {[]string{"need", "want"}, []string{"none"}},
		"ssl.hostnameVerification":              {[]string{"true"}, []string{"false"}},
		"portUnification":                       {[]string{"true"}, []string{"false"}},
		"client.portUnification":                {[]string{"true"}, []string{"false"}},
		"admin.portUnification":                 {[]string{"true"}, []string{"false"}},
		"admin.forceHttps":                      {[]string{"true"}, []string{"false"}},
		"admin.needClientAuth":                  {[]string{"true"}, []string{"false"}},
		"metricsProvider.ssl.keyStore.location": {[]string{"/k"}, []string{""}},
		"metricsProvider.httpsPort":             {[]string{"7001"}, []string{"0"}},
		"quorum.auth.enableSasl":                {[]string{"true"}, []string{"false"}},
		"quorum.auth.learnerRequireSasl":        {[]string{"true"}, []string{"false"}},
		"quorum.auth.serverRequireSasl":         {[]string{"true"}, []string{"false"}},
		"authProvider.1":                        {[]string{"com.example.TokenAuthenticationProvider"}, []string{"org.apache.zookeeper.server.auth.DigestAuthenticationProvider", ""}},
		"authProvider.x509":                     {[]string{"com.example.X509AuthenticationProvider"}, []string{"org.apache.zookeeper.server.auth.IPAuthenticationProvider"}},
		"requireClientAuthScheme":               {[]string{"sasl"}, []string{"none", ""}},
		"sessionRequireClientSASLAuth":          {[]string{"true"}, []string{"false"}},
		"enforce.auth.enabled":                  {[]string{"true"}, []string{"false"}},
		"ensembleAuthName":                      {[]string{"prod"}, []string{""}},
		"DigestAuthenticationProvider.enabled":  {[]string{"false", ""}, []string{"true"}},
	}
	for key, c := range cases {
		for _, v := range c.asks {
			want := key + "=" + v
			wantContains(t, key, mustFail(t, base+want+"\n", Env{}), "zoo.cfg:3: "+want)
			wantContains(t, key, mustFail(t, base+"zookeeper."+want+"\n", Env{}), "zoo.cfg:3: zookeeper."+want)
			if v != "" {
				env := world(nil, map[string]string{"SERVER_JVMFLAGS": "-Dzookeeper." + want})
				wantContains(t, key, mustFail(t, base, env), "SERVER_JVMFLAGS: zookeeper."+want)
			}
		}
		for _, v := range c.harmless {
			if _, w := mustParse(t, base+key+"="+v+"\n", Env{}); w != nil {
				t.Errorf("%s=%s: warnings %q", key, v, w)
			}
		}
	}
	for _, r := range refusedKeys {
		tested := false
		for key := range cases {
			tested = tested || matches(r.name, key)
		}
		if !tested {
			t.Errorf("%s is refused and not tested", r.name)
		}
	}
	// What offers a scheme lets nobody in who needs it, and demands nothing.
	for _, class := range []string{"SASLAuthenticationProvider", "X509AuthenticationProvider"} {
		_, w := mustParse(t, base+"authProvider.1=org.apache.zookeeper.server.auth."+class+"\n", Env{})
		wantContains(t, class, w, "zoo.cfg:3: authProvider.1=org.apache.zookeeper.server.auth."+class+" is not used")
	}
	// A later line takes the demand back, as in Java.
	if _, w := mustParse(t, base+"sslQuorum=true\nsslQuorum=false\n", Env{}); len(w) != 1 {
		t.Errorf("warnings %q", w)
	}
	// Netty alone asks for nothing.
	_, w := mustParse(t, base+"serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n", Env{})
	wantContains(t, "Netty", w, "serverCnxnFactory is not used")
	if msg := mustFail(t, base+"sslQuorum=true\n", Env{})[0]; !strings.Contains(msg, "or set it to false") {
		t.Errorf("%q does not say how to go on", msg)
	}
}
