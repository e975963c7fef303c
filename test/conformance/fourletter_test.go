//go:build conformance

package conformance

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

func fourLetters(t *testing.T, addr, word string) string {
	t.Helper()
	answer, err := ensemble.FourLetterWord(addr, word, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestFourLetterWords asks the member that holds a session with watches and an
// ephemeral, and wants the shapes that scripts and dashboards read.
func TestFourLetterWords(t *testing.T) {
	e := sharedEnsemble(t)
	addr := e.Addrs()[0]
	s := openSession(t, addr)
	p := root(t, s)
	s.ok(wire.OpCreate, wire.CreateBody(p+"/eph", nil, wire.OpenACL, wire.Ephemeral))
	s.ok(wire.OpGetData, wire.WatchBody(p+"/eph", true))
	s.ok(wire.OpGetData, wire.WatchBody(p, true))
	id := fmt.Sprintf("0x%x", uint64(s.resp.SessionID))

	for word, patterns := range map[string][]string{
		"ruok": {`^imok$`},
		"isro": {`^rw$`},
		"srvr": {
			`^Zookeeper version: \S`, `(?m)^Latency min/avg/max: \d+/\d+(\.\d+)?/\d+$`, `(?m)^Received: \d+$`, `(?m)^Sent: \d+$`,
			`(?m)^Connections: \d+$`, `(?m)^Outstanding: \d+$`, `(?m)^Zxid: 0x[0-9a-f]+$`, `(?m)^Mode: (leader|follower)$`, `(?m)^Node count: \d+$`,
		},
		"stat": {`^Zookeeper version: \S`, `(?m)^Clients:$`, `(?m)^ /127\.0\.0\.1:\d+\[\d+\]\(queued=\d+,recved=\d+,sent=\d+\)$`, `(?m)^Mode: (leader|follower)$`, `(?m)^Node count: \d+$`},
		"cons": {`(?m)^ /127\.0\.0\.1:\d+\[\d+\]\(queued=\d+,recved=\d+,sent=\d+,sid=` + id + `,lop=\w+,est=\d+,to=60000,.*lzxid=0x[0-9a-f]+.*\)$`},
		"dump": {`(?m)^SessionTracker dump:$`, `(?m)^ephemeral nodes dump:$`, `(?m)^Sessions with Ephemerals \(\d+\):$`, `(?m)^` + id + `:$`, `(?m)^\t` + p + `/eph$`, `sessionId: ` + id},
		"wchs": {`^\d+ connections watching \d+ paths\nTotal watches:\d+`},
		"wchc": {`(?m)^` + id + `$`, `(?m)^\t` + p + `/eph$`},
		"wchp": {`(?m)^` + p + `/eph\n\t` + id + `$`},
		"conf": {`(?m)^clientPort=2181$`, `(?m)^dataDir=/`, `(?m)^tickTime=500$`, `(?m)^minSessionTimeout=1000$`, `(?m)^maxSessionTimeout=60000$`, `(?m)^serverId=1$`, `(?m)^server\.2=127\.`},
		"envi": {`^Environment:`, `(?m)^zookeeper\.version=`, `(?m)^host\.name=`, `(?m)^os\.name=`},
		"dirs": {`(?m)^datadir_size: \d+$`, `(?m)^logdir_size: \d+$`},
		"gtmk": {`^\d+`},
		"crst": {`^Connection stats reset\.`},
		"srst": {`^Server stats reset\.`},
	} {
		answer := fourLetters(t, addr, word)
		for _, pattern := range patterns {
			if !regexp.MustCompile(pattern).MatchString(answer) {
				t.Errorf("%s: nothing matches %q in\n%s", word, pattern, answer)
			}
		}
	}
}

// What dashboards read from mntr, on every member.
func TestMntr(t *testing.T) {
	e := sharedEnsemble(t)
	leader, err := e.Leader()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range e.Members {
		values := ensemble.ParseMntr(fourLetters(t, m.Addr(), "mntr"))
		keys := []string{
			"version", "server_state", "znode_count", "watch_count", "ephemerals_count", "num_alive_connections", "outstanding_requests",
			"approximate_data_size", "global_sessions", "avg_latency", "min_latency", "max_latency", "packets_received", "packets_sent",
			"open_file_descriptor_count", "max_file_descriptor_count", "uptime",
			"avg_fsynctime", "cnt_snapshottime", "avg_election_time", "avg_proposal_latency", "avg_readlatency", "p99_updatelatency",
		}
		role := "follower"
		if m == leader {
			role = "leader"
			keys = append(keys, "synced_followers", "learners")
		}
		for _, key := range keys {
			if !regexp.MustCompile(`^\S`).MatchString(values[key]) {
				t.Errorf("member %d: zk_%s is %q", m.ID, key, values[key])
			}
		}
		if values["server_state"] != role {
			t.Errorf("member %d: zk_server_state is %q, want %q", m.ID, values["server_state"], role)
		}
		if m == leader && values["synced_followers"] != "2" {
			t.Errorf("zk_synced_followers is %q, want 2", values["synced_followers"])
		}
	}
}

// The counters that have an exact answer.
func TestMntrCounts(t *testing.T) {
	e := sharedEnsemble(t)
	s := openSession(t, e.Addrs()[0])
	count := func(key string) int {
		var n int
		value := ensemble.ParseMntr(fourLetters(t, e.Addrs()[0], "mntr"))[key]
		if _, err := fmt.Sscan(value, &n); err != nil {
			t.Fatalf("zk_%s is %q", key, value)
		}
		return n
	}
	nodes, ephemerals, watches := count("znode_count"), count("ephemerals_count"), count("watch_count")
	p := root(t, s)
	for i := range 3 {
		s.ok(wire.OpCreate, wire.CreateBody(fmt.Sprintf("%s/%d", p, i), nil, wire.OpenACL, wire.Ephemeral))
		s.ok(wire.OpGetData, wire.WatchBody(fmt.Sprintf("%s/%d", p, i), true))
	}
	if n := count("znode_count") - nodes; n != 4 {
		t.Errorf("zk_znode_count rose by %d, want 4", n)
	}
	if n := count("ephemerals_count") - ephemerals; n != 3 {
		t.Errorf("zk_ephemerals_count rose by %d, want 3", n)
	}
	if n := count("watch_count") - watches; n != 3 {
		t.Errorf("zk_watch_count rose by %d, want 3", n)
	}
	s.ok(wire.OpAddWatch, wire.PathIntBody(p, 0))
	s.ok(wire.OpAddWatch, wire.PathIntBody(p+"/not-there", 1))
	s.end()
	if n := count("watch_count") - watches; n != 0 {
		t.Errorf("zk_watch_count is %d above what it was, after the session has closed", n)
	}
	if got := fourLetters(t, e.Addrs()[0], "dump"); strings.Contains(got, p) {
		t.Errorf("dump still has the closed session's nodes:\n%s", got)
	}
}
