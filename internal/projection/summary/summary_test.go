package summary

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/projection/mirror"
)

var (
	t0    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	names = Names{
		Member: func(id uint64) string { return fmt.Sprint("main-", id) },
		Pod: func(a netip.Addr) (Pod, bool) {
			if a == netip.MustParseAddr("10.0.0.1") {
				return Pod{Namespace: "shop", Name: "cart-0", Owner: "StatefulSet/cart"}, true
			}
			return Pod{}, false
		},
	}
)

func session(id uint64, state mirror.SessionState, client string) mirror.Session {
	return mirror.Session{ID: id, State: state, Member: 2, Client: netip.MustParseAddrPort(client), Timeout: 10 * time.Second, Silence: time.Second}
}

func apply(t *testing.T, m *mirror.Mirror, u *mirror.Update, now time.Time) {
	t.Helper()
	if _, err := m.Apply(u, now); err != nil {
		t.Fatal(err)
	}
}

func TestTake(t *testing.T) {
	m := mirror.New()
	apply(t, m, &mirror.Update{Zxid: 7, Snapshot: &mirror.Snapshot{First: true, Last: true,
		Sessions:   []mirror.Session{session(1, mirror.Connected, "10.0.0.1:5"), session(2, mirror.Connecting, "10.0.0.2:5")},
		Ephemerals: []mirror.Ephemeral{{Path: "/a", Session: 1, Czxid: 5}}}}, t0)
	s := Take(m, names, t0.Add(time.Second))
	if s.Zxid != 7 || s.State != mirror.Fresh || !s.Observed.Equal(t0) || s.Totals != (mirror.Totals{Connecting: 1, Connected: 1, Ephemerals: 1}) {
		t.Errorf("%+v", s)
	}
	want := []Session{
		{ID: 2, State: mirror.Connecting, Silence: 2 * time.Second, Timeout: 10 * time.Second, Member: "main-2", Client: "10.0.0.2:5"},
		{ID: 1, State: mirror.Connected, Silence: 2 * time.Second, Timeout: 10 * time.Second, Ephemerals: 1, Member: "main-2", Client: "10.0.0.1:5", Pod: Pod{Namespace: "shop", Name: "cart-0", Owner: "StatefulSet/cart"}},
	}
	if fmt.Sprint(s.AtRisk) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", s.AtRisk, want)
	}
}

// An ensemble of ten thousand sessions, whose clients ping and come and go: every
// change of state is written within two seconds, and writes are few.
func TestGate(t *testing.T) {
	for _, churn := range []int{0, 1, 200} {
		r := rand.New(rand.NewPCG(1, uint64(churn)))
		m, now := mirror.New(), t0
		var all []mirror.Session
		for id := range uint64(10000) {
			all = append(all, session(id, mirror.Connected, "10.0.0.3:5"))
		}
		apply(t, m, &mirror.Update{Snapshot: &mirror.Snapshot{First: true, Last: true, Sessions: all}}, now)
		var g Gate
		var written mirror.Totals
		var wrongSince, lastWrite time.Time
		writes := 0
		const minutes = 5
		for end := now.Add(minutes * time.Minute); now.Before(end); now = now.Add(100 * time.Millisecond) {
			var changes []mirror.Change
			if r.IntN(1000) < churn {
				s := session(r.Uint64N(10000), mirror.SessionState(2+r.IntN(2)), "10.0.0.3:5")
				changes = append(changes, mirror.Change{Session: &s})
			}
			apply(t, m, &mirror.Update{Changes: changes}, now)
			if now.Sub(t0)%time.Second == 0 {
				beat := mirror.Heartbeat{Quorum: true, Settled: true, Totals: mirror.Totals{Watches: r.Int64N(100)}}
				for range 20 {
					beat.AtRisk = append(beat.AtRisk, session(r.Uint64N(10000), mirror.Connected, "10.0.0.3:5"))
				}
				apply(t, m, &mirror.Update{Heartbeat: &beat}, now)
			}
			s := Take(m, names, now)
			due, again := g.Due(s, now)
			if due {
				g.Wrote(s, now)
				written = s.Totals
				writes++
				if now.Sub(lastWrite) < time.Second {
					t.Fatalf("churn %d: two writes within %v", churn, now.Sub(lastWrite))
				}
				lastWrite = now
			} else if !again.After(now) {
				t.Fatalf("churn %d: not due, and due at %v", churn, again)
			}
			if got := m.Totals(); got.Connecting == written.Connecting && got.Connected == written.Connected {
				wrongSince = time.Time{}
			} else if wrongSince.IsZero() {
				wrongSince = now
			} else if now.Sub(wrongSince) > 2*time.Second {
				t.Fatalf("churn %d: status has been wrong for %v", churn, now.Sub(wrongSince))
			}
		}
		most := map[int]int{0: 6*minutes + 1, 1: 20 * minutes, 200: 60*minutes + 1}[churn]
		if writes > most || writes < 2*minutes {
			t.Errorf("churn %d: %d writes in %d minutes", churn, writes, minutes)
		}
	}
}

