//go:build envtest

package controllers

import (
	"context"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/projector"
	"github.com/conclave-dev/conclave/test/api/apiserver"
)

var server *apiserver.Server

func TestMain(m *testing.M) { apiserver.Main(m, &server) }

// newServerRig is a rig whose API server is a real one: with its defaults, its
// rules for what may change, and its own account of who owns which field. The
// StatefulSet controller and the kubelet are the rig's.
func newServerRig(t *testing.T) *rig {
	api, err := client.NewWithWatch(server.Config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "rig-"}}
	if err := api.Create(context.Background(), ns); err != nil {
		t.Fatal(err)
	}
	key.Namespace = ns.Name
	t.Cleanup(func() { key.Namespace = "ns" })
	return newRigOn(t, api)
}

// The stories, on a real API server.
func TestScenariosOnAServer(t *testing.T) {
	for name, play := range scenarios {
		t.Run(name, func(t *testing.T) {
			g := newServerRig(t)
			if name != "begin" {
				g.create(func(c *v1alpha1.CoordinationCluster) { size(3, 0)(c); image("conclave:1")(c) })
				g.settle(300)
				g.steady = !strings.Contains(name, "park")
			}
			play(g)
			g.healthy()
			if got := g.repairs(); len(got) != g.byHand {
				t.Errorf("taken for somebody else's doing, who did %d things: %q", g.byHand, got)
			}
		})
	}
}

// What somebody changes by hand is put back and told of. What follows from the
// spec, what others add, and what controllers write is not.
func TestRepairsOnAServer(t *testing.T) {
	g := newServerRig(t)
	g.create(func(c *v1alpha1.CoordinationCluster) { size(3, 0)(c); image("conclave:1")(c) })
	g.settle(300)
	ctx := context.Background()
	at := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: key.Namespace, Name: name} }
	service, members, set := &corev1.Service{ObjectMeta: at("zoo")}, &corev1.Service{ObjectMeta: at("zoo-members")}, &appsv1.StatefulSet{ObjectMeta: at("zoo")}
	policy, budget, account := &networkingv1.NetworkPolicy{ObjectMeta: at("zoo")}, &policyv1.PodDisruptionBudget{ObjectMeta: at("zoo")}, &corev1.ServiceAccount{ObjectMeta: at("zoo-member")}
	for _, c := range []struct {
		name   string
		object client.Object
		edit   func()
		want   string // is put back; nothing is if empty
	}{
		{"a Service's selector", service, func() { service.Spec.Selector["app"] = "mine" }, "Service zoo was changed by somebody else, and is put back: spec.selector.app"},
		{"a Service's target", service, func() { service.Spec.Ports[0].TargetPort = intstr.FromInt32(80) }, "Service zoo was changed by somebody else, and is put back: spec.ports[client].targetPort"},
		{"a Service's port", service, func() { service.Spec.Ports[0].Port = 2182 }, "Service zoo was changed by somebody else, and is put back: spec.ports[client].port"},
		{"a Service's switch", members, func() { members.Spec.PublishNotReadyAddresses = false }, "Service zoo-members was changed by somebody else, and is put back: spec.publishNotReadyAddresses"},
		{"an image", set, func() { set.Spec.Template.Spec.Containers[0].Image = "another" }, "StatefulSet zoo was changed by somebody else, and is put back: spec.template.spec.containers[server].image"},
		{"arguments", set, func() {
			server := &set.Spec.Template.Spec.Containers[0]
			server.Args = append(server.Args, "--pprof=:6060")
		}, "StatefulSet zoo was changed by somebody else, and is put back: spec.template.spec.containers[server].args"},
		{"a port", set, func() { set.Spec.Template.Spec.Containers[0].Ports[0].ContainerPort = 2182 }, "StatefulSet zoo was changed by somebody else, and is put back: spec.template.spec.containers[server].ports[client].containerPort"},
		{"a policy", policy, func() { policy.Spec.Ingress = nil }, "NetworkPolicy zoo was changed by somebody else, and is put back: spec.ingress"},
		{"a budget", budget, func() { budget.Spec.MaxUnavailable = ptr.To(intstr.FromInt32(3)) }, "PodDisruptionBudget zoo was changed by somebody else, and is put back: spec.maxUnavailable"},
		{"a label", account, func() { account.Labels["app.kubernetes.io/name"] = "mine" }, `ServiceAccount zoo-member was changed by somebody else, and is put back: metadata.labels["app.kubernetes.io/name"]`},
		{"a label of somebody else's", service, func() { service.Labels["team"] = "blue" }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.t = t
			g.must(g.api.Get(ctx, client.ObjectKeyFromObject(c.object), c.object))
			was, err := fieldsOf(c.object)
			g.must(err)
			c.edit()
			g.must(g.api.Update(ctx, c.object))
			edited, err := fieldsOf(c.object)
			g.must(err)
			want := []string{c.want}
			if c.want == "" {
				was, want = edited, nil
			}
			g.told(want...)
			g.must(g.api.Get(ctx, client.ObjectKeyFromObject(c.object), c.object))
			is, err := fieldsOf(c.object)
			g.must(err)
			for _, fields := range []map[string]any{was, is} {
				m := fields["metadata"].(map[string]any)
				delete(m, "resourceVersion")
				delete(m, "generation")
			}
			if !equality.Semantic.DeepEqual(was, is) {
				t.Errorf("%v\nwas\n%v", is, was)
			}
		})
	}
	g.t = t
	g.must(g.api.Delete(ctx, policy))
	g.told("NetworkPolicy zoo was deleted by somebody else, and is made again")
	// Node ports and the policy of traffic come and go with a type.
	for _, kind := range []v1alpha1.ServiceType{"LoadBalancer", "ClusterIP"} {
		g.edit(func(c *v1alpha1.CoordinationCluster) { c.Spec.Service.Type = kind })
		g.told()
		g.must(g.api.Get(ctx, client.ObjectKeyFromObject(service), service))
		if string(service.Spec.Type) != string(kind) || (service.Spec.Ports[0].NodePort != 0) != (kind == "LoadBalancer") {
			t.Errorf("%+v", service.Spec)
		}
	}
	g.edit(image("conclave:2"))
	g.events = nil
	g.settle(300)
	g.healthy()
	if got := g.repairs(); len(got) > 0 {
		t.Errorf("taken for somebody else's doing: %q", got)
	}
}

