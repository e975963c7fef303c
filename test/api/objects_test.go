//go:build envtest

package api

import (
	"context"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/resources"
)

// Every object is one that the API server takes, and that is at rest when it is
// applied again: what the operator says and what the server makes of it are the
// same, so that nothing is written for nothing.
func TestObjectsAreAtRest(t *testing.T) {
	for name, spec := range map[string]string{"nothing said": "{}", "everything said": everything} {
		t.Run(name, func(t *testing.T) {
			space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "objects-"}}
			if err := api.Create(t.Context(), space); err != nil {
				t.Fatal(err)
			}
			u := object(t, "main", spec)
			u.SetNamespace(space.Name)
			if err := api.Create(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			c := &v1alpha1.CoordinationCluster{}
			convert(t, u.Object, c)
			applyAll(t, api, c)
			// Once more, because an API server writes a claim that is applied for the
			// second time, with the same content.
			first := applyAll(t, api, c)
			second := applyAll(t, api, c)
			for i, o := range first {
				if a, b := o.GetResourceVersion(), second[i].GetResourceVersion(); a != b || a == "" {
					t.Errorf("%s %s was written again: version %s, then %s", o.GetKind(), o.GetName(), a, b)
				}
			}
		})
	}
}

func applyAll(t *testing.T, as client.Client, c *v1alpha1.CoordinationCluster) []*unstructured.Unstructured {
	t.Helper()
	rev, err := resources.Render(c, "registry.example/conclave:1")
	if err != nil {
		t.Fatal(err)
	}
	config, err := rev.ConfigMap(c)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := resources.NetworkPolicy(c, "conclave-system")
	if err != nil {
		t.Fatal(err)
	}
	var out []*unstructured.Unstructured
	for _, o := range []any{
		resources.Headless(c), resources.ClientService(c), resources.ServiceAccount(c), config, policy,
		resources.TLSSecret(c, []byte("a"), []byte("b"), []byte("c")), resources.ReaderSecret(c, []byte("bundle"), []byte("cert"), []byte("key")), resources.AuthoritySecret(c, map[string][]byte{"tls.crt": []byte("a")}),
		resources.StatefulSet(c, resources.Voter, rev, resources.Set{Replicas: 3, Partition: 3}),
		resources.StatefulSet(c, resources.Observer, rev, resources.Set{Replicas: 2}),
		resources.Claim(c, resources.VolumeData, resources.Voter, 0, nil),
		resources.Budget(c, resources.Voter, 3, true), resources.Budget(c, resources.Observer, 2, false),
	} {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: content}
		if err := as.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(v1alpha1.FieldOwner), client.ForceOwnership); err != nil {
			t.Errorf("%s %s: %v", u.GetKind(), u.GetName(), err)
			continue
		}
		out = append(out, u)
	}
	return out
}

// Sizes that grow meet claim templates that can't.
func TestGrowingVolumes(t *testing.T) {
	u := create(t, "main", "{storage: {size: 1Gi}}")
	c := &v1alpha1.CoordinationCluster{}
	convert(t, u.Object, c)
	objects := applyAll(t, api, c)
	t.Cleanup(func() {
		for _, o := range objects {
			if err := api.Delete(context.WithoutCancel(t.Context()), o); client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		}
	})
	rev, err := resources.Render(c, "registry.example/conclave:1")
	if err != nil {
		t.Fatal(err)
	}
	apply := func(set resources.Set) error {
		return api.Apply(t.Context(), resources.StatefulSet(c, resources.Voter, rev, set), client.FieldOwner(v1alpha1.FieldOwner), client.ForceOwnership)
	}
	c.Spec.Storage.Size.Add(c.Spec.Storage.Size)
	if err := apply(resources.Set{Replicas: 3, Partition: 3}); err == nil {
		t.Error("claim templates can change, and ClaimSizes is not needed")
	}
	set := &appsv1.StatefulSet{}
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "main"}, set); err != nil {
		t.Fatal(err)
	}
	if err := apply(resources.Set{Replicas: 3, Partition: 3, Sizes: resources.ClaimSizes(set)}); err != nil {
		t.Error(err)
	}
}
