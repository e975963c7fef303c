package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Policy is how long things last.
type Policy struct {
	// AuthorityLife is how long an authority's certificate is valid.
	AuthorityLife time.Duration
	// Life is how long the certificates that it issues are valid.
	Life time.Duration
	// Overlap is how long a new authority is trusted before it signs: longer than
	// a changed Secret takes to reach every member. At most a third of
	// AuthorityLife minus Life, so that the former authority outlives what it
	// signed.
	Overlap time.Duration
	// Skew is by how much certificates are dated back, for clocks that are behind.
	Skew time.Duration
}

// DefaultPolicy renews certificates every two months and the authority every
// six years and a half.
var DefaultPolicy = Policy{
	AuthorityLife: 10 * 365 * 24 * time.Hour,
	Life:          90 * 24 * time.Hour,
	Overlap:       24 * time.Hour,
	Skew:          10 * time.Minute,
}

// pair is a certificate and its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Authority signs a cluster's certificates. It is immutable: Advance returns
// another one.
type Authority struct {
	policy Policy
	name   string
	// current signs, and has signed since the time beside it.
	current pair
	since   time.Time
	// next is trusted and does not sign yet; nil most of the time.
	next *pair
	// nextTrusted is when the members' bundle was first seen to have next; zero
	// before that. Members need not have read it when it was made: the operator may
	// have stopped in between.
	nextTrusted time.Time
	// former are trusted and sign no more, the latest first. Their keys are gone.
	former []*x509.Certificate
}

// ErrAbsent is ParseAuthority's answer to a Secret without an authority in it:
// one is to be made.
var ErrAbsent = errors.New("there is no authority")

// New makes an authority for the cluster that name names. What trusted holds (PEM; the
// bundle that members have, if a former authority's key is lost) stays trusted
// until it expires: members that have not read the new bundle yet go on talking
// with each other.
func New(policy Policy, name string, trusted []byte, now time.Time) (*Authority, error) {
	p, err := newAuthorityPair(policy, name, now)
	if err != nil {
		return nil, err
	}
	former, err := parseCertificates(trusted)
	if err != nil {
		return nil, fmt.Errorf("certificates trusted so far: %w", err)
	}
	a := &Authority{policy: policy, name: name, current: p, since: now}
	for _, c := range former {
		if now.Before(c.NotAfter) {
			a.former = append(a.former, c)
		}
	}
	return a, nil
}

func newAuthorityPair(policy Policy, name string, now time.Time) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("making the authority's key: %w", err)
	}
	template := &x509.Certificate{
		// The date keeps two authorities of a cluster apart for people.
		Subject:               pkix.Name{CommonName: limited(name, 40) + " authority " + now.UTC().Format(time.DateOnly)},
		NotBefore:             now.Add(-policy.Skew),
		NotAfter:              now.Add(policy.AuthorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	cert, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		return pair{}, fmt.Errorf("making the authority's certificate: %w", err)
	}
	return pair{cert, key}, nil
}

func sign(template, parent *x509.Certificate, public *ecdsa.PublicKey, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// limited keeps a common name within X.509's 64 characters.
func limited(s string, n int) string { return s[:min(len(s), n)] }

// renewAt is when two thirds of a certificate's life are over.
func renewAt(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 3 * 2)
}

// Advance takes the steps of a rotation that are due, and returns the authority
// after them: a itself if there are none. bundle is what the members have been
// given to trust (PEM), as it was found.
func (a *Authority) Advance(bundle []byte, now time.Time) (*Authority, error) {
	out, changed := *a, false
	if out.next != nil && out.nextTrusted.IsZero() && bytes.Contains(bundle, encodeCertificates([]*x509.Certificate{out.next.cert})) {
		out.nextTrusted = now
		changed = true
	}
	// Where the current one has expired, nothing is left that waiting would spare.
	expired := now.After(out.current.cert.NotAfter)
	if out.next == nil && !now.Before(renewAt(out.current.cert)) {
		p, err := newAuthorityPair(a.policy, a.name, now)
		if err != nil {
			return nil, err
		}
		out.next, out.nextTrusted = &p, time.Time{}
		changed = true
	}
	if out.next != nil && (expired || !out.nextTrusted.IsZero() && !now.Before(out.nextTrusted.Add(a.policy.Overlap))) {
		out.former = append([]*x509.Certificate{out.current.cert}, out.former...)
		out.current, out.since = *out.next, now
		out.next, out.nextTrusted = nil, time.Time{}
		changed = true
	}
	keep := slices.DeleteFunc(slices.Clone(out.former), func(c *x509.Certificate) bool { return !now.Before(out.trustedUntil(c)) })
	if len(keep) != len(out.former) {
		out.former = keep
		changed = true
	}
	if !changed {
		return a, nil
	}
	return &out, nil
}

// trustedUntil is when a former authority has nothing valid left: whatever it
// signed it signed before the current one did, and that is valid for Life.
func (a *Authority) trustedUntil(former *x509.Certificate) time.Time {
	if end := a.since.Add(a.policy.Life); end.Before(former.NotAfter) {
		return end
	}
	return former.NotAfter
}

