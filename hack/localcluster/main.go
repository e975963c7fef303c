package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/parts"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "localcluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("which command? assets, build or clean")
	}
	root, err := findRoot()
	if err != nil {
		return err
	}
	cache, err := parts.DefaultCache()
	if err != nil {
		return err
	}
	b := &parts.Builder{Root: root, Cache: cache, Progress: os.Stderr}
	switch args[0] {
	case "assets":
		return build(ctx, b, parts.APIServer())
	case "build":
		return build(ctx, b, parts.Cluster())
	case "clean":
		return b.Clean(parts.Cluster())
	}
	return fmt.Errorf("unknown command %q", args[0])
}

// build prints the folder of what was built, alone on standard output: scripts read it.
func build(ctx context.Context, b *parts.Builder, list []parts.Part) error {
	dir, err := b.Build(ctx, list)
	if err != nil {
		return err
	}
	fmt.Println(dir)
	return nil
}

// findRoot walks up from the working folder to the clone's top.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "hack", "localcluster", "build", "kubernetes", "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s is not inside a clone of Conclave", dir)
		}
	}
}
