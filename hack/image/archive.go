package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// dockerManifest is an entry of manifest.json, which docker load reads.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// archive gathers the files of an OCI layout by their names.
type archive struct{ files map[string][]byte }

// Write makes the image and writes it to the file out, which either is whole or
// does not exist. It returns the digest by which a registry would know it.
func Write(out string, s Spec) (string, error) {
	ref, err := name.NewTag(s.Name)
	if err != nil {
		return "", fmt.Errorf("name of the image: %w", err)
	}
	// The library's name of Docker's registry is not the one in use elsewhere.
	full := strings.Replace(ref.Name(), "index.docker.io/", "docker.io/", 1)

	a := &archive{files: make(map[string][]byte)}
	var docker []dockerManifest
	var parts []mutate.IndexAddendum
	for _, p := range s.Platforms {
		img, err := buildImage(s, p)
		if err != nil {
			return "", err
		}
		entry, err := a.addImage(img)
		if err != nil {
			return "", err
		}
		if p.Name == s.DockerPlatform {
			entry.RepoTags = []string{strings.TrimPrefix(strings.TrimPrefix(full, "docker.io/"), "library/")}
			docker = append(docker, entry)
		}
		system, arch, _ := strings.Cut(p.Name, "/")
		parts = append(parts, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			MediaType: types.OCIManifestSchema1,
			Platform:  &v1.Platform{OS: system, Architecture: arch},
		}})
	}
	if len(docker) == 0 {
		return "", fmt.Errorf("-docker-platform %s is none of the image's platforms", s.DockerPlatform)
	}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), parts...)
	digest, err := a.addIndex(index, full, ref.TagStr())
	if err != nil {
		return "", err
	}
	if err := a.addJSON("manifest.json", docker); err != nil {
		return "", err
	}
	return digest, a.write(out, s)
}

// addImage adds an image's blobs.
func (a *archive) addImage(img v1.Image) (dockerManifest, error) {
	var entry dockerManifest
	manifest, err := img.RawManifest()
	if err != nil {
		return entry, err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return entry, err
	}
	a.addBlob(manifest)
	entry.Config = a.addBlob(config)
	layers, err := img.Layers()
	if err != nil {
		return entry, err
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			return entry, err
		}
		data, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return entry, err
		}
		entry.Layers = append(entry.Layers, a.addBlob(data))
	}
	return entry, nil
}

// addIndex adds the index of the platforms and the layout's own, which names it.
func (a *archive) addIndex(index v1.ImageIndex, full, tag string) (string, error) {
	raw, err := index.RawManifest()
	if err != nil {
		return "", err
	}
	blob := a.addBlob(raw)
	digest := "sha256:" + filepath.Base(blob)
	hash, err := v1.NewHash(digest)
	if err != nil {
		return "", err
	}
	err = a.addJSON("index.json", v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests: []v1.Descriptor{{
			MediaType: types.OCIImageIndex,
			Size:      int64(len(raw)),
			Digest:    hash,
			Annotations: map[string]string{
				"io.containerd.image.name":          full,
				"org.opencontainers.image.ref.name": tag,
			},
		}},
	})
	a.files["oci-layout"] = []byte(`{"imageLayoutVersion":"1.0.0"}`)
	return digest, err
}

// addBlob adds data under its hash and returns its name in the archive.
func (a *archive) addBlob(data []byte) string {
	// Hashing memory cannot fail.
	hash, _, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		panic(err)
	}
	blob := "blobs/sha256/" + hash.Hex
	a.files[blob] = data
	return blob
}

func (a *archive) addJSON(file string, v any) error {
	data, err := json.Marshal(v)
	a.files[file] = data
	return err
}

func (a *archive) write(out string, s Spec) error {
	var names []string
	for n := range a.files {
		names = append(names, n)
	}
	sort.Strings(names)
	f, err := os.CreateTemp(filepath.Dir(out), ".image-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	w := tar.NewWriter(f)
	for _, n := range names {
		h := header(s, n, 0o644)
		h.Typeflag, h.Size = tar.TypeReg, int64(len(a.files[n]))
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(a.files[n]); err != nil {
			return err
		}
	}
	if err := errors.Join(w.Close(), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), out)
}
