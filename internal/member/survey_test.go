package member

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/admin"
)

// What a member had is known still when its successor on an empty disk answers.
func TestHeard(t *testing.T) {
	const ours = "ours"
	then, now := time.Unix(100, 0), time.Unix(200, 0)
	member := admin.Sighting{ID: 7, Name: 2, Address: "two:2888", Voter: true}
	was := heard(sight{}, member, &whoReply{ClusterID: ours, MemberID: 7, Zxid: 0x100000005, LastIndex: 9}, nil, ours, then)
	if !was.Answers || was.Problem != "" || was.Zxid != 0x100000005 || was.LastIndex != 9 || was.Seen != then || was.ClusterID != ours {
		t.Fatalf("%+v", was)
	}
	for _, c := range []struct {
		name    string
		reply   *whoReply
		err     error
		answers bool
		problem string
		cluster string
	}{
		{"nobody answers", nil, errors.New("connection refused"), false, "refused", ours},
		{"an empty one answers", &whoReply{MemberID: 8, Awaiting: true}, nil, true, "no ensemble", ""},
		{"a newer one answers", &whoReply{ClusterID: ours, MemberID: 8, Zxid: 0x100000001}, nil, true, "member 8", ours},
		{"a stranger answers", &whoReply{ClusterID: "theirs", MemberID: 9, Zxid: 0x300000000}, nil, true, "ensemble theirs", "theirs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := heard(was, member, c.reply, c.err, ours, now)
			if got.Answers != c.answers || !strings.Contains(got.Problem, c.problem) || got.said == nil || got.ClusterID != c.cluster {
				t.Errorf("%+v", got)
			}
			if got.Zxid != was.Zxid || got.LastIndex != was.LastIndex || got.Seen != then {
				t.Errorf("what it had is forgotten: %+v", got)
			}
		})
	}
	// Another member has the address: it has nothing of the former.
	if got := heard(was, admin.Sighting{ID: 8, Name: 2, Address: "two:2888"}, nil, errors.New("refused"), ours, now); got.Zxid != 0 || !got.Seen.IsZero() {
		t.Errorf("%+v", got)
	}
	// Nobody knows who is to be there.
	if got := heard(sight{}, admin.Sighting{Name: 3, Address: "three:2888"}, &whoReply{ClusterID: "theirs", MemberID: 9, Zxid: 3}, nil, ours, now); got.Zxid != 3 || got.Seen != now || got.ClusterID != "theirs" {
		t.Errorf("%+v", got)
	}
}
