package zooconfig

import (
	"bufio"
	"encoding/hex"
	"maps"
	"os"
	"strings"
	"testing"
)

// TestPropertiesAsJava compares the reader with what java.util.Properties
// (OpenJDK 17) made of the same bytes. Each line of the golden file holds the
// input in hexadecimal (- for none) and either the word malformed or the
// resulting pairs, key and value in hexadecimal UTF-8.
func TestPropertiesAsJava(t *testing.T) {
	f, err := os.Open("testdata/properties.golden")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cases := 0
	for sc := bufio.NewScanner(f); sc.Scan(); cases++ {
		fields := strings.Fields(sc.Text())
		input := unhex(t, strings.Trim(fields[0], "-"))
		want := map[string]string{}
		malformed := false
		for _, p := range fields[1:] {
			if p == "malformed" {
				malformed = true
				continue
			}
			k, v, _ := strings.Cut(p, "=")
			want[unhex(t, k)] = unhex(t, v)
		}
		entries, problems := parseProperties("f", []byte(input))
		if malformed {
			if problems == nil {
				t.Errorf("%q: accepted, Java refuses it", input)
			}
			continue
		}
		if problems != nil {
			t.Errorf("%q: %v", input, problems)
			continue
		}
		got := map[string]string{}
		for _, e := range entries {
			got[e.key] = e.value
		}
		if !maps.Equal(got, want) {
			t.Errorf("%q: got %q, Java has %q", input, got, want)
		}
	}
	if cases < 400 {
		t.Fatalf("only %d cases in the golden file", cases)
	}
}

func unhex(t *testing.T, s string) string {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPropertiesLineNumbers(t *testing.T) {
	text := "# one\r\n\r\na=1\\\r\n  2\rb=3\n\\\n\nc=4\nd=\\u12\n"
	entries, problems := parseProperties("zoo.cfg", []byte(text))
	if len(problems) != 1 || problems[0].at != (origin{"zoo.cfg", 9}) {
		t.Errorf("problem of the broken escape: %v", problems)
	}
	want := []entry{
		{"a", "12", origin{"zoo.cfg", 3}},
		{"b", "3", origin{"zoo.cfg", 5}},
		{"c", "4", origin{"zoo.cfg", 8}},
	}
	if len(entries) != len(want) {
		t.Fatalf("got %v, want %v", entries, want)
	}
	for i := range want {
		if entries[i] != want[i] {
			t.Errorf("entry %d: got %v, want %v", i, entries[i], want[i])
		}
	}
}
