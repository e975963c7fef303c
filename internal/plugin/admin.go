package plugin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	v1alpha1 "github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/projection/stream"
)

// portAdmin is where a member's pod serves the admin API.
const portAdmin = 2890

// operatorRole is the Organization that the admin port wants in a certificate.
const operatorRole = "conclave:operator"

// certificateLife is how long the certificate lasts with which a person connects.
// Connections go on beyond it.
const certificateLife = 10 * time.Minute

// adminTLS makes a client certificate from a cluster's authority, as its Secret
// has it, and a configuration that trusts its members, whatever their addresses.
func adminTLS(secret map[string][]byte, serverName string, now time.Time) (*tls.Config, error) {
	authority, err := tls.X509KeyPair(secret["tls.crt"], secret["tls.key"])
	if err != nil {
		return nil, fmt.Errorf("the cluster's authority: %w", err)
	}
	issuer, err := x509.ParseCertificate(authority.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("the cluster's authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{operatorRole}, CommonName: "kubectl conclave"},
		NotBefore:    now.Add(-certificateLife), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, issuer, &key.PublicKey, authority.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	// While the authority is being replaced, members have certificates of either.
	trusted := x509.NewCertPool()
	for _, name := range []string{"tls.crt", "next.crt", "former.crt"} {
		for block, rest := pem.Decode(secret[name]); block != nil; block, rest = pem.Decode(rest) {
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("the cluster's authority: %s: %w", name, err)
			}
			trusted.AddCert(c)
		}
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}},
		RootCAs:      trusted, ServerName: serverName, MinVersion: tls.VersionTLS13,
	}, nil
}

// watch asks members in turn, the leader first as far as that is known, until one
// answers.
func watch(ctx context.Context, cc *v1alpha1.CoordinationCluster, t *tls.Config, dial func(ctx context.Context, pod string) (net.Conn, error), r *adminpb.WatchSessionsRequest) (stream.Receiver, func(), error) {
	pods := []string{}
	for _, m := range cc.Status.Members {
		if m.Role == v1alpha1.RoleLeader || m.Pod == cc.Status.Leader {
			pods = append([]string{m.Pod}, pods...)
		} else if m.Voter || m.Role == v1alpha1.RoleFollower {
			pods = append(pods, m.Pod)
		}
	}
	if len(pods) == 0 {
		return nil, nil, fmt.Errorf("no member of %s/%s is known; kubectl conclave status %s says more", cc.Namespace, cc.Name, cc.Name)
	}
	var errs []error
	for _, pod := range pods {
		s, stop, err := watchMember(ctx, t, func(ctx context.Context) (net.Conn, error) { return dial(ctx, pod) }, r)
		if err == nil {
			return s, stop, nil
		}
		if ctx.Err() != nil {
			return nil, nil, err
		}
		errs = append(errs, fmt.Errorf("%s: %w", pod, err))
	}
	return nil, nil, fmt.Errorf("no member streams its sessions:\n%w", errors.Join(errs...))
}

func watchMember(ctx context.Context, t *tls.Config, dial func(context.Context) (net.Conn, error), r *adminpb.WatchSessionsRequest) (stream.Receiver, func(), error) {
	// What dial says is better than what gRPC makes of it. It says so on another
	// goroutine.
	var failed atomic.Pointer[error]
	conn, err := grpc.NewClient("passthrough:///member", grpc.WithTransportCredentials(credentials.NewTLS(t)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c, err := dial(ctx)
			if err != nil {
				failed.Store(&err)
			}
			return c, err
		}), grpc.WithDisableRetry(), grpc.WithNoProxy())
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := func() { cancel(); conn.Close() }
	s, err := adminpb.NewAdminClient(conn).WatchSessions(ctx, r)
	var first *adminpb.SessionsUpdate
	if err == nil {
		first, err = s.Recv()
	}
	if err != nil {
		stop()
		if why := failed.Load(); why != nil {
			return nil, nil, *why
		}
		return nil, nil, errors.New(status.Convert(err).Message())
	}
	return &begun{Receiver: s, first: first}, stop, nil
}

// begun is a stream whose first message has been read.
type begun struct {
	stream.Receiver
	first *adminpb.SessionsUpdate
}

func (b *begun) Recv() (*adminpb.SessionsUpdate, error) {
	if u := b.first; u != nil {
		b.first = nil
		return u, nil
	}
	u, err := b.Receiver.Recv()
	if err != nil {
		return nil, errors.New(status.Convert(err).Message())
	}
	return u, nil
}
