package pattern

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// DefaultLeaseName names a Lease where the rule does not.
const DefaultLeaseName = "{cluster}-{rule}-{hash}"

// maxLeaseName is the longest name of an object: a DNS subdomain.
const maxLeaseName = 253

// LeaseName is the template of a Lease's name.
type LeaseName struct {
	text string
	// parts are literal text, or a word in braces.
	parts []string
	words []string
}

// ParseLeaseName reads a template for the Leases of a path pattern; the empty one
// is DefaultLeaseName. Refused is one that must give two paths the same name.
func ParseLeaseName(text string, path *Path) (*LeaseName, error) {
	if text == "" {
		text = DefaultLeaseName
	}
	if len(text) > maxLeaseName {
		return nil, fmt.Errorf("has %d bytes: %d are the most", len(text), maxLeaseName)
	}
	t := &LeaseName{text: text, words: path.words}
	// differs: the name has something of what differs between matching paths.
	differs := !path.Many()
	for rest := text; rest != ""; {
		open := strings.IndexAny(rest, "{}")
		if open != 0 {
			literal := rest
			if open > 0 {
				literal = rest[:open]
			}
			if i := strings.IndexFunc(literal, func(r rune) bool { return !fitsDNS(r) && r != '.' }); i >= 0 {
				r, _ := utf8.DecodeRuneInString(literal[i:])
				return nil, fmt.Errorf("%q: %q can't be in a name: lower-case letters, digits, - and . can", text, string(r))
			}
			t.parts, rest = append(t.parts, literal), rest[len(literal):]
			continue
		}
		end := strings.IndexByte(rest, '}')
		if rest[0] == '}' || end < 0 {
			return nil, fmt.Errorf("%q: braces come in pairs, around a word", text)
		}
		word := rest[1:end]
		switch {
		case word == "hash" || word == "name" || slices.Contains(path.words, word):
			// Names that come out the same all the same are a conflict, which is told.
			differs = true
		case !slices.Contains(reserved, word):
			return nil, fmt.Errorf("%q: {%s} is neither cluster, rule, name or hash nor a capture of %s", text, word, path)
		}
		t.parts, rest = append(t.parts, rest[:end+1]), rest[end+1:]
	}
	if !differs {
		return nil, fmt.Errorf("%q is the same for every path that %s matches: add {hash}, {name} or a capture", text, path)
	}
	return t, nil
}

func (t *LeaseName) String() string { return t.text }

// Render names the Lease of a path; captured are what its pattern's Match gave.
func (t *LeaseName) Render(cluster, rule, path string, captured []string) string {
	var b strings.Builder
	for _, part := range t.parts {
		if part[0] != '{' {
			b.WriteString(part)
			continue
		}
		switch word := part[1 : len(part)-1]; word {
		case "cluster":
			b.WriteString(cluster)
		case "rule":
			b.WriteString(rule)
		case "name":
			b.WriteString(path[strings.LastIndexByte(path, '/')+1:])
		case "hash":
			b.WriteString(Hash(path))
		default:
			b.WriteString(captured[slices.Index(t.words, word)])
		}
	}
	return fit(b.String(), path)
}

var lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Hash is 50 bits of a text's SHA-256, as ten letters and digits: among ten
// thousand paths two have the same once in twenty million times.
func Hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return lower.EncodeToString(sum[:])[:10]
}

// fit makes a DNS subdomain of name. If it has to be changed, a hash of the path
// is appended, so that what differed goes on differing.
func fit(name, path string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case fitsDNS(r) || r == '.':
			b.WriteRune(r)
		default:
			b.WriteByte('-')
		}
	}
	var labels []string
	for label := range strings.SplitSeq(b.String(), ".") {
		if label = strings.Trim(label, "-"); label != "" {
			labels = append(labels, label)
		}
	}
	fitted := strings.Join(labels, ".")
	if fitted == name && len(fitted) <= maxLeaseName && fitted != "" {
		return fitted
	}
	suffix := Hash(path)
	if most := maxLeaseName - 1 - len(suffix); len(fitted) > most {
		fitted = strings.TrimRight(fitted[:most], "-.")
	}
	if fitted == "" {
		return "lease-" + suffix
	}
	return fitted + "-" + suffix
}

func fitsDNS(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' }
