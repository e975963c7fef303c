package member

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/replica"
	"github.com/conclave-dev/conclave/internal/server"
	"github.com/conclave-dev/conclave/internal/tlsfiles"
)

func newClusterID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// app is the server, with the member looking on.
func (m *Member) app() replica.App { return &app{Server: m.server, m: m} }

type app struct {
	*server.Server
	m *Member
}

// RoleChanged logs who leads, and measures how long nobody did.
func (a *app) RoleChanged(r replica.Role) {
	a.Server.RoleChanged(r)
	m := a.m
	now := time.Now()
	if r.IsLeader {
		m.leaderSince.CompareAndSwap(0, now.UnixNano())
	} else {
		m.leaderSince.Store(0)
	}
	if r.Leader == 0 {
		if m.leaderless.CompareAndSwap(0, now.UnixNano()) {
			m.metrics.Elections.Inc()
			m.log.Info("no leader: electing one", "term", r.Term)
		}
		return
	}
	m.metrics.LeaderChanges.Inc()
	took := time.Duration(0)
	if since := m.leaderless.Swap(0); since != 0 {
		took = now.Sub(time.Unix(0, since))
		m.metrics.Election.Observe(took)
	}
	m.log.Info("leader", "leader", fmt.Sprintf("%x", r.Leader), "self", r.IsLeader, "term", r.Term, "after", took)
}

// sender carries messages to the other members; an ensemble of one has none.
func (m *Member) sender() replica.Transport {
	if m.transport == nil {
		return alone{}
	}
	return m.transport
}

type alone struct{}

func (alone) Send([]*raftpb.Message)      {}
func (alone) Forward(uint64, []byte) bool { return false }
func (alone) Report(uint64, []byte) bool  { return false }
func (alone) SendSnapshot(uint64, *raftpb.Message, io.Reader) error {
	return errors.New("member: an ensemble of one has nobody to send a snapshot to")
}
func (alone) SetPeers(map[uint64]string) {}

// properties are the settings that people ask for, by their names in the
// configuration file, without secrets.
func (m *Member) properties() map[string]string {
	c := m.cfg
	return map[string]string{
		"dataDir": c.DataDir, "dataLogDir": c.DataLogDir, "clientPortAddress": c.ClientHost, "clientPort": fmt.Sprint(c.ClientPort),
		"tickTime": fmt.Sprint(c.TickTime.Milliseconds()), "minSessionTimeout": fmt.Sprint(c.MinSessionTimeout.Milliseconds()),
		"maxSessionTimeout": fmt.Sprint(c.MaxSessionTimeout.Milliseconds()), "maxClientCnxns": fmt.Sprint(c.MaxClientCnxns),
		"maxCnxns": fmt.Sprint(c.MaxCnxns), "snapCount": fmt.Sprint(c.SnapCount), "jute.maxbuffer": fmt.Sprint(c.MaxBuffer),
		"skipACL": fmt.Sprint(c.SkipACL), "enforceQuota": fmt.Sprint(c.EnforceQuota),
		"extendedTypesEnabled": fmt.Sprint(c.ExtendedTypesEnabled), "reconfigEnabled": fmt.Sprint(c.ReconfigEnabled),
		"conclave.heartbeatMs": fmt.Sprint(c.Heartbeat.Milliseconds()), "conclave.electionMs": fmt.Sprint(c.Election.Milliseconds()),
		"conclave.leaveMs":        fmt.Sprint(c.Leave.Milliseconds()),
		"conclave.maxUnsentBytes": fmt.Sprint(c.MaxUnsentBytes), "conclave.maxOutstandingPerSession": fmt.Sprint(c.MaxOutstandingPerSession),
	}
}

// drain begins or ends a drain: the member takes no new clients and lets those
// that it has go, over a time.
func (m *Member) drain(req admin.DrainRequest) {
	if req.Cancel {
		m.drainSince.Store(0)
		m.server.Drain(false)
		return
	}
	if !m.drainSince.CompareAndSwap(0, time.Now().UnixNano()) {
		return
	}
	m.server.Drain(true)
	m.log.Info("draining: no new clients, those connected are let go", "connections", m.server.Connections(), "within", req.Within)
	m.work.Go(func() { m.letGo(req.Within) })
}

// drainSteps is into how many lots a drain divides the connections.
const drainSteps = 20

func (m *Member) letGo(within time.Duration) {
	pace := max(1, (m.server.Connections()+drainSteps-1)/drainSteps)
	m.server.CloseAll(pace, func() {
		select {
		case <-time.After(within / drainSteps):
		case <-m.stop:
		}
	})
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// openTLS reads what the member shows to others, if it is to show anything.
func (m *Member) openTLS() (err error) {
	if m.cfg.TLS.Dir == "" {
		return nil
	}
	m.tls, err = tlsfiles.Open(tlsfiles.Options{
		Dir: m.cfg.TLS.Dir, ServerName: m.cfg.TLS.ServerName, Role: tlsfiles.RoleMember, Logger: m.log,
	})
	if err != nil {
		return fmt.Errorf("conclave.tls.dir: %w", err)
	}
	return nil
}

// openSurfaces starts what serves people and monitoring.
func (m *Member) openSurfaces() error {
	m.surface.RegisterMetrics()
	if m.cfg.Metrics.Runtime {
		m.metrics.AddCollector(metrics.Process(m.start))
	}
	if c := m.cfg.Metrics; c.Enabled {
		h := admin.StartHTTP(m.log, "metrics", c.Address(), 0, metrics.Handler(m.metrics.Collect))
		m.servers = append(m.servers, h.Stop)
	}
	if c := m.cfg.AdminServer; c.Enabled {
		h := admin.StartHTTP(m.log, "commands", c.Address(), c.IdleTimeout, admin.NewCommandHandler(m.surface, c.CommandURL))
		m.servers = append(m.servers, h.Stop)
	}
	opts := admin.GRPCOptions{
		Address: m.cfg.AdminAddress, Socket: admin.SocketPath(m.cfg.DataDir), HealthAddress: m.cfg.HealthAddress, Log: m.log,
	}
	if host, _, err := net.SplitHostPort(m.cfg.AdminAddress); err == nil && m.tls == nil && !isLoopback(host) {
		m.log.Warn("whoever reaches the admin API's address can order this member about: it speaks TLS with conclave.tls.dir", "address", m.cfg.AdminAddress)
	}
	if m.tls != nil {
		opts.TLS = m.tls.Admin("h2")
	}
	g, err := admin.StartGRPC(m.surface, opts)
	if err != nil {
		return err
	}
	m.grpc = g
	m.servers = append(m.servers, g.Stop)
	return nil
}
