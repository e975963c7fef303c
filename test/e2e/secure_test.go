//go:build e2e

package e2e

import (
	"context"
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
)

// forged is a certificate of nobody's signing that claims every role.
func forged(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"conclave:member", "conclave:operator"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// admitted returns what a port says to one who speaks first as HTTP/2 clients
// and members do; an error if it closes without a byte.
func admitted(address string, config *tls.Config) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("nobody listens: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	if config != nil {
		conn = tls.Client(conn, config)
	}
	// The preface of HTTP/2 and an empty SETTINGS frame.
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return "", err
	}
	b := make([]byte, 256)
	n, err := conn.Read(b)
	if n == 0 && err == nil {
		err = errors.New("nothing")
	}
	return string(b[:n]), err
}

func TestStrangersAreRefused(t *testing.T) {
	e := found(t, 3, ordinary)
	var secret corev1.Secret
	if err := e.read(&secret, name+"-tls"); err != nil {
		t.Fatal(err)
	}
	members, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	config := func(certificates ...tls.Certificate) *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, Certificates: certificates, NextProtos: []string{"h2"}}
	}
	for _, p := range e.pods() {
		for _, port := range []string{"2888", "2890"} {
			address := net.JoinHostPort(p.Status.PodIP, port)
			for who, c := range map[string]*tls.Config{"plaintext": nil, "no certificate": config(), "a forged certificate": config(forged(t))} {
				got, err := admitted(address, c)
				if err == nil && (c != nil || !strings.HasPrefix(got, "\x15")) { // an alert of TLS is a refusal
					t.Errorf("%s of %s answered %s with %q", port, p.Name, who, got)
				} else if err != nil && (strings.Contains(err.Error(), "nobody listens") || errors.Is(err, os.ErrDeadlineExceeded)) {
					t.Errorf("%s of %s, %s: not refused, but %v", port, p.Name, who, err)
				}
			}
		}
		// A member's certificate is good on the peer port alone.
		if got, err := admitted(net.JoinHostPort(p.Status.PodIP, "2890"), config(members)); err == nil {
			t.Errorf("the admin port of %s answered a member's certificate with %q", p.Name, got)
		}
	}
	e.conclude()
}

func TestMetricsOfTheOperatorWantAToken(t *testing.T) {
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
			if err == nil && c.want == http.StatusOK && !strings.Contains(body, "conclave_operator_steps_total") && !strings.Contains(body, "controller_runtime_reconcile_total") {
				err = errors.New("there is nothing of the operator in them")
			}
			return err
		})
	}
}
