package tree

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// ValidatePath says what is wrong with a path, and at which byte, or returns
// nil. The rules are ZooKeeper's (PathUtils): a path is absolute, has no empty
// component, "." or "..", does not end in a slash, and has none of the
// characters U+0000 to U+001F, U+007F to U+009F, U+D800 to U+F8FF and U+FFF0 to
// U+FFFF. Java counts characters in UTF-16, where all beyond U+FFFF consist of
// surrogates: those are not allowed either. Neither is what is not UTF-8, which
// Java reads as U+FFFD.
func ValidatePath(path string) error {
	switch {
	case path == "":
		return &PathError{path, 0, "a path can't be empty"}
	case path[0] != '/':
		return &PathError{path, 0, "a path must begin with a slash"}
	case path == "/":
		return nil
	}
	start := 1 // of the component
	for i := 1; i < len(path); {
		c := path[i]
		if c == '/' {
			if err := validateComponent(path, start, i); err != nil {
				return err
			}
			start = i + 1
		}
		if c < utf8.RuneSelf {
			if c < 0x20 || c == 0x7f {
				return &PathError{path, i, fmt.Sprintf("the character U+%04X is not allowed", c)}
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(path[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return &PathError{path, i, "not UTF-8"}
		case r <= 0x9f || r >= 0xd800 && r <= 0xf8ff || r >= 0xfff0:
			return &PathError{path, i, fmt.Sprintf("the character U+%04X is not allowed", r)}
		}
		i += size
	}
	return validateComponent(path, start, len(path))
}

func validateComponent(path string, from, to int) error {
	switch path[from:to] {
	case "":
		if to == len(path) {
			return &PathError{path, to - 1, "a path must not end with a slash"}
		}
		return &PathError{path, to, "a component is empty"}
	case ".", "..":
		return &PathError{path, from, "relative components are not allowed"}
	}
	return nil
}

// PathError is what ValidatePath says of a path that is not valid.
type PathError struct {
	Path   string
	Offset int // in bytes
	Reason string
}

func (e *PathError) Error() string {
	return fmt.Sprintf("invalid path %q: at byte %d: %s", e.Path, e.Offset, e.Reason)
}

// Split cuts a valid path into its parent's path and its last component. The
// root has neither: Split("/") is "", "".
func Split(path string) (parent, name string) {
	switch i := strings.LastIndexByte(path, '/'); {
	case len(path) < 2 || i < 0:
		return "", ""
	case i == 0:
		return "/", path[1:]
	default:
		return path[:i], path[i+1:]
	}
}
