package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Role is what the holder of a certificate may do, as its Organization says.
type Role string

const (
	// RoleMember serves and dials: it is needed on the peer port.
	RoleMember Role = "conclave:member"
	// RoleOperator dials: it is needed on the admin port.
	RoleOperator Role = "conclave:operator"
	// RoleReader dials the admin port, where it may only look.
	RoleReader Role = "conclave:reader"
)

// usages are what a role's certificates are for.
func (r Role) usages() []x509.ExtKeyUsage {
	if r != RoleMember {
		return []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	return []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
}

// Certificate is an issued certificate and its key, in PEM.
type Certificate struct {
	Cert, Key []byte
}

// TLS is the certificate for a tls.Config.
func (c Certificate) TLS() (tls.Certificate, error) { return tls.X509KeyPair(c.Cert, c.Key) }

// Issue makes a key and a certificate for a role, valid for the DNS names.
func (a *Authority) Issue(role Role, names []string, now time.Time) (Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Certificate{}, fmt.Errorf("making a key: %w", err)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{Organization: []string{string(role)}, CommonName: limited(a.name, 64)},
		DNSNames:    names,
		NotBefore:   now.Add(-a.policy.Skew),
		NotAfter:    now.Add(a.policy.Life),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: role.usages(),
	}
	if end := a.current.cert.NotAfter; template.NotAfter.After(end) {
		template.NotAfter = end
	}
	cert, err := sign(template, a.current.cert, &key.PublicKey, a.current.key)
	if err != nil {
		return Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	text, err := encodeKey(key)
	if err != nil {
		return Certificate{}, err
	}
	return Certificate{Cert: encodeCertificates([]*x509.Certificate{cert}), Key: text}, nil
}

// Check says why a certificate that was found must be issued anew; nil if it is
// as Issue would make it and not due for renewal. The next time to look is
// RenewAt.
func (a *Authority) Check(found Certificate, role Role, names []string, now time.Time) error {
	if len(found.Cert) == 0 || len(found.Key) == 0 {
		return errors.New("there is none")
	}
	p, err := parsePair(map[string][]byte{keyCurrentCert: found.Cert, keyCurrentKey: found.Key}, keyCurrentCert, keyCurrentKey)
	if err != nil {
		return err
	}
	c := p.cert
	switch missing := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return c.VerifyHostname(n) == nil }); {
	case c.CheckSignatureFrom(a.current.cert) != nil:
		return errors.New("it was not signed by the present authority")
	case !slices.Equal(c.Subject.Organization, []string{string(role)}):
		return fmt.Errorf("its role is %q and should be %q", c.Subject.Organization, role)
	case !slices.Equal(c.ExtKeyUsage, role.usages()):
		return fmt.Errorf("it is not for what a %s does", role)
	case len(missing) > 0:
		return fmt.Errorf("it is not valid for %q", missing)
	case len(c.DNSNames) != len(names) || len(c.IPAddresses) > 0:
		return errors.New("it is valid for more names than it should be")
	case now.Before(c.NotBefore):
		return fmt.Errorf("it is not valid before %s", c.NotBefore.UTC().Format(time.RFC3339))
	case !now.Before(renewAt(c)):
		return fmt.Errorf("two thirds of its life are over; it expires on %s", c.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// RenewAt is when Check will want a certificate renewed.
func RenewAt(c Certificate) (time.Time, error) {
	certs, err := parseCertificates(c.Cert)
	if err != nil {
		return time.Time{}, err
	}
	if len(certs) == 0 {
		return time.Time{}, errors.New("there is no certificate")
	}
	return renewAt(certs[0]), nil
}
