//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// promptly is how soon a change of state is to be in status; late is what the tests
// call wrong, since they share a machine.
const promptly, late = 2 * time.Second, 20 * time.Second

// ticker follows a cluster's status with a watch of its own.
type ticker struct {
	e *ensemble

	mu   sync.Mutex
	seen []glance
}

// glance is a status as the watch showed it.
type glance struct {
	at       time.Time
	sessions *v1alpha1.SessionsStatus
}

// watchStatus follows the cluster until the test ends.
func (e *ensemble) watchStatus() *ticker {
	e.t.Helper()
	f := &ticker{e: e}
	kube := watcher(e.t)
	stopsWith(e.t, func(ctx context.Context) {
		for ctx.Err() == nil {
			follow(ctx, func() (watch.Interface, error) {
				return kube.Watch(ctx, &v1alpha1.CoordinationClusterList{}, client.InNamespace(e.namespace))
			}, func(event watch.Event) {
				if cc, ok := event.Object.(*v1alpha1.CoordinationCluster); ok && cc.Status.Sessions != nil {
					f.mu.Lock()
					f.seen = append(f.seen, glance{time.Now(), cc.Status.Sessions})
					f.mu.Unlock()
				}
			})
		}
	})
	return f
}

// unready follows status from now on; what it returns tells whether a pod's member was
// shown as not ready.
func (e *ensemble) unready(pod string) func() bool {
	e.t.Helper()
	var seen atomic.Bool
	kube := watcher(e.t)
	began := make(chan struct{})
	once := sync.OnceFunc(func() { close(began) })
	stopsWith(e.t, func(ctx context.Context) {
		for ctx.Err() == nil {
			follow(ctx, func() (watch.Interface, error) {
				return kube.Watch(ctx, &v1alpha1.CoordinationClusterList{}, client.InNamespace(e.namespace))
			}, func(event watch.Event) {
				if cc, ok := event.Object.(*v1alpha1.CoordinationCluster); ok {
					once()
					seen.Store(seen.Load() || !member(cc, pod).Ready)
				}
			})
		}
	})
	<-began
	return seen.Load
}

