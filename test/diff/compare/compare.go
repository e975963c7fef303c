package compare

import (
	"fmt"
	"strings"

	"github.com/conclave-dev/conclave/test/diff/side"
)

// Tally counts what was compared.
type Tally struct {
	// Known counts how often each known difference turned up, and Results how
	// often each operation came to each result.
	Known, Results map[string]int
	// Answered is how many answers to operations were compared. A script may have more
	// operations: those of a session that has gone are not sent.
	Answered int
}

// NewTally returns an empty one.
func NewTally() *Tally { return &Tally{Known: map[string]int{}, Results: map[string]int{}} }

// Add adds o.
func (t *Tally) Add(o *Tally) {
	for name, n := range o.Known {
		t.Known[name] += n
	}
	for name, n := range o.Results {
		t.Results[name] += n
	}
	t.Answered += o.Answered
}

// Steps compares the frames of steps, one step after another.
type Steps struct {
	zxids Zxids
	tally *Tally
}

// New returns a comparison that counts in tally.
func New(tally *Tally) *Steps { return &Steps{tally: tally} }

// Step compares what a step brought. It returns what differs, or nothing.
func (c *Steps) Step(zk, conclave []side.Frame) string {
	for i := range max(len(zk), len(conclave)) {
		if i >= len(zk) || i >= len(conclave) {
			return "one has told more than the other"
		}
		if why := c.frame(&zk[i], &conclave[i]); why != "" {
			return fmt.Sprintf("line %d: %s", i+1, why)
		}
	}
	return ""
}

func (c *Steps) frame(a, b *side.Frame) string {
	if a.Who != b.Who {
		return "not the same session"
	}
	if a.Text != b.Text {
		for _, k := range Known {
			if k.Match(a, b) {
				c.tally.Known[k.Name]++
				return ""
			}
		}
		return "not the same text"
	}
	c.tally.Results[kindOf(a)]++
	if a.Op != nil {
		c.tally.Answered++
	}
	if len(a.Zxids) != len(b.Zxids) {
		return "not the same number of zxids"
	}
	for i, z := range a.Zxids {
		check := c.zxids.Loose
		if z.Exact {
			check = c.zxids.Exact
		}
		if err := check(z.Value, b.Zxids[i].Value); err != nil {
			return fmt.Sprintf("zxid %d: %v", i+1, err)
		}
	}
	return ""
}

// kindOf sums a frame up in two words: what it is about, and how it ended.
func kindOf(f *side.Frame) string {
	words := strings.Fields(f.Text)
	if len(words) > 2 {
		words = words[:2]
	}
	kind := strings.Join(words, " ")
	switch {
	case f.Op != nil && (f.Op.Name == "multi" || f.Op.Name == "multiRead") && strings.HasSuffix(kind, ": ok"):
		if i := strings.Index(f.Text, "[error 0]"); i >= 0 || strings.Contains(f.Text, "[RuntimeInconsistency]") {
			return kind + ", nothing done"
		}
	case f.Who == "sweep":
		return "sweep"
	case f.Op == nil && strings.Contains(f.Text, ": session="):
		what, rest, _ := strings.Cut(f.Text, ": session=")
		if strings.HasPrefix(rest, "none") {
			return what + " refused"
		}
		return what + " accepted"
	}
	return kind
}

// before is how many lines on which both agree are shown before a difference.
const before = 3

// lines bounds how many lines on which they differ are shown.
const lines = 6

// SideBySide prints the first lines on which two outcomes differ, and what came
// just before. Zxids are numbered as the left and the right see them.
func SideBySide(zk, conclave []side.Frame) string {
	var agreed []string
	var b strings.Builder
	differ := 0
	for i := range max(len(zk), len(conclave)) {
		left, right := "(nothing)", "(nothing)"
		if i < len(zk) {
			left = zk[i].String()
		}
		if i < len(conclave) {
			right = conclave[i].String()
		}
		if i < len(zk) && i < len(conclave) && zk[i].Who == conclave[i].Who && zk[i].Text == conclave[i].Text {
			line := "  both      " + left + "\n"
			if len(zk[i].Zxids) > 0 {
				line += "            " + right + "\n"
			}
			agreed = append(agreed, line)
			continue
		}
		if skipped := len(agreed) - before; skipped > 0 {
			agreed = append([]string{fmt.Sprintf("  (%d lines the same)\n", skipped)}, agreed[skipped:]...)
		}
		b.WriteString(strings.Join(agreed, ""))
		agreed = nil
		if differ++; differ > lines {
			fmt.Fprintf(&b, "  (%d and %d lines in all)\n", len(zk), len(conclave))
			break
		}
		fmt.Fprintf(&b, "! zookeeper %s\n! conclave  %s\n", left, right)
	}
	if b.Len() == 0 {
		return strings.Join(agreed, "") // the zxids differ
	}
	return b.String()
}
