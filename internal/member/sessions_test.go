package member

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/projection/mirror"
	"github.com/conclave-dev/conclave/internal/projection/stream"
	"github.com/conclave-dev/conclave/internal/statemachine"
)

// watching is a stream of sessions, and what it has told.
type watching struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	// resumed: the copy is not the one that was told what came before.
	resumed bool

	mu        sync.Mutex
	mirror    *mirror.Mirror // the operator's own copy, which is strict about what it is sent
	snapshots int
	sessions  map[uint64]*adminpb.Session
	nodes     map[string]*adminpb.Ephemeral
	// states are those that a session has been in, in order.
	states map[uint64][]adminpb.SessionState
	ends   []*adminpb.SessionEnd
	beat   *adminpb.SessionsHeartbeat
	pos    *adminpb.SessionsPosition
	err    error
}

func (e *ensemble) api(n int) adminpb.AdminClient {
	e.t.Helper()
	conn, err := grpc.NewClient("unix:"+admin.SocketPath(filepath.Join(e.dir, strconv.Itoa(n))), grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(e.t, err)
	e.t.Cleanup(func() { conn.Close() })
	return adminpb.NewAdminClient(conn)
}

func (e *ensemble) watch(n int, req *adminpb.WatchSessionsRequest) *watching {
	e.t.Helper()
	ctx, cancel := context.WithCancel(e.t.Context())
	w := &watching{mirror: mirror.New(), resumed: req.GetResume() != nil, t: e.t, cancel: cancel, done: make(chan struct{}), sessions: map[uint64]*adminpb.Session{},
		nodes: map[string]*adminpb.Ephemeral{}, states: map[uint64][]adminpb.SessionState{}}
	stream, err := e.api(n).WatchSessions(ctx, req)
	check(e.t, err)
	go func() {
		defer close(w.done)
		for {
			u, err := stream.Recv()
			w.mu.Lock()
			if err != nil {
				w.err = err
				w.mu.Unlock()
				return
			}
			w.take(u)
			w.mu.Unlock()
		}
	}()
	e.t.Cleanup(w.close)
	return w
}

func (w *watching) close() {
	w.cancel()
	<-w.done
}

func (w *watching) take(u *adminpb.SessionsUpdate) {
	if mu, err := stream.Update(u); err != nil {
		w.t.Errorf("the operator can't read %v: %v", u, err)
	} else if _, err := w.mirror.Apply(mu, time.Now()); err != nil && !w.resumed {
		w.t.Errorf("the operator refuses what it is told: %v", err)
	}
	if u.GetPosition() != nil {
		w.pos = u.GetPosition()
	}
	session := func(s *adminpb.Session) {
		w.sessions[s.GetId()] = s
		if l := w.states[s.GetId()]; len(l) == 0 || l[len(l)-1] != s.GetState() {
			w.states[s.GetId()] = append(l, s.GetState())
		}
	}
	if s := u.GetSnapshot(); s != nil {
		if s.GetFirst() {
			w.snapshots++
			clear(w.sessions)
			clear(w.nodes)
		}
		for _, s := range s.GetSessions() {
			session(s)
		}
		for _, e := range s.GetEphemerals() {
			w.nodes[e.GetPath()] = e
		}
	}
	for _, c := range u.GetChanges().GetChanges() {
		switch {
		case c.GetSession() != nil:
			session(c.GetSession())
		case c.GetEnd() != nil:
			w.ends = append(w.ends, c.GetEnd())
			delete(w.sessions, c.GetEnd().GetSession().GetId())
		case c.GetEphemeral() != nil:
			w.nodes[c.GetEphemeral().GetPath()] = c.GetEphemeral()
		case c.GetGone() != nil:
			delete(w.nodes, c.GetGone().GetPath())
		}
	}
	if h := u.GetHeartbeat(); h != nil {
		w.beat = h
	}
}

// until waits until cond holds of what was told.
func (w *watching) until(what string, cond func() bool) {
	w.t.Helper()
	eventually(w.t, what, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return cond()
	})
}

