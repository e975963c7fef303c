package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A Spec says all that goes into an image.
type Spec struct {
	// Name is what the image is found by, name:tag.
	Name       string
	Entrypoint []string
	// User is the number of the user and of the group.
	User   int
	Labels map[string]string
	// OwnedFolders are made in the image and belong to User.
	OwnedFolders []string
	Platforms    []Platform
	// DockerPlatform names the one of Platforms that docker load takes.
	DockerPlatform string
	// Created stands in the image and on its files.
	Created time.Time
}

// A Platform is a folder of files for an operating system and architecture.
type Platform struct {
	Name   string // "linux/amd64"
	Folder string
}

// buildImage makes the image of one platform.
func buildImage(s Spec, p Platform) (v1.Image, error) {
	system, arch, ok := strings.Cut(p.Name, "/")
	if !ok {
		return nil, fmt.Errorf("platform %q: want OS/ARCH", p.Name)
	}
	files, err := layerFiles(s, p.Folder)
	if err != nil {
		return nil, fmt.Errorf("files of %s: %w", p.Name, err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(files)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.Append(img, mutate.Addendum{
		Layer:     layer,
		MediaType: types.OCILayer,
		History:   v1.History{Created: v1.Time{Time: s.Created}, CreatedBy: "hack/image"},
	})
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(img, configOf(img, s, system, arch))
}

func configOf(img v1.Image, s Spec, system, arch string) *v1.ConfigFile {
	// The image is in memory: its config cannot fail to be read.
	config, err := img.ConfigFile()
	if err != nil {
		panic(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = system, arch
	config.Created = v1.Time{Time: s.Created}
	config.Config = v1.Config{
		Entrypoint: s.Entrypoint,
		User:       fmt.Sprintf("%d:%d", s.User, s.User),
		WorkingDir: "/",
		Labels:     s.Labels,
	}
	return config
}

// layerFiles packs a folder's files into a tar in the order of their names,
// owned by root, with modes that depend on being executable only: whoever
// packs the same files gets the same bytes.
func layerFiles(s Spec, folder string) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, dir := range s.OwnedFolders {
		h := header(s, strings.Trim(path.Clean(dir), "/")+"/", 0o755)
		h.Typeflag, h.Uid, h.Gid = tar.TypeDir, s.User, s.User
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	err := filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == folder {
			return err
		}
		rel, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		return add(w, s, name, filepath.ToSlash(rel), d)
	})
	if err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func add(w *tar.Writer, s Spec, name, rel string, d fs.DirEntry) error {
	if d.IsDir() {
		h := header(s, rel+"/", 0o755)
		h.Typeflag = tar.TypeDir
		return w.WriteHeader(h)
	}
	// Links are followed: what was built may be links into a cache.
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is neither a file nor a folder", name)
	}
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	h := header(s, rel, mode)
	h.Typeflag, h.Size = tar.TypeReg, int64(len(data))
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

func header(s Spec, name string, mode int64) *tar.Header {
	return &tar.Header{Name: name, Mode: mode, ModTime: s.Created, Format: tar.FormatUSTAR}
}
