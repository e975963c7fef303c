package metrics

import (
	"bufio"
	"io"
	"math"
	"strconv"
	"strings"
)

// ContentType is that of what WriteText writes: Prometheus' text format.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// WriteText writes the families of c to w in Prometheus' text format.
func WriteText(w io.Writer, c Collector) error {
	b := bufio.NewWriter(w)
	c(func(f Family) { writeFamily(b, f) })
	return b.Flush()
}

var (
	helpEscaper  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// writeFamily leaves errors to the Flush at the end: a bufio.Writer keeps them.
func writeFamily(b *bufio.Writer, f Family) {
	if len(f.Samples) == 0 {
		return
	}
	b.WriteString("# HELP " + f.Name + " " + helpEscaper.Replace(f.Help) + "\n")
	b.WriteString("# TYPE " + f.Name + " " + string(f.Type) + "\n")
	for _, s := range f.Samples {
		b.WriteString(f.Name)
		b.WriteString(s.Suffix)
		for i, l := range s.Labels {
			if i == 0 {
				b.WriteByte('{')
			} else {
				b.WriteByte(',')
			}
			b.WriteString(l.Name + `="` + labelEscaper.Replace(l.Value) + `"`)
		}
		if len(s.Labels) > 0 {
			b.WriteByte('}')
		}
		b.WriteByte(' ')
		b.WriteString(formatFloat(s.Value))
		b.WriteByte('\n')
	}
}

func formatFloat(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