func TestGateOfAnIdleEnsemble(t *testing.T) {
	var g Gate
	s := Summary{State: mirror.Fresh, Settled: true}
	writes := 0
	for i := range 600 {
		now := t0.Add(time.Duration(i) * time.Second)
		s.Observed, s.Zxid = now, int64(i)
		if due, _ := g.Due(s, now); due {
			g.Wrote(s, now)
			writes++
		}
	}
	if writes != 10 {
		t.Errorf("%d writes in ten minutes", writes)
	}
	// A new leader does not know yet who is connected to whom.
	s.Settled, s.Totals.Connecting = false, 5
	at := t0.Add(600 * time.Second)
	g.Wrote(s, at)
	at = at.Add(time.Minute / 2)
	s.Totals.Connecting = 3
	for range 2 {
		if due, again := g.Due(s, at); due || again != at.Add(unsettled) {
			t.Errorf("due %v, again %v", due, again)
		}
	}
	// What goes on changing waits no longer for it.
	s.Totals.Connecting = 2
	if due, _ := g.Due(s, at.Add(unsettled)); !due {
		t.Error("a change of state waits for more than a second and a half")
	}
	s.Settled = true
	if due, _ := g.Due(s, at.Add(time.Second)); !due {
		t.Error("what a settled leader knows waits")
	}
	s.State = mirror.Frozen
	if due, _ := g.Due(s, t0.Add(601*time.Second)); !due {
		t.Error("a loss of quorum waits")
	}
}

func TestOneExpiry(t *testing.T) {
	var n Notices
	pod, _ := names.Pod(netip.MustParseAddr("10.0.0.1"))
	s := session(0x1a, mirror.Connecting, "10.0.0.1:5")
	s.Ephemerals = 3
	n.Expired(mirror.End{Session: s, Expired: true, Paths: []string{"/locks/a", "/locks/b"}}, pod, t0)
	const note = "Session 0x1a of pod shop/cart-0 expired: nothing was heard of its client for 10s; with it went /locks/a, /locks/b, and 1 more"
	want := []Event{{Reason: ReasonSessionExpired, Action: "Expire 0x1a", Note: note}, {Pod: pod, Reason: ReasonSessionExpired, Action: "Expire 0x1a", Note: note}}
	if events := raised(&n, t0); fmt.Sprint(events) != fmt.Sprint(want) {
		t.Errorf("%v", events)
	}
	s.Ephemerals = 0
	n.Expired(mirror.End{Session: s, Expired: true}, Pod{}, t0)
	events := raised(&n, t0)
	if len(events) != 1 || events[0].Note != "Session 0x1a of 10.0.0.1:5 expired: nothing was heard of its client for 10s; it had no ephemeral nodes" {
		t.Errorf("%v", events)
	}
	if due, again := n.Due(t0); due || !again.IsZero() {
		t.Errorf("due %v, again %v, and nothing is left", due, again)
	}
}

// raised are all Events that are due.
func raised(n *Notices, now time.Time) (events []Event) {
	for due, _ := n.Due(now); due; due, _ = n.Due(now) {
		events = append(events, n.Next(now))
	}
	return events
}

// Ten thousand expiries within a minute: few Events, each short enough, and every
// session is counted in one.
func TestStorm(t *testing.T) {
	for name, every := range map[string]time.Duration{"a turn at any time": 0, "a turn every three seconds": 3 * time.Second} {
		t.Run(name, func(t *testing.T) { stormWith(t, every) })
	}
}

// stormWith is a storm of which an Event may be raised so often.
func stormWith(t *testing.T, every time.Duration) {
	var n Notices
	now := t0
	var all []Event
	told := 0
	var last time.Time
	take := func() {
		due, _ := n.Due(now)
		for ; due && now.Sub(last) >= every; due, _ = n.Due(now) {
			e := n.Next(now)
			last = now
			if len(e.Note) > maxNote {
				t.Errorf("%d bytes: %s", len(e.Note), e.Note)
			}
			many := 1
			if e.Reason == ReasonSessionsExpired {
				if _, err := fmt.Sscanf(e.Note, "%d more sessions expired", &many); err != nil {
					t.Errorf("%s: %v", e.Note, err)
				}
			}
			if e.Pod == (Pod{}) {
				told += many
			}
			all = append(all, e)
		}
		if len(n.pending) > backlog {
			t.Fatalf("%d Events wait", len(n.pending))
		}
	}
	pod, _ := names.Pod(netip.MustParseAddr("10.0.0.1"))
	for i := range 10000 {
		now = t0.Add(time.Duration(i) * 6 * time.Millisecond)
		s := session(uint64(i), mirror.Connecting, "10.0.0.9:5")
		s.Ephemerals = 64
		var paths []string
		for j := range 64 {
			paths = append(paths, strings.Repeat("/long", 30)+fmt.Sprint("/", i, "-", j))
		}
		n.Expired(mirror.End{Session: s, Expired: true, Paths: paths}, pod, now)
		take()
	}
	for range 2 * backlog {
		now = now.Add(storm)
		take()
	}
	if told != 10000 || len(all) > 80 {
		t.Errorf("%d Events tell of %d sessions", len(all), told)
	}
	// Afterwards single ones are told again.
	now = now.Add(time.Minute)
	before := len(all)
	n.Expired(mirror.End{Session: session(1, mirror.Connecting, "10.0.0.9:5")}, Pod{}, now)
	take()
	if len(all) != before+1 || all[before].Reason != ReasonSessionExpired {
		t.Errorf("%v", all[before:])
	}
}
