package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// Orders are the calls that change who belongs to an ensemble. All are safe to
// repeat: what is so already is a success. What the member decides against is a
// *Refused.
type Orders interface {
	// Bootstrap makes a new ensemble of this member alone.
	Bootstrap(ctx context.Context, clusterID string, member uint64) error
	// AddLearner, Promote and Remove change the membership, and return once that
	// is applied here; Status and Peers then show it. index is the configuration
	// index on which the change was planned.
	AddLearner(ctx context.Context, index uint64, p Peer) error
	Promote(ctx context.Context, index, member, maxLag uint64) error
	Remove(ctx context.Context, index, member uint64) error
	// StartClean makes a member that refuses to serve begin anew, and returns
	// where its old data will be.
	StartClean(ctx context.Context, r StartClean) (movedTo string, err error)
	// RecoverLostMajority makes a new ensemble of this member's data.
	RecoverLostMajority(ctx context.Context, r RecoverRequest) (Recovery, error)
	// OpenSnapshot writes a snapshot as TakeSnapshot does and opens its file.
	OpenSnapshot(ctx context.Context) (SnapshotFile, error)
}

// RefusalReason says to a program why something was refused.
type RefusalReason = adminpb.RefusalReason

// Refused is an error that the member decided upon.
type Refused struct {
	Reason RefusalReason
	Text   string
}

func (r *Refused) Error() string { return r.Text }

// Refuse makes a *Refused.
func Refuse(reason RefusalReason, format string, args ...any) error {
	return &Refused{reason, fmt.Sprintf(format, args...)}
}

// RecoverRequest asks for a recovery from a lost majority.
type RecoverRequest struct {
	ClusterID string // that lost its majority
	Member    uint64 // that survives
	Reason    string // for the audit trail
	DryRun    bool
}

// StartClean names a member that is to begin anew.
type StartClean struct {
	ClusterID string
	Member    uint64
	// Unreadable: it is one that can't read who it is, and has no ids.
	Unreadable bool
}

// Recovery is what a recovery makes, or would make.
type Recovery struct {
	ClusterID string
	// LastZxid is what the survivor has, FirstZxid what it goes on with.
	LastZxid, FirstZxid int64
	// GivenUp are the other voters.
	GivenUp []Sighting
}

// SnapshotFile is a snapshot that is being read.
type SnapshotFile struct {
	Snapshot
	Term uint64
	io.ReadCloser
}

// Membership calls of the service.

// Bootstrap passes the order on.
func (a *service) Bootstrap(ctx context.Context, r *adminpb.BootstrapRequest) (*adminpb.BootstrapResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	if err := a.surface.Source.Bootstrap(ctx, r.GetClusterId(), r.GetMemberId()); err != nil {
		return nil, a.rpcError(err)
	}
	return &adminpb.BootstrapResponse{ClusterId: r.GetClusterId(), MemberId: r.GetMemberId()}, nil
}

// AddLearner passes the order on.
func (a *service) AddLearner(ctx context.Context, r *adminpb.AddLearnerRequest) (*adminpb.MembershipResponse, error) {
	p := Peer{ID: r.GetMemberId(), Name: int(r.GetName()), Observer: r.GetObserver()}
	var err error
	if p.Host, p.PeerPort, err = splitAddress("peer_address", r.GetPeerAddress()); err != nil {
		return nil, a.rpcError(err)
	}
	p.ElectionPort = p.PeerPort + 1000 // as ZooKeeper's own examples have it; clients only parse it
	if p.ElectionPort > math.MaxUint16 {
		p.ElectionPort = p.PeerPort - 1000
	}
	if r.GetClientAddress() != "" {
		if p.ClientHost, p.ClientPort, err = splitAddress("client_address", r.GetClientAddress()); err != nil {
			return nil, a.rpcError(err)
		}
	}
	return a.changed(ctx, r.GetMemberId(), r.GetConfigurationIndex(), func(ctx context.Context) error {
		return a.surface.Source.AddLearner(ctx, r.GetConfigurationIndex(), p)
	})
}

// Promote passes the order on.
func (a *service) Promote(ctx context.Context, r *adminpb.PromoteRequest) (*adminpb.MembershipResponse, error) {
	return a.changed(ctx, r.GetMemberId(), r.GetConfigurationIndex(), func(ctx context.Context) error {
		return a.surface.Source.Promote(ctx, r.GetConfigurationIndex(), r.GetMemberId(), r.GetMaxLag())
	})
}

// Remove passes the order on.
func (a *service) Remove(ctx context.Context, r *adminpb.RemoveRequest) (*adminpb.MembershipResponse, error) {
	return a.changed(ctx, r.GetMemberId(), r.GetConfigurationIndex(), func(ctx context.Context) error {
		return a.surface.Source.Remove(ctx, r.GetConfigurationIndex(), r.GetMemberId())
	})
}

func (a *service) changed(ctx context.Context, member, index uint64, order func(context.Context) error) (*adminpb.MembershipResponse, error) {
	if member == 0 || index == 0 {
		return nil, a.rpcError(Refuse(adminpb.RefusalReason_REFUSAL_REASON_BAD_REQUEST,
			"member_id (%x) and configuration_index (%d) must be given: which member, and on which membership the change was planned", member, index))
	}
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	if err := order(ctx); err != nil {
		return nil, a.rpcError(err)
	}
	r := &adminpb.MembershipResponse{ConfigurationIndex: a.surface.Source.Status().ConfigIndex}
	r.Voters, r.Learners = a.members()
	return r, nil
}