// What is settled is not written again: nothing is defaulted or rendered into
// something else with every pass.
func TestSettledMeansSilent(t *testing.T) {
	g := newServerRig(t)
	g.create(size(3, 1))
	g.settle(300)
	versions := func() string {
		s, err := (&pass{Reconciler: g.r, key: key, cluster: g.cluster()}).statefulSet(context.Background(), false)
		g.must(err)
		return g.cluster().ResourceVersion + " " + s.ResourceVersion
	}
	was, changes := versions(), g.changes
	g.restart()
	for range 5 {
		g.pass()
	}
	if is := versions(); is != was || g.changes != changes {
		t.Errorf("versions %s, were %s", is, was)
	}
}

// Status has two writers, and neither takes away what the other has written.
func TestTwoWritersOfStatus(t *testing.T) {
	g := newServerRig(t)
	s := &shown{}
	g.r.Projection = s
	g.create(size(1, 0))
	g.settle(300)
	for total := range int64(3) {
		s.view = &projector.View{Sessions: &v1alpha1.SessionsStatus{Total: total}, SessionsSynced: metav1.Condition{Status: yes, Reason: v1alpha1.ReasonSynced, Message: "it follows"},
			LeasesSynced: metav1.Condition{Status: yes, Reason: v1alpha1.ReasonNoRules, Message: "no rules"}}
		g.world.Process("zoo-0").Connections++
		g.pass()
		st := g.cluster().Status
		if st.Sessions == nil || st.Sessions.Total != total || st.ReadyReplicas != 1 || len(st.Conditions) != len(v1alpha1.Conditions()) || st.Members[0].Connections != g.world.Process("zoo-0").Connections {
			t.Errorf("%+v", st)
		}
	}
	was := g.cluster().ResourceVersion
	g.pass()
	if is := g.cluster().ResourceVersion; is != was {
		t.Errorf("version %s, was %s, though nothing is new", is, was)
	}
}
