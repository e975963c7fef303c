// Package tlstest makes authorities and certificates for tests.
package tlstest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/tlsfiles"
)

// CA issues certificates.
type CA struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// PEM is its certificate.
	PEM []byte
}

// Leaf says what a certificate is to have; zero fields get what is good: role
// member, an hour around the present.
type Leaf struct {
	Role       string
	ServerName string
	NotAfter   time.Time
	// Uses are the extended key usages; client and server if nil.
	Uses []x509.ExtKeyUsage
}

// NewCA makes an authority.
func NewCA(t testing.TB) *CA {
	t.Helper()
	ca := &CA{t: t}
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	ca.key = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &ca.key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	ca.PEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return ca
}

// Issue makes a certificate and its key, in PEM.
func (ca *CA) Issue(l Leaf) (cert, key []byte) {
	ca.t.Helper()
	if l.Role == "" {
		l.Role = tlsfiles.RoleMember
	}
	if l.NotAfter.IsZero() {
		l.NotAfter = time.Now().Add(time.Hour)
	}
	if l.Uses == nil {
		l.Uses = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	}
	template := &x509.Certificate{
		SerialNumber: serial(ca.t), Subject: pkix.Name{CommonName: "test", Organization: []string{l.Role}},
		NotBefore: l.NotAfter.Add(-48 * time.Hour), NotAfter: l.NotAfter, ExtKeyUsage: l.Uses, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if l.ServerName != "" {
		template.DNSNames = []string{l.ServerName}
	}
	k := newKey(ca.t)
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &k.PublicKey, ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		ca.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// Write puts files for a certificate of ca into dir, with all of trusted as
// authorities (ca alone if there are none).
func (ca *CA) Write(dir string, l Leaf, trusted ...*CA) {
	ca.t.Helper()
	if len(trusted) == 0 {
		trusted = []*CA{ca}
	}
	var roots bytes.Buffer
	for _, t := range trusted {
		roots.Write(t.PEM)
	}
	cert, key := ca.Issue(l)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		ca.t.Fatal(err)
	}
	for name, b := range map[string][]byte{tlsfiles.CAFile: roots.Bytes(), tlsfiles.CertFile: cert, tlsfiles.KeyFile: key} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			ca.t.Fatal(err)
		}
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
