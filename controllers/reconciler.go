package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/ensemble"
	"github.com/conclave-dev/conclave/internal/membership"
	"github.com/conclave-dev/conclave/internal/pace"
	"github.com/conclave-dev/conclave/internal/pki"
	"github.com/conclave-dev/conclave/internal/resources"
	"github.com/conclave-dev/conclave/internal/rollout"
)

// Reconciler brings CoordinationClusters to what their specs say, one step a
// pass. It keeps nothing between passes that matters: another one may go on
// after any of its calls.
type Reconciler struct {
	// Client reads from a cache, and writes.
	client.Client
	// Reader reads from the API server itself: what decisions about the life of an
	// ensemble rest upon is never taken from a cache.
	Reader client.Reader
	// Recorder tells the story.
	Recorder events.EventRecorder
	// Ensembles connects to members.
	Ensembles Ensembles
	// Projection reads the session streams, and writes Leases.
	Projection Projection
	// Turns say when figures may be written into status, of all clusters.
	Turns *pace.Line
	// Image is the operator's own, which clusters get that name none.
	Image string
	// Namespace is the operator's own, from which its members' admin ports may be
	// reached; empty if it runs outside of a cluster.
	Namespace string
	// Policy is how long certificates last.
	Policy pki.Policy
	// Now is the clock.
	Now func() time.Time
	// FreshID makes a random id for a new ensemble: 32 hexadecimal digits.
	FreshID func() string

	own     ownCertificates
	applied intents
	figured moments
}

// Ensembles connects to the members of clusters.
type Ensembles interface {
	// For returns the connections to a cluster's members under these credentials.
	For(cluster client.ObjectKey, c Credentials) (ensemble.Ensemble, error)
	// Forget closes all connections to a cluster that is no more.
	Forget(cluster client.ObjectKey)
}

// When a pass is followed by another one that nothing has asked for.
const (
	// soon is after a step that was taken: the next one may be due.
	soon = 200 * time.Millisecond
	// watching is while something is under way that no watch reports: a member
	// catches up, clients let go.
	watching = 2 * time.Second
	// resting is when all is well: how old status may be.
	resting = 15 * time.Second
)

// pass is one pass over one cluster: what was read, what it means, and what is
// done about it.
type pass struct {
	*Reconciler
	key client.ObjectKey
	// cluster is as the API server had it; status is what is to be written.
	cluster *v1alpha1.CoordinationCluster
	status  *v1alpha1.CoordinationClusterStatus
	seen    observation
	api     ensemble.Ensemble

	plan membership.Plan
	roll rollout.Plan
	// revision is what pods are to be; nil if the spec can't be carried out.
	revision *resources.Revision
	// armed: this pass has applied another template, so that what is planned about
	// restarts is about the one before.
	armed bool
	// rerendered: the revision that StatefulSets have was lost, and rendered anew, by
	// another version of the operator perhaps, so that pods of it may differ.
	rerendered bool
	// acted is the step that was taken, in words; empty if none was.
	acted string
	// failed is why a step could not be taken.
	failed error
	// trouble is what stands in the way of everything else; nil if nothing does.
	trouble *trouble
	// aside is what a person has to see to as well, and what holds up nothing; nil if
	// there is nothing.
	aside *trouble
	// lock: status is written only if nobody else has written the object since it
	// was read. So it is with every latch.
	lock bool
	// again is when to look again.
	again time.Duration
}

// trouble is something that a person has to see to.
type trouble struct {
	condition, reason, message string
}

// Reconcile does one pass.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	cluster := &v1alpha1.CoordinationCluster{}
	if err := r.Reader.Get(ctx, req.NamespacedName, cluster); err != nil {
		if apierrors.IsNotFound(err) {
			r.Projection.Forget(req.NamespacedName)
			r.Ensembles.Forget(req.NamespacedName)
			r.own.forget(req.NamespacedName)
			r.applied.forget(req.NamespacedName)
			r.figured.forget(req.NamespacedName)
			r.Turns.Leave(passWriter(req.NamespacedName))
			forgetMetrics(req.NamespacedName)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("reading the CoordinationCluster: %w", err)
	}
	v1alpha1.SetDefaults(cluster)
	p := &pass{Reconciler: r, key: req.NamespacedName, cluster: cluster, status: cluster.Status.DeepCopy(), again: resting}
	err := p.run(ctx)
	if apierrors.IsConflict(err) {
		// Somebody else has written first; what they wrote is to be read.
		return ctrl.Result{RequeueAfter: soon}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: p.again}, nil
}

// errWritten ends a pass early: status was written, and is to be read again before
// anything rests upon it.
var errWritten = errors.New("status was written")

func (p *pass) run(ctx context.Context) error {
	err := p.steps(ctx)
	p.project()
	if errors.Is(err, errWritten) {
		p.again = soon
		return nil
	}
	if err != nil {
		// Status says what is known, whatever failed.
		return errors.Join(err, p.writeStatus(ctx))
	}
	return p.writeStatus(ctx)
}

func (p *pass) steps(ctx context.Context) error {
	if !p.cluster.DeletionTimestamp.IsZero() {
		return nil // what it owns goes with it; there is nothing to be done first
	}
	if err := p.latchImage(ctx); err != nil || p.trouble != nil {
		return err
	}
	if p.cluster.Spec.Paused {
		if err := errors.Join(p.acquaint(ctx), p.observe(ctx)); err != nil {
			return err
		}
		p.decide()
		return nil
	}
	if err := p.certify(ctx); err != nil {
		return err
	}
	if err := p.observe(ctx); err != nil {
		return err
	}
	p.decide()
	if p.plan.Act.Latch() {
		return p.latch(ctx)
	}
	if err := p.ownVolumes(ctx); err != nil {
		return err
	}
	if err := p.applyChildren(ctx); err != nil {
		return err
	}
	if p.trouble != nil && p.trouble.reason != v1alpha1.ReasonSpecRejected {
		return nil
	}
	if done, err := p.recoverMajority(ctx); done || err != nil {
		return err
	}
	return p.act(ctx)
}

// latchImage keeps the image that a cluster begins with, if its spec names none:
// another version of the operator restarts no server.
func (p *pass) latchImage(ctx context.Context) error {
	if p.cluster.Spec.Image != "" || p.status.Image != "" && p.cluster.Spec.Version == "" || p.cluster.Spec.Paused {
		return nil
	}
	if p.Image == "" {
		p.trouble = rejected(errors.New("set spec.image: the operator does not know its own image (--image), which would be taken"))
		return nil
	}
	if p.cluster.Spec.Version != "" {
		return nil
	}
	p.status.Image = p.Image
	log.FromContext(ctx).Info("the cluster takes the operator's image, and keeps it", "image", p.Image)
	p.lock = true
	if err := p.writeStatus(ctx); err != nil {
		return err
	}
	return errWritten
}

// latch writes what the plan wants kept, before anything rests upon it.
func (p *pass) latch(ctx context.Context) error {
	p.setLatches(p.plan)
	p.lock = true
	if err := p.writeStatus(ctx); err != nil {
		return err
	}
	return errWritten
}
