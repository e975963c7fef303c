package tlsfiles_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/tlsfiles"
	"github.com/conclave-dev/conclave/internal/tlsfiles/tlstest"
)

const name = "member.test.conclave.dev"

// party is one end of a connection: files, a clock, and a log.
type party struct {
	*tlsfiles.Files
	dir string
	now time.Time
	log bytes.Buffer
	// broken is what reading a file returns instead, by its name.
	broken map[string]error
}

// look lets so much time pass that the files are looked at again.
func (p *party) look() { p.now = p.now.Add(time.Minute) }

func (p *party) lines(what string) int { return strings.Count(p.log.String(), what) }

func open(t *testing.T, dir, role string) *party {
	t.Helper()
	p := &party{dir: dir, now: time.Now(), broken: map[string]error{}}
	var err error
	p.Files, err = tlsfiles.Open(tlsfiles.Options{
		Dir: dir, ServerName: name, Role: role, Logger: slog.New(slog.NewTextHandler(&p.log, nil)),
		Now: func() time.Time { return p.now },
		ReadFile: func(file string) ([]byte, error) {
			if err := p.broken[filepath.Base(file)]; err != nil {
				return nil, err
			}
			return os.ReadFile(file)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// handshake connects a client to a server and returns what each has to say.
func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	// A pipe has no room: what one end says as it gives up would wait for the
	// other.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := ln.Accept()
		if err != nil {
			serverErr = err
			return
		}
		defer raw.Close()
		c := tls.Server(raw, server)
		if serverErr = c.Handshake(); serverErr == nil {
			_, serverErr = io.WriteString(c, "in")
		}
	}()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(raw, client)
	// Only by reading does a client learn whether its certificate is taken.
	_, clientErr = io.ReadFull(c, make([]byte, 2))
	raw.Close()
	<-done
	return serverErr, clientErr
}

func wantIn(t *testing.T, server, client *tls.Config) {
	t.Helper()
	if s, c := handshake(t, server, client); s != nil || c != nil {
		t.Errorf("server: %v; client: %v", s, c)
	}
}

func TestWhoGetsIn(t *testing.T) {
	ca, foreign := tlstest.NewCA(t), tlstest.NewCA(t)
	member := tlstest.Leaf{ServerName: name}
	write := func(ca *tlstest.CA, l tlstest.Leaf, trusted ...*tlstest.CA) string {
		dir := t.TempDir()
		ca.Write(dir, l, trusted...)
		return dir
	}
	server := open(t, write(ca, member), tlsfiles.RoleMember)
	wantIn(t, server.Server(tlsfiles.RoleMember), open(t, write(ca, member), tlsfiles.RoleMember).Client())
	operator := open(t, write(ca, tlstest.Leaf{Role: tlsfiles.RoleOperator, Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}), tlsfiles.RoleOperator)
	wantIn(t, server.Server(tlsfiles.RoleOperator, "h2"), operator.Client())

	expiring := open(t, write(ca, tlstest.Leaf{ServerName: name, NotAfter: time.Now().Add(time.Minute)}), tlsfiles.RoleMember)
	expired := func() *tls.Config { return expiring.Client() }
	server.now = server.now.Add(2 * time.Minute)
	for _, c := range []struct {
		what   string
		client *tls.Config
		says   string
	}{
		{"no certificate", &tls.Config{ServerName: name, InsecureSkipVerify: true}, "didn't provide a certificate"},
		{"a foreign authority's certificate", open(t, write(foreign, member, foreign, ca), tlsfiles.RoleMember).Client(), "unknown authority"},
		{"an operator's certificate", operator.Client(), `"conclave:member" is needed`},
		{"an expired certificate", expired(), "expired"},
		{"TLS 1.2", &tls.Config{ServerName: name, InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, "unsupported version"},
		{"a server's certificate", clientWith(t, ca, tlstest.Leaf{Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}), "incompatible key usage"},
	} {
		s, cl := handshake(t, server.Server(tlsfiles.RoleMember), c.client)
		if s == nil || !strings.Contains(s.Error(), c.says) {
			t.Errorf("%s: %v; want an error with %q", c.what, s, c.says)
		}
		if cl == nil {
			t.Errorf("%s: the client got in", c.what)
		}
	}
	// Whom a client refuses.
	client := open(t, write(ca, member), tlsfiles.RoleMember)
	for _, c := range []struct {
		what string
		leaf tlstest.Leaf
		by   *tlstest.CA
		says string
	}{
		{"a foreign member", member, foreign, "unknown authority"},
		{"a member of another cluster of the same authority", tlstest.Leaf{ServerName: "member.other.conclave.dev"}, ca, "is valid for member.other"},
		{"an operator as a server", tlstest.Leaf{ServerName: name, Role: tlsfiles.RoleOperator}, ca, `"conclave:member" is needed`},
	} {
		cert, key := c.by.Issue(c.leaf)
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = handshake(t, &tls.Config{Certificates: []tls.Certificate{pair}}, client.Client())
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want an error with %q", c.what, err, c.says)
		}
	}
}

func clientWith(t *testing.T, ca *tlstest.CA, l tlstest.Leaf) *tls.Config {
	cert, key := ca.Issue(l)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{ServerName: name, InsecureSkipVerify: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }}
}

func TestRenewal(t *testing.T) {
	ca := tlstest.NewCA(t)
	soon := time.Now().Add(10 * time.Minute)
	dir := t.TempDir()
	ca.Write(dir, tlstest.Leaf{ServerName: name, NotAfter: soon})
	p := open(t, dir, tlsfiles.RoleMember)
	server, before := p.Server(tlsfiles.RoleMember), p.Client()
	wantIn(t, server, before)

	ca.Write(dir, tlstest.Leaf{ServerName: name})
	p.look()
	wantIn(t, server, p.Client())
	p.now = soon.Add(time.Second)
	wantIn(t, server, p.Client())
	if s, _ := handshake(t, server, before); s == nil || !strings.Contains(s.Error(), "expired") {
		t.Errorf("the certificate that has run out: %v", s)
	}
	if p.lines("were renewed") != 1 {
		t.Errorf("log:\n%s", &p.log)
	}
	earlier := p.State()
	ca.Write(dir, tlstest.Leaf{ServerName: name}, ca, tlstest.NewCA(t))
	p.look()
	if st := p.State(); st.Problem != "" || st.CA == earlier.CA || len(st.CA) != 64 || st.Serial == earlier.Serial || !st.NotAfter.After(time.Now()) {
		t.Errorf("%+v, before %+v", st, earlier)
	}
	// Not everything that is looked at is read.
	p.broken[tlsfiles.KeyFile] = errors.New("read too often")
	p.Client()
	p.Client()
	if p.lines("read too often") != 0 {
		t.Errorf("log:\n%s", &p.log)
	}
}

func TestRotationOfTheAuthority(t *testing.T) {
	old, next := tlstest.NewCA(t), tlstest.NewCA(t)
	leaf := tlstest.Leaf{ServerName: name}
	var members [2]*party
	for i := range members {
		dir := t.TempDir()
		old.Write(dir, leaf)
		members[i] = open(t, dir, tlsfiles.RoleMember)
	}
	step := func(i int, by *tlstest.CA, trusted ...*tlstest.CA) {
		by.Write(members[i].dir, leaf, trusted...)
		for _, m := range members {
			m.look()
		}
		wantIn(t, members[0].Server(tlsfiles.RoleMember), members[1].Client())
		wantIn(t, members[1].Server(tlsfiles.RoleMember), members[0].Client())
	}
	for _, phase := range []struct {
		by      *tlstest.CA
		trusted []*tlstest.CA
	}{{old, []*tlstest.CA{old, next}}, {next, []*tlstest.CA{next, old}}, {next, []*tlstest.CA{next}}} {
		for i := range members {
			step(i, phase.by, phase.trusted...)
		}
	}
	dir := t.TempDir()
	old.Write(dir, leaf)
	behind := open(t, dir, tlsfiles.RoleMember)
	if s, _ := handshake(t, members[0].Server(tlsfiles.RoleMember), behind.Client()); s == nil {
		t.Error("who is of the old authority alone is let in after the rotation")
	}
}

func TestFilesThatAreNoGood(t *testing.T) {
	ca, other := tlstest.NewCA(t), tlstest.NewCA(t)
	leaf := tlstest.Leaf{ServerName: name}
	cert, key := ca.Issue(leaf)
	for _, c := range []struct {
		what          string
		ca, cert, key []byte
		says          string
	}{
		{"half a bundle", append(bytes.Clone(ca.PEM), other.PEM[:len(other.PEM)/2]...), cert, key, "ca.crt: what follows certificate 1"},
		{"an empty bundle", nil, cert, key, "ca.crt: there is no certificate"},
		{"a key among the authorities", key, cert, key, "PRIVATE KEY"},
		{"a leaf among the authorities", cert, cert, key, "not an authority's"},
		{"half a certificate", ca.PEM, cert[:len(cert)/2], key, "tls.crt with tls.key"},
		{"another's key", ca.PEM, cert, second(other.Issue(leaf)), "does not match"},
		{"a certificate of another authority", other.PEM, cert, key, "unknown authority"},
		{"another name", ca.PEM, nil, nil, "is valid for elsewhere"},
		{"an operator's certificate", ca.PEM, nil, nil, `"conclave:member" is needed`},
		{"an expired certificate", ca.PEM, nil, nil, "expired"},
	} {
		t.Run(c.what, func(t *testing.T) {
			switch c.what {
			case "another name":
				c.cert, c.key = ca.Issue(tlstest.Leaf{ServerName: "elsewhere"})
			case "an operator's certificate":
				c.cert, c.key = ca.Issue(tlstest.Leaf{ServerName: name, Role: tlsfiles.RoleOperator})
			case "an expired certificate":
				c.cert, c.key = ca.Issue(tlstest.Leaf{ServerName: name, NotAfter: time.Now().Add(-time.Minute)})
			}
			dir := t.TempDir()
			ca.Write(dir, leaf)
			p := open(t, dir, tlsfiles.RoleMember)
			for file, b := range map[string][]byte{tlsfiles.CAFile: c.ca, tlsfiles.CertFile: c.cert, tlsfiles.KeyFile: c.key} {
				if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := tlsfiles.Open(tlsfiles.Options{Dir: dir, ServerName: name, Role: tlsfiles.RoleMember, Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("at the start: %v; want an error with %q", err, c.says)
			}
			// Whoever has good ones keeps them, and says so once.
			for range 3 {
				p.look()
				wantIn(t, p.Server(tlsfiles.RoleMember), p.Client())
			}
			if p.lines("level=ERROR") != 1 || p.lines("the last good ones stay in use") != 1 {
				t.Errorf("log:\n%s", &p.log)
			}
			if st := p.State(); !strings.Contains(st.Problem, c.says) {
				t.Errorf("%+v", st)
			}
			ca.Write(dir, leaf)
			p.look()
			wantIn(t, p.Server(tlsfiles.RoleMember), p.Client())
			if p.lines("were renewed") != 1 {
				t.Errorf("log:\n%s", &p.log)
			}
		})
	}
}

func second(_, b []byte) []byte { return b }

func TestFilesThatAreMissing(t *testing.T) {
	ca := tlstest.NewCA(t)
	dir := t.TempDir()
	ca.Write(dir, tlstest.Leaf{ServerName: name})
	p := open(t, dir, tlsfiles.RoleMember)
	p.broken[tlsfiles.CertFile] = fs.ErrNotExist
	for range 3 {
		p.look()
		p.Client()
	}
	p.broken[tlsfiles.CertFile] = fs.ErrPermission
	p.look()
	wantIn(t, p.Server(tlsfiles.RoleMember), p.Client())
	if p.lines("level=ERROR") != 2 {
		t.Errorf("log:\n%s", &p.log)
	}
	clear(p.broken)
	p.look()
	p.Client()
	if p.lines("were renewed") != 1 {
		t.Errorf("log:\n%s", &p.log)
	}
}
