package member

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage/vfs"
	"github.com/conclave-dev/conclave/internal/zooconfig"
)

// patience bounds every wait: it only matters when something is broken.
const patience = 60 * time.Second

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v: %s", patience, what)
		}
	}
}

// ensemble is members in this process, on loopback.
type ensemble struct {
	t       *testing.T
	dir     string
	size    int
	extra   string
	servers string
	// await starts members that wait to be told their ensemble.
	await bool
	// fs gives member n its disk; nil for the operating system's.
	fs      func(n int) vfs.FS
	members []*Member // by N-1; nil when stopped
}

// ports of a member, the same for all: below those that the kernel gives to
// outgoing connections, one of which could take a stopped member's port.
const (
	clientPort = 10000 + iota
	peerPort
	electionPort
	claimPort // held while a test runs: the address is its own
)

// hosts returns addresses of the loopback network that are this test's alone.
func hosts(t *testing.T, n int) (out []string) {
	t.Helper()
	for tries := 0; len(out) < n; tries++ {
		host := fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(128), rand.IntN(256), 1+rand.IntN(254))
		claim, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(claimPort)))
		if err != nil {
			if tries > 100 {
				t.Fatal(err)
			}
			continue
		}
		t.Cleanup(func() { _ = claim.Close() })
		out = append(out, host)
	}
	return out
}

func newEnsemble(t *testing.T, size int, extra string) *ensemble {
	e := &ensemble{t: t, dir: t.TempDir(), size: size, extra: extra, members: make([]*Member, size)}
	for i, host := range hosts(t, size) {
		e.servers += fmt.Sprintf("server.%d=%s:%d:%d;%s:%d\n", i+1, host, peerPort, electionPort, host, clientPort)
	}
	t.Cleanup(func() {
		for i := range e.members {
			e.stop(i + 1)
		}
	})
	return e
}

func (e *ensemble) startAll() {
	for i := range e.size {
		e.start(i + 1)
	}
	e.ready()
}

func (e *ensemble) start(n int) {
	e.t.Helper()
	if err := e.tryStart(n); err != nil {
		e.t.Fatal(err)
	}
}

func (e *ensemble) tryStart(n int) error {
	e.t.Helper()
	dir := filepath.Join(e.dir, fmt.Sprint(n))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		e.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "myid"), fmt.Append(nil, n), 0o640); err != nil {
		e.t.Fatal(err)
	}
	servers := e.servers
	if e.await {
		lines := strings.SplitAfter(e.servers, "\n")
		servers = "standaloneEnabled=false\n" + lines[n-1]
	}
	text := fmt.Sprintf("dataDir=%s\ntickTime=500\nmaxSessionTimeout=60000\ninitLimit=4\nsyncLimit=10\nmaxClientCnxns=0\nadmin.enableServer=false\nconclave.heartbeatMs=20\nconclave.electionMs=200\n%s%s", dir, e.extra, servers)
	cfg, _, err := zooconfig.Parse("zoo.cfg", []byte(text), zooconfig.OSEnv())
	if err != nil {
		e.t.Fatal(err)
	}
	var disk vfs.FS
	if e.fs != nil {
		disk = e.fs(n)
	}
	m, err := Start(Options{Config: cfg, FS: disk, AwaitBootstrap: e.await, Version: admin.Version{Number: "test"}, Logger: slog.New(slog.NewTextHandler(e.t.Output(), nil)).With("n", n)})
	if err != nil {
		return err
	}
	e.members[n-1] = m
	return nil
}

func (e *ensemble) stop(n int) {
	if m := e.members[n-1]; m != nil {
		m.Stop()
		e.members[n-1] = nil
	}
}

// ready waits until all running members serve and have caught up.
func (e *ensemble) ready() {
	e.t.Helper()
	for i, m := range e.members {
		if m == nil {
			continue
		}
		eventually(e.t, fmt.Sprintf("member %d is not ready", i+1), func() bool {
			st := (*source)(m).Status()
			ok, _ := st.Ready()
			return ok
		})
	}
}

// leader returns the N of the member that leads.
func (e *ensemble) leader() (n int) {
	e.t.Helper()
	eventually(e.t, "no member leads", func() bool {
		for i, m := range e.members {
			if m == nil {
				continue
			}
			if r := m.node.Load(); r != nil && r.Role().IsLeader {
				n = i + 1
				return true
			}
		}
		return false
	})
	return n
}

// digests waits until all running members have applied the same, and returns
// an error if their states differ.
func (e *ensemble) sameState() {
	e.t.Helper()
	eventually(e.t, "the members' states differ, or they do not come to the same index", func() bool {
		var index, digest uint64
		for _, m := range e.members {
			if m == nil {
				continue
			}
			var i, d uint64
			m.server.View(func(sm *statemachine.Machine) { i, _ = sm.Applied(); d = sm.Digest() })
			if index != 0 && (i != index || d != digest) {
				return false
			}
			index, digest = i, d
		}
		return true
	})
}

