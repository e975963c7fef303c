package admin

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/metrics"
)

func TestZooKeeperNames(t *testing.T) {
	for _, state := range []string{standalone, leading} {
		var b bytes.Buffer
		if err := metrics.WriteText(&b, newSurface(newFake(state)).collectZooKeeperNames); err != nil {
			t.Fatal(err)
		}
		golden(t, state+".prometheus", b.Bytes())
	}
}

// All that a member exports at once: no name twice, ZooKeeper's beside ours.
func TestMetricsOfAMember(t *testing.T) {
	s := newSurface(newFake(leading))
	s.RegisterMetrics()
	s.Metrics.AddCollector(metrics.Process(start))
	seen := map[string]bool{}
	s.Metrics.Collect(func(f metrics.Family) {
		if seen[f.Name] {
			t.Errorf("%s comes twice", f.Name)
		}
		seen[f.Name] = true
		if f.Help == "" {
			t.Errorf("%s: no help", f.Name)
		}
	})
	w := httptest.NewRecorder()
	metrics.Handler(s.Metrics.Collect).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{"conclave_znodes 10", "znode_count 10", "conclave_is_leader 1", "conclave_ready 1", "conclave_voters 3",
		"conclave_learners 1", "conclave_synced_voters 1", "synced_followers 1", `conclave_sessions_by_state{state="connecting"} 1`,
		"fsynctime_count 2", `readlatency{quantile="0.99"} 1.5`, "process_start_time_seconds 1795353000"} {
		if !strings.Contains(w.Body.String(), "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}

// srst resets what ZooKeeper resets; what Prometheus counts goes on.
func TestResetAndPrometheus(t *testing.T) {
	s := newSurface(newFake(leading))
	s.Metrics.AuthFailures.Inc()
	s.Metrics.Reset()
	s.Metrics.Fsync.Observe(time.Millisecond)
	var b bytes.Buffer
	if err := metrics.WriteText(&b, s.collectZooKeeperNames); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"auth_failed_count 1", "fsynctime_count 3", "fsynctime_sum 5.2", "max_latency 0"} {
		if !strings.Contains(b.String(), "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
	if got := ask(t, NewFourLetter(s, "*"), "mntr"); !strings.Contains(got, "\nzk_auth_failed_count\t0\n") || !strings.Contains(got, "\nzk_cnt_fsynctime\t1\n") {
		t.Error("mntr was not reset")
	}
}

func TestVersion(t *testing.T) {
	built := time.Date(2026, 11, 20, 9, 30, 0, 0, time.FixedZone("CET", 3600))
	for v, want := range map[Version]string{
		{}:                "3.8.0-conclave-unknown, built on unknown",
		{"v0.2.0", built}: "3.8.0-conclave-v0.2.0, built on 11/20/2026 08:30 GMT",
	} {
		if got := v.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
