package pattern

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		captured      []string
		ok            bool
	}{
		{"/a", "/a", nil, true},
		{"/a", "/b", nil, false},
		{"/a", "/a/b", nil, false},
		{"/a/b", "/a", nil, false},
		{"/a/*", "/a/x", nil, true},
		{"/a/*", "/a/x/y", nil, false},
		{"/a/*", "/a", nil, false},
		{"/a/*/c", "/a/b/c", nil, true},
		{"/a/w*", "/a/w", nil, true},
		{"/a/w*", "/a/worker", nil, true},
		{"/a/w*", "/a/x", nil, false},
		{"/a/*-*-9", "/a/x-y-z-9", nil, true},
		{"/a/*-*-9", "/a/x-9", nil, false},
		{"/a/*ab", "/a/aab", nil, true},
		{"/locks/{tenant}/{lock}", "/locks/acme/db", []string{"acme", "db"}, true},
		{"/locks/{tenant}/{lock}", "/locks/acme", nil, false},
		{"/a/**", "/a", nil, false},
		{"/a/**", "/a/b", nil, true},
		{"/a/**", "/a/b/c/d", nil, true},
		{"/**", "/a", nil, true},
		{"/**", "/a/b", nil, true},
		{"/**", "/zookeeper/config", nil, false},
		{"/*", "/zookeeper", nil, false},
		{"/*", "/zookeepers", nil, true},
		{"/{x}/**", "/t/b/c", []string{"t"}, true},
		{"/a", "", nil, false},
		{"/a", "/", nil, false},
	} {
		p, err := ParsePath(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		captured, ok := p.Match(c.path)
		if ok != c.ok || ok && !slices.Equal(captured, c.captured) {
			t.Errorf("%s on %s: %v %v", c.pattern, c.path, captured, ok)
		}
	}
}

func TestRefusedPaths(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "is empty",
		"locks":                        "put a / in front",
		"/":                            "is the root",
		"/a/":                          "ends in /",
		"/a//b":                        "element 2",
		"/a/../b":                      "no relative paths",
		"/a/**/b":                      "** stands alone",
		"/a/b**":                       "** stands alone",
		"/a/***":                       "** stands alone",
		"/a/x{b}":                      "a capture is an element of its own",
		"/a/{b":                        "a capture is an element of its own",
		"/a/{B}":                       "lower-case letters",
		"/a/{}":                        "a capture is an element of its own",
		"/a/{b}/{b}":                   "{b} is there twice",
		"/a/{name}":                    "has a meaning in leaseName",
		"/zookeeper/config":            "ensemble's own",
		"/a\x00b":                      "zero byte",
		strings.Repeat("/a", 17):       "17 elements: 16 are the most",
		"/" + strings.Repeat("a", 512): "513 bytes: 512 are the most",
	} {
		if _, err := ParsePath(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q in it", text, err, want)
		}
	}
}

func TestWire(t *testing.T) {
	for _, c := range []struct{ pattern, child, want string }{
		{"/a/{x}/w*", "", "/a/*/w*"},
		{"/a/{x}", "*", "/a/*/*"},
		{"/a/**", "", "/a/**"},
		{"/a/**", "*-lock-*", "/a/**"},
	} {
		p, err := ParsePath(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Wire(c.child); got != c.want {
			t.Errorf("%s: %s, want %s", c.pattern, got, c.want)
		}
	}
}

// glob says what a regular expression says.
func TestGlobAgainstRegexp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	letters := func(n int, of string) string {
		b := make([]byte, r.IntN(n))
		for i := range b {
			b[i] = of[r.IntN(len(of))]
		}
		return string(b)
	}
	hits := 0
	for range 20000 {
		p, s := letters(7, "ab*"), letters(8, "ab")
		want := regexp.MustCompile("^" + strings.ReplaceAll(p, "*", ".*") + "$").MatchString(s)
		if got := glob(p, s); got != want {
			t.Fatalf("%q on %q: %v", p, s, got)
		}
		if want {
			hits++
		}
	}
	if hits < 100 {
		t.Fatalf("only %d hits: the test tells nothing", hits)
	}
}

