package projector

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/pace"
	"github.com/conclave-dev/conclave/internal/projection/crd"
	"github.com/conclave-dev/conclave/internal/projection/leases"
	"github.com/conclave-dev/conclave/internal/projection/mirror"
	"github.com/conclave-dev/conclave/internal/projection/summary"
	"github.com/conclave-dev/conclave/internal/resources"
)

const (
	// queued messages of a stream wait at most.
	queued = 16
	// flying writes are under way at a time, for each cluster.
	flying = 16
	// checks is how many Leases are looked up at a time.
	checks = 4
	// beat is how often a follower looks around if nothing happens.
	beat = 500 * time.Millisecond
	// looks is the least time between two looks at what status is to say.
	looks = 200 * time.Millisecond
	// counts is the same for Leases, all of which are counted.
	counts = time.Second
)

// follower is one cluster's. But for what mu guards, all of it is run's.
type follower struct {
	p         *Projector
	key       client.ObjectKey
	uid       types.UID
	clusterID string
	ctx       context.Context
	stop      context.CancelFunc

	// poke wakes run.
	poke chan struct{}

	mu     sync.Mutex
	target Target
	// noticed is what happened last to each Lease, by name.
	noticed map[string]notice
	view    View
	hasView bool

	mirror  *mirror.Mirror
	planner *leases.Planner
	// generation of the spec that was read last, invalid why it can't be carried out.
	generation int64
	invalid    error
	patterns   []string
	link       link
	outcomes   chan outcome
	inFlight   int
	// doubts are Leases that the cache shows no more, of which checking are looked
	// up: without its label it would look deleted.
	doubts   []*coordinationv1.Lease
	checked  chan check
	checking int

	gate    summary.Gate
	notices summary.Notices
	lookAt  time.Time
	leases  leases.Status
	counted time.Time
	// written is what the view says but for sessions and times, since viewedAt;
	// asleep: the reconciler is still to be woken.
	written  string
	viewedAt time.Time
	asleep   bool
	// turn is when to ask again whether the view may change; zero if it is not to.
	turn time.Time
}

type notice struct {
	lease *coordinationv1.Lease
	gone  bool
}

func newFollower(p *Projector, t Target) *follower {
	c := t.Cluster
	f := &follower{p: p, key: client.ObjectKeyFromObject(c), uid: c.UID, clusterID: c.Status.ClusterID, target: t,
		poke: make(chan struct{}, 1), noticed: make(map[string]notice), mirror: mirror.New(),
		link: link{messages: make(chan message, queued)}, outcomes: make(chan outcome, flying), checked: make(chan check, checks)}
	f.ctx, f.stop = context.WithCancel(p.ctx)
	yes := true
	f.planner = leases.NewPlanner(leases.Config{
		Cluster: c.Name, Namespace: c.Namespace, ClusterID: c.Status.ClusterID, Labels: resources.Labels(c), Budget: p.budget,
		Owner: metav1.OwnerReference{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: v1alpha1.Kind.Kind, Name: c.Name, UID: c.UID, Controller: &yes},
		PodOf: f.podOf,
	})
	return f
}

func (f *follower) retarget(t Target) {
	f.mu.Lock()
	f.target = t
	f.mu.Unlock()
	f.wake()
}

func (f *follower) notice(l *coordinationv1.Lease, gone bool) {
	f.mu.Lock()
	f.noticed[l.Name] = notice{l, gone}
	f.mu.Unlock()
	f.wake()
}

func (f *follower) wake() {
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

func (f *follower) run() {
	defer f.stop()
	defer func() { f.planner.Close(f.p.o.Now()) }()
	defer func() {
		f.p.o.Turns.Leave(f.writer())
		f.p.events.Leave(f.writer())
	}()
	select {
	case <-f.p.ready:
	case <-f.ctx.Done():
		return
	}
	if err := f.begin(); err != nil {
		log.Log.Error(err, "Leases can't be read", "cluster", f.key)
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case m := <-f.link.messages:
			f.take(m)
		case o := <-f.outcomes:
			f.landed(o)
		case c := <-f.checked:
			f.know(c)
		case <-f.poke:
		case <-timer.C:
		}
		timer.Reset(f.step())
	}
}

