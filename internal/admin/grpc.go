package admin

import (
	"context"
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

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// Bounds of the gRPC server. It has few callers: an operator, and people.
const (
	grpcMaxConns       = 64 // on each listener
	grpcMaxStreams     = 64 // on each connection
	grpcMaxMessage     = 1 << 20
	grpcConnectTimeout = 10 * time.Second
	defaultHealthEvery = time.Second
)

// GRPCOptions say where and how the admin API is served.
type GRPCOptions struct {
	// Address is host:port; empty for none.
	Address string
	// Socket is the path of a unix socket for those who may read and write the
	// data directory; empty for none.
	Socket string
	// HealthEvery is how often health is looked at, besides each Refresh; 0 for
	// a second.
	HealthEvery time.Duration
	// Log must be given.
	Log *slog.Logger
}

// GRPCServer serves the admin API and the health service. Start makes one,
// Stop ends it.
type GRPCServer struct {
	surface *Surface
	log     *slog.Logger
	server  *grpc.Server
	health  *health.Server
	addr    net.Addr // of the TCP listener; nil if there is none
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
	g := &GRPCServer{
		surface: s,
		log:     opts.Log,
		health:  health.NewServer(),
		server: grpc.NewServer(grpc.MaxConcurrentStreams(grpcMaxStreams), grpc.MaxRecvMsgSize(grpcMaxMessage),
			grpc.ConnectionTimeout(grpcConnectTimeout)),
		reported: make(map[string]grpc_health_v1.HealthCheckResponse_ServingStatus),
		stop:     make(chan struct{}),
	}
	adminpb.RegisterAdminServer(g.server, &service{surface: s})
	grpc_health_v1.RegisterHealthServer(g.server, g.health)
	g.Refresh() // before anybody can ask

	var listeners []net.Listener
	if opts.Address != "" {
		l, err := net.Listen("tcp", opts.Address)
		if err != nil {
			return nil, fmt.Errorf("admin API: %w", err)
		}
		g.addr = l.Addr()
		listeners = append(listeners, l)
		g.log.Info("serving the admin API", "address", g.addr)
	}
	if opts.Socket != "" {
		if l, err := listenSocket(opts.Socket); err != nil {
			g.log.Warn("no socket for the admin API, going on without it", "socket", opts.Socket, "error", err)
		} else {
			g.socket = opts.Socket
			listeners = append(listeners, l)
			g.log.Info("serving the admin API", "socket", g.socket)
		}
	}
	for _, l := range listeners {
		l = newPrefaceListener(netutil.LimitListener(l, grpcMaxConns), g.log, s.now)
		g.done.Go(func() {
			if err := g.server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				g.log.Warn("no longer serving the admin API", "address", l.Addr(), "error", err)
			}
		})
	}
	every := opts.HealthEvery
	if every <= 0 {
		every = defaultHealthEvery
	}
	g.done.Go(func() { g.watchHealth(every) })
	return g, nil
}

// Addr is where the API is served over TCP, nil if it is not.
func (g *GRPCServer) Addr() net.Addr { return g.addr }

// Stop ends the server: health turns to NOT_SERVING, calls under way may
// finish until ctx ends, and are cut off then. (A health Watch is under way
// until its client ends it.) The socket is removed.
func (g *GRPCServer) Stop(ctx context.Context) {
	g.stopOnce.Do(func() {
		close(g.stop)
		g.health.Shutdown()
		graceful := make(chan struct{})
		go func() {
			g.server.GracefulStop()
			close(graceful)
		}()
		select {
		case <-graceful:
		case <-ctx.Done():
			g.server.Stop()
			<-graceful
		}
		g.done.Wait()
		if g.socket != "" {
			os.Remove(g.socket) // may be gone with the directory
		}
	})
}
