package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	coordinationv1 "k8s.io/api/coordination/v1"

	v1alpha1 "github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/member"
	"github.com/conclave-dev/conclave/internal/projection/stream"
	"github.com/conclave-dev/conclave/internal/zooconfig"
)

// realWorld has one cluster, which is a member in this process.
type realWorld struct {
	fakeWorld
	dir, address string
}

func (w *realWorld) Now() time.Time { return time.Now() }

func (w *realWorld) Tree(ctx context.Context, _ *v1alpha1.CoordinationCluster, auth []Auth) (Tree, error) {
	return dialTree(ctx, func() (net.Conn, error) { return net.Dial("tcp", w.address) }, auth)
}

func (w *realWorld) Watch(ctx context.Context, _ *v1alpha1.CoordinationCluster, r *adminpb.WatchSessionsRequest) (stream.Receiver, func(), error) {
	conn, err := grpc.NewClient("unix:"+admin.SocketPath(w.dir), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := func() { cancel(); conn.Close() }
	s, err := adminpb.NewAdminClient(conn).WatchSessions(ctx, r)
	if err != nil {
		stop()
		return nil, nil, err
	}
	return s, stop, nil
}

func (w *realWorld) Leases(context.Context, *v1alpha1.CoordinationCluster) ([]coordinationv1.Lease, error) {
	return nil, nil
}

func (w *realWorld) PodAt(context.Context, netip.Addr) string { return "" }

// Commands against a member: what a genuine client has made is what they show.
func TestAgainstAMember(t *testing.T) {
	// An address that nobody else has.
	host := fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(128), rand.IntN(256), 1+rand.IntN(254))
	w := &realWorld{dir: filepath.Join(t.TempDir(), "data"), address: host + ":2181"}
	w.clusters = testWorld().clusters
	text := fmt.Sprintf("dataDir=%s\nclientPort=2181\nclientPortAddress=%s\ntickTime=500\nadmin.enableServer=false\n", w.dir, host)
	cfg, _, err := zooconfig.Parse("zoo.cfg", []byte(text), zooconfig.OSEnv())
	if err != nil {
		t.Fatal(err)
	}
	m, err := member.Start(member.Options{Config: cfg, Version: admin.Version{Number: "test"}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Stop() })

	conn, events, err := zk.Connect([]string{w.address}, 20*time.Second, zk.WithLogger(quiet{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	for patience := time.After(time.Minute); conn.State() != zk.StateHasSession; {
		select {
		case <-events:
		case <-patience:
			t.Fatal("the member does not serve")
		}
	}
	open := zk.WorldACL(zk.PermAll)
	if _, err := conn.Create("/app", []byte("hello"), 0, open); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Create("/secret", []byte("hidden"), 0, zk.DigestACL(zk.PermAll, "me", "word")); err != nil {
		t.Fatal(err)
	}
	leader, err := conn.Create("/app/lock-", nil, zk.FlagEphemeral|zk.FlagSequence, open)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Create("/app/lock-", nil, zk.FlagEphemeral|zk.FlagSequence, open); err != nil {
		t.Fatal(err)
	}
	session := fmt.Sprintf("0x%x", uint64(conn.SessionID()))

	for line, want := range map[string][]string{
		"ls main /app":                           {"lock-0000000000\nlock-0000000001\n"},
		"get main /app":                          {"hello"},
		"stat main /app":                         {"Session:", "none: the node stays", "5 bytes"},
		"sessions main":                          {session, "CONNECTED", "127."},
		"ephemerals main":                        {leader, "/app/lock-0000000001", session},
		"who main /app":                          {"Session:", session + "   CONNECTED", "Node:", leader, "Waiting:", "1"},
		"who main /nothing":                      {"nobody"},
		"get --auth digest:me:word main /secret": {"hidden"},
	} {
		out, err := run(w, strings.Fields(line)...)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		for _, x := range want {
			if !strings.Contains(out, x) {
				t.Errorf("%s: no %q in\n%s", line, x, out)
			}
		}
	}
	for line, want := range map[string]error{"get main /secret": ErrNoAuth, "ls main /nothing": ErrNoNode, "stat main /nothing": ErrNoNode} {
		if _, err := run(w, strings.Fields(line)...); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", line, err, want)
		}
	}

	// The session's end is seen as it happens.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	lines := &lineWriter{lines: make(chan string, 100)}
	root := New(w, Streams{Out: lines, Err: lines})
	root.SetArgs([]string{"sessions", "main", "--watch"})
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	for saw := []string{}; !slices.Contains(saw, "CLOSED"); {
		select {
		case text := <-lines.lines:
			if strings.HasPrefix(text, session) {
				if saw = append(saw, strings.Fields(text)[1]); len(saw) == 1 {
					conn.Close()
				}
			}
		case err := <-ended:
			t.Fatalf("the watch has ended: %v; saw %v", err, saw)
		case <-ctx.Done():
			t.Fatalf("the session's end was not seen: %v", saw)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// lineWriter hands on lines; each Write is one.
type lineWriter struct{ lines chan string }

func (w *lineWriter) Write(p []byte) (int, error) {
	select {
	case w.lines <- string(p):
	default:
	}
	return len(p), nil
}