// begin reads what exists.
func (f *follower) begin() error {
	f.settle(f.targeted())
	var list coordinationv1.LeaseList
	if err := f.p.o.Cache.List(f.ctx, &list, client.InNamespace(f.key.Namespace), client.MatchingLabels{v1alpha1.LabelCluster: f.key.Name}); err != nil {
		return err
	}
	now := f.p.o.Now()
	for i := range list.Items {
		f.planner.Observe(&list.Items[i], now)
	}
	f.planner.Synced()
	return nil
}

func (f *follower) targeted() Target {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.target
}

// settle takes in another spec.
func (f *follower) settle(t Target) {
	if t.Cluster.Generation == f.generation {
		return
	}
	f.generation = t.Cluster.Generation
	s, err := crd.Settings(t.Cluster.Spec.Leases)
	if f.invalid = err; err != nil {
		return // what was wanted before goes on
	}
	f.planner.Settings(s, f.mirror, f.p.o.Now())
	f.counted = time.Time{}
	if patterns := s.Rules.DataPatterns(); !slices.Equal(patterns, f.patterns) {
		f.patterns = patterns
		f.link.anew = true
		f.hangUp()
	}
}

// step does what is to be done now, and returns how long to wait at most.
func (f *follower) step() time.Duration {
	t, now := f.targeted(), f.p.o.Now()
	f.settle(t)
	f.observe(now)
	f.mirror.NoQuorum(t.NoQuorum)
	f.connect(t, now)
	f.planner.Confirm(f.mirror.State(now), f.mirror.ConfirmedAt(), now)
	wait := beat
	writes, again := f.planner.Plan(now, flying-f.inFlight)
	f.send(writes)
	if !again.IsZero() && f.inFlight < flying {
		wait = min(wait, max(again.Sub(now), time.Millisecond))
	}
	if again := f.tell(now); !again.IsZero() {
		wait = min(wait, max(again.Sub(now), time.Millisecond))
	}
	if now.Sub(f.lookAt) >= looks || f.waits() && !now.Before(f.turn) {
		f.lookAt = now
		f.look(t, now)
	}
	if f.waits() {
		wait = min(wait, max(f.turn.Sub(now), time.Millisecond))
	}
	return wait
}

// observe takes in what has happened to Leases.
func (f *follower) observe(now time.Time) {
	var noticed map[string]notice
	f.mu.Lock()
	if len(f.noticed) > 0 {
		// The map is taken away as a whole: others go on filling the next one.
		noticed, f.noticed = f.noticed, make(map[string]notice)
	}
	f.mu.Unlock()
	for _, n := range noticed {
		if n.gone {
			f.doubts = append(f.doubts, n.lease)
		} else {
			f.planner.Observe(n.lease, now)
		}
	}
	for f.checking < checks && len(f.doubts) > 0 {
		f.checking++
		f.check(f.doubts[0])
		f.doubts[0] = nil
		f.doubts = f.doubts[1:]
	}
}

// look sees whether status is to say something else.
func (f *follower) look(t Target, now time.Time) {
	if now.Sub(f.counted) >= counts {
		f.counted = now
		f.leases = f.planner.Status(now)
	}
	members := make(map[uint64]string, len(t.Members))
	for _, m := range t.Members {
		members[m.ID] = m.Pod
	}
	s := summary.Take(f.mirror, summary.Names{
		Member: func(id uint64) string { return members[id] },
		Pod: func(a netip.Addr) (summary.Pod, bool) {
			p, ok := f.p.o.Pod(a)
			return p.Pod, ok
		},
	}, now)
	v := View{SessionsSynced: crd.SessionsSynced(s.State, s.Settled, f.mirror.Whole(), s.Observed), LeasesSynced: crd.LeasesSynced(f.leases)}
	switch {
	case f.link.unsupported:
		const why = "the members' version tells nothing of sessions"
		for _, c := range []*metav1.Condition{&v.SessionsSynced, &v.LeasesSynced} {
			c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonNotSupported, why
		}
	case f.invalid != nil:
		v.LeasesSynced.Status, v.LeasesSynced.Reason, v.LeasesSynced.Message = metav1.ConditionUnknown, v1alpha1.ReasonUnknown, f.invalid.Error()
	}
	// Before all was told once, what status said of it stays, and is said to be old.
	if f.mirror.Whole() {
		v.Sessions, v.Leases = crd.Sessions(s), crd.Leases(f.leases)
	}
	said := saying(v)
	due, _ := f.gate.Due(s, now)
	if f.hasView && !due && (said == f.written || now.Sub(f.viewedAt) < counts) {
		if f.waits() { // what was to be told is so no more
			f.p.o.Turns.Leave(f.writer())
			f.turn = time.Time{}
		}
		f.rouse()
		return
	}
	if !f.mayTell(v, said != f.written || !f.gate.Drifts(s), now) {
		return
	}
	f.gate.Wrote(s, now)
	f.written = said
	f.mu.Lock()
	f.view, f.hasView = v, true
	f.mu.Unlock()
	f.viewedAt = now
	f.asleep = true
	f.rouse()
}

