package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

func TestMembershipOrdersArePassedOn(t *testing.T) {
	f := newFake(leading)
	g, _ := startGRPC(t, f, GRPCOptions{})
	c := adminpb.NewAdminClient(dial(t, g.Addr().String()))
	ctx := t.Context()
	const cluster = "00112233445566778899aabbccddeeff"
	for _, call := range []func() error{
		func() error {
			_, err := c.Bootstrap(ctx, &adminpb.BootstrapRequest{ClusterId: cluster, MemberId: 0xa})
			return err
		},
		func() error {
			r, err := c.AddLearner(ctx, &adminpb.AddLearnerRequest{ConfigurationIndex: 4, MemberId: 0xd, Name: 4, PeerAddress: "zk-3.zk:2888", ClientAddress: "zk-3.zk:2181", Observer: true})
			if err == nil && (r.GetConfigurationIndex() != 4 || len(r.GetVoters()) == 0) {
				t.Errorf("%v", r)
			}
			return err
		},
		func() error {
			_, err := c.AddLearner(ctx, &adminpb.AddLearnerRequest{ConfigurationIndex: 4, MemberId: 0xd, Name: 4, PeerAddress: "[::1]:65000"})
			return err
		},
		func() error {
			_, err := c.Promote(ctx, &adminpb.PromoteRequest{ConfigurationIndex: 5, MemberId: 0xd, MaxLag: 7})
			return err
		},
		func() error {
			_, err := c.Remove(ctx, &adminpb.RemoveRequest{ConfigurationIndex: 6, MemberId: 0xd})
			return err
		},
		func() error {
			r, err := c.StartClean(ctx, &adminpb.StartCleanRequest{ClusterId: "c", MemberId: 0xa})
			if r.GetMovedTo() != "there" {
				t.Errorf("%v", r)
			}
			return err
		},
		func() error {
			r, err := c.RecoverLostMajority(ctx, &adminpb.RecoverLostMajorityRequest{ClusterId: "c", MemberId: 0xa, Reason: "fire"})
			if r.GetClusterId() != "new" || r.GetFirstZxid() != 9 || len(r.GetGivenUp()) != 1 || r.GetGivenUp()[0].GetSeenMsAgo() != -1 {
				t.Errorf("%v", r)
			}
			return err
		},
	} {
		if err := call(); err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"bootstrap " + cluster + " a",
		"add on 4: d as 4 at zk-3.zk:2888 (3888), clients zk-3.zk:2181, observer true",
		"add on 4: d as 4 at ::1:65000 (64000), clients :0, observer false",
		"promote on 5: d within 7",
		"remove on 6: d",
		"start clean c a",
		"recover {ClusterID:c Member:10 Reason:fire DryRun:false}",
	}
	if !slices.Equal(f.orders, want) {
		t.Errorf("the member was told\n%q, want\n%q", f.orders, want)
	}
}

