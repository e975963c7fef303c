package member

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/health/grpc_health_v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/storage"
)

// flip changes a byte in the middle of the only, or the newest, file of a
// pattern in a member's directory, and returns its name.
func (e *ensemble) flip(n int, pattern string) string {
	e.t.Helper()
	found, err := filepath.Glob(filepath.Join(e.dir, string(rune('0'+n)), "conclave", pattern))
	if err != nil || len(found) == 0 {
		e.t.Fatalf("%s: %v", pattern, err)
	}
	name := found[len(found)-1]
	b, err := os.ReadFile(name)
	check(e.t, err)
	at := len(b) / 2
	if strings.Contains(pattern, "log/") {
		at = 5000 // in the first entries: the rest is zeros
	}
	b[at] ^= 0x40
	check(e.t, os.WriteFile(name, b, 0o640))
	return name
}

// A member that takes orders and can't read its data stays, says why, and can be
// told to start clean; then it is taken in again, under another id.
func TestDamagedDataIsReported(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what, pattern string
		lost          bool // the file is taken away
		nobody        bool // nobody can tell whose directory it is
	}{
		{what: "snapshot", pattern: "snap/*"},
		{what: "log", pattern: "log/*.log"},
		{what: "identity", pattern: "identity", nobody: true},
		{what: "lost identity", pattern: "identity", lost: true, nobody: true},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			e := newEnsemble(t, 3, "snapCount=50\n")
			e.await = true
			for n := 1; n <= 3; n++ {
				e.start(n)
			}
			check(t, e.source(1).Bootstrap(e.order(), testCluster, e.id(1)))
			e.grow(2)
			e.grow(3)
			if e.leader() == 3 {
				_, err := e.source(3).TransferLeadership(e.order(), e.id(1))
				check(t, err)
			}
			writer := e.connect(1, 60e9, nil)
			for range 120 {
				writer.mustCreate("/n-", jute.ModePersistentSequential)
			}
			_, err := e.source(3).TakeSnapshot(e.order())
			check(t, err)
			old := e.id(3)
			e.stop(3)
			var file string
			if c.lost {
				file = filepath.Join(e.dir, "3", "conclave", "identity")
				check(t, os.Remove(file))
			} else {
				file = e.flip(3, c.pattern)
			}

			e.start(3)
			s := e.source(3)
			eventually(t, "it does not say that it can't read its data", func() bool {
				return s.Status().Membership == adminpb.Membership_MEMBERSHIP_UNREADABLE
			})
			st := s.Status()
			ready, why := st.Ready()
			if ready || !st.Disk.Failed || st.Disk.Reason == "" || why == "" || !strings.Contains(st.MembershipReason, st.Disk.Reason) || st.Name != 3 {
				t.Fatalf("%+v", st)
			}
			if !c.lost && st.Disk.File != file {
				t.Errorf("the damaged file is %q, not %q", file, st.Disk.File)
			}
			if id := s.Status().MemberID; c.nobody && id != 0 || !c.nobody && id != old {
				t.Errorf("it says that it is member %x; it was %x", id, old)
			}
			conn, err := grpc.NewClient("unix:"+admin.SocketPath(filepath.Join(e.dir, "3")), grpc.WithTransportCredentials(insecure.NewCredentials()))
			check(t, err)
			defer conn.Close()
			for service, want := range map[string]grpc_health_v1.HealthCheckResponse_ServingStatus{"live": grpc_health_v1.HealthCheckResponse_SERVING, "ready": grpc_health_v1.HealthCheckResponse_NOT_SERVING} {
				if r, err := grpc_health_v1.NewHealthClient(conn).Check(e.order(), &grpc_health_v1.HealthCheckRequest{Service: service}); err != nil || r.Status != want {
					t.Errorf("health %s: %v, %v", service, r, err)
				}
			}

			// Another restart changes nothing.
			e.stop(3)
			e.start(3)
			s = e.source(3)
			eventually(t, "after a restart it says otherwise", func() bool {
				return s.Status().Membership == adminpb.Membership_MEMBERSHIP_UNREADABLE
			})

			// Who gives the order has to know what he means.
			good, bad := admin.StartClean{ClusterID: testCluster, Member: old}, admin.StartClean{Unreadable: true}
			if c.nobody {
				good, bad = bad, good
			}
			for _, r := range []admin.StartClean{bad, {ClusterID: testCluster, Member: old + 1}, {ClusterID: testCluster, Member: old, Unreadable: true}, {}} {
				_, err := s.StartClean(e.order(), r)
				refused(t, err, adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER)
			}
			to, err := s.StartClean(e.order(), good)
			check(t, err)
			e.startAgain(3)
			if st := e.source(3).Status(); st.Membership != adminpb.Membership_MEMBERSHIP_AWAITING || st.MemberID == old || st.MemberID == 0 {
				t.Fatalf("started clean: %+v", st)
			}
			suffix := to[strings.LastIndex(to, ".aside"):]
			for _, pattern := range []string{"snap/*", "log/*"} {
				if found, _ := filepath.Glob(filepath.Join(e.dir, "3", "conclave", pattern) + suffix); len(found) == 0 {
					t.Errorf("no %s%s is left of its old data", pattern, suffix)
				}
			}
			e.grow(3)
			e.sameState()
		})
	}
}

// One that was started by hand ends, and says what is wrong.
func TestDamagedDataEndsAMemberStartedByHand(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 1, "")
	e.startAll()
	e.connect(1, 60e9, nil).mustCreate("/a", jute.ModePersistent)
	_, err := e.source(1).TakeSnapshot(context.Background())
	check(t, err)
	e.stop(1)
	file := e.flip(1, "snap/*")
	err = e.tryStart(1)
	if err == nil {
		<-e.members[0].Failed()
		err = e.members[0].Err()
	}
	var corrupt *storage.CorruptError
	if !errors.As(err, &corrupt) || corrupt.File != file {
		t.Errorf("%v", err)
	}
}
