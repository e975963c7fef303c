package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	toolswatch "k8s.io/client-go/tools/watch"

	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/hist"
)

// kind of a change.
type kind int

const (
	created kind = iota
	deleted
	handed
	kinds
)

func (k kind) String() string {
	return [...]string{"an ephemeral is created", "an ephemeral is deleted", "an election is handed over"}[k]
}

// view is the Leases as a watch shows them, beside what they have to be.
type view struct {
	mu sync.Mutex
	// shown are the Leases that there are, want the holders that there have to be.
	shown map[string]shown
	want  map[string]string
	// awaited are the changes that were not seen yet, by Lease.
	awaited map[string][]await
	latency [kinds]hist.H
	events  int
	// lapsed are the Leases that had run out when they were written again or removed;
	// first says which was the first.
	lapsed int
	first  string
	// down are the times without an operator.
	down   []span
	failed error
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

type shown struct {
	holder string
	// since is when it changed last, by our clock, renewed what it says itself.
	since, renewed time.Time
	duration       time.Duration
}

// span is a time; to is zero until it is over.
type span struct{ from, to time.Time }

// await is a change that was due at the time at; holder is empty if the Lease goes.
type await struct {
	holder string
	kind   kind
	at     int64
}

// watchLeases begins to watch a namespace.
func watchLeases(ctx context.Context, kube kubernetes.Interface, namespace string) (*view, error) {
	list, err := kube.CoordinationV1().Leases(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	if len(list.Items) > 0 {
		return nil, fmt.Errorf("namespace %s has %d Leases already", namespace, len(list.Items))
	}
	w, err := toolswatch.NewRetryWatcherWithContext(ctx, list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return kube.CoordinationV1().Leases(namespace).Watch(ctx, o)
		},
	})
	if err != nil {
		return nil, err
	}
	v := &view{shown: make(map[string]shown), want: make(map[string]string), awaited: make(map[string][]await), cancel: w.Stop}
	v.ended.Go(func() {
		for e := range w.ResultChan() {
			v.see(e)
		}
	})
	return v, nil
}

// Close ends the watch.
func (v *view) Close() {
	v.cancel()
	v.ended.Wait()
}

func (v *view) see(e watch.Event) {
	now := engine.Monotonic()
	v.mu.Lock()
	defer v.mu.Unlock()
	l, ok := e.Object.(*coordinationv1.Lease)
	if !ok {
		v.failed = fmt.Errorf("the watch of Leases: %v %T %+v", e.Type, e.Object, e.Object)
		return
	}
	if s := l.Spec; s.HolderIdentity == nil || s.LeaseDurationSeconds == nil || s.RenewTime == nil {
		v.failed = fmt.Errorf("the Lease %s lacks a holder, a duration or a time of renewal: %+v", l.Name, s)
		return
	}
	v.events++
	at := time.Now()
	if was, ok := v.shown[l.Name]; ok {
		if over := v.over(was, at); over > 0 {
			if v.lapsed++; v.lapsed == 1 {
				v.first = fmt.Sprintf("%s by %v, good for %v", l.Name, over.Round(time.Millisecond), was.duration)
			}
		}
	}
	holder := ""
	if e.Type == watch.Deleted {
		delete(v.shown, l.Name)
	} else {
		holder = *l.Spec.HolderIdentity
		v.shown[l.Name] = shown{holder: holder, since: at, renewed: l.Spec.RenewTime.Time, duration: time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second}
	}
	list := v.awaited[l.Name]
	i := len(list) - 1
	for i >= 0 && list[i].holder != holder {
		i--
	}
	for _, a := range list[:i+1] {
		if a.at > 0 {
			v.latency[a.kind].Record(now - a.at)
		}
	}
	if list = list[i+1:]; len(list) == 0 {
		delete(v.awaited, l.Name)
	} else {
		v.awaited[l.Name] = list
	}
}

// expect tells who has to be shown from now on.
func (v *view) expect(lease, holder string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.want[lease] = holder
}

