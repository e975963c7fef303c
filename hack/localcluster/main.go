package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/host"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/machine"
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

const usage = `usage: localcluster COMMAND

  up [-nodes N]           start a cluster, or say that it runs
  down                    end it and leave nothing behind
  status                  what runs, what has crashed
  load ARCHIVE            give every node the images of an archive
  stop NODE, start NODE   pull a node's plug, and plug it in again
  exec NODE COMMAND...    run a command inside of node1.., or of "control"
  kubeconfig              print the path of the administrator's kubeconfig
  build, assets           build all programs, or etcd, kube-apiserver and kubectl
  clean                   remove programs of other versions from the cache`

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	command, args := args[0], args[1:]
	switch command {
	case "help", "-h", "-help", "--help":
		fmt.Println(usage)
		return nil
	// The two that run inside the namespaces.
	case "yard":
		return machine.RunYard(args[0])
	case "node":
		return machine.RunNode(args[0], args[1])
	}
	cache, err := parts.DefaultCache()
	if err != nil {
		return err
	}
	state, err := layout.DefaultState(cache)
	if err != nil {
		return err
	}
	if command == "up" || command == "down" {
		unlock, err := lock(filepath.Join(cache, "cluster.lock"))
		if err != nil {
			return err
		}
		defer unlock()
	}
	switch command {
	case "assets", "build", "clean", "up":
		root, err := findRoot()
		if err != nil {
			return err
		}
		b := &parts.Builder{Root: root, Cache: cache, Progress: os.Stderr}
		switch command {
		case "assets":
			return build(ctx, b, parts.APIServer())
		case "build":
			return build(ctx, b, parts.Cluster())
		case "clean":
			return b.Clean(parts.Cluster())
		}
		return up(ctx, b, state, args)
	case "down":
		return host.Down(state)
	}
	c, err := host.Running(state)
	if err != nil {
		return err
	}
	switch {
	case command == "status":
		return host.Status(os.Stdout, c)
	case command == "kubeconfig":
		fmt.Println(c.Admin())
		return nil
	case command == "load" && len(args) == 1:
		return host.Load(ctx, c, os.Stderr, args[0])
	case (command == "stop" || command == "start") && len(args) == 1:
		n, err := c.ParseNode(args[0])
		if err != nil {
			return err
		}
		if command == "stop" {
			return host.StopNode(ctx, c, n)
		}
		return host.StartNode(ctx, c, n)
	case command == "exec" && len(args) > 1:
		cmd, err := host.Command(ctx, c, args[0], args[1:]...)
		if err != nil {
			return err
		}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		return cmd.Run()
	}
	return errors.New(usage)
}

func up(ctx context.Context, b *parts.Builder, state string, args []string) error {
	f := flag.NewFlagSet("up", flag.ContinueOnError)
	nodes := f.Int("nodes", 1, "how many nodes")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp): // it is printed
		return nil
	case err != nil:
		return err
	}
	u := &host.Up{State: state, Nodes: *nodes, Builder: b, Progress: os.Stderr}
	c, err := u.Run(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("export KUBECONFIG=%s PATH=%s:$PATH\n", c.Admin(), c.Bin)
	return nil
}

// lock keeps a second start or end of the cluster waiting. The kernel drops the
// lock with its process.
func lock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
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
