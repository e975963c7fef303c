package member

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/statemachine"
)

// source is the member as the operations surface sees it.
type source Member

// syncedLag is how many entries a voter may lack to count as in sync.
const syncedLag = 1000

func (s *source) Status() admin.Status {
	m := (*Member)(s)
	id := m.dir.Identity.Get()
	st := admin.Status{
		MemberID: id.MemberID, Name: m.cfg.MyID, Started: m.start,
		Connections: m.server.Connections(), Outstanding: int(m.server.Outstanding()),
	}
	if c := m.clusterID.Load(); c != nil {
		st.ClusterID = *c
	}
	_, _, st.Watches = m.server.WatchCounts()
	if at := m.drainSince.Load(); at != 0 {
		st.Drain = admin.DrainState{Active: true, Since: time.Unix(0, at), Remaining: st.Connections}
	}
	select {
	case <-m.failed:
		if errors.Is(m.failure, ErrStartOver) {
			break
		}
		st.Disk = admin.DiskHealth{Failed: true, Reason: m.failure.Error()}
	default:
	}
	if m.tls != nil {
		state := admin.TLSState(m.tls.State())
		st.TLS = &state
	}
	if d, ok := m.diskDamage(); ok {
		st.Disk = d
	}
	stand := m.standing.Load()
	st.Membership, st.MembershipReason, st.FormerClusterIDs = stand.state, stand.reason, id.Former
	if f := m.former.Load(); f != nil && st.Membership == adminpb.Membership_MEMBERSHIP_FORMING {
		st.MembershipReason = f.Status().Problem
	}
	if self, ok := m.configured(m.cfg.MyID); ok && m.transport != nil {
		st.PeerAddress = net.JoinHostPort(self.Host, strconv.Itoa(self.PeerPort))
		st.ClientAddress = net.JoinHostPort(cmp.Or(self.ClientHost, self.Host), strconv.Itoa(self.ClientPort))
	}
	n := m.node.Load()
	if n == nil {
		st.NotServingReason = cmp.Or(st.MembershipReason, "this member does not belong to an ensemble yet")
		return st
	}
	role := n.Role()
	st.Term, st.LeaderID = role.Term, role.Leader
	st.AppliedIndex, st.CommittedIndex = n.Applied(), max(n.Committed(), n.Applied())
	st.CaughtUp = n.CaughtUp()
	st.HasQuorum = m.hasQuorum()
	if at, known := n.Contact(); !st.HasQuorum {
		st.NoQuorumSince = m.start
		if known {
			st.NoQuorumSince = time.Now().Add(at - m.now())
		}
	}
	m.server.View(func(sm *statemachine.Machine) {
		st.Zxid = sm.Zxid()
		st.Nodes, st.Ephemerals, st.DataBytes = sm.Tree().NodeCount(), sm.Tree().EphemeralCount(), sm.Tree().DataSize()
		st.Sessions.Total = sm.Sessions().Len()
		st.Sessions.Closed, st.Sessions.Expired = sm.Ended()
		st.ConfigIndex = sm.Members().Index
	})
	if t, ok := m.server.SessionTotals(); ok {
		st.Sessions = admin.SessionCounts{Total: t.Sessions, Known: true, Connected: t.Connected, Connecting: t.Connecting,
			NotConnected: t.NotConnected, Closed: t.Closed, Expired: t.Expired}
	}
	self, _ := n.Members().Get(id.MemberID)
	switch {
	case m.cfg.Standalone && len(n.Members().List) < 2:
		st.Role = admin.RoleStandalone
	case role.IsLeader:
		st.Role = admin.RoleLeader
	case role.Leader == 0:
		st.Role = admin.RoleLooking
	case self.Voter:
		st.Role = admin.RoleFollower
	default:
		st.Role = admin.RoleObserver
	}
	if since := m.leaderSince.Load(); role.IsLeader && since != 0 {
		st.LeaderSince = time.Unix(0, since)
	}
	problem, logStalled := n.DiskProblem()
	if problem != "" && !st.Disk.Failed {
		st.Disk.Slow, st.Disk.Reason = true, problem
	}
	switch {
	case stand.refuses():
		st.NotServingReason = stand.reason
	case !st.HasQuorum:
		st.NotServingReason = "no contact with a leader that has a quorum"
	case st.Disk.Failed:
		st.NotServingReason = st.Disk.Reason
	case logStalled:
		st.NotServingReason = problem
	default:
		st.Serving = true
	}
	return st
}

