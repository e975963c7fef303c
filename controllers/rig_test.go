package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	clientgo "k8s.io/client-go/applyconfigurations"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/api/v1alpha1/applyconfiguration"
	apiac "github.com/conclave-dev/conclave/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/ensemble"
	members "github.com/conclave-dev/conclave/internal/ensemble/fake"
	"github.com/conclave-dev/conclave/internal/membership"
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
	// late is for how many ticks a pod is there before it runs; starting counts them.
	late     int
	starting map[types.UID]int
	// badImages can't be pulled.
	badImages map[string]bool

	// steady: the ensemble exists, and is never to be without a quorum.
	steady bool
	// fake: the API server is no real one.
	fake bool
	// changes counts what changed something: writes that did, and orders.
	changes int
	// killAt is the change after which the operator dies; 0 for never.
	killAt int
	// killAlways: it dies after every change.
	killAlways bool
	// failAt is the change that fails, once, before it is carried out.
	failAt int
}

type killed struct{}

func scheme(t testing.TB) *runtime.Scheme {
	s := runtime.NewScheme()
	// No more than it takes: the fake goes through all of it with every apply.
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, policyv1.AddToScheme, networkingv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// converter knows the types of client-go and ours.
type converter struct{ theirs, ours managedfields.TypeConverter }

func (c converter) of(o schema.GroupVersionKind) managedfields.TypeConverter {
	if o.Group == v1alpha1.Group {
		return c.ours
	}
	return c.theirs
}

func (c converter) ObjectToTyped(o runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	of := c.of(o.GetObjectKind().GroupVersionKind())
	v, err := of.ObjectToTyped(o, opts...)
	if u, ok := o.(*unstructured.Unstructured); ok && err != nil && strings.Contains(err.Error(), ".status: field not declared") {
		// The fake gives every kind a status.
		u = u.DeepCopy()
		delete(u.Object, "status")
		return of.ObjectToTyped(u, opts...)
	}
	return v, err
}

func (c converter) TypedToObject(v *typed.TypedValue) (runtime.Object, error) {
	return c.theirs.TypedToObject(v)
}

// mapper is made once: making it is most of what a fake client costs.
var mapper = sync.OnceValue(func() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for _, k := range []schema.GroupVersionKind{v1alpha1.Kind, appsv1.SchemeGroupVersion.WithKind("StatefulSet"), policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"),
		networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy")} {
		m.Add(k, meta.RESTScopeNamespace)
	}
	for _, k := range []string{"Pod", "Service", "ConfigMap", "Secret", "ServiceAccount", "PersistentVolumeClaim"} {
		m.Add(corev1.SchemeGroupVersion.WithKind(k), meta.RESTScopeNamespace)
	}
	return m
})

var converters = sync.OnceValue(func() converter {
	s := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		panic(err)
	}
	return converter{clientgo.NewTypeConverter(s), applyconfiguration.NewTypeConverter(s)}
})

func newRig(t testing.TB) *rig {
	s := scheme(t)
	g := newRigOn(t, fake.NewClientBuilder().WithScheme(s).WithRESTMapper(mapper()).WithTypeConverters(converters()).
		WithStatusSubresource(&v1alpha1.CoordinationCluster{}, &appsv1.StatefulSet{}, &corev1.Pod{}, &corev1.PersistentVolumeClaim{}).Build())
	g.fake = true
	return g
}

func newRigOn(t testing.TB, api client.WithWatch) *rig {
	g := &rig{api: api, t: t, world: members.New(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), templates: map[string]corev1.PodTemplateSpec{},
		running: map[string]types.UID{}, starting: map[types.UID]int{}, badImages: map[string]bool{}}
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
	c := interceptor.NewClient(g.api, interceptor.Funcs{
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
	})
	g.r = &Reconciler{Client: c, Reader: c, Recorder: (*story)(g), Ensembles: everywhere{g.world}, Projection: (*unprojected)(nil), Image: "conclave:1", Policy: pki.DefaultPolicy,
		Now: func() time.Time { return g.now }, FreshID: func() string { g.fresh++; return fmt.Sprintf("%032x", g.fresh) }}
}

// showing carries out what show applies, on the fake API server: that would take
// numbers which are left out for zeros.
func (g *rig) showing(ctx context.Context, ac runtime.ApplyConfiguration) (bool, error) {
	a, ok := ac.(*apiac.CoordinationClusterApplyConfiguration)
	if !ok || !g.fake || a.Status.ClientEndpoint != nil {
		return false, nil
	}
	b, err := json.Marshal(a.Status)
	if err != nil {
		return true, err
	}
	var part v1alpha1.CoordinationClusterStatus
	if err := json.Unmarshal(b, &part); err != nil {
		return true, err
	}
	c := g.cluster()
	was := c.DeepCopy()
	c.Status.Sessions, c.Status.Leases = part.Sessions, part.Leases
	for _, x := range part.Conditions {
		meta.SetStatusCondition(&c.Status.Conditions, x)
	}
	if equality.Semantic.DeepEqual(was.Status, c.Status) {
		return true, nil
	}
	return true, g.api.Status().Update(ctx, c)
}

