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

// crowd are the followers of many clusters, each of which has one session.
type crowd struct {
	t   *testing.T
	now time.Time
	p   *Projector
	all []*fellow
	// changes are when a view has changed.
	changes []time.Time
}

type fellow struct {
	*follower
	wake, seen, wrong time.Time
	zxid, state       int64
	views             int
}

func newCrowd(t *testing.T, clusters int) *crowd {
	c := &crowd{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	c.p = New(Options{Now: func() time.Time { return c.now }, Limits: leases.DefaultLimits, Turns: pace.New(pace.PerSecond),
		Pod: func(netip.Addr) (Pod, bool) { return Pod{}, false }})
	for i := range clusters {
		cluster := &v1alpha1.CoordinationCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprint("zoo-", i), Generation: 1}}
		v1alpha1.SetDefaults(cluster)
		o := &fellow{follower: newFollower(c.p, Target{Cluster: cluster}), state: int64(mirror.Connected)}
		t.Cleanup(o.stop)
		c.apply(o, &mirror.Update{Snapshot: &mirror.Snapshot{First: true, Last: true, Sessions: []mirror.Session{o.session()}}})
		c.all = append(c.all, o)
	}
	return c
}

func (o *fellow) session() mirror.Session {
	return mirror.Session{ID: 1, State: mirror.SessionState(o.state), Member: 2, Timeout: 10 * time.Second}
}

func (c *crowd) apply(o *fellow, u *mirror.Update) {
	c.t.Helper()
	u.Zxid = o.zxid
	if _, err := o.mirror.Apply(u, c.now); err != nil {
		c.t.Fatal(err)
	}
	o.wake = c.now
}

// turn changes the state of a cluster's session.
func (c *crowd) turn(o *fellow) {
	c.t.Helper()
	o.zxid++
	o.state = int64(mirror.Connecting) + int64(mirror.Connected) - o.state
	s := o.session()
	c.apply(o, &mirror.Update{Changes: []mirror.Change{{Session: &s}}})
}

// beat is a heartbeat, with the session's silence.
func (c *crowd) beat(o *fellow, silence time.Duration) {
	c.t.Helper()
	b := &mirror.Heartbeat{Quorum: true, Settled: true, AtRisk: []mirror.Session{o.session()}}
	b.AtRisk[0].Silence = silence
	c.apply(o, &mirror.Update{Heartbeat: b})
}

func (c *crowd) step(o *fellow) {
	o.wake = c.now.Add(o.follower.step())
	if !o.viewedAt.Equal(o.seen) {
		o.seen = o.viewedAt
		o.views++
		c.changes = append(c.changes, c.now)
	}
	for len(c.p.wake) > 0 {
		<-c.p.wake
	}
}

// shows tells whether the view has the session's state.
func (o *fellow) shows() bool {
	return o.hasView && o.view.Sessions.Connecting == o.mirror.Totals().Connecting
}

// The silences of a hundred clusters' sessions move all the time, and of two the
// sessions' states do: views change as often as they may, all of them do, and what
// changes state is shown within two seconds. A stream's end waits for nobody.
func TestViewsTakeTurns(t *testing.T) {
	const clusters, churning = 100, 2
	c := newCrowd(t, clusters)
	t0 := c.now
	const minutes = 5
	for ; c.now.Before(t0.Add(minutes * time.Minute)); c.now = c.now.Add(20 * time.Millisecond) {
		since := c.now.Sub(t0)
		for i, o := range c.all {
			at := since + time.Duration(i)*180*time.Millisecond
			if at%time.Second == 0 {
				c.beat(o, since%(9*time.Second))
			}
			if at%(3*time.Second) == 0 && i < churning {
				c.turn(o)
			}
			if !c.now.Before(o.wake) {
				c.step(o)
			}
			// At the beginning all clusters are news.
			if since < time.Minute || o.shows() {
				o.wrong = time.Time{}
			} else if o.wrong.IsZero() {
				o.wrong = c.now
			} else if c.now.Sub(o.wrong) > 2*time.Second {
				t.Fatalf("%v: what is shown has been wrong for %v", o.key, c.now.Sub(o.wrong))
			}
		}
	}
	for i, at := range c.changes {
		if at.Sub(t0) >= time.Minute && at.Sub(c.changes[i-pace.PerSecond]) < time.Second {
			t.Fatalf("%d views have changed in %v", pace.PerSecond+1, at.Sub(c.changes[i-pace.PerSecond]))
		}
	}
	if most := minutes * 60 * pace.PerSecond; len(c.changes) < most*8/10 || len(c.changes) > most+leases.Credit+30 {
		t.Errorf("%d views have changed, of %d that may", len(c.changes), most)
	}
	for i, o := range c.all {
		if o.views < 5 || i < churning && o.views < 80 {
			t.Errorf("%v has had %d views", o.key, o.views)
		}
	}

	broken := 0
	for _, o := range c.all {
		if c.now.Sub(o.viewedAt) < time.Second {
			continue // its next view is too soon
		}
		broken++
		o.mirror.Broken()
		o.lookAt = time.Time{}
		c.step(o)
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

// Sessions of fifty clusters change their state at the same moment, as when a node is
// lost: all of it is shown within two seconds, though in turns it would take twelve.
// Where that goes on and on, each waits for its turn.
func TestNewsOfManyClusters(t *testing.T) {
	const clusters = 50
	c := newCrowd(t, clusters)
	t0 := c.now
	// What was borrowed at the beginning has come back before anything happens.
	const once, again, end = 100 * time.Second, 150 * time.Second, 210 * time.Second
	for ; c.now.Before(t0.Add(end)); c.now = c.now.Add(20 * time.Millisecond) {
		since := c.now.Sub(t0)
		for i, o := range c.all {
			if (since+time.Duration(i)*180*time.Millisecond)%time.Second == 0 {
				c.beat(o, 0)
			}
			if since == once || since >= again && since%(3*time.Second) == 0 {
				c.turn(o)
			}
			if !c.now.Before(o.wake) {
				c.step(o)
			}
			if since == once+2*time.Second && !o.shows() {
				t.Errorf("%v: what is shown is wrong after two seconds", o.key)
			}
		}
	}
	late := 0
	for _, at := range c.changes {
		if at.Sub(t0) >= again {
			late++
		}
	}
	// Of the credit a part has come back meanwhile.
	if most := int((end-again)/time.Second)*pace.PerSecond + leases.Credit + 60; late > most || late < most/2 {
		t.Errorf("%d views have changed while everything did, and at most %d may", late, most)
	}
}
