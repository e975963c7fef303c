package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func run(args []string) error {
	f := flag.NewFlagSet("image", flag.ContinueOnError)
	var platforms, labels, owned list
	f.Var(&platforms, "platform", "OS/ARCH=FOLDER: the files of the image on this platform (several)")
	f.Var(&labels, "label", "KEY=VALUE (several)")
	f.Var(&owned, "own", "a folder to make in the image, which belongs to -user (several)")
	spec := Spec{}
	out := f.String("out", "", "archive to write")
	f.StringVar(&spec.Name, "name", "", "name:tag of the image")
	entrypoint := f.String("entrypoint", "", "program that the image runs")
	f.IntVar(&spec.User, "user", 65532, "user and group that it runs as")
	f.StringVar(&spec.DockerPlatform, "docker-platform", "linux/amd64", "the platform that docker load gets")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *out == "" || spec.Name == "" || *entrypoint == "" || len(platforms) == 0 {
		return fmt.Errorf("-out, -name, -entrypoint and at least one -platform are needed")
	}
	spec.Entrypoint = []string{*entrypoint}
	spec.OwnedFolders = owned
	spec.Labels = make(map[string]string)
	for _, l := range labels {
		k, v, ok := strings.Cut(l, "=")
		if !ok {
			return fmt.Errorf("-label %s: want KEY=VALUE", l)
		}
		spec.Labels[k] = v
	}
	for _, p := range platforms {
		name, dir, ok := strings.Cut(p, "=")
		if !ok {
			return fmt.Errorf("-platform %s: want OS/ARCH=FOLDER", p)
		}
		spec.Platforms = append(spec.Platforms, Platform{Name: name, Folder: dir})
	}
	if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH=%s: want seconds since 1970", s)
		}
		spec.Created = time.Unix(n, 0).UTC()
	} else {
		spec.Created = time.Unix(0, 0).UTC()
	}
	digest, err := Write(*out, spec)
	if err != nil {
		return err
	}
	fmt.Println(digest)
	return nil
}