// applying counts an apply only if it changes the object.
func (g *rig) applying(ctx context.Context, ac runtime.ApplyConfiguration, do func() error) error {
	m, _, err := identity(ac)
	if err != nil {
		return err
	}
	version := func() string {
		o, err := g.api.Scheme().New(m.GroupVersionKind())
		if err != nil {
			return ""
		}
		if g.api.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: m.Name}, o.(client.Object)) != nil {
			return ""
		}
		o.(client.Object).SetManagedFields(nil)
		o.(client.Object).SetResourceVersion("")
		b, _ := json.Marshal(o)
		return string(b)
	}
	name := "apply " + m.Kind + " " + m.Name
	was := version()
	if err := g.before(name); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	if version() != was {
		g.after(name)
	}
	return nil
}

func (g *rig) write(name string, do func() error) error {
	if err := g.before(name); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	g.after(name)
	return nil
}

// before is asked before each change.
func (g *rig) before(name string) error {
	if g.failAt != 0 && g.changes+1 == g.failAt {
		g.failAt = 0
		g.log = append(g.log, "== fails: "+name)
		return apierrors.NewInternalError(fmt.Errorf("%s fails", name))
	}
	return nil
}

// after counts a change, and ends the operator if it is the one.
func (g *rig) after(name string) {
	g.changes++
	g.log = append(g.log, fmt.Sprintf("   %d %s", g.changes, name))
	if g.changes == g.killAt || g.killAlways {
		g.log = append(g.log, "== killed")
		panic(killed{})
	}
}

type everywhere struct{ world *members.World }

func (e everywhere) For(client.ObjectKey, Credentials) (ensemble.Ensemble, error) {
	return e.world, nil
}
func (e everywhere) Forget(client.ObjectKey) {}

// unprojected has read no stream.
type unprojected struct{}

func (*unprojected) Follow(projector.Target)                      {}
func (*unprojected) Forget(client.ObjectKey)                      {}
func (*unprojected) Wakes() <-chan event.GenericEvent             { return nil }
func (*unprojected) View(client.ObjectKey) (projector.View, bool) { return projector.View{}, false }

func (*unprojected) Spare() bool { return true }

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
	_, err := g.r.Reconcile(ctx, ctrl.Request{NamespacedName: key})
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

// tick is a moment in Kubernetes and among the members.
func (g *rig) tick() {
	g.t.Helper()
	g.now = g.now.Add(time.Second)
	var sets appsv1.StatefulSetList
	g.must(g.api.List(context.Background(), &sets, client.InNamespace(key.Namespace)))
	wanted := map[string]bool{}
	for i := range sets.Items {
		g.statefulSet(&sets.Items[i], wanted)
	}
	var pods corev1.PodList
	g.must(g.api.List(context.Background(), &pods, client.InNamespace(key.Namespace)))
	for i := range pods.Items {
		if p := &pods.Items[i]; !wanted[p.Name] {
			g.must(g.api.Delete(context.Background(), p, client.GracePeriodSeconds(0)))
		}
	}
	for name, uid := range g.running {
		p := &corev1.Pod{}
		if err := g.api.Get(context.Background(), client.ObjectKey{Namespace: key.Namespace, Name: name}, p); err != nil || p.UID != uid {
			g.world.Stop(name)
			delete(g.running, name)
		}
	}
	g.must(g.api.List(context.Background(), &pods, client.InNamespace(key.Namespace)))
	for i := range pods.Items {
		g.kubelet(&pods.Items[i])
	}
	g.world.Tick()
	if id := g.cluster().Status.ClusterID; g.steady && !g.world.HasQuorum(id) {
		g.fatalf("the ensemble has lost its quorum: voters %v", g.world.Voters(id))
	}
}

func (g *rig) statefulSet(s *appsv1.StatefulSet, wanted map[string]bool) {
	g.t.Helper()
	ctx := context.Background()
	text, err := json.Marshal(s.Spec.Template)
	g.must(err)
	h := fnv.New32a()
	h.Write(text)
	update := fmt.Sprintf("%s-%08x", s.Name, h.Sum32())
	g.templates[update] = s.Spec.Template
	was := s.Status
	if s.Status.CurrentRevision == "" {
		s.Status.CurrentRevision = update
	}
	s.Status.UpdateRevision, s.Status.ObservedGeneration = update, s.Generation
	updated, healthy := 0, true
	for i := int(*s.Spec.Replicas) - 1; i >= 0; i-- {
		name := fmt.Sprintf("%s-%d", s.Name, i)
		wanted[name] = true
		pod := &corev1.Pod{}
		err := g.api.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: name}, pod)
		if apierrors.IsNotFound(err) {
			g.createPod(s, name, i)
			healthy = false
			continue
		}
		g.must(err)
		revision := pod.Labels[appsv1.StatefulSetRevisionLabel]
		if revision != update && i >= int(partition(s)) && healthy {
			g.log = append(g.log, "   StatefulSet deletes "+name)
			g.must(g.api.Delete(ctx, pod, client.GracePeriodSeconds(0)))
			healthy = false
			continue
		}
		if revision == update {
			updated++
		}
		healthy = healthy && podReady(pod)
	}
	if updated == int(*s.Spec.Replicas) && healthy {
		s.Status.CurrentRevision = update
	}
	if !equality.Semantic.DeepEqual(was, s.Status) {
		g.must(g.api.Status().Update(ctx, s))
	}
}

