package admin

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/tlsfiles"
	"github.com/conclave-dev/conclave/internal/tlsfiles/tlstest"
)

const tlsName = "member.test.conclave.dev"

func openFiles(t *testing.T, ca *tlstest.CA, l tlstest.Leaf, trusted ...*tlstest.CA) (files *tlsfiles.Files, dir string) {
	t.Helper()
	dir = t.TempDir()
	ca.Write(dir, l, trusted...)
	at := time.Now()
	files, err := tlsfiles.Open(tlsfiles.Options{Dir: dir, ServerName: tlsName, Role: l.Role, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { at = at.Add(2 * time.Second); return at }}) // every handshake reads the files
	if err != nil {
		t.Fatal(err)
	}
	return files, dir
}

func dialTLS(t *testing.T, addr string, cfg *tls.Config) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

var (
	memberLeaf   = tlstest.Leaf{Role: tlsfiles.RoleMember, ServerName: tlsName}
	operatorLeaf = tlstest.Leaf{Role: tlsfiles.RoleOperator, Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
)

func TestAdminAPIOverTLS(t *testing.T) {
	ca, foreign := tlstest.NewCA(t), tlstest.NewCA(t)
	member, _ := openFiles(t, ca, memberLeaf)
	operator, _ := openFiles(t, ca, operatorLeaf)
	socket := filepath.Join(shortDir(t), "s")
	g, out := startGRPC(t, newFake(leading), GRPCOptions{TLS: member.Admin("h2"), Socket: socket, HealthAddress: "127.0.0.1:0"})
	ask := func(c *grpc.ClientConn) error {
		_, err := adminpb.NewAdminClient(c).Status(callContext(t), &adminpb.StatusRequest{})
		return err
	}
	if err := ask(dialTLS(t, g.Addr().String(), operator.Client())); err != nil {
		t.Errorf("the operator: %v", err)
	}
	if err := ask(dial(t, "unix:"+socket)); err != nil {
		t.Errorf("through the socket: %v", err)
	}
	if strings.Contains(out.String(), "level=WARN") {
		t.Errorf("log:\n%s", out)
	}

	foreigner, _ := openFiles(t, foreign, tlstest.Leaf{Role: tlsfiles.RoleOperator}, foreign, ca)
	for what, c := range map[string]*grpc.ClientConn{
		"without TLS":         dial(t, g.Addr().String()),
		"no certificate":      dialTLS(t, g.Addr().String(), &tls.Config{InsecureSkipVerify: true}),
		"a member":            dialTLS(t, g.Addr().String(), member.Client()),
		"a foreign authority": dialTLS(t, g.Addr().String(), foreigner.Client()),
	} {
		if err := ask(c); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
	garbage, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer garbage.Close()
	io.WriteString(garbage, "srvr\n\n")
	io.Copy(io.Discard, garbage)
	if n := strings.Count(out.String(), "did not get through TLS"); n != 1 {
		t.Errorf("%d lines for those who were refused, of which one a minute is wanted:\n%s", n, out)
	}

	// Probes need nothing, and get nothing but health.
	probe := dial(t, g.HealthAddr().String())
	for _, service := range []string{"", "live", "ready"} {
		if r, err := grpc_health_v1.NewHealthClient(probe).Check(callContext(t), &grpc_health_v1.HealthCheckRequest{Service: service}); err != nil || r.Status != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", service, r, err)
		}
	}
	if err := ask(probe); status.Code(err) != codes.Unimplemented {
		t.Errorf("the admin API on the port for probes: %v", err)
	}
}

// A watch goes on while certificates and authority are replaced; who comes later
// meets the new ones.
func TestRotationUnderAWatch(t *testing.T) {
	old, next := tlstest.NewCA(t), tlstest.NewCA(t)
	member, memberDir := openFiles(t, old, memberLeaf)
	operator, operatorDir := openFiles(t, old, operatorLeaf)
	f := newFake(leading)
	g, _ := startGRPC(t, f, GRPCOptions{TLS: member.Server(tlsfiles.RoleOperator, "h2")})
	watch, err := grpc_health_v1.NewHealthClient(dialTLS(t, g.Addr().String(), operator.Client())).Watch(callContext(t), &grpc_health_v1.HealthCheckRequest{Service: "ready"})
	if err != nil {
		t.Fatal(err)
	}
	caughtUp := true
	seen := func() {
		t.Helper()
		f.change(func(f *fake) { f.status.CaughtUp = caughtUp })
		g.Refresh()
		want := grpc_health_v1.HealthCheckResponse_SERVING
		if !caughtUp {
			want = grpc_health_v1.HealthCheckResponse_NOT_SERVING
		}
		if r, err := watch.Recv(); err != nil || r.Status != want {
			t.Fatalf("%v, %v; want %v", r, err, want)
		}
		caughtUp = !caughtUp
	}
	seen()
	before := operator.Client()
	for _, phase := range []struct {
		by      *tlstest.CA
		trusted []*tlstest.CA
	}{{old, []*tlstest.CA{old, next}}, {next, []*tlstest.CA{old, next}}, {next, []*tlstest.CA{next}}} {
		phase.by.Write(memberDir, memberLeaf, phase.trusted...)
		phase.by.Write(operatorDir, operatorLeaf, phase.trusted...)
		if _, err := adminpb.NewAdminClient(dialTLS(t, g.Addr().String(), operator.Client())).Status(callContext(t), &adminpb.StatusRequest{}); err != nil {
			t.Fatal(err)
		}
		seen()
	}
	before.RootCAs = nil
	before.InsecureSkipVerify = true // the server is to refuse, not the client
	if _, err := adminpb.NewAdminClient(dialTLS(t, g.Addr().String(), before)).Status(callContext(t), &adminpb.StatusRequest{}); err == nil {
		t.Error("a certificate of the old authority is taken after the rotation")
	}
}

func TestHealthAddressThatIsTaken(t *testing.T) {
	g, _ := startGRPC(t, newFake(leading), GRPCOptions{})
	log, _ := newLog()
	_, err := StartGRPC(newSurface(newFake(leading)), GRPCOptions{Address: "127.0.0.1:0", HealthAddress: g.Addr().String(), Log: log})
	if err == nil || !strings.Contains(err.Error(), "conclave.healthAddress") {
		t.Error(err)
	}
}

func TestSessionsArePassedOn(t *testing.T) {
	f := newFake(leading)
	g, _ := startGRPC(t, f, GRPCOptions{})
	c := adminpb.NewAdminClient(dial(t, g.Addr().String()))
	read := func() (zxids []int64, err error) {
		stream, err := c.WatchSessions(callContext(t), &adminpb.WatchSessionsRequest{Resume: &adminpb.SessionsPosition{Reign: 1, Sequence: 9}})
		for err == nil {
			var u *adminpb.SessionsUpdate
			if u, err = stream.Recv(); err == nil {
				zxids = append(zxids, u.GetZxid())
			}
		}
		return zxids, err
	}
	if got, err := read(); err != io.EOF || !slices.Equal(got, []int64{7, 8}) || !slices.Equal(f.orders, []string{"watch sessions from 9"}) {
		t.Errorf("%v, %v, %q", got, err, f.orders)
	}
	f.change(func(f *fake) { f.orderErr = ErrNotLeader })
	if _, err := read(); status.Code(err) != codes.FailedPrecondition || len(status.Convert(err).Details()) != 1 {
		t.Errorf("%v", err)
	}
}

// A reader looks and changes nothing, and gets no node's data, which ACLs may guard.
func TestReadersOnlyLook(t *testing.T) {
	if roleOperator != tlsfiles.RoleOperator {
		t.Errorf("%q is not the operator's role, %q is", roleOperator, tlsfiles.RoleOperator)
	}
	ca := tlstest.NewCA(t)
	member, _ := openFiles(t, ca, memberLeaf)
	reader, _ := openFiles(t, ca, tlstest.Leaf{Role: tlsfiles.RoleReader, Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	f := newFake(leading)
	g, _ := startGRPC(t, f, GRPCOptions{TLS: member.Admin("h2")})
	conn := dialTLS(t, g.Addr().String(), reader.Client())
	c := adminpb.NewAdminClient(conn)
	if _, err := c.Status(callContext(t), &adminpb.StatusRequest{}); err != nil {
		t.Errorf("Status: %v", err)
	}
	watch := func(r *adminpb.WatchSessionsRequest) error {
		s, err := c.WatchSessions(callContext(t), r)
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	if err := watch(&adminpb.WatchSessionsRequest{}); err != nil {
		t.Errorf("WatchSessions: %v", err)
	}
	orders := len(f.orders)
	if err := watch(&adminpb.WatchSessionsRequest{DataPatterns: []string{"/**"}}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("WatchSessions with data: %v", err)
	}
	// Of all others, whatever is added, none.
	for _, m := range adminpb.Admin_ServiceDesc.Methods {
		if m.MethodName == "Status" {
			continue
		}
		if err := conn.Invoke(callContext(t), "/"+adminpb.Admin_ServiceDesc.ServiceName+"/"+m.MethodName, &adminpb.StatusRequest{}, &adminpb.StatusResponse{}); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", m.MethodName, err)
		}
	}
	s, err := c.Snapshot(callContext(t), &adminpb.SnapshotRequest{})
	if err == nil {
		_, err = s.Recv()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("Snapshot: %v", err)
	}
	if len(f.orders) != orders {
		t.Errorf("what was refused got through: %q", f.orders[orders:])
	}
}
