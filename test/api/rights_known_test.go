//go:build envtest

package api

import (
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// The operator's rights in the namespaces that it looks after are these and no others.
// The file is generated from markers beside the code: whoever adds one says here what
// it is for.
var operatorRights = []string{
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

// electionRights are in the operator's own namespace: its Lease, whose name can't be
// given for create, and Events of the election.
var electionRights = []string{
	"/events create patch",
	"coordination.k8s.io/leases create",
	"coordination.k8s.io/leases get update (operator.conclave.dev)",
}

// Whoever installs all of config gives these rights and no others, and the operator
// has no more of them than are bound to its account. In one namespace it has no right
// in the whole cluster.
func TestRightsAreKnown(t *testing.T) {
	for folder, want := range map[string]struct {
		rights map[string][]string // by role
		bound  []string            // to the operator's account
	}{
		"config/default": {
			map[string][]string{
				"ClusterRole conclave-operator": operatorRights,
				"Role conclave-operator-leader": electionRights,
				// Who asks for metrics is looked up, and may he have them?
				"ClusterRole conclave-operator-metrics-auth":   {"authentication.k8s.io/tokenreviews create", "authorization.k8s.io/subjectaccessreviews create"},
				"ClusterRole conclave-operator-metrics-reader": {"/metrics get"},
				// Kubernetes adds these to its own roles view, edit and admin.
				"ClusterRole conclave-coordinationcluster-viewer": {
					"conclave.dev/coordinationclusters get list watch",
					"conclave.dev/coordinationclusters/scale get list watch",
					"conclave.dev/coordinationclusters/status get list watch",
				},
				"ClusterRole conclave-coordinationcluster-editor": {
					"conclave.dev/coordinationclusters create delete deletecollection patch update",
					"conclave.dev/coordinationclusters/scale patch update",
				},
			},
			[]string{"ClusterRole conclave-operator", "ClusterRole conclave-operator-metrics-auth", "Role conclave-operator-leader"},
		},
		"config/namespaced": {
			map[string][]string{"Role conclave-operator": operatorRights, "Role conclave-operator-leader": electionRights},
			[]string{"Role conclave-operator", "Role conclave-operator-leader"},
		},
	} {
		t.Run(folder, func(t *testing.T) {
			rights, bound := map[string][]string{}, []string{}
			for text := range strings.SplitSeq(built(t, folder), "\n---\n") {
				var o struct {
					metav1.TypeMeta   `json:",inline"`
					metav1.ObjectMeta `json:"metadata"`
					Rules             []rbacv1.PolicyRule
					RoleRef           rbacv1.RoleRef
					Subjects          []rbacv1.Subject
				}
				if err := yaml.Unmarshal([]byte(text), &o); err != nil {
					t.Fatal(err)
				}
				switch o.Kind {
				case "Role", "ClusterRole":
					rights[o.Kind+" "+o.Name] = lines(o.Rules)
				case "RoleBinding", "ClusterRoleBinding":
					if want := (rbacv1.Subject{Kind: "ServiceAccount", Name: "conclave-operator", Namespace: "conclave-system"}); len(o.Subjects) != 1 || o.Subjects[0] != want {
						t.Errorf("%s %s is for %+v", o.Kind, o.Name, o.Subjects)
					}
					if o.Kind != o.RoleRef.Kind+"Binding" {
						t.Errorf("%s %s is of a %s", o.Kind, o.Name, o.RoleRef.Kind)
					}
					bound = append(bound, o.RoleRef.Kind+" "+o.RoleRef.Name)
				}
			}
			for name, is := range rights {
				if want := slices.Sorted(slices.Values(want.rights[name])); !slices.Equal(is, want) {
					t.Errorf("%s gives\n%s\nand is to give\n%s", name, strings.Join(is, "\n"), strings.Join(want, "\n"))
				}
			}
			for name := range want.rights {
				if rights[name] == nil {
					t.Errorf("there is no %s", name)
				}
			}
			if slices.Sort(bound); !slices.Equal(bound, want.bound) {
				t.Errorf("bound are %v, not %v", bound, want.bound)
			}
		})
	}
}

// lines are rules, one of a resource in each.
func lines(rules []rbacv1.PolicyRule) (out []string) {
	for _, r := range rules {
		slices.Sort(r.Verbs)
		verbs := strings.Join(r.Verbs, " ")
		if len(r.ResourceNames) > 0 {
			verbs += " (" + strings.Join(r.ResourceNames, ", ") + ")"
		}
		for _, url := range r.NonResourceURLs {
			out = append(out, url+" "+verbs)
		}
		for _, group := range r.APIGroups {
			for _, resource := range r.Resources {
				out = append(out, group+"/"+resource+" "+verbs)
			}
		}
	}
	slices.Sort(out)
	return out
}
