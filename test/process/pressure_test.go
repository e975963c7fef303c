package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// leeway is how much more memory a server may come to use under attack, in
// bytes. What the attacks ask for is a quarter of a gigabyte at least, several
// times over; the collector, and the race detector even more so, need some room.
func leeway() int64 {
	if raceEnabled() {
		return 900 << 20
	}
	return 300 << 20
}

// bounded fails the test if the server's memory has grown too much since it had
// so many bytes.
func (v *victim) bounded(since int64) {
	v.t.Helper()
	_, peak := v.memory()
	v.t.Logf("memory went from %d to %d MiB", since>>20, peak>>20)
	if peak-since > leeway() {
		v.t.Errorf("the server came to use %d MiB", peak>>20)
	}
}

const big = 300_000

// startBig starts a victim with a large node, and little room for what clients
// do not read.
func startBig(t testing.TB) *victim {
	t.Helper()
	v := startVictim(t, "conclave.maxUnsentBytes=1048576")
	connect(t, v.addr).must(t, wire.OpCreate, wire.CreateBody("/big", bytes.Repeat([]byte("b"), big), wire.OpenACL, 0))
	return v
}

// requests returns n requests in one piece.
func pieces(first int32, op int32, body []byte, n int) []byte {
	var b []byte
	for i := range int32(n) {
		b = append(b, frame(wire.Request(first+i, op, body))...)
	}
	return b
}

// TestReadsThatNobodyReads asks for gigabytes and reads nothing for a while:
// the server keeps little of it in memory. Then all of it comes.
func TestReadsThatNobodyReads(t *testing.T) {
	t.Parallel()
	const n = 900
	get := wire.WatchBody("/big", false)
	for name, raw := range map[string][]byte{
		"reads":                pieces(1, wire.OpGetData, get, n),
		"reads behind a write": append(pieces(1, wire.OpSetData, wire.SetDataBody("/witness2", nil, -1), 1), pieces(2, wire.OpGetData, get, n-1)...),
		"reads among writes": func() (b []byte) {
			for i := range int32(n / 2) {
				b = append(b, pieces(1+2*i, wire.OpSetData, wire.SetDataBody("/witness2", nil, -1), 1)...)
				b = append(b, pieces(2+2*i, wire.OpGetData, get, 1)...)
			}
			return b
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := startBig(t)
			s := connect(t, v.addr)
			now, _ := v.memory()
			if err := s.SendRaw(raw); err != nil {
				t.Fatal(err)
			}
			// The server is at it once the others have been served twice.
			for range 2 {
				connect(t, v.addr).must(t, wire.OpSync, wire.PathBody("/"))
			}
			v.bounded(now)
			for i := range int32(n) {
				r, err := s.Recv()
				if err != nil || r.Xid != 1+i {
					t.Fatalf("reply %d: xid %d, error %d, %v", 1+i, r.Xid, r.Err, err)
				}
			}
			v.bounded(now)
		})
	}
}

// TestReaderThatNeverReads loses its connection, not its session.
func TestReaderThatNeverReads(t *testing.T) {
	t.Parallel()
	v := startBig(t)
	s := &session{timeout: time.Second}
	if err := s.open(v.addr); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SendRaw(pieces(1, wire.OpGetData, wire.WatchBody("/big", false), 500)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection is closed", func() error {
		cons, err := fourLetter(v.addr, "cons")
		if err == nil && strings.Contains(cons, s.LocalAddr().String()) {
			err = errors.New("it is open")
		}
		return err
	})
	v.said("connection closed", s.name(), client(s))
}

// TestManyReadsInOne asks, in one request, for more than fits into memory.
func TestManyReadsInOne(t *testing.T) {
	t.Parallel()
	v := startBig(t)
	s := connect(t, v.addr)
	now, _ := v.memory()
	var ops []wire.MultiOp
	for range 30_000 {
		ops = append(ops, wire.MultiOp{Type: wire.OpGetData, Body: wire.WatchBody("/big", false)})
	}
	if code, open, err := attempt(s, wire.OpMultiRead, wire.MultiBody(ops...)); err != nil || !open || code == wire.OK {
		t.Errorf("error %d, open %v, %v", code, open, err)
	}
	v.bounded(now)
	// What a client could take is no trouble.
	r := s.must(t, wire.OpMultiRead, wire.MultiBody(ops[:1]...))
	if results, err := wire.DecodeMulti(r.Rest()); err != nil || len(results) != 1 || len(results[0].Data) != big {
		t.Errorf("one of them: %v", err)
	}
}