func watcher(t *testing.T) client.WithWatch {
	t.Helper()
	kube, err := client.NewWithWatch(target.config, client.Options{Scheme: target.kube.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return kube
}

// follow passes on what a watch says until it ends.
func follow(ctx context.Context, begin func() (watch.Interface, error), what func(watch.Event)) {
	w, err := begin()
	if err != nil {
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
		return
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		what(event)
	}
}

// shows waits until a status of after a time says something, and returns when it
// was seen, or when the one before, if it was so already.
func (f *ticker) shows(what string, after time.Time, ok func(*v1alpha1.SessionsStatus) error) glance {
	f.e.t.Helper()
	var found glance
	until(f.e.t, what, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		err := errors.New("no status since")
		for _, g := range f.seen {
			if g.at.Before(after) {
				continue
			}
			if err = ok(g.sessions); err == nil {
				found = g
				return nil
			}
		}
		return err
	})
	return found
}

// session finds one in status, which lists all while there are few.
func session(s *v1alpha1.SessionsStatus, id string) (v1alpha1.SessionAtRisk, bool) {
	i := slices.IndexFunc(s.AtRisk, func(x v1alpha1.SessionAtRisk) bool { return x.ID == id })
	if i < 0 {
		return v1alpha1.SessionAtRisk{}, false
	}
	return s.AtRisk[i], true
}

// is wants a session to be so.
func is(id string, state v1alpha1.SessionState, more ...func(v1alpha1.SessionAtRisk) error) func(*v1alpha1.SessionsStatus) error {
	return func(s *v1alpha1.SessionsStatus) error {
		x, ok := session(s, id)
		switch {
		case !ok:
			return fmt.Errorf("session %s is not among %d", id, len(s.AtRisk))
		case x.State != state:
			return fmt.Errorf("session %s is %s, want %s", id, x.State, state)
		}
		for _, ok := range more {
			if err := ok(x); err != nil {
				return err
			}
		}
		return nil
	}
}

// no wants a session to be no more.
func no(id string) func(*v1alpha1.SessionsStatus) error {
	return func(s *v1alpha1.SessionsStatus) error {
		if x, ok := session(s, id); ok {
			return fmt.Errorf("session %s is still %s", id, x.State)
		}
		return nil
	}
}

// at wants a session to be at a member.
func at(pod string) func(v1alpha1.SessionAtRisk) error {
	return func(x v1alpha1.SessionAtRisk) error {
		if x.Member != pod {
			return fmt.Errorf("session %s is at %q, want %s", x.ID, x.Member, pod)
		}
		return nil
	}
}

// gone watches a node with a client of its own, and tells when it was gone.
func (e *ensemble) gone(path string) <-chan time.Time {
	e.t.Helper()
	conn, _, err := zk.Connect(e.addresses(), time.Minute, zk.WithLogger(silence{}), zk.WithLogInfo(false))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(conn.Close)
	var ch <-chan zk.Event
	until(e.t, path+" is there", func() error {
		ok, _, events, err := conn.ExistsW(path)
		if err == nil && !ok {
			return errors.New("it is not")
		}
		ch = events
		return err
	})
	told := make(chan time.Time, 1)
	go func() {
		// It ends with the connection, at the latest.
		if event := <-ch; event.Type == zk.EventNodeDeleted {
			told <- time.Now()
		}
		close(told)
	}()
	return told
}

// expiry waits for the events of a session's expiry: on the cluster, and on a pod if
// one is named.
func (e *ensemble) expiry(id, pod string, paths ...string) {
	e.t.Helper()
	about := func(kind, name string) {
		until(e.t, fmt.Sprintf("an event on %s %s about %s", kind, name, id), func() error {
			var list eventsv1.EventList
			if err := target.kube.List(context.Background(), &list, client.InNamespace(e.namespace)); err != nil {
				return err
			}
			for _, x := range list.Items {
				if x.Reason != "SessionExpired" || x.Regarding.Kind != kind || x.Regarding.Name != name || !strings.Contains(x.Note, id) {
					continue
				}
				for _, path := range paths {
					if !strings.Contains(x.Note, path) {
						return fmt.Errorf("it does not name %s: %s", path, x.Note)
					}
				}
				return nil
			}
			return fmt.Errorf("there are %d others", len(list.Items))
		})
	}
	about("CoordinationCluster", name)
	if pod != "" {
		about("Pod", pod)
	}
}

// TestSessionsInStatus: whatever becomes of a session of a genuine client is in
// status soon.
func TestSessionsInStatus(t *testing.T) {
	e := found(t, 3, ordinary[3:])
	f := e.watchStatus()
	pods := e.pods()
	news, moves, losses, returns, expiries, ends := &figure{what: "new"}, &figure{what: "moved"}, &figure{what: "lost"},
		&figure{what: "returned"}, &figure{what: "expired"}, &figure{what: "closed"}
	measure := func(into *figure, since time.Time, g glance) {
		t.Helper()
		d := g.at.Sub(since)
		if into.add(d); d > late {
			t.Errorf("%s: in status after %v", into.what, d)
		}
	}

	// New ones, of which half are to live, half to die.
	staying, dying := map[string]*candidate{}, map[string]*candidate{}
	for _, l := range languages {
		began := time.Now()
		a := e.linked(l, 40*time.Second, "hold", "/staying-"+l, "staying-"+l)
		b := e.linked(l, 6*time.Second, "hold", "/dying-"+l, "dying-"+l)
		for _, c := range []*candidate{a, b} {
			since := c.said("SESSION", began).at
			g := f.shows(c.name+" is new", began, is(c.session(), v1alpha1.SessionConnected, at(pods[0].Name)))
			measure(news, since, g)
			g = f.shows(c.name+" holds its node", began, is(c.session(), v1alpha1.SessionConnected, func(x v1alpha1.SessionAtRisk) error {
				if x.Ephemerals != 1 || x.ClientAddress == "" || x.Pod != nil {
					return fmt.Errorf("%+v", x)
				}
				return nil
			}))
			if x, _ := session(g.sessions, c.session()); x.TimeoutMilliseconds != 40000 && x.TimeoutMilliseconds != 6000 {
				t.Errorf("%s asked for 40 or 6 s: %+v", c.name, x)
			}
		}
		staying[l], dying[l] = a, b
	}

	// To another member.
	for l, c := range staying {
		id := c.session()
		since := c.said("SESSION", c.to(1)).at
		g := f.shows(l+" has moved", since.Add(-late), is(id, v1alpha1.SessionConnected, at(pods[1].Name)))
		measure(moves, since, g)
		if c.session() != id {
			t.Errorf("%s lost its session when it moved", c.name)
		}
	}

	// Lost, without a word. One kind comes back, the other is too late.
	before := e.get().Status.Sessions
	nodes, lost := map[string]<-chan time.Time{}, map[string]time.Time{}
	for l, c := range dying {
		nodes[l] = e.gone("/dying-" + l)
		lost[c.name] = c.cut()
	}
	for _, c := range staying {
		lost[c.name] = c.cut()
	}
	for _, l := range languages {
		for _, c := range []*candidate{staying[l], dying[l]} {
			measure(losses, lost[c.name], f.shows(c.name+" is lost", lost[c.name], is(c.session(), v1alpha1.SessionConnecting)))
		}
	}
	for l, c := range dying {
		gone, ok := <-nodes[l]
		if !ok {
			t.Fatalf("the watch of /dying-%s has ended", l)
		}
		measure(expiries, gone, f.shows(c.name+" has expired", lost[c.name], no(c.session())))
	}
	for l, c := range dying {
		old := c.session()
		e.expiry(old, "", "/dying-"+l)
		since := c.to(0)
		c.said("EXPIRED", since)
		c.said("SESSION", since)
		if c.session() == old {
			t.Errorf("%s has an expired session", c.name)
		}
	}
	f.shows("three have expired", time.Time{}, func(s *v1alpha1.SessionsStatus) error {
		if n := s.Expired - before.Expired; n != 3 {
			return fmt.Errorf("%d have", n)
		}
		return nil
	})
	for l, c := range staying {
		var first int64
		f.shows(l+"'s silence grows", lost[c.name], is(c.session(), v1alpha1.SessionConnecting, func(x v1alpha1.SessionAtRisk) error {
			if first == 0 {
				first = x.SilenceMilliseconds + 1
			}
			if x.SilenceMilliseconds < first+5000 {
				return fmt.Errorf("%d ms, and was %d", x.SilenceMilliseconds, first)
			}
			return nil
		}))
	}
	for _, c := range staying {
		id := c.session()
		since := c.said("SESSION", c.to(0)).at
		measure(returns, since, f.shows(c.name+" is back", since.Add(-promptly), is(id, v1alpha1.SessionConnected, at(pods[0].Name))))
		if c.session() != id {
			t.Errorf("%s lost its session in silence", c.name)
		}
	}

	// Closed.
	for l, c := range dying {
		node := e.gone("/dying-" + l)
		id, began := c.session(), c.close()
		c.said("CLOSED", began)
		since, ok := <-node
		if !ok {
			t.Fatalf("the watch of /dying-%s has ended", l)
		}
		measure(ends, since, f.shows(c.name+" is closed", began, no(id)))
	}
	f.shows("three are closed", time.Time{}, func(s *v1alpha1.SessionsStatus) error {
		if n, m := s.Closed-before.Closed, s.Expired-before.Expired; n != 3 || m != 3 {
			return fmt.Errorf("%d have closed, %d expired", n, m)
		}
		return nil
	})

	e.podExpires(f, expiries)
	e.restarts(f, staying)
	for _, x := range []*figure{news, moves, losses, returns, expiries, ends} {
		t.Log(x, "(promised: "+promptly.String()+")")
	}
	e.conclude()
}

// podExpires: a client in a pod is shown with its pod and who made it; its expiry is
// told on the pod.
func (e *ensemble) podExpires(f *ticker, expiries *figure) {
	if target.local == nil {
		return // it can't be given an image
	}
	e.t.Helper()
	began := time.Now()
	e.inPods("worker", 1, 6*time.Second, "hold", "/worker", "{}")
	pod := strings.TrimSpace(e.must("get", "pods", "--selector=app=worker", "--output=jsonpath={.items[*].metadata.name}"))
	var id string
	f.shows("the pod's session", began, func(s *v1alpha1.SessionsStatus) error {
		for _, x := range s.AtRisk {
			if x.Pod != nil && *x.Pod == (v1alpha1.ClientPod{Namespace: e.namespace, Name: pod, Owner: "Deployment/worker"}) {
				id = x.ID
				return nil
			}
		}
		return fmt.Errorf("%d sessions, and none is Deployment/worker's %s", len(s.AtRisk), pod)
	})
	node := e.gone("/worker")
	killed := time.Now()
	if err := target.local.KillContainer(e.t.Context(), e.pod(pod), "candidate"); err != nil {
		e.t.Fatal(err)
	}
	gone, ok := <-node
	if !ok {
		e.t.Fatal("the watch of /worker has ended")
	}
	g := f.shows("the pod's session expires", killed, no(id))
	expiries.add(g.at.Sub(gone))
	e.expiry(id, pod, "/worker")
}

// restarts: after a restart of the whole ensemble a session is NOT_CONNECTED until
// its client has come back.
func (e *ensemble) restarts(f *ticker, clients map[string]*candidate) {
	if target.local == nil {
		return
	}
	e.t.Helper()
	killed := time.Now()
	for _, c := range clients {
		c.cut()
	}
	var all sync.WaitGroup
	for _, p := range e.pods() {
		all.Go(func() {
			if err := target.local.KillContainer(e.t.Context(), e.pod(p.Name), "server"); err != nil {
				e.t.Error(err)
			}
		})
	}
	all.Wait()
	for _, c := range clients {
		f.shows(c.name+" was not seen since the restart", killed, is(c.session(), v1alpha1.SessionNotConnected))
	}
	f.shows("they are counted", killed, func(s *v1alpha1.SessionsStatus) error {
		if s.NotConnected < int64(len(clients)) {
			return fmt.Errorf("%d", s.NotConnected)
		}
		return nil
	})
	for _, c := range clients {
		id := c.session()
		since := c.said("SESSION", c.to(0)).at
		f.shows(c.name+" was seen again", since.Add(-promptly), is(id, v1alpha1.SessionConnected))
		if c.session() != id {
			e.t.Errorf("%s lost its session when all members were restarted", c.name)
		}
	}
}
