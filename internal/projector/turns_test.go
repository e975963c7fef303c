package projector

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/pace"
	"github.com/conclave-dev/conclave/internal/projection/leases"
	"github.com/conclave-dev/conclave/internal/projection/mirror"
)

// The silences of a hundred clusters' sessions move all the time, and of two the
// sessions' states do: views change as often as they may, all of them do, and what
// changes state is shown within two seconds. A stream's end waits for nobody.
func TestViewsTakeTurns(t *testing.T) {
	const clusters, churning = 100, 2
	t0 := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	now := t0
	p := New(Options{Now: func() time.Time { return now }, Limits: leases.DefaultLimits, Turns: pace.New(pace.PerSecond),
		Pod: func(netip.Addr) (Pod, bool) { return Pod{}, false }})
	type one struct {
		*follower
		wake, seen, wrong time.Time
		zxid, state       int64
		views             int
	}
	var all []*one
	apply := func(o *one, u *mirror.Update) {
		t.Helper()
		u.Zxid = o.zxid
		if _, err := o.mirror.Apply(u, now); err != nil {
			t.Fatal(err)
		}
		o.wake = now
	}
	session := func(o *one) mirror.Session {
		return mirror.Session{ID: 1, State: mirror.SessionState(o.state), Member: 2, Timeout: 10 * time.Second}
	}
	for i := range clusters {
		c := &v1alpha1.CoordinationCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprint("zoo-", i), Generation: 1}}
		v1alpha1.SetDefaults(c)
		o := &one{follower: newFollower(p, Target{Cluster: c}), state: int64(mirror.Connected)}
		defer o.stop()
		apply(o, &mirror.Update{Snapshot: &mirror.Snapshot{First: true, Last: true, Sessions: []mirror.Session{session(o)}}})
		all = append(all, o)
	}
	var changes []time.Time
	step := func(o *one) {
		o.wake = now.Add(o.follower.step())
		if !o.viewedAt.Equal(o.seen) {
			o.seen = o.viewedAt
			o.views++
			changes = append(changes, now)
		}
	}
	const minutes = 5
	for ; now.Before(t0.Add(minutes * time.Minute)); now = now.Add(20 * time.Millisecond) {
		since := now.Sub(t0)
		for i, o := range all {
			at := since + time.Duration(i)*180*time.Millisecond
			if at%time.Second == 0 {
				beat := &mirror.Heartbeat{Quorum: true, Settled: true, AtRisk: []mirror.Session{session(o)}}
				beat.AtRisk[0].Silence = since % (9 * time.Second)
				apply(o, &mirror.Update{Heartbeat: beat})
			}
			if at%(3*time.Second) == 0 && i < churning {
				o.zxid++
				o.state = int64(mirror.Connecting) + int64(mirror.Connected) - o.state
				s := session(o)
				apply(o, &mirror.Update{Changes: []mirror.Change{{Session: &s}}})
			}
			if !now.Before(o.wake) {
				step(o)
			}
			// At the beginning all clusters are news.
			if since < time.Minute || o.view.Sessions.Connecting == o.mirror.Totals().Connecting {
				o.wrong = time.Time{}
			} else if o.wrong.IsZero() {
				o.wrong = now
			} else if now.Sub(o.wrong) > 2*time.Second {
				t.Fatalf("%v: what is shown has been wrong for %v", o.key, now.Sub(o.wrong))
			}
		}
		for len(p.wake) > 0 {
			<-p.wake
		}
	}
	for i, at := range changes {
		if i >= pace.PerSecond && at.Sub(changes[i-pace.PerSecond]) < time.Second {
			t.Fatalf("%d views have changed in %v", pace.PerSecond+1, at.Sub(changes[i-pace.PerSecond]))
		}
	}
	if most := minutes * 60 * pace.PerSecond; len(changes) < most*8/10 {
		t.Errorf("%d views have changed, of %d that may", len(changes), most)
	}
	for i, o := range all {
		if o.views < 5 || i < churning && o.views < 80 {
			t.Errorf("%v has had %d views", o.key, o.views)
		}
	}

	broken := 0
	for _, o := range all {
		if now.Sub(o.viewedAt) < time.Second {
			continue // its next view is too soon
		}
		broken++
		o.mirror.Broken()
		o.lookAt = time.Time{}
		step(o)
		if c := o.view.SessionsSynced; c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonConnecting {
			t.Fatalf("%v has no stream, and says %+v", o.key, c)
		}
		if o.waits() {
			t.Errorf("%v waits for a turn, and has nothing to say", o.key)
		}
	}
	if broken < clusters/2 {
		t.Errorf("only %d streams were broken", broken)
	}
}
