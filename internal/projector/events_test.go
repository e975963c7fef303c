package projector

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/pace"
	"github.com/conclave-dev/conclave/internal/projection/leases"
	"github.com/conclave-dev/conclave/internal/projection/mirror"
	"github.com/conclave-dev/conclave/internal/projection/summary"
)

// Whatever clients do, an API server sees a hundred writes a second at most, and
// twenty while no holder changes. The operator's own election, and what is borrowed in
// the long run, are one together.
func TestBoundsAddUp(t *testing.T) {
	const besides = 1
	l := leases.DefaultLimits
	if all := l.Writes + pace.PerSecond + eventsPerSecond + besides; all > 100 {
		t.Errorf("%d writes in a second", all)
	}
	if calm := l.Renewals + pace.PerSecond + besides; calm > 20 {
		t.Errorf("%d writes in a second while no holder changes", calm)
	}
}

// journal is a recorder, and when it was told what.
type journal struct {
	at      func() time.Time
	moments []time.Time
	// sessions that were told of, by the cluster that the Event is about.
	sessions map[string]int
	t        *testing.T
}

func (r *journal) Eventf(regarding, related runtime.Object, kind, reason, action, format string, args ...any) {
	r.moments = append(r.moments, r.at())
	c, ok := regarding.(*v1alpha1.CoordinationCluster)
	if !ok {
		return
	}
	note, many := fmt.Sprintf(format, args...), 1
	if reason == summary.ReasonSessionsExpired {
		if _, err := fmt.Sscanf(note, "%d more sessions", &many); err != nil {
			r.t.Errorf("%s: %v", note, err)
		}
	} else if !strings.HasPrefix(note, "Session 0x") {
		r.t.Errorf("%s", note)
	}
	r.sessions[c.Name] += many
}

// Sessions of fifty clusters expire at the same time, of clients in pods: no more
// Events are left in any second than there may be, and each session is told of.
func TestEventsTakeTurns(t *testing.T) {
	const clusters, expiries = 50, 200
	t0 := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	now := t0
	clock := func() time.Time { return now }
	r := &journal{at: clock, sessions: map[string]int{}, t: t}
	pod := Pod{Pod: summary.Pod{Namespace: "shop", Name: "cart-0", UID: "u"}, Created: t0.Add(-time.Hour)}
	p := New(Options{Now: clock, Limits: leases.DefaultLimits, Turns: pace.New(pace.PerSecond), Recorder: r,
		Pod: func(netip.Addr) (Pod, bool) { return pod, true }})
	var all []*follower
	next := make([]time.Time, clusters)
	for i := range clusters {
		c := &v1alpha1.CoordinationCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprint("zoo-", i), Generation: 1}}
		v1alpha1.SetDefaults(c)
		f := newFollower(p, Target{Cluster: c})
		defer f.stop()
		all = append(all, f)
	}
	client := netip.MustParseAddrPort("10.0.0.1:5")
	for ; now.Before(t0.Add(5 * time.Minute)); now = now.Add(10 * time.Millisecond) {
		nth := int(now.Sub(t0) / (100 * time.Millisecond))
		for i, f := range all {
			if now.Sub(t0)%(100*time.Millisecond) == 0 && nth < expiries {
				f.expired(mirror.End{Expired: true, Session: mirror.Session{ID: uint64(nth + 1), Client: client, Timeout: time.Second}}, now)
				next[i] = now
			}
			if !next[i].IsZero() && !now.Before(next[i]) {
				next[i] = f.tell(now)
				if !next[i].IsZero() && !next[i].After(now) {
					t.Fatalf("%v is to ask again at %v, and it is %v", f.key, next[i], now)
				}
			}
		}
	}
	for i, at := range r.moments {
		if i >= eventsPerSecond && at.Sub(r.moments[i-eventsPerSecond]) < time.Second {
			t.Fatalf("%d Events in %v", eventsPerSecond+1, at.Sub(r.moments[i-eventsPerSecond]))
		}
	}
	for _, f := range all {
		if got := r.sessions[f.key.Name]; got != expiries {
			t.Errorf("%v: told of %d sessions, of %d that expired", f.key, got, expiries)
		}
	}
	if len(r.moments) < clusters {
		t.Errorf("%d Events", len(r.moments))
	}
}
