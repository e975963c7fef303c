package zooconfig

import (
	"strings"
	"testing"
)

// TestAsZooKeeper holds what QuorumPeerConfig of ZooKeeper 3.8.0 does with the
// same text: whether it takes it, and if so how it prints the servers. Where
// Conclave differs, differs says why.
func TestAsZooKeeper(t *testing.T) {
	const dir = "dataDir=/d\n"
	const limits = base + "initLimit=5\nsyncLimit=2\n"
	const two = "server.2=127.0.0.2:2888:3888\n"
	const ips = "server.1=127.0.0.1:2888:3888\n" + two + "server.3=127.0.0.3:2888:3888\n"
	for _, tc := range []struct {
		name, text, myid string
		takes            bool
		servers          string // separated by blanks
		differs          string
	}{
		{"nothing", "", "", false, "", ""},
		{"the least", base, "", true, "", ""},
		{"no dataDir", "clientPort=2181\n", "", false, "", ""},
		{"no client port", dir, "", true, "", "a server that no client can reach is no use"},
		{"client port 0", dir + "clientPort=0\n", "", true, "", "the same"},
		{"client address without port", dir + "clientPortAddress=1.2.3.4\n", "", false, "", ""},
		{"port out of range", dir + "clientPort=70000\n", "", false, "", ""},
		{"blanks after a value", base + "tickTime=2000   \n", "", true, "", ""},
		{"a plus sign", base + "tickTime=+2000\n", "", true, "", ""},
		{"negative tick", base + "tickTime=-5\n", "", false, "", ""},
		{"empty number", base + "tickTime=\n", "", false, "", ""},
		{"repeated key", base + "tickTime=1000\ntickTime=4000\n", "", true, "", ""},
		{"min over max", base + "minSessionTimeout=5000\nmaxSessionTimeout=4000\n", "", false, "", ""},
		{"negative timeouts", base + "minSessionTimeout=-2\nmaxSessionTimeout=0\n", "", true, "", "sessions of no time at all are a mistake"},
		{"no limit of connections", base + "maxClientCnxns=-1\n", "", true, "", ""},
		{"purge settings below their least", base + "autopurge.snapRetainCount=1\nautopurge.purgeInterval=-3\n", "", true, "", ""},
		{"yes for a boolean", base + "standaloneEnabled=yes\n", "", false, "", ""},
		{"metrics class", base + "metricsProvider.className=foo.Bar\n", "", false, "", ""},
		{"old election", base + "electionAlg=1\n", "", false, "", "named as unused: no value changes anything"},
		{"unknown key", base + "foo=bar\n", "", true, "", ""},
		{"no TLS", base + "sslQuorum=false\nsecureClientPort=0\n", "", true, "", ""},
		{"prefixed key that 3.8 ignores", base + "zookeeper.sslQuorum=true\n", "", true, "", "the documentation names zookeeper.sslQuorum: whoever sets it wants TLS"},

		{"three", limits + ips, "1", true, "server.1=127.0.0.1:2888:3888:participant server.2=127.0.0.2:2888:3888:participant server.3=127.0.0.3:2888:3888:participant", ""},
		{"three without myid", limits + ips, "", false, "", ""},
		{"three without limits", base + ips, "1", false, "", "the limits have defaults"},
		{"not among the three", limits + ips, "7", true, "", "ZooKeeper fails later, when it starts"},
		{"myid with a blank", limits + ips, "1 \n", false, "", "a blank is no reason to refuse"},
		{"myid of letters", base, "abc", false, "", ""},
		{"observer", limits + ips + "server.4=127.0.0.4:2888:3888:Observer\n", "4", true, "server.1=127.0.0.1:2888:3888:participant server.2=127.0.0.2:2888:3888:participant server.3=127.0.0.3:2888:3888:participant server.4=127.0.0.4:2888:3888:observer", ""},
		{"one voter and an observer", limits + "server.1=127.0.0.1:2888:3888\nserver.4=127.0.0.4:2888:3888:observer\n", "1", false, "", ""},
		{"the same, not standalone", limits + "standaloneEnabled=false\nserver.1=127.0.0.1:2888:3888\nserver.4=127.0.0.4:2888:3888:observer\n", "1", true, "server.1=127.0.0.1:2888:3888:participant server.4=127.0.0.4:2888:3888:observer", ""},
		{"observers only", limits + "server.4=127.0.0.4:2888:3888:observer\n", "1", false, "", ""},
		{"one server, no myid, other port", base + "server.1=127.0.0.1:2888:3888;2182\n", "", true, "server.1=127.0.0.1:2888:3888:participant;0.0.0.0:2182", ""},
		{"one server, myid, other port", limits + "server.1=127.0.0.1:2888:3888;2182\n", "1", false, "", ""},
		{"one server, myid, same port", limits + "server.1=127.0.0.1:2888:3888;2181\n", "1", true, "server.1=127.0.0.1:2888:3888:participant;0.0.0.0:2181", ""},
		{"IPv6", limits + "server.1=[::1]:2888:3888;[::1]:2181\nserver.2=[fe80::2]:2888:3888:participant;2181\n", "1", true, "server.1=[0:0:0:0:0:0:0:1]:2888:3888:participant;[0:0:0:0:0:0:0:1]:2181 server.2=[fe80:0:0:0:0:0:0:2]:2888:3888:participant;0.0.0.0:2181", ""},
		{"host names", limits + "server.1=127.0.0.1:2888:3888;127.0.0.1:2181\nserver.2=127.0.0.2:2888:3888;host-x:2181\n", "1", true, "server.1=127.0.0.1:2888:3888:participant;127.0.0.1:2181 server.2=127.0.0.2:2888:3888:participant;host-x:2181", ""},
		{"several addresses", limits + "server.1=a:2888:3888|b:2888:3888\n" + two, "1", false, "", "the first one is used; a warning says so"},
		{"equal ports", limits + "server.1=127.0.0.1:2888:2888\n" + two, "1", false, "", ""},
		{"no election port", limits + "server.1=127.0.0.1:2888\n" + two, "1", false, "", ""},
		{"unknown role", limits + "server.1=127.0.0.1:2888:3888:voter\n" + two, "1", false, "", ""},
		{"separators at the end", limits + "server.1=127.0.0.1:2888:3888:\nserver.2=127.0.0.2:2888:3888;\n", "1", true, "server.1=127.0.0.1:2888:3888:participant server.2=127.0.0.2:2888:3888:participant", ""},
		{"a blank at the end", limits + "server.1=127.0.0.1:2888:3888 \n" + two, "1", false, "", "a blank is no reason to refuse"},
		{"no host", limits + "server.1=:2888:3888\n" + two, "1", true, "", "Java makes localhost of it, where no other server finds this one"},
		{"separators of the format", limits + "server.1:127.0.0.1:2888:3888\nserver.2 127.0.0.2:2888:3888\n", "1", true, "server.1=127.0.0.1:2888:3888:participant server.2=127.0.0.2:2888:3888:participant", ""},
		{"one address twice", limits + "server.1=127.0.0.1:2888:3888\n" + two + "server.3=127.0.0.2:2888:3888\n", "1", true, "", "only one of the two can ever be there"},
		{"letters for a number", limits + "server.x=127.0.0.1:2888:3888\n", "1", false, "", ""},
		{"a number over 255", limits + "server.300=127.0.0.1:2888:3888\n" + ips, "1", true, "", "ZooKeeper documents 1 to 255"},
		{"groups", limits + ips + "group.1=1:2:3\nweight.1=1\nweight.2=1\nweight.3=1\n", "1", true, "server.1=127.0.0.1:2888:3888:participant server.2=127.0.0.2:2888:3888:participant server.3=127.0.0.3:2888:3888:participant", ""},
		{"wildcard against the file's address", limits + "clientPortAddress=127.0.0.1\nserver.1=127.0.0.1:2888:3888;2181\n" + two, "1", false, "", ""},
		{"other port than the file's", limits + "server.1=127.0.0.1:2888:3888;2999\n" + two, "1", false, "", ""},
		{"three parts for the client", limits + "server.1=127.0.0.1:2888:3888;a:b:2999\n" + two, "1", false, "", ""},
		{"two parts for the client", limits + "server.1=127.0.0.1:2888:3888;2181;2182\n" + two, "1", false, "", ""},
	} {
		env := Env{}
		if tc.myid != "" {
			env = myid(tc.myid)
		}
		c, _, err := Parse("zoo.cfg", []byte(tc.text), env)
		if takes := err == nil; takes != (tc.takes == (tc.differs == "")) {
			t.Errorf("%s: taken %v by Conclave, %v by ZooKeeper: %v", tc.name, takes, tc.takes, err)
			continue
		}
		if err != nil || tc.differs != "" {
			continue
		}
		var lines []string
		for _, s := range c.Servers {
			lines = append(lines, s.String())
		}
		if got := strings.Join(lines, " "); got != tc.servers {
			t.Errorf("%s: got %s, ZooKeeper prints %s", tc.name, got, tc.servers)
		}
	}
}
