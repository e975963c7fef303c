package admin

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// What a Source may answer to an order, besides errors of its own; it may wrap
// these. The API turns them into codes that a caller can act upon.
var (
	// ErrNotLeader: only the leader can do that.
	ErrNotLeader = errors.New("this member does not lead")
	// ErrNoSuchVoter: the target is no voter of the ensemble, or this member.
	ErrNoSuchVoter = errors.New("the target is not another voter of the ensemble")
	// ErrUnavailable: not now; the same call may succeed later.
	ErrUnavailable = errors.New("not possible now")
)

// orderTimeout ends orders whose caller set no deadline.
const orderTimeout = time.Minute

// service is the Admin service of adminpb.
type service struct {
	adminpb.UnimplementedAdminServer
	surface *Surface
}

// Status answers from Source.Status and Source.Peers.
func (a *service) Status(context.Context, *adminpb.StatusRequest) (*adminpb.StatusResponse, error) {
	st := a.surface.Source.Status()
	ready, reason := st.Ready()
	r := &adminpb.StatusResponse{
		MemberId:           st.MemberID,
		Name:               int32(st.Name),
		ClusterId:          st.ClusterID,
		Version:            a.surface.Version.Number,
		Role:               roles[st.Role],
		Serving:            st.Serving,
		Ready:              ready,
		NotReadyReason:     reason,
		HasQuorum:          st.HasQuorum,
		CaughtUp:           st.CaughtUp,
		Drain:              a.drainState(&st),
		Disk:               &adminpb.DiskHealth{Failed: st.Disk.Failed, Slow: st.Disk.Slow, Reason: st.Disk.Reason, File: st.Disk.File, Offset: st.Disk.Offset},
		Term:               st.Term,
		LeaderId:           st.LeaderID,
		AppliedIndex:       st.AppliedIndex,
		CommittedIndex:     st.CommittedIndex,
		Lag:                max(st.CommittedIndex, st.AppliedIndex) - st.AppliedIndex,
		Zxid:               st.Zxid,
		ConfigurationIndex: st.ConfigIndex,
		UptimeMs:           a.surface.since(st.Started),
		Sessions: &adminpb.SessionCounts{Total: int64(st.Sessions.Total), StatesKnown: st.Sessions.Known,
			Connected: int64(st.Sessions.Connected), Connecting: int64(st.Sessions.Connecting),
			NotConnected: int64(st.Sessions.NotConnected), Closed: st.Sessions.Closed, Expired: st.Sessions.Expired},
		Connections: int64(st.Connections),
		Watches:     int64(st.Watches),
		Ephemerals:  int64(st.Ephemerals),
		Nodes:       int64(st.Nodes),
		DataBytes:   st.DataBytes,

		Membership:       st.Membership,
		MembershipReason: st.MembershipReason,
		FormerClusterIds: st.FormerClusterIDs,
		PeerAddress:      st.PeerAddress,
		ClientAddress:    st.ClientAddress,
	}
	if !st.NoQuorumSince.IsZero() {
		r.NoQuorumMs = max(1, a.surface.since(st.NoQuorumSince))
	}
	if st.TLS != nil {
		r.Tls = &adminpb.TLSStatus{CaSha256: st.TLS.CA, Serial: st.TLS.Serial, NotAfterMs: st.TLS.NotAfter.UnixMilli(), Problem: st.TLS.Problem}
	}
	for _, s := range a.surface.Source.Sightings() {
		r.Sightings = append(r.Sightings, a.sighting(s))
	}
	r.Voters, r.Learners = a.members()
	return r, nil
}

