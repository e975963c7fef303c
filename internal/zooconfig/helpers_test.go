package zooconfig

import (
	"io/fs"
	"strings"
	"testing"
)

// world is an Env of fixed files and variables.
func world(files, vars map[string]string) Env {
	return Env{
		Getenv: func(name string) string { return vars[name] },
		ReadFile: func(name string) ([]byte, error) {
			if text, ok := files[name]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
	}
}

const base = "dataDir=/d\nclientPort=2181\n"

// three are the lines of an ensemble of three.
const three = "server.1=zoo1:2888:3888\nserver.2=zoo2:2888:3888\nserver.3=zoo3:2888:3888\n"

// myid is a world in which the server's number is id.
func myid(id string) Env { return world(map[string]string{"/d/myid": id}, nil) }

func mustParse(t *testing.T, text string, env Env) (*Config, []string) {
	t.Helper()
	c, warnings, err := Parse("zoo.cfg", []byte(text), env)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return c, warnings
}

// mustFail returns the messages of the error, one per line.
func mustFail(t *testing.T, text string, env Env) []string {
	t.Helper()
	c, _, err := Parse("zoo.cfg", []byte(text), env)
	if err == nil {
		t.Fatalf("%q: accepted", text)
	}
	if c != nil {
		t.Errorf("%q: a Config along with an error", text)
	}
	return strings.Split(err.Error(), "\n")
}

// wantContains checks that each of got contains its counterpart of want, and
// that there are no others.
func wantContains(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: got %d, want %d:\n%s", what, len(got), len(want), strings.Join(got, "\n"))
		return
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("%s: %q does not contain %q", what, got[i], want[i])
		}
	}
}