func (g *rig) createPod(s *appsv1.StatefulSet, name string, ordinal int) {
	g.t.Helper()
	ctx := context.Background()
	for _, t := range s.Spec.VolumeClaimTemplates {
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: t.Name + "-" + name, Labels: s.Spec.Selector.MatchLabels}, Spec: t.Spec}
		err := g.api.Create(ctx, claim)
		if apierrors.IsAlreadyExists(err) {
			continue
		}
		g.must(err)
		claim.Status.Phase = corev1.ClaimBound
		g.must(g.api.Status().Update(ctx, claim))
	}
	revision := s.Status.UpdateRevision
	if ordinal < int(partition(s)) {
		revision = s.Status.CurrentRevision
	}
	template := g.templates[revision]
	g.uids++
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name, UID: types.UID(fmt.Sprint("uid-", g.uids)), Annotations: template.Annotations,
		Labels: map[string]string{appsv1.StatefulSetRevisionLabel: revision}}}
	for k, v := range template.Labels {
		pod.Labels[k] = v
	}
	pod.Spec = *template.Spec.DeepCopy()
	for _, t := range s.Spec.VolumeClaimTemplates {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: t.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: t.Name + "-" + name}}})
	}
	g.must(g.api.Create(ctx, pod))
}

// kubelet starts a pod's member and says how the pod is.
func (g *rig) kubelet(p *corev1.Pod) {
	g.t.Helper()
	was, err := json.Marshal(p.Status)
	g.must(err)
	if g.starting[p.UID]++; g.starting[p.UID] <= g.late {
		return
	}
	p.Status.PodIP, p.Status.ContainerStatuses = "10.0.0.1", nil
	ready := corev1.ConditionFalse
	if g.badImages[p.Spec.Containers[0].Image] {
		p.Status.PodIP = ""
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "server", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}}}}
	} else {
		if g.running[p.Name] == "" {
			s, _ := (&pass{cluster: &v1alpha1.CoordinationCluster{ObjectMeta: metav1.ObjectMeta{Name: key.Name}}, key: key}).seatOf(p.Name)
			m := g.world.Start(p.Name, s.ServerName())
			m.Connections, m.Version = 2, p.Spec.Containers[0].Image
			g.running[p.Name] = p.UID
		}
		if g.world.Status(p.Name).GetReady() {
			ready = corev1.ConditionTrue
		}
	}
	since := metav1.NewTime(g.now)
	for _, c := range p.Status.Conditions {
		if c.Status == ready {
			since = c.LastTransitionTime
		}
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: since}}
	if is, err := json.Marshal(p.Status); err != nil || string(is) != string(was) {
		g.must(g.api.Status().Update(context.Background(), p))
	}
}

// deletePod is an eviction.
func (g *rig) deletePod(name string) {
	g.t.Helper()
	g.must(g.api.Delete(context.Background(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name}}, client.GracePeriodSeconds(0)))
}

// healthy wants the ensemble to be exactly what the spec asks for.
func (g *rig) healthy() {
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
		v1alpha1.ConditionMembersInSync: v1alpha1.ReasonInSync, v1alpha1.ConditionProgressing: v1alpha1.ReasonSettled} {
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

// pods returns the pods' uids by name.
func (g *rig) pods() map[string]types.UID {
	g.t.Helper()
	var pods corev1.PodList
	g.must(g.api.List(context.Background(), &pods, client.InNamespace(key.Namespace)))
	out := map[string]types.UID{}
	for i := range pods.Items {
		out[pods.Items[i].Name] = pods.Items[i].UID
	}
	return out
}

// deleteEverythingButVolumes is what the garbage collector does after the resource
// was deleted.
func (g *rig) deleteEverythingButVolumes() {
	g.t.Helper()
	ctx, in := context.Background(), client.InNamespace(key.Namespace)
	for _, o := range []client.Object{&v1alpha1.CoordinationCluster{}, &appsv1.StatefulSet{}, &corev1.Pod{}, &corev1.Service{}, &corev1.ConfigMap{}, &corev1.Secret{},
		&corev1.ServiceAccount{}, &policyv1.PodDisruptionBudget{}, &networkingv1.NetworkPolicy{}} {
		g.must(g.api.DeleteAllOf(ctx, o, in))
	}
	g.pass()
	for name := range g.running {
		g.world.Stop(name)
		delete(g.running, name)
	}
}
