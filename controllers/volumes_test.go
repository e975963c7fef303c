package controllers

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
