//go:build envtest

package projector

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/ensemble"
	"github.com/conclave-dev/conclave/internal/pace"
	"github.com/conclave-dev/conclave/internal/projection/leases"
	"github.com/conclave-dev/conclave/internal/projection/summary"
	"github.com/conclave-dev/conclave/test/api/apiserver"
)

var server *apiserver.Server

func TestMain(m *testing.M) { apiserver.Main(m, &server) }

// leader is members of whom one leads, and what it knows. Every stream begins with
// all of it, and goes on with changes.
type leader struct {
	mu       sync.Mutex
	pod      string
	zxid     int64
	quorum   bool
	sessions map[uint64]*adminpb.Session
	nodes    map[string]*adminpb.Ephemeral
	expired  int64
	streams  map[chan *adminpb.SessionsUpdate]bool
}

func newLeader() *leader {
	return &leader{pod: "zoo-0", zxid: 0x100, quorum: true, sessions: map[uint64]*adminpb.Session{}, nodes: map[string]*adminpb.Ephemeral{},
		streams: map[chan *adminpb.SessionsUpdate]bool{}}
}

func (l *leader) At(e ensemble.Endpoint) (adminpb.AdminClient, error) {
	return &member{leader: l, pod: e.Pod}, nil
}
func (l *leader) Keep([]ensemble.Endpoint) {}

type member struct {
	adminpb.AdminClient
	leader *leader
	pod    string
}

type feed struct {
	grpc.ClientStream
	ctx context.Context
	ch  chan *adminpb.SessionsUpdate
	l   *leader
}

func (f *feed) Recv() (*adminpb.SessionsUpdate, error) {
	beat := time.NewTimer(300 * time.Millisecond)
	defer beat.Stop()
	select {
	case <-f.ctx.Done():
		return nil, f.ctx.Err()
	case u, ok := <-f.ch:
		if !ok {
			return nil, io.EOF
		}
		return u, nil
	case <-beat.C:
		f.l.mu.Lock()
		defer f.l.mu.Unlock()
		return f.l.update(&adminpb.SessionsUpdate{Body: &adminpb.SessionsUpdate_Heartbeat{Heartbeat: &adminpb.SessionsHeartbeat{
			Quorum: f.l.quorum, Settled: true, Totals: &adminpb.SessionTotals{Expired: f.l.expired}}}}), nil
	}
}

func (l *leader) update(u *adminpb.SessionsUpdate) *adminpb.SessionsUpdate {
	u.Position, u.Zxid = &adminpb.SessionsPosition{Reign: 1, Sequence: uint64(l.zxid)}, l.zxid
	return u
}

func (m *member) WatchSessions(ctx context.Context, _ *adminpb.WatchSessionsRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[adminpb.SessionsUpdate], error) {
	l := m.leader
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pod != m.pod {
		return nil, ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_NOT_LEADER, "it is %s", l.pod)
	}
	ch := make(chan *adminpb.SessionsUpdate, 64)
	s := &adminpb.SessionsSnapshot{First: true, Last: true}
	for _, x := range l.sessions {
		s.Sessions = append(s.Sessions, x)
	}
	for _, x := range l.nodes {
		s.Ephemerals = append(s.Ephemerals, x)
	}
	ch <- l.update(&adminpb.SessionsUpdate{Body: &adminpb.SessionsUpdate_Snapshot{Snapshot: s}})
	l.streams[ch] = true
	return &feed{ctx: ctx, ch: ch, l: l}, nil
}

func (l *leader) say(changes ...*adminpb.SessionsChange) {
	for ch := range l.streams {
		ch <- l.update(&adminpb.SessionsUpdate{Body: &adminpb.SessionsUpdate_Changes{Changes: &adminpb.SessionsChanges{Changes: changes}}})
	}
}

// connect makes a session of a client at an address.
func (l *leader) connect(id uint64, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.zxid++
	s := &adminpb.Session{Id: id, State: adminpb.SessionState_SESSION_STATE_CONNECTED, MemberId: 7, Client: address, TimeoutMs: 10000}
	l.sessions[id] = s
	l.say(&adminpb.SessionsChange{Change: &adminpb.SessionsChange_Session{Session: s}})
}

// create makes an ephemeral node.
func (l *leader) create(path string, session uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.zxid++
	e := &adminpb.Ephemeral{Path: path, SessionId: session, Czxid: l.zxid, Mzxid: l.zxid, CreatedMs: time.Now().UnixMilli()}
	l.nodes[path] = e
	l.say(&adminpb.SessionsChange{Change: &adminpb.SessionsChange_Ephemeral{Ephemeral: e}})
}

