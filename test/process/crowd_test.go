package process

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// crowd is how many clients come at once: several times what the server lets into
// its log at a time.
func crowd() int {
	if raceEnabled() {
		return 2500
	}
	return 5000
}

// TestCrowd kills a server with thousands of sessions, and has all of their
// clients back at the moment that it serves again. Each finds its session, and
// with it its ephemeral node; nobody has expired; and who is in already is served
// meanwhile.
func TestCrowd(t *testing.T) {
	t.Parallel()
	a := zooCfg(t, dataDir(t), "tickTime=2000", "maxClientCnxns=0", "4lw.commands.whitelist=*")
	s := start(t, program(t), a).mustServe()
	all := make([]*session, crowd())
	var work sync.WaitGroup
	for part := range slices.Chunk(all, (len(all)+15)/16) {
		work.Go(func() {
			for i := range part {
				part[i] = &session{timeout: 40 * time.Second}
				if err := part[i].open(s.addr); err != nil {
					t.Error(err)
					return
				}
				r, err := part[i].Call(wire.OpCreate, wire.CreateBody("/e-", nil, wire.OpenACL, wire.EphemeralSequential))
				if err != nil || r.Err != wire.OK {
					t.Errorf("%v, error %d", err, r.Err)
					return
				}
			}
		})
	}
	work.Wait()
	if t.Failed() {
		return
	}
	if err := s.p.Kill(); err != nil {
		t.Fatal(err)
	}
	s.exit()
	for _, c := range all {
		_ = c.Close()
	}

	s = start(t, program(t), a).mustServe()
	in := connect(t, s.addr)
	began := time.Now()
	conns := make([]*wire.Conn, len(all))
	for i, c := range all {
		nc, err := net.DialTimeout("tcp", s.addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		conns[i] = &wire.Conn{Conn: nc, Timeout: patience}
		hello := frame(wire.ConnectRequest{Timeout: c.timeout, SessionID: c.id, Passwd: c.passwd}.Encode())
		if _, err := nc.Write(hello); err != nil {
			t.Fatal(err)
		}
	}
	asked := time.Since(began)
	var slowest time.Duration
	done := make(chan struct{})
	work.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			at := time.Now()
			r, err := in.Call(wire.OpCreate, wire.CreateBody(fmt.Sprintf("/in%d", i), nil, wire.OpenACL, 0))
			if err != nil || r.Err != wire.OK {
				t.Errorf("write %d: %v, error %d", i, err, r.Err)
				return
			}
			slowest = max(slowest, time.Since(at))
		}
	})
	for i, c := range conns {
		var r wire.ConnectResponse
		body, err := c.RecvFrame()
		if err == nil {
			r, err = wire.DecodeConnectResponse(body)
		}
		if err != nil || r.SessionID != all[i].id {
			t.Fatalf("client %d asked for session %#x and got %#x, %v", i, all[i].id, r.SessionID, err)
		}
	}
	took := time.Since(began)
	close(done)
	work.Wait()
	t.Logf("%d clients asked within %v, and have their sessions after %v; the slowest write meanwhile took %v", len(all), asked, took, slowest)
	nodes := 0
	for _, name := range in.must(t, wire.OpGetChildren, wire.WatchBody("/", false)).Strings() {
		if name[0] == 'e' {
			nodes++
		}
	}
	if expired := s.log.lines("session expired"); nodes != len(all) || len(expired) > 0 {
		t.Errorf("%d of %d ephemeral nodes are left, %d sessions have expired", nodes, len(all), len(expired))
	}
	s.stop()
}

// TestPause stops the process, not the machine, for longer than a session's
// timeout. That was not its clients' silence: they find their sessions.
func TestPause(t *testing.T) {
	t.Parallel()
	s := start(t, program(t), zooCfg(t, dataDir(t), "tickTime=500", "maxClientCnxns=0", "4lw.commands.whitelist=*")).mustServe()
	c := &session{timeout: time.Second}
	if err := c.open(s.addr); err != nil {
		t.Fatal(err)
	}
	c.must(t, wire.OpCreate, wire.CreateBody("/e", nil, wire.OpenACL, 1))
	if err := s.p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	// What is tested is a pause of this length; nothing is waited for.
	time.Sleep(4 * c.timeout)
	if err := s.p.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := c.open(s.addr); err != nil {
		t.Fatal(err)
	}
	c.must(t, wire.OpExists, wire.WatchBody("/e", false))
	if lines := s.log.lines("WARN", "this process was paused; no session is expired for it", "for="); len(lines) != 1 {
		t.Errorf("it says %q", lines)
	}
	_ = c.Close()
	s.stop()
}
