package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

var policy = Policy{AuthorityLife: 900 * day, Life: 90 * day, Overlap: 4 * day, Skew: time.Hour}

func newAuthority(t *testing.T, now time.Time) *Authority {
	t.Helper()
	a, err := New(policy, "main.default", nil, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// reread is the authority as the next process has it.
func reread(t *testing.T, a *Authority) *Authority {
	t.Helper()
	data, err := a.Data()
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseAuthority(policy, "main.default", data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Data()
	if err != nil {
		t.Fatal(err)
	}
	if !maps.EqualFunc(data, again, bytes.Equal) {
		t.Fatalf("written: %v; read and written again: %v", slices.Sorted(maps.Keys(data)), slices.Sorted(maps.Keys(again)))
	}
	return b
}

func advance(t *testing.T, a *Authority, bundle []byte, now time.Time) *Authority {
	t.Helper()
	b, err := a.Advance(bundle, now)
	if err != nil {
		t.Fatal(err)
	}
	if a == b {
		return a
	}
	return reread(t, b)
}

func issue(t *testing.T, a *Authority, now time.Time) Certificate {
	t.Helper()
	c, err := a.Issue(RoleMember, names, now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var names = []string{"member.main.default.conclave.dev"}

// verify is what a dialer does with a certificate and the bundle that it has.
func verify(c Certificate, bundle []byte, now time.Time) error {
	certs, err := parseCertificates(c.Cert)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	_, err = certs[0].Verify(x509.VerifyOptions{Roots: pool, DNSName: names[0], CurrentTime: now})
	return err
}

func certificates(t *testing.T, bundle []byte) int {
	t.Helper()
	certs, err := parseCertificates(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return len(certs)
}

// Eight years, a look every day. Each member has what it read last, which may be
// as old as the overlap; each verifies every other at all times.
func TestRotationNeverBreaksTrust(t *testing.T) {
	const look = day
	a := newAuthority(t, start)
	secret := holding{a.Bundle(), issue(t, a, start)}
	late, lateReads, verified := secret, start, start
	authorities := map[string]bool{}
	for now := start; now.Before(start.Add(8 * 365 * day)); now = now.Add(look) {
		before := secret
		a = advance(t, a, secret.bundle, now)
		secret.bundle = a.Bundle()
		if a.Check(secret.cert, RoleMember, names, now) != nil {
			secret.cert = issue(t, a, now)
			if err := a.Check(secret.cert, RoleMember, names, now); err != nil {
				t.Fatalf("%v: what was just issued: %v", now, err)
			}
		}
		changed := !secret.same(before)
		if now.Sub(lateReads) >= policy.Overlap-look {
			changed = changed || !late.same(secret)
			late, lateReads = secret, now
		}
		if !changed && now.Sub(verified) < 20*day {
			continue
		}
		verified = now
		authorities[string(encodeCertificates([]*x509.Certificate{a.current.cert}))] = true
		if n := certificates(t, secret.bundle); n > 3 {
			t.Fatalf("%v: %d authorities are trusted", now, n)
		}
		for _, verifier := range []holding{secret, late} {
			for _, shown := range []holding{secret, late} {
				if err := verify(shown.cert, verifier.bundle, now); err != nil {
					t.Fatalf("%v: %v", now, err)
				}
			}
		}
	}
	if n := len(authorities); n < 4 {
		t.Errorf("%d authorities in 8 years, and their life is %v", n, policy.AuthorityLife)
	}
}

// holding is what a member has read.
type holding struct {
	bundle []byte
	cert   Certificate
}

func (h holding) same(o holding) bool {
	return bytes.Equal(h.bundle, o.bundle) && bytes.Equal(h.cert.Cert, o.cert.Cert)
}

func TestRotationStepByStep(t *testing.T) {
	a := newAuthority(t, start)
	if b := advance(t, a, a.Bundle(), start.Add(599*day)); !bytes.Equal(b.Bundle(), a.Bundle()) {
		t.Fatal("something happened before two thirds of the authority's life were over")
	}
	due := a.NextStep()
	if life := due.Sub(start); life < 599*day || life > 601*day {
		t.Fatalf("the first step is due after %v", life)
	}

	before := a.Bundle()
	a = advance(t, a, before, due)
	if certificates(t, a.Bundle()) != 2 {
		t.Fatal("the next authority is not trusted")
	}
	// The operator stopped before the members had it, for a month.
	later := due.Add(30 * day)
	a = advance(t, a, before, later)
	if a.NextStep().After(later) {
		t.Errorf("the next step waits until %v", a.NextStep())
	}
	if a.Check(issue(t, a, later), RoleMember, names, later) != nil || verify(issue(t, a, later), before, later) != nil {
		t.Fatal("the next authority signs before members trust it")
	}

	given := a.Bundle()
	a = advance(t, a, given, later)
	old := issue(t, a, later)
	if want := later.Add(policy.Overlap); !a.NextStep().Equal(want) {
		t.Errorf("next step at %v instead of %v", a.NextStep(), want)
	}
	a = advance(t, a, given, later.Add(policy.Overlap-time.Second))
	if a.Check(old, RoleMember, names, later) != nil {
		t.Fatal("the next authority signs before the overlap is over")
	}
	swapped := later.Add(policy.Overlap)
	a = advance(t, a, given, swapped)
	if err := a.Check(old, RoleMember, names, swapped); err == nil || !strings.Contains(err.Error(), "not signed by the present authority") {
		t.Errorf("a certificate of the former authority: %v", err)
	}
	if verify(issue(t, a, swapped), given, swapped) != nil || verify(old, a.Bundle(), swapped) != nil {
		t.Error("old and new members do not trust each other")
	}

	if want := swapped.Add(policy.Life); !a.NextStep().Equal(want) {
		t.Errorf("next step at %v instead of %v", a.NextStep(), want)
	}
	a = advance(t, a, a.Bundle(), swapped.Add(policy.Life-time.Second))
	if certificates(t, a.Bundle()) != 2 {
		t.Error("the former authority is gone too early")
	}
	a = advance(t, a, a.Bundle(), swapped.Add(policy.Life))
	if certificates(t, a.Bundle()) != 1 {
		t.Error("the former authority is still trusted")
	}
}

// After years without an operator everything has expired, and begins anew at once.
func TestRotationAfterExpiry(t *testing.T) {
	a := newAuthority(t, start)
	now := start.Add(policy.AuthorityLife + day)
	a = advance(t, a, a.Bundle(), now)
	if err := verify(issue(t, a, now), a.Bundle(), now); err != nil {
		t.Error(err)
	}
	if certificates(t, a.Bundle()) != 1 {
		t.Error("an authority that has expired is still trusted")
	}
}

// The Secret with the key is gone; members have certificates and a bundle.
func TestNewKeepsTrust(t *testing.T) {
	lost := newAuthority(t, start)
	old := issue(t, lost, start)
	now := start.Add(10 * day)
	a, err := New(policy, "main.default", lost.Bundle(), now)
	if err != nil {
		t.Fatal(err)
	}
	a = reread(t, a)
	if err := verify(old, a.Bundle(), now); err != nil {
		t.Errorf("members that have read nothing are not trusted: %v", err)
	}
	if err := a.Check(old, RoleMember, names, now); err == nil {
		t.Error("certificates of the lost authority are not issued anew")
	}
	a = advance(t, a, a.Bundle(), now.Add(policy.Life))
	if certificates(t, a.Bundle()) != 1 {
		t.Error("the lost authority is trusted for ever")
	}
	if _, err := New(policy, "main.default", []byte("what is this"), now); err == nil {
		t.Error("a bundle that can't be read was dropped without a word")
	}
}

func TestParseAuthorityRefuses(t *testing.T) {
	a := newAuthority(t, start)
	good, err := a.Data()
	if err != nil {
		t.Fatal(err)
	}
	other, err := newAuthority(t, start).Data()
	if err != nil {
		t.Fatal(err)
	}
	leaf := issue(t, a, start)
	for _, c := range []struct {
		name string
		edit func(map[string][]byte)
		want string
	}{
		{"no key", func(d map[string][]byte) { delete(d, "tls.key") }, "tls.key: it is not PEM"},
		{"no certificate", func(d map[string][]byte) { delete(d, "tls.crt") }, "tls.crt: it has 0 certificates"},
		{"another's key", func(d map[string][]byte) { d["tls.key"] = other["tls.key"] }, "tls.key is not the key of the certificate in tls.crt"},
		{"a certificate that can't sign", func(d map[string][]byte) { d["tls.crt"], d["tls.key"] = leaf.Cert, leaf.Key }, "tls.crt: it is no authority's certificate"},
		{"two certificates", func(d map[string][]byte) { d["tls.crt"] = slices.Concat(d["tls.crt"], other["tls.crt"]) }, "tls.crt: it has 2 certificates"},
		{"a key as certificate", func(d map[string][]byte) { d["tls.crt"] = d["tls.key"] }, `tls.crt: it has a "PRIVATE KEY" where a certificate should be`},
		{"half a next one", func(d map[string][]byte) { d["next.crt"] = other["tls.crt"] }, "next.key: it is not PEM"},
		{"no time", func(d map[string][]byte) { delete(d, "tls.since") }, "tls.since"},
		{"former ones", func(d map[string][]byte) { d["former.crt"] = []byte("x") }, "former.crt: it is not PEM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := maps.Clone(good)
			c.edit(data)
			if _, err := ParseAuthority(policy, "main.default", data); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
	if _, err := ParseAuthority(policy, "main.default", nil); !errors.Is(err, ErrAbsent) {
		t.Errorf("an empty Secret: %v", err)
	}
}