// expire ends a session, and its nodes with it.
func (l *leader) expire(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.zxid++
	l.expired++
	var changes []*adminpb.SessionsChange
	end := &adminpb.SessionEnd{Session: l.sessions[id], Expired: true, Zxid: l.zxid}
	for path, e := range l.nodes {
		if e.SessionId == id {
			delete(l.nodes, path)
			end.Paths = append(end.Paths, path)
			changes = append(changes, &adminpb.SessionsChange{Change: &adminpb.SessionsChange_Gone{Gone: &adminpb.EphemeralGone{Path: path, Czxid: e.Czxid, Zxid: l.zxid}}})
		}
	}
	delete(l.sessions, id)
	l.say(append(changes, &adminpb.SessionsChange{Change: &adminpb.SessionsChange_End{End: end}})...)
}

// move makes another member the leader.
func (l *leader) move(pod string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pod = pod
	for ch := range l.streams {
		close(ch)
		delete(l.streams, ch)
	}
}

func (l *leader) lose(quorum bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.quorum = !quorum
}

// told keeps Events.
type told struct {
	mu   sync.Mutex
	list []string
}

func (e *told) Eventf(regarding, _ runtime.Object, kind, reason, action, note string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	o := regarding.(client.Object)
	e.list = append(e.list, fmt.Sprintf("%T %s: %s %s %s: %s", o, o.GetName(), kind, reason, action, fmt.Sprintf(note, args...)))
}

func (e *told) all() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.list, "\n")
}

// stage is a projector with a cache of its own, a cluster and its members.
type stage struct {
	t       *testing.T
	api     client.Client
	p       *Projector
	l       *leader
	events  *told
	cluster *v1alpha1.CoordinationCluster
	key     client.ObjectKey
}