// client is a connection that speaks the protocol and nothing else: it does
// not reconnect, so that a test sees when it is closed.
type client struct {
	t       *testing.T
	nc      net.Conn
	session int64
	passwd  []byte
	timeout time.Duration
	xid     int32
	events  []string
}

func (e *ensemble) addr(n int) string { return e.members[n-1].ClientAddr().String() }

// connect opens a session through member n, or attaches old.
func (e *ensemble) connect(n int, timeout time.Duration, old *client) *client {
	e.t.Helper()
	c := &client{t: e.t}
	req := jute.ConnectRequest{Timeout: int32(timeout.Milliseconds()), Password: make([]byte, 16), HasReadOnly: true}
	if old != nil {
		req.SessionID, req.Password = old.session, old.passwd
	}
	eventually(e.t, fmt.Sprintf("no session through member %d", n), func() bool {
		nc, err := net.Dial("tcp", e.addr(n))
		if err != nil {
			return false
		}
		b, mark := jute.BeginFrame(nil)
		b = req.Append(b)
		jute.EndFrame(b, mark)
		if _, err := nc.Write(b); err != nil {
			nc.Close()
			return false
		}
		frame, err := readFrame(nc)
		if err != nil {
			nc.Close()
			return false
		}
		var res jute.ConnectResponse
		d := jute.NewDecoder(frame)
		res.Decode(&d)
		c.nc, c.session, c.passwd, c.timeout = nc, res.SessionID, res.Password, time.Duration(res.Timeout)*time.Millisecond
		return true
	})
	e.t.Cleanup(func() { c.nc.Close() })
	return c
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func (c *client) send(op jute.OpCode, body []byte) int32 {
	c.t.Helper()
	c.xid++
	xid := c.xid
	if op == jute.OpPing {
		xid = jute.XidPing
	}
	b, mark := jute.BeginFrame(nil)
	b = jute.AppendInt32(jute.AppendInt32(b, xid), int32(op))
	b = append(b, body...)
	jute.EndFrame(b, mark)
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatalf("session %#x: %v", c.session, err)
	}
	return xid
}

// receive returns the next reply, noting the events before it.
func (c *client) receive(xid int32) (jute.ErrCode, []byte) {
	c.t.Helper()
	for {
		if err := c.nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
			c.t.Fatal(err)
		}
		frame, err := readFrame(c.nc)
		if err != nil {
			c.t.Fatalf("session %#x: waiting for xid %d: %v", c.session, xid, err)
		}
		d := jute.NewDecoder(frame)
		var h jute.ReplyHeader
		h.Decode(&d)
		if h.Xid == jute.XidWatchEvent {
			typ := jute.EventType(d.Int32())
			d.Int32()
			c.events = append(c.events, typ.String()+" "+strings.Clone(d.String()))
			continue
		}
		if h.Xid != xid {
			c.t.Fatalf("session %#x: a reply to xid %d where %d is next", c.session, h.Xid, xid)
		}
		return h.Err, d.Rest()
	}
}

func (c *client) do(op jute.OpCode, body []byte) (jute.ErrCode, []byte) {
	c.t.Helper()
	return c.receive(c.send(op, body))
}

var open = []jute.ACL{{Perms: jute.PermAll, ID: jute.ID{Scheme: "world", ID: "anyone"}}}

func (c *client) create(path string, mode jute.CreateMode) jute.ErrCode {
	c.t.Helper()
	code, _ := c.do(jute.OpCreate, (&jute.CreateRequest{Path: path, ACL: open, Mode: mode}).Append(nil, jute.OpCreate))
	return code
}

func (c *client) set(path, data string) jute.ErrCode {
	c.t.Helper()
	code, _ := c.do(jute.OpSetData, (&jute.SetDataRequest{Path: path, Data: []byte(data), Version: -1}).Append(nil))
	return code
}

func (c *client) get(path string, watch bool) (string, jute.Stat, jute.ErrCode) {
	c.t.Helper()
	code, body := c.do(jute.OpGetData, (&jute.PathWatchRequest{Path: path, Watch: watch}).Append(nil))
	d := jute.NewDecoder(body)
	data := string(d.Buffer())
	var st jute.Stat
	st.Decode(&d)
	return data, st, code
}

func (c *client) sync() {
	c.t.Helper()
	if code, _ := c.do(jute.OpSync, (&jute.PathRequest{Path: "/"}).Append(nil)); code != jute.OK {
		c.t.Fatalf("sync: %v", code)
	}
}

func (c *client) mustCreate(path string, mode jute.CreateMode) {
	c.t.Helper()
	if code := c.create(path, mode); code != jute.OK {
		c.t.Fatalf("create %s: %v", path, code)
	}
}

