package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/conclave-dev/conclave/test/bench/cells"
	"github.com/conclave-dev/conclave/test/bench/cluster"
	"github.com/conclave-dev/conclave/test/bench/disk"
	"github.com/conclave-dev/conclave/test/bench/report"
)

func main() {
	err := child(os.Args[1:], os.Stdin, os.Stdout)
	if errors.Is(err, errNoChild) {
		err = run(os.Args[1:], os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

var errNoChild = errors.New("not started as a child of itself")

// child is what this program does when it has started itself.
func child(args []string, in io.Reader, out io.Writer) error {
	switch {
	case len(args) == 3 && args[0] == disk.Command:
		d, err := time.ParseDuration(args[2])
		if err != nil {
			return err
		}
		return disk.Child(args[1], d, in, out)
	case len(args) == 2 && args[0] == cells.WorkerCommand:
		server, err := netip.ParseAddrPort(args[1])
		if err != nil {
			return err
		}
		return cells.Worker(server, in, out)
	}
	return errNoChild
}

// config is what the flags say.
type config struct {
	cells.Options
	kinds   []cluster.Kind
	cells   []cells.Cell
	dir     string
	out     string
	javaOps string
	enforce bool
	list    bool
}

func parse(args []string, errOut io.Writer) (*config, error) {
	c := &config{Options: cells.Full}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(errOut)
	targets := f.String("targets", "zookeeper,conclave", "the servers, in this order")
	names := f.String("cells", "all", "cells to run, separated by commas; a name without its depth stands for every depth")
	quick := f.Bool("quick", false, "short samples, one repeat: shows that everything works")
	repeats := f.Int("repeats", 0, "samples of each cell (default 3, failures 5)")
	seconds := f.Float64("seconds", 0, "length of a throughput sample (default 5)")
	f.StringVar(&c.dir, "dir", filepath.Join("run", "bench"), "where the members' data goes; it has to be on the disk that is measured")
	f.StringVar(&c.out, "out", filepath.Join("run", "bench", "report"), "where report.md and report.json go")
	f.StringVar(&c.javaOps, "java-options", "", "options for ZooKeeper's JVM; Debian's package gives none")
	f.IntVar(&c.Threads, "threads", c.Threads, "threads of the generator in throughput cells")
	f.IntVar(&c.Conns, "conns", c.Conns, "connections in throughput cells")
	f.IntVar(&c.Locks, "locks", c.Locks, "locks that the lock cell's connections contend for")
	sessions := f.Int("sessions", 0, "sessions held in the sessions cell (default 45000)")
	nodes := f.Int("nodes", 0, "nodes in the nodes cell (default 1000000)")
	closedOnly := f.Bool("closed-loop-only", false, "leave out the open loops")
	f.BoolVar(&c.Profile, "profile", false, "also run Conclave's throughput cells under perf, outside the samples")
	f.BoolVar(&c.enforce, "enforce", false, "fail if a bar is not reached")
	f.BoolVar(&c.list, "list", false, "say what the cells are")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if *quick {
		profile, threads, conns, locks := c.Profile, c.Threads, c.Conns, c.Locks
		c.Options = cells.Quick
		c.Profile, c.Threads, c.Conns, c.Locks = profile, threads, conns, locks
	}
	c.Open = !*closedOnly
	if *repeats > 0 {
		c.Repeats, c.FailureRepeats = *repeats, *repeats
	}
	if *seconds > 0 {
		c.Measure = time.Duration(*seconds * float64(time.Second))
	}
	if *sessions > 0 {
		c.Sessions = *sessions
		c.FirstSessions = min(c.FirstSessions, *sessions)
	}
	if *nodes > 0 {
		c.Nodes = *nodes
	}
	for name := range strings.SplitSeq(*targets, ",") {
		kind := cluster.Kind(name)
		if kind != cluster.ZooKeeper && kind != cluster.Conclave || slices.Contains(c.kinds, kind) {
			return nil, fmt.Errorf("-targets %s: %q is not one of zookeeper and conclave, or is there twice", *targets, name)
		}
		c.kinds = append(c.kinds, kind)
	}
	var err error
	c.cells, err = choose(*names)
	return c, err
}

// choose returns the cells that the names stand for, in their own order.
func choose(names string) ([]cells.Cell, error) {
	all := cells.All()
	if names == "all" {
		return all, nil
	}
	wanted := make(map[string]bool)
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for _, c := range all {
			if c.Name == name || c.Name == name+"-1" || c.Name == name+"-16" {
				wanted[c.Name], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("-cells: there is no cell %q; -list says which there are", name)
		}
	}
	return slices.DeleteFunc(all, func(c cells.Cell) bool { return !wanted[c.Name] }), nil
}

func run(args []string, out, errOut io.Writer) error {
	c, err := parse(args, errOut)
	if err != nil {
		return err
	}
	if c.list {
		for _, cell := range c.cells {
			fmt.Fprintf(out, "%-16s %s\n", cell.Name, cell.About)
		}
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	binary := os.Getenv("CONCLAVE_BIN")
	if binary == "" {
		binary = filepath.Join("bin", "conclave-server")
	}
	began := time.Now()
	env := &cells.Env{
		Options: c.Options,
		Cluster: cluster.Options{Dir: c.dir, Binary: binary, JavaOptions: strings.Fields(c.javaOps)},
		Program: program,
		Out:     c.out,
		Log: func(format string, args ...any) {
			fmt.Fprintf(errOut, "%6.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
		},
	}
	if err := os.MkdirAll(c.out, 0o755); err != nil {
		return err
	}
	r := &report.Report{
		Began: began, Machine: machine(), Command: "bench " + strings.Join(args, " "),
		Baseline: string(cluster.ZooKeeper), Ours: string(cluster.Conclave), Notes: notes(c),
	}
	for _, cell := range c.cells {
		if !c.Open {
			cell.Bars = slices.DeleteFunc(cell.Bars, func(b report.Bar) bool { return b.Metric == report.OpenP99 })
		}
		r.Cells = append(r.Cells, cell.Cell)
	}
	stop, release := interrupted()
	defer release()
	runErr := cells.Run(env, c.kinds, c.cells, r, stop)
	// What was measured before an error is worth having.
	r.Summary(out)
	if err := errors.Join(runErr, r.Save(c.out)); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nEverything is in %s.\n", filepath.Join(c.out, "report.md"))
	_, failed, broken := r.Verdict()
	switch {
	case broken > 0:
		return fmt.Errorf("%d samples failed", broken)
	case c.enforce && failed > 0:
		return fmt.Errorf("%d bars were not reached", failed)
	}
	return nil
}

// interrupted returns a function that tells whether somebody wants the run to
// end. The first signal lets the sample under way finish and the ensembles be
// taken down; the second one ends the process.
func interrupted() (stop func() bool, release func()) {
	var asked atomic.Bool
	signals := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			fmt.Fprintln(os.Stderr, "bench: stopping after this sample; once more to stop at once")
			asked.Store(true)
			signal.Stop(signals)
		case <-done:
			signal.Stop(signals)
		}
	}()
	return asked.Load, func() { close(done) }
}
