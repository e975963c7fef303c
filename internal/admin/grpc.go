package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// Bounds of the gRPC server. It has few callers: an operator, and people.
const (
	grpcMaxConns       = 64 // on each listener
	grpcMaxStreams     = 64 // on each connection
	grpcMaxMessage     = 1 << 20
	grpcConnectTimeout = 10 * time.Second
	grpcProbe          = 20 * time.Second
	defaultHealthEvery = 250 * time.Millisecond
)

// GRPCOptions say where and how the admin API is served.
type GRPCOptions struct {
	// Address is host:port; empty for none.
	Address string
	// Socket is the path of a unix socket for those who may read and write the
	// data directory; empty for none.
	Socket string
	// HealthEvery is how often health is looked at, besides each Refresh; 0 for
	// a quarter of a second.
	HealthEvery time.Duration
	// TLS is what Address demands of its callers; nil for none. The socket, which
	// only the owner of the data can open, and HealthAddress do without. It has to
	// offer the protocol h2.
	TLS *tls.Config
	// HealthAddress is host:port where the health service alone is served, in
	// plaintext; empty for none.
	HealthAddress string
	// Log must be given.
	Log *slog.Logger
}

// GRPCServer serves the admin API and the health service. Start makes one,
// Stop ends it.
type GRPCServer struct {
	surface *Surface
	log     *slog.Logger
	server  *grpc.Server
	probes  *grpc.Server // serves HealthAddress; nil if there is none
	health  *health.Server
	addr    net.Addr // of the TCP listener; nil if there is none
	probed  net.Addr // of the listener for probes; nil if there is none
	socket  string   // path of the unix socket; empty if there is none

	mu sync.Mutex
	// reported is what the health service said last; guarded by mu.
	reported map[string]grpc_health_v1.HealthCheckResponse_ServingStatus

	stopOnce sync.Once
	stop     chan struct{} // closed by Stop
	done     sync.WaitGroup
}

// StartGRPC listens and serves. That it cannot listen on the socket is a
// warning: the socket is a convenience. That it cannot listen on the address
// is an error: an operator that cannot reach a member takes it for dead.
func StartGRPC(s *Surface, opts GRPCOptions) (*GRPCServer, error) {
	server := []grpc.ServerOption{grpc.UnaryInterceptor(unaryByRole), grpc.StreamInterceptor(streamByRole), grpc.MaxConcurrentStreams(grpcMaxStreams), grpc.MaxRecvMsgSize(grpcMaxMessage),
		grpc.ConnectionTimeout(grpcConnectTimeout),
		// A caller whose machine is gone gives back what he holds, and one who looks
		// for that himself is not taken for a nuisance.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: grpcProbe, Timeout: grpcProbe}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: grpcProbe / 4, PermitWithoutStream: true})}
	g := &GRPCServer{
		surface:  s,
		log:      opts.Log,
		health:   health.NewServer(),
		reported: make(map[string]grpc_health_v1.HealthCheckResponse_ServingStatus),
		stop:     make(chan struct{}),
	}
	if opts.TLS != nil {
		g.server = grpc.NewServer(append(server, grpc.Creds(newGatekeeper(opts.TLS, opts.Log, s.now)))...)
	} else {
		g.server = grpc.NewServer(server...)
	}
	adminpb.RegisterAdminServer(g.server, &service{surface: s})
	grpc_health_v1.RegisterHealthServer(g.server, healthService{g.health, g.stop})
	g.Refresh() // before anybody can ask

	var listeners []net.Listener
	if opts.Address != "" {
		l, err := net.Listen("tcp", opts.Address)
		if err != nil {
			return nil, fmt.Errorf("conclave.adminAddress: admin API: %w", err)
		}
		g.addr = l.Addr()
		g.log.Info("serving the admin API", "address", g.addr, "tls", opts.TLS != nil)
		if l = netutil.LimitListener(l, grpcMaxConns); opts.TLS == nil {
			l = newPrefaceListener(l, g.log, s.now)
		}
		listeners = append(listeners, l)
	}
	if opts.HealthAddress != "" {
		l, err := net.Listen("tcp", opts.HealthAddress)
		if err != nil {
			for _, other := range listeners {
				other.Close()
			}
			return nil, fmt.Errorf("conclave.healthAddress: health service: %w", err)
		}
		g.probed, g.probes = l.Addr(), grpc.NewServer(server...)
		grpc_health_v1.RegisterHealthServer(g.probes, healthService{g.health, g.stop})
		g.log.Info("serving health", "address", g.probed)
		g.serve(g.probes, newPrefaceListener(netutil.LimitListener(l, grpcMaxConns), g.log, s.now))
	}
	if opts.Socket != "" {
		if l, err := listenSocket(opts.Socket); err != nil {
			g.log.Warn("no socket for the admin API, going on without it", "socket", opts.Socket, "error", err)
		} else {
			g.socket = opts.Socket
			listeners = append(listeners, newPrefaceListener(netutil.LimitListener(l, grpcMaxConns), g.log, s.now))
			g.log.Info("serving the admin API", "socket", g.socket)
		}
	}
	for _, l := range listeners {
		g.serve(g.server, l)
	}
	every := opts.HealthEvery
	if every <= 0 {
		every = defaultHealthEvery
	}
	g.done.Go(func() { g.watchHealth(every) })
	return g, nil
}

// serve serves a listener until Stop.
func (g *GRPCServer) serve(s *grpc.Server, l net.Listener) {
	g.done.Go(func() {
		if err := s.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			g.log.Warn("no longer serving gRPC", "address", l.Addr(), "error", err)
		}
	})
}

// HealthAddr is where the health service has an address of its own, nil if it has
// none.
func (g *GRPCServer) HealthAddr() net.Addr { return g.probed }

// Addr is where the API is served over TCP, nil if it is not.
func (g *GRPCServer) Addr() net.Addr { return g.addr }

// Stop ends the server: health turns to NOT_SERVING, calls under way may
// finish until ctx ends, and are cut off then. A health Watch is told and ended. The
// socket is removed.
func (g *GRPCServer) Stop(ctx context.Context) {
	g.stopOnce.Do(func() {
		close(g.stop)
		g.health.Shutdown()
		graceful := make(chan struct{})
		go func() {
			defer close(graceful)
			g.server.GracefulStop()
			if g.probes != nil {
				g.probes.GracefulStop()
			}
		}()
		select {
		case <-graceful:
		case <-ctx.Done():
			g.server.Stop()
			if g.probes != nil {
				g.probes.Stop()
			}
			<-graceful
		}
		g.done.Wait()
		if g.socket != "" {
			os.Remove(g.socket) // may be gone with the directory
		}
	})
}