func TestLeaseNames(t *testing.T) {
	for _, c := range []struct{ pattern, name, path, want string }{
		{"/a/*", "", "/a/b", "main-r-" + Hash("/a/b")},
		{"/locks/{t}/{l}", "{t}-{l}", "/locks/acme/db", "acme-db"},
		{"/brokers/ids/*", "broker-{name}", "/brokers/ids/1001", "broker-1001"},
		{"/a", "leader", "/a", "leader"},
		// What does not fit is made to fit, and told apart.
		{"/a/*", "{name}", "/a/Foo_Bar", "foo-bar-" + Hash("/a/Foo_Bar")},
		{"/a/*", "{name}", "/a/foo_bar", "foo-bar-" + Hash("/a/foo_bar")},
		{"/a/*", "{name}", "/a/x..-y.", "x.y-" + Hash("/a/x..-y.")},
		{"/a/*", "{name}", "/a/é", "lease-" + Hash("/a/é")},
		{"/a/*", "{name}", "/a/" + strings.Repeat("x", 300), strings.Repeat("x", 242) + "-" + Hash("/a/"+strings.Repeat("x", 300))},
	} {
		p, err := ParsePath(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		n, err := ParseLeaseName(c.name, p)
		if err != nil {
			t.Errorf("%s of %s: %v", c.name, c.pattern, err)
			continue
		}
		captured, _ := p.Match(c.path)
		if got := n.Render("main", "r", c.path, captured); got != c.want {
			t.Errorf("%s of %s: %s, want %s", n, c.path, got, c.want)
		}
	}
}

var subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

func TestLeaseNamesAreSubdomainsAndDiffer(t *testing.T) {
	p, err := ParsePath("/a/{x}")
	if err != nil {
		t.Fatal(err)
	}
	n, err := ParseLeaseName("{x}", p)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	const letters = "aA-._9 é"
	seen := map[string]string{}
	for range 20000 {
		var b strings.Builder
		for range 1 + r.IntN(6) {
			b.WriteRune([]rune(letters)[r.IntN(8)])
		}
		path := "/a/" + b.String()
		captured, ok := p.Match(path)
		if !ok {
			t.Fatalf("%q does not match", path)
		}
		got := n.Render("c", "r", path, captured)
		if !subdomain.MatchString(got) || len(got) > maxLeaseName {
			t.Fatalf("%q has the name %q", path, got)
		}
		if other := seen[got]; other != "" && other != path {
			t.Fatalf("%q and %q are both %q", path, other, got)
		}
		seen[got] = path
	}
}

func TestRefusedLeaseNames(t *testing.T) {
	for _, c := range []struct{ pattern, name, want string }{
		{"/a/*", "leader", "is the same for every path"},
		{"/a/*/leader", "{cluster}-leader", "is the same for every path"},
		{"/a/{t}", "x-{s}", "{s} is neither"},
		{"/a/{t}", "X-{t}", `"X" can't be in a name`},
		{"/a/{t}", "x-{t", "braces come in pairs"},
		{"/a/{t}", "x-t}", "braces come in pairs"},
		{"/a/{t}", strings.Repeat("x", 254), "253 are the most"},
	} {
		p, err := ParsePath(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseLeaseName(c.name, p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %s: %v; want %q in it", c.name, c.pattern, err, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	n, err := ParseName("*-lock-*")
	if err != nil || !n.Match("_c_1-lock-0000000001") || n.Match("_c_1-latch-0000000001") {
		t.Errorf("%q: %v", n, err)
	}
	if n, err := ParseName(""); err != nil || !n.Match("anything") {
		t.Errorf("the empty pattern: %v", err)
	}
	for _, text := range []string{"a/b", ".", "..", strings.Repeat("a", 129)} {
		if _, err := ParseName(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
