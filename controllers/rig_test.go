package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/ensemble"
	members "github.com/conclave-dev/conclave/internal/ensemble/fake"
	"github.com/conclave-dev/conclave/internal/membership"
	"github.com/conclave-dev/conclave/internal/pace"
	"github.com/conclave-dev/conclave/internal/pki"
	"github.com/conclave-dev/conclave/internal/projector"
)

var key = client.ObjectKey{Namespace: "ns", Name: "zoo"}

// rig is an API server in memory, a model of the StatefulSet controller and the
// kubelet, members, and the operator. Nothing in it happens by itself.
type rig struct {
	t      testing.TB
	api    client.WithWatch
	world  *members.World
	r      *Reconciler
	now    time.Time
	fresh  int
	events []string
	log    []string
	// lines are what the operator has logged.
	lines []string

	templates map[string]corev1.PodTemplateSpec // by revision
	uids      int
	running   map[string]types.UID
	// late is for how many ticks a pod is there before it runs, the pod of each ordinal
	// apart longer than the one before it; starting counts them.
	late, apart int
	starting    map[types.UID]int
	// probes is how many ticks it takes kubelet to see that a member is ready; unseen
	// counts them.
	probes int
	unseen map[types.UID]int
	// stale is by how many passes the operator's cache of pods is behind; cached is what
	// has been in it, one for each pass.
	stale  int
	cached []*corev1.PodList
	// fixed: volumes can't grow.
	fixed bool
	// badImages can't be pulled; no pod may be made of the denied ones.
	badImages, denied map[string]bool

	// byHand counts objects that a story deletes and the operator makes again.
	byHand int
	// settled: the last that was written was Settled.
	settled bool
	// steady: the ensemble exists, and is never to be without a quorum.
	steady bool
	// fake: the API server is no real one.
	fake bool
	// applies counts what was applied, whether it changed something or not.
	applies map[string]int
	// changes counts what changed something: writes that did, and orders.
	changes int
	// killAt is the change after which the operator dies; 0 for never.
	killAt int
	// again is when the operator wants to look again, as of the last pass.
	again time.Duration
	// killAlways: it dies after every change.
	killAlways bool
	// failAt is the change that fails, once, before it is carried out.
	failAt int
}

func newRig(t testing.TB) *rig {
	s := scheme(t)
	g := newRigOn(t, fake.NewClientBuilder().WithScheme(s).WithRESTMapper(mapper()).WithTypeConverters(converters()).
		WithStatusSubresource(&v1alpha1.CoordinationCluster{}, &appsv1.StatefulSet{}, &corev1.Pod{}, &corev1.PersistentVolumeClaim{}).Build())
	g.fake = true
	return g
}

func newRigOn(t testing.TB, api client.WithWatch) *rig {
	g := &rig{api: api, t: t, world: members.New(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), templates: map[string]corev1.PodTemplateSpec{},
		running: map[string]types.UID{}, starting: map[types.UID]int{}, unseen: map[types.UID]int{}, badImages: map[string]bool{}, denied: map[string]bool{}, applies: map[string]int{}}
	g.world.OnCall = func(pod, call string) error {
		if call != "Status" {
			return g.before(call + " " + pod)
		}
		return nil
	}
	g.world.OnDone = func(pod, call string) error { g.after(call + " " + pod); return nil }
	g.restart()
	return g
}

