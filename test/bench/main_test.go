package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/bench/cells"
	"github.com/conclave-dev/conclave/test/bench/cluster"
)

func TestFlags(t *testing.T) {
	c, err := parse([]string{"-quick", "-repeats", "4", "-seconds", "0.5", "-targets", "conclave", "-cells", "get,writer", "-sessions", "600", "-closed-loop-only"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c.Repeats != 4 || c.FailureRepeats != 4 || c.Measure != 500*time.Millisecond || c.Sessions != 600 || c.FirstSessions != 600 || c.Open || c.Nodes != cells.Quick.Nodes {
		t.Errorf("%+v", c.Options)
	}
	if !slices.Equal(c.kinds, []cluster.Kind{cluster.Conclave}) {
		t.Errorf("targets %v", c.kinds)
	}
	var names []string
	for _, cell := range c.cells {
		names = append(names, cell.Name)
	}
	if !slices.Equal(names, []string{"get-1", "get-16", "writer"}) {
		t.Errorf("cells %v", names)
	}
	if c, err = parse(nil, io.Discard); err != nil || c.Options != cells.Full || len(c.cells) != len(cells.All()) || len(c.kinds) != 2 {
		t.Errorf("without flags: %+v, %v", c, err)
	}
}

func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-cells", "get,nothing"}, {"-targets", "etcd"}, {"-targets", "conclave,conclave"}, {"get"}, {"-nothing"},
	} {
		if c, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q was accepted: %+v", args, c)
		}
	}
}

func TestList(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"-list"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(out.String(), "\n"); lines != len(cells.All()) {
		t.Errorf("%d lines for %d cells:\n%s", lines, len(cells.All()), out.String())
	}
}

func TestNotAChild(t *testing.T) {
	for _, args := range [][]string{nil, {"-list"}, {"fsync-probe"}, {"sessions-worker"}} {
		if err := child(args, nil, nil); err != errNoChild {
			t.Errorf("%q: %v", args, err)
		}
	}
	if err := child([]string{cells.WorkerCommand, "nowhere"}, nil, nil); err == nil || err == errNoChild {
		t.Errorf("a worker for nowhere: %v", err)
	}
}
