package compare

import (
	"fmt"
	"strings"

	"github.com/conclave-dev/conclave/test/diff/side"
)

// Steps compares the frames of steps, one step after another.
type Steps struct {
	zxids Zxids
	// Seen counts how often each known difference turned up.
	Seen map[string]int
}

// New returns a comparison that has seen nothing.
func New() *Steps { return &Steps{Seen: map[string]int{}} }

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
				c.Seen[k.Name]++
				return ""
			}
		}
		return "not the same text"
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
