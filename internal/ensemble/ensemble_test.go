package ensemble_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/ensemble"
	"github.com/conclave-dev/conclave/internal/pki"
)

const name = "member.zoo.ns.conclave.dev"

// member answers like one.
type member struct {
	adminpb.UnimplementedAdminServer
	id uint64
}

func (m *member) Status(context.Context, *adminpb.StatusRequest) (*adminpb.StatusResponse, error) {
	return &adminpb.StatusResponse{MemberId: m.id}, nil
}

func (m *member) Remove(context.Context, *adminpb.RemoveRequest) (*adminpb.MembershipResponse, error) {
	return nil, ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_LAST_VOTER, "it is the last")
}

func authority(t *testing.T) *pki.Authority {
	t.Helper()
	a, err := pki.New(pki.DefaultPolicy, "ns/zoo", nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func certificate(t *testing.T, a *pki.Authority, r pki.Role, names ...string) []tls.Certificate {
	t.Helper()
	c, err := a.Issue(r, names, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := c.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{pair}
}

// serve is a member's admin port.
func serve(t *testing.T, a *pki.Authority, id uint64) ensemble.Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: certificate(t, a, pki.RoleMember, name), ClientCAs: a.Pool(),
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13})))
	adminpb.RegisterAdminServer(s, &member{id: id})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return ensemble.Endpoint{Pod: l.Addr().String(), Address: l.Addr().String()}
}

func client(t *testing.T, trusted, signer *pki.Authority, server string) *ensemble.Client {
	t.Helper()
	c := ensemble.NewClient(&tls.Config{RootCAs: trusted.Pool(), ServerName: server, Certificates: certificate(t, signer, pki.RoleOperator), MinVersion: tls.VersionTLS13})
	t.Cleanup(c.Close)
	return c
}

func TestAsk(t *testing.T) {
	a := authority(t)
	first, second := serve(t, a, 1), serve(t, a, 2)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := ensemble.Endpoint{Pod: "dead", Address: nobody.Addr().String()}
	nobody.Close()
	c := client(t, a, a, name)
	answers := ensemble.Ask(context.Background(), c, []ensemble.Endpoint{first, second, dead, {Pod: "unborn"}})
	if answers[first.Pod].Status.GetMemberId() != 1 || answers[second.Pod].Status.GetMemberId() != 2 {
		t.Errorf("%v", answers)
	}
	for _, pod := range []string{"dead", "unborn"} {
		if got := answers[pod]; got.Status != nil || got.Err == nil {
			t.Errorf("%s: %v", pod, got)
		}
	}
	if got, want := answers["dead"].Err, "dial tcp "+dead.Address+": connect: connection refused"; got == nil || got.Error() != want {
		t.Errorf("dead: %v; it is to say %q", got, want)
	}
	// What was closed is opened again when it is needed.
	c.Keep([]ensemble.Endpoint{second})
	if got := ensemble.Ask(context.Background(), c, []ensemble.Endpoint{first}); got[first.Pod].Status == nil {
		t.Errorf("%v", got)
	}
	c.Close()
	if _, err := c.At(first); err == nil {
		t.Error("a closed client gives connections")
	}
}

func TestStrangersAreNotAsked(t *testing.T) {
	a, other := authority(t), authority(t)
	m := serve(t, a, 1)
	for what, c := range map[string]*ensemble.Client{
		"a member of another authority":    client(t, other, a, name),
		"a member of another cluster":      client(t, a, a, "member.other.ns.conclave.dev"),
		"an operator of another authority": client(t, a, other, name),
	} {
		if got := ensemble.Ask(context.Background(), c, []ensemble.Endpoint{m}); got[m.Pod].Status != nil {
			t.Errorf("%s is believed", what)
		}
	}
}

func TestRefusal(t *testing.T) {
	a := authority(t)
	m := serve(t, a, 1)
	api, err := client(t, a, a, name).At(m)
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.Remove(context.Background(), &adminpb.RemoveRequest{})
	if why, ok := ensemble.Refusal(err); !ok || why != adminpb.RefusalReason_REFUSAL_REASON_LAST_VOTER || !strings.Contains(err.Error(), "it is the last") {
		t.Errorf("%v: %v %t", err, why, ok)
	}
	if _, ok := ensemble.Refusal(errors.New("the connection broke")); ok {
		t.Error("an error is taken for a refusal")
	}
}