// restart is a new process of the operator, that knows nothing.
func (g *rig) restart() {
	funcs := interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return g.write("create "+o.GetName(), func() error {
				g.uids++
				o.SetUID(types.UID(fmt.Sprint("uid-", g.uids)))
				return c.Create(ctx, o, opts...)
			})
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return g.write("delete "+o.GetName(), func() error { return c.Delete(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return g.write("patch "+o.GetName(), func() error { return c.Patch(ctx, o, p, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, ac runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return g.applying(ctx, ac, func() error { return c.Apply(ctx, ac, opts...) })
		},
		SubResourceApply: func(ctx context.Context, c client.Client, sub string, ac runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
			return g.applying(ctx, ac, func() error {
				if shows, err := g.showing(ctx, ac); shows || err != nil {
					return err
				}
				return c.SubResource(sub).Apply(ctx, ac, opts...)
			})
		},
	}
	reader := interceptor.NewClient(g.api, funcs)
	g.cached = nil
	funcs.List = func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		err := c.List(ctx, list, opts...)
		if pods, ok := list.(*corev1.PodList); ok && err == nil {
			g.cached = append(g.cached, pods.DeepCopy())
			g.cached[max(0, len(g.cached)-1-g.stale)].DeepCopyInto(pods)
		}
		return err
	}
	g.r = &Reconciler{Client: interceptor.NewClient(g.api, funcs), Reader: reader, Recorder: (*story)(g), Ensembles: everywhere{g.world}, Projection: (*unprojected)(nil), Turns: new(pace.Line), Image: "conclave:1", Policy: pki.DefaultPolicy,
		Now: func() time.Time { return g.now }, FreshID: func() string { g.fresh++; return fmt.Sprintf("%032x", g.fresh) }}
}

type everywhere struct{ world *members.World }

func (e everywhere) For(client.ObjectKey, Credentials) (ensemble.Ensemble, error) {
	return e.world, nil
}

func (e everywhere) Forget(client.ObjectKey) {}

// unprojected has read no stream.
type unprojected struct{}

func (*unprojected) Follow(projector.Target) {}

func (*unprojected) Forget(client.ObjectKey) {}

func (*unprojected) Wakes() <-chan event.GenericEvent { return nil }

func (*unprojected) View(client.ObjectKey) (projector.View, bool) { return projector.View{}, false }

// story keeps the events.
type story rig

func (s *story) Eventf(_, _ runtime.Object, kind, reason, action, note string, args ...any) {
	s.events = append(s.events, fmt.Sprintf("%s %s %s: %s", kind, reason, action, fmt.Sprintf(note, args...)))
}

func (g *rig) must(err error) {
	g.t.Helper()
	if err != nil {
		g.fatalf("%v", err)
	}
}

func (g *rig) fatalf(format string, args ...any) {
	g.t.Helper()
	g.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(g.log[max(0, len(g.log)-80):], "\n"))
}

// create makes the resource.
func (g *rig) create(edit func(*v1alpha1.CoordinationCluster)) {
	g.t.Helper()
	c := &v1alpha1.CoordinationCluster{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, UID: types.UID(fmt.Sprint("cc-", g.fresh)), Generation: 1}}
	edit(c)
	v1alpha1.SetDefaults(c)
	g.must(g.api.Create(context.Background(), c))
}

// edit changes the spec.
func (g *rig) edit(edit func(*v1alpha1.CoordinationCluster)) {
	g.t.Helper()
	c := g.cluster()
	edit(c)
	c.Generation++
	g.must(g.api.Update(context.Background(), c))
}

func size(voters, observers int32) func(*v1alpha1.CoordinationCluster) {
	return func(c *v1alpha1.CoordinationCluster) { c.Spec.Replicas, c.Spec.Observers = &voters, &observers }
}

func image(name string) func(*v1alpha1.CoordinationCluster) {
	return func(c *v1alpha1.CoordinationCluster) { c.Spec.Image = name }
}

func (g *rig) cluster() *v1alpha1.CoordinationCluster {
	g.t.Helper()
	c := &v1alpha1.CoordinationCluster{}
	g.must(g.api.Get(context.Background(), key, c))
	return c
}

func (g *rig) condition(kind string) metav1.Condition {
	g.t.Helper()
	c := meta.FindStatusCondition(g.cluster().Status.Conditions, kind)
	if c == nil {
		g.fatalf("no condition %s", kind)
		return metav1.Condition{}
	}
	return *c
}

// pass is one pass of the operator. One that dies is followed by a new process.
func (g *rig) pass() {
	g.t.Helper()
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(killed); !ok {
				panic(r)
			}
			g.restart()
		}
	}()
	was := g.changes
	ctx := log.IntoContext(context.Background(), funcr.New(func(_, line string) { g.lines = append(g.lines, line) }, funcr.Options{}))
	result, err := g.r.Reconcile(ctx, ctrl.Request{NamespacedName: key})
	g.again = result.RequeueAfter
	if err != nil {
		g.log = append(g.log, "== error: "+err.Error())
	}
	if _, err := g.r.show(context.Background(), ctrl.Request{NamespacedName: key}); err != nil {
		g.log = append(g.log, "== error: "+err.Error())
	}
	if g.changes != was {
		c := &v1alpha1.CoordinationCluster{}
		if g.api.Get(context.Background(), key, c) == nil {
			if p := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionProgressing); p != nil {
				// Whoever waits for Settled finds what he asked for.
				if settled := p.Reason == v1alpha1.ReasonSettled; settled && !g.settled && (c.Status.ReadyReplicas < ptr.Deref(c.Spec.Replicas, 3) || c.Status.ReadyObservers < ptr.Deref(c.Spec.Observers, 0)) {
					g.fatalf("settled with %d voters and %d observers ready", c.Status.ReadyReplicas, c.Status.ReadyObservers)
				} else {
					g.settled = settled
				}
				g.log = append(g.log, fmt.Sprintf("%s %s: %s", p.Status, p.Reason, p.Message))
			}
		}
	}
}

