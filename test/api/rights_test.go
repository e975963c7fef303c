//go:build envtest

package api

import (
	"fmt"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/resources"
)

const operatorAccount = "system:serviceaccount:conclave-system:conclave-operator"

// The operator's account can write every object of a cluster, twice, and its
// status; claims are made by Kubernetes, and only changed.
func TestRightsSuffice(t *testing.T) {
	applyFile(t, built(t, "config/default"))
	config := rest.CopyConfig(server.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: operatorAccount, Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	operator, err := client.New(config, client.Options{Scheme: api.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "rights-"}}
	if err := api.Create(t.Context(), space); err != nil {
		t.Fatal(err)
	}
	u := object(t, "main", everything)
	u.SetNamespace(space.Name)
	if err := api.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	c := &v1alpha1.CoordinationCluster{}
	convert(t, u.Object, c)
	c.Spec.Service.NodePort = nil // another test has it
	if err := api.Apply(t.Context(), resources.Claim(c, resources.VolumeData, resources.Voter, 0, nil), client.FieldOwner("somebody")); err != nil {
		t.Fatal(err)
	}
	applyAll(t, operator, c)
	applyAll(t, operator, c)
	if err := operator.Status().Patch(t.Context(), c, client.RawPatch("application/merge-patch+json", []byte(`{"status":{"ready":"1/3"}}`))); err != nil {
		t.Error(err)
	}
	if err := operator.Patch(t.Context(), c, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":1}}`))); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("it can change a spec: %v", err)
	}
}

// What would make of an operator that was taken over an administrator, it can't do;
// and what people may do is added to Kubernetes' own roles.
func TestRightsEnd(t *testing.T) {
	applyFile(t, built(t, "config/default"))
	for _, c := range []struct {
		verb, group, resource, subresource, namespace, name string
		want                                                bool
	}{
		{"list", "", "secrets", "", "", "", false},
		{"watch", "", "secrets", "", "", "", false},
		{"delete", "", "secrets", "", "shop", "", false},
		{"create", "", "pods", "", "shop", "", false},
		{"patch", "", "pods", "", "shop", "", false},
		{"create", "", "pods", "exec", "shop", "", false},
		{"create", "", "serviceaccounts", "token", "shop", "", false},
		{"delete", "apps", "statefulsets", "", "shop", "", false},
		{"deletecollection", "", "persistentvolumeclaims", "", "shop", "", false},
		{"create", "rbac.authorization.k8s.io", "rolebindings", "", "shop", "", false},
		{"update", "conclave.dev", "coordinationclusters", "", "shop", "", false},
		{"delete", "conclave.dev", "coordinationclusters", "", "shop", "", false},
		{"update", "coordination.k8s.io", "leases", "", "conclave-system", "another", false},
		{"update", "coordination.k8s.io", "leases", "", "conclave-system", "operator.conclave.dev", true},
		{"get", "", "nodes", "", "", "", false},
		{"deletecollection", "coordination.k8s.io", "leases", "", "shop", "", false},
		{"patch", "coordination.k8s.io", "leases", "", "shop", "", true},

		{"get", "", "secrets", "", "shop", "main-ca", true},
		{"delete", "", "pods", "", "shop", "", true},
		{"create", "authentication.k8s.io", "tokenreviews", "", "", "", true},
	} {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: operatorAccount, Groups: []string{"system:serviceaccounts", "system:authenticated"},
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: c.verb, Group: c.group, Resource: c.resource, Subresource: c.subresource, Namespace: c.namespace, Name: c.name},
		}}
		if err := api.Create(t.Context(), review); err != nil {
			t.Fatal(err)
		}
		if review.Status.Allowed != c.want {
			t.Errorf("%s: allowed %v (%s)", fmt.Sprint(c.verb, " ", c.resource, "/", c.subresource, " ", c.name), review.Status.Allowed, review.Status.Reason)
		}
	}
	for _, role := range []string{"conclave-coordinationcluster-viewer", "conclave-coordinationcluster-editor"} {
		if out := kubectl(t, "get", "clusterrole", role, "-o", "jsonpath={.metadata.labels}"); !strings.Contains(out, "rbac.authorization.k8s.io/aggregate-to-") {
			t.Errorf("%s is added to no role: %s", role, out)
		}
	}
}
