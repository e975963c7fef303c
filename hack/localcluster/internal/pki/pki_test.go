package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
	"testing"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
)

func TestEveryCertificateIsTheAuthoritys(t *testing.T) {
	c := &layout.Cluster{State: t.TempDir(), Nodes: 2}
	if err := Make(c); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(c.PKI("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("ca.crt has no certificate")
	}
	for _, tt := range []struct {
		name, host, group string
		usage             x509.ExtKeyUsage
	}{
		{"apiserver", layout.ControlIP, "", x509.ExtKeyUsageServerAuth},
		{"apiserver", "kubernetes.default.svc", "", x509.ExtKeyUsageServerAuth},
		{"kubelet-server-node2", layout.Node(2).IP(), "system:nodes", x509.ExtKeyUsageServerAuth},
		{"apiserver-kubelet-client", "", "system:masters", x509.ExtKeyUsageClientAuth},
	} {
		pair, err := tls.LoadX509KeyPair(c.PKI(tt.name+".crt"), c.PKI(tt.name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: tt.host, KeyUsages: []x509.ExtKeyUsage{tt.usage}}); err != nil {
			t.Errorf("%s for %q: %v", tt.name, tt.host, err)
		}
		if tt.group != "" && (len(pair.Leaf.Subject.Organization) != 1 || pair.Leaf.Subject.Organization[0] != tt.group) {
			t.Errorf("%s is in groups %q", tt.name, pair.Leaf.Subject.Organization)
		}
	}
	var config struct {
		Users []struct {
			User struct {
				Cert []byte `json:"client-certificate-data"`
				Key  []byte `json:"client-key-data"`
			}
		}
	}
	data, err := os.ReadFile(c.Kubeconfig("kubelet-node2"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(config.Users[0].User.Cert, config.Users[0].User.Key)
	if err != nil {
		t.Fatal(err)
	}
	if pair.Leaf.Subject.CommonName != "system:node:node2" {
		t.Errorf("the kubelet of node2 is %s", pair.Leaf.Subject.CommonName)
	}
}
