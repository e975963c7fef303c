package metrics

import (
	"bytes"
	"flag"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("differs from %s (go test -update rewrites it); got:\n%s", file, got)
	}
}

func filled() *Metrics {
	m := New()
	m.Request(OpGetData).Observe(20 * time.Microsecond)
	m.Request(OpGetData).Observe(30 * time.Second)
	m.Request(OpCreate).Observe(4 * time.Millisecond)
	m.Fsync.Observe(1500 * time.Microsecond)
	m.LogBatch.Observe(17)
	m.PacketsReceived.Add(12)
	m.ConnectionsRefused[RefusedTooManyFromHost].Add(3)
	m.ConnectionsClosed[ClosedSilent].Inc()
	m.SnapshotBytes.Set(4096)
	m.SetState(func() State {
		return State{Name: 3, Leader: true, Serving: true, Ready: true, HasQuorum: true, CaughtUp: true, Zxid: 0x100000007,
			Term: 5, Applied: 41, Committed: 42, Nodes: 10, Ephemerals: 3, DataBytes: 81, Watches: 3, Connections: 2,
			Outstanding: 1, Sessions: 4, SessionStatesKnown: true, SessionsConnected: 2, SessionsConnecting: 1,
			SessionsNotConnected: 1, Voters: 3, Learners: 1, SyncedVoters: 2}
	})
	return m
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	if err := WriteText(&b, filled().Collect); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/metrics.txt", b.Bytes())
}

func TestUnknownFiguresAreLeftOut(t *testing.T) {
	m := New()
	names := func() string {
		var s []string
		for _, f := range gather(m.Collect) {
			s = append(s, f.Name)
		}
		return strings.Join(s, " ")
	}
	if s := names(); strings.Contains(s, "conclave_zxid") {
		t.Errorf("state shown though nobody told it: %s", s)
	}
	m.SetState(func() State { return State{} })
	if s := names(); strings.Contains(s, "sessions_by_state") || strings.Contains(s, "synced_voters") || !strings.Contains(s, "conclave_zxid") {
		t.Errorf("on a follower: %s", s)
	}
}

// What Prometheus demands of names and families, and what its conventions ask
// for.
func TestNames(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	m := filled()
	m.AddCollector(Process(time.Unix(1, 0)))
	seen := map[string]bool{}
	lines := 0
	for _, f := range gather(m.Collect) {
		if seen[f.Name] {
			t.Errorf("%s comes twice", f.Name)
		}
		seen[f.Name] = true
		lines += len(f.Samples)
		if !valid.MatchString(f.Name) || f.Help == "" || !strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s: %q", f.Name, f.Help)
		}
		if (f.Type == TypeCounter) != strings.HasSuffix(f.Name, "_total") {
			t.Errorf("%s is a %s", f.Name, f.Type)
		}
		if f.Type == TypeHistogram && !strings.HasSuffix(f.Name, "_seconds") && !strings.HasSuffix(f.Name, "_entries") {
			t.Errorf("%s has no unit", f.Name)
		}
		perLabels := map[string]bool{}
		for _, s := range f.Samples {
			key := s.Suffix
			for _, l := range s.Labels {
				key += "," + l.Name + "=" + l.Value
				if !valid.MatchString(l.Name) || l.Value == "" {
					t.Errorf("%s: label %+v", f.Name, l)
				}
			}
			if perLabels[key] {
				t.Errorf("%s%s comes twice", f.Name, key)
			}
			perLabels[key] = true
		}
	}
	if lines > 700 {
		t.Errorf("%d lines: too many for every scrape of every member", lines)
	}
}

func TestHistogramLinesAreCumulative(t *testing.T) {
	for _, f := range gather(filled().Collect) {
		if f.Type != TypeHistogram {
			continue
		}
		last, bound := -1.0, math.Inf(-1)
		for _, s := range f.Samples {
			switch s.Suffix {
			case "_bucket":
				le, err := strconv.ParseFloat(s.Labels[len(s.Labels)-1].Value, 64)
				if err != nil || le <= bound || s.Value < last {
					t.Errorf("%s: le %v after %v, %v after %v, %v", f.Name, le, bound, s.Value, last, err)
				}
				last, bound = s.Value, le
			case "_count":
				if !math.IsInf(bound, 1) || s.Value != last {
					t.Errorf("%s: count %v, last bucket %v up to %v", f.Name, s.Value, last, bound)
				}
				last, bound = -1, math.Inf(-1)
			}
		}
	}
}

func TestTextEscapes(t *testing.T) {
	var b bytes.Buffer
	err := WriteText(&b, func(emit func(Family)) {
		emit(Family{"a", "one\ntwo \\", TypeGauge, []Sample{{Labels: []Label{{"x", "q\"\\\n"}, {"y", "z"}}, Value: math.NaN()}}})
		emit(Family{Name: "without_samples", Type: TypeGauge})
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "# HELP a one\\ntwo \\\\\n# TYPE a gauge\na{x=\"q\\\"\\\\\\n\",y=\"z\"} NaN\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestTextReportsAFailedWrite(t *testing.T) {
	if err := WriteText(brokenWriter{}, filled().Collect); err != io.ErrClosedPipe {
		t.Errorf("got %v", err)
	}
}

func TestHandler(t *testing.T) {
	h := Handler(filled().Collect)
	get := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w
	}
	w := get("GET", "/metrics")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != ContentType || !strings.Contains(w.Body.String(), "\nconclave_znodes 10\n") {
		t.Errorf("%d %v\n%s", w.Code, w.Header(), w.Body)
	}
	if w := get("GET", "/"); w.Code != http.StatusNotFound {
		t.Errorf("/: %d", w.Code)
	}
	if w := get("POST", "/metrics"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestProcess(t *testing.T) {
	got := map[string]float64{}
	for _, f := range gather(Process(time.UnixMilli(1500))) {
		got[f.Name] = f.Samples[0].Value
	}
	if got["process_start_time_seconds"] != 1.5 || got["go_goroutines"] < 1 || got["go_memstats_sys_bytes"] < 1 {
		t.Errorf("%v", got)
	}
	open, limit := FileDescriptors()
	if open >= 0 && limit >= 0 && open > limit {
		t.Errorf("%d files open of %d", open, limit)
	}
	if _, err := os.Stat("/proc/self/fd"); err == nil && open < 3 {
		t.Errorf("%d files open", open)
	}
}
