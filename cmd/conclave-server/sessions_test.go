package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// script is a leader whose stream says what is written here.
type script struct {
	adminpb.AdminClient
	grpc.ServerStreamingClient[adminpb.SessionsUpdate]
	updates []*adminpb.SessionsUpdate
	read    int
}

func (s *script) WatchSessions(context.Context, *adminpb.WatchSessionsRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[adminpb.SessionsUpdate], error) {
	return s, nil
}

func (s *script) Recv() (*adminpb.SessionsUpdate, error) {
	if s.read == len(s.updates) {
		return nil, io.EOF
	}
	s.read++
	return s.updates[s.read-1], nil
}

func session(id uint64, st adminpb.SessionState, silence int64) *adminpb.Session {
	return &adminpb.Session{Id: id, State: st, MemberId: 0xb, Client: "10.0.0.1:5", TimeoutMs: 4000, SilenceMs: silence}
}

func changes(list ...*adminpb.SessionsChange) *adminpb.SessionsUpdate {
	return &adminpb.SessionsUpdate{Body: &adminpb.SessionsUpdate_Changes{Changes: &adminpb.SessionsChanges{Changes: list}}}
}

func snapshot(s *adminpb.SessionsSnapshot) *adminpb.SessionsUpdate {
	return &adminpb.SessionsUpdate{Body: &adminpb.SessionsUpdate_Snapshot{Snapshot: s}}
}

func TestSessionsAreShown(t *testing.T) {
	const connecting, connected = adminpb.SessionState_SESSION_STATE_CONNECTING, adminpb.SessionState_SESSION_STATE_CONNECTED
	updates := []*adminpb.SessionsUpdate{
		snapshot(&adminpb.SessionsSnapshot{First: true, Sessions: []*adminpb.Session{session(1, connected, 3900)}}),
		snapshot(&adminpb.SessionsSnapshot{Last: true, Sessions: []*adminpb.Session{session(2, connecting, 10)}, Ephemerals: []*adminpb.Ephemeral{{Path: "/e", SessionId: 1, Czxid: 7, Data: []byte("me")}}}),
		changes(&adminpb.SessionsChange{Change: &adminpb.SessionsChange_Session{Session: session(3, connected, 0)}}),
		{Body: &adminpb.SessionsUpdate_Heartbeat{Heartbeat: &adminpb.SessionsHeartbeat{NoQuorumMs: 1500, Totals: &adminpb.SessionTotals{Connected: 2, Connecting: 1, Expired: 5}}}},
		changes(&adminpb.SessionsChange{Change: &adminpb.SessionsChange_Gone{Gone: &adminpb.EphemeralGone{Path: "/e", SessionId: 1, Czxid: 7}}},
			&adminpb.SessionsChange{Change: &adminpb.SessionsChange_End{End: &adminpb.SessionEnd{Session: session(1, connected, 0), Expired: true, Paths: []string{"/e"}}}}),
	}
	var out bytes.Buffer
	if err := sessions(t.Context(), &script{updates: updates}, &adminpb.WatchSessionsRequest{}, true, true, &out); err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, want := range []string{
		"no contact with a majority for 1.5s", "sessions: 2 connected, 1 connecting, 0 not connected; ended: 0 closed, 5 expired",
		"0x2      CONNECTING", "0x1      CONNECTED", "0x3      CONNECTED", `"/e"`, `"me"`, `0x1 no longer holds "/e"`, `0x1 CLOSED: expired; 0 ephemerals went with it ["/e"]`,
	} {
		i := strings.Index(out.String()[at:], want)
		if i < 0 {
			t.Fatalf("%q is missing, or not in its place:\n%s", want, &out)
		}
		at += i
	}
	out.Reset()
	if err := sessions(t.Context(), &script{updates: updates}, &adminpb.WatchSessionsRequest{}, false, false, &out); err != nil || strings.Contains(out.String(), "/e") || strings.Contains(out.String(), "CLOSED") {
		t.Errorf("%v:\n%s", err, &out)
	}
}
