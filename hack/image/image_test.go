package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// folder makes files, each with a time and a umask's mode of its own.
func folder(t *testing.T, mode os.FileMode, age time.Duration) string {
	t.Helper()
	dir := t.TempDir()
	for name, m := range map[string]os.FileMode{"conclave-server": 0o700 | mode, "etc/notes": 0o600 | mode} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte("bytes of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, m); err != nil {
			t.Fatal(err)
		}
		then := time.Unix(1e9, 0).Add(age)
		if err := os.Chtimes(p, then, then); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func spec(amd, arm string) Spec {
	return Spec{
		Name: "conclave:test", Entrypoint: []string{"/conclave-server"}, User: 65532,
		Labels: map[string]string{"a": "b"}, OwnedFolders: []string{"/data"},
		Platforms:      []Platform{{"linux/amd64", amd}, {"linux/arm64", arm}},
		DockerPlatform: "linux/amd64", Created: time.Unix(1e9, 0).UTC(),
	}
}

func write(t *testing.T, s Spec) (string, []byte) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "image.tar")
	digest, err := Write(out, s)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return digest, data
}

func untar(t *testing.T, r io.Reader) (map[string][]byte, []string) {
	t.Helper()
	files := make(map[string][]byte)
	var lines []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, lines
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = data
		lines = append(lines, fmt.Sprintf("%s %o %d:%d %d", h.Name, h.Mode, h.Uid, h.Gid, h.ModTime.Unix()))
	}
}

// Times and the modes that a umask decides do not matter, being executable does.
func TestSameFilesGiveTheSameBytes(t *testing.T) {
	d1, a1 := write(t, spec(folder(t, 0o055, 0), folder(t, 0o055, 0)))
	d2, a2 := write(t, spec(folder(t, 0o044, time.Hour), folder(t, 0o000, time.Minute)))
	// 0o055 made the notes executable.
	if d1 == d2 || bytes.Equal(a1, a2) {
		t.Fatal("an executable file and one that is not gave the same image")
	}
	d3, a3 := write(t, spec(folder(t, 0o000, 0), folder(t, 0o044, 0)))
	if d2 != d3 || !bytes.Equal(a2, a3) {
		t.Fatalf("the same files with other times and modes: %s and %s", d2, d3)
	}
}

func TestWhatIsInTheArchive(t *testing.T) {
	dir := folder(t, 0o044, 0)
	digest, data := write(t, spec(dir, dir))
	files, _ := untar(t, bytes.NewReader(data))

	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	decode(t, files["index.json"], &index)
	if len(index.Manifests) != 1 || index.Manifests[0].Digest != digest ||
		index.Manifests[0].Annotations["io.containerd.image.name"] != "docker.io/library/conclave:test" {
		t.Fatalf("index.json: %s", files["index.json"])
	}
	var platforms struct {
		Manifests []struct {
			Platform struct{ OS, Architecture string }
		}
	}
	decode(t, files["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")], &platforms)
	if len(platforms.Manifests) != 2 || platforms.Manifests[1].Platform.Architecture != "arm64" {
		t.Fatalf("platforms: %+v", platforms)
	}
	var docker []dockerManifest
	decode(t, files["manifest.json"], &docker)
	if len(docker) != 1 || !reflect.DeepEqual(docker[0].RepoTags, []string{"conclave:test"}) || len(docker[0].Layers) != 1 {
		t.Fatalf("manifest.json: %+v", docker)
	}
	var config struct {
		Architecture string
		Config       struct {
			User       string
			Entrypoint []string
		}
	}
	decode(t, files[docker[0].Config], &config)
	if config.Architecture != "amd64" || config.Config.User != "65532:65532" || config.Config.Entrypoint[0] != "/conclave-server" {
		t.Fatalf("config: %s", files[docker[0].Config])
	}
	gz, err := gzip.NewReader(bytes.NewReader(files[docker[0].Layers[0]]))
	if err != nil {
		t.Fatal(err)
	}
	_, lines := untar(t, gz)
	want := []string{
		"data/ 755 65532:65532 1000000000",
		"conclave-server 755 0:0 1000000000",
		"etc/ 755 0:0 1000000000",
		"etc/notes 644 0:0 1000000000",
	}
	if !reflect.DeepEqual(lines, want) {
		t.Fatalf("layer:\n%s", strings.Join(lines, "\n"))
	}
}

func TestRefusals(t *testing.T) {
	for _, args := range [][]string{
		{"-out", "x", "-name", "a:b", "-entrypoint", "/a"},
		{"-out", "x", "-name", "A B", "-entrypoint", "/a", "-platform", "linux/amd64=" + t.TempDir()},
		{"-out", "x", "-name", "a:b", "-entrypoint", "/a", "-platform", "linux/arm64=" + t.TempDir()},
		{"-out", "x", "-name", "a:b", "-entrypoint", "/a", "-platform", "linux=" + t.TempDir(), "-docker-platform", "linux"},
		{"-out", "x", "-name", "a:b", "-entrypoint", "/a", "-platform", "linux/amd64"},
	} {
		if err := run(args); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

func decode(t *testing.T, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%q: %v", data, err)
	}
}
