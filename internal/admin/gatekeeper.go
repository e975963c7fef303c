package admin

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// gatekeeper demands TLS of whoever comes over TCP, and nothing of who comes
// through the socket. Those who do not get in are logged, a line a minute at
// most: gRPC by itself would end them without a word.
type gatekeeper struct {
	credentials.TransportCredentials // those of TCP
	socket                           credentials.TransportCredentials

	log     *slog.Logger
	refused *rarely
}

func newGatekeeper(cfg *tls.Config, log *slog.Logger, now func() time.Time) *gatekeeper {
	return &gatekeeper{
		TransportCredentials: credentials.NewTLS(cfg), socket: insecure.NewCredentials(),
		log: log, refused: &rarely{every: garbageLogEvery, now: now},
	}
}

// ServerHandshake implements credentials.TransportCredentials.
func (g *gatekeeper) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c.LocalAddr().Network() == "unix" {
		return g.socket.ServerHandshake(c)
	}
	secured, info, err := g.TransportCredentials.ServerHandshake(c)
	if err != nil {
		if others, worth := g.refused.next(); worth {
			g.log.Warn("closed a connection to the admin port that did not get through TLS", "client", c.RemoteAddr(),
				"error", err, "others since the last line", others)
		}
		return nil, nil, fmt.Errorf("admin API: %w", err)
	}
	return secured, info, nil
}

// Clone implements credentials.TransportCredentials.
func (g *gatekeeper) Clone() credentials.TransportCredentials {
	return &gatekeeper{TransportCredentials: g.TransportCredentials.Clone(), socket: g.socket.Clone(), log: g.log, refused: g.refused}
}

// ClientHandshake implements credentials.TransportCredentials. A server dials
// nobody.
func (g *gatekeeper) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, fmt.Errorf("admin API: these credentials are a server's")
}

// rarely lets something through once in a while, and counts what it held back.
type rarely struct {
	every time.Duration
	now   func() time.Time

	mu sync.Mutex
	// last is when something was let through, skipped how much was held back
	// since; guarded by mu.
	last    time.Time
	skipped int
}

// next reports whether it is time again, and how many were held back since the
// last time.
func (r *rarely) next() (skipped int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if !r.last.IsZero() && now.Sub(r.last) < r.every {
		r.skipped++
		return 0, false
	}
	skipped = r.skipped
	r.last, r.skipped = now, 0
	return skipped, true
}
