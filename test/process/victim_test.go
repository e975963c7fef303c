package process

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// victim is a conclave-server that is abused while a well-behaved client uses
// it.
type victim struct {
	*server
	witness *witness
}

// startVictim starts conclave-server with lines added to its configuration.
// Whoever says nothing is closed after a second, four-letter words are all
// allowed, and so are any number of connections.
func startVictim(t testing.TB, lines ...string) *victim {
	t.Helper()
	lines = append([]string{"tickTime=500", "maxClientCnxns=0", "4lw.commands.whitelist=*"}, lines...)
	return watch(start(t, program(t), zooCfg(t, dataDir(t), lines...)).mustServe())
}

// watch gives a server that serves its witness.
func watch(s *server) *victim {
	s.t.Helper()
	v := &victim{server: s, witness: newWitness(s.t, s.addr)}
	s.t.Cleanup(v.check)
	return v
}

// check fails the test if the server has not come through it.
func (v *victim) check() {
	v.t.Helper()
	if !v.p.Running() {
		v.t.Errorf("the server ended with %s\n%s", v.exit(), tail(v.log.String(), 40))
	}
	v.witness.check()
}

// closed waits until the server has closed the connection, and returns what it
// sent before.
func closed(t testing.TB, c net.Conn) []byte {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var got []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err == nil {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the server has not closed the connection of %v; it sent %x", c.LocalAddr(), got)
		}
		return got
	}
}

// drained reads until the other side has closed the connection.
func drained(c net.Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, c); err != nil && !isBroken(err) {
		return err
	}
	return nil
}

// said waits until the server has logged one line, and no more, with all of the
// words: of a connection, if its address is among them.
func (v *victim) said(words ...string) {
	v.t.Helper()
	eventually(v.t, fmt.Sprintf("a line in the log with %q", words), func() error {
		if n := len(v.log.lines(words...)); n != 1 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
}

// client is how the log names the connection.
func client(c net.Conn) string { return "client=" + c.LocalAddr().String() }

// sessionName is how the log names the session.
func (s *session) name() string { return fmt.Sprintf("session=%#x", s.id) }

// dial opens a connection and sends bytes, as they are.
func (v *victim) dial(raw []byte) net.Conn {
	v.t.Helper()
	c, err := net.DialTimeout("tcp", v.addr, patience)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Write(raw); err != nil && !isBroken(err) {
		v.t.Fatal(err)
	}
	return c
}

// memory returns how much memory the process has in use, and how much it ever
// had, in bytes.
func (s *server) memory() (now, peak int64) {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.p.PID()), "status"))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch f[0] {
		case "VmRSS:":
			now, err = strconv.ParseInt(f[1], 10, 64)
		case "VmHWM:":
			peak, err = strconv.ParseInt(f[1], 10, 64)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return now << 10, peak << 10
}

// witness is a well-behaved client: it writes, reads, watches and pings, and
// must see nothing of what is done to its server.
type witness struct {
	t    testing.TB
	stop chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex
	err    error
	rounds int
	slow   time.Duration // longest round
}

func newWitness(t testing.TB, addr string) *witness {
	t.Helper()
	w := &witness{t: t, stop: make(chan struct{})}
	s := connect(t, addr)
	s.must(t, wire.OpCreate, wire.CreateBody("/witness", nil, wire.OpenACL, wire.Ephemeral))
	w.done.Go(func() {
		for i := int32(0); ; i++ {
			began := time.Now()
			err := round(s, i)
			w.mu.Lock()
			w.err, w.rounds, w.slow = err, w.rounds+1, max(w.slow, time.Since(began))
			w.mu.Unlock()
			select {
			case <-w.stop:
				return
			case <-time.After(time.Millisecond):
			}
			if err != nil {
				return
			}
		}
	})
	return w
}

// round does everything once. version is that of the node.
func round(s *session, version int32) error {
	data := fmt.Appendf(nil, "round %d", version)
	watch, err := s.Call(wire.OpExists, wire.WatchBody("/witness", true))
	if err != nil || watch.Err != wire.OK {
		return fmt.Errorf("exists: %v, error %d", err, watch.Err)
	}
	xid, err := s.Send(wire.OpSetData, wire.SetDataBody("/witness", data, version))
	if err != nil {
		return fmt.Errorf("set: %w", err)
	}
	event, err := s.Recv()
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	if e, err := event.Event(); err != nil || e != (wire.Event{Type: wire.EventDataChanged, State: 3, Path: "/witness"}) {
		return fmt.Errorf("event %+v, %v", e, err)
	}
	set, err := s.Recv()
	if err != nil || set.Xid != xid || set.Err != wire.OK || set.Zxid != event.Zxid {
		return fmt.Errorf("set: %+v, %v, after an event of zxid %#x", set, err, event.Zxid)
	}
	get, err := s.Call(wire.OpGetData, wire.WatchBody("/witness", false))
	if err != nil || get.Err != wire.OK {
		return fmt.Errorf("get: %v, error %d", err, get.Err)
	}
	b := wire.NewReader(get.Body)
	if got := b.Buffer(); string(got) != string(data) {
		return fmt.Errorf("get: %q, want %q", got, data)
	}
	if st := b.Stat(); st.Version != version+1 || st.EphemeralOwner != s.id {
		return fmt.Errorf("get: %+v", st)
	}
	if err := s.SendFrame(wire.Request(wire.XidPing, wire.OpPing, nil)); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	if ping, err := s.Recv(); err != nil || ping.Xid != wire.XidPing || ping.Err != wire.OK {
		return fmt.Errorf("ping: %+v, %v", ping, err)
	}
	return nil
}

// check ends the witness's work and tells what it saw.
func (w *witness) check() {
	w.t.Helper()
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.done.Wait()
	if w.err != nil {
		w.t.Errorf("the witness saw, in round %d: %v", w.rounds, w.err)
	}
	w.t.Logf("the witness did %d rounds, the longest in %v", w.rounds, w.slow)
}
