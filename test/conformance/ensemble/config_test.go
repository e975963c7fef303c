package ensemble

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWriteConfig(t *testing.T) {
	dir := t.TempDir()
	cfg, err := writeConfig(dir, 2, []string{"127.1.1.1", "127.1.1.2"}, "reconfigEnabled=true")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"dataDir=" + filepath.Join(dir, "data"),
		"tickTime=500",
		"reconfigEnabled=true",
		"server.1=127.1.1.1:2888:3888:participant;127.1.1.1:2181",
		"server.2=127.1.1.2:2888:3888:participant;127.1.1.2:2181",
	} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("zoo.cfg has no line %q:\n%s", line, text)
		}
	}
	if id, err := os.ReadFile(filepath.Join(dir, "data", "myid")); err != nil || string(id) != "2\n" {
		t.Errorf("myid holds %q, %v", id, err)
	}
}

func TestParseMntr(t *testing.T) {
	got := ParseMntr("zk_version\t3.8.0, built on some day\nzk_server_state\tleader\n\nno tab\n")
	want := map[string]string{"version": "3.8.0, built on some day", "server_state": "leader"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
