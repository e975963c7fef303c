package zooconfig

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
)

// origin is where a setting was written: a line of a file, or (line 0) a
// source without lines, such as an environment variable or a flag.
type origin struct {
	source string
	line   int
}

func (o origin) String() string {
	if o.line == 0 {
		return o.source
	}
	return fmt.Sprintf("%s:%d", o.source, o.line)
}

// entry is one key with its value.
type entry struct {
	key, value string
	at         origin
}

// parseProperties splits text into its entries, in the order of the file and
// with repeated keys kept, so that the caller can say which one it took.
//
// The syntax is that of java.util.Properties.load: the bytes are ISO-8859-1,
// other characters are written as \uXXXX. A broken \u escape is a problem and
// its entry left out; the rest of the file is still read.
func parseProperties(source string, text []byte) ([]entry, []problem) {
	var (
		entries  []entry
		problems []problem
	)
	for _, l := range logicalLines(text) {
		at := origin{source, l.number}
		k, v := splitPair(l.text)
		key, err := unescape(k)
		if err == nil {
			var value string
			if value, err = unescape(v); err == nil {
				entries = append(entries, entry{key, value, at})
				continue
			}
		}
		problems = append(problems, problem{at, err})
	}
	return entries, problems
}

// logicalLine is one or more lines of the file joined by trailing
// backslashes, without comments and blank lines. number is that of the first.
type logicalLine struct {
	text   []byte
	number int
}

// logicalLines follows Java's reader in its corners too: leading white space
// goes also from continuation lines, a comment cannot be continued, and a
// lone backslash leaves nothing, so that a comment or a blank line may follow;
// only at the end of the file it makes an entry, with an empty key.
func logicalLines(text []byte) []logicalLine {
	var (
		lines     []logicalLine
		cur       logicalLine
		continued bool
	)
	for number := 1; len(text) > 0; number++ {
		var line []byte
		line, text = cutLine(text)
		line = trimLeftBlank(line)
		if len(cur.text) == 0 {
			if len(line) > 0 && (line[0] == '#' || line[0] == '!') {
				continued = false
				continue
			}
			if !continued || len(line) > 0 {
				cur.number = number
			}
		}
		continued = oddBackslashes(line)
		if continued {
			line = line[:len(line)-1]
		}
		cur.text = append(cur.text, line...)
		if !continued && len(cur.text) > 0 {
			lines = append(lines, cur)
			cur = logicalLine{}
		}
	}
	if continued || len(cur.text) > 0 {
		lines = append(lines, cur)
	}
	return lines
}

// cutLine returns the first line of text, without its end (\n, \r or \r\n),
// and what follows.
func cutLine(text []byte) (line, rest []byte) {
	for i, c := range text {
		switch {
		case c == '\n':
			return text[:i], text[i+1:]
		case c == '\r' && i+1 < len(text) && text[i+1] == '\n':
			return text[:i], text[i+2:]
		case c == '\r':
			return text[:i], text[i+1:]
		}
	}
	return text, nil
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\f' }

func trimLeftBlank(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	return b
}

func oddBackslashes(b []byte) bool {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// splitPair divides a logical line at the first =, : or blank that no
// backslash protects. Blanks around a = or : belong to the separator.
func splitPair(line []byte) (key, value []byte) {
	i := 0
	for i < len(line) && line[i] != '=' && line[i] != ':' && !isBlank(line[i]) {
		if line[i] == '\\' {
			i++
		}
		i++
	}
	i = min(i, len(line))
	key, value = line[:i], trimLeftBlank(line[i:])
	if len(value) > 0 && (value[0] == '=' || value[0] == ':') {
		value = trimLeftBlank(value[1:])
	}
	return key, value
}

// unescape resolves backslashes and turns ISO-8859-1 into UTF-8. A backslash
// before a character without a meaning of its own is dropped.
func unescape(b []byte) (string, error) {
	var units []uint16
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c != '\\' || i+1 == len(b) {
			units = append(units, uint16(c))
			continue
		}
		i++
		switch c := b[i]; c {
		case 'u':
			if i+4 >= len(b) {
				return "", errors.New(`a \u escape needs four hexadecimal digits`)
			}
			digits := string(b[i+1 : i+5])
			u, err := strconv.ParseUint(digits, 16, 16)
			if err != nil {
				return "", fmt.Errorf(`\u%q: a \u escape needs four hexadecimal digits`, digits)
			}
			units = append(units, uint16(u))
			i += 4
		case 't':
			units = append(units, '\t')
		case 'n':
			units = append(units, '\n')
		case 'r':
			units = append(units, '\r')
		case 'f':
			units = append(units, '\f')
		default:
			units = append(units, uint16(c))
		}
	}
	return string(utf16.Decode(units)), nil
}

// trimJava trims as Java's String.trim does: every character up to the space.
func trimJava(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
}
