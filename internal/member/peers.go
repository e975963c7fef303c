package member

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/replica"
	"github.com/conclave-dev/conclave/internal/replica/formation"
	"github.com/conclave-dev/conclave/internal/replica/transport"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/tlsfiles"
)

// randomMemberID makes a raft id that nobody has had before.
func randomMemberID() uint64 {
	var b [8]byte
	for {
		rand.Read(b[:]) // never fails
		// The largest ids are raft's own, for its local threads.
		if id := binary.BigEndian.Uint64(b[:]) >> 1; id != 0 {
			return id
		}
	}
}

func (m *Member) openTransport() error {
	opts := transport.Options{
		Listen: m.cfg.PeerAddress, MemberID: m.dir.Identity.Get().MemberID, Handler: (*peers)(m),
		Logger: m.log, SilenceTimeout: m.cfg.SyncLimit, QueueBytes: replica.QueueBytes,
	}
	if m.tls != nil {
		// The server's takes the newest files by itself.
		server := m.tls.Server(tlsfiles.RoleMember)
		opts.ServerTLS, opts.ClientTLS = func() *tls.Config { return server }, m.tls.Client
	}
	t, err := transport.New(opts)
	if err != nil {
		return fmt.Errorf("peer address (the peer port of server.%d): %w", m.cfg.MyID, err)
	}
	m.transport = t
	if !m.opt.AwaitBootstrap {
		if err := m.openFormation(); err != nil {
			return err
		}
	}
	t.Start()
	return nil
}

// peers hears what other members send.
type peers Member

func (p *peers) replica() *replica.Node { return (*Member)(p).node.Load() }

func (p *peers) Raft(_ uint64, msg *raftpb.Message) {
	if n := p.replica(); n != nil {
		n.Step(msg)
	}
}

func (p *peers) Forward(from uint64, batch []byte) {
	if n := p.replica(); n != nil {
		n.Forwarded(from, batch)
	}
}

// Delivered has what has come dealt with on the stream's own goroutine.
func (p *peers) Delivered() {
	if n := p.replica(); n != nil {
		n.Drive()
	}
}

func (p *peers) Report(from uint64, payload []byte) { (*Member)(p).server.Report(from, payload) }

func (p *peers) Snapshot(_ uint64, msg *raftpb.Message, body io.Reader) error {
	n := p.replica()
	if n == nil {
		return errNoEnsemble
	}
	return n.ReceiveSnapshot(msg, body)
}

func (p *peers) Call(_ net.Addr, kind byte, payload []byte) ([]byte, error) {
	m := (*Member)(p)
	if st := m.standing.Load(); st.refuses() && (kind == formation.CallFormation || kind == formation.CallJoin) {
		// Whoever asked would join an ensemble that this member is not part of.
		return nil, fmt.Errorf("server.%d refuses to serve: %s", m.cfg.MyID, st.reason)
	}
	switch kind {
	case formation.CallFormation:
		f := m.former.Load()
		if m.opt.AwaitBootstrap {
			return nil, fmt.Errorf("server.%d is told which ensemble it belongs to (--await-bootstrap), and founds none with others", m.cfg.MyID)
		}
		if f == nil {
			return nil, errors.New("this member is starting")
		}
		return f.HandleCall(payload)
	case formation.CallJoin:
		req, err := formation.DecodeJoinRequest(payload)
		if err != nil {
			return nil, err
		}
		return m.takeIn(req).Encode(), nil
	}
	return m.handleCall(kind, payload)
}

func (p *peers) PeerConnected(id uint64) {
	if n := p.replica(); n != nil {
		n.PeerConnected(id)
	}
}

func (p *peers) PeerLost(id uint64, err error, refused bool) {
	(*Member)(p).log.Debug("a peer is not reachable", "member", fmt.Sprintf("%x", id), "gone", refused, "error", err)
	if refused {
		(*Member)(p).server.MemberGone(id)
	}
	if n := p.replica(); n != nil {
		n.PeerLost(id, refused)
	}
}

func (p *peers) Unreachable(id uint64) {
	if n := p.replica(); n != nil {
		n.Unreachable(id)
	}
}

// joinTime bounds how long a member that asks to join is kept waiting; it asks
// again.
const joinTime = 5 * time.Second

// takeIn answers a member that asks to join.
func (m *Member) takeIn(req *formation.JoinRequest) *formation.JoinReply {
	refuse := func(format string, args ...any) *formation.JoinReply {
		return &formation.JoinReply{Reason: fmt.Sprintf(format, args...)}
	}
	n := m.node.Load()
	if n == nil {
		return refuse("server.%d does not belong to an ensemble itself", m.cfg.MyID)
	}
	reply := &formation.JoinReply{ClusterID: clusterID(*m.clusterID.Load())}
	if !req.ClusterID.IsZero() && req.ClusterID != reply.ClusterID {
		reply.Reason = fmt.Sprintf("this is ensemble %s, not %s", reply.ClusterID, req.ClusterID)
		return reply
	}
	line, ok := m.configured(int(req.N))
	if p, in := n.Members().Get(req.MemberID); in && p.Name == int(req.N) {
		line, ok = p, true // it was taken in by an order
	}
	if !ok {
		reply.Reason = fmt.Sprintf("server.%d is not in the configuration of server.%d", req.N, m.cfg.MyID)
		return reply
	}
	if r := n.Role(); !r.IsLeader {
		if lead, ok := n.Members().Get(r.Leader); ok {
			reply.LeaderAddr = m.peerAddr(lead)
		}
		reply.Reason = fmt.Sprintf("server.%d is not the leader", m.cfg.MyID)
		return reply
	}
	line.ID, line.Observer = req.MemberID, req.Observer
	ctx, cancel := context.WithTimeout(context.Background(), joinTime)
	defer cancel()
	if err := n.Join(ctx, line); err != nil {
		reply.Reason = err.Error()
		return reply
	}
	m.log.Info("a member has joined as a learner", "server", req.N, "member", fmt.Sprintf("%x", req.MemberID), "observer", req.Observer)
	reply.Accepted = true
	for _, p := range n.Members().List {
		reply.Peers = append(reply.Peers, formation.Peer{ID: p.ID, Addr: m.peerAddr(p)})
	}
	return reply
}

// configured returns the member that a server line of the configuration
// describes, without a raft id.
func (m *Member) configured(number int) (statemachine.Member, bool) {
	for _, s := range m.cfg.Servers {
		if s.ID == number {
			return statemachine.Member{
				Name: s.ID, Observer: s.Observer, Voter: !s.Observer, Host: s.Host, PeerPort: s.PeerPort,
				ElectionPort: s.ElectionPort, ClientHost: s.ClientHost, ClientPort: s.ClientPort,
			}, true
		}
	}
	return statemachine.Member{}, false
}

// peerAddr is where a member is reached: as our configuration has it, or else
// as the membership has it.
func (m *Member) peerAddr(p statemachine.Member) string {
	if line, ok := m.configured(p.Name); ok {
		p = line
	}
	return net.JoinHostPort(p.Host, strconv.Itoa(p.PeerPort))
}
