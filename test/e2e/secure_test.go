//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/conclave-dev/conclave/internal/pki"
)

// selfSigned is a certificate of nobody's signing that claims every role.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{string(pki.RoleMember), string(pki.RoleOperator)}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// authority is the cluster's own, from its Secret.
func (e *ensemble) authority() *pki.Authority {
	e.t.Helper()
	var secret corev1.Secret
	if err := e.read(&secret, name+"-ca"); err != nil {
		e.t.Fatal(err)
	}
	a, err := pki.ParseAuthority(pki.DefaultPolicy, e.namespace+"/"+name, secret.Data)
	if err != nil {
		e.t.Fatal(err)
	}
	return a
}

func issued(t *testing.T, a *pki.Authority, role pki.Role, at time.Time) tls.Certificate {
	t.Helper()
	c, err := a.Issue(role, nil, at)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := c.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// errRefused: the port ended the handshake with an alert.
var errRefused = errors.New("refused")

// reach connects to a port, for as long as patience lasts.
func reach(address string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, fmt.Errorf("nobody listens: %w", err)
	}
	return conn, conn.SetDeadline(time.Now().Add(patience))
}

// present shows certificates to a port that speaks TLS, and returns errRefused if
// that is the end. Somebody who is admitted and says nothing is answered by the
// admin port, and left alone by the peer port until it loses patience.
func present(address string, certificates ...tls.Certificate) error {
	conn, err := reach(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	secured := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, NextProtos: []string{"h2"},
		// Certificates would leave out one that the server does not ask for.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if len(certificates) == 0 {
				return &tls.Certificate{}, nil
			}
			return &certificates[0], nil
		}})
	if err = secured.Handshake(); err == nil {
		_, err = secured.Read(make([]byte, 256))
	}
	var alert *net.OpError
	switch {
	case errors.As(err, &alert) && alert.Op == "remote error":
		return fmt.Errorf("%w: %w", errRefused, err)
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// plaintext says something without TLS, and returns errRefused if nothing but an
// alert comes back.
func plaintext(address string) error {
	conn, err := reach(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The preface of HTTP/2 and an empty SETTINGS frame.
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return err
	}
	said, err := io.ReadAll(conn)
	if len(said) > 0 && said[0] != 0x15 {
		return fmt.Errorf("it answers %q", said)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return errRefused
}

func TestStrangersAreRefused(t *testing.T) {
	e := found(t, 3, ordinary)
	var secret corev1.Secret
	if err := e.read(&secret, name+"-tls"); err != nil {
		t.Fatal(err)
	}
	member, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	ours, now := e.authority(), time.Now()
	// Everything but its key is as the cluster's own.
	theirs, err := pki.New(pki.DefaultPolicy, e.namespace+"/"+name, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	operator, long := issued(t, ours, pki.RoleOperator, now), now.Add(-pki.DefaultPolicy.Life-24*time.Hour)
	const peer, admin = "2888", "2890"
	first := e.pods()[0].Name
	for _, p := range e.pods() {
		for _, port := range []string{peer, admin} {
			address := net.JoinHostPort(p.Status.PodIP, port)
			want := func(who string, want, got error) {
				if !errors.Is(got, want) {
					t.Errorf("%s of %s, %s: %v, want %v", port, p.Name, who, got, want)
				}
			}
			want("plaintext", errRefused, plaintext(address))
			want("no certificate", errRefused, present(address))
			for who, c := range map[string]tls.Certificate{
				"self-signed":                    selfSigned(t),
				"another authority's member":     issued(t, theirs, pki.RoleMember, now),
				"another authority's operator":   issued(t, theirs, pki.RoleOperator, now),
				"no organization that counts":    issued(t, ours, "conclave:nobody", now),
				"no organization":                issued(t, ours, "", now),
				"a member, long ago":             issued(t, ours, pki.RoleMember, long),
				"an operator, long ago":          issued(t, ours, pki.RoleOperator, long),
				"the wrong one of the two roles": map[string]tls.Certificate{peer: operator, admin: member}[port],
			} {
				want(who, errRefused, present(address, c))
			}
			// All of it shows nothing if the right one is refused as well.
			if p.Name == first {
				want("the right role", nil, present(address, map[string]tls.Certificate{peer: member, admin: operator}[port]))
			}
		}
	}
	e.conclude()
}

func TestMetricsOfTheOperatorWantAToken(t *testing.T) {
	found(t, 1, ordinary[:1]) // so that there is something to count
	var s corev1.Service
	e := &ensemble{t: t, namespace: system}
	if err := e.read(&s, "conclave-operator-metrics"); err != nil {
		t.Fatal(err)
	}
	const account = "e2e-scraper"
	e.must("create", "serviceaccount", account)
	t.Cleanup(func() {
		e.must("delete", "serviceaccount", account)
		e.must("delete", "clusterrolebinding", account)
	})
	e.must("create", "clusterrolebinding", account, "--clusterrole=conclave-operator-metrics-reader", "--serviceaccount="+system+":"+account)
	token := strings.TrimSpace(e.must("create", "token", account))
	stranger := strings.TrimSpace(e.must("create", "token", "default"))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: time.Minute}
	get := func(token string) (int, string, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.Spec.ClusterIP+":8443/metrics", nil)
		if err != nil {
			return 0, "", err
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := client.Do(r)
		if err != nil {
			return 0, "", err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return answer.StatusCode, string(body), err
	}
	for _, c := range []struct {
		who, token string
		want       int
	}{{"nobody", "", http.StatusUnauthorized}, {"a stranger", stranger, http.StatusForbidden}, {"a reader", token, http.StatusOK}} {
		eventually(t, "metrics for "+c.who, func() error {
			code, body, err := get(c.token)
			if err == nil && code != c.want {
				err = fmt.Errorf("the answer is %d, want %d: %.200s", code, c.want, body)
			}
			for _, metric := range []string{"conclave_operator_steps_total", "conclave_cluster_condition", "controller_runtime_reconcile_total"} {
				if err == nil && c.want == http.StatusOK && !strings.Contains(body, metric) {
					err = fmt.Errorf("there is no %s in them", metric)
				}
			}
			return err
		})
	}
}