// Every refusal names who refuses and why, for people and for programs.
func TestRefusals(t *testing.T) {
	f := newFake(following)
	g, _ := startGRPC(t, f, GRPCOptions{})
	c := adminpb.NewAdminClient(dial(t, g.Addr().String()))
	promote := func() error {
		_, err := c.Promote(t.Context(), &adminpb.PromoteRequest{ConfigurationIndex: 5, MemberId: 0xd})
		return err
	}
	for _, want := range []struct {
		err    error
		code   codes.Code
		reason adminpb.RefusalReason
	}{
		{Refuse(adminpb.RefusalReason_REFUSAL_REASON_LAGGING, "far behind"), codes.FailedPrecondition, adminpb.RefusalReason_REFUSAL_REASON_LAGGING},
		{Refuse(adminpb.RefusalReason_REFUSAL_REASON_CONFIGURATION_MOVED, "far behind"), codes.Aborted, adminpb.RefusalReason_REFUSAL_REASON_CONFIGURATION_MOVED},
		{Refuse(adminpb.RefusalReason_REFUSAL_REASON_NOT_A_MEMBER, "far behind"), codes.NotFound, adminpb.RefusalReason_REFUSAL_REASON_NOT_A_MEMBER},
		{Refuse(adminpb.RefusalReason_REFUSAL_REASON_UNREACHABLE, "far behind"), codes.Unavailable, adminpb.RefusalReason_REFUSAL_REASON_UNREACHABLE},
		{fmt.Errorf("far behind, and %w", ErrNotLeader), codes.FailedPrecondition, adminpb.RefusalReason_REFUSAL_REASON_NOT_LEADER},
		{errors.New("far behind"), codes.Internal, 0},
	} {
		f.change(func(f *fake) { f.orderErr = want.err })
		err := promote()
		st, _ := status.FromError(err)
		if st.Code() != want.code || st.Message() != fmt.Sprintf("server.%d (member %x): %v", f.status.Name, f.status.MemberID, want.err) {
			t.Errorf("%v became %v", want.err, err)
		}
		var got *adminpb.Refusal
		for _, d := range st.Details() {
			got, _ = d.(*adminpb.Refusal)
		}
		if want.reason == 0 {
			if got != nil {
				t.Errorf("%v is shown as a refusal: %v", want.err, got)
			}
			continue
		}
		if got.GetReason() != want.reason || got.GetMemberId() != f.status.MemberID || got.GetName() != int32(f.status.Name) ||
			got.GetLeaderId() != f.status.LeaderID || got.GetLeaderAddress() == "" || got.GetConfigurationIndex() != f.status.ConfigIndex {
			t.Errorf("%v has the detail %v", want.err, got)
		}
	}
	f.change(func(f *fake) { f.orderErr = nil; f.orders = nil })
	for _, r := range []*adminpb.AddLearnerRequest{
		{ConfigurationIndex: 4, MemberId: 1, PeerAddress: "zk-3"},
		{ConfigurationIndex: 4, MemberId: 1, PeerAddress: ":2888"},
		{ConfigurationIndex: 4, MemberId: 1, PeerAddress: "h:0"},
		{ConfigurationIndex: 4, MemberId: 1, PeerAddress: "h:70000"},
		{ConfigurationIndex: 4, MemberId: 1, PeerAddress: "h:1", ClientAddress: "h:http"},
		{MemberId: 1, PeerAddress: "h:1"},
		{ConfigurationIndex: 4, PeerAddress: "h:1"},
	} {
		if _, err := c.AddLearner(t.Context(), r); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", r, err)
		}
	}
	if len(f.orders) != 0 {
		t.Errorf("the member was told %q", f.orders)
	}
}

func TestSnapshotIsStreamed(t *testing.T) {
	f := newFake(leading)
	g, _ := startGRPC(t, f, GRPCOptions{})
	c := adminpb.NewAdminClient(dial(t, g.Addr().String()))
	stream, err := c.Snapshot(t.Context(), &adminpb.SnapshotRequest{})
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for i := 0; ; i++ {
		part, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h := part.GetHeader(); (h != nil) != (i == 0) || i == 0 && (h.GetZxid() != 7 || h.GetIndex() != 9 || h.GetTerm() != 2 || h.GetClusterId() != f.status.ClusterID) {
			t.Errorf("part %d has the header %v", i, h)
		}
		size += len(part.GetData())
	}
	if size != 600_000 {
		t.Errorf("%d bytes", size)
	}
	f.change(func(f *fake) { f.orderErr = context.DeadlineExceeded })
	stream, err = c.Snapshot(t.Context(), &adminpb.SnapshotRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
}

func TestStatusShowsStandingAndSightings(t *testing.T) {
	f := newFake(following)
	f.status.Membership, f.status.MembershipReason = adminpb.Membership_MEMBERSHIP_REMOVED, "it was removed"
	f.status.FormerClusterIDs, f.status.NoQuorumSince, f.status.PeerAddress = []string{"old"}, now.Add(-3*time.Second), "h:1"
	f.sightings = []Sighting{{ID: 5, Name: 2, Address: "h2:1", Voter: true, Answers: true, Seen: now.Add(-time.Second), Zxid: 77, LastIndex: 8, ClusterID: "c", Problem: "odd"}}
	g, _ := startGRPC(t, f, GRPCOptions{})
	st, err := adminpb.NewAdminClient(dial(t, g.Addr().String())).Status(t.Context(), &adminpb.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if st.GetMembership() != adminpb.Membership_MEMBERSHIP_REMOVED || st.GetMembershipReason() != "it was removed" || st.GetNoQuorumMs() != 3000 ||
		!slices.Equal(st.GetFormerClusterIds(), []string{"old"}) || st.GetPeerAddress() != "h:1" {
		t.Errorf("%v", st)
	}
	if s := st.GetSightings(); len(s) != 1 || s[0].GetSeenMsAgo() != 1000 || s[0].GetZxid() != 77 || s[0].GetMemberId() != 5 || s[0].GetName() != 2 || !s[0].GetAnswers() || !s[0].GetVoter() || s[0].GetProblem() != "odd" || s[0].GetLastIndex() != 8 {
		t.Errorf("%v", s)
	}
}