// mayTell tells whether the view may change now. What is not fresh any more is not
// shown as fresh until there is a turn; everything else waits for its turn, and
// longer if it is not news. News that would wait for long take a write of those that
// Leases leave.
func (f *follower) mayTell(v View, news bool, now time.Time) (ok bool) {
	if was := f.view.SessionsSynced; f.hasView && was.Status == metav1.ConditionTrue && v.SessionsSynced.Status != was.Status {
		f.p.o.Turns.Pass(f.writer(), now)
		f.turn = time.Time{}
		return true
	}
	patience := pace.Calm
	if news || !f.hasView {
		patience = pace.Prompt
	}
	if ok, f.turn = f.p.o.Turns.Take(f.writer(), patience, now); ok {
		f.turn = time.Time{}
		return true
	}
	// With so many clusters that have news now, these would be old in its turn.
	if patience == pace.Prompt && f.turn.Sub(now) > pace.Prompt && f.p.budget.Borrow(now) {
		f.p.o.Turns.Leave(f.writer())
		f.turn, ok = time.Time{}, true
	}
	return ok
}

func (f *follower) writer() pace.Writer { return pace.Writer{Cluster: f.key, Part: "sessions"} }

// waits tells whether the view is to change as soon as it may.
func (f *follower) waits() bool { return !f.turn.IsZero() }

// saying is what a view says of Leases and in its conditions, but for when.
func saying(v View) string {
	var l v1alpha1.LeasesStatus
	if v.Leases != nil {
		l = *v.Leases
	}
	l.ObservedTime = nil
	return fmt.Sprintf("%v %v %v %v", v.SessionsSynced, v.LeasesSynced, v.Leases != nil, l)
}

// rouse wakes the reconciler, if it is still to be.
func (f *follower) rouse() {
	if !f.asleep {
		return
	}
	select {
	case f.p.wake <- event.GenericEvent{Object: f.reference()}:
		f.asleep = false
	default:
	}
}

func (f *follower) reference() *v1alpha1.CoordinationCluster {
	return &v1alpha1.CoordinationCluster{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: v1alpha1.Kind.Kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: f.key.Namespace, Name: f.key.Name, UID: f.uid},
	}
}

// podOf names the pod of a session's client.
func (f *follower) podOf(session uint64) (string, bool) {
	s, ok := f.mirror.Session(session, f.p.o.Now())
	if !ok || !s.Client.IsValid() {
		return "", false
	}
	p, ok := f.p.o.Pod(s.Client.Addr())
	return p.Namespace + "/" + p.Name, ok
}

// expired notes a session that has expired, with the pod of its client: that which
// has the address now, unless it is younger than what was heard last.
func (f *follower) expired(e mirror.End, now time.Time) {
	var pod Pod
	if e.Session.Client.IsValid() {
		if p, ok := f.p.o.Pod(e.Session.Client.Addr()); ok && !p.Created.After(now.Add(-e.Session.Silence)) {
			pod = p
		}
	}
	f.notices.Expired(e, pod.Pod, now)
}

// tell leaves Events, each in its turn among those of all clusters, and returns when
// to ask again, zero if nothing is left.
func (f *follower) tell(now time.Time) time.Time {
	for {
		due, again := f.notices.Due(now)
		if !due {
			return again
		}
		ok, again := f.p.events.Take(f.writer(), pace.Prompt, now)
		if !ok {
			return again
		}
		f.raise(f.notices.Next(now))
	}
}

func (f *follower) raise(e summary.Event) {
	if e.Pod == (summary.Pod{}) {
		f.p.o.Recorder.Eventf(f.reference(), nil, corev1.EventTypeWarning, e.Reason, e.Action, "%s", e.Note)
		return
	}
	pod := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Namespace: e.Pod.Namespace, Name: e.Pod.Name, UID: types.UID(e.Pod.UID)}}
	f.p.o.Recorder.Eventf(pod, f.reference(), corev1.EventTypeWarning, e.Reason, e.Action, "%s", e.Note)
}
