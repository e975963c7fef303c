package plugin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	v1alpha1 "github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/projection/stream"
)

// portAdmin is where a member's pod serves the admin API.
const portAdmin = 2890

// adminTLS is a configuration that shows the readers' certificate, as its Secret has
// it, and trusts a cluster's members, whatever their addresses.
func adminTLS(secret map[string][]byte, serverName string) (*tls.Config, error) {
	own, err := tls.X509KeyPair(secret["tls.crt"], secret["tls.key"])
	if err != nil {
		return nil, fmt.Errorf("the readers' certificate: %w", err)
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(secret["ca.crt"]) {
		return nil, errors.New("the readers' certificate: there is no authority in ca.crt beside it")
	}
	return &tls.Config{Certificates: []tls.Certificate{own}, RootCAs: trusted, ServerName: serverName, MinVersion: tls.VersionTLS13}, nil
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
