package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// startGRPC serves f until the test ends, on a free port, and looks at health
// only when it is told to.
func startGRPC(t *testing.T, f *fake, opts GRPCOptions) (*GRPCServer, *logBuffer) {
	t.Helper()
	log, out := newLog()
	opts.Log = log
	if opts.Address == "" {
		opts.Address = "127.0.0.1:0"
	}
	if opts.HealthEvery == 0 {
		opts.HealthEvery = time.Hour
	}
	g, err := StartGRPC(newSurface(f), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopNow(g) })
	return g, out
}

func stopNow(g *GRPCServer) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g.Stop(ctx)
}

func dial(t *testing.T, target string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func callContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestStatusCall(t *testing.T) {
	f := newFake(leading)
	g, _ := startGRPC(t, f, GRPCOptions{})
	admin := adminpb.NewAdminClient(dial(t, g.Addr().String()))
	got, err := admin.Status(callContext(t), &adminpb.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	member := func(id uint64, name int32, match uint64, synced bool) *adminpb.Member {
		return &adminpb.Member{Id: id, Name: name, PeerAddress: fmt.Sprintf("zk-%d:2888", name), ClientAddress: "0.0.0.0:2181",
			MatchIndex: match, Connected: true, Synced: synced}
	}
	observer := member(0xd, 4, 43, true)
	observer.Observer = true
	want := &adminpb.StatusResponse{
		MemberId: 0xa, Name: 3, ClusterId: "00c0ffee", Version: "0.1.0", Role: adminpb.Role_ROLE_LEADER, Serving: true, Ready: true,
		HasQuorum: true, CaughtUp: true, Drain: &adminpb.DrainState{}, Disk: &adminpb.DiskHealth{}, Term: 5, LeaderId: 0xa,
		AppliedIndex: 41, CommittedIndex: 42, Lag: 1, Zxid: 0x10000000e, ConfigurationIndex: 4,
		Voters:   []*adminpb.Member{member(0xc, 1, 40, false), member(0xb, 2, 41, true), member(0xa, 3, 42, true)},
		Learners: []*adminpb.Member{observer}, UptimeMs: 123004,
		Sessions:    &adminpb.SessionCounts{Total: 2, StatesKnown: true, Connected: 1, Connecting: 1},
		Connections: 3, Watches: 3, Ephemerals: 3, Nodes: 10, DataBytes: 81,
	}
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}

	f.change(func(f *fake) {
		f.status = Status{Role: RoleLooking, NotServingReason: "waiting to be bootstrapped"}
		f.peers = nil
	})
	got, err = admin.Status(callContext(t), &adminpb.StatusRequest{})
	if err != nil || got.Role != adminpb.Role_ROLE_LOOKING || got.Ready || got.NotReadyReason != "no contact with a quorum" || got.UptimeMs != 0 {
		t.Errorf("before there is an ensemble: %v, %v", got, err)
	}
}

func TestEveryRoleHasItsName(t *testing.T) {
	for r := RoleLooking; r <= RoleStandalone; r++ {
		if got := "ROLE_" + strings.ToUpper(r.String()); roles[r].String() != got {
			t.Errorf("%v is %v", r, roles[r])
		}
	}
}

func TestReadyReasons(t *testing.T) {
	well := Status{Serving: true, HasQuorum: true, CaughtUp: true}
	for _, c := range []struct {
		change func(*Status)
		want   string
	}{
		{func(*Status) {}, ""},
		{func(s *Status) { s.Disk = DiskHealth{Slow: true, Reason: "syncs take 3 s"} }, ""},
		{func(s *Status) { s.Disk = DiskHealth{Failed: true, Reason: "no space"}; s.HasQuorum = false }, "disk failed: no space"},
		{func(s *Status) { s.HasQuorum, s.Serving = false, false }, "no contact with a quorum"},
		{func(s *Status) { s.Serving, s.NotServingReason = false, "loading a snapshot" }, "loading a snapshot"},
		{func(s *Status) { s.Serving = false }, "not serving"},
		{func(s *Status) { s.CaughtUp = false }, "catching up with the leader"},
		{func(s *Status) { s.Drain.Active = true }, "draining"},
	} {
		st := well
		c.change(&st)
		if ready, reason := st.Ready(); reason != c.want || ready != (c.want == "") {
			t.Errorf("%+v: %v, %q; want %q", st, ready, reason, c.want)
		}
	}
}

func TestOrders(t *testing.T) {
	f := newFake(leading)
	g, _ := startGRPC(t, f, GRPCOptions{})
	admin := adminpb.NewAdminClient(dial(t, g.Addr().String()))
	ctx := callContext(t)

	moved, err := admin.TransferLeadership(ctx, &adminpb.TransferLeadershipRequest{TargetMemberId: 0xb})
	if err != nil || moved.LeaderId != 0xb || len(f.transferred) != 1 || f.transferred[0] != 0xb {
		t.Errorf("transfer: %v, %v, %v", moved, err, f.transferred)
	}
	snap, err := admin.TakeSnapshot(ctx, &adminpb.TakeSnapshotRequest{})
	if err != nil || snap.Zxid != 7 || snap.Index != 9 || snap.SizeBytes != 1234 {
		t.Errorf("snapshot: %v, %v", snap, err)
	}
	drain, err := admin.Drain(ctx, &adminpb.DrainRequest{WithinMs: 30000})
	if err != nil || !drain.Drain.Active || drain.Drain.Remaining != 3 || drain.Drain.ActiveMs != 1000 ||
		f.drains[0] != (DrainRequest{Within: 30 * time.Second}) {
		t.Errorf("drain: %v, %v, %v", drain, err, f.drains)
	}
	drain, err = admin.Drain(ctx, &adminpb.DrainRequest{Cancel: true})
	if err != nil || drain.Drain.Active || !f.drains[1].Cancel {
		t.Errorf("end of the drain: %v, %v, %v", drain, err, f.drains)
	}
	for _, ms := range []int64{-1, 1 << 62, -1 << 63} {
		if _, err := admin.Drain(ctx, &adminpb.DrainRequest{WithinMs: ms}); status.Code(err) != codes.InvalidArgument || len(f.drains) != 2 {
			t.Errorf("drain within %d ms: %v", ms, err)
		}
	}

	for err, want := range map[error]codes.Code{
		ErrNotLeader:             codes.FailedPrecondition,
		ErrNoSuchVoter:           codes.InvalidArgument,
		ErrUnavailable:           codes.Unavailable,
		context.DeadlineExceeded: codes.DeadlineExceeded,
		context.Canceled:         codes.Canceled,
		errors.New("disk full"):  codes.Internal,
	} {
		wrapped := fmt.Errorf("member 3: %w", err)
		f.change(func(f *fake) { f.transferErr, f.snapshotErr = wrapped, wrapped })
		_, got := admin.TransferLeadership(ctx, &adminpb.TransferLeadershipRequest{})
		if status.Code(got) != want || !strings.Contains(got.Error(), wrapped.Error()) {
			t.Errorf("%v becomes %v", wrapped, got)
		}
		if _, got := admin.TakeSnapshot(ctx, &adminpb.TakeSnapshotRequest{}); status.Code(got) != want {
			t.Errorf("%v becomes %v", wrapped, got)
		}
	}
}

func TestHealth(t *testing.T) {
	const serving, not = grpc_health_v1.HealthCheckResponse_SERVING, grpc_health_v1.HealthCheckResponse_NOT_SERVING
	f := newFake(following)
	f.status.HasQuorum, f.status.Serving = false, false
	g, out := startGRPC(t, f, GRPCOptions{})
	client := grpc_health_v1.NewHealthClient(dial(t, g.Addr().String()))
	ctx := callContext(t)
	check := func(when string, live, ready grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for service, want := range map[string]grpc_health_v1.HealthCheckResponse_ServingStatus{"": live, "live": live, "ready": ready} {
			got, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
			if err != nil || got.Status != want {
				t.Errorf("%s, %q: %v, %v; want %v", when, service, got, err, want)
			}
		}
	}
	watch, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{Service: "ready"})
	if err != nil {
		t.Fatal(err)
	}
	seen := func(want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if got, err := watch.Recv(); err != nil || got.Status != want {
			t.Errorf("watch: %v, %v; want %v", got, err, want)
		}
	}
	seen(not)
	check("without a quorum", serving, not)

	for _, step := range []struct {
		when        string
		change      func(*Status)
		live, ready grpc_health_v1.HealthCheckResponse_ServingStatus
	}{
		{"with a quorum", func(s *Status) { s.HasQuorum, s.Serving = true, true }, serving, serving},
		{"draining", func(s *Status) { s.Drain.Active = true }, serving, not},
		{"no longer draining", func(s *Status) { s.Drain.Active = false }, serving, serving},
		{"with a failed disk", func(s *Status) { s.Disk = DiskHealth{Failed: true, Reason: "fdatasync: EIO"} }, not, not},
	} {
		f.change(func(f *fake) { step.change(&f.status) })
		g.Refresh()
		seen(step.ready)
		check(step.when, step.live, step.ready)
	}
	g.Refresh() // nothing changed
	if got := strings.Count(out.String(), "health changed"); got != 5 {
		t.Errorf("%d lines:\n%s", got, out)
	}
	if !strings.Contains(out.String(), "service=live serving=false reason=\"fdatasync: EIO\"") {
		t.Errorf("no reason:\n%s", out)
	}
	if _, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "nope"}); status.Code(err) != codes.NotFound {
		t.Errorf("unknown service: %v", err)
	}

	// One who watches learns that the member stops, and does not hold it up.
	f.change(func(f *fake) { f.status.Disk = DiskHealth{} })
	g.Refresh()
	seen(serving)
	stopped := make(chan struct{})
	go func() { g.Stop(ctx); close(stopped) }()
	seen(not)
	<-stopped
	for err == nil { // it may be told twice
		_, err = watch.Recv()
	}
	if status.Code(err) != codes.Unavailable || ctx.Err() != nil {
		t.Errorf("the watch ends with %v; the call's own time: %v", err, ctx.Err())
	}
}

