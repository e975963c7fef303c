package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

var testCluster = [16]byte{1, 2, 3}

// recorder is a Handler that turns what it is told into lines of text, for a
// test to wait for. Hooks, where set, replace the recording.
type recorder struct {
	mu    sync.Mutex
	cond  *sync.Cond
	lines []string

	raft     func(from uint64, m *raftpb.Message)
	forward  func(from uint64, batch []byte)
	snapshot func(from uint64, m *raftpb.Message, body io.Reader) error
	call     func(remote net.Addr, kind byte, payload []byte) ([]byte, error)
}

func newRecorder() *recorder {
	r := &recorder{}
	r.cond = sync.NewCond(&r.mu)
	return r
}

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
	r.cond.Broadcast()
}

func (r *recorder) Raft(from uint64, m *raftpb.Message) {
	if r.raft != nil {
		r.raft(from, m)
		return
	}
	r.note("raft %d %v %d", from, m.GetType(), m.GetIndex())
}

func (r *recorder) Delivered() {}

func (r *recorder) Forward(from uint64, batch []byte) {
	if r.forward != nil {
		r.forward(from, batch)
		return
	}
	r.note("forward %d %s", from, batch)
}

func (r *recorder) Report(from uint64, payload []byte) { r.note("report %d %s", from, payload) }

func (r *recorder) Snapshot(from uint64, m *raftpb.Message, body io.Reader) error {
	if r.snapshot != nil {
		return r.snapshot(from, m, body)
	}
	n, err := io.Copy(io.Discard, body)
	r.note("snapshot %d %d bytes %v", from, n, err)
	return err
}

func (r *recorder) Call(remote net.Addr, kind byte, payload []byte) ([]byte, error) {
	if r.call != nil {
		return r.call(remote, kind, payload)
	}
	return append([]byte{kind}, payload...), nil
}

func (r *recorder) PeerConnected(id uint64) { r.note("connected %d", id) }

func (r *recorder) PeerLost(id uint64, err error, refused bool) {
	if refused {
		r.note("gone %d: %v", id, err)
	} else {
		r.note("lost %d: %v", id, err)
	}
}

func (r *recorder) Unreachable(id uint64) { r.note("unreachable %d", id) }

// wait waits for a line with that beginning and forgets everything up to it.
func (r *recorder) wait(t testing.TB, prefix string) string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.find(t, prefix)
	line := r.lines[i]
	r.lines = r.lines[i+1:]
	return line
}

// await waits for a line with that beginning and forgets nothing.
func (r *recorder) await(t testing.TB, prefix string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.find(t, prefix)
}

func (r *recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = nil
}

func (r *recorder) find(t testing.TB, prefix string) int {
	t.Helper()
	patience := time.AfterFunc(30*time.Second, func() { r.mu.Lock(); defer r.mu.Unlock(); r.cond.Broadcast() })
	defer patience.Stop()
	for start := time.Now(); ; r.cond.Wait() {
		for i, l := range r.lines {
			if strings.HasPrefix(l, prefix) {
				return i
			}
		}
		if time.Since(start) >= 30*time.Second {
			t.Fatalf("%q did not happen; what did: %q", prefix, r.lines)
		}
	}
}

// has reports whether such a line is there, and forgets nothing.
func (r *recorder) has(prefix string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lines {
		if strings.HasPrefix(l, prefix) {
			return true
		}
	}
	return false
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open makes and starts a member; change may adjust its options.
func open(t testing.TB, id uint64, h Handler, change func(*Options)) *Transport {
	t.Helper()
	o := Options{Listen: "127.0.0.1:0", ClusterID: testCluster, MemberID: id, Handler: h, Logger: quiet()}
	if change != nil {
		change(&o)
	}
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	tr.Start()
	return tr
}

// ensemble is n members on the loopback interface that know each other.
type ensemble struct {
	members  []*Transport
	handlers []*recorder
}

func newEnsemble(t testing.TB, n int, change func(*Options)) *ensemble {
	t.Helper()
	e := &ensemble{}
	peers := map[uint64]string{}
	for i := range n {
		r := newRecorder()
		e.handlers = append(e.handlers, r)
		e.members = append(e.members, open(t, uint64(i+1), r, change))
		peers[uint64(i+1)] = e.members[i].Addr().String()
	}
	e.introduce(t, peers)
	return e
}

// introduce sets the peers and waits until all are connected.
func (e *ensemble) introduce(t testing.TB, peers map[uint64]string) {
	t.Helper()
	n := len(e.members)
	for _, m := range e.members {
		m.SetPeers(peers)
	}
	for i, r := range e.handlers {
		for j := range n {
			if j != i {
				r.await(t, fmt.Sprintf("connected %d", j+1))
			}
		}
		r.forget()
	}
}

func message(typ raftpb.MessageType, to, index uint64) *raftpb.Message {
	return &raftpb.Message{Type: typ.Enum(), To: new(to), Index: new(index)}
}

// TestMain fails the package if a goroutine of the transport outlives its Close.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leftGoroutines(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left behind:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leftGoroutines looks until none is left, for a while: one that has been
// waited for may not have left the stage yet.
func leftGoroutines() string {
	buf := make([]byte, 4<<20)
	for start := time.Now(); ; runtime.Gosched() {
		var left []string
		for _, g := range bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
			if bytes.Contains(g, []byte("replica/transport.")) && !bytes.Contains(g, []byte("transport.leftGoroutines")) {
				left = append(left, string(g))
			}
		}
		if len(left) == 0 || time.Since(start) > 5*time.Second {
			return strings.Join(left, "\n\n")
		}
	}
}

var errTest = errors.New("the handler would not")
