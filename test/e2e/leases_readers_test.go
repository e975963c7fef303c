//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/test/e2e/witness"
)

// readers are who watch independently of the operator: a client-go watch of the
// Leases, and a ZooKeeper client that watches the nodes behind them.
type readers struct {
	e  *ensemble
	zk *zk.Conn

	mu      sync.Mutex
	shown   map[string][]witness.Shown
	records map[string]*witness.Record
	windows []witness.Window
	stop    []func()
}

// observe begins to read: all Leases, and the children of these nodes.
func (e *ensemble) observe(parents ...string) *readers {
	e.t.Helper()
	r := &readers{e: e, shown: map[string][]witness.Shown{}, records: map[string]*witness.Record{}}
	kube, err := kubernetes.NewForConfig(target.config)
	if err != nil {
		e.t.Fatal(err)
	}
	r.stop = append(r.stop, stopsWith(e.t, func(ctx context.Context) {
		version := ""
		for ctx.Err() == nil {
			follow(ctx, func() (watch.Interface, error) {
				return kube.CoordinationV1().Leases(e.namespace).Watch(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelCluster + "=" + name, ResourceVersion: version})
			}, func(event watch.Event) {
				l, ok := event.Object.(*coordinationv1.Lease)
				if !ok && ctx.Err() != nil {
					return
				}
				if !ok {
					e.t.Errorf("the watch of Leases has a gap: %v", event.Object)
					version = ""
					return
				}
				version = l.ResourceVersion
				r.mu.Lock()
				r.shown[l.Name] = append(r.shown[l.Name], witness.Read(l, time.Now(), event.Type == watch.Deleted))
				r.mu.Unlock()
			})
		}
	}))
	if r.zk, _, err = zk.Connect(e.addresses(), 40*time.Second, zk.WithLogger(silence{}), zk.WithLogInfo(false)); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(r.zk.Close)
	for _, parent := range parents {
		record := &witness.Record{Parent: parent}
		r.records[parent] = record
		r.stop = append(r.stop, stopsWith(e.t, func(ctx context.Context) { r.record(ctx, record) }))
	}
	return r
}

// record keeps a node's children until ctx ends.
func (r *readers) record(ctx context.Context, record *witness.Record) {
	known := map[string]witness.Child{}
	for at := time.Now(); ctx.Err() == nil; {
		names, stat, changed, err := r.zk.ChildrenW(record.Parent)
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		maps.DeleteFunc(known, func(name string, _ witness.Child) bool { return !slices.Contains(names, name) })
		for _, name := range names {
			if _, ok := known[name]; ok && record.Parent != "/held" {
				continue // such a name does not come again
			}
			there, s, err := r.zk.Exists(record.Parent + "/" + name)
			if err == nil && there {
				known[name] = witness.Child{Name: name, Czxid: s.Czxid, Owner: uint64(s.EphemeralOwner)}
			}
		}
		state := witness.State{At: at, Version: stat.Cversion}
		for _, name := range names {
			if c, ok := known[name]; ok {
				state.Children = append(state.Children, c)
			}
		}
		r.mu.Lock()
		if n := len(record.States); n == 0 || record.States[n-1].Version != state.Version {
			record.States = append(record.States, state)
		}
		r.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-changed:
			at = time.Now()
		}
	}
}

// window notes for how long a fault lasted.
func (r *readers) window(kind witness.Kind, why string, from, to time.Time) witness.Window {
	w := witness.Window{Kind: kind, From: from, To: to, Why: why}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.windows = append(r.windows, w)
	return w
}

// lease waits for what a Lease shows from a time on.
func (r *readers) lease(lease, what string, after time.Time, ok func(witness.Shown) error) witness.Shown {
	r.e.t.Helper()
	var found witness.Shown
	until(r.e.t, "Lease "+lease+": "+what, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		err := errors.New("it has shown nothing since")
		for _, s := range r.shown[lease] {
			if s.At.Before(after) {
				continue
			}
			if err = ok(s); err == nil {
				found = s
				return nil
			}
		}
		return err
	})
	return found
}

// last is what a Lease shows now.
func (r *readers) last(lease string) witness.Shown {
	r.mu.Lock()
	defer r.mu.Unlock()
	if list := r.shown[lease]; len(list) > 0 {
		return list[len(list)-1]
	}
	return witness.Shown{}
}

// holds wants a holder.
func holds(holder string) func(witness.Shown) error {
	return func(s witness.Shown) error {
		if s.Gone || s.Holder != holder {
			return fmt.Errorf("the holder is %q, want %q", s.Holder, holder)
		}
		return nil
	}
}

// judge ends the reading, and judges it. There were as many hand-overs at least, and
// few that the record has missed.
func (r *readers) judge(subjects map[string]string, least int) {
	t := r.e.t
	t.Helper()
	for _, stop := range r.stop {
		stop()
	}
	end := time.Now()
	limits := witness.Limits{Outlive: late, Flight: 3 * time.Second}
	outlived, taken := &figure{what: "a holder is shown after his node is gone"}, &figure{what: "a new holder is shown after he is"}
	handovers, unjudged, renewals, slow := 0, 0, 0, 0
	if len(r.shown) == 0 {
		t.Error("no Lease was seen")
	}
	for lease, list := range r.shown {
		subject := list[0].Subject
		parent, election := subjects[subject], true
		if parent == "" {
			parent = subject
		} else {
			election = false
		}
		record := r.records[parent]
		if record == nil {
			t.Errorf("Lease %s is of %s, of which there is no record", lease, subject)
			continue
		}
		f := witness.Check(&witness.History{Name: lease, Election: election, Shown: list, Record: *record, Windows: r.windows, End: end}, limits)
		for _, v := range f.Violations {
			t.Error(v)
		}
		for _, d := range f.Outlived {
			if outlived.add(d); d > time.Second {
				slow++
			}
		}
		for _, d := range f.Taken {
			taken.add(d)
		}
		handovers, unjudged, renewals = handovers+f.Handovers, unjudged+f.Unjudged, renewals+f.Renewals
		for _, w := range r.windows {
			if w.Kind == witness.Silence && list[0].At.Before(w.From) && last(list, w.To).Holder != "" && !last(list, w.To).Gone && !f.RanOutIn(w) {
				t.Errorf("Lease %s has not run out in: %s", lease, w.Why)
			}
		}
	}
	if handovers < least || unjudged > least/4 || renewals == 0 {
		t.Errorf("too little to judge: %d hand-overs, and there were %d at least; %d of what was shown not judged; %d renewals", handovers, least, unjudged, renewals)
	}
	t.Logf("%d Leases, %d hand-overs, %d renewals, %d not judged", len(r.shown), handovers, renewals, unjudged)
	t.Logf("%v; %d longer than the promised second", outlived, slow)
	t.Log(taken)
}

// last is what a Lease showed at a time.
func last(list []witness.Shown, at time.Time) (s witness.Shown) {
	for _, x := range list {
		if !x.At.After(at) {
			s = x
		}
	}
	return s
}
