package plugin

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	v1alpha1 "github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/pki"
)

const memberName = "member.main.shop.conclave.dev"

// authority is a cluster's.
func authority(t *testing.T) *pki.Authority {
	t.Helper()
	a, err := pki.New(pki.DefaultPolicy, "shop/main", nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// readers is the Secret with the certificate of readers.
func readers(t *testing.T, a *pki.Authority) map[string][]byte {
	t.Helper()
	c, err := a.Issue(pki.RoleReader, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"ca.crt": a.Bundle(), "tls.crt": c.Cert, "tls.key": c.Key}
}

// adminPort is a member, which notes the role of who calls.
type adminPort struct {
	adminpb.UnimplementedAdminServer
	leads bool
	roles []string
}

func (m *adminPort) WatchSessions(_ *adminpb.WatchSessionsRequest, s grpc.ServerStreamingServer[adminpb.SessionsUpdate]) error {
	p, _ := peer.FromContext(s.Context())
	m.roles = append(m.roles, p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].Subject.Organization...)
	if !m.leads {
		return status.Error(codes.FailedPrecondition, "this member does not lead")
	}
	for _, u := range told() {
		if err := s.Send(u); err != nil {
			return err
		}
	}
	return status.Error(codes.Unavailable, "no longer the leader")
}

func serve(t *testing.T, m *adminPort, a *pki.Authority) net.Addr {
	t.Helper()
	issued, err := a.Issue(pki.RoleMember, []string{memberName}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	own, err := issued.TLS()
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{own}, ClientCAs: a.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	})))
	adminpb.RegisterAdminServer(s, m)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return l.Addr()
}

// The plugin shows the certificate of readers, and finds the
// leader, though status names another.
func TestWatchFindsTheLeader(t *testing.T) {
	a := authority(t)
	tlsConfig, err := adminTLS(readers(t, a), memberName)
	if err != nil {
		t.Fatal(err)
	}
	follower, leader := &adminPort{}, &adminPort{leads: true}
	ports := map[string]net.Addr{"main-0": serve(t, follower, a), "main-1": serve(t, leader, a)}
	var dialed []string
	dial := func(_ context.Context, pod string) (net.Conn, error) {
		dialed = append(dialed, pod)
		a := ports[pod]
		if a == nil {
			return nil, errors.New("pod " + pod + " is not running")
		}
		return net.Dial("tcp", a.String())
	}
	cc := &v1alpha1.CoordinationCluster{}
	cc.Name, cc.Namespace = "main", "shop"
	cc.Status.Members = []v1alpha1.MemberStatus{{Pod: "main-2", Voter: true}, {Pod: "main-1", Voter: true}, {Pod: "main-0", Role: v1alpha1.RoleLeader}, {Pod: "main-observer-0", Role: v1alpha1.RoleObserver}}
	s, stop, err := watch(t.Context(), cc, tlsConfig, dial, &adminpb.WatchSessionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	n := 0
	for {
		if _, err = s.Recv(); err != nil {
			break
		}
		n++
	}
	if n != len(told()) || err.Error() != "no longer the leader" {
		t.Errorf("%d messages, and then %v", n, err)
	}
	if dialed = slices.Compact(dialed); strings.Join(dialed, " ") != "main-0 main-2 main-1" {
		t.Errorf("dialed %v", dialed)
	}
	if len(leader.roles) != 1 || leader.roles[0] != string(pki.RoleReader) {
		t.Errorf("came as %v", leader.roles)
	}
	cc.Status.Members = cc.Status.Members[2:]
	if _, _, err = watch(t.Context(), cc, tlsConfig, dial, &adminpb.WatchSessionsRequest{}); err == nil || !strings.Contains(err.Error(), "main-0: this member does not lead") {
		t.Errorf("%v", err)
	}
	cc.Status.Members = nil
	if _, _, err = watch(t.Context(), cc, tlsConfig, dial, &adminpb.WatchSessionsRequest{}); err == nil || !strings.Contains(err.Error(), "no member of shop/main is known") {
		t.Errorf("%v", err)
	}
}

// A member of another cluster, or whoever answers in its place, is not believed.
func TestWatchVerifiesMembers(t *testing.T) {
	a, other := authority(t), authority(t)
	stranger := &adminPort{leads: true}
	at := serve(t, stranger, other)
	dial := func(context.Context) (net.Conn, error) { return net.Dial("tcp", at.String()) }
	tlsConfig, err := adminTLS(readers(t, a), memberName)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := watchMember(t.Context(), tlsConfig, dial, &adminpb.WatchSessionsRequest{}); err == nil || len(stranger.roles) != 0 {
		t.Errorf("%v, %v", err, stranger.roles)
	}
	for _, key := range []string{"tls.crt", "tls.key", "ca.crt"} {
		secret := readers(t, a)
		delete(secret, key)
		if _, err := adminTLS(secret, memberName); err == nil || !strings.Contains(err.Error(), "the readers' certificate") {
			t.Errorf("without %s: %v", key, err)
		}
	}
}