// change is expect, and the change is waited for if it was due at a time at.
func (v *view) change(lease, holder string, k kind, at int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if holder == "" {
		delete(v.want, lease)
	} else {
		v.want[lease] = holder
	}
	if at > 0 {
		v.awaited[lease] = append(v.awaited[lease], await{holder, k, at})
	}
}

// Latency returns what was recorded since the last call.
func (v *view) Latency() [kinds]*hist.H {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out [kinds]*hist.H
	for k := range out {
		out[k] = &hist.H{}
		out[k].Merge(&v.latency[k])
		v.latency[k].Reset()
	}
	return out
}

// Count is how many Leases are shown, and how many have to be.
func (v *view) Count() (shown, want int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.shown), len(v.want)
}

// wrong says what is shown and should not be, or is not and should.
func (v *view) wrong() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.failed != nil {
		return v.failed
	}
	var missing, other, left, late []string
	for name, holder := range v.want {
		switch s, ok := v.shown[name]; {
		case !ok:
			missing = append(missing, name)
		case s.holder != holder:
			other = append(other, fmt.Sprintf("%s (%s, and it is %s)", name, s.holder, holder))
		}
	}
	for name := range v.shown {
		if _, ok := v.want[name]; !ok {
			left = append(left, name)
		}
	}
	for name := range v.awaited {
		late = append(late, name)
	}
	if len(missing)+len(other)+len(left)+len(late) == 0 {
		return nil
	}
	some := func(list []string) string {
		slices.Sort(list)
		return fmt.Sprintf("%d (%s)", len(list), strings.Join(list[:min(3, len(list))], ", "))
	}
	return fmt.Errorf("of %d Leases are missing %s, have another holder %s, are left over %s, have changes that were not seen %s",
		len(v.want), some(missing), some(other), some(left), some(late))
}

// Right waits until every Lease is as it has to be.
func (v *view) Right(within time.Duration) error {
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		err := v.wrong()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v: %w", within, err)
		}
	}
}

// over is for how long a Lease had run out at a time, by what it says itself; less than
// 0 if it had not. Time without an operator does not count. A Lease that nobody holds
// is released, and does not run out.
func (v *view) over(s shown, at time.Time) time.Duration {
	if s.holder == "" {
		return -1
	}
	age := at.Sub(s.renewed)
	for _, d := range v.down {
		from, to := d.from, d.to
		if to.IsZero() || to.After(at) {
			to = at
		}
		if from.Before(s.renewed) {
			from = s.renewed
		}
		age -= max(0, to.Sub(from))
	}
	return age - s.duration
}

// Down tells that there is no operator from now on.
func (v *view) Down() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.down = append(v.down, span{from: time.Now()})
}

// Up tells that there is one again.
func (v *view) Up() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := len(v.down); n > 0 {
		v.down[n-1].to = time.Now()
	}
}

// Lapsed is how many Leases had run out when they were written again or removed, and
// which was the first.
func (v *view) Lapsed() (n int, first string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.lapsed, v.first
}

// Events is how many changes of Leases were seen.
func (v *view) Events() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.events
}

// Due is how many renewals there have to be within a time on average, so that no Lease
// runs out.
func (v *view) Due(within time.Duration) (n float64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.shown {
		if s.holder != "" {
			n += float64(within) / float64(s.duration)
		}
	}
	return n
}

// enough tells whether so many renewals were made as can be wanted of those that were
// due. They take turns, but not evenly: a tenth will do, and where few are due none.
func enough(renewals int, due float64) error {
	if due >= 20 && float64(renewals) < due/10 {
		return fmt.Errorf("%d renewals of Leases, of %.0f that were due on average: they will run out, and nobody renews them", renewals, due)
	}
	return nil
}

// RunOut is how many Leases were not renewed in time, and have run out now.
func (v *view) RunOut() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.shown {
		if time.Since(s.since) > s.duration {
			n++
		}
	}
	return n
}

// Duration is the longest for which a Lease is good.
func (v *view) Duration() (longest time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.shown {
		longest = max(longest, s.duration)
	}
	return longest
}
