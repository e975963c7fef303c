package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	clientgo "k8s.io/client-go/applyconfigurations"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/api/v1alpha1/applyconfiguration"
	apiac "github.com/conclave-dev/conclave/api/v1alpha1/applyconfiguration/api/v1alpha1"
)

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
	g.applies[name]++
	was := version()
	if err := g.before(name); err != nil {
		return err
	}
	if claim, ok := ac.(*corev1ac.PersistentVolumeClaimApplyConfiguration); ok && g.fixed {
		is := &corev1.PersistentVolumeClaim{}
		g.must(g.api.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: m.Name}, is))
		if size := (*claim.Spec.Resources.Requests)[corev1.ResourceStorage]; size.Cmp(*is.Spec.Resources.Requests.Storage()) != 0 {
			return apierrors.NewForbidden(corev1.Resource("persistentvolumeclaims"), m.Name, errors.New("only dynamically provisioned pvc can be resized"))
		}
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
