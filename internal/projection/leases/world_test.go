package leases

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/conclave-dev/conclave/internal/projection/mirror"
)

// world is an ensemble, an API server and an operator between them, in simulated
// time: everything happens in step, and nothing else makes time pass.
type world struct {
	t    *testing.T
	rand *rand.Rand
	now  time.Time

	// The ensemble.
	zxid    int64
	nodes   map[string]mirror.Ephemeral
	told    []mirror.Change
	quorum  bool
	beaten  time.Time
	pods    map[uint64]string
	nextSeq int

	// The API server: objects, and what their watchers have not seen yet.
	objects map[string]*coordinationv1.Lease
	version int
	uids    int
	watch   []event
	delay   time.Duration
	// faults: of how many writes one fails, with an outcome that nobody knows.
	faults int
	// foreign objects are other people's.
	foreign map[string]string

	// The operator; down is true while there is none, and cut while it has no
	// stream.
	down, cut bool
	mirror    *mirror.Mirror
	planner   *Planner
	budget    *Budget
	settings  Settings
	flying    []flight
	// latency of a write.
	latency time.Duration
	again   time.Time

	// issued is when writes were issued, by Why.
	issued map[string][]time.Time
	// onWrite looks at every change of an object.
	onWrite func(name string, l *coordinationv1.Lease)
}

type event struct {
	at      time.Time
	lease   *coordinationv1.Lease
	deleted bool
}

type flight struct {
	at time.Time
	w  Write
}

var owner = metav1.OwnerReference{APIVersion: "conclave.dev/v1alpha1", Kind: "CoordinationCluster", Name: "main", UID: "cluster-uid"}

func newWorld(t *testing.T, seed uint64, rules ...Rule) *world {
	t.Helper()
	rs, err := Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, rand: rand.New(rand.NewPCG(seed, 77)), now: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
		nodes: map[string]mirror.Ephemeral{}, quorum: true, objects: map[string]*coordinationv1.Lease{}, foreign: map[string]string{},
		settings: Settings{Rules: rs, Duration: time.Minute, Max: 1000}, budget: NewBudget(DefaultLimits), latency: 10 * time.Millisecond,
		delay: 20 * time.Millisecond, issued: map[string][]time.Time{}, pods: map[uint64]string{}, zxid: 0x100,
	}
	w.start()
	return w
}

// start starts an operator, which knows nothing but the settings.
func (w *world) start() {
	w.down, w.mirror, w.flying, w.watch = false, mirror.New(), nil, nil
	w.budget = NewBudget(DefaultLimits)
	w.planner = NewPlanner(Config{
		Cluster: "main", Namespace: "ns", ClusterID: "abc", Owner: owner, Budget: w.budget,
		Labels: map[string]string{"app.kubernetes.io/managed-by": "conclave-operator"},
		PodOf:  func(s uint64) (string, bool) { p, ok := w.pods[s]; return p, ok },
	})
	w.planner.Settings(w.settings, w.mirror, w.now)
	for _, name := range slices.Sorted(maps.Keys(w.objects)) {
		w.planner.Observe(w.objects[name], w.now)
	}
	w.planner.Synced()
	w.connect()
}

func (w *world) stop() {
	// What was under way may or may not come about.
	for _, f := range w.flying {
		if w.rand.IntN(2) == 0 {
			w.carryOut(f.w)
		}
	}
	w.down, w.flying = true, nil
}

// connect begins a stream with the whole.
func (w *world) connect() {
	w.cut, w.told = false, nil
	s := &mirror.Snapshot{First: true, Last: true}
	for _, path := range slices.Sorted(maps.Keys(w.nodes)) {
		s.Ephemerals = append(s.Ephemerals, w.nodes[path])
	}
	w.apply(&mirror.Update{Zxid: w.zxid, Snapshot: s})
}

func (w *world) cutOff() { w.cut = true; w.mirror.Broken() }

