//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// changes calls saw for each of the cluster's objects of list's kind, and for every
// change of them, one after the other, until the function that it returns is called.
func (e *ensemble) changes(list client.ObjectList, saw func(gone bool, o client.Object)) (stop func()) {
	e.t.Helper()
	w, err := target.kube.Watch(context.Background(), list, client.InNamespace(e.namespace), client.MatchingLabels{v1alpha1.LabelCluster: name})
	if err != nil {
		e.t.Fatal(err)
	}
	var stopped atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range w.ResultChan() {
			if o, ok := event.Object.(client.Object); ok && event.Type != watch.Error {
				saw(event.Type == watch.Deleted, o)
			} else if !stopped.Load() {
				e.t.Errorf("watching %T: %+v", list, event.Object)
			}
		}
		if !stopped.Load() {
			e.t.Errorf("the watch of %T ended before the test did", list)
		}
	}()
	stop = func() {
		stopped.Store(true)
		w.Stop()
		<-done
	}
	e.t.Cleanup(stop)
	return stop
}

// A roll is what a watch of the pods sees of an edit that restarts them all.
type roll struct {
	e      *ensemble
	before map[string]types.UID
	from   string
	stop   func()

	mu sync.Mutex
	// order is who was restarted, led who led when a voter's pod began to go, away whose
	// next pod has not been ready yet.
	order []string
	led   map[string]string
	away  map[string]bool
}

// roll begins to look, before the edit.
func (e *ensemble) roll() *roll {
	e.t.Helper()
	r := &roll{e: e, before: e.uids(), from: e.hash(), led: map[string]string{}, away: map[string]bool{}}
	r.stop = e.changes(&corev1.PodList{}, r.saw)
	return r
}

func (r *roll) saw(gone bool, o client.Object) {
	p := o.(*corev1.Pod)
	uid, known := r.before[p.Name]
	goes := gone || p.DeletionTimestamp != nil
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !known: // it came later
	case p.UID != uid && goes:
		r.e.t.Errorf("%s was restarted twice", p.Name)
	case p.UID != uid:
		if ready(p) {
			delete(r.away, p.Name)
		}
	case goes && !slices.Contains(r.order, p.Name):
		r.order = append(r.order, p.Name)
		if r.away[p.Name] = true; len(r.away) > 1 {
			r.e.t.Errorf("at the same time these pods are away: %v", r.away)
		}
		if !strings.HasPrefix(p.Name, name+"-observer-") {
			r.led[p.Name] = r.e.leads()
		}
	}
}

// nobody begins an answer of leads.
const nobody = "nobody: "

// leads asks the members who leads, and not the operator, which may not know yet.
func (e *ensemble) leads() string {
	var list corev1.PodList
	if err := target.kube.List(context.Background(), &list, client.InNamespace(e.namespace), client.MatchingLabels{v1alpha1.LabelCluster: name}); err != nil {
		e.t.Error(err)
	}
	var modes []string
	for _, p := range list.Items {
		mode, err := mode(p.Status.PodIP)
		if mode == "leader" {
			return p.Name
		}
		modes = append(modes, fmt.Sprintf("%s: %s (%v)", p.Name, mode, err))
	}
	return nobody + strings.Join(modes, ", ")
}

// mode asks a member what it is, by the four-letter word.
func mode(ip string) (string, error) {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(ip, "2181"), 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, "srvr"); err != nil {
		return "", err
	}
	text, err := io.ReadAll(conn)
	for line := range strings.Lines(string(text)) {
		if mode, ok := strings.CutPrefix(line, "Mode: "); ok {
			return strings.TrimSpace(mode), nil
		}
	}
	return "", err
}

func ready(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// over waits until the roll is, and says what is wrong with it: with the order,
// which is observers, followers, and the leader when it has handed over; with their
// number, one at a time; and with the account of it.
func (r *roll) over() {
	e := r.e
	e.t.Helper()
	e.becomes("the roll begins", func(cc *v1alpha1.CoordinationCluster) error {
		if now := cc.Status.Rollout; now == nil || now.Hash == r.from {
			return fmt.Errorf("there was no roll: %+v", now)
		}
		return nil
	})
	cc := e.settled()
	switch now := cc.Status.Rollout; {
	case now.SessionsExpired != 0:
		e.t.Errorf("%d sessions expired", now.SessionsExpired)
	case now.CompletionTime == nil || now.Updated != now.Total:
		e.t.Errorf("settled in the middle of a roll: %+v", now)
	}
	for pod, uid := range e.uids() {
		if r.before[pod] == uid {
			e.t.Errorf("%s was not restarted", pod)
		}
	}
	eventually(e.t, "the watch has seen all of the roll", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.order) < len(r.before) || len(r.away) > 0 {
			return errors.New(r.String())
		}
		return nil
	})
	r.stop()
	e.t.Logf("rolled for %s: %s", cc.Status.Rollout.Cause, r)
	voter := false
	for _, pod := range r.order {
		observer := strings.HasPrefix(pod, name+"-observer-")
		if observer && voter {
			e.t.Errorf("an observer was restarted after a voter: %s", r)
		}
		voter = voter || !observer
	}
	// Leadership may be moved before the first is restarted, so that all wait for one.
	last := r.order[len(r.order)-1]
	for pod, led := range r.led {
		if (led == last) != (pod != last) || strings.HasPrefix(led, nobody) {
			e.t.Errorf("%s was restarted while this one led: %s; the leader is to be the last, when another leads: %s", pod, led, r)
		}
	}
}

func (r *roll) String() string {
	return fmt.Sprintf("restarted %v, led by %v; away are %v", r.order, r.led, r.away)
}
