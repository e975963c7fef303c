package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// figure writes a number with three digits that count.
func figure(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 || math.Abs(v) >= 1000 {
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func (s *Spread) text() string {
	switch {
	case s == nil:
		return "-"
	case s.Min == s.Max:
		return figure(s.Median)
	}
	return fmt.Sprintf("%s (%s to %s)", figure(s.Median), figure(s.Min), figure(s.Max))
}

func (row Row) verdict() string {
	switch {
	case row.Bar == "":
		return ""
	case row.Pass:
		return "yes"
	}
	return "**no**"
}

func table(w io.Writer, r *Report, rows []Row) {
	fmt.Fprintf(w, "| cell | figure | unit | %s | %s | times better | bar | reached |\n|---|---|---|---|---|---|---|---|\n", r.Baseline, r.Ours)
	for _, row := range rows {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s |\n",
			row.Cell, row.Metric.Name, row.Metric.Unit, row.Baseline.text(), row.Ours.text(), row.Ratio.text(), row.Bar, row.verdict())
	}
}

// Summary writes the rows that have a bar, and what went wrong.
func (r *Report) Summary(w io.Writer) {
	var rows []Row
	for _, c := range r.Cells {
		for _, row := range r.Rows(c) {
			if row.Bar != "" {
				rows = append(rows, row)
			}
		}
	}
	table(w, r, rows)
	passed, failed, errors := r.Verdict()
	fmt.Fprintf(w, "\n%d of %d bars reached, %d samples failed.\n", passed, passed+failed, errors)
	for _, s := range r.Samples {
		if s.Error != "" {
			fmt.Fprintf(w, "- %s, %s, repeat %d: %s\n", s.Cell, s.Server, s.Repeat+1, strings.ReplaceAll(s.Error, "\n", "\n  "))
		}
	}
}

// Markdown writes everything.
func (r *Report) Markdown(w io.Writer) {
	fmt.Fprintf(w, "# %s beside %s\n\n%s, on %s\n\n    %s\n\n", r.Ours, r.Baseline, r.Began.UTC().Format(time.DateTime), r.Machine, r.Command)
	for _, k := range slices.Sorted(maps.Keys(r.Notes)) {
		fmt.Fprintf(w, "- %s: %s\n", k, r.Notes[k])
	}
	fmt.Fprintf(w, "\nFigures are medians over the repeats, with the smallest and the largest; ratios are taken repeat by repeat.\n\n## The bar\n\n")
	r.Summary(w)
	fmt.Fprintf(w, "\n## All figures\n\n")
	for _, c := range r.Cells {
		if rows := r.Rows(c); len(rows) > 0 {
			fmt.Fprintf(w, "**%s**: %s\n\n", c.Name, c.About)
			table(w, r, rows)
			fmt.Fprintln(w)
		}
	}
}

// Save writes report.md and report.json into dir.
func (r *Report) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "report.json"), data, 0o644); err != nil {
		return err
	}
	var md strings.Builder
	r.Markdown(&md)
	return os.WriteFile(filepath.Join(dir, "report.md"), []byte(md.String()), 0o644)
}
