package pattern

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds on a path pattern, which the CRD states too.
const (
	MaxLength   = 512
	MaxElements = 16
)

// reserved words have a meaning of their own in a Lease's name.
var reserved = []string{"cluster", "rule", "name", "hash"}

// Path is a path pattern. Its zero value matches nothing.
type Path struct {
	text     string
	elements []element
	words    []string
	// deep: after elements comes ** for one element or more.
	deep bool
}

type element struct {
	// glob is the element as written; for a capture it is *.
	glob    string
	capture bool
}

// ParsePath reads a path pattern. An error says which element is wrong and what
// to write instead.
func ParsePath(text string) (*Path, error) {
	switch {
	case text == "":
		return nil, fmt.Errorf("is empty: give the path of a node, such as /locks/*")
	case len(text) > MaxLength:
		return nil, fmt.Errorf("has %d bytes: %d are the most", len(text), MaxLength)
	case text[0] != '/':
		return nil, fmt.Errorf("%q does not begin at the root: put a / in front", text)
	case text == "/":
		return nil, fmt.Errorf("%q is the root, which is not ephemeral: name a node", text)
	case strings.HasSuffix(text, "/"):
		return nil, fmt.Errorf("%q ends in /: it ends in the name of a node", text)
	case strings.ContainsRune(text, 0):
		return nil, fmt.Errorf("%q has a zero byte, which no path has", text)
	}
	names := strings.Split(text[1:], "/")
	if len(names) > MaxElements {
		return nil, fmt.Errorf("%q has %d elements: %d are the most", text, len(names), MaxElements)
	}
	if names[0] == "zookeeper" {
		return nil, fmt.Errorf("%q is below /zookeeper, which is the ensemble's own", text)
	}
	p := &Path{text: text}
	for i, name := range names {
		last := i == len(names)-1
		if name == "**" && last {
			p.deep = true
			break
		}
		e, word, err := parseElement(name)
		if err != nil {
			return nil, fmt.Errorf("%q: element %d, %q: %w", text, i+1, name, err)
		}
		if word != "" {
			if slices.Contains(p.words, word) {
				return nil, fmt.Errorf("%q: {%s} is there twice: each capture needs a name of its own", text, word)
			}
			p.words = append(p.words, word)
		}
		p.elements = append(p.elements, e)
	}
	return p, nil
}

func parseElement(name string) (e element, word string, err error) {
	switch {
	case name == "":
		return e, "", fmt.Errorf("has no name: write one / instead of two")
	case name == "." || name == "..":
		return e, "", fmt.Errorf("ZooKeeper has no relative paths")
	case strings.Contains(name, "**"):
		return e, "", fmt.Errorf("** stands alone, as the last element; * is any letters")
	case !strings.ContainsAny(name, "{}"):
		return element{glob: name}, "", nil
	}
	word, ok := strings.CutPrefix(name, "{")
	word, closed := strings.CutSuffix(word, "}")
	if !ok || !closed || !isWord(word) {
		return e, "", fmt.Errorf("a capture is an element of its own, a word of lower-case letters and digits in braces: {tenant}")
	}
	if slices.Contains(reserved, word) {
		return e, "", fmt.Errorf("{%s} has a meaning in leaseName: give the capture another name", word)
	}
	return element{glob: "*", capture: true}, word, nil
}

func isWord(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// String is the pattern as it was written.
func (p *Path) String() string { return p.text }

// Words are the names of the captures, in the order of the path.
func (p *Path) Words() []string { return p.words }

// Many tells whether more than one path can match.
func (p *Path) Many() bool {
	return p.deep || slices.ContainsFunc(p.elements, func(e element) bool { return strings.Contains(e.glob, "*") })
}

// Wire is the pattern as WatchSessions has it, without captures; child is the
// pattern of a child's name, or empty for the path itself.
func (p *Path) Wire(child string) string {
	var b strings.Builder
	for _, e := range p.elements {
		b.WriteString("/" + e.glob)
	}
	switch {
	case p.deep:
		// Children of what ** matches are deeper, and ** means them too.
		b.WriteString("/**")
	case child != "":
		b.WriteString("/" + child)
	}
	return b.String()
}

// Match tells whether path is meant, and what was captured, in the order of
// Words. It does not allocate unless there are captures.
func (p *Path) Match(path string) (captured []string, ok bool) {
	if len(path) < 2 || path[0] != '/' || path == "/zookeeper" || strings.HasPrefix(path, "/zookeeper/") {
		return nil, false
	}
	rest, more := path[1:], true
	for i, e := range p.elements {
		if !more {
			return nil, false
		}
		var name string
		name, rest, more = strings.Cut(rest, "/")
		if name == "" || !glob(e.glob, name) {
			return nil, false
		}
		if e.capture {
			if captured == nil {
				captured = make([]string, 0, len(p.words))
			}
			captured = append(captured, name)
		}
		if i == len(p.elements)-1 && !more && !p.deep {
			return captured, true
		}
	}
	// What is left is for **, if there is anything.
	return captured, p.deep && more && rest != ""
}

// Name is a pattern of one name, in which * is any letters. The empty one
// matches every name.
type Name string

// ParseName reads the pattern of a name.
func ParseName(text string) (Name, error) {
	switch {
	case strings.Contains(text, "/"):
		return "", fmt.Errorf("%q is the name of a node, without /", text)
	case text == "." || text == "..":
		return "", fmt.Errorf("%q is no name: ZooKeeper has no relative paths", text)
	case len(text) > 128:
		return "", fmt.Errorf("has %d bytes: 128 are the most", len(text))
	}
	return Name(text), nil
}

// Match tells whether a child of this name is meant.
func (n Name) Match(name string) bool { return n == "" || glob(string(n), name) }

// glob matches s against p, in which each * is any letters or none. Its time is
// bounded by the product of the lengths.
func glob(p, s string) bool {
	if p == "*" {
		return true
	}
	// star is where the last * was, and mark where what it stands for ends for now.
	i, j, star, mark := 0, 0, -1, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && p[i] == s[j]:
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