// Without a word from the member, health is looked at by itself.
func TestHealthIsPolled(t *testing.T) {
	f := newFake(following)
	g, _ := startGRPC(t, f, GRPCOptions{HealthEvery: time.Millisecond})
	client := grpc_health_v1.NewHealthClient(dial(t, g.Addr().String()))
	watch, err := client.Watch(callContext(t), &grpc_health_v1.HealthCheckRequest{Service: "ready"})
	if err != nil {
		t.Fatal(err)
	}
	for _, caughtUp := range []bool{true, false, true} {
		f.change(func(f *fake) { f.status.CaughtUp = caughtUp })
		want := grpc_health_v1.HealthCheckResponse_NOT_SERVING
		if caughtUp {
			want = grpc_health_v1.HealthCheckResponse_SERVING
		}
		if got, err := watch.Recv(); err != nil || got.Status != want {
			t.Fatalf("%v, %v; want %v", got, err, want)
		}
	}
}

func TestGarbageOnTheAdminPort(t *testing.T) {
	f := newFake(following)
	g, out := startGRPC(t, f, GRPCOptions{})
	for _, garbage := range []string{"\x16\x03\x01\x02\x00\x01", "GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/1.1\r\n", "\x00\x00\x00\x2c", "srvr"} {
		c, err := net.Dial("tcp", g.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(c, garbage)
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q is not closed", garbage)
		}
		c.Close()
	}
	// A client that says nothing, and one that stops in the middle of a word.
	for _, start := range []string{"", "PRI * HT"} {
		c, err := net.Dial("tcp", g.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, start)
		c.Close()
	}
	if _, err := adminpb.NewAdminClient(dial(t, g.Addr().String())).Status(callContext(t), &adminpb.StatusRequest{}); err != nil {
		t.Errorf("after the garbage: %v", err)
	}
	if got := out.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "it looks like TLS") {
		t.Errorf("log:\n%s", got)
	}
}