// quorumContact is how fresh the contact with a quorum must be for the member
// to call itself serving: an election takes longer than one timeout.
func (m *Member) quorumContact() time.Duration { return 3 * m.cfg.Election }

// hasQuorum reports whether the member takes part and has lately had contact
// with a leader that has a quorum.
func (m *Member) hasQuorum() bool {
	n := m.node.Load()
	if n == nil || m.standing.Load().refuses() {
		return false
	}
	at, known := n.Contact()
	return known && m.now()-at < m.quorumContact()
}

func (s *source) Peers() []admin.Peer {
	m := (*Member)(s)
	n := m.node.Load()
	if n == nil {
		return nil
	}
	last := n.Committed()
	progress := n.Progress()
	var out []admin.Peer
	for _, p := range n.Members().List {
		peer := admin.Peer{
			ID: p.ID, Name: p.Name, Voter: p.Voter, Observer: p.Observer, Self: p.ID == m.dir.Identity.Get().MemberID,
			Host: p.Host, PeerPort: p.PeerPort, ElectionPort: p.ElectionPort, ClientHost: p.ClientHost, ClientPort: p.ClientPort,
		}
		if pr, ok := progress[p.ID]; ok {
			peer.Match = pr.Match
			peer.Connected = pr.Active
			peer.Synced = peer.Connected && !pr.Stuck && pr.Match+syncedLag >= last
		}
		out = append(out, peer)
	}
	slices.SortStableFunc(out, func(a, b admin.Peer) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (s *source) Configuration() admin.Configuration {
	m := (*Member)(s)
	c := admin.Configuration{
		ClientPort: m.cfg.ClientPort, SecureClientPort: -1, DataDir: m.cfg.DataDir, DataLogDir: m.cfg.DataLogDir,
		TickTime: m.cfg.TickTime, MaxClientCnxns: m.cfg.MaxClientCnxns,
		MinSessionTimeout: m.cfg.MinSessionTimeout, MaxSessionTimeout: m.cfg.MaxSessionTimeout, ListenBacklog: -1,
		InitLimit: m.cfg.InitLimit, SyncLimit: m.cfg.SyncLimit, Observer: m.cfg.Observer,
		Initial: m.opt.ConfigText, Properties: m.properties(),
	}
	if self, ok := m.cfg.Self(); ok && !m.cfg.Standalone {
		c.ElectionPort, c.QuorumPort = self.ElectionPort, self.PeerPort
	}
	m.server.View(func(sm *statemachine.Machine) { c.Membership = string(sm.Members().Config()) })
	return c
}

func (s *source) DirSizes() (data, log int64) {
	m := (*Member)(s)
	return dirSize(filepath.Join(m.cfg.DataDir, "conclave", "snap")), dirSize(filepath.Join(m.cfg.DataLogDir, "conclave", "log"))
}

func dirSize(dir string) (size int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
	}
	return size
}

func (s *source) LastSnapshot() (admin.Snapshot, bool) {
	m := (*Member)(s)
	n := m.node.Load()
	if n == nil {
		return admin.Snapshot{}, false
	}
	meta := n.NewestSnapshot()
	if meta.Index == 0 {
		return admin.Snapshot{}, false
	}
	return admin.Snapshot{Zxid: meta.Zxid, Index: meta.Index, Taken: time.UnixMilli(meta.Time), Bytes: m.metrics.SnapshotBytes.Value()}, true
}

func (s *source) Digests() []admin.Digest {
	var d admin.Digest
	(*Member)(s).server.View(func(sm *statemachine.Machine) {
		d = admin.Digest{Zxid: sm.Zxid(), Digest: sm.Tree().Digest(), Version: 1}
	})
	return []admin.Digest{d}
}

func (s *source) Connections() []admin.Connection {
	infos := (*Member)(s).server.ConnInfos()
	out := make([]admin.Connection, 0, len(infos))
	for _, i := range infos {
		out = append(out, admin.Connection{
			ID: i.ID, Remote: i.Remote, Session: i.Session, Paused: i.Paused,
			Queued: int64(i.Queued), Received: i.Received, Sent: i.Sent, Established: i.Since, Timeout: i.Timeout,
			LastOp: i.LastOp, LastCxid: i.LastXid, LastZxid: i.LastZxid, LastResponse: i.LastResponse,
			LastLatency: i.LastLat, MinLatency: i.MinLat, AvgLatency: i.AvgLat, MaxLatency: i.MaxLat,
		})
	}
	return out
}

func (s *source) Sessions() []admin.Session {
	var out []admin.Session
	(*Member)(s).server.View(func(sm *statemachine.Machine) {
		for _, t := range sm.Sessions().Sorted() {
			e := admin.Session{ID: t.ID, Timeout: time.Duration(t.Timeout) * time.Millisecond, Member: t.Member, Client: t.Client}
			for _, id := range sm.Tree().Ephemerals(t.ID) {
				e.Ephemerals = append(e.Ephemerals, sm.Tree().Path(id))
			}
			out = append(out, e)
		}
	})
	for i := range out {
		if left, ok := (*Member)(s).server.ExpiresIn(out[i].ID, out[i].Timeout); ok {
			out[i].Expires = time.Now().Add(left)
		}
	}
	return out
}

func (s *source) WatchSummary() admin.WatchSummary {
	c, p, w := (*Member)(s).server.WatchCounts()
	return admin.WatchSummary{Connections: c, Paths: p, Watches: w}
}

func (s *source) WatchesByPath() []admin.PathWatches {
	var out []admin.PathWatches
	for path, sessions := range (*Member)(s).server.WatchesByPath() {
		out = append(out, admin.PathWatches{Path: path, Sessions: sessions})
	}
	slices.SortFunc(out, func(a, b admin.PathWatches) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

func (s *source) WatchesBySession() []admin.SessionWatches {
	var out []admin.SessionWatches
	for id, paths := range (*Member)(s).server.WatchesBySession() {
		out = append(out, admin.SessionWatches{Session: id, Paths: paths})
	}
	slices.SortFunc(out, func(a, b admin.SessionWatches) int { return cmp.Compare(a.Session, b.Session) })
	return out
}

func (s *source) ResetConnectionStats()   { (*Member)(s).server.ResetStats() }
func (s *source) TraceMask() int64        { return (*Member)(s).traceMask.Load() }
func (s *source) SetTraceMask(mask int64) { (*Member)(s).traceMask.Store(mask) }

var errNoEnsemble = fmt.Errorf("%w: this member does not belong to an ensemble yet", admin.ErrUnavailable)

func (s *source) TransferLeadership(ctx context.Context, target uint64) (uint64, error) {
	m := (*Member)(s)
	if n := m.node.Load(); n != nil && target != 0 && !n.Role().IsLeader && n.Role().Leader == target {
		return target, nil // done already
	}
	n, err := m.leading()
	if err != nil {
		return 0, err
	}
	if p, ok := n.Members().Get(target); target != 0 && (!ok || !p.Voter || target == m.dir.Identity.Get().MemberID) {
		return 0, fmt.Errorf("%w: %x", admin.ErrNoSuchVoter, target)
	}
	if err := n.TransferLeadership(target); err != nil {
		return 0, m.changeError(n, err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if r := n.Role(); !r.IsLeader && r.Leader != 0 {
			return r.Leader, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (s *source) Drain(_ context.Context, req admin.DrainRequest) error {
	(*Member)(s).drain(req)
	return nil
}

func (s *source) TakeSnapshot(ctx context.Context) (admin.Snapshot, error) {
	m := (*Member)(s)
	n := m.node.Load()
	if n == nil {
		return admin.Snapshot{}, errNoEnsemble
	}
	if err := n.TakeSnapshot(ctx); err != nil {
		return admin.Snapshot{}, err
	}
	snap, _ := s.LastSnapshot()
	return snap, nil
}
