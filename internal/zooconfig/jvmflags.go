package zooconfig

import (
	"errors"
	"fmt"
	"strings"
)

// flagVariables are the environment variables whose -D flags ZooKeeper's start
// script hands to Java, in the order of the command line. Of a property that
// is set twice Java keeps the last.
var flagVariables = []string{"SERVER_JVMFLAGS", "JVMFLAGS"}

// systemProperties collects the -Dkey=value flags of the environment, in the
// order in which Java would see them. Other flags concern the Java machine
// only and are passed over.
func systemProperties(getenv func(string) string) ([]entry, []problem) {
	if getenv == nil {
		return nil, nil
	}
	var (
		props    []entry
		problems []problem
	)
	for _, name := range flagVariables {
		at := origin{source: name}
		words, err := splitWords(getenv(name))
		if err != nil {
			problems = append(problems, problem{at, err})
			continue
		}
		for _, w := range words {
			if def, ok := strings.CutPrefix(w, "-D"); ok {
				key, value, _ := strings.Cut(def, "=")
				props = append(props, entry{key, trimJava(value), at})
			}
		}
	}
	return props, problems
}

// splitWords splits a line as a POSIX shell does: at blanks, with '...' taken
// literally, "..." in which a backslash protects only $ ` " and itself, and a
// backslash elsewhere protecting any character. Nothing is expanded.
func splitWords(line string) ([]string, error) {
	var (
		words []string
		word  strings.Builder
		open  bool // a word has begun, if only by an empty pair of quotes
		quote byte
	)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == '\'' && c != '\'', quote == '"' && c != '"' && c != '\\':
			word.WriteByte(c)
		case quote == c && quote != 0:
			quote = 0
		case c == '\\':
			open = true
			if i+1 == len(line) {
				return nil, errors.New("ends in a backslash that protects nothing")
			}
			if quote == '"' && !strings.ContainsRune("$`\"\\", rune(line[i+1])) {
				word.WriteByte(c)
				continue
			}
			i++
			word.WriteByte(line[i])
		case c == '\'' || c == '"':
			open, quote = true, c
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if open {
				words = append(words, word.String())
				word.Reset()
				open = false
			}
		default:
			open = true
			word.WriteByte(c)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote %c is opened and never closed", quote)
	}
	if open {
		words = append(words, word.String())
	}
	return words, nil
}
