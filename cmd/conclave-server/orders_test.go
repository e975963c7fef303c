package main

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

func TestOrdersAreComplete(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"member list", "say which member is meant"},
		{"member bootstrap --data-dir d --id ab", `required flag(s) "cluster-id" not set`},
		{"member promote --data-dir d --id 0", "a member's id is a hexadecimal number"},
		{"member remove --data-dir d --id xyz", "a member's id is a hexadecimal number"},
		{"member remove --data-dir d", `required flag(s) "id" not set`},
		{"member add --data-dir d --id 1", `required flag(s) "name", "peer" not set`},
		{"recover-lost-majority --data-dir d", `required flag(s) "cluster-id", "reason", "survivor" not set`},
		{"recover-lost-majority --data-dir /nowhere --cluster-id c --survivor 1 --reason r", "there is no admin socket of a member"},
		{"member start-clean --data-dir /nowhere --cluster-id c --id 1", "there is no admin socket of a member"},
		{"member start-clean --data-dir d --id 1", "id cluster-id] are set they must all be set"},
		{"member start-clean --data-dir d", "at least one of the flags in the group [id unreadable-identity]"},
		{"member start-clean --data-dir d --id 1 --cluster-id c --unreadable-identity", "none of the others can be"},
		{"member list --data-dir d --tls-dir x", "there is no admin socket"},
		{"member list --admin 127.0.0.1:1 --tls-dir x", "needs --tls-server-name"},
		{"sessions", "say which member is meant"},
		{"--config c --server-number-offset 5", "--server-number-offset is for --self"},
		{"member list --admin 127.0.0.1:1", "no member answers there"},
		{"snapshot --data-dir d", `required flag(s) "output" not set`},
		{"--await-bootstrap --data-dir d", "--await-bootstrap needs a configuration"},
		{"--config c --self h:1:2;3", "--self is for --await-bootstrap"},
	} {
		cmd := command()
		cmd.SetArgs(strings.Fields(c.args))
		cmd.SetOut(&bytes.Buffer{})
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %q", c.args, err, c.says)
		}
	}
}

func TestRefusalsAreReadable(t *testing.T) {
	st, err := status.New(codes.FailedPrecondition, "server.2 (member ab): no").WithDetails(&adminpb.Refusal{Reason: adminpb.RefusalReason_REFUSAL_REASON_LAST_VOTER})
	if err != nil {
		t.Fatal(err)
	}
	if got := readable(st.Err()).Error(); got != "refused (LAST_VOTER) by server.2 (member ab): no" {
		t.Error(got)
	}
	if got := readable(status.Error(codes.Unavailable, "gone")).Error(); got != "Unavailable: gone" {
		t.Error(got)
	}
}

func TestStatusIsShown(t *testing.T) {
	var out bytes.Buffer
	show(&out, &adminpb.StatusResponse{
		MemberId: 0xa, Name: 1, ClusterId: "c", Zxid: 0x20, AppliedIndex: 9, ConfigurationIndex: 4, NotReadyReason: "no contact with a quorum", NoQuorumMs: 5300,
		Membership: adminpb.Membership_MEMBERSHIP_MEMBER, Role: adminpb.Role_ROLE_LOOKING, FormerClusterIds: []string{"old"},
		Voters:   []*adminpb.Member{{Id: 0xa, Name: 1, PeerAddress: "h1:1"}, {Id: 0xb, Name: 2, PeerAddress: "h2:1"}, {Id: 0xc, Name: 3, PeerAddress: "h3:1"}},
		Learners: []*adminpb.Member{{Id: 0xd, Name: 4, PeerAddress: "h4:1", Observer: true}, {Id: 0xe, Name: 5, PeerAddress: "h5:1"}},
		Sightings: []*adminpb.Sighting{
			{Address: "h2:1", Zxid: 0x1f, SeenMsAgo: 7400, Problem: "refused"}, {Address: "h3:1", SeenMsAgo: -1, Problem: "refused"},
			{Address: "h4:1", Answers: true, Zxid: 0x20}, {Address: "h9:1", Name: 9, Answers: true, Problem: "it belongs to ensemble d"},
		},
	})
	for _, line := range []string{
		"server.1 (member a): member, looking, configuration index 4", "cluster c, zxid 0x20, log index 9", "in the place of cluster old",
		"not ready: no contact with a quorum, for 5.3s", "this member", "MISSING, seen 7.4s ago: refused", "never seen: refused", "observer", "not asked yet", "it belongs to ensemble d",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is missing:\n%s", line, &out)
		}
	}
}
