package machine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/supervise"
)

const etcdClients = "http://127.0.0.1:2379"

// startControlPlane starts etcd and the API server, waits until it serves, and
// starts those who need it.
func startControlPlane(c *layout.Cluster, s *supervise.Supervisor) error {
	const etcdPeers = "http://127.0.0.1:2380"
	err := s.Start("etcd", c.Program("etcd"),
		"--name=control", "--data-dir="+filepath.Join(c.State, "etcd"),
		"--listen-client-urls="+etcdClients, "--advertise-client-urls="+etcdClients,
		"--listen-peer-urls="+etcdPeers, "--initial-advertise-peer-urls="+etcdPeers,
		"--initial-cluster=control="+etcdPeers,
		// A cluster that starts from nothing has nothing to lose in a crash.
		"--unsafe-no-fsync", "--log-level=warn")
	if err != nil {
		return err
	}
	if err := os.WriteFile(auditPolicy(c), []byte(audited), 0o600); err != nil {
		return err
	}
	if err := s.Start("kube-apiserver", c.Program("kube-apiserver"), apiServerArgs(c)...); err != nil {
		return err
	}
	if err := waitForAPIServer(c, s); err != nil {
		return err
	}
	err = s.Start("kube-controller-manager", c.Program("kube-controller-manager"),
		"--kubeconfig="+c.Kubeconfig("controller-manager"), "--bind-address=127.0.0.1", "--leader-elect=false",
		"--use-service-account-credentials=true", "--service-account-private-key-file="+c.PKI("sa.key"),
		"--root-ca-file="+c.PKI("ca.crt"), "--cluster-signing-cert-file="+c.PKI("ca.crt"), "--cluster-signing-key-file="+c.PKI("ca.key"),
		// Each node's pods have a fixed network, which the CNI configuration knows.
		"--allocate-node-cidrs=false",
		// A lost node is noticed in 20 seconds instead of 50: tests wait for it.
		"--node-monitor-grace-period=20s", "--node-monitor-period=2s")
	if err != nil {
		return err
	}
	err = s.Start("kube-scheduler", c.Program("kube-scheduler"),
		"--kubeconfig="+c.Kubeconfig("scheduler"), "--bind-address=127.0.0.1", "--leader-elect=false")
	if err != nil {
		return err
	}
	return s.Start("provisioner", c.Program("provisioner"), "--kubeconfig="+c.Admin(), "--root="+c.Volumes())
}

// audited are the writes of programs in pods, Kubernetes' own controllers aside: how
// many an operator makes, and when.
const audited = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: None
  userGroups: ["system:serviceaccounts:kube-system"]
- level: Metadata
  userGroups: ["system:serviceaccounts"]
  verbs: [create, update, patch, delete, deletecollection]
- level: None
`

func auditPolicy(c *layout.Cluster) string { return filepath.Join(c.State, "audit.yaml") }

func apiServerArgs(c *layout.Cluster) []string {
	return []string{
		"--etcd-servers=" + etcdClients,
		"--advertise-address=" + layout.ControlIP, "--secure-port=6443",
		"--service-cluster-ip-range=" + layout.ServiceCIDR,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--client-ca-file=" + c.PKI("ca.crt"),
		"--tls-cert-file=" + c.PKI("apiserver.crt"), "--tls-private-key-file=" + c.PKI("apiserver.key"),
		"--kubelet-certificate-authority=" + c.PKI("ca.crt"),
		"--kubelet-client-certificate=" + c.PKI("apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + c.PKI("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc." + layout.Domain,
		"--service-account-key-file=" + c.PKI("sa.pub"), "--service-account-signing-key-file=" + c.PKI("sa.key"),
		"--audit-policy-file=" + auditPolicy(c), "--audit-log-path=" + c.Log("control", "audit"),
		"--audit-log-maxsize=1024", "--audit-log-maxbackup=1", // MiB
	}
}

// waitForAPIServer returns when the API server is ready, or something the
// control plane consists of has ended.
func waitForAPIServer(c *layout.Cluster, s *supervise.Supervisor) error {
	ca, err := os.ReadFile(c.PKI("ca.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	return poll(s, 5*time.Minute, "the API server is not ready", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Server()+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// poll calls ready until it succeeds. It gives up after a while, or as soon as
// one of the machine's components has ended.
func poll(s *supervise.Supervisor, patience time.Duration, what string, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		if s.Crashed() {
			return errors.New(what + ", and never will be")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s after %v: %w", what, patience, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
