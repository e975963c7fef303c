package report

import (
	"fmt"
	"slices"
	"time"
)

// Values are the figures of one sample, by metric name.
type Values map[string]float64

// Set enters one figure.
func (v Values) Set(m Metric, value float64) { v[m.Name] = value }

// Sample is what one cell gave for one server, once.
type Sample struct {
	Cell   string `json:"cell"`
	Server string `json:"server"`
	Repeat int    `json:"repeat"`
	Values Values `json:"values"`
	// Error is why there are no values.
	Error string `json:"error,omitempty"`
}

// Report is one run.
type Report struct {
	Began   time.Time         `json:"began"`
	Machine string            `json:"machine"`
	Command string            `json:"command"`
	Notes   map[string]string `json:"notes"`
	Samples []Sample          `json:"samples"`

	// The two that are compared: the baseline and ours.
	Baseline string `json:"baseline"`
	Ours     string `json:"ours"`
	// Cells are the cells in order, with their bars.
	Cells []Cell `json:"-"`
}

// Cell is how a cell is called and what it has to reach.
type Cell struct {
	Name, About string
	Bars        []Bar
}

// Spread is a figure over the repeats.
type Spread struct{ Min, Median, Max float64 }

func spread(values []float64) (s Spread, ok bool) {
	if len(values) == 0 {
		return Spread{}, false
	}
	v := slices.Sorted(slices.Values(values))
	return Spread{v[0], (v[(len(v)-1)/2] + v[len(v)/2]) / 2, v[len(v)-1]}, true
}

// Row is one figure of one cell.
type Row struct {
	Cell           string
	Metric         Metric
	Baseline, Ours *Spread
	// Ratio is how many times better ours is, repeat by repeat.
	Ratio *Spread
	// Bar says what has to be reached, Pass whether it is; Bar is empty where
	// nothing has to be.
	Bar  string
	Pass bool
}

// values returns the figures of one metric by repeat.
func (r *Report) values(cell, server string, m Metric) map[int]float64 {
	out := make(map[int]float64)
	for _, s := range r.Samples {
		if v, ok := s.Values[m.Name]; ok && s.Cell == cell && s.Server == server {
			out[s.Repeat] = v
		}
	}
	return out
}

func list(m map[int]float64) []float64 {
	var out []float64
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// Ratio is how many times better ours is than the baseline.
func (m Metric) Ratio(baseline, ours float64) (float64, bool) {
	switch {
	case m.Better == Higher && baseline > 0:
		return ours / baseline, true
	case m.Better == Lower && ours > 0:
		return baseline / ours, true
	}
	return 0, false
}

// Rows are all figures of a cell that were measured, and those that have a bar
// and were not.
func (r *Report) Rows(cell Cell) []Row {
	var rows []Row
	for _, m := range order {
		base, ours := r.values(cell.Name, r.Baseline, m), r.values(cell.Name, r.Ours, m)
		bar := slices.IndexFunc(cell.Bars, func(b Bar) bool { return b.Metric.Name == m.Name })
		if len(base) == 0 && len(ours) == 0 && (bar < 0 || !r.attempted(cell.Name)) {
			continue
		}
		row := Row{Cell: cell.Name, Metric: m}
		if s, ok := spread(list(base)); ok {
			row.Baseline = &s
		}
		if s, ok := spread(list(ours)); ok {
			row.Ours = &s
		}
		var ratios []float64
		for repeat, v := range ours {
			if b, ok := base[repeat]; ok {
				if ratio, ok := m.Ratio(b, v); ok {
					ratios = append(ratios, ratio)
				}
			}
		}
		if s, ok := spread(ratios); ok {
			row.Ratio = &s
		}
		if bar >= 0 {
			row.Bar, row.Pass = r.judge(cell, cell.Bars[bar], row)
		}
		rows = append(rows, row)
	}
	return rows
}

// attempted tells whether the cell was run at all.
func (r *Report) attempted(cell string) bool {
	return slices.ContainsFunc(r.Samples, func(s Sample) bool { return s.Cell == cell })
}

// broken tells whether a sample of ours broke off.
func (r *Report) broken(cell string) bool {
	return slices.ContainsFunc(r.Samples, func(s Sample) bool { return s.Cell == cell && s.Server == r.Ours && s.Error != "" })
}

// judge says what the bar asks for and whether row reaches it. What was not
// measured does not; nor does what no sample may exceed, if one of them broke off:
// that one may have.
func (r *Report) judge(cell Cell, b Bar, row Row) (text string, pass bool) {
	switch {
	case b.Ratio > 0:
		return fmt.Sprintf("%g times better", b.Ratio), row.Ratio != nil && row.Ratio.Median >= b.Ratio
	case b.Below > 0:
		return fmt.Sprintf("below %g %s", b.Below, b.Metric.Unit), row.Ours != nil && row.Ours.Max < b.Below && !r.broken(cell.Name)
	case b.Zero:
		return "none", row.Ours != nil && row.Ours.Max == 0 && !r.broken(cell.Name)
	default:
		limit, ok := spread(list(r.values(cell.Name, r.Ours, Metric{Name: b.NotAbove})))
		return "not above " + b.NotAbove, ok && row.Ours != nil && row.Ours.Median <= limit.Median
	}
}

// Verdict counts the bars of the cells that were run.
func (r *Report) Verdict() (passed, failed, errors int) {
	for _, c := range r.Cells {
		for _, row := range r.Rows(c) {
			switch {
			case row.Bar == "":
			case row.Pass:
				passed++
			default:
				failed++
			}
		}
	}
	for _, s := range r.Samples {
		if s.Error != "" {
			errors++
		}
	}
	return passed, failed, errors
}
