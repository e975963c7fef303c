// Package pki makes the cluster's certificate authority, its certificates and
// the kubeconfigs. All are made anew with each cluster and worth nothing after it.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
)

const validity = 365 * 24 * time.Hour

// authority signs the cluster's certificates.
type authority struct {
	c    *layout.Cluster
	key  crypto.Signer
	cert *x509.Certificate
	pem  []byte
}

// A subject is whom a certificate is for: the names by which Kubernetes knows
// users and groups.
type subject struct {
	user, group string
	// names and ips are set for servers only.
	names []string
	ips   []string
}

// Make writes all keys, certificates and kubeconfigs of a cluster.
func Make(c *layout.Cluster) error {
	if err := os.MkdirAll(c.PKI(""), 0o700); err != nil {
		return err
	}
	a, err := newAuthority(c)
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	if err := a.serviceAccounts(); err != nil {
		return fmt.Errorf("service accounts' key: %w", err)
	}
	certs := map[string]subject{
		"apiserver": {user: "kube-apiserver",
			names: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + layout.Domain},
			ips:   []string{"127.0.0.1", layout.ControlIP, layout.APIServiceIP}},
		"apiserver-kubelet-client": {user: "apiserver-kubelet-client", group: "system:masters"},
	}
	users := map[string]subject{
		"admin":              {user: "admin", group: "system:masters"},
		"controller-manager": {user: "system:kube-controller-manager"},
		"scheduler":          {user: "system:kube-scheduler"},
		"proxy":              {user: "system:kube-proxy"},
	}
	for n := layout.Node(1); int(n) <= c.Nodes; n++ {
		certs["kubelet-server-"+n.Name()] = subject{user: "system:node:" + n.Name(), group: "system:nodes",
			names: []string{n.Name()}, ips: []string{n.IP(), "127.0.0.1"}}
		users["kubelet-"+n.Name()] = subject{user: "system:node:" + n.Name(), group: "system:nodes"}
	}
	for name, s := range certs {
		cert, key, err := a.issue(s)
		if err == nil {
			err = write(c.PKI(name+".crt"), cert, c.PKI(name+".key"), key)
		}
		if err != nil {
			return fmt.Errorf("certificate %s: %w", name, err)
		}
	}
	for name, s := range users {
		if err := a.kubeconfig(name, s); err != nil {
			return fmt.Errorf("kubeconfig %s: %w", name, err)
		}
	}
	return nil
}

func newAuthority(c *layout.Cluster) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := template(subject{user: "conclave-localcluster-ca"})
	t.IsCA = true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	a := &authority{c: c, key: key, cert: cert, pem: block("CERTIFICATE", der)}
	return a, write(c.PKI("ca.crt"), a.pem, c.PKI("ca.key"), keyPEM)
}

// serviceAccounts makes the key by which tokens are signed, and its public half.
func (a *authority) serviceAccounts() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := encodeKey(key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return write(a.c.PKI("sa.pub"), block("PUBLIC KEY", der), a.c.PKI("sa.key"), private)
}

func (a *authority) issue(s subject) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := template(s)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(s.ips) > 0 {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, k.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	key, err = encodeKey(k)
	return block("CERTIFICATE", der), key, err
}

func template(s subject) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		// The system's randomness is gone.
		panic(err)
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: s.user},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(validity),
		BasicConstraintsValid: true,
		DNSNames:              s.names,
	}
	if s.group != "" {
		t.Subject.Organization = []string{s.group}
	}
	for _, ip := range s.ips {
		t.IPAddresses = append(t.IPAddresses, net.ParseIP(ip))
	}
	return t
}

// kubeconfig writes a user's file. JSON is YAML, and kubectl reads either.
func (a *authority) kubeconfig(name string, s subject) error {
	cert, key, err := a.issue(s)
	if err != nil {
		return err
	}
	const context = "conclave-local"
	type object map[string]any
	data, err := json.MarshalIndent(object{
		"apiVersion":      "v1",
		"kind":            "Config",
		"current-context": context,
		"clusters": []object{{"name": context, "cluster": object{
			"server": a.c.Server(), "certificate-authority-data": a.pem}}},
		"users": []object{{"name": name, "user": object{
			"client-certificate-data": cert, "client-key-data": key}}},
		"contexts": []object{{"name": context, "context": object{"cluster": context, "user": name}}},
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(a.c.Kubeconfig(name), append(data, '\n'), 0o600)
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	// "EC PRIVATE KEY", which the service account controller wants for its own.
	der, err := x509.MarshalECPrivateKey(key)
	return block("EC PRIVATE KEY", der), err
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func write(certFile string, cert []byte, keyFile string, key []byte) error {
	if err := os.WriteFile(certFile, cert, 0o644); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(certFile), err)
	}
	return os.WriteFile(keyFile, key, 0o600)
}
