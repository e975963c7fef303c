package projector

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/ensemble"
	"github.com/conclave-dev/conclave/internal/pace"
	"github.com/conclave-dev/conclave/internal/projection/leases"
	"github.com/conclave-dev/conclave/internal/projection/summary"
)

// Member is a member that may lead.
type Member struct {
	ensemble.Endpoint
	// ID is its raft id, 0 if it has not told.
	ID uint64
}

// Target is where a cluster's sessions are to be had, and what its spec wants of
// them.
type Target struct {
	Cluster *v1alpha1.CoordinationCluster
	API     ensemble.Ensemble
	Members []Member
	// Leader is the pod of the member that leads by its own word, empty if none does.
	Leader string
	// NoQuorum: by the members' word there is none.
	NoQuorum bool
}

// View is what status says. Conditions lack generation and time of transition.
type View struct {
	Sessions                     *v1alpha1.SessionsStatus
	Leases                       *v1alpha1.LeasesStatus
	SessionsSynced, LeasesSynced metav1.Condition
}

// Options of a Projector; all are needed.
type Options struct {
	// Client writes Leases. Reader reads them from the API server itself.
	Client client.Client
	Reader client.Reader
	// Cache has the Leases with a cluster's label.
	Cache cache.Cache
	// Recorder leaves Events.
	Recorder events.EventRecorder
	// Pod finds the pod that has an address now.
	Pod func(netip.Addr) (Pod, bool)
	// Now is the clock.
	Now func() time.Time
	// Limits of writes of Leases, for all clusters together.
	Limits leases.Limits
	// Turns say when a view may change: each change is a write of status.
	Turns *pace.Line
}

// Pod is a client's pod.
type Pod struct {
	summary.Pod
	Created time.Time
}

// wakes is how many clusters wait for the reconciler at a time; more try again.
const wakes = 1024

// eventsPerSecond is how many Events are left of sessions in a second, all clusters
// taken together. With Leases (leases.DefaultLimits), status (pace.PerSecond) and the
// operator's own election they are the hundred writes a second that an API server is
// to bear, whatever clients do.
const eventsPerSecond = 4

// Projector keeps a follower for each cluster. It is a manager's Runnable.
type Projector struct {
	o      Options
	budget *leases.Budget
	// events say when an Event may be left.
	events *pace.Line
	wake   chan event.GenericEvent

	// ctx ends all followers; ready is closed when the cache has all Leases.
	ctx   context.Context
	stop  context.CancelFunc
	ready chan struct{}
	wg    sync.WaitGroup

	mu        sync.Mutex
	stopped   bool
	followers map[client.ObjectKey]*follower
}

// New makes a Projector, which does nothing until it is started.
func New(o Options) *Projector {
	p := &Projector{o: o, budget: leases.NewBudget(o.Limits), events: pace.New(eventsPerSecond),
		wake: make(chan event.GenericEvent, wakes), ready: make(chan struct{}), followers: make(map[client.ObjectKey]*follower)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// Wakes are the clusters whose views have changed.
func (p *Projector) Wakes() <-chan event.GenericEvent { return p.wake }

// Start runs until ctx ends, and returns when all that it began has ended.
func (p *Projector) Start(ctx context.Context) error {
	defer func() {
		p.mu.Lock()
		p.stopped = true
		p.mu.Unlock()
		p.stop()
		p.wg.Wait()
	}()
	informer, err := p.o.Cache.GetInformer(ctx, &coordinationv1.Lease{})
	if err != nil {
		return fmt.Errorf("watching Leases: %w", err)
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { p.seen(o, false) },
		UpdateFunc: func(_, o any) { p.seen(o, false) },
		DeleteFunc: func(o any) { p.seen(o, true) },
	})
	if err != nil {
		return fmt.Errorf("watching Leases: %w", err)
	}
	defer informer.RemoveEventHandler(registration)
	if !toolscache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return errors.New("watching Leases: ended before they were all read")
	}
	close(p.ready)
	<-ctx.Done()
	return nil
}

// seen passes on what happened to a Lease.
func (p *Projector) seen(o any, gone bool) {
	if tombstone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = tombstone.Obj
	}
	l, ok := o.(*coordinationv1.Lease)
	if !ok {
		return
	}
	p.mu.Lock()
	f := p.followers[client.ObjectKey{Namespace: l.Namespace, Name: l.Labels[v1alpha1.LabelCluster]}]
	p.mu.Unlock()
	if f != nil {
		f.notice(l, gone)
	}
}

// Follow takes up a cluster, or tells what is new of one.
func (p *Projector) Follow(t Target) {
	key := client.ObjectKeyFromObject(t.Cluster)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	f := p.followers[key]
	// Another ensemble has other transactions.
	if f != nil && (f.uid != t.Cluster.UID || f.clusterID != t.Cluster.Status.ClusterID) {
		f.stop()
		f = nil
	}
	if f == nil {
		f = newFollower(p, t)
		p.followers[key] = f
		p.wg.Go(f.run)
	}
	f.retarget(t)
}

// Forget ends the follower of a cluster. Its Leases stay; they go with the cluster.
func (p *Projector) Forget(key client.ObjectKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.followers[key]; f != nil {
		f.stop()
		delete(p.followers, key)
	}
}

// View is what status is to say of a cluster; ok is false if there is nothing yet.
func (p *Projector) View(key client.ObjectKey) (v View, ok bool) {
	p.mu.Lock()
	f := p.followers[key]
	p.mu.Unlock()
	if f == nil {
		return View{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view, f.hasView
}
