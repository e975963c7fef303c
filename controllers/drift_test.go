package controllers

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/reference"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/resources"
)

// repairs are the events about what was put back, without what all begin with.
func (g *rig) repairs() (out []string) {
	for _, e := range g.events {
		if note, ok := strings.CutPrefix(e, "Normal ObjectRepaired Repair: "); ok {
			out = append(out, note)
		}
	}
	return out
}

// told wants these repairs to be told of in one pass, each in the log as well, and
// none in the next.
func (g *rig) told(want ...string) {
	g.t.Helper()
	g.events, g.lines = nil, nil
	g.pass()
	if got := g.repairs(); !slices.Equal(got, want) {
		g.t.Errorf("told of %q, want %q", got, want)
	}
	for _, w := range want {
		if lines := strings.Join(g.lines, "\n"); strings.Count(lines, strings.Trim(strconv.Quote(w), `"`)) != 1 {
			g.t.Errorf("not once in the log: %s\n%s", w, lines)
		}
	}
	g.events = nil
	g.pass()
	if again := g.repairs(); len(again) > 0 {
		g.t.Errorf("told of again: %q", again)
	}
}

// An object that is gone is made again, and it is told of if somebody else has
// deleted it.
func TestDeletedIsTold(t *testing.T) {
	g := newRig(t)
	g.create(size(3, 0))
	g.settle(300)
	g.told()
	at := metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}
	g.must(g.api.Delete(context.Background(), &policyv1.PodDisruptionBudget{ObjectMeta: at}))
	g.told("PodDisruptionBudget zoo was deleted by somebody else, and is made again")

	// What the operator itself deletes, because the spec says so, is not.
	policy := &networkingv1.NetworkPolicy{ObjectMeta: at}
	mode := g.cluster().Spec.NetworkPolicy.Mode
	g.edit(func(c *v1alpha1.CoordinationCluster) { c.Spec.NetworkPolicy.Mode = v1alpha1.NetworkPolicyNone })
	g.told()
	if g.api.Get(context.Background(), client.ObjectKeyFromObject(policy), policy) == nil {
		t.Error("the network policy is there still")
	}
	g.edit(func(c *v1alpha1.CoordinationCluster) { c.Spec.NetworkPolicy.Mode = mode })
	g.told()
	g.must(g.api.Get(context.Background(), client.ObjectKeyFromObject(policy), policy))

	// A new process has applied nothing yet, and can't know who has deleted what.
	g.must(g.api.Delete(context.Background(), policy))
	g.restart()
	g.told()
	g.must(g.api.Get(context.Background(), client.ObjectKeyFromObject(policy), policy))

	// Nor does a cluster of the same name know of the one before.
	g.deleteEverythingButVolumes()
	g.fresh += 100
	g.events = nil
	g.create(size(3, 0))
	g.settle(300)
	if got := g.repairs(); len(got) > 0 {
		t.Errorf("of another cluster: %q", got)
	}
}

// A cache that lags shows an object that is being deleted when it is gone: what is made
// then is another one.
func TestDeletedBehindACache(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	g.create(size(3, 0))
	g.settle(300)
	g.told()
	going := &appsv1.StatefulSet{}
	g.must(g.api.Get(ctx, key, going))
	g.deleteSet(key.Name)
	going.UID, going.DeletionTimestamp, going.DeletionGracePeriodSeconds, going.ResourceVersion = "gone", &metav1.Time{Time: g.now}, new(int64), "999999"
	g.r.Client = interceptor.NewClient(g.r.Client.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, at client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if s, ok := o.(*appsv1.StatefulSet); ok && at == key && going != nil {
				going.DeepCopyInto(s)
				going = nil
				return nil
			}
			return c.Get(ctx, at, o, opts...)
		},
	})
	g.told("StatefulSet zoo was deleted by somebody else, and is made again")
	if going != nil {
		t.Error("the cache was not asked")
	}
}

