package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/member"
	"github.com/conclave-dev/conclave/internal/zooconfig"
)

func TestPredecessor(t *testing.T) {
	names := []string{"_c_ff-n-0000000003", "_c_00-n-0000000010", "note", "_c_aa-n-0000000002", "n-x"}
	for me, want := range map[string]string{
		"_c_aa-n-0000000002": "",
		"_c_ff-n-0000000003": "_c_aa-n-0000000002",
		"_c_00-n-0000000010": "_c_ff-n-0000000003",
	} {
		if before, there := predecessor(names, me); before != want || !there {
			t.Errorf("before %s stands %q, %v; want %q", me, before, there, want)
		}
	}
	if before, there := predecessor(names, "_c_bb-n-0000000001"); there {
		t.Errorf("one that is not there stands behind %q", before)
	}
}

// patience bounds what only takes long if something is broken.
const patience = 2 * time.Minute

// startMember runs an ensemble of one in this process.
func startMember(t *testing.T) (address string) {
	t.Helper()
	host := fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(128), rand.IntN(256), 1+rand.IntN(254))
	text := fmt.Sprintf("dataDir=%s\nclientPort=2181\nclientPortAddress=%s\ntickTime=500\nadmin.enableServer=false\n", filepath.Join(t.TempDir(), "data"), host)
	cfg, _, err := zooconfig.Parse("zoo.cfg", []byte(text), zooconfig.OSEnv())
	if err != nil {
		t.Fatal(err)
	}
	m, err := member.Start(member.Options{Config: cfg, Version: admin.Version{Number: "test"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Stop() })
	return host + ":2181"
}

type reign struct {
	name  string
	token int64
}

// The three lead in the order in which they came, each with a higher token, whether
// the one before was asked to end or its node was taken away; and one whose node is
// gone joins the line again, at its end.
func TestElection(t *testing.T) {
	address := startMember(t)
	reigns := make(chan reign)
	stop := map[string]func(){}
	for _, name := range []string{"a", "b", "c"} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		stop[name] = func() { cancel(); <-ended }
		t.Cleanup(stop[name])
		inLine := make(chan struct{}, 100)
		c := &candidate{servers: []string{address}, dir: "/election/worker", name: name, timeout: 20 * time.Second}
		c.logf = func(format string, args ...any) {
			t.Logf(name+": "+format, args...)
			if strings.HasPrefix(format, "session ") {
				inLine <- struct{}{}
			}
		}
		c.lead = func(ctx context.Context, token int64) {
			select {
			case reigns <- reign{name, token}:
				<-ctx.Done()
			case <-ctx.Done():
			}
		}
		go func() {
			defer close(ended)
			c.run(ctx)
		}()
		select {
		case <-inLine:
		case <-time.After(patience):
			t.Fatalf("%s does not take part", name)
		}
	}
	var last int64
	next := func(want string) {
		t.Helper()
		select {
		case r := <-reigns:
			if r.name != want || r.token <= last {
				t.Fatalf("%+v leads after token %d, want %s", r, last, want)
			}
			last = r.token
		case <-time.After(patience):
			t.Fatalf("%s does not come to lead", want)
		}
	}
	next("a")
	stop["a"]()
	next("b")

	conn, _, err := zk.Connect([]string{address}, 20*time.Second, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	remove := func(name string) {
		t.Helper()
		names, _, err := conn.Children("/election/worker")
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			path := "/election/worker/" + n
			if data, _, err := conn.Get(path); err == nil && string(data) == name {
				if err := conn.Delete(path, -1); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
		t.Fatalf("no candidate %s in %q", name, names)
	}
	remove("b")
	next("c")
	stop["c"]()
	next("b")
}