// TestWritesWithoutEnd sends large writes faster than any disk takes them.
func TestWritesWithoutEnd(t *testing.T) {
	t.Parallel()
	v := startBig(t)
	now, _ := v.memory()
	const n = 60
	raw := pieces(1, wire.OpSetData, wire.SetDataBody("/big", make([]byte, big), -1), n)
	var work sync.WaitGroup
	for range 8 {
		s := connect(t, v.addr)
		work.Go(func() {
			if err := s.SendRaw(raw); err != nil {
				t.Error(err)
			}
		})
		work.Go(func() {
			for i := range int32(n) {
				if r, err := s.Recv(); err != nil || r.Xid != 1+i || r.Err != wire.OK {
					t.Errorf("reply %d: %+v, %v", 1+i, r.Xid, err)
					return
				}
			}
		})
	}
	work.Wait()
	v.bounded(now)
}

// TestEventsThatNobodyReads lets a client watch what changes and not read it.
// Its connection goes; its session, and everybody else, stays.
func TestEventsThatNobodyReads(t *testing.T) {
	t.Parallel()
	v := startBig(t)
	s := &session{timeout: 10 * time.Second}
	if err := s.open(v.addr); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.must(t, wire.OpAddWatch, wire.PathIntBody("/", 1))
	w := connect(t, v.addr)
	name := strings.Repeat("n", 100_000)
	gone := func() bool { return len(v.log.lines("does not read what it is sent", s.name())) > 0 }
	for i := 0; !gone(); i++ {
		if i == 5000 {
			t.Fatal("the connection of a client that reads nothing is still there")
		}
		w.must(t, wire.OpCreate, wire.CreateBody("/"+name, nil, wire.OpenACL, 0))
		w.must(t, wire.OpDelete, wire.VersionBody("/"+name, -1))
	}
	v.said("WARN", "connection closed: the client does not read what it is sent", s.name(), client(s), "unsent_bytes=")
	if err := s.open(v.addr); err != nil {
		t.Errorf("the session: %v", err)
	}
}

// TestAnnouncedFrames announces large frames on many connections, and sends
// next to nothing: nobody allocates on trust.
func TestAnnouncedFrames(t *testing.T) {
	t.Parallel()
	v := startVictim(t, "minSessionTimeout=20000", "maxSessionTimeout=20000")
	now, _ := v.memory()
	const n = 1500
	var conns []net.Conn
	for i := range n {
		raw := length(1048000, 0)
		if i%2 == 0 {
			raw = append(frame(wire.ConnectRequest{Timeout: 20 * time.Second}.Encode()), raw...)
		}
		conns = append(conns, v.dial(raw))
	}
	eventually(t, "all connections are there", func() error {
		srvr, err := fourLetter(v.addr, "srvr")
		var have int
		for line := range strings.Lines(srvr) {
			_, _ = fmt.Sscanf(line, "Connections: %d", &have)
		}
		if have < n/2 {
			return fmt.Errorf("%d of %d, %v", have, n, err)
		}
		return nil
	})
	v.bounded(now)
	for _, c := range conns {
		_ = c.Close()
	}
}

// dialFrom opens a connection from one of the loopback's many addresses.
func dialFrom(host, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	return d.Dial("tcp", addr)
}