func TestRepaired(t *testing.T) {
	c := &v1alpha1.CoordinationCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "zoo", UID: "cc"}}
	v1alpha1.SetDefaults(c)
	text := func(v any) []byte {
		t.Helper()
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	wanted := text(resources.ClientService(c))
	c.Spec.Service.Port = 2182
	wantedElse := text(resources.ClientService(c))
	after := func() *corev1.Service {
		s := &corev1.Service{}
		if err := json.Unmarshal(wanted, s); err != nil {
			t.Fatal(err)
		}
		// What the API server adds.
		s.ResourceVersion, s.Spec.ClusterIP, s.Spec.ClusterIPs = "12", "10.0.0.1", []string{"10.0.0.1"}
		return s
	}
	for _, k := range []struct {
		name   string
		last   []byte
		before func(*corev1.Service)
		want   []string
	}{
		{"nothing", wanted, func(*corev1.Service) {}, nil},
		{"what others add", wanted, func(s *corev1.Service) { s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "1.2.3.4"}} }, nil},
		{"a value", wanted, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeExternalName }, []string{"spec.type"}},
		{"a value that is gone", wanted, func(s *corev1.Service) { s.Spec.Type = "" }, []string{"spec.type"}},
		{"a label", wanted, func(s *corev1.Service) { s.Labels["app.kubernetes.io/name"] = "mine" }, []string{`metadata.labels["app.kubernetes.io/name"]`}},
		{"all of a list", wanted, func(s *corev1.Service) { s.Spec.Ports = nil }, []string{"spec.ports[client].name", "spec.ports[client].port", "spec.ports[client].protocol", "spec.ports[client].targetPort"}},
		{"an item", wanted, func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromInt32(1) }, []string{"spec.ports[client].targetPort"}},
		{"an item without a name", wanted, func(s *corev1.Service) { s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Port: 1}) }, []string{"spec.ports"}},
		{"what is taken away again", wanted, func(s *corev1.Service) {
			s.Spec.Selector["a.b/c"] = "d"
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "more", Port: 1})
		}, []string{"spec.ports[more]", `spec.selector["a.b/c"]`}},
		{"what the spec has changed, and its consequences", wantedElse, func(s *corev1.Service) {
			s.Spec.Ports[0].Port, s.Spec.Ports[0].NodePort, s.Spec.ExternalTrafficPolicy = 2182, 30001, "Cluster"
		}, nil},
		{"what the spec has changed, and somebody else", wantedElse, func(s *corev1.Service) {
			s.Spec.Ports[0].Port, s.Spec.Ports[0].TargetPort, s.Spec.Selector["conclave.dev/cluster"] = 2182, intstr.FromInt32(1), "other"
		}, []string{"spec.ports[client].targetPort", `spec.selector["conclave.dev/cluster"]`}},
	} {
		t.Run(k.name, func(t *testing.T) {
			before := after()
			before.ResourceVersion = "11"
			k.before(before)
			got, err := repaired(k.last, wanted, before, text(after()))
			if err != nil {
				t.Fatal(err)
			}
			if slices.Sort(got); !slices.Equal(got, k.want) {
				t.Errorf("%q, want %q", got, k.want)
			}
		})
	}
}

// relations keeps what events are about besides the cluster.
type relations struct {
	t  *testing.T
	of []string
}

func (r *relations) Eventf(_, related runtime.Object, _, reason, _, _ string, _ ...any) {
	if reason != reasonRepaired {
		return
	}
	ref, err := reference.GetReference(scheme(r.t), related)
	if err != nil {
		r.t.Fatal(err)
	}
	r.of = append(r.of, ref.APIVersion+" "+ref.Kind+" "+ref.Namespace+"/"+ref.Name)
}

// Events of different objects differ in what they relate to: those that differ in
// their words alone would be counted as one.
func TestRepairsRelateToTheirObjects(t *testing.T) {
	g := newRig(t)
	g.create(size(3, 0))
	g.settle(300)
	r := &relations{t: t}
	g.r.Recorder = r
	at := metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}
	g.must(g.api.Delete(context.Background(), &policyv1.PodDisruptionBudget{ObjectMeta: at}))
	service := &corev1.Service{ObjectMeta: at}
	g.must(g.api.Get(context.Background(), key, service))
	service.Spec.Selector = nil
	g.must(g.api.Update(context.Background(), service))
	g.pass()
	if want := []string{"v1 Service ns/zoo", "policy/v1 PodDisruptionBudget ns/zoo"}; !slices.Equal(r.of, want) {
		t.Errorf("%q, want %q", r.of, want)
	}
}

// A cache that lags behind the last apply shows nobody's doing.
func TestRepairAndALaggingCache(t *testing.T) {
	g := newRig(t)
	g.create(size(1, 0))
	c := g.cluster()
	p := &pass{Reconciler: g.r, key: key, cluster: c, status: &c.Status}
	wanted, err := json.Marshal(resources.Headless(c))
	g.must(err)
	found := &corev1.Service{}
	g.must(json.Unmarshal(wanted, found))
	found.Spec.PublishNotReadyAddresses = false
	now := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "zoo-members"}}
	for version, want := range map[string]int{"9": 0, "10": 0, "11": 1, "what?": 0} {
		g.events = nil
		found.ResourceVersion = version
		p.tellRepair(context.Background(), intent{wanted, "10"}, wanted, found, now, wanted)
		if got := g.repairs(); len(got) != want {
			t.Errorf("found version %s, applied 10: %q", version, got)
		}
	}
}
