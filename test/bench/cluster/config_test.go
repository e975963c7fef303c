package cluster

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBothServersGetTheSameConfiguration(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "conclave-server")
	if err := os.WriteFile(bin, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	e, err := New(Conclave, Options{Dir: dir, Binary: bin})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if len(e.Members) != Size || len(e.PIDs()) != 0 {
		t.Fatalf("%d members, processes %v", len(e.Members), e.PIDs())
	}
	for i, m := range e.Members {
		text, err := os.ReadFile(filepath.Join(m.dir, "zoo.cfg"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"tickTime=2000\n", "dataDir=" + m.dir, ";" + m.Addr.String() + "\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("member %d: no %q in\n%s", m.ID, want, text)
			}
		}
		if strings.Count(string(text), "\nserver.") != Size || strings.Contains(string(text), "forceSync") {
			t.Errorf("member %d: %s", m.ID, text)
		}
		id, err := os.ReadFile(filepath.Join(m.dir, "data", "myid"))
		if err != nil || string(id) != string(rune('1'+i))+"\n" {
			t.Errorf("member %d: myid %q, %v", m.ID, id, err)
		}
		if m.path != bin || !slices.Contains(m.args, filepath.Join(m.dir, "zoo.cfg")) {
			t.Errorf("member %d: %s %q", m.ID, m.path, m.args)
		}
	}
	if e.Close(); len(entries(t, dir)) != 1 {
		t.Errorf("%v is left behind", entries(t, dir))
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func TestAMissingBinaryIsNamed(t *testing.T) {
	dir := t.TempDir()
	_, err := New(Conclave, Options{Dir: dir, Binary: filepath.Join(dir, "nowhere")})
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("got %v", err)
	}
	if len(entries(t, dir)) != 0 {
		t.Errorf("%v is left behind", entries(t, dir))
	}
}