// settle runs everything until the cluster says that it is settled, and wants it
// to be so.
func (g *rig) settle(bound int) {
	g.t.Helper()
	calm := 0
	for range bound {
		g.tick()
		was := g.changes
		g.pass()
		p := meta.FindStatusCondition(g.cluster().Status.Conditions, v1alpha1.ConditionProgressing)
		if p != nil && (p.Reason == v1alpha1.ReasonSettled || p.Reason == v1alpha1.ReasonParked) && was == g.changes {
			if calm++; calm == 3 {
				return
			}
		} else {
			calm = 0
		}
	}
	g.fatalf("not settled after %d passes: %+v", bound, g.condition(v1alpha1.ConditionProgressing))
}

// until runs everything until the condition has the reason.
func (g *rig) until(kind, reason string, bound int) {
	g.t.Helper()
	for range bound {
		g.tick()
		g.pass()
		if c := meta.FindStatusCondition(g.cluster().Status.Conditions, kind); c != nil && c.Reason == reason {
			return
		}
	}
	g.fatalf("%s is not %s after %d passes: %+v", kind, reason, bound, g.condition(kind))
}

// waitsFor runs everything until Progressing says this.
func (g *rig) waitsFor(text string, bound int) {
	g.t.Helper()
	for range bound {
		g.tick()
		g.pass()
		if strings.Contains(g.condition(v1alpha1.ConditionProgressing).Message, text) {
			return
		}
	}
	g.fatalf("Progressing does not say %q after %d passes: %+v", text, bound, g.condition(v1alpha1.ConditionProgressing))
}

// healthy wants the ensemble to be exactly what the spec asks for.
func (g *rig) healthy() {
	g.t.Helper()
	g.healthyBut(v1alpha1.ReasonSettled)
}

// healthyBut is healthy, with another reason why nothing is to be done.
func (g *rig) healthyBut(progressing string) {
	g.t.Helper()
	c := g.cluster()
	if len(g.world.Founded) > 1 {
		g.fatalf("ensembles were founded: %v", g.world.Founded)
	}
	n, o := ptr.Deref(c.Spec.Replicas, 3), ptr.Deref(c.Spec.Observers, 0)
	if n == 0 {
		return
	}
	id := c.Status.ClusterID
	var voters, observers []int32
	for i := range n {
		voters = append(voters, i+1)
	}
	for i := range o {
		observers = append(observers, membership.ObserverOffset+i+1)
	}
	if got := g.world.Voters(id); !slices.Equal(got, voters) {
		g.fatalf("voters %v, want %v", got, voters)
	}
	if got := g.world.Learners(id); !slices.Equal(got, observers) {
		g.fatalf("observers %v, want %v", got, observers)
	}
	if !g.world.Healthy(id) {
		g.fatalf("not everybody is in sync")
	}
	if c.Status.ReadyReplicas != n || c.Status.ReadyObservers != o || c.Status.Ready != fmt.Sprintf("%d/%d", n, n) {
		g.fatalf("status: %+v", c.Status)
	}
	for kind, want := range map[string]string{v1alpha1.ConditionDegraded: v1alpha1.ReasonAllWell, v1alpha1.ConditionQuorumHealthy: v1alpha1.ReasonQuorum,
		v1alpha1.ConditionMembersInSync: v1alpha1.ReasonInSync, v1alpha1.ConditionProgressing: progressing} {
		if got := g.condition(kind); got.Reason != want {
			g.fatalf("%s is %s, want %s: %s", kind, got.Reason, want, got.Message)
		}
	}
	for _, m := range c.Status.Members {
		if m.Draining || c.Spec.Image != "" && m.Version != c.Spec.Image {
			g.fatalf("member %+v", m)
		}
	}
}
