package projector

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1ac "k8s.io/client-go/applyconfigurations/coordination/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/projection/leases"
)

// writeTimeout bounds a write; its outcome is unknown then.
const writeTimeout = 10 * time.Second

// outcome is what became of a write.
type outcome struct {
	write leases.Write
	// lost: the object is not what was thought: lease, or nothing.
	lost  bool
	lease *coordinationv1.Lease
	err   error
}

// send carries out writes, each by itself.
func (f *follower) send(writes []leases.Write) {
	for _, w := range writes {
		f.inFlight++
		f.p.wg.Go(func() {
			ctx, cancel := context.WithTimeout(f.ctx, writeTimeout)
			defer cancel()
			f.outcomes <- f.p.carryOut(ctx, f.key.Namespace, w)
		})
	}
}

// check is what there is of a Lease that the cache shows no more: live, or nothing
// that is known of.
type check struct{ was, live *coordinationv1.Lease }

// check looks a Lease up.
func (f *follower) check(was *coordinationv1.Lease) {
	f.p.wg.Go(func() {
		ctx, cancel := context.WithTimeout(f.ctx, writeTimeout)
		defer cancel()
		c := check{was: was}
		live := &coordinationv1.Lease{}
		if f.p.o.Reader.Get(ctx, client.ObjectKeyFromObject(was), live) == nil {
			c.live = live
		}
		f.checked <- c
	})
}

// know tells the planner. What could not be looked up counts as gone; the API server
// knows better when it is made again.
func (f *follower) know(c check) {
	f.checking--
	now := f.p.o.Now()
	if c.live == nil || c.live.UID != c.was.UID {
		f.planner.Forget(c.was.Name, c.was.UID, now)
	}
	if c.live != nil {
		f.planner.Observe(c.live, now)
	}
}

// landed tells the planner.
func (f *follower) landed(o outcome) {
	f.inFlight--
	now := f.p.o.Now()
	switch {
	case o.err != nil:
		writes.WithLabelValues(o.write.Why, "failed").Inc()
		log.Log.Info("a Lease could not be written; it is tried again", "cluster", f.key, "lease", o.write.Name, "why", o.err.Error())
		f.planner.Failed(o.write, now)
	case o.lost:
		writes.WithLabelValues(o.write.Why, "lost").Inc()
		f.planner.Lost(o.write, o.lease, now)
	default:
		writes.WithLabelValues(o.write.Why, "done").Inc()
		f.planner.Wrote(o.write, o.lease, now)
	}
}

// noVersion is the version of no object that exists: who applies with it makes an
// object, or is told that there is one.
const noVersion = "1"

func (p *Projector) carryOut(ctx context.Context, namespace string, w leases.Write) outcome {
	o := outcome{write: w}
	if w.Verb == leases.Delete {
		l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: w.Name}}
		o.err = p.o.Client.Delete(ctx, l, client.Preconditions{UID: &w.UID, ResourceVersion: &w.ResourceVersion})
	} else {
		ac := applied(w)
		if o.err = p.o.Client.Apply(ctx, ac, client.FieldOwner(v1alpha1.FieldOwner), client.ForceOwnership); o.err == nil {
			// Of what came back no more is looked at than this, and what was written.
			o.lease = w.Lease.DeepCopy()
			o.lease.UID, o.lease.ResourceVersion = *ac.UID, *ac.ResourceVersion
		}
	}
	if !apierrors.IsConflict(o.err) && !apierrors.IsNotFound(o.err) && !apierrors.IsAlreadyExists(o.err) {
		return o
	}
	live := &coordinationv1.Lease{}
	switch err := p.o.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: w.Name}, live); {
	case apierrors.IsNotFound(err):
		o.lost, o.err = true, nil
	case err != nil:
		o.err = err
	default:
		o.lost, o.lease, o.err = true, live, nil
	}
	return o
}

// applied is a write as an apply: what is in it and was not before is set, what was
// and is not any more is taken away, and nothing else.
func applied(w leases.Write) *coordinationv1ac.LeaseApplyConfiguration {
	l := w.Lease
	spec := coordinationv1ac.LeaseSpec().WithHolderIdentity(*l.Spec.HolderIdentity).WithLeaseDurationSeconds(*l.Spec.LeaseDurationSeconds).
		WithAcquireTime(*l.Spec.AcquireTime).WithRenewTime(*l.Spec.RenewTime).WithLeaseTransitions(*l.Spec.LeaseTransitions)
	owner := &l.OwnerReferences[0]
	ac := coordinationv1ac.Lease(l.Name, l.Namespace).WithLabels(l.Labels).WithAnnotations(l.Annotations).WithSpec(spec).
		WithOwnerReferences(metav1ac.OwnerReference().WithAPIVersion(owner.APIVersion).WithKind(owner.Kind).WithName(owner.Name).WithUID(owner.UID).WithController(*owner.Controller))
	if w.Verb == leases.Create {
		return ac.WithResourceVersion(noVersion)
	}
	return ac.WithUID(w.UID).WithResourceVersion(w.ResourceVersion)
}
