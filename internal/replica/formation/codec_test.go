package formation

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestJoinMessagesSurviveEncoding(t *testing.T) {
	req := &JoinRequest{N: 3, MemberID: 1 << 63, PeerAddr: "zk3:2888", ClientAddr: "zk3:2181", Observer: true, ClusterID: ClusterID{1, 2}}
	got, err := DecodeJoinRequest(req.Encode())
	if err != nil || !reflect.DeepEqual(got, req) {
		t.Fatalf("request: %+v, %v; want %+v", got, err, req)
	}
	rep := &JoinReply{Accepted: true, ClusterID: ClusterID{9}, LeaderAddr: "zk1:2888",
		Peers: []Peer{{1, "zk1:2888"}, {7, "zk2:2888"}}, Reason: "because"}
	gotRep, err := DecodeJoinReply(rep.Encode())
	if err != nil || !reflect.DeepEqual(gotRep, rep) {
		t.Fatalf("reply: %+v, %v; want %+v", gotRep, err, rep)
	}
}

func TestLongTextIsCutAtACharacter(t *testing.T) {
	for pad := range 4 {
		rep := &JoinReply{Reason: strings.Repeat("x", pad) + strings.Repeat("€", MaxReason)}
		got, err := DecodeJoinReply(rep.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Reason) > MaxReason || len(got.Reason) < MaxReason-6 || !utf8.ValidString(got.Reason) {
			t.Fatalf("pad %d: cut to %d bytes, valid %v", pad, len(got.Reason), utf8.ValidString(got.Reason))
		}
	}
}

func TestDecodersNameWhatIsWrong(t *testing.T) {
	whole := (&JoinRequest{N: 3, MemberID: 4, PeerAddr: "a:1"}).Encode()
	for n := range whole {
		if _, err := DecodeJoinRequest(whole[:n]); err == nil {
			t.Fatalf("a request cut to %d of %d bytes was accepted", n, len(whole))
		}
	}
	for name, c := range map[string]struct {
		p    []byte
		want string
	}{
		"left over": {append(append([]byte{}, whole...), 0), "left over"},
		"format":    {append([]byte{0x7f}, whole[1:]...), "format 0x7f"},
		"flags":     {append([]byte{whole[0], 0x80}, whole[2:]...), "unknown flags"},
		"too long":  {make([]byte, MaxMessage+1), "the bound is"},
	} {
		if _, err := DecodeJoinRequest(c.p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
