package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
)

// row is one figure.
type row struct {
	figure, unit string
	value        float64
	// bar is what it may be at most; 0 if it is only told.
	bar float64
}

// table is what was measured.
type table struct{ rows []row }

func (t *table) add(figure, unit string, value, bar float64) {
	t.rows = append(t.rows, row{figure, unit, value, bar})
}

func (r row) reached() string {
	switch {
	case r.bar == 0:
		return ""
	case r.value <= r.bar:
		return "yes"
	}
	return "**no**"
}

func (r row) text() string {
	if r.value == math.Trunc(r.value) || r.value >= 100 {
		return strconv.FormatFloat(math.Round(r.value), 'f', -1, 64)
	}
	return strconv.FormatFloat(r.value, 'g', 3, 64)
}

// markdown writes the table.
func (t *table) markdown(w io.Writer) {
	fmt.Fprintf(w, "| figure | unit | measured | bar | reached |\n|---|---|---|---|---|\n")
	reached, bars := 0, 0
	for _, r := range t.rows {
		bar := ""
		if r.bar > 0 {
			bars++
			bar = "at most " + strconv.FormatFloat(r.bar, 'f', -1, 64)
			if r.value <= r.bar {
				reached++
			}
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", r.figure, r.unit, r.text(), bar, r.reached())
	}
	fmt.Fprintf(w, "\n%d of %d bars reached.\n", reached, bars)
}
