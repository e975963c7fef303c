//go:build envtest

package controllers

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
				g.steady = name != "park"
			}
			play(g)
			g.healthy()
		})
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
	s := &shown{spare: 1000}
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