// ended waits for the stream's end.
func (w *watching) ended() error {
	w.t.Helper()
	select {
	case <-w.done:
	case <-time.After(patience):
		w.t.Fatal("the stream does not end")
	}
	return w.err
}

func (w *watching) untilState(c *client, want adminpb.SessionState, member uint64) {
	w.t.Helper()
	w.until(fmt.Sprintf("session %#x is not %v", c.session, want), func() bool {
		s := w.sessions[uint64(c.session)]
		return s.GetState() == want && s.GetMemberId() == member
	})
}

const (
	notConnected = adminpb.SessionState_SESSION_STATE_NOT_CONNECTED
	connecting   = adminpb.SessionState_SESSION_STATE_CONNECTING
	connected    = adminpb.SessionState_SESSION_STATE_CONNECTED
)

func TestSessionsAreWatched(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.startAll()
	first := e.leader()
	follower := first%3 + 1
	early := e.connect(follower, 60*time.Second, nil)
	early.mustCreate("/locks", jute.ModePersistent)
	early.mustCreate("/locks/a-", jute.ModeEphemeralSequential)

	req := &adminpb.WatchSessionsRequest{DataPatterns: []string{"/locks/*"}, MaxDataBytes: 5, AtRisk: 20}
	w := e.watch(first, req)
	w.untilState(early, connected, e.id(follower))
	w.until("its lock is not told", func() bool {
		n := w.nodes["/locks/a-0000000000"]
		return n.GetSessionId() == uint64(early.session) && n.GetCzxid() != 0 && n.GetCreatedMs() != 0
	})

	// A new session, its nodes, and their data as far as it is wanted.
	late := e.connect(first, 60*time.Second, nil)
	late.mustCreate("/locks/b", jute.ModeEphemeral)
	late.mustCreate("/plain", jute.ModeEphemeral)
	if code := late.set("/locks/b", "its holder"); code != jute.OK {
		t.Fatal(code)
	}
	if code := late.set("/plain", "secret"); code != jute.OK {
		t.Fatal(code)
	}
	w.untilState(late, connected, e.id(first))
	w.until("data is not told", func() bool {
		b, p := w.nodes["/locks/b"], w.nodes["/plain"]
		return string(b.GetData()) == "its h" && b.GetDataLength() == 10 && p.GetData() == nil && p.GetDataLength() == 6
	})
	w.until("the ranking", func() bool {
		h := w.beat
		return h.GetQuorum() && h.GetSettled() && len(h.GetAtRisk()) == 2 && h.GetTotals().GetConnected() == 2 && h.GetTotals().GetEphemerals() == 3
	})

	// It loses its connection, and comes back through another member.
	late.nc.Close()
	w.untilState(late, connecting, e.id(first))
	w.until("it is not most at risk", func() bool {
		l := w.beat.GetAtRisk()
		return len(l) == 2 && l[0].GetId() == uint64(late.session) && l[0].GetEphemerals() == 2
	})
	late = e.connect(follower, 60*time.Second, late)
	w.untilState(late, connected, e.id(follower))

	// A follower refuses, and says who leads.
	_, err := e.watch(follower, req).streamError()
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), fmt.Sprintf("server.%d", first)) {
		t.Errorf("a follower: %v", err)
	}

	// A break: the stream goes on where it was.
	w.mu.Lock()
	pos := w.pos
	w.mu.Unlock()
	w.close()
	late.mustCreate("/between", jute.ModeEphemeral)
	again := e.watch(first, &adminpb.WatchSessionsRequest{Resume: pos})
	again.until("what happened meanwhile is not told", func() bool { return again.nodes["/between"] != nil })
	if again.snapshots != 0 {
		t.Errorf("%d snapshots for one who was away for a moment", again.snapshots)
	}

	// The end: one is closed by its client, one expires.
	short := e.connect(follower, 2*time.Second, nil)
	short.mustCreate("/locks/c", jute.ModeEphemeral)
	again.untilState(short, connected, e.id(follower))
	short.nc.Close()
	again.until("it is not told that it has expired", func() bool {
		return slices.ContainsFunc(again.ends, func(end *adminpb.SessionEnd) bool {
			return end.GetSession().GetId() == uint64(short.session) && end.GetExpired() && slices.Equal(end.GetPaths(), []string{"/locks/c"})
		})
	})
	if got := again.states[uint64(short.session)]; !slices.Equal(got, []adminpb.SessionState{connected, connecting}) {
		t.Errorf("an expired session was %v", got)
	}
	early.do(jute.OpCloseSession, nil)
	again.until("it is not told that it was closed", func() bool {
		return slices.ContainsFunc(again.ends, func(end *adminpb.SessionEnd) bool {
			return end.GetSession().GetId() == uint64(early.session) && !end.GetExpired() && end.GetSession().GetEphemerals() == 1
		})
	})
	st, err := e.api(first).Status(e.order(), &adminpb.StatusRequest{})
	if err != nil || st.GetSessions().GetExpired() != 1 || st.GetSessions().GetClosed() != 1 || st.GetSessions().GetConnected() != 1 {
		t.Errorf("%v, %v", st.GetSessions(), err)
	}

	// The leader is another one: who is connected stays connected.
	late.mustCreate("/late", jute.ModeEphemeral)
	target := 6 - first - follower
	if _, err := e.source(first).TransferLeadership(e.order(), e.id(target)); err != nil {
		t.Fatal(err)
	}
	if err := again.ended(); status.Code(err) != codes.FailedPrecondition && status.Code(err) != codes.Unavailable {
		t.Errorf("the stream of a leader that was: %v", err)
	}
	var next *watching
	eventually(t, "no stream from the new leader", func() bool {
		next = e.watch(e.leader(), &adminpb.WatchSessionsRequest{Resume: pos})
		var ok bool
		eventually(t, "neither a snapshot nor an error", func() bool {
			next.mu.Lock()
			defer next.mu.Unlock()
			ok = next.snapshots == 1 && next.pos != nil
			return ok || next.err != nil
		})
		return ok
	})
	next.untilState(late, connected, e.id(follower))
	if got := next.states[uint64(late.session)]; len(got) != 1 {
		t.Errorf("after a change of leader the session was %v", got)
	}
	if next.nodes["/late"].GetSessionId() != uint64(late.session) {
		t.Error("its node is not told")
	}
	e.sameState()
}

