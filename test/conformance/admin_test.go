//go:build conformance

package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// command asks a member over HTTP and returns the JSON object it answers with.
func command(t *testing.T, m *ensemble.Member, name string) map[string]any {
	t.Helper()
	client := http.Client{Timeout: wireTimeout}
	resp, err := client.Get(m.AdminURL() + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: status %s, content type %q", name, resp.Status, resp.Header.Get("Content-Type"))
	}
	return answer
}

// TestAdminCommands asks for what dashboards and health checks read over HTTP.
func TestAdminCommands(t *testing.T) {
	e := sharedEnsemble(t)
	m := e.Members[0]
	s := openSession(t, m.Addr())
	p := root(t, s)
	s.ok(wire.OpCreate, wire.CreateBody(p+"/eph", nil, wire.OpenACL, wire.Ephemeral))
	s.ok(wire.OpGetData, wire.WatchBody(p+"/eph", true))

	for name, c := range map[string]struct {
		command string // what it says that it is: the name may be an alias
		keys    []string
	}{
		"ruok":          {"ruok", nil},
		"stat":          {"stats", []string{"version", "read_only", "server_stats", "node_count", "connections"}},
		"srvr":          {"server_stats", []string{"version", "read_only", "server_stats", "node_count"}},
		"monitor":       {"monitor", []string{"version", "server_state", "znode_count", "watch_count", "ephemerals_count", "num_alive_connections", "outstanding_requests", "approximate_data_size", "packets_sent", "packets_received", "avg_latency", "global_sessions"}},
		"mntr":          {"monitor", []string{"server_state"}},
		"configuration": {"configuration", []string{"client_port", "data_dir", "tick_time", "max_client_cnxns", "min_session_timeout", "max_session_timeout", "server_id"}},
		"connections":   {"connections", []string{"connections"}},
		"is_read_only":  {"is_read_only", []string{"read_only"}},
		"leader":        {"leader", []string{"is_leader", "leader_id", "leader_ip"}},
		"watches":       {"watches", []string{"session_id_to_watched_paths"}},
		"wchp":          {"watches_by_path", []string{"path_to_session_ids"}},
		"watch_summary": {"watch_summary", []string{"num_connections", "num_paths", "num_total_watches"}},
		"dump":          {"dump", []string{"expiry_time_to_session_ids", "session_id_to_ephemeral_paths"}},
		"environment":   {"environment", []string{"zookeeper.version", "host.name", "os.name"}},
		"dirs":          {"dirs", []string{"datadir_size", "logdir_size"}},
		"voting_view":   {"voting_view", []string{"current_config"}},
	} {
		answer := command(t, m, name)
		if answer["command"] != c.command || answer["error"] != nil {
			t.Errorf("%s: command %v, error %v; want %q and null", name, answer["command"], answer["error"], c.command)
		}
		if _, ok := answer["error"]; !ok {
			t.Errorf("%s: no member \"error\"", name)
		}
		for _, key := range c.keys {
			if _, ok := answer[key]; !ok {
				t.Errorf("%s: no member %q in %v", name, key, answer)
			}
		}
	}
	answer := command(t, m, "configuration")
	for key, want := range map[string]float64{"client_port": 2181, "tick_time": 500, "min_session_timeout": 1000, "max_session_timeout": 60000, "server_id": 1} {
		if answer[key] != want {
			t.Errorf("configuration: %s is %v, want %v", key, answer[key], want)
		}
	}
	if answer := command(t, m, "nosuch"); answer["error"] != "Unknown command: nosuch" {
		t.Errorf("an unknown command: %v", answer)
	}
}

// Every member names the same leader.
func TestAdminLeader(t *testing.T) {
	e := sharedEnsemble(t)
	leader := leaderOf(t, e)
	for _, m := range e.Members {
		answer := command(t, m, "leader")
		if answer["leader_id"] != float64(leader.ID) || answer["is_leader"] != (m == leader) {
			t.Errorf("member %d says %v, the leader is member %d", m.ID, answer, leader.ID)
		}
		if view := command(t, m, "voting_view"); len(view["current_config"].(map[string]any)) != ensemble.Size {
			t.Errorf("member %d has the voters %v", m.ID, view["current_config"])
		}
		if state := fmt.Sprint(command(t, m, "monitor")["server_state"]); (state == "leader") != (m == leader) {
			t.Errorf("member %d is %s, the leader is member %d", m.ID, state, leader.ID)
		}
	}
}