// members are Source.Peers, those that vote and those that do not.
func (a *service) members() (voters, learners []*adminpb.Member) {
	for _, p := range a.surface.Source.Peers() {
		m := &adminpb.Member{Id: p.ID, Name: int32(p.Name), PeerAddress: hostPort(p.Host, p.PeerPort), Observer: p.Observer,
			MatchIndex: p.Match, Connected: p.Connected, Synced: p.Synced}
		if p.ClientPort != 0 {
			m.ClientAddress = hostPort(p.ClientHost, p.ClientPort)
		}
		if p.Voter {
			voters = append(voters, m)
		} else {
			learners = append(learners, m)
		}
	}
	return voters, learners
}

func (a *service) sighting(s Sighting) *adminpb.Sighting {
	out := &adminpb.Sighting{MemberId: s.ID, Name: int32(s.Name), Address: s.Address, Answers: s.Answers, Problem: s.Problem,
		SeenMsAgo: -1, Zxid: s.Zxid, LastIndex: s.LastIndex, ClusterId: s.ClusterID, Voter: s.Voter}
	if !s.Seen.IsZero() {
		out.SeenMsAgo = a.surface.since(s.Seen)
	}
	return out
}

var roles = map[Role]adminpb.Role{
	RoleLooking:    adminpb.Role_ROLE_LOOKING,
	RoleLeader:     adminpb.Role_ROLE_LEADER,
	RoleFollower:   adminpb.Role_ROLE_FOLLOWER,
	RoleObserver:   adminpb.Role_ROLE_OBSERVER,
	RoleStandalone: adminpb.Role_ROLE_STANDALONE,
}

func (a *service) drainState(st *Status) *adminpb.DrainState {
	return &adminpb.DrainState{Active: st.Drain.Active, ActiveMs: a.surface.since(st.Drain.Since),
		Remaining: int64(st.Drain.Remaining)}
}

// TransferLeadership passes the order on.
func (a *service) TransferLeadership(ctx context.Context, r *adminpb.TransferLeadershipRequest) (*adminpb.TransferLeadershipResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	id, err := a.surface.Source.TransferLeadership(ctx, r.GetTargetMemberId())
	if err != nil {
		return nil, a.rpcError(err)
	}
	return &adminpb.TransferLeadershipResponse{LeaderId: id}, nil
}

// Drain passes the order on.
func (a *service) Drain(ctx context.Context, r *adminpb.DrainRequest) (*adminpb.DrainResponse, error) {
	within := time.Duration(r.GetWithinMs()) * time.Millisecond
	if ms := r.GetWithinMs(); ms < 0 || within.Milliseconds() != ms {
		return nil, status.Errorf(codes.InvalidArgument, "within_ms %d: must be 0 to %d", ms, int64(1<<63-1)/int64(time.Millisecond))
	}
	if err := a.surface.Source.Drain(ctx, DrainRequest{Cancel: r.GetCancel(), Within: within}); err != nil {
		return nil, a.rpcError(err)
	}
	st := a.surface.Source.Status()
	return &adminpb.DrainResponse{Drain: a.drainState(&st)}, nil
}

// WatchSessions passes on what the Source has to tell.
func (a *service) WatchSessions(r *adminpb.WatchSessionsRequest, stream adminpb.Admin_WatchSessionsServer) error {
	if len(r.GetDataPatterns()) > 0 && onlyReads(stream.Context()) {
		return status.Error(codes.PermissionDenied, "data_patterns: a reader gets no node's data here, which ACLs may guard; the client port shows it to who may see it")
	}
	if err := a.surface.Source.WatchSessions(stream.Context(), r, stream.Send); err != nil {
		return a.rpcError(err)
	}
	return nil
}

// TakeSnapshot passes the order on.
func (a *service) TakeSnapshot(ctx context.Context, _ *adminpb.TakeSnapshotRequest) (*adminpb.TakeSnapshotResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	s, err := a.surface.Source.TakeSnapshot(ctx)
	if err != nil {
		return nil, a.rpcError(err)
	}
	return &adminpb.TakeSnapshotResponse{Zxid: s.Zxid, Index: s.Index, SizeBytes: s.Bytes}, nil
}
