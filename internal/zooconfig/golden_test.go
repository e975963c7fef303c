package zooconfig

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestRealConfigurations reads configurations in the shapes found in the
// field. Each directory under testdata/configs has a zoo.cfg, the files that it
// refers to under their last name, the environment variables as files, and in
// the file want what must come of it.
func TestRealConfigurations(t *testing.T) {
	dirs, err := filepath.Glob("testdata/configs/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no configurations", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			env := dirEnv(dir)
			text, err := env.ReadFile("zoo.cfg")
			if err != nil {
				t.Fatal(err)
			}
			got := describe(Parse("zoo.cfg", text, env))
			golden := filepath.Join(dir, "want")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// dirEnv finds files by their last name and variables as files in dir.
func dirEnv(dir string) Env {
	return Env{
		Getenv: func(name string) string {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "unreadable: " + err.Error()
			}
			return string(text)
		},
		ReadFile: func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, filepath.Base(name))) },
	}
}

// describe renders what Parse returned, one line for each warning, error and
// field.
func describe(c *Config, warnings []string, err error) string {
	var b strings.Builder
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	if err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			fmt.Fprintf(&b, "error: %s\n", line)
		}
		return b.String()
	}
	v := reflect.ValueOf(*c)
	for i := range v.NumField() {
		fmt.Fprintf(&b, "%s: %+v\n", v.Type().Field(i).Name, v.Field(i).Interface())
	}
	return b.String()
}