// TestTooManyConnections opens more than maxClientCnxns from one address, and
// more than maxCnxns in all.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	v := startVictim(t, "maxClientCnxns=20", "maxCnxns=50")
	session := func(host string) (*wire.Conn, error) {
		c, err := dialFrom(host, v.addr)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = c.Close() })
		w := &wire.Conn{Conn: c, Timeout: patience}
		_, err = w.Handshake(wire.ConnectRequest{Timeout: 10 * time.Second})
		return w, err
	}
	// The witness is the first of its address.
	var open []*wire.Conn
	for i := range 60 {
		c, err := session("127.0.0.1")
		switch {
		case i < 19 && err != nil:
			t.Fatalf("connection %d: %v", i+2, err)
		case i < 19:
			open = append(open, c)
		case !isBroken(err):
			t.Fatalf("connection %d of one address was taken: %v", i+2, err)
		}
	}
	eventually(t, "every refusal is in the log", func() error {
		if n := len(v.log.lines("WARN", "connection refused: too many connections", "client=127.0.0.1:", "from_this_address=20", "in_all=50")); n != 41 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	for i := range 40 {
		_, err := session(fmt.Sprintf("127.0.0.%d", 2+i%2))
		if i < 30 && err != nil || i >= 30 && !isBroken(err) {
			t.Fatalf("connection %d of another address: %v", i+1, err)
		}
	}
	// Whoever leaves makes room.
	_ = open[0].Close()
	eventually(t, "there is room again", func() error {
		_, err := session("127.0.0.4")
		return err
	})
}

// TestNoDescriptorsLeft floods a server that may not have many files open. It
// keeps those that it needs for itself, and goes on when the flood is over.
func TestNoDescriptorsLeft(t *testing.T) {
	t.Parallel()
	a := zooCfg(t, dataDir(t), "tickTime=500", "maxClientCnxns=0", "4lw.commands.whitelist=*", "snapCount=20")
	limited := append([]string{"-c", `ulimit -n 256; exec "$0" "$@"`, program(t)}, a...)
	v := watch(start(t, "/bin/sh", limited).mustServe())
	var conns []net.Conn
	for range 600 {
		c, err := net.DialTimeout("tcp", v.addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	// The witness writes on, so snapshots come and go meanwhile.
	snapshots := len(v.log.lines("snapshot written"))
	eventually(t, "snapshots are written during the flood", func() error {
		if n := len(v.log.lines("snapshot written")); n < snapshots+3 && v.p.Running() {
			return fmt.Errorf("%d, after %d", n, snapshots)
		}
		return nil
	})
	for _, c := range conns {
		_ = c.Close()
	}
	if v.p.Running() {
		eventually(t, "clients are taken again", func() error {
			s := &session{timeout: time.Second}
			err := s.open(v.addr)
			if err == nil {
				_ = s.Close()
			}
			return err
		})
	}
}

// TestComeAndGo opens and drops a great many connections at once, at every
// point of their lives.
func TestComeAndGo(t *testing.T) {
	t.Parallel()
	v := startVictim(t)
	hello := frame(wire.ConnectRequest{Timeout: time.Second}.Encode())
	stream := append(bytes.Clone(hello), pieces(1, wire.OpCreate, wire.CreateBody("/e", nil, wire.OpenACL, wire.EphemeralSequential), 20)...)
	var work sync.WaitGroup
	for k := range 8 {
		work.Go(func() {
			for i := range 100 {
				c, err := net.DialTimeout("tcp", v.addr, patience)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = c.Write(stream[:(k*100+i)*len(stream)/800])
				switch i % 3 {
				case 0: // a reset
					_ = c.(*net.TCPConn).SetLinger(0)
				case 1: // once there is something to read
					if i*len(stream)/800 > len(hello) {
						_, _ = io.ReadFull(c, make([]byte, 4))
					}
				}
				_ = c.Close()
			}
		})
	}
	work.Wait()
	// Nothing is left of them: neither connections nor, once they have expired,
	// sessions and their nodes.
	s := connect(t, v.addr)
	eventually(t, "they are gone", func() error {
		children := s.must(t, wire.OpGetChildren, wire.WatchBody("/", false)).Strings()
		mntr, err := fourLetter(v.addr, "mntr")
		switch {
		case err != nil:
			return err
		case len(children) != 2:
			return fmt.Errorf("%d nodes", len(children))
		case !strings.Contains(mntr, "zk_num_alive_connections\t3\n"):
			return errors.New(mntr)
		}
		return nil
	})
	if err := pinged(s); err != nil {
		t.Error(err)
	}
}