func newStage(t *testing.T, rules ...v1alpha1.LeaseRule) *stage {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, coordinationv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	api, err := client.New(server.Config, client.Options{Scheme: s})
	if err != nil {
		t.Fatal(err)
	}
	g := &stage{t: t, api: api, l: newLeader(), events: &told{}}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "projector-"}}
	g.must(api.Create(t.Context(), ns))
	g.key = client.ObjectKey{Namespace: ns.Name, Name: "zoo"}
	g.cluster = &v1alpha1.CoordinationCluster{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "zoo"}}
	g.cluster.Spec.Leases = &v1alpha1.LeasesSpec{DurationSeconds: 15, Rules: rules}
	v1alpha1.SetDefaults(g.cluster)
	g.must(api.Create(t.Context(), g.cluster))
	g.cluster.Status.ClusterID = "abc"

	of, err := labels.Parse(v1alpha1.LabelCluster)
	g.must(err)
	c, err := cache.New(server.Config, cache.Options{Scheme: s, ByObject: map[client.Object]cache.ByObject{
		&corev1.Pod{}: {Transform: Slim}, &coordinationv1.Lease{}: {Label: of}}})
	g.must(err)
	g.must(c.IndexField(t.Context(), &corev1.Pod{}, IndexPodIP, PodIPs))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() {
		if err := c.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	g.p = New(Options{Client: api, Reader: api, Cache: c, Recorder: g.events, Pod: PodsBy(c), Now: time.Now, Limits: leases.DefaultLimits, Turns: pace.New(pace.PerSecond)})
	wg.Go(func() {
		if err := g.p.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	g.follow()
	return g
}

func (g *stage) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// follow is a pass of the reconciler. It knows nothing of who leads.
func (g *stage) follow() {
	t := Target{Cluster: g.cluster.DeepCopy(), API: g.l}
	for i := range 3 {
		t.Members = append(t.Members, Member{Endpoint: ensemble.Endpoint{Pod: fmt.Sprint("zoo-", i), Address: "10.0.0.1:2890"}, ID: uint64(7 + i)})
	}
	g.p.Follow(t)
}

// within waits for something to be so.
func (g *stage) within(what string, so func() bool) {
	g.t.Helper()
	for end := time.Now().Add(time.Minute); !so(); {
		if time.Now().After(end) {
			v, _ := g.p.View(g.key)
			g.t.Fatalf("not so within a minute: %s\nview: %+v\nevents:\n%s", what, v, g.events.all())
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (g *stage) lease(name string) *coordinationv1.Lease {
	g.t.Helper()
	l := &coordinationv1.Lease{}
	if err := g.api.Get(g.t.Context(), client.ObjectKey{Namespace: g.key.Namespace, Name: name}, l); err != nil {
		if !apierrors.IsNotFound(err) {
			g.t.Fatal(err)
		}
		return nil
	}
	return l
}

func (g *stage) held(name, holder string) bool {
	l := g.lease(name)
	return l != nil && ptr.Deref(l.Spec.HolderIdentity, "-") == holder
}

func (g *stage) synced(reason string) bool {
	v, ok := g.p.View(g.key)
	return ok && v.LeasesSynced.Reason == reason
}

var (
	elections = v1alpha1.LeaseRule{Name: "elections", Kind: v1alpha1.LeaseElection, Path: "/elections/{who}", LeaseName: "e-{who}"}
	locks     = v1alpha1.LeaseRule{Name: "locks", Kind: v1alpha1.LeaseNode, Path: "/locks/{what}", LeaseName: "l-{what}"}
)

// A Lease appears with its first holder, is handed over to the next with a token
// that rises, and is nobody's once all are gone; the leader may change meanwhile.
func TestHandOver(t *testing.T) {
	g := newStage(t, elections)
	g.l.connect(1, "10.9.0.1:1000")
	g.l.connect(2, "10.9.0.2:1000")
	g.l.create("/elections/shop/n-0000000001", 1)
	g.l.create("/elections/shop/n-0000000002", 2)
	g.within("the first holds", func() bool { return g.held("e-shop", "0x1") })
	first := g.lease("e-shop")
	if first.Labels[v1alpha1.LabelCluster] != "zoo" || first.Labels[v1alpha1.LabelRule] != "elections" || !metav1.IsControlledBy(first, g.cluster) || *first.Spec.LeaseTransitions != 0 {
		t.Errorf("%+v", first)
	}
	g.within("it is synced", func() bool { return g.synced(v1alpha1.ReasonSynced) })
	v, _ := g.p.View(g.key)
	if v.Sessions.Connected != 2 || v.Sessions.Ephemerals != 2 || len(v.Sessions.AtRisk) != 2 || v.Sessions.AtRisk[0].Member != "zoo-0" || v.Leases.Mirrored != 1 || v.SessionsSynced.Reason != v1alpha1.ReasonSynced {
		t.Errorf("%+v", v)
	}
	g.l.move("zoo-2")
	g.l.expire(1)
	g.within("the second holds", func() bool { return g.held("e-shop", "0x2") })
	second := g.lease("e-shop")
	if second.UID != first.UID || *second.Spec.LeaseTransitions != 1 || second.Annotations[leases.AnnotationFencingToken] <= first.Annotations[leases.AnnotationFencingToken] {
		t.Errorf("%+v\nafter %+v", second, first)
	}
	g.within("a second stream runs", func() bool { g.l.mu.Lock(); defer g.l.mu.Unlock(); return len(g.l.streams) > 0 })
	g.l.expire(2)
	g.within("nobody holds", func() bool { return g.held("e-shop", "") })
	if l := g.lease("e-shop"); l.Annotations[v1alpha1.AnnotationSession] != "" || *l.Spec.LeaseDurationSeconds != 1 {
		t.Errorf("%+v", l)
	}
}

// Without a quorum holders stay and nothing is renewed; with it, renewals go on.
func TestFrozen(t *testing.T) {
	g := newStage(t, locks)
	g.l.connect(1, "10.9.0.1:1000")
	g.l.create("/locks/a", 1)
	g.within("it is there", func() bool { return g.held("l-a", "0x1") })
	g.l.lose(true)
	g.within("it is said", func() bool {
		v, _ := g.p.View(g.key)
		return g.synced(v1alpha1.ReasonFrozen) && v.SessionsSynced.Reason == v1alpha1.ReasonFrozen
	})
	was := g.lease("l-a")
	// Longer than any renewal would wait for: that is seen of a Lease that is edited
	// and not restored either.
	g.l.create("/locks/b", 1)
	until := time.Now().Add(7 * time.Second)
	g.within("time passes", func() bool { return time.Now().After(until) })
	if is := g.lease("l-a"); is.ResourceVersion != was.ResourceVersion || g.lease("l-b") != nil {
		t.Errorf("written without a quorum: %+v", is.Spec)
	}
	g.l.lose(false)
	g.within("it goes on", func() bool {
		return g.held("l-b", "0x1") && g.lease("l-a").Spec.RenewTime.After(was.Spec.RenewTime.Time) && g.held("l-a", "0x1")
	})
}

// What is not ours is left alone and told; it is ours to make once it is gone.
func TestConflict(t *testing.T) {
	g := newStage(t, locks)
	theirs := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: g.key.Namespace, Name: "l-a"}}
	theirs.Spec.HolderIdentity = ptr.To("somebody")
	g.must(g.api.Create(t.Context(), theirs))
	g.l.connect(1, "10.9.0.1:1000")
	g.l.create("/locks/a", 1)
	g.l.create("/locks/b", 1)
	g.within("it is told", func() bool { return g.synced(v1alpha1.ReasonNameConflict) })
	g.within("the other is there", func() bool { return g.held("l-b", "0x1") })
	if l := g.lease("l-a"); l.ResourceVersion != theirs.ResourceVersion || len(l.ManagedFields) != 1 {
		t.Errorf("it was touched: %+v", l)
	}
}

// Edits and deletions by hand are undone; what no rule matches any more goes, and
// nothing else does.
func TestHands(t *testing.T) {
	g := newStage(t, locks, elections)
	other := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: g.key.Namespace, Name: "other", Labels: map[string]string{v1alpha1.LabelCluster: "zoo"}}}
	g.must(g.api.Create(t.Context(), other))
	g.l.connect(1, "10.9.0.1:1000")
	g.l.create("/locks/a", 1)
	g.l.create("/elections/shop/n-0000000001", 1)
	g.within("both are there", func() bool { return g.held("l-a", "0x1") && g.held("e-shop", "0x1") })

	was := g.lease("l-a")
	edited := was.DeepCopy()
	edited.Spec.HolderIdentity, edited.Labels[v1alpha1.LabelRule], edited.Annotations["theirs"] = ptr.To("me"), "mine", "kept"
	delete(edited.Annotations, v1alpha1.AnnotationCzxid)
	g.must(g.api.Update(t.Context(), edited))
	g.within("the edit is undone", func() bool {
		l := g.lease("l-a")
		return *l.Spec.HolderIdentity == "0x1" && l.Labels[v1alpha1.LabelRule] == "locks" && l.Annotations[v1alpha1.AnnotationCzxid] != "" && l.Annotations["theirs"] == "kept"
	})
	g.must(g.api.Delete(t.Context(), was))
	g.within("it is made again", func() bool { l := g.lease("l-a"); return l != nil && l.UID != was.UID && g.held("l-a", "0x1") })
	bare := g.lease("l-a")
	bare.Labels = nil
	g.must(g.api.Update(t.Context(), bare))
	g.within("its labels are restored", func() bool { return g.lease("l-a").Labels[v1alpha1.LabelCluster] == "zoo" })

	g.cluster.Spec.Leases.Rules = []v1alpha1.LeaseRule{elections}
	g.cluster.Generation++
	g.follow()
	g.within("what no rule matches is gone", func() bool { return g.lease("l-a") == nil })
	if g.lease("other") == nil || !g.held("e-shop", "0x1") {
		t.Error("something else is gone")
	}
	g.p.Forget(g.key)
	if _, ok := g.p.View(g.key); ok {
		t.Error("there is a view of what is forgotten")
	}
}

// A session's expiry is told on the cluster and on the pod of its client.
func TestEvents(t *testing.T) {
	g := newStage(t, locks)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: g.key.Namespace, Name: "cart-0"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	g.must(g.api.Create(t.Context(), pod))
	pod.Status.PodIP, pod.Status.PodIPs = "10.77.1.2", []corev1.PodIP{{IP: "10.77.1.2"}}
	g.must(g.api.Status().Update(t.Context(), pod))
	g.within("the pod is known", func() bool {
		p, ok := g.p.o.Pod(netip.MustParseAddr("10.77.1.2"))
		return ok && p.Pod == (summary.Pod{Namespace: pod.Namespace, Name: "cart-0", UID: string(pod.UID)})
	})
	g.l.connect(0x1f, "10.77.1.2:4000")
	g.l.create("/locks/a", 0x1f)
	g.within("it is there", func() bool { return g.held("l-a", "0x1f") })
	g.l.expire(0x1f)
	g.within("it is told", func() bool { return strings.Count(g.events.all(), "/locks/a") == 2 })
	if all := g.events.all(); !strings.Contains(all, "*v1alpha1.CoordinationCluster zoo: Warning SessionExpired Expire 0x1f: Session 0x1f of pod ") || !strings.Contains(all, "*v1.Pod cart-0: Warning SessionExpired") {
		t.Error(all)
	}
	g.within("the Lease is gone", func() bool { return g.lease("l-a") == nil })
}
