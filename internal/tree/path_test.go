package tree

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

// The verdicts are those of ZooKeeper 3.8.0's PathUtils.
func TestValidatePath(t *testing.T) {
	for _, tc := range []struct {
		path string
		at   int // -1: valid
		why  string
	}{
		{"", 0, "empty"},
		{"/", -1, ""},
		{"a", 0, "begin with a slash"},
		{"./a", 0, "begin with a slash"},
		{"/a", -1, ""},
		{"/a/", 2, "end with a slash"},
		{"//", 1, "empty"},
		{"/a//", 3, "empty"},
		{"/a//b", 3, "empty"},
		{"/.", 1, "relative"},
		{"/..", 1, "relative"},
		{"/...", -1, ""},
		{"/a/.", 3, "relative"},
		{"/a/..", 3, "relative"},
		{"/a/./b", 3, "relative"},
		{"/a/../b", 3, "relative"},
		{"/a/.b", -1, ""},
		{"/a/b.", -1, ""},
		{"/a/..b", -1, ""},
		{"/a/b..", -1, ""},
		{"/.a/b", -1, ""},
		{"/a.b/c", -1, ""},
		{"/a b", -1, ""},
		{`/a\b`, -1, ""},
		{"/\x00", 1, "U+0000"},
		{"/a\x00", 2, "U+0000"},
		{"/a\x01b", 2, "U+0001"},
		{"/a\x1f", 2, "U+001F"},
		{"/a\x20", -1, ""},
		{"/a\x7e", -1, ""},
		{"/a\x7f", 2, "U+007F"},
		{"/a\u0080", 2, "U+0080"},
		{"/a\u009f", 2, "U+009F"},
		{"/a\u00a0", -1, ""},
		{"/\u00e9", -1, ""},
		{"/\ud7ff", -1, ""},
		{"/\ue000", 1, "U+E000"},
		{"/\uf8ff", 1, "U+F8FF"},
		{"/\uf900", -1, ""},
		{"/\uffef", -1, ""},
		{"/\ufff0", 1, "U+FFF0"},
		{"/\ufffd", 1, "U+FFFD"},
		{"/\uffff", 1, "U+FFFF"},
		{"/\u4e2d\u6587/\u00e9\x05", 10, "U+0005"},
		{"/\U0001f600", 1, "U+1F600"},
		{"/a\xff", 2, "not UTF-8"},
		{"/a\xed\xa0\x80", 2, "not UTF-8"}, // a surrogate
		{"/a\xc0\xaf", 2, "not UTF-8"},     // a slash, overlong
		{"/a\xe4\xb8", 2, "not UTF-8"},
	} {
		err := ValidatePath(tc.path)
		if tc.at < 0 {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		var pe *PathError
		if !errors.As(err, &pe) || pe.Offset != tc.at || pe.Path != tc.path || !strings.Contains(pe.Reason, tc.why) {
			t.Errorf("%q: got %v, want %q at byte %d", tc.path, err, tc.why, tc.at)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, tc := range [][3]string{
		{"/", "", ""}, {"/a", "/", "a"}, {"/a/b", "/a", "b"}, {"/a/b/c d", "/a/b", "c d"}, {"", "", ""}, {"abc", "", ""},
	} {
		if parent, name := Split(tc[0]); parent != tc[1] || name != tc[2] {
			t.Errorf("Split(%q) = %q, %q, want %q, %q", tc[0], parent, name, tc[1], tc[2])
		}
	}
}

// validUTF16 is PathUtils' rule said again, in its own terms: UTF-16 units and
// what stands before and behind them.
func validUTF16(path string) bool {
	if !utf8.ValidString(path) {
		return false
	}
	c := utf16.Encode([]rune(path))
	if len(c) == 0 || c[0] != '/' || len(c) > 1 && c[len(c)-1] == '/' {
		return false
	}
	at := func(i int) uint16 { // beyond the end is a slash
		if i == len(c) {
			return '/'
		}
		return c[i]
	}
	for i := 1; i < len(c); i++ {
		switch u := c[i]; {
		case u <= 0x1f, u >= 0x7f && u <= 0x9f, u >= 0xd800 && u <= 0xf8ff, u >= 0xfff0:
			return false
		case u == '/' && c[i-1] == '/':
			return false
		case u == '.' && c[i-1] == '/' && at(i+1) == '/':
			return false
		case u == '.' && c[i-1] == '/' && at(i+1) == '.' && at(i+2) == '/':
			return false
		}
	}
	return true
}

func FuzzValidatePath(f *testing.F) {
	for _, path := range []string{"", "/", "/a/b", "/a/../b", "/.../.a", "/\u4e2d\xff", "/\U0001f600", "//", "/a\x9f", "/a\u009f"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		err := ValidatePath(path)
		if (err == nil) != validUTF16(path) {
			t.Fatalf("%q: %v", path, err)
		}
		var pe *PathError
		if err != nil && (!errors.As(err, &pe) || pe.Offset < 0 || pe.Offset > max(0, len(path)-1)) {
			t.Fatalf("%q: %v points outside of it", path, err)
		}
		if err != nil || path == "/" {
			return
		}
		parent, name := Split(path)
		if join(parent, name) != path || ValidatePath(parent) != nil || strings.Contains(name, "/") {
			t.Fatalf("%q falls into %q and %q", path, parent, name)
		}
	})
}
