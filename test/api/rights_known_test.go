//go:build envtest

package api

import (
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// The operator's rights are these and no others. The file is generated from markers
// beside the code: whoever adds one says here what it is for.
func TestRightsAreKnown(t *testing.T) {
	want := []string{
		// Objects of a cluster.
		"/configmaps create delete get list patch watch", // delete: revisions that no pod has any more
		"/serviceaccounts create delete get list patch watch",
		"/services create delete get list patch watch",
		"apps/statefulsets create get list patch watch",
		"monitoring.coreos.com/podmonitors create delete get patch",
		"networking.k8s.io/networkpolicies create delete get list patch watch",
		"policy/poddisruptionbudgets create delete get list patch watch",
		// Of its own making, and never listed: secrets of others are none of its business.
		"/secrets create get patch",
		// StatefulSets make these. Claims are grown, and deleted as the spec says; a pod
		// that is stuck on a bad revision is deleted.
		"/persistentvolumeclaims delete get list patch watch",
		"/pods delete get list watch",
		// Whose spec is the users' alone.
		"conclave.dev/coordinationclusters get list watch",
		"conclave.dev/coordinationclusters/status get patch",
		// What it shows.
		"coordination.k8s.io/leases create delete get list patch watch",
		"events.k8s.io/events create patch",
	}
	text, err := os.ReadFile("../../config/rbac/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict(text, &role); err != nil {
		t.Fatal(err)
	}
	var is []string
	for _, r := range role.Rules {
		if len(r.NonResourceURLs) > 0 || len(r.ResourceNames) > 0 {
			t.Errorf("a rule of another kind: %+v", r)
		}
		slices.Sort(r.Verbs)
		for _, group := range r.APIGroups {
			for _, resource := range r.Resources {
				is = append(is, group+"/"+resource+" "+strings.Join(r.Verbs, " "))
			}
		}
	}
	slices.Sort(is)
	slices.Sort(want)
	if !slices.Equal(is, want) {
		t.Errorf("the operator may\n%s\nand is to be allowed\n%s", strings.Join(is, "\n"), strings.Join(want, "\n"))
	}
}
