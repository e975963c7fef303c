package tlsfiles

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// The files in the directory, as in a Kubernetes Secret of type tls with the
// authorities beside it.
const (
	CAFile   = "ca.crt"  // one certificate or more: those of old and new during a rotation
	CertFile = "tls.crt" // the member's certificate, and what is between it and the CA
	KeyFile  = "tls.key"
)

// Roles, each an Organization in a certificate's subject. Who has none gets in
// nowhere, whoever signed his certificate.
const (
	// RoleMember may use the peer port, and is what every server shows.
	RoleMember = "conclave:member"
	// RoleOperator may use the admin API.
	RoleOperator = "conclave:operator"
	// RoleReader may use of it what only looks.
	RoleReader = "conclave:reader"
)

// lookEvery is how often, at most, the files are read: a kubelet takes up to a
// minute to bring new ones, so that nobody gains by more.
const lookEvery = time.Second

// Options say which files, and what the process around them is like.
type Options struct {
	// Dir holds the files.
	Dir string
	// ServerName is a DNS name that every server's certificate has, and by which
	// every client knows it.
	ServerName string
	// Role is what the own certificate must have: RoleMember for a member.
	Role string
	// Logger must be given.
	Logger *slog.Logger

	// Now and ReadFile replace time.Now and os.ReadFile in tests; nil elsewhere.
	Now      func() time.Time
	ReadFile func(string) ([]byte, error)
}

// Files are the newest good state of the files. Its methods may be called from
// any goroutine.
type Files struct {
	opt Options

	mu sync.Mutex
	// current is what the last good look found. Invariant: it is whole; key,
	// certificate and authorities belong together.
	current *material
	looked  time.Time
	// seen is the sum of the bytes of the last look, good or not, and said what
	// was logged of it.
	seen [sha256.Size]byte
	said string
}

// material is one state of the files. It is never changed.
type material struct {
	cert  tls.Certificate
	roots *x509.CertPool
	ca    [sha256.Size]byte // the sum of CAFile
}

// State is what is in use.
type State struct {
	// CA is the SHA-256 of CAFile, Serial the number of the own certificate, both
	// in hexadecimal digits.
	CA, Serial string
	NotAfter   time.Time
	// Problem is why the files as they are now are not in use; empty if they are.
	Problem string
}

// State looks at the files, as a handshake does, and tells what is in use.
func (f *Files) State() State {
	m := f.newest()
	f.mu.Lock()
	defer f.mu.Unlock()
	return State{CA: hex.EncodeToString(m.ca[:]), Serial: m.cert.Leaf.SerialNumber.Text(16), NotAfter: m.cert.Leaf.NotAfter, Problem: f.said}
}

// Open reads the files. It fails if they are not good now; later, bad files are
// logged and the last good ones stay in use.
func Open(opt Options) (*Files, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.ReadFile == nil {
		opt.ReadFile = os.ReadFile
	}
	f := &Files{opt: opt}
	m, sum, err := f.read()
	if err != nil {
		return nil, err
	}
	f.current, f.seen, f.looked = m, sum, opt.Now()
	f.opt.Logger.Info("TLS", f.describe(m)...)
	return f, nil
}

// newest returns what there is to use now, after a look at the files if the last
// one was a while ago.
func (f *Files) newest() *material {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.opt.Now()
	if since := now.Sub(f.looked); since >= 0 && since < lookEvery {
		return f.current
	}
	f.looked = now
	m, sum, err := f.read()
	switch {
	case err != nil:
		// The same trouble is worth one line, however often it is met. (What is said
		// of a certificate that has run out names the present time.)
		if f.said == "" || sum != f.seen || sum == ([sha256.Size]byte{}) && err.Error() != f.said {
			f.opt.Logger.Error("the TLS files can't be used, the last good ones stay in use", "dir", f.opt.Dir, "error", err,
				"in_use_until", f.current.cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
		}
		f.said = err.Error()
	case sum != f.seen || f.said != "":
		f.current, f.said = m, ""
		f.opt.Logger.Info("TLS files were renewed", f.describe(m)...)
	}
	f.seen = sum
	return f.current
}

func (f *Files) describe(m *material) []any {
	leaf := m.cert.Leaf
	return []any{"dir", f.opt.Dir, "server_name", f.opt.ServerName, "serial", leaf.SerialNumber.Text(16), "not_after", leaf.NotAfter.UTC().Format(time.RFC3339)}
}

// read reads all files and tells whether they are good together.
func (f *Files) read() (m *material, sum [sha256.Size]byte, err error) {
	var ca, cert, key []byte
	hash := sha256.New()
	for _, file := range []struct {
		name string
		to   *[]byte
	}{{CAFile, &ca}, {CertFile, &cert}, {KeyFile, &key}} {
		b, err := f.opt.ReadFile(filepath.Join(f.opt.Dir, file.name))
		if err != nil {
			return nil, sum, err
		}
		fmt.Fprintf(hash, "%d:", len(b))
		hash.Write(b)
		*file.to = b
	}
	hash.Sum(sum[:0])
	m, err = f.parse(ca, cert, key)
	return m, sum, err
}

func (f *Files) parse(ca, cert, key []byte) (*material, error) {
	m := &material{ca: sha256.Sum256(ca)}
	var err error
	if m.roots, err = pool(ca); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(f.opt.Dir, CAFile), err)
	}
	at := filepath.Join(f.opt.Dir, CertFile)
	if m.cert, err = tls.X509KeyPair(cert, key); err != nil {
		return nil, fmt.Errorf("%s with %s: %w", at, KeyFile, err)
	}
	// What the others would refuse is found out here, where it can be told why.
	if err := f.vouch(m.roots, m.chain(), x509.ExtKeyUsageClientAuth, "", f.opt.Role); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	if f.opt.Role == RoleMember {
		if err := f.vouch(m.roots, m.chain(), x509.ExtKeyUsageServerAuth, f.opt.ServerName, f.opt.Role); err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
	}
	return m, nil
}

