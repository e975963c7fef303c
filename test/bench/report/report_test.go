package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func example() *Report {
	r := &Report{Baseline: "zookeeper", Ours: "conclave", Cells: []Cell{
		{Name: "set", About: "sets", Bars: []Bar{{Metric: Throughput, Ratio: 3}, {Metric: P99, Ratio: 2}}},
		{Name: "writer", Bars: []Bar{{Metric: P50, NotAbove: Allowed.Name}}},
		{Name: "kill", Bars: []Bar{{Metric: Gap, Below: 300}, {Metric: SessionsLost, Zero: true}}},
		{Name: "never run", Bars: []Bar{{Metric: Throughput, Ratio: 3}}},
	}}
	add := func(cell, server string, repeat int, values ...any) {
		v := Values{}
		for i := 0; i < len(values); i += 2 {
			v.Set(values[i].(Metric), values[i+1].(float64))
		}
		r.Samples = append(r.Samples, Sample{Cell: cell, Server: server, Repeat: repeat, Values: v})
	}
	for i, ours := range []float64{3500, 2900, 9000} {
		add("set", "zookeeper", i, Throughput, 1000.0, P99, 10.0)
		add("set", "conclave", i, Throughput, ours, P99, 6.0)
	}
	add("writer", "conclave", 0, P50, 2.0, Allowed, 2.5)
	add("kill", "conclave", 0, Gap, 100.0, SessionsLost, 0.0)
	add("kill", "conclave", 1, Gap, 301.0, SessionsLost, 0.0)
	return r
}

func find(t *testing.T, r *Report, cell string, m Metric) Row {
	t.Helper()
	for _, c := range r.Cells {
		for _, row := range r.Rows(c) {
			if row.Cell == cell && row.Metric.Name == m.Name {
				return row
			}
		}
	}
	t.Fatalf("no row for %s of %s", m.Name, cell)
	return Row{}
}

func TestRatiosAndBars(t *testing.T) {
	r := example()
	row := find(t, r, "set", Throughput)
	if *row.Ratio != (Spread{2.9, 3.5, 9}) || !row.Pass {
		t.Errorf("throughput: %+v, pass %v", *row.Ratio, row.Pass)
	}
	// A smaller latency is the better one; 10 to 6 is not twice as good.
	if row = find(t, r, "set", P99); row.Ratio.Median < 1.66 || row.Ratio.Median > 1.67 || row.Pass {
		t.Errorf("p99: %+v, pass %v", *row.Ratio, row.Pass)
	}
	if row = find(t, r, "writer", P50); !row.Pass {
		t.Errorf("one writer: %+v", row)
	}
	// One repeat above the limit is one too many.
	if row = find(t, r, "kill", Gap); row.Pass {
		t.Errorf("gap: %+v", row)
	}
	if row = find(t, r, "kill", SessionsLost); !row.Pass {
		t.Errorf("sessions: %+v", row)
	}
	if passed, failed, errors := r.Verdict(); passed != 3 || failed != 2 || errors != 0 {
		t.Errorf("%d passed, %d failed, %d errors", passed, failed, errors)
	}
}

// A cell that broke off must count against us, not vanish.
func TestFailedSamples(t *testing.T) {
	r := example()
	r.Samples = append(r.Samples, Sample{Cell: "never run", Server: "conclave", Error: "lost a write"})
	row := find(t, r, "never run", Throughput)
	if row.Bar == "" || row.Pass {
		t.Errorf("%+v", row)
	}
	if _, failed, errors := r.Verdict(); failed != 3 || errors != 1 {
		t.Errorf("%d failed, %d errors", failed, errors)
	}
	var b strings.Builder
	r.Summary(&b)
	if !strings.Contains(b.String(), "lost a write") {
		t.Error(b.String())
	}
}

// Nobody knows what a sample that broke off would have shown.
func TestBrokenSamplesReachNoLimit(t *testing.T) {
	for _, server := range []string{"conclave", "zookeeper"} {
		r := example()
		// Without the repeat that is above the limit.
		r.Samples = r.Samples[:len(r.Samples)-1]
		r.Samples = append(r.Samples, Sample{Cell: "kill", Server: server, Repeat: 1, Error: "no leader"}, Sample{Cell: "set", Server: "conclave", Repeat: 3, Error: "lost"})
		for _, m := range []Metric{Gap, SessionsLost} {
			if row := find(t, r, "kill", m); row.Pass != (server == "zookeeper") {
				t.Errorf("a sample of %s broke off; %s: %+v", server, m.Name, row)
			}
		}
		// A median is of those that there are.
		if row := find(t, r, "set", Throughput); !row.Pass {
			t.Errorf("throughput: %+v", row)
		}
	}
}

func TestEveryMetricHasItsPlace(t *testing.T) {
	seen := make(map[string]bool)
	for _, m := range order {
		if seen[m.Name] {
			t.Errorf("two metrics are called %q", m.Name)
		}
		seen[m.Name] = true
	}
}

func TestSave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	if err := example().Save(dir); err != nil {
		t.Fatal(err)
	}
	md, err := os.ReadFile(filepath.Join(dir, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| set | throughput | /s | 1000 | 3500 (2900 to 9000) | 3.5 (2.9 to 9) | 3 times better | yes |", "**no**"} {
		if !strings.Contains(string(md), want) {
			t.Errorf("no %q in\n%s", want, md)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(data, &back); err != nil || len(back.Samples) != len(example().Samples) {
		t.Errorf("%d samples came back, %v", len(back.Samples), err)
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.123456: "0.123", 12.345: "12.3", 123456.7: "123457", 3: "3", 1000: "1000"} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) = %s, want %s", v, got, want)
		}
	}
}
