package stream

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/projection/mirror"
)

var (
	wireSession = &adminpb.Session{
		Id: 0x8000000000000001, State: adminpb.SessionState_SESSION_STATE_CONNECTING, MemberId: 7, Client: "10.0.0.1:4711",
		TimeoutMs: 10000, SilenceMs: 2500, Ephemerals: 3, CreatedMs: 1700000000123,
	}
	ourSession = mirror.Session{
		ID: 0x8000000000000001, State: mirror.Connecting, Member: 7, Client: netip.MustParseAddrPort("10.0.0.1:4711"),
		Timeout: 10 * time.Second, Silence: 2500 * time.Millisecond, Ephemerals: 3, Created: time.UnixMilli(1700000000123),
	}
	wireNode = &adminpb.Ephemeral{Path: "/a", SessionId: 5, Czxid: 6, Mzxid: 7, CreatedMs: 8, Data: []byte("x"), DataLength: 9}
	ourNode  = mirror.Ephemeral{Path: "/a", Session: 5, Czxid: 6, Mzxid: 7, Created: time.UnixMilli(8), Data: []byte("x"), DataLength: 9}
	position = &adminpb.SessionsPosition{Reign: 1, Sequence: 2}
)

func TestUpdate(t *testing.T) {
	here := mirror.Position{Reign: 1, Sequence: 2}
	for what, c := range map[string]struct {
		in   *adminpb.SessionsUpdate
		want *mirror.Update
	}{
		"snapshot": {
			&adminpb.SessionsUpdate{Zxid: 9, Body: &adminpb.SessionsUpdate_Snapshot{Snapshot: &adminpb.SessionsSnapshot{First: true, Sessions: []*adminpb.Session{wireSession}, Ephemerals: []*adminpb.Ephemeral{wireNode}}}},
			&mirror.Update{Zxid: 9, Partial: true, Snapshot: &mirror.Snapshot{First: true, Sessions: []mirror.Session{ourSession}, Ephemerals: []mirror.Ephemeral{ourNode}}},
		},
		"changes": {
			&adminpb.SessionsUpdate{Zxid: 9, Position: position, Body: &adminpb.SessionsUpdate_Changes{Changes: &adminpb.SessionsChanges{Changes: []*adminpb.SessionsChange{
				{Change: &adminpb.SessionsChange_Session{Session: wireSession}},
				{Change: &adminpb.SessionsChange_End{End: &adminpb.SessionEnd{Session: wireSession, Expired: true, Zxid: 4, Paths: []string{"/a"}}}},
				{Change: &adminpb.SessionsChange_Ephemeral{Ephemeral: wireNode}},
				{Change: &adminpb.SessionsChange_Gone{Gone: &adminpb.EphemeralGone{Path: "/a", SessionId: 5, Czxid: 6, Zxid: 8}}},
			}}}},
			&mirror.Update{Zxid: 9, Position: here, Changes: []mirror.Change{
				{Session: &ourSession}, {End: &mirror.End{Session: ourSession, Expired: true, Zxid: 4, Paths: []string{"/a"}}},
				{Ephemeral: &ourNode}, {Gone: &mirror.Gone{Path: "/a", Czxid: 6, Zxid: 8}},
			}},
		},
		"heartbeat": {
			&adminpb.SessionsUpdate{Zxid: 9, Position: position, Body: &adminpb.SessionsUpdate_Heartbeat{Heartbeat: &adminpb.SessionsHeartbeat{Quorum: true, Settled: true,
				Totals: &adminpb.SessionTotals{NotConnected: 1, Connecting: 2, Connected: 3, Closed: 4, Expired: 5, Ephemerals: 6, Watches: 7}, AtRisk: []*adminpb.Session{wireSession}}}},
			&mirror.Update{Zxid: 9, Position: here, Heartbeat: &mirror.Heartbeat{Quorum: true, Settled: true,
				Totals: mirror.Totals{NotConnected: 1, Connecting: 2, Connected: 3, Closed: 4, Expired: 5, Ephemerals: 6, Watches: 7}, AtRisk: []mirror.Session{ourSession}}},
		},
	} {
		got, err := Update(c.in)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v\n%+v, want\n%+v", what, err, got, c.want)
		}
	}
}

func TestUpdateRefuses(t *testing.T) {
	for want, u := range map[string]*adminpb.SessionsUpdate{
		"a message of a kind":     {Zxid: 1},
		"a change of a kind":      {Body: &adminpb.SessionsUpdate_Changes{Changes: &adminpb.SessionsChanges{Changes: []*adminpb.SessionsChange{{}}}}},
		"session 0x0 has a state": {Body: &adminpb.SessionsUpdate_Snapshot{Snapshot: &adminpb.SessionsSnapshot{Sessions: []*adminpb.Session{{}}}}},
	} {
		if got, err := Update(u); err == nil || got != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]netip.AddrPort{
		"10.0.0.1:5":          netip.MustParseAddrPort("10.0.0.1:5"),
		"[::ffff:10.0.0.1]:5": netip.MustParseAddrPort("10.0.0.1:5"),
		"[fd00::1]:5":         netip.MustParseAddrPort("[fd00::1]:5"),
		"":                    {},
		"somewhere:5":         {},
	} {
		s, err := session(&adminpb.Session{State: adminpb.SessionState_SESSION_STATE_CONNECTED, Client: text})
		if err != nil || s.Client != want {
			t.Errorf("%q: %v %v", text, s.Client, err)
		}
	}
}

func TestRequest(t *testing.T) {
	m := mirror.New()
	if r := Request(m, []string{"/a/*"}, 20, true); r.Resume != nil || r.AtRisk != 20 || len(r.DataPatterns) != 1 || r.MaxDataBytes != MaxDataBytes {
		t.Errorf("%v", r)
	}
	u, err := Update(&adminpb.SessionsUpdate{Zxid: 9, Position: position, Body: &adminpb.SessionsUpdate_Snapshot{Snapshot: &adminpb.SessionsSnapshot{First: true, Last: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Apply(u, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if r := Request(m, nil, 0, true); r.GetResume().GetReign() != 1 || r.GetResume().GetSequence() != 2 {
		t.Errorf("%v", r)
	}
	if r := Request(m, nil, 0, false); r.Resume != nil {
		t.Errorf("%v: it was to begin anew", r)
	}
}
