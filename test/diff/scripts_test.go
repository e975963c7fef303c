//go:build diff

package diff

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/test/diff/generate"
	"github.com/conclave-dev/conclave/test/diff/script"
)

// files lists a directory of scripts, by name.
func files(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", dir, "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts in testdata/%s: %v", dir, err)
	}
	return paths
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestScript does the steps in the file that SCRIPT names.
func TestScript(t *testing.T) {
	path := os.Getenv("SCRIPT")
	if path == "" {
		t.Skip("SCRIPT names no file")
	}
	steps, err := script.Parse(read(t, path))
	if err != nil {
		t.Fatal(err)
	}
	runScript(t, start(t), path, steps)
}

// TestScripts does again what the two once differed on, and what they may
// differ on: exactly as each file says.
func TestScripts(t *testing.T) {
	es := start(t)
	for _, path := range files(t, "regressions") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			steps, err := script.Parse(read(t, path))
			if err != nil {
				t.Fatal(err)
			}
			runScript(t, es, path, steps)
		})
	}
	for _, path := range files(t, "known") {
		t.Run(filepath.Base(path), func(t *testing.T) { known(t, es, path) })
	}
}

// The headings in files of known differences.
var headings = [2]string{"-- zookeeper --\n", "-- conclave --\n"}

// known does a script and wants both to answer what the file has below their
// headings. With UPDATE set it writes that instead.
func known(t *testing.T, es ensembles, path string) {
	whole := read(t, path)
	text, rest, _ := strings.Cut(whole, headings[0])
	var want [2]string
	want[0], want[1], _ = strings.Cut(rest, headings[1])
	steps, err := script.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if !strings.HasPrefix(text, "#") {
		t.Errorf("%s does not begin with the reason for the difference", path)
	}
	p, err := newPair(es)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	base := fmt.Sprintf("/d%d", bases.Add(1))
	var got [2]string
	err = both(func(i int) error {
		if err := p[i].Begin(base, generate.Slots, script.UsesQuotas(steps)); err != nil {
			return err
		}
		for _, step := range steps {
			frames, err := p[i].Do(step)
			if err != nil {
				return fmt.Errorf("%s: %w", step, err)
			}
			for _, f := range frames {
				got[i] += f.Who + " " + f.Text + "\n"
			}
		}
		return p[i].End()
	})
	if err != nil {
		t.Fatalf("%s: %v\n%s", path, err, es.logTails())
	}
	if got[0] == got[1] {
		t.Errorf("%s: there is no difference any more:\n%s", path, indent(got[0]))
	}
	if os.Getenv("UPDATE") != "" {
		text = strings.TrimRight(text, "\n") + "\n\n" + headings[0] + got[0] + headings[1] + got[1]
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for i, heading := range headings {
		if got[i] != want[i] {
			t.Errorf("%s: %sgot:\n%swant:\n%s", path, heading, indent(got[i]), indent(want[i]))
		}
	}
}
