package pki

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	a, stranger := newAuthority(t, start), newAuthority(t, start)
	member := issue(t, a, start)
	operator, err := a.Issue(RoleOperator, nil, start)
	if err != nil {
		t.Fatal(err)
	}
	more, err := a.Issue(RoleMember, append([]string{"localhost"}, names...), start)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		found Certificate
		role  Role
		names []string
		after time.Duration
		want  string
	}{
		{"fresh", member, RoleMember, names, 0, ""},
		{"operator", operator, RoleOperator, nil, 0, ""},
		{"a clock that is behind", member, RoleMember, names, -policy.Skew, ""},
		{"before its time", member, RoleMember, names, -policy.Skew - time.Second, "not valid before"},
		{"before two thirds", member, RoleMember, names, 59 * day, ""},
		{"after two thirds", member, RoleMember, names, 60*day + time.Hour, "two thirds of its life are over"},
		{"nothing", Certificate{}, RoleMember, names, 0, "there is none"},
		{"rubbish", Certificate{Cert: []byte("x"), Key: []byte("y")}, RoleMember, names, 0, "not PEM"},
		{"another's key", Certificate{Cert: member.Cert, Key: more.Key}, RoleMember, names, 0, "is not the key of"},
		{"another role", operator, RoleMember, nil, 0, `should be "conclave:member"`},
		{"another name", member, RoleMember, []string{"b"}, 0, `not valid for ["b"]`},
		{"more names", more, RoleMember, names, 0, "more names"},
		{"a stranger's", issue(t, stranger, start), RoleMember, names, 0, "not signed by the present authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := a.Check(c.found, c.role, c.names, start.Add(c.after))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
	if at, err := RenewAt(member); err != nil || a.Check(member, RoleMember, names, at) == nil || a.Check(member, RoleMember, names, at.Add(-time.Second)) != nil {
		t.Errorf("renewal at %v, %v, and Check sees it otherwise", at, err)
	}
}

// No certificate outlives its authority.
func TestIssueEndsWithAuthority(t *testing.T) {
	a := newAuthority(t, start)
	c := issue(t, a, start.Add(policy.AuthorityLife-10*day))
	certs, err := parseCertificates(c.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if !certs[0].NotAfter.Equal(a.current.cert.NotAfter) {
		t.Errorf("valid until %v, its authority until %v", certs[0].NotAfter, a.current.cert.NotAfter)
	}
}

// Real handshakes: who gets in, and as what.
func TestHandshake(t *testing.T) {
	a, stranger := newAuthority(t, start), newAuthority(t, start)
	clock := func() time.Time { return start }
	certificate := func(a *Authority, role Role, names []string) []tls.Certificate {
		c, err := a.Issue(role, names, start)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := c.TLS()
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{pair}
	}
	server := &tls.Config{Certificates: certificate(a, RoleMember, names), ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.Pool(), Time: clock, MinVersion: tls.VersionTLS13}
	for _, c := range []struct {
		name   string
		server *tls.Config
		client *tls.Config
		role   Role
	}{
		{"a member", server, &tls.Config{Certificates: certificate(a, RoleMember, names), RootCAs: a.Pool(), ServerName: names[0]}, RoleMember},
		{"the operator", server, &tls.Config{Certificates: certificate(a, RoleOperator, nil), RootCAs: a.Pool(), ServerName: names[0]}, RoleOperator},
		{"nobody", server, &tls.Config{RootCAs: a.Pool(), ServerName: names[0]}, ""},
		{"a member of another cluster", server, &tls.Config{Certificates: certificate(stranger, RoleMember, names), RootCAs: a.Pool(), ServerName: names[0]}, ""},
		{"a dialer who looks for another name", server, &tls.Config{Certificates: certificate(a, RoleMember, names), RootCAs: a.Pool(), ServerName: "other"}, ""},
		{"the operator's certificate as a server's", &tls.Config{Certificates: certificate(a, RoleOperator, names), Time: clock},
			&tls.Config{RootCAs: a.Pool(), ServerName: names[0]}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.client.Time = clock
			role, err := handshake(t, c.server, c.client)
			switch {
			case c.role == "" && err == nil:
				t.Errorf("was let in as %q", role)
			case c.role != "" && (err != nil || role != c.role):
				t.Errorf("%q, %v; want %q", role, err, c.role)
			}
		})
	}
}

// handshake returns the role that the server saw, or the first error of either
// side.
func handshake(t *testing.T, server, client *tls.Config) (Role, error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	type answer struct {
		role Role
		err  error
	}
	served := make(chan answer, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			served <- answer{err: err}
			return
		}
		defer conn.Close()
		s := tls.Server(conn, server)
		if err = s.Handshake(); err == nil {
			_, err = s.Write([]byte("x"))
		}
		a := answer{err: err}
		if certs := s.ConnectionState().PeerCertificates; len(certs) > 0 {
			a.role = Role(certs[0].Subject.Organization[0])
		}
		served <- a
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(conn, client)
	if err = c.Handshake(); err == nil {
		// With TLS 1.3 the server's refusal comes after the client's handshake.
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	conn.Close()
	a := <-served
	if err == nil {
		err = a.err
	}
	return a.role, err
}