// streamError waits for the stream's end.
func (w *watching) streamError() (*watching, error) { return w, w.ended() }

func TestSessionsAfterARestartOfAllMembers(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.startAll()
	back, away := e.connect(1, 60*time.Second, nil), e.connect(2, 60*time.Second, nil)
	away.mustCreate("/held", jute.ModeEphemeral)
	for n := range 3 {
		e.stop(n + 1)
	}
	e.startAll()
	w := e.watch(e.leader(), &adminpb.WatchSessionsRequest{AtRisk: 20})
	w.until("not all sessions are NOT_CONNECTED", func() bool {
		return w.beat.GetTotals().GetNotConnected() == 2 && w.sessions[uint64(back.session)].GetState() == notConnected
	})
	back = e.connect(3, 60*time.Second, back)
	w.untilState(back, connected, e.id(3))
	w.until("totals", func() bool {
		return w.beat.GetTotals().GetNotConnected() == 1 && w.beat.GetTotals().GetConnected() == 1
	})
	// A change of leader neither ends nor causes that state.
	lead := e.leader()
	if _, err := e.source(lead).TransferLeadership(e.order(), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new leader shows it otherwise", func() bool {
		st := e.source(e.leader()).Status().Sessions
		return st.Known && st.NotConnected == 1 && st.Connected == 1
	})
}

// Without a majority nothing is told as the present.
func TestSessionsWithoutAQuorum(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.startAll()
	lead := e.leader()
	e.connect(lead, 60*time.Second, nil)
	w := e.watch(lead, &adminpb.WatchSessionsRequest{})
	w.until("no heartbeat", func() bool { return w.beat.GetQuorum() && w.snapshots == 1 })
	for n := range 3 {
		if n+1 != lead {
			e.members[n].transport.Close() // it dies without a word
		}
	}
	// Either it notices first that nobody answers, or that it leads no more.
	eventually(t, "the stream goes on as if nothing had happened", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.err != nil || !w.beat.GetQuorum()
	})
	if err := w.ended(); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "does not lead") {
		t.Errorf("the end: %v", err)
	}
}