func TestEnsemblesReplicate(t *testing.T) {
	for _, size := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			e := newEnsemble(t, size, "")
			e.startAll()
			writer := e.connect(1, 30*time.Second, nil)
			writer.mustCreate("/n", jute.ModePersistent)
			for i := range 100 {
				// Through every member in turn, each reading what the others wrote.
				c := e.connect(i%size+1, 30*time.Second, nil)
				c.sync()
				_, st, _ := c.get("/n", false)
				if int(st.Version) != i {
					t.Fatalf("after %d writes and a sync, member %d shows version %d", i, i%size+1, st.Version)
				}
				if code := c.set("/n", fmt.Sprint(i)); code != jute.OK {
					t.Fatal(code)
				}
			}
			e.sameState()
		})
	}
}

func TestSessionsSurviveARestartOfAllMembers(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.startAll()
	c := e.connect(1, 60*time.Second, nil)
	c.mustCreate("/e", jute.ModeEphemeral)
	for n := range 3 {
		e.stop(n + 1)
	}
	e.startAll()
	back := e.connect(2, 60*time.Second, c)
	if back.session != c.session {
		t.Fatalf("session %#x came back as %#x", c.session, back.session)
	}
	back.sync()
	if _, st, code := back.get("/e", false); code != jute.OK || st.EphemeralOwner != c.session {
		t.Fatalf("the ephemeral is %v, owned by %#x", code, st.EphemeralOwner)
	}
	e.sameState()
}

// A change of leader closes no connection to the other members, loses no watch
// and executes nothing twice.
func TestChangeOfLeader(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.startAll()
	lead := e.leader()
	clients := make(map[int]*client)
	for n := 1; n <= 3; n++ {
		clients[n] = e.connect(n, 30*time.Second, nil)
	}
	first := clients[lead%3+1]
	first.mustCreate("/n", jute.ModePersistent)
	for n, c := range clients {
		c.sync()
		if _, _, code := c.get("/n", true); code != jute.OK {
			t.Fatalf("member %d: %v", n, code)
		}
	}
	// Writes are under way while the leader goes.
	var xids []int32
	for i := range 500 {
		xids = append(xids, first.send(jute.OpSetData, (&jute.SetDataRequest{Path: "/n", Data: fmt.Append(nil, i), Version: int32(i)}).Append(nil)))
	}
	e.stop(lead)
	for i, xid := range xids {
		if code, _ := first.receive(xid); code != jute.OK {
			t.Fatalf("write %d: %v", i, code)
		}
	}
	for n, c := range clients {
		if n == lead {
			continue
		}
		c.sync()
		data, st, code := c.get("/n", false)
		if code != jute.OK || data != "499" || st.Version != 500 {
			t.Fatalf("member %d shows %q, version %d, %v", n, data, st.Version, code)
		}
		if want := "NodeDataChanged /n"; len(c.events) != 1 || c.events[0] != want {
			t.Errorf("member %d told its watcher %q, want one %s", n, c.events, want)
		}
	}
	e.start(lead)
	e.ready()
	e.sameState()
}

// A member that was away for longer than the log reaches back gets a snapshot.
func TestLaggingMemberCatchesUpFromASnapshot(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "snapCount=100\n")
	e.startAll()
	away := e.leader()%3 + 1
	e.stop(away)
	c := e.connect(away%3+1, 30*time.Second, nil)
	c.mustCreate("/n", jute.ModePersistent)
	var lead *Member
	for i := 0; ; i++ {
		if code := c.set("/n", fmt.Sprint(i)); code != jute.OK {
			t.Fatal(code)
		}
		lead = e.members[e.leader()-1]
		if first, _ := lead.raftLog.FirstIndex(); first > 10 {
			break // the log no longer begins where the member stopped
		}
	}
	e.start(away)
	e.ready()
	e.sameState()
	if got := e.members[away-1].metrics.SnapshotsReceived.Total(); got == 0 {
		t.Error("the member caught up without a snapshot")
	}
}

func TestTransferLeadershipAndSnapshotOnDemand(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.startAll()
	lead := e.leader()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	target := e.members[lead%3].dir.Identity.Get().MemberID
	got, err := (*source)(e.members[lead-1]).TransferLeadership(ctx, target)
	if err != nil || got != target {
		t.Fatalf("leadership went to %x, %v; want %x", got, err, target)
	}
	c := e.connect(lead, 30*time.Second, nil)
	c.mustCreate("/n", jute.ModePersistent)
	snap, err := (*source)(e.members[lead-1]).TakeSnapshot(ctx)
	if err != nil || snap.Zxid == 0 {
		t.Fatalf("snapshot %+v: %v", snap, err)
	}
}
