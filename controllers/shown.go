package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	apiac "github.com/conclave-dev/conclave/api/v1alpha1/applyconfiguration/api/v1alpha1"
)

// shownConditions are the conditions that the projection has to say something of.
var shownConditions = []string{v1alpha1.ConditionSessionsSynced, v1alpha1.ConditionLeasesSynced}

// show writes what the projection has to say into status, and nothing else, as a
// field owner of its own. It waits for nobody: a pass over the cluster may wait for
// members that do not answer, at the very time at which sessions are at risk.
//
// Until the projection has something to say, what was shown before stays, and is
// not said to be fresh.
func (r *Reconciler) show(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	c := &v1alpha1.CoordinationCluster{}
	if err := r.Reader.Get(ctx, req.NamespacedName, c); err != nil {
		if apierrors.IsNotFound(err) {
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("reading the CoordinationCluster: %w", err)
	}
	available := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionAvailable)
	if available == nil {
		return ctrl.Result{}, nil // nobody has looked at it yet; when somebody has, this runs again
	}
	status := c.Status.DeepCopy()
	v, ok := r.Projection.View(req.NamespacedName)
	if ok && v.Sessions != nil {
		status.Sessions, status.Leases = v.Sessions, v.Leases
	}
	for i, said := range []metav1.Condition{v.SessionsSynced, v.LeasesSynced} {
		switch {
		case available.Reason == v1alpha1.ReasonParked || available.Reason == v1alpha1.ReasonDeleting: // of all that is so
			said = metav1.Condition{Status: no, Reason: available.Reason, Message: available.Message}
		case ok:
		case status.Bootstrap == nil || !status.Bootstrap.Succeeded:
			said = metav1.Condition{Status: no, Reason: v1alpha1.ReasonNotFounded, Message: "there is no ensemble yet"}
		default:
			said = metav1.Condition{Status: no, Reason: v1alpha1.ReasonConnecting, Message: "the leader's stream has not been read yet"}
			if status.Sessions != nil {
				said.Message += ": what is shown is of an earlier time"
			}
		}
		said.Type, said.Message = shownConditions[i], limit(said.Message, 1500)
		said.ObservedGeneration, said.LastTransitionTime = c.Generation, metav1.NewTime(r.Now())
		meta.SetStatusCondition(&status.Conditions, said)
	}
	measureConditions(req.NamespacedName, status.Conditions, shownConditions)
	if equality.Semantic.DeepEqual(&c.Status, status) {
		return ctrl.Result{}, nil
	}
	ac, err := statusOf(c, status, true)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.Status().Apply(ctx, ac, client.FieldOwner(v1alpha1.FieldOwnerSessions), client.ForceOwnership); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("writing what is known of sessions into status: %w", err)
	}
	return ctrl.Result{}, nil
}

// statusOf is status as one of its two writers applies it: of sessions, or all the
// rest.
func statusOf(c *v1alpha1.CoordinationCluster, status *v1alpha1.CoordinationClusterStatus, ofSessions bool) (*apiac.CoordinationClusterApplyConfiguration, error) {
	part := *status
	part.Sessions, part.Leases = nil, nil
	part.Conditions = slices.DeleteFunc(slices.Clone(status.Conditions), func(c metav1.Condition) bool { return slices.Contains(shownConditions, c.Type) != ofSessions })
	var from any = part
	if ofSessions {
		// Not the type itself, whose numbers would be written with it.
		from = struct {
			Sessions   *v1alpha1.SessionsStatus `json:"sessions,omitempty"`
			Leases     *v1alpha1.LeasesStatus   `json:"leases,omitempty"`
			Conditions []metav1.Condition       `json:"conditions"`
		}{status.Sessions, status.Leases, part.Conditions}
	}
	b, err := json.Marshal(from)
	if err != nil {
		return nil, err
	}
	var out apiac.CoordinationClusterStatusApplyConfiguration
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, err
	}
	return apiac.CoordinationCluster(c.Name, c.Namespace).WithUID(c.UID).WithStatus(&out), nil
}

// unshown is status without what show writes.
func unshown(s *v1alpha1.CoordinationClusterStatus) *v1alpha1.CoordinationClusterStatus {
	out := s.DeepCopy()
	out.Sessions, out.Leases = nil, nil
	out.Conditions = slices.DeleteFunc(out.Conditions, func(c metav1.Condition) bool { return slices.Contains(shownConditions, c.Type) })
	return out
}
