package statemachine

import (
	"slices"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
)

var threeMembers = []Member{
	{ID: 33, Name: 3, Observer: true, Host: "2001:db8::3", PeerPort: 2888, ElectionPort: 3888, ClientHost: "::", ClientPort: 2181},
	{ID: 11, Name: 1, Voter: true, Host: "zk-0.zk", PeerPort: 2888, ElectionPort: 3888, ClientHost: "0.0.0.0", ClientPort: 2181},
	{ID: 22, Name: 2, Voter: true, Host: "zk-1.zk", PeerPort: 2888, ElectionPort: 3888},
}

const threeLines = "server.1=zk-0.zk:2888:3888:participant;0.0.0.0:2181\n" +
	"server.2=zk-1.zk:2888:3888:participant\n" +
	"server.3=[2001:db8::3]:2888:3888:observer;[::]:2181\n"

func TestMembership(t *testing.T) {
	b := newBox(t)
	b.Found(5, 2, threeMembers, 77)
	if index, term := b.Applied(); index != 5 || term != 2 || b.Now() != 77 || b.Zxid() != 0 {
		t.Errorf("founded at %d of term %d, time %d, zxid %#x", index, term, b.Now(), b.Zxid())
	}
	if got := b.data(ConfigPath); got != threeLines+"version=0" {
		t.Errorf("%s shows\n%s", ConfigPath, got)
	}
	if s := b.stat(ConfigPath); s.Mzxid != 0 || s.Mtime != 0 {
		t.Errorf("founding has moved the stat: %+v", s)
	}
	if ms := b.Members(); ms.Index != 5 || ms.Version != 0 || len(ms.List) != 3 || ms.List[0].ID != 11 || ms.List[2].ID != 33 {
		t.Errorf("%+v", ms)
	}

	// A replacement of member 2 catches up: the seat that it will have is shown,
	// and once, though the replacement is to vote as well.
	learner := threeMembers[2]
	learner.ID, learner.Voter, learner.Host = 44, false, "elsewhere"
	var r recorder
	b.ApplyMembers(6, 3, append(slices.Clone(threeMembers), learner), &r)
	if got := b.data(ConfigPath); got != threeLines+"version=300000001" || b.Zxid() != 3<<32|1 {
		t.Errorf("%s shows\n%s at zxid %#x", ConfigPath, got, b.Zxid())
	}
	if ms := b.Members(); ms.Index != 6 || ms.Version != 3<<32|1 || len(ms.List) != 4 {
		t.Errorf("%+v", ms)
	}
	if len(r.events) != 1 || r.events[0].Path != ConfigPath || r.events[0].Type != jute.EventNodeDataChanged || r.events[0].Zxid != b.Zxid() || !slices.Equal(r.events[0].ACL, readOnly) {
		t.Errorf("%s", &r)
	}
	if p, ok := b.Members().Get(44); !ok || p.PeerAddr() != "elsewhere:2888" {
		t.Errorf("%+v %t", p, ok)
	}
	if p, ok := b.Members().Get(33); !ok || p.PeerAddr() != "[2001:db8::3]:2888" {
		t.Errorf("%+v %t", p, ok)
	}
	if _, ok := b.Members().Get(99); ok {
		t.Error("member 99 is found")
	}
	// The second half of a change in two steps moves the index, and nothing else.
	b.ApplyMembers(7, 3, append(slices.Clone(threeMembers), learner), &r)
	if ms := b.Members(); ms.Index != 7 || ms.Version != 3<<32|1 || b.Zxid() != 3<<32|1 || len(r.events) != 1 {
		t.Errorf("%+v, %d events", ms, len(r.events))
	}
	// In its place; and nobody's list is kept or changed.
	mine := []Member{learner, threeMembers[1]}
	mine[0].Voter = true
	b.ApplyMembers(8, 3, mine, &r)
	mine[1].Host = "changed by its owner"
	if got := b.data(ConfigPath); got != "server.1=zk-0.zk:2888:3888:participant;0.0.0.0:2181\nserver.2=elsewhere:2888:3888:participant\nversion=300000002" {
		t.Errorf("%s shows\n%s", ConfigPath, got)
	}
	if b.Members().List[0].Host != "zk-0.zk" {
		t.Error("the caller's list is kept")
	}
	sound(t, b.Machine)
}

// An ensemble of one that was started without server lines shows nothing.
func TestStandaloneShowsNoMembers(t *testing.T) {
	b := newBox(t)
	b.Found(1, 1, []Member{{ID: 1, Voter: true, ClientHost: "h", ClientPort: 2181}}, 1)
	if got := b.data(ConfigPath); got != "" {
		t.Errorf("%q", got)
	}
}

func TestMembersOnTheWire(t *testing.T) {
	for _, list := range [][]Member{nil, threeMembers} {
		b := EncodeMembers(list)
		got, err := DecodeMembers(b)
		if err != nil || !slices.Equal(got, list) {
			t.Errorf("%+v, %v", got, err)
		}
		for n := range b {
			if _, err := DecodeMembers(b[:n]); err == nil {
				t.Errorf("cut to %d of %d bytes", n, len(b))
			}
		}
	}
	if _, err := DecodeMembers([]byte{0x7f, 0xff, 0xff, 0xff}); err == nil {
		t.Error("two billion members")
	}
}