// NextStep returns the time at which Advance has something to do, if the members
// have been given the Bundle.
func (a *Authority) NextStep() time.Time {
	at := renewAt(a.current.cert)
	if a.next != nil {
		at = a.nextTrusted.Add(a.policy.Overlap) // in the past as long as it is zero
	}
	for _, c := range a.former {
		if end := a.trustedUntil(c); end.Before(at) {
			at = end
		}
	}
	return at
}

// Bundle is what members trust: every authority whose certificates may be in
// use, in PEM.
func (a *Authority) Bundle() []byte {
	certs := []*x509.Certificate{a.current.cert}
	if a.next != nil {
		certs = append(certs, a.next.cert)
	}
	return encodeCertificates(append(certs, a.former...))
}

// Pool is Bundle for a tls.Config.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.Bundle())
	return pool
}

// Keys of the Secret with an authority.
const (
	keyCurrentCert = "tls.crt"
	keyCurrentKey  = "tls.key"
	keySince       = "tls.since"
	keyNextCert    = "next.crt"
	keyNextKey     = "next.key"
	keyNextTrusted = "next.trusted"
	keyFormer      = "former.crt"
)

// Data is the authority as a Secret's data, for ParseAuthority.
func (a *Authority) Data() (map[string][]byte, error) {
	data := map[string][]byte{
		keyCurrentCert: encodeCertificates([]*x509.Certificate{a.current.cert}),
		keySince:       encodeTime(a.since),
	}
	var err error
	if data[keyCurrentKey], err = encodeKey(a.current.key); err != nil {
		return nil, err
	}
	if a.next != nil {
		data[keyNextCert] = encodeCertificates([]*x509.Certificate{a.next.cert})
		if data[keyNextKey], err = encodeKey(a.next.key); err != nil {
			return nil, err
		}
		if !a.nextTrusted.IsZero() {
			data[keyNextTrusted] = encodeTime(a.nextTrusted)
		}
	}
	if len(a.former) > 0 {
		data[keyFormer] = encodeCertificates(a.former)
	}
	return data, nil
}

// ParseAuthority reads what Data wrote. Without data it is ErrAbsent; anything
// else that can't be used is an error that says what is wrong with which key, and
// is not repaired here: members may still trust what a person can put back.
func ParseAuthority(policy Policy, name string, data map[string][]byte) (*Authority, error) {
	if len(data[keyCurrentCert]) == 0 && len(data[keyCurrentKey]) == 0 {
		return nil, ErrAbsent
	}
	a := &Authority{policy: policy, name: name}
	var err error
	if a.current, err = parseAuthorityPair(data, keyCurrentCert, keyCurrentKey); err != nil {
		return nil, err
	}
	if a.since, err = parseTime(data[keySince]); err != nil {
		return nil, fmt.Errorf("%s: %w", keySince, err)
	}
	if len(data[keyNextCert])+len(data[keyNextKey]) > 0 {
		next, err := parseAuthorityPair(data, keyNextCert, keyNextKey)
		if err != nil {
			return nil, err
		}
		a.next = &next
		if len(data[keyNextTrusted]) > 0 {
			if a.nextTrusted, err = parseTime(data[keyNextTrusted]); err != nil {
				return nil, fmt.Errorf("%s: %w", keyNextTrusted, err)
			}
		}
	}
	if a.former, err = parseCertificates(data[keyFormer]); err != nil {
		return nil, fmt.Errorf("%s: %w", keyFormer, err)
	}
	return a, nil
}

func parseAuthorityPair(data map[string][]byte, certName, keyName string) (pair, error) {
	p, err := parsePair(data, certName, keyName)
	if err == nil && !p.cert.IsCA {
		err = fmt.Errorf("%s: it is no authority's certificate, and can't sign others", certName)
	}
	return p, err
}

func parsePair(data map[string][]byte, certName, keyName string) (pair, error) {
	certs, err := parseCertificates(data[certName])
	if err == nil && len(certs) != 1 {
		err = fmt.Errorf("it has %d certificates, and should have one", len(certs))
	}
	if err != nil {
		return pair{}, fmt.Errorf("%s: %w", certName, err)
	}
	key, err := parseKey(data[keyName])
	if err != nil {
		return pair{}, fmt.Errorf("%s: %w", keyName, err)
	}
	if !key.PublicKey.Equal(certs[0].PublicKey) {
		return pair{}, fmt.Errorf("%s is not the key of the certificate in %s", keyName, certName)
	}
	return pair{certs[0], key}, nil
}

const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
)

func encodeCertificates(certs []*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw})...)
	}
	return out
}

// encodeTime is what parseTime reads. Whole seconds are fine enough for what is
// measured in days.
func encodeTime(t time.Time) []byte { return []byte(t.UTC().Format(time.RFC3339)) }

func parseTime(text []byte) (time.Time, error) { return time.Parse(time.RFC3339, string(text)) }

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for len(text) > 0 {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("it is not PEM")
		}
		if block.Type != pemCertificate {
			return nil, fmt.Errorf("it has a %q where a certificate should be", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
		text = rest
	}
	return certs, nil
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || ec.Curve != elliptic.P256() {
		return nil, errors.New("it is not an ECDSA key on the curve P-256")
	}
	return ec, nil
}
