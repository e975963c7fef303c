package process

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// TestStop tells conclave-server to stop while clients write: it exits with 0,
// every client sees its connection closed, and what was answered is there.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			dir := dataDir(t)
			s := startProgram(t, dir).mustServe()
			const writers = 6
			answered := make([]int, writers)
			var begun, work sync.WaitGroup
			begun.Add(writers)
			for i := range writers {
				c := connect(t, s.addr)
				work.Go(func() {
					var once sync.Once
					defer once.Do(begun.Done)
					for {
						r, err := c.Call(wire.OpCreate, wire.CreateBody(fmt.Sprintf("/w%d-%d", i, answered[i]), nil, wire.OpenACL, 0))
						if err != nil {
							if !isBroken(err) {
								t.Errorf("writer %d: %v", i, err)
							}
							return
						}
						if r.Err != wire.OK {
							t.Errorf("writer %d: error %d", i, r.Err)
							return
						}
						if answered[i]++; answered[i] == 20 {
							once.Do(begun.Done)
						}
					}
				})
			}
			idle := connect(t, s.addr)
			begun.Wait()
			if err := s.p.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if got := s.exit(); got != "exit 0" {
				t.Fatalf("%s\n%s", got, s.log)
			}
			work.Wait()
			closed(t, idle)
			s = startProgram(t, dir).mustServe()
			c := connect(t, s.addr)
			there := map[string]bool{}
			for _, name := range c.must(t, wire.OpGetChildren, wire.WatchBody("/", false)).Strings() {
				there[name] = true
			}
			total := 0
			for i, n := range answered {
				for k := range n {
					if !there[fmt.Sprintf("w%d-%d", i, k)] {
						t.Errorf("/w%d-%d was answered and is gone", i, k)
					}
				}
				if there[fmt.Sprintf("w%d-%d", i, n+1)] {
					t.Errorf("/w%d-%d was never sent", i, n+1)
				}
				total += n
			}
			if len(there)-1 > total+writers {
				t.Errorf("%d nodes, %d answers", len(there)-1, total)
			}
			s.stop()
		})
	}
}

// TestStopBeforeItServes stops a founder whose fellows are not there.
func TestStopBeforeItServes(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	write(t, dir+"/data/myid", "1\n")
	var lines []string
	for i := range 3 {
		lines = append(lines, fmt.Sprintf("server.%d=%s:10001:10002", i+1, host()))
	}
	s := start(t, program(t), zooCfg(t, dir, lines...))
	eventually(t, "it has started", func() error {
		if len(s.log.lines("msg=started")) == 0 {
			return errors.New(s.log.String())
		}
		return nil
	})
	s.stop()
}

// TestLeaving tells a member to stop that is to serve on for as long as anybody may
// send it clients. It does, until it is drained and its last client is gone.
func TestLeaving(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	start := func() *server {
		return start(t, program(t), zooCfg(t, dir, "conclave.leaveMs=600000")).mustServe()
	}
	leaves := func(s *server) {
		t.Helper()
		if err := s.p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is leaving", func() error {
			if len(s.log.lines("leaving:")) == 0 {
				return errors.New("it says nothing of it")
			}
			return nil
		})
	}
	s := start()
	leaves(s)
	c := connect(t, s.addr)
	c.must(t, wire.OpCreate, wire.CreateBody("/late", nil, wire.OpenACL, 0))
	if _, err := adminpb.NewAdminClient(adminConn(t, "unix:"+admin.SocketPath(filepath.Join(dir, "data")))).Drain(t.Context(), &adminpb.DrainRequest{}); err != nil {
		t.Fatal(err)
	}
	if got := s.exit(); got != "exit 0" {
		t.Fatalf("%s\n%s", got, s.log)
	}
	closed(t, c)

	// Who can't wait tells it again.
	s = start()
	connect(t, s.addr).must(t, wire.OpGetChildren, wire.WatchBody("/late", false))
	leaves(s)
	if err := s.p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := s.exit(); got != "terminated" {
		t.Errorf("%s\n%s", got, s.log)
	}
}

// holdOn asks a member for a snapshot of itself and does not read it: a stopping
// member waits for who asked, for a bounded time.
func holdOn(t *testing.T, s *server, dir string) grpc.ServerStreamingClient[adminpb.SnapshotPart] {
	t.Helper()
	c := connect(t, s.addr)
	for i := range 4 { // much more than fits between the two
		c.must(t, wire.OpCreate, wire.CreateBody(fmt.Sprint("/large", i), make([]byte, 512<<10), wire.OpenACL, 0))
	}
	const window = 64 << 10
	conn := adminConn(t, "unix:"+admin.SocketPath(dir), grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window))
	stream, err := adminpb.NewAdminClient(conn).Snapshot(t.Context(), &adminpb.SnapshotRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// TestStopWithinABound stops a member that somebody holds on to.
func TestStopWithinABound(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := startProgram(t, dir).mustServe()
	held := holdOn(t, s, dir)
	s.stop()
	var err error
	for err == nil {
		_, err = held.Recv()
	}
	if errors.Is(err, io.EOF) {
		t.Error("it had been sent all of it: nobody held on")
	}
}

// TestSecondSignal ends such a member at once.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := startProgram(t, dir).mustServe()
	holdOn(t, s, dir)
	if err := s.p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is stopping", func() error {
		if len(s.log.lines("stopping:")) == 0 {
			return errors.New("it says nothing of it")
		}
		return nil
	})
	if err := s.p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := s.exit(); got != "terminated" {
		t.Errorf("%s\n%s", got, s.log)
	}
	startProgram(t, dir).mustServe().stop()
}
