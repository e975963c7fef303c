package controllers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/membership"
	"github.com/conclave-dev/conclave/internal/resources"
	"github.com/conclave-dev/conclave/internal/rollout"
)

// applyChildren brings every object to what it is to be, but for the sizes of the
// StatefulSets, which only steps change. A spec that says something impossible about
// pods holds up the StatefulSets alone.
func (p *pass) applyChildren(ctx context.Context) error {
	if err := p.loadRevision(ctx); err != nil || p.trouble != nil && p.trouble.reason != v1alpha1.ReasonSpecRejected {
		return err
	}
	rejected := p.trouble
	p.trouble = nil
	if err := p.applyObjects(ctx); err != nil || p.trouble != nil {
		return err
	}
	if p.revision == nil {
		p.trouble = rejected
		return nil
	}
	return p.applyTemplates(ctx)
}

// applyObjects applies everything but StatefulSets.
func (p *pass) applyObjects(ctx context.Context) error {
	c := p.cluster
	wanted := []runtime.ApplyConfiguration{resources.ServiceAccount(c), resources.Headless(c), resources.ClientService(c)}
	// What members run without is applied last, and holds up nothing if somebody else
	// has the name: a member that is not replaced on account of a PodMonitor is worse
	// than one that is not monitored. The rest is needed, a NetworkPolicy too: ports
	// that were to be closed are not to be open.
	var optional []runtime.ApplyConfiguration
	var unwanted []client.Object
	at := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: c.Namespace, Name: name} }
	policy, err := resources.NetworkPolicy(c, p.Namespace)
	if err != nil {
		p.trouble = rejected(err)
		return nil
	}
	if policy != nil {
		wanted = append(wanted, policy)
	} else {
		unwanted = append(unwanted, &networkingv1.NetworkPolicy{ObjectMeta: at(c.Name)})
	}
	for _, observer := range []bool{false, true} {
		members := max(p.set(p.live(observer), observer).Replicas, p.size(observer))
		if b := resources.Budget(c, role(observer), int32(members), p.disturbed()); b != nil {
			optional = append(optional, b)
		} else {
			unwanted = append(unwanted, &policyv1.PodDisruptionBudget{ObjectMeta: at(p.setName(observer))})
		}
	}
	if m := resources.PodMonitor(c); m != nil {
		optional = append(optional, client.ApplyConfigurationFromUnstructured(m))
	}
	for _, ac := range wanted {
		if err := p.apply(ctx, ac); err != nil || p.trouble != nil {
			return err
		}
	}
	for _, ac := range optional {
		if err := p.apply(ctx, ac); err != nil {
			return err
		}
		if p.trouble != nil {
			if p.aside != nil {
				p.trouble.message = p.aside.message + "; " + p.trouble.message
			}
			p.aside, p.trouble = p.trouble, nil
		}
	}
	for _, o := range unwanted {
		if err := p.remove(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// applyTemplates applies the StatefulSets that there are.
func (p *pass) applyTemplates(ctx context.Context) error {
	for _, observer := range []bool{false, true} {
		live := p.live(observer)
		switch {
		case live == nil || !live.DeletionTimestamp.IsZero():
			continue // made by the step that says how many pods it begins with
		case !p.ours(live):
			p.trouble = nameTaken("StatefulSet", live.Name)
			return nil
		}
		if err := p.applySet(ctx, observer, ptr.Deref(live.Spec.Replicas, 1), partition(live)); err != nil {
			return err
		}
	}
	if t := p.status.Target; t != nil {
		t.Image, t.Hash = p.revision.Image(), p.revision.Hash
		if w := want(p.cluster); p.size(false) == w.Voters && p.size(true) == w.Observers {
			t.Generation = p.cluster.Generation
		}
	}
	return nil
}

func role(observer bool) resources.Role {
	if observer {
		return resources.Observer
	}
	return resources.Voter
}

func nameTaken(kind, name string) *trouble {
	return &trouble{v1alpha1.ConditionProgressing, v1alpha1.ReasonNameTaken, fmt.Sprintf("%s %s exists and is not this cluster's: rename or delete it", kind, name)}
}

func rejected(err error) *trouble {
	return &trouble{v1alpha1.ConditionProgressing, v1alpha1.ReasonSpecRejected, err.Error()}
}

// loadRevision reads what pods of the spec's hash are, or renders it, if this hash
// is seen for the first time.
func (p *pass) loadRevision(ctx context.Context) error {
	image := resources.Image(p.cluster, p.Image)
	hash, err := resources.Hash(p.cluster, image)
	if err != nil {
		p.trouble = rejected(err)
		return nil
	}
	kept := &corev1.ConfigMap{}
	err = p.Reader.Get(ctx, client.ObjectKey{Namespace: p.key.Namespace, Name: resources.RevisionName(p.cluster, hash)}, kept)
	switch {
	case err == nil && !p.ours(kept):
		p.trouble = nameTaken("ConfigMap", kept.Name)
		return nil
	case err == nil:
		if p.revision, err = resources.ParseRevision(kept); err != nil {
			p.trouble = rejected(err)
		}
		return nil
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("reading the revision: %w", err)
	}
	made, err := resources.Render(p.cluster, image)
	if err != nil {
		p.trouble = rejected(err)
		return nil
	}
	ac, err := made.ConfigMap(p.cluster)
	if err != nil {
		return err
	}
	if err := p.Apply(ctx, ac, client.FieldOwner(v1alpha1.FieldOwner), client.ForceOwnership); err != nil {
		return fmt.Errorf("keeping the revision: %w", err)
	}
	p.revision = made
	for _, observer := range []bool{false, true} {
		if live := p.live(observer); live != nil && live.Annotations[v1alpha1.AnnotationHash] == hash {
			p.rerendered = true
			const why = "ConfigMap %s, which says what pods are to be, was deleted, and is rendered anew by this version of the operator; " +
				"if another version had rendered it, members are restarted one by one"
			p.warn(ctx, "RevisionLost", "RenderRevision", fmt.Sprintf(why, resources.RevisionName(p.cluster, hash)))
			break
		}
	}
	return nil
}

func (p *pass) live(observer bool) *appsv1.StatefulSet {
	if observer {
		return p.seen.observers
	}
	return p.seen.voters
}

func partition(s *appsv1.StatefulSet) int32 {
	if u := s.Spec.UpdateStrategy.RollingUpdate; u != nil {
		return ptr.Deref(u.Partition, 0)
	}
	return 0
}

// applySets carries out a step that is about StatefulSets.
func (p *pass) applySets(ctx context.Context) error {
	for _, observer := range []bool{false, true} {
		var replicas, part int32
		if live := p.live(observer); live != nil {
			replicas, part = ptr.Deref(live.Spec.Replicas, 1), partition(live)
		}
		switch {
		case p.plan.Act == membership.SetPods && observer:
			replicas = int32(p.plan.Pods.Observers)
		case p.plan.Act == membership.SetPods:
			replicas = int32(p.plan.Pods.Voters)
		case p.roll.Act == rollout.Lower && observer == p.roll.Observers:
			part = int32(p.roll.Partition)
		default:
			continue
		}
		if err := p.applySet(ctx, observer, replicas, part); err != nil {
			return err
		}
	}
	return nil
}

// applySet applies a StatefulSet at a size. If the spec says something else about
// pods than the one that is there was made from, or the same is rendered anew, the
// template comes with a partition above all pods that there are: none moves by itself.
// So it is with one that is made again over pods, which may be of any revision:
// somebody has deleted it and let them live, perhaps in the middle of a roll.
func (p *pass) applySet(ctx context.Context, observer bool, replicas, part int32) error {
	live := p.live(observer)
	if live != nil && (p.rerendered || live.Annotations[v1alpha1.AnnotationHash] != p.revision.Hash) {
		part = ptr.Deref(live.Spec.Replicas, 1)
		p.armed = true
		log.FromContext(ctx).Info("the template of pods is another one; where it differs they are restarted one by one", "statefulSet", live.Name, "hash", p.revision.Hash)
	}
	if live == nil && p.orphans(observer) {
		part = replicas
	}
	return p.apply(ctx, resources.StatefulSet(p.cluster, role(observer), p.revision,
		resources.Set{Replicas: replicas, Partition: part, Sizes: resources.ClaimSizes(live)}))
}

// orphans tells whether there are pods of a StatefulSet.
func (p *pass) orphans(observer bool) bool {
	return slices.ContainsFunc(p.seen.pods, func(pod corev1.Pod) bool {
		s, ok := p.seatOf(pod.Name)
		return ok && s.Observer == observer
	})
}

// apply applies an object, unless it exists and is somebody else's.
func (p *pass) apply(ctx context.Context, ac runtime.ApplyConfiguration) error {
	m, wanted, err := identity(ac)
	if err != nil {
		return err
	}
	object := m.Kind + " " + m.Name
	last, known := p.applied.of(p, object)
	var found client.Object = &unstructured.Unstructured{}
	if o, err := p.Scheme().New(m.GroupVersionKind()); err == nil {
		found = o.(client.Object)
	} else { // a PodMonitor
		found.GetObjectKind().SetGroupVersionKind(m.GroupVersionKind())
	}
	at := client.ObjectKey{Namespace: p.key.Namespace, Name: m.Name}
	err = p.Get(ctx, at, found)
	if apierrors.IsNotFound(err) {
		err = p.Reader.Get(ctx, at, found) // the cache has only what is labelled as a cluster's
	}
	switch {
	case apierrors.IsNotFound(err):
		found = nil
	case meta.IsNoMatchError(err):
		return nil // a kind that is not installed here
	case err != nil:
		return fmt.Errorf("reading %s: %w", object, err)
	case !p.ours(found):
		p.trouble = nameTaken(m.Kind, m.Name)
		return nil
	case known && last.version == found.GetResourceVersion() && bytes.Equal(last.text, wanted):
		return nil
	}
	apply := func() error {
		return p.Apply(ctx, ac, client.FieldOwner(v1alpha1.FieldOwner), client.ForceOwnership)
	}
	err = apply()
	if apierrors.IsInvalid(err) && found != nil {
		if taken, err1 := p.takeOver(ctx, found.DeepCopyObject().(client.Object)); err1 != nil {
			err = errors.Join(err, err1)
		} else if taken {
			err = apply()
		}
	}
	if err != nil {
		return fmt.Errorf("applying %s: %w", object, err)
	}
	after, text, err := identity(ac)
	if err != nil {
		return fmt.Errorf("reading what has become of %s: %w", object, err)
	}
	p.applied.note(p, object, intent{wanted, after.ResourceVersion})
	if known {
		p.tellRepair(ctx, last, wanted, found, &after, text)
	}
	return nil
}

// remove deletes an object if it is there and ours.
func (p *pass) remove(ctx context.Context, o client.Object) error {
	if kind, err := p.GroupVersionKindFor(o); err == nil {
		p.applied.drop(p, kind.Kind+" "+o.GetName())
	}
	err := p.Get(ctx, client.ObjectKeyFromObject(o), o)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil || !p.ours(o) || !o.GetDeletionTimestamp().IsZero() {
		return err
	}
	uid := o.GetUID()
	return client.IgnoreNotFound(p.Delete(ctx, o, client.Preconditions{UID: &uid}))
}

// forgetRevisions deletes revisions that nothing is made from any more. It is done
// at rest only: a pod that is away for the moment comes back on the revision that
// it had.
func (p *pass) forgetRevisions(ctx context.Context) error {
	used := map[string]bool{p.revision.Hash: true}
	for _, observer := range []bool{false, true} {
		live := p.live(observer)
		switch {
		case live == nil:
			continue
		case live.Status.ObservedGeneration < live.Generation || live.Status.CurrentRevision != live.Status.UpdateRevision:
			return nil // its controller may yet make a pod of the one before
		}
		used[live.Annotations[v1alpha1.AnnotationHash]] = true
	}
	for i := range p.seen.pods {
		used[p.seen.pods[i].Annotations[v1alpha1.AnnotationHash]] = true
	}
	var kept corev1.ConfigMapList
	if err := p.List(ctx, &kept, client.InNamespace(p.key.Namespace), client.MatchingLabels{v1alpha1.LabelCluster: p.key.Name}); err != nil {
		return fmt.Errorf("listing revisions: %w", err)
	}
	for i := range kept.Items {
		m := &kept.Items[i]
		hash := m.Annotations[v1alpha1.AnnotationHash]
		if hash == "" || used[hash] || m.Name != resources.RevisionName(p.cluster, hash) {
			continue
		}
		if err := p.remove(ctx, m); err != nil {
			return fmt.Errorf("deleting revision %s: %w", m.Name, err)
		}
	}
	return nil
}

// forgetPodMonitor deletes the one that is not wanted any more.
func (p *pass) forgetPodMonitor(ctx context.Context) error {
	if p.cluster.Spec.Monitoring.PodMonitor != nil {
		return nil
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(resources.PodMonitorKind)
	err := p.Reader.Get(ctx, client.ObjectKeyFromObject(p.cluster), u)
	if err == nil && p.ours(u) {
		p.applied.drop(p, resources.PodMonitorKind.Kind+" "+u.GetName())
		return client.IgnoreNotFound(p.Delete(ctx, u))
	}
	return nil // whoever may not read it, or has no such kind, has none
}

// ours tells whether an object belongs to this very cluster.
func (p *pass) ours(o metav1.Object) bool { return metav1.IsControlledBy(o, p.cluster) }
