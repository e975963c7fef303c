package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// Volumes grow, go with the cluster, and go when a member was taken out, as the
// spec says.
func TestVolumes(t *testing.T) {
	g := newRig(t)
	g.create(size(3, 0))
	g.settle(300)
	claim := func(name string) *corev1.PersistentVolumeClaim {
		c := &corev1.PersistentVolumeClaim{}
		if err := g.api.Get(context.Background(), client.ObjectKey{Namespace: key.Namespace, Name: name}, c); apierrors.IsNotFound(err) {
			return nil
		} else if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := claim("data-zoo-0"); len(c.OwnerReferences) != 0 {
		t.Errorf("%+v", c.OwnerReferences)
	}
	capacity := func(size string) {
		for i := range 3 {
			c := claim(fmt.Sprintf("data-zoo-%d", i))
			c.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
			g.must(g.api.Status().Update(context.Background(), c))
		}
	}
	capacity("10Gi")
	g.edit(func(c *v1alpha1.CoordinationCluster) {
		c.Spec.Storage.Size = resource.MustParse("20Gi")
		c.Spec.Storage.Retention = v1alpha1.RetentionSpec{WhenDeleted: v1alpha1.RetentionDelete, WhenScaled: v1alpha1.RetentionDelete}
	})
	g.until(v1alpha1.ConditionProgressing, v1alpha1.ReasonGrowingVolumes, 50)
	if c := g.condition(v1alpha1.ConditionProgressing); c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, "data-zoo-2 has 10Gi") {
		t.Errorf("%s: %s", c.Status, c.Message)
	}
	capacity("20Gi")
	g.settle(50)
	for _, name := range []string{"data-zoo-0", "data-zoo-2"} {
		if c := claim(name); c.Spec.Resources.Requests.Storage().String() != "20Gi" || len(c.OwnerReferences) != 1 {
			t.Errorf("%+v", c)
		}
	}
	g.edit(size(0, 0))
	g.settle(100)
	if claim("data-zoo-2") == nil {
		t.Fatal("the volume of a parked member was deleted")
	}
	g.edit(size(1, 0))
	g.settle(300)
	if claim("data-zoo-0") == nil || claim("data-zoo-1") != nil || claim("data-zoo-2") != nil {
		t.Error("volumes of members that were taken out are there, or too many are gone")
	}
	g.healthy()
}

// Volumes stay when the cluster goes, as soon as the spec says so, whatever else of it
// can't be carried out.
func TestVolumesAreKept(t *testing.T) {
	grow := func(c *v1alpha1.CoordinationCluster) { c.Spec.Storage.Size = resource.MustParse("20Gi") }
	for name, c := range map[string]struct {
		obstacle func(*rig)
		reason   string
	}{
		"none":                    {func(*rig) {}, v1alpha1.ReasonSettled},
		"volumes that can't grow": {func(g *rig) { g.fixed = true; g.edit(grow) }, v1alpha1.ReasonVolumeNotResizable},
		"a template that is none": {func(g *rig) { g.edit(template(`{"spec":{"containers":7}}`)) }, v1alpha1.ReasonSpecRejected},
		"a name that is taken": {func(g *rig) {
			ctx, s := context.Background(), &corev1.Service{}
			g.must(g.api.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: "zoo-members"}, s))
			s.OwnerReferences = nil
			g.must(g.api.Update(ctx, s))
		}, v1alpha1.ReasonNameTaken},
		"members that do not run": {func(g *rig) {
			g.badImages["conclave:bad"] = true
			g.edit(image("conclave:bad"))
			g.until(v1alpha1.ConditionProgressing, v1alpha1.ReasonRolloutStuck, 300)
		}, v1alpha1.ReasonRolloutStuck},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t)
			ctx := context.Background()
			retain := func(what v1alpha1.RetentionPolicy) {
				g.edit(func(c *v1alpha1.CoordinationCluster) { c.Spec.Storage.Retention.WhenDeleted = what })
			}
			owned := func() (n int) {
				var all corev1.PersistentVolumeClaimList
				g.must(g.api.List(ctx, &all, client.InNamespace(key.Namespace)))
				for _, claim := range all.Items {
					n += len(claim.OwnerReferences)
					if got := claim.Spec.Resources.Requests.Storage().String(); got != "10Gi" {
						t.Errorf("%s has %s", claim.Name, got)
					}
				}
				return n
			}
			g.create(size(3, 0))
			retain(v1alpha1.RetentionDelete)
			g.settle(300)
			if n := owned(); n != 3 {
				t.Fatalf("%d volumes go with the cluster", n)
			}
			c.obstacle(g)
			g.until(v1alpha1.ConditionProgressing, c.reason, 100)
			retain(v1alpha1.RetentionRetain)
			g.tick()
			g.pass()
			if n := owned(); n != 0 {
				t.Errorf("%d volumes would go with the cluster", n)
			}
			if got := g.condition(v1alpha1.ConditionProgressing); got.Reason != c.reason {
				t.Errorf("%+v", got)
			}
		})
	}
}

func template(raw string) func(*v1alpha1.CoordinationCluster) {
	return func(c *v1alpha1.CoordinationCluster) { c.Spec.PodTemplate = &runtime.RawExtension{Raw: []byte(raw)} }
}

// A template that is none holds up what is made of it, and nothing else.
func TestRejectedTemplate(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	g.create(size(3, 0))
	g.settle(300)
	was := g.pods()
	g.edit(image("conclave:2")) // whose turn has come is drained for it
	for !slices.ContainsFunc(g.log, func(line string) bool { return strings.HasSuffix(line, "Drain zoo-2") }) {
		g.tick()
		g.pass()
	}
	g.edit(template(`{"spec":{"containers":7}}`))
	members := &corev1.Service{}
	g.must(g.api.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: "zoo-members"}, members))
	g.must(g.api.Delete(ctx, members))
	for range 10 {
		g.tick()
		g.pass()
		if g.again > 0 && g.again < soon {
			t.Fatalf("looks again after %v", g.again)
		}
	}
	if c := g.condition(v1alpha1.ConditionProgressing); c.Reason != v1alpha1.ReasonSpecRejected || !strings.Contains(c.Message, "podTemplate") || g.again != watching {
		t.Errorf("looks again after %v: %+v", g.again, c)
	}
	if st := g.world.Status("zoo-2"); st.GetDrain().GetActive() || !st.GetReady() {
		t.Errorf("its clients are let go, and it stays: %v", st)
	}
	g.must(g.api.Get(ctx, client.ObjectKeyFromObject(members), members))
	if is := g.pods(); fmt.Sprint(is) != fmt.Sprint(was) {
		t.Errorf("pods %v, were %v", is, was)
	}
	g.edit(func(c *v1alpha1.CoordinationCluster) { c.Spec.PodTemplate = nil })
	g.settle(300)
	g.healthy()
	if is := g.pods(); is["zoo-0"] == was["zoo-0"] {
		t.Errorf("pods %v, were %v", is, was)
	}
}
