package plugin

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/projection/leases"
	"github.com/conclave-dev/conclave/internal/projection/stream"
)

func (w *fakeWorld) Watch(_ context.Context, _ *v1alpha1.CoordinationCluster, r *adminpb.WatchSessionsRequest) (stream.Receiver, func(), error) {
	w.asked = append(w.asked, r)
	if len(w.streams) == 0 {
		return nil, nil, errors.New("nobody leads")
	}
	s := w.streams[0]
	w.streams = w.streams[1:]
	w.tree.open++
	return s, func() { w.tree.open-- }, nil
}

func (w *fakeWorld) Leases(context.Context, *v1alpha1.CoordinationCluster) ([]coordinationv1.Lease, error) {
	l := coordinationv1.Lease{}
	l.Name = "main-jobs-x"
	l.Annotations = map[string]string{leases.AnnotationHolderPath: "/jobs/leader/_c_2-latch-0000000007"}
	holder, since := "cart-1", metav1.NewMicroTime(now.Add(-10*time.Minute))
	l.Spec.HolderIdentity, l.Spec.AcquireTime = &holder, &since
	return []coordinationv1.Lease{l}, nil
}

func (w *fakeWorld) PodAt(_ context.Context, a netip.Addr) string {
	return map[string]string{"10.0.0.1": "shop/cart-0", "10.0.0.2": "shop/cart-1"}[a.String()]
}

// fakeStream is messages, and then an end.
type fakeStream struct {
	updates []*adminpb.SessionsUpdate
	end     func() error
}

func (s *fakeStream) Recv() (*adminpb.SessionsUpdate, error) {
	if len(s.updates) == 0 {
		return nil, s.end()
	}
	u := s.updates[0]
	s.updates = s.updates[1:]
	return u, nil
}

// told is what the leader says: four sessions, and their nodes.
func told() []*adminpb.SessionsUpdate {
	session := func(id uint64, state adminpb.SessionState, silence int64, client string, ephemerals int64) *adminpb.Session {
		return &adminpb.Session{Id: id, State: state, MemberId: 0xa1, Client: client, TimeoutMs: 10000, SilenceMs: silence, Ephemerals: ephemerals, CreatedMs: now.Add(-time.Hour).UnixMilli()}
	}
	node := func(path string, session uint64, zxid int64) *adminpb.Ephemeral {
		return &adminpb.Ephemeral{Path: path, SessionId: session, Czxid: zxid, Mzxid: zxid, CreatedMs: now.Add(-20 * time.Minute).UnixMilli()}
	}
	const (
		connected    = adminpb.SessionState_SESSION_STATE_CONNECTED
		connecting   = adminpb.SessionState_SESSION_STATE_CONNECTING
		notConnected = adminpb.SessionState_SESSION_STATE_NOT_CONNECTED
	)
	lost := session(0x2, connecting, 4500, "10.0.0.2:4002", 2)
	lost.MemberId = 0xb2
	unseen := session(0x4, notConnected, 0, "", 0)
	unseen.MemberId = 0
	here := &adminpb.SessionsPosition{Reign: 7, Sequence: 1}
	return []*adminpb.SessionsUpdate{
		{Body: &adminpb.SessionsUpdate_Snapshot{Snapshot: &adminpb.SessionsSnapshot{First: true, Sessions: []*adminpb.Session{
			session(0x1, connected, 0, "10.0.0.1:4001", 1), lost, session(0x8000000000000003, connected, 100, "192.0.2.9:4003", 1), unseen,
		}}}},
		{Zxid: 9, Position: here, Body: &adminpb.SessionsUpdate_Snapshot{Snapshot: &adminpb.SessionsSnapshot{Last: true, Ephemerals: []*adminpb.Ephemeral{
			node("/locks/db", 0x1, 4), node("/jobs/leader/_c_2-latch-0000000007", 0x2, 5),
			node("/jobs/leader/_c_1-latch-0000000008", 0x8000000000000003, 6), node("/jobs/members", 0x2, 7),
		}}}},
		{Zxid: 9, Position: here, Body: &adminpb.SessionsUpdate_Heartbeat{Heartbeat: &adminpb.SessionsHeartbeat{
			Quorum: true, Settled: true, AtRisk: []*adminpb.Session{lost, session(0x1, connected, 3300, "10.0.0.1:4001", 1)},
		}}},
	}
}

func changes(sequence uint64, zxid int64, list ...*adminpb.SessionsChange) *adminpb.SessionsUpdate {
	return &adminpb.SessionsUpdate{Zxid: zxid, Position: &adminpb.SessionsPosition{Reign: 7, Sequence: sequence},
		Body: &adminpb.SessionsUpdate_Changes{Changes: &adminpb.SessionsChanges{Changes: list}}}
}

// A watch prints what there is and each change, and goes on with the next leader.
func TestWatchSessions(t *testing.T) {
	w := testWorld()
	back := &adminpb.Session{Id: 2, State: adminpb.SessionState_SESSION_STATE_CONNECTED, MemberId: 0xa1, Client: "10.0.0.2:4009", TimeoutMs: 10000, Ephemerals: 2, CreatedMs: now.Add(-time.Hour).UnixMilli()}
	w.streams[0].updates = append(w.streams[0].updates, changes(3, 10, &adminpb.SessionsChange{Change: &adminpb.SessionsChange_Session{Session: back}}))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.streams = append(w.streams, &fakeStream{
		updates: []*adminpb.SessionsUpdate{changes(4, 11, &adminpb.SessionsChange{Change: &adminpb.SessionsChange_End{End: &adminpb.SessionEnd{Session: back, Expired: true, Zxid: 11}}})},
		end:     func() error { cancel(); return context.Canceled },
	})
	var out, errs bytes.Buffer
	root := New(w, Streams{Out: &out, Err: &errs})
	root.SetArgs([]string{"sessions", "main", "--watch"})
	if err := root.ExecuteContext(ctx); err != nil {
		t.Fatal(err)
	}
	golden(t, "sessions_main_--watch", out.String())
	if want := "the stream has ended: the leader has gone; connecting again\n"; errs.String() != want {
		t.Errorf("%q, want %q", errs.String(), want)
	}
	if len(w.asked) != 2 || w.asked[0].Resume != nil || w.asked[1].GetResume().GetSequence() != 3 {
		t.Errorf("asked %v", w.asked)
	}
	if w.tree.open != 0 {
		t.Errorf("%d connections are left open", w.tree.open)
	}
}
