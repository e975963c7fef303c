//go:build envtest

package controllers

import (
	"context"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/resources"
)

// A PodMonitor is a kind that the operator does not know and that need not be
// installed; but somebody else's stays somebody else's, and ours is applied when
// there is a reason.
func TestPodMonitorOnAServer(t *testing.T) {
	kind := resources.PodMonitorKind
	options := envtest.CRDInstallOptions{CRDs: []*apiextensionsv1.CustomResourceDefinition{{
		ObjectMeta: metav1.ObjectMeta{Name: "podmonitors." + kind.Group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: kind.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: kind.Kind, ListKind: kind.Kind + "List", Plural: "podmonitors", Singular: "podmonitor"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: kind.Version, Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: ptr.To(true)}}}},
		},
	}}}
	monitored := func(c *v1alpha1.CoordinationCluster) { c.Spec.Monitoring.PodMonitor = &v1alpha1.PodMonitorSpec{} }
	g := newServerRig(t)
	g.create(monitored)
	g.settle(300) // it is not installed

	if _, err := envtest.InstallCRDs(server.Config, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := envtest.UninstallCRDs(server.Config, options); err != nil {
			t.Error(err)
		}
	})
	g = newServerRig(t)
	ctx := context.Background()
	theirs := &unstructured.Unstructured{}
	theirs.SetGroupVersionKind(kind)
	theirs.SetNamespace(key.Namespace)
	theirs.SetName(key.Name)
	g.must(unstructured.SetNestedField(theirs.Object, "theirs", "spec", "jobLabel"))
	g.must(g.api.Create(ctx, theirs))
	was := theirs.GetResourceVersion()
	g.create(monitored)
	g.until(v1alpha1.ConditionProgressing, v1alpha1.ReasonNameTaken, 300)
	g.healthyBut(v1alpha1.ReasonNameTaken)
	get := func() *unstructured.Unstructured {
		t.Helper()
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(kind)
		g.must(g.api.Get(ctx, key, u))
		return u
	}
	if is := get(); is.GetResourceVersion() != was || g.applies["apply PodMonitor zoo"] != 0 {
		t.Errorf("somebody else's was applied: %v", is)
	}
	g.must(g.api.Delete(ctx, theirs))
	g.settle(300)
	if ours := get(); !metav1.IsControlledBy(ours, g.cluster()) || g.applies["apply PodMonitor zoo"] != 1 {
		t.Errorf("applied %d times: %v", g.applies["apply PodMonitor zoo"], ours)
	}
	g.edit(func(c *v1alpha1.CoordinationCluster) { c.Spec.Monitoring.PodMonitor = nil })
	g.settle(50)
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	if err := g.api.Get(ctx, key, u); err == nil {
		t.Error("it is there, and nobody wants it")
	}
	g.edit(monitored)
	g.settle(50)
	get()
	if got := g.repairs(); len(got) > 0 {
		t.Errorf("taken for somebody else's doing: %q", got)
	}
}
