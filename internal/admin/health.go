package admin

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// The services of the health service. The empty name is what probes ask for
// that know none; it means the same as live.
const (
	HealthOverall = ""
	// HealthLive: the process is alive and its disk has not failed (Status.Live). A
	// member without a quorum is live: restarting it would help nobody.
	HealthLive = "live"
	// HealthReady: the member should get new clients (Status.Ready).
	HealthReady = "ready"
)

// Refresh looks at the member's health and tells those who watch it. It is
// called now and then in any case; the member may call it when it knows that
// something changed. It never waits for a client.
func (g *GRPCServer) Refresh() {
	// Held throughout, so that of two calls the later look is told last.
	g.mu.Lock()
	defer g.mu.Unlock()
	st := g.surface.Source.Status()
	ready, reason := st.Ready()
	g.report(HealthOverall, st.Live(), st.Disk.Reason)
	g.report(HealthLive, st.Live(), st.Disk.Reason)
	g.report(HealthReady, ready, reason)
}

// report sets the health of one service, if it changed. The caller holds mu.
func (g *GRPCServer) report(service string, serving bool, reason string) {
	status := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if serving {
		status = grpc_health_v1.HealthCheckResponse_SERVING
	}
	old, known := g.reported[service]
	if known && old == status {
		return
	}
	g.reported[service] = status
	g.health.SetServingStatus(service, status)
	if known && service != HealthOverall {
		g.log.Info("health changed", "service", service, "serving", serving, "reason", reason)
	}
}

// healthService is health, but for a watch, which ends when the member stops: the
// library's ends with its client, and would hold the member up.
type healthService struct {
	*health.Server
	stop <-chan struct{}
}

// Watch tells of a service's health, and of the end at last.
func (h healthService) Watch(r *grpc_health_v1.HealthCheckRequest, stream grpc_health_v1.Health_WatchServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	go func() { // ends with the watch
		select {
		case <-h.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := h.Server.Watch(r, boundWatch{stream, ctx})
	select {
	case <-h.stop:
		if err := stream.Send(&grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING}); err != nil {
			return err
		}
		return status.Error(codes.Unavailable, "the member stops")
	default:
		return err
	}
}

// boundWatch is a stream with another context.
type boundWatch struct {
	grpc_health_v1.Health_WatchServer
	ctx context.Context
}

func (b boundWatch) Context() context.Context { return b.ctx }

func (g *GRPCServer) watchHealth(every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			g.Refresh()
		case <-g.stop:
			return
		}
	}
}