// chain is the own certificate and those that were given with it.
func (m *material) chain() []*x509.Certificate {
	list := []*x509.Certificate{m.cert.Leaf}
	for _, der := range m.cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			list = append(list, c)
		}
	}
	return list
}

// pool reads authorities. Unlike x509's own it takes no file of which a part
// makes no sense: half of a bundle would lock out whoever is in the other half.
func pool(text []byte) (*x509.CertPool, error) {
	p := x509.NewCertPool()
	n := 0
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a %s among the certificates", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if !c.IsCA {
			return nil, fmt.Errorf("the certificate of %q is not an authority's", c.Subject)
		}
		p.AddCert(c)
		n++
	}
	if rest := bytes.TrimSpace(text); len(rest) > 0 {
		return nil, fmt.Errorf("what follows certificate %d is not a whole certificate", n)
	}
	if n == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return p, nil
}

// vouch reports why a certificate is not good for a use and a role; name is
// empty for a client's.
func (f *Files) vouch(roots *x509.CertPool, chain []*x509.Certificate, use x509.ExtKeyUsage, name, role string) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, DNSName: name, CurrentTime: f.opt.Now(), KeyUsages: []x509.ExtKeyUsage{use},
	})
	if err != nil {
		return err
	}
	return checkRole(chain, role)
}

// checkRole looks at a certificate that is known to be good.
func checkRole(chain []*x509.Certificate, roles ...string) error {
	if has := chain[0].Subject.Organization; !slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(has, role) }) {
		return fmt.Errorf("the certificate of %q has the roles (Organization) %q, and %q is needed", chain[0].Subject.CommonName, has, roles[0])
	}
	return nil
}

// Server returns the configuration of a listener for clients that have a role.
// Every handshake takes the files as they are then. protocols are offered by
// ALPN.
func (f *Files) Server(role string, protocols ...string) *tls.Config {
	return f.server([]string{role}, protocols)
}

// Admin is Server for the admin API, which operators and readers use. What a reader
// may call of it is for the API to say.
func (f *Files) Admin(protocols ...string) *tls.Config {
	return f.server([]string{RoleOperator, RoleReader}, protocols)
}

func (f *Files) server(roles, protocols []string) *tls.Config {
	// Resumption would let in, for a week, whose certificate has run out or
	// whose authority is trusted no more.
	base := &tls.Config{MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, NextProtos: protocols, Time: f.opt.Now}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m := f.newest()
		return &tls.Config{
			MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, NextProtos: protocols, Time: f.opt.Now,
			Certificates: []tls.Certificate{m.cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: m.roots,
			VerifyConnection: func(st tls.ConnectionState) error { return checkRole(st.PeerCertificates, roles...) },
		}, nil
	}
	return base
}

// Client returns the configuration for dialling a member, with the files as they
// are now.
func (f *Files) Client() *tls.Config {
	m := f.newest()
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: f.opt.ServerName, RootCAs: m.roots, Time: f.opt.Now,
		// Whatever authorities the server names: there is one certificate to show.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &m.cert, nil },
		VerifyConnection:     func(st tls.ConnectionState) error { return checkRole(st.PeerCertificates, RoleMember) },
	}
}
