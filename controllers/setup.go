package controllers

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// +kubebuilder:rbac:groups=conclave.dev,resources=coordinationclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=conclave.dev,resources=coordinationclusters/status,verbs=get;patch
// +kubebuilder:rbac:groups=apps,resources=statefulsets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=services;configmaps;serviceaccounts,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;create;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=monitoring.coreos.com,resources=podmonitors,verbs=get;create;patch;delete
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager starts the reconciler with a manager. workers is how many
// clusters are seen to at a time.
func (r *Reconciler) SetupWithManager(m ctrl.Manager, workers int) error {
	if err := ctrl.NewControllerManagedBy(m).
		Named("coordinationcluster-sessions").
		For(&v1alpha1.CoordinationCluster{}).
		WatchesRawSource(source.Channel(r.Projection.Wakes(), &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(reconcile.Func(r.show)); err != nil {
		return err
	}
	// A cluster's status is the reconciler's own; its labels and annotations say
	// nothing to it. That the leader's stream has come or gone says that there is
	// something to be seen among members.
	changed := builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false }, DeleteFunc: func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false }, UpdateFunc: streamChanged,
	}))
	return ctrl.NewControllerManagedBy(m).
		Named("coordinationcluster").
		For(&v1alpha1.CoordinationCluster{}, changed).
		Owns(&appsv1.StatefulSet{}).
		Owns(&corev1.Service{}).
		Owns(&corev1.ConfigMap{}).
		Owns(&corev1.ServiceAccount{}).
		Owns(&policyv1.PodDisruptionBudget{}).
		Owns(&networkingv1.NetworkPolicy{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(clusterOf)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}

// streamChanged tells whether the stream of sessions has come, gone or frozen.
func streamChanged(e event.UpdateEvent) bool {
	reason := func(o client.Object) string {
		if c, ok := o.(*v1alpha1.CoordinationCluster); ok {
			if s := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionSessionsSynced); s != nil {
				return s.Reason
			}
		}
		return ""
	}
	return reason(e.ObjectOld) != reason(e.ObjectNew)
}

// clusterOf returns whose pod it is, by its label.
func clusterOf(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[v1alpha1.LabelCluster]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}

// RandomID makes the id of a new ensemble.
func RandomID() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // crypto/rand never fails on a system that can run this
	}
	return hex.EncodeToString(b[:])
}