// StartClean passes the order on.
func (a *service) StartClean(ctx context.Context, r *adminpb.StartCleanRequest) (*adminpb.StartCleanResponse, error) {
	to, err := a.surface.Source.StartClean(ctx, StartClean{ClusterID: r.GetClusterId(), Member: r.GetMemberId(), Unreadable: r.GetUnreadableIdentity()})
	if err != nil {
		return nil, a.rpcError(err)
	}
	return &adminpb.StartCleanResponse{MovedTo: to}, nil
}

// RecoverLostMajority passes the order on.
func (a *service) RecoverLostMajority(ctx context.Context, r *adminpb.RecoverLostMajorityRequest) (*adminpb.RecoverLostMajorityResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	rec, err := a.surface.Source.RecoverLostMajority(ctx, RecoverRequest{
		ClusterID: r.GetClusterId(), Member: r.GetMemberId(), Reason: r.GetReason(), DryRun: r.GetDryRun(),
	})
	if err != nil {
		return nil, a.rpcError(err)
	}
	out := &adminpb.RecoverLostMajorityResponse{ClusterId: rec.ClusterID, LastZxid: rec.LastZxid, FirstZxid: rec.FirstZxid}
	for _, s := range rec.GivenUp {
		out.GivenUp = append(out.GivenUp, a.sighting(s))
	}
	return out, nil
}

// snapshotPiece is how many bytes of a snapshot travel in one message: well
// under what a client takes by default.
const snapshotPiece = 256 << 10

// Snapshot streams a new snapshot.
func (a *service) Snapshot(_ *adminpb.SnapshotRequest, stream adminpb.Admin_SnapshotServer) error {
	ctx, cancel := context.WithTimeout(stream.Context(), orderTimeout)
	defer cancel()
	f, err := a.surface.Source.OpenSnapshot(ctx)
	if err != nil {
		return a.rpcError(err)
	}
	defer f.Close()
	part := &adminpb.SnapshotPart{Header: &adminpb.SnapshotHeader{
		ClusterId: a.surface.Source.Status().ClusterID, Zxid: f.Zxid, Index: f.Index, Term: f.Term,
	}}
	for {
		if err := stream.Send(part); err != nil {
			return err
		}
		// A message that was sent is not to be changed.
		buf := make([]byte, snapshotPiece)
		n, err := io.ReadFull(f, buf)
		if n == 0 && err == io.EOF {
			return nil
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return a.rpcError(err)
		}
		part = &adminpb.SnapshotPart{Data: buf[:n]}
	}
}

func splitAddress(field, addr string) (host string, port int, err error) {
	host, port, err = hostAndPort(addr)
	if err != nil || host == "" || port <= 0 || port > math.MaxUint16 {
		return "", 0, Refuse(adminpb.RefusalReason_REFUSAL_REASON_BAD_REQUEST, "%s %q: must be host:port, as the other members reach it", field, addr)
	}
	return host, port, nil
}

// rpcError gives an error of the Source its code, and says who refuses.
func (a *service) rpcError(err error) error {
	st := a.surface.Source.Status()
	detail := &adminpb.Refusal{MemberId: st.MemberID, Name: int32(st.Name), LeaderId: st.LeaderID, ConfigurationIndex: st.ConfigIndex}
	for _, p := range a.surface.Source.Peers() {
		if p.ID == st.LeaderID && p.ID != 0 {
			detail.LeaderAddress = hostPort(p.Host, p.PeerPort)
		}
	}
	who := fmt.Sprintf("server.%d (member %x): ", st.Name, st.MemberID)
	var refused *Refused
	code := codes.Internal
	switch {
	case errors.As(err, &refused):
		detail.Reason, code = refused.Reason, refusalCode(refused.Reason)
	case errors.Is(err, ErrNotLeader):
		detail.Reason, code = adminpb.RefusalReason_REFUSAL_REASON_NOT_LEADER, codes.FailedPrecondition
	case errors.Is(err, ErrNoSuchVoter):
		detail.Reason, code = adminpb.RefusalReason_REFUSAL_REASON_NOT_A_MEMBER, codes.InvalidArgument
	case errors.Is(err, ErrUnavailable):
		code = codes.Unavailable
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	}
	out := status.New(code, who+err.Error())
	if detail.Reason != 0 {
		if with, err := out.WithDetails(detail); err == nil {
			out = with
		}
	}
	return out.Err()
}

func refusalCode(r RefusalReason) codes.Code {
	switch r {
	case adminpb.RefusalReason_REFUSAL_REASON_BAD_REQUEST:
		return codes.InvalidArgument
	case adminpb.RefusalReason_REFUSAL_REASON_CONFIGURATION_MOVED:
		return codes.Aborted
	case adminpb.RefusalReason_REFUSAL_REASON_NOT_A_MEMBER:
		return codes.NotFound
	case adminpb.RefusalReason_REFUSAL_REASON_UNREACHABLE:
		return codes.Unavailable
	}
	return codes.FailedPrecondition
}

func hostAndPort(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(p)
	return host, port, err
}