func TestBadWatchRequests(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 1, "")
	e.startAll()
	for _, req := range []*adminpb.WatchSessionsRequest{
		{MaxDataBytes: mostMaxData + 1}, {MaxDataBytes: -1}, {AtRisk: mostAtRisk + 1}, {DataPatterns: []string{"locks"}},
		{DataPatterns: slices.Repeat([]string{"/a"}, mostPatterns+1)}, {DataPatterns: []string{"/" + strings.Repeat("a", longestPattern)}},
	} {
		if err := e.watch(1, req).ended(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v", err)
		}
	}
}

func TestMatchPath(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"/a/b", "/a/b", true}, {"/a/b", "/a/bc", false}, {"/a/b", "/a", false}, {"/a", "/a/b", false},
		{"/a/*", "/a/b", true}, {"/a/*", "/a", false}, {"/a/*", "/a/b/c", false}, {"/*/b", "/a/b", true},
		{"/a/l-*", "/a/l-7", true}, {"/a/*-lock-*", "/a/x-lock-7", true}, {"/a/*-lock-*", "/a/x-lok-7", false}, {"/a/*x", "/a/xx", true}, {"/a/x*x", "/a/x", false},
		{"/a/**", "/a/b", true}, {"/a/**", "/a/b/c/d", true}, {"/a/**", "/a", false}, {"/**", "/a", true}, {"/a/**/c", "/a/b/c", true}, {"/a/**/c", "/a/b/d/c", false},
	} {
		if got := matchPath(c.pattern, c.path); got != c.want {
			t.Errorf("%s matches %s: %t", c.pattern, c.path, got)
		}
	}
}

// A hundred thousand sessions and ten thousand ephemerals are a table like any
// other, and a change among them is told as fast.
func TestManySessionsAreWatched(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	e := newEnsemble(t, 1, "")
	e.startAll()
	const sessions, nodes, elsewhere = 100_000, 10_000, 77
	n := e.members[0].node.Load()
	var ops []byte
	flush := func() {
		n.ProposeAsLeader(ops)
		ops = nil
	}
	for i := range sessions {
		op := statemachine.MemberOp{Member: elsewhere, Boot: 1, Seq: uint64(i + 1)}
		ops = statemachine.AppendCreateSession(ops, op, int64(i+1), [16]byte{}, 60_000, "10.1.2.3:45678", "10.1.2.3")
		if i%1000 == 999 {
			flush()
		}
	}
	for i := range nodes {
		req := jute.CreateRequest{Path: fmt.Sprintf("/worker-%05d", i), ACL: open, Mode: jute.ModeEphemeral, Data: []byte("holder")}
		ops = statemachine.AppendSessionOp(ops, statemachine.SessionOp{Session: int64(i + 1), Epoch: 1, Seq: 1, Op: jute.OpCreate}, req.Append(nil, jute.OpCreate))
		if i%1000 == 999 {
			flush()
		}
	}
	eventually(t, "not all of them are there", func() bool {
		st := e.source(1).Status()
		return st.Sessions.Total == sessions && st.Ephemerals == nodes
	})
	began := time.Now()
	w := e.watch(1, &adminpb.WatchSessionsRequest{DataPatterns: []string{"/worker-*"}, AtRisk: 20})
	w.until("not all of them are told", func() bool {
		return len(w.sessions) == sessions && len(w.nodes) == nodes && len(w.beat.GetAtRisk()) == 20 && w.beat.GetTotals().GetConnecting() == sessions
	})
	t.Logf("told after %v", time.Since(began))
	c := e.connect(1, 60*time.Second, nil)
	began = time.Now()
	c.mustCreate("/worker-new", jute.ModeEphemeral)
	w.until("a new one is not told", func() bool { return w.nodes["/worker-new"] != nil })
	t.Logf("a new one after %v", time.Since(began))
	w.untilState(c, connected, e.id(1))
}
