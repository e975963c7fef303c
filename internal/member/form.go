package member

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/conclave-dev/conclave/internal/replica/formation"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage"
)

// openFormation makes the member answer what others ask about the founding of
// the ensemble: before there is one, to found it; afterwards, so that a
// configured server that comes later learns of it.
func (m *Member) openFormation() error {
	id := m.dir.Identity.Get()
	cfg := formation.Config{Self: formation.Identity{N: uint64(m.cfg.MyID), MemberID: id.MemberID}}
	for _, s := range m.cfg.Servers {
		cfg.Servers = append(cfg.Servers, formation.Server{
			N: uint64(s.ID), Addr: net.JoinHostPort(s.Host, strconv.Itoa(s.PeerPort)), Observer: s.Observer,
		})
	}
	n, err := formation.NewNode(cfg, id.Formation, formation.Env{
		Call: func(ctx context.Context, addr string, request []byte) ([]byte, error) {
			return m.transport.Call(ctx, addr, formation.CallFormation, request)
		},
		Persist: func(state []byte) error {
			return m.dir.Identity.Update(func(id *storage.Identity) { id.Formation = state })
		},
		Logger: m.log, Timing: formation.DefaultTiming(m.cfg.InitLimit),
	})
	if err != nil {
		return err
	}
	if id.ClusterID != "" {
		n.SetMember(clusterID(id.ClusterID))
	}
	m.former.Store(n)
	return nil
}

// formOrJoin founds the ensemble that the server lines describe together with
// the others, or joins it if it exists without this member.
func (m *Member) formOrJoin(ctx context.Context) error {
	m.log.Info("this directory belongs to no ensemble yet: asking the configured servers", "servers", len(m.cfg.Servers))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m.work.Go(func() {
		select {
		case <-m.settled:
			cancel(errSettled)
		case <-ctx.Done():
		}
	})
	out, err := m.former.Load().Run(ctx)
	switch {
	case errors.Is(err, errSettled):
		return nil
	case err != nil:
		return err
	}
	if out.Founded == nil {
		return m.join(ctx, out.ClusterID, out.Via)
	}
	var list []statemachine.Member
	for _, seat := range out.Founded.Voters {
		p, ok := m.configured(int(seat.N))
		if !ok {
			return fmt.Errorf("the ensemble was founded with server.%d, which is not in this configuration", seat.N)
		}
		p.ID = seat.ID
		if host, _, err := net.SplitHostPort(seat.Addr); err == nil && wildcard(p.Host) {
			p.Host = host // our own line names no address that others could use
		}
		list = append(list, p)
	}
	m.log.Info("founded the ensemble", "cluster", out.Founded.ClusterID, "voters", len(list))
	return m.found(out.Founded.ClusterID.String(), list, out.Founded.FoundedAt)
}

// errSettled ends a formation whose member was taken into an ensemble that is
// there.
var errSettled = errors.New("member: taken into an ensemble")

// wildcard reports whether a server line's host stands for all interfaces.
func wildcard(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

// joinRetry is how long a member waits before it asks again to be taken in.
const joinRetry = 500 * time.Millisecond

// joinTries is how often a member that has no data asks to be taken in, while
// others say that they are of another ensemble, before it looks anew for what
// there is to join: who told it of the ensemble may have been left behind.
const joinTries = 20

// join asks the ensemble to take this member in, until it has, and learns who
// the others are. Asking again is harmless.
func (m *Member) join(ctx context.Context, cluster formation.ClusterID, via string) error {
	self, _ := m.configured(m.cfg.MyID)
	req := formation.JoinRequest{
		N: uint64(m.cfg.MyID), MemberID: m.dir.Identity.Get().MemberID, PeerAddr: m.peerAddr(self),
		ClientAddr: net.JoinHostPort(self.ClientHost, strconv.Itoa(self.ClientPort)), Observer: self.Observer, ClusterID: cluster,
	}
	said := ""
	for next := 0; ; next++ {
		reply, err := m.ask(ctx, via, req.Encode())
		switch {
		case err == nil && reply.Accepted:
			m.log.Info("joined the ensemble as a learner", "cluster", reply.ClusterID, "via", via)
			if f := m.former.Load(); f != nil {
				f.SetMember(reply.ClusterID)
			}
			m.hosts = peerMembers(reply.Peers)
			return m.adopt(reply.ClusterID.String())
		case err == nil && reply.LeaderAddr != "" && reply.LeaderAddr != via:
			via = reply.LeaderAddr
			continue
		case err == nil && !reply.ClusterID.IsZero() && reply.ClusterID != cluster && next >= joinTries && m.dir.Identity.Get().ClusterID == "":
			m.log.Warn("the ensemble that was to be joined is not found, and another is: looking again", "sought", cluster, "found", reply.ClusterID)
			return ErrStartOver
		case err == nil && reply.Reason != said:
			said = reply.Reason
			m.log.Warn("not taken into the ensemble yet; asking again", "asked", via, "reason", said)
		}
		select {
		case <-time.After(joinRetry):
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errSettled) {
				return nil
			}
			return errStopping
		}
		via = m.anotherServer(next)
	}
}

// anotherServer returns the peer address of one of the other configured
// servers, a different one for each turn.
func (m *Member) anotherServer(turn int) string {
	var addrs []string
	for _, s := range m.cfg.Servers {
		if s.ID != m.cfg.MyID {
			addrs = append(addrs, net.JoinHostPort(s.Host, strconv.Itoa(s.PeerPort)))
		}
	}
	if len(addrs) == 0 {
		return ""
	}
	return addrs[turn%len(addrs)]
}

func (m *Member) ask(ctx context.Context, addr string, payload []byte) (*formation.JoinReply, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*joinTime)
	defer cancel()
	raw, err := m.transport.Call(ctx, addr, formation.CallJoin, payload)
	if err != nil {
		return nil, err
	}
	return formation.DecodeJoinReply(raw)
}

// peerMembers is what a member that has no membership on disk yet knows of the
// others: enough to reach them.
func peerMembers(peers []formation.Peer) []statemachine.Member {
	var list []statemachine.Member
	for _, p := range peers {
		host, port, err := net.SplitHostPort(p.Addr)
		n, err2 := strconv.Atoi(port)
		if err == nil && err2 == nil {
			list = append(list, statemachine.Member{ID: p.ID, Name: unknownName, Host: host, PeerPort: n})
		}
	}
	return list
}

// unknownName is no server's number.
const unknownName = -1

// runContext returns a context that ends when the member stops.
func (m *Member) runContext() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	m.work.Go(func() {
		select {
		case <-m.stop:
			cancel(errStopping)
		case <-ctx.Done():
		}
	})
	return ctx, func() { cancel(nil) }
}