func (w *world) apply(u *mirror.Update) {
	w.t.Helper()
	d, err := w.mirror.Apply(u, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	w.planner.Apply(d, w.now)
}

// create makes a node; the zxid is a new one unless within is set.
func (w *world) create(path string, session uint64, data string) {
	w.zxid++
	w.createAt(path, session, data)
}

func (w *world) createAt(path string, session uint64, data string) {
	e := mirror.Ephemeral{Path: path, Session: session, Czxid: w.zxid, Mzxid: w.zxid, Created: w.now, Data: []byte(data), DataLength: len(data)}
	w.nodes[path] = e
	w.told = append(w.told, mirror.Change{Ephemeral: &e})
}

// candidate makes a sequential node and returns its path.
func (w *world) candidate(parent, prefix string, session uint64, data string) string {
	w.nextSeq++
	path := fmt.Sprintf("%s/%s%010d", parent, prefix, w.nextSeq)
	w.create(path, session, data)
	return path
}

func (w *world) setData(path, data string) {
	w.zxid++
	e := w.nodes[path]
	e.Mzxid, e.Data, e.DataLength = w.zxid, []byte(data), len(data)
	w.nodes[path] = e
	w.told = append(w.told, mirror.Change{Ephemeral: &e})
}

func (w *world) remove(paths ...string) {
	w.zxid++
	for _, path := range paths {
		e := w.nodes[path]
		delete(w.nodes, path)
		w.told = append(w.told, mirror.Change{Gone: &mirror.Gone{Path: path, Czxid: e.Czxid, Zxid: w.zxid}})
	}
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(5 * time.Millisecond) {
		w.tick()
	}
}

func (w *world) tick() {
	w.t.Helper()
	if !w.down && !w.cut {
		if len(w.told) > 0 && w.quorum {
			w.apply(&mirror.Update{Zxid: w.zxid, Changes: w.told})
			w.told = nil
		}
		if w.now.Sub(w.beaten) >= time.Second && w.mirror.Whole() {
			w.beaten = w.now
			w.apply(&mirror.Update{Zxid: w.mirror.Zxid(), Heartbeat: &mirror.Heartbeat{Quorum: w.quorum}})
		}
	}
	if w.down {
		return
	}
	for len(w.watch) > 0 && !w.watch[0].at.After(w.now) {
		ev := w.watch[0]
		w.watch = w.watch[1:]
		if ev.deleted {
			w.planner.Forget(ev.lease.Name, ev.lease.UID, w.now)
		} else {
			w.planner.Observe(ev.lease, w.now)
		}
		w.again = w.now
	}
	still := w.flying[:0]
	for _, f := range w.flying {
		if f.at.After(w.now) {
			still = append(still, f)
			continue
		}
		w.land(f.w)
	}
	w.flying = still
	w.planner.Confirm(w.mirror.State(w.now), w.mirror.ConfirmedAt(), w.now)
	writes, again := w.planner.Plan(w.now, 50-len(w.flying))
	w.again = again
	for _, x := range writes {
		w.issued[x.Why] = append(w.issued[x.Why], w.now)
		w.flying = append(w.flying, flight{w.now.Add(w.latency), x})
	}
}

// land ends a write: it succeeds, is refused, or nobody knows.
func (w *world) land(x Write) {
	if w.faults > 0 && w.rand.IntN(w.faults) == 0 {
		if w.rand.IntN(2) == 0 {
			w.carryOut(x)
		}
		w.planner.Failed(x, w.now)
		return
	}
	ok := w.carryOut(x)
	now := w.objects[x.Name]
	switch {
	case ok && x.Verb == Delete:
		w.planner.Wrote(x, nil, w.now)
	case ok:
		w.planner.Wrote(x, now, w.now)
	default:
		w.planner.Lost(x, now, w.now)
	}
}

// carryOut does what the API server does.
func (w *world) carryOut(x Write) bool {
	old := w.objects[x.Name]
	switch x.Verb {
	case Create:
		if old != nil {
			return false
		}
		l := x.Lease.DeepCopy()
		w.uids++
		l.UID = types.UID(fmt.Sprintf("uid-%d", w.uids))
		w.put(l)
	case Update:
		if old == nil || old.UID != x.UID || old.ResourceVersion != x.ResourceVersion {
			return false
		}
		l := x.Lease.DeepCopy()
		l.UID = old.UID
		w.put(l)
	case Delete:
		if old == nil || old.UID != x.UID || old.ResourceVersion != x.ResourceVersion {
			return false
		}
		w.erase(x.Name)
	}
	return true
}

func (w *world) put(l *coordinationv1.Lease) {
	w.version++
	l.ResourceVersion = strconv.Itoa(w.version)
	if l.Spec.LeaseDurationSeconds != nil && *l.Spec.LeaseDurationSeconds <= 0 || l.Spec.LeaseTransitions != nil && *l.Spec.LeaseTransitions < 0 {
		w.t.Fatalf("%s: the API server refuses %v", l.Name, l.Spec)
	}
	w.objects[l.Name] = l
	w.watch = append(w.watch, event{at: w.now.Add(w.delay), lease: l})
	if w.onWrite != nil {
		w.onWrite(l.Name, l)
	}
}

func (w *world) erase(name string) {
	l := w.objects[name]
	delete(w.objects, name)
	w.watch = append(w.watch, event{at: w.now.Add(w.delay), lease: l, deleted: true})
	if w.onWrite != nil {
		w.onWrite(name, nil)
	}
}

// edit is somebody's edit by hand.
func (w *world) edit(name string, change func(l *coordinationv1.Lease)) {
	l := w.objects[name].DeepCopy()
	change(l)
	w.put(l)
}

// holder is a Lease's, or "none".
func (w *world) holder(name string) string {
	if l := w.objects[name]; l != nil {
		return *l.Spec.HolderIdentity
	}
	return "none"
}

func (w *world) wantHolder(name, want string) {
	w.t.Helper()
	if got := w.holder(name); got != want {
		w.t.Fatalf("%s: holder %q, want %q", name, got, want)
	}
}

func token(l *coordinationv1.Lease) int64 {
	n, _ := strconv.ParseInt(l.Annotations[AnnotationFencingToken], 10, 64)
	return n
}
