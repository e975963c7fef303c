package admin

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// roleOperator is the role that may call everything: tlsfiles.RoleOperator. TLS has
// let in only who has it, or the reader's.
const roleOperator = "conclave:operator"

// reads are what a reader may call. Whatever is not named here takes the operator's
// role; so does Snapshot, which has all data and no ACLs.
var reads = []string{
	adminpb.Admin_Status_FullMethodName, adminpb.Admin_WatchSessions_FullMethodName,
	"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
}

// onlyReads tells whether a caller has no more than the reader's role. Who came
// without TLS is on this machine, or this server demands none of anybody.
func onlyReads(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return false
	}
	return !slices.Contains(info.State.PeerCertificates[0].Subject.Organization, roleOperator)
}

// may refuses what a caller's role is too little for.
func may(ctx context.Context, method string) error {
	if onlyReads(ctx) && !slices.Contains(reads, method) {
		return status.Errorf(codes.PermissionDenied, "%s takes a certificate with the role (Organization) %q: a reader's may only look", method, roleOperator)
	}
	return nil
}

func unaryByRole(ctx context.Context, r any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := may(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return next(ctx, r)
}

func streamByRole(s any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := may(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	return next(s, stream)
}