func TestGarbageIsLoggedOnceAMinute(t *testing.T) {
	log, out := newLog()
	at := start
	l := newPrefaceListener(nil, log, func() time.Time { return at })
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	for range 3 {
		l.garbage(server, []byte("GET /"))
		at = at.Add(garbageLogEvery / 3)
	}
	l.garbage(server, []byte("GET /"))
	if got := out.String(); strings.Count(got, "level=WARN") != 2 || !strings.Contains(got, `"others since the last line"=2`) {
		t.Errorf("log:\n%s", got)
	}
}

// shortDir is a directory with a path short enough for a socket in it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestSocket(t *testing.T) {
	path := SocketPath(shortDir(t))
	// What a process left behind that is gone.
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()

	g, out := startGRPC(t, newFake(leading), GRPCOptions{Socket: path})
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Fatalf("%v, %v\n%s", info, err, out)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("beside the socket: %v", left)
	}
	if _, err := adminpb.NewAdminClient(dial(t, "unix:"+path)).Status(callContext(t), &adminpb.StatusRequest{}); err != nil {
		t.Error(err)
	}

	// A second member in the same directory does without.
	second, out := startGRPC(t, newFake(leading), GRPCOptions{Socket: path})
	if second.socket != "" || !strings.Contains(out.String(), "another process serves") {
		t.Errorf("log:\n%s", out)
	}
	stopNow(second)
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the second took the first's socket away: %v", err)
	}
	stopNow(g)
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
}

func TestSocketThatCannotBe(t *testing.T) {
	dir := shortDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		SocketPath(filepath.Join(dir, strings.Repeat("x", 100))): "too long for a unix socket: choose a shorter data directory",
		file:                     "exists and is no socket",
		filepath.Join(file, "s"): "not a directory",
	} {
		g, out := startGRPC(t, newFake(leading), GRPCOptions{Socket: path})
		if g.socket != "" || strings.Count(out.String(), "level=WARN") != 1 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: log:\n%s", path, out)
		}
		if _, err := adminpb.NewAdminClient(dial(t, g.Addr().String())).Status(callContext(t), &adminpb.StatusRequest{}); err != nil {
			t.Errorf("over TCP: %v", err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "data" {
		t.Errorf("a file was harmed: %q, %v", b, err)
	}
}

func TestAddressThatIsTaken(t *testing.T) {
	g, _ := startGRPC(t, newFake(leading), GRPCOptions{})
	log, _ := newLog()
	second, err := StartGRPC(newSurface(newFake(leading)), GRPCOptions{Address: g.Addr().String(), Log: log})
	if second != nil || err == nil || !strings.Contains(err.Error(), g.Addr().String()) {
		t.Errorf("%v, %v", second, err)
	}
}
