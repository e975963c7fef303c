package layers

import (
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/zooconfig"
)

// docs/compatibility.md speaks of everything that a client, an operator or a
// configuration file can name, and of nothing else.

var quotedWord = regexp.MustCompile("`([^`]+)`")

func compatibility(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "docs", "compatibility.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tableBelow returns the cells of the table behind a heading by the words quoted
// in its first column.
func tableBelow(t *testing.T, page, heading string) map[string][]string {
	t.Helper()
	_, section, ok := strings.Cut(page, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("docs/compatibility.md has no %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n#")
	rows := map[string][]string{}
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		var cells []string
		for _, cell := range strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		for _, m := range quotedWord.FindAllStringSubmatch(cells[0], -1) {
			if rows[m[1]] != nil {
				t.Errorf("%q: %s is there twice", heading, m[1])
			}
			rows[m[1]] = cells
		}
	}
	return rows
}

// wantTable compares a table's words with what there is, and wants each to have
// a verdict in the column.
func wantTable(t *testing.T, heading string, column int, want []string) map[string][]string {
	t.Helper()
	rows := tableBelow(t, compatibility(t), heading)
	if len(want) == 0 {
		t.Errorf("%q: nothing to look for", heading)
	}
	for _, name := range want {
		if rows[name] == nil {
			t.Errorf("docs/compatibility.md, %q: nothing is said of %s", heading, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		if !slices.Contains(want, name) {
			t.Errorf("docs/compatibility.md, %q: there is no %s", heading, name)
		}
		if cells := rows[name]; len(cells) <= column || !slices.Contains([]string{"same", "differs", "not yet"}, cells[column]) {
			t.Errorf("docs/compatibility.md, %q: no verdict on %s in %q", heading, name, cells)
		}
	}
	return rows
}

func TestCompatibilityOfOperations(t *testing.T) {
	codes := map[string]string{}
	for op := jute.OpCode(-1000); op < 1000; op++ {
		if name := op.String(); !strings.Contains(name, "(") {
			codes[name] = strconv.Itoa(int(op))
		}
	}
	rows := wantTable(t, "## Operations", 2, slices.Collect(maps.Keys(codes)))
	for name, cells := range rows {
		if cells[1] != codes[name] {
			t.Errorf("%s has code %s, not %s", name, codes[name], cells[1])
		}
	}
}

func TestCompatibilityOfKeys(t *testing.T) {
	names := map[zooconfig.Status][]string{}
	for _, k := range zooconfig.Keys() {
		names[k.Status] = append(names[k.Status], k.Name)
	}
	wantTable(t, "### Keys that are used", 1, names[zooconfig.Used])
	wantTable(t, "### Keys that are refused", 1, names[zooconfig.Refused])
	wantTable(t, "### Keys that are known and not used", 1, names[zooconfig.Unused])
}

func TestCompatibilityOfWords(t *testing.T) {
	h := admin.NewFourLetter(&admin.Surface{})
	var words []string
	letters := "abcdefghijklmnopqrstuvwxyz"
	for _, a := range []byte(letters) {
		for _, b := range []byte(letters) {
			for _, c := range []byte(letters) {
				for _, d := range []byte(letters) {
					if h.IsWord(uint32(a)<<24 | uint32(b)<<16 | uint32(c)<<8 | uint32(d)) {
						words = append(words, string([]byte{a, b, c, d}))
					}
				}
			}
		}
	}
	wantTable(t, "## Four-letter words", 1, words)
}

func TestCompatibilityOfCommands(t *testing.T) {
	w := httptest.NewRecorder()
	admin.NewCommandHandler(&admin.Surface{}, "/commands").ServeHTTP(w, httptest.NewRequest("GET", "/commands", nil))
	var names []string
	for _, m := range regexp.MustCompile(`href="/commands/([^"]+)"`).FindAllStringSubmatch(w.Body.String(), -1) {
		names = append(names, m[1])
	}
	wantTable(t, "## HTTP commands", 1, names)
}

// Scripts of known differences and the page name each other.
func TestCompatibilityOfKnownDifferences(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "test/diff/testdata/known/*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no known differences: %v", err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`known: ([^)]+)\)`).FindAllStringSubmatch(compatibility(t), -1) {
		for _, name := range quotedWord.FindAllStringSubmatch(m[1], -1) {
			named[name[1]] = true
		}
	}
	for _, file := range files {
		name := filepath.Base(file)
		if !named[name] {
			t.Errorf("docs/compatibility.md does not say (known: `%s`)", name)
		}
		delete(named, name)
	}
	for name := range named {
		t.Errorf("docs/compatibility.md says (known: `%s`), and there is no such script", name)
	}
}
