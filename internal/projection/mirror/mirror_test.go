package mirror

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// truth is an ensemble: what is so, and every change as the stream tells it.
type truth struct {
	rand       *rand.Rand
	zxid       int64
	sessions   map[uint64]Session
	ephemerals map[string]Ephemeral
	told       []Change
	ended      int
}

func (w *truth) pick() (Session, bool) {
	ids := slices.Sorted(maps.Keys(w.sessions))
	if len(ids) == 0 {
		return Session{}, false
	}
	return w.sessions[ids[w.rand.IntN(len(ids))]], true
}

// step is one transaction, or a session's change of state.
func (w *truth) step() {
	s, any := w.pick()
	switch n := w.rand.IntN(10); {
	case n == 0 || !any:
		w.zxid++
		s = Session{ID: w.rand.Uint64(), State: Connected, Member: 1 + w.rand.Uint64N(3), Timeout: 10 * time.Second, Created: t0,
			Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(w.rand.IntN(256))}), 999)}
		w.sessions[s.ID] = s
		w.told = append(w.told, Change{Session: &s})
	case n == 1:
		s.State = SessionState(1 + w.rand.IntN(3))
		w.sessions[s.ID] = s
		w.told = append(w.told, Change{Session: &s})
	case n == 2:
		w.zxid++
		for _, path := range slices.Sorted(maps.Keys(w.ephemerals)) {
			if e := w.ephemerals[path]; e.Session == s.ID {
				w.gone(e)
			}
		}
		delete(w.sessions, s.ID)
		w.ended++
		w.told = append(w.told, Change{End: &End{Session: s, Expired: w.rand.IntN(2) == 0, Zxid: w.zxid}})
	default:
		// A multi, some of whose parts take others back.
		w.zxid++
		for range 1 + w.rand.IntN(3) {
			path := fmt.Sprintf("/e/%d", w.rand.IntN(20))
			e, ok := w.ephemerals[path]
			switch {
			case !ok:
				w.set(Ephemeral{Path: path, Session: s.ID, Czxid: w.zxid, Mzxid: w.zxid, Data: []byte{byte(w.rand.IntN(256))}, DataLength: 1})
			case w.rand.IntN(2) == 0:
				w.gone(e)
			default:
				e.Mzxid, e.Data = w.zxid, []byte{byte(w.rand.IntN(256))}
				w.set(e)
			}
		}
	}
}

func (w *truth) set(e Ephemeral) {
	w.ephemerals[e.Path] = e
	w.told = append(w.told, Change{Ephemeral: &e})
}

func (w *truth) gone(e Ephemeral) {
	delete(w.ephemerals, e.Path)
	w.told = append(w.told, Change{Gone: &Gone{Path: e.Path, Czxid: e.Czxid, Zxid: w.zxid}})
}

// snapshot is the whole in parts.
func (w *truth) snapshot() []*Update {
	parts := []*Update{{Zxid: w.zxid, Snapshot: &Snapshot{First: true}}}
	add := func() *Snapshot {
		if w.rand.IntN(4) == 0 {
			parts = append(parts, &Update{Zxid: w.zxid, Snapshot: &Snapshot{}})
		}
		return parts[len(parts)-1].Snapshot
	}
	for _, s := range w.sessions {
		p := add()
		p.Sessions = append(p.Sessions, s)
	}
	for _, e := range w.ephemerals {
		p := add()
		p.Ephemerals = append(p.Ephemerals, e)
	}
	parts[len(parts)-1].Snapshot.Last = true
	parts[len(parts)-1].Position = Position{Reign: 7, Sequence: uint64(w.zxid)}
	w.told = nil
	return parts
}

// Whatever the history, batches, breaks and snapshots: the copy is the truth, and
// so is what Deltas add up to.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(60) {
		w := &truth{rand: rand.New(rand.NewPCG(seed, 1)), sessions: map[uint64]Session{}, ephemerals: map[string]Ephemeral{}}
		m, now := New(), t0
		derived := map[string]Ephemeral{}
		ended := 0
		apply := func(u *Update) {
			t.Helper()
			now = now.Add(time.Millisecond)
			d, err := m.Apply(u, now)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for _, tx := range d.Transactions {
				for _, e := range tx.Set {
					derived[e.Path] = e
				}
				for _, path := range tx.Gone {
					delete(derived, path)
				}
				if tx.Zxid > u.Zxid {
					t.Fatalf("seed %d: transaction 0x%x in a message up to 0x%x", seed, tx.Zxid, u.Zxid)
				}
			}
			ended += len(d.Ended)
		}
		for round := range 120 {
			for range w.rand.IntN(12) {
				w.step()
			}
			if round == 0 || w.rand.IntN(10) == 0 {
				m.Broken()
				if m.State(now) == Fresh {
					t.Fatalf("seed %d: fresh without a stream", seed)
				}
				ended = w.ended
				for i, u := range w.snapshot() {
					apply(u)
					if fresh := m.State(now) == Fresh; fresh != u.Snapshot.Last {
						t.Fatalf("seed %d: part %d: fresh: %v", seed, i, fresh)
					}
				}
			} else {
				// In several messages: what was before goes on being shown until the last.
				for len(w.told) > 0 && w.rand.IntN(2) == 0 {
					n := 1 + w.rand.IntN(len(w.told))
					before := m.Zxid()
					apply(&Update{Partial: true, Changes: w.told[:n]})
					if w.told = w.told[n:]; m.Zxid() != before {
						t.Fatalf("seed %d: a part was taken for the whole", seed)
					}
				}
				apply(&Update{Zxid: w.zxid, Position: Position{7, uint64(round)}, Changes: w.told})
				w.told = nil
			}
			held := map[uint64]int{}
			for _, e := range w.ephemerals {
				held[e.Session]++
			}
			if !maps.EqualFunc(derived, w.ephemerals, Ephemeral.equal) || !maps.EqualFunc(m.ephemerals, w.ephemerals, Ephemeral.equal) {
				t.Fatalf("seed %d, round %d: ephemerals differ", seed, round)
			}
			if m.Sessions() != len(w.sessions) || ended != w.ended || m.Zxid() != w.zxid {
				t.Fatalf("seed %d, round %d: %d sessions, %d ended, 0x%x; want %d, %d, 0x%x", seed, round, m.Sessions(), ended, m.Zxid(), len(w.sessions), w.ended, w.zxid)
			}
			var totals Totals
			for id, want := range w.sessions {
				got, ok := m.Session(id, now)
				if !ok || got.State != want.State || got.Client != want.Client || got.Member != want.Member || got.Timeout != want.Timeout || got.Ephemerals != held[id] {
					t.Fatalf("seed %d, round %d: %+v, want %+v with %d ephemerals", seed, round, got, want, held[id])
				}
				switch want.State {
				case NotConnected:
					totals.NotConnected++
				case Connecting:
					totals.Connecting++
				case Connected:
					totals.Connected++
				}
			}
			got := m.Totals()
			if got.NotConnected != totals.NotConnected || got.Connecting != totals.Connecting || got.Connected != totals.Connected || got.Ephemerals != int64(len(w.ephemerals)) {
				t.Fatalf("seed %d, round %d: totals %+v, want %+v", seed, round, got, totals)
			}
		}
	}
}

func TestState(t *testing.T) {
	m, now := New(), t0
	want := func(s State, what string) {
		t.Helper()
		if got := m.State(now); got != s {
			t.Fatalf("%s: %v, want %v", what, got, s)
		}
	}
	beat := func(quorum bool) {
		t.Helper()
		if _, err := m.Apply(&Update{Zxid: m.Zxid(), Heartbeat: &Heartbeat{Quorum: quorum}}, now); err != nil {
			t.Fatal(err)
		}
	}
	want(Stale, "at first")
	if _, err := m.Apply(&Update{Zxid: 5, Snapshot: &Snapshot{First: true, Last: true}}, now); err != nil {
		t.Fatal(err)
	}
	want(Fresh, "after a snapshot")
	now = now.Add(FreshFor)
	want(Fresh, "heard lately")
	now = now.Add(1)
	want(Stale, "not heard for long")
	beat(true)
	want(Fresh, "heard again")
	beat(false)
	want(Frozen, "the leader has no quorum")
	beat(true)
	m.NoQuorum(true)
	want(Fresh, "what others say counts for nothing while the stream lasts")
	m.Broken()
	want(Frozen, "no stream and no quorum")
	m.NoQuorum(false)
	want(Stale, "no stream")
	m.NoQuorum(true)
	if _, err := m.Apply(&Update{Zxid: 6, Snapshot: &Snapshot{First: true, Last: true}}, now); err != nil {
		t.Fatal(err)
	}
	want(Fresh, "a new leader")
	m.Broken()
	want(Stale, "a new break is not the old loss of quorum")
}

func TestOrder(t *testing.T) {
	first := func(zxid int64, last bool) *Update {
		return &Update{Zxid: zxid, Snapshot: &Snapshot{First: true, Last: last}}
	}
	for what, c := range map[string]struct {
		updates []*Update
		want    error
	}{
		"changes first":              {[]*Update{{Zxid: 1}}, ErrOrder},
		"heartbeat first":            {[]*Update{{Zxid: 1, Heartbeat: &Heartbeat{}}}, ErrOrder},
		"a later part first":         {[]*Update{{Zxid: 1, Snapshot: &Snapshot{Last: true}}}, ErrOrder},
		"changes within a snapshot":  {[]*Update{first(1, false), {Zxid: 1}}, ErrOrder},
		"zxid falls":                 {[]*Update{first(5, true), {Zxid: 4}}, ErrOrder},
		"an older snapshot":          {[]*Update{first(5, true), first(4, true)}, ErrBehind},
		"a break within changes":     {[]*Update{first(1, true), {Partial: true, Changes: []Change{{Ephemeral: &Ephemeral{Path: "/a"}}}}, first(1, true), {Zxid: 1}}, nil},
		"a snapshot begins again":    {[]*Update{first(1, false), first(1, true)}, nil},
		"a snapshot and then change": {[]*Update{first(1, true), {Zxid: 2}}, nil},
	} {
		m := New()
		var err error
		for _, u := range c.updates {
			if err = errors.Join(err, second(m.Apply(u, t0))); err != nil {
				break
			}
		}
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
		if err != nil && m.State(t0) == Fresh {
			t.Errorf("%s: fresh after an error", what)
		}
	}
}

func second(_ Delta, err error) error { return err }

func TestAtRisk(t *testing.T) {
	m := New()
	session := func(id uint64, state SessionState, silence time.Duration) Session {
		return Session{ID: id, State: state, Timeout: 10 * time.Second, Silence: silence}
	}
	var all []Session
	for id := range uint64(30) {
		all = append(all, session(id, Connected, time.Second))
	}
	if _, err := m.Apply(&Update{Snapshot: &Snapshot{First: true, Last: true, Sessions: all}}, t0); err != nil {
		t.Fatal(err)
	}
	ranking := []Session{session(4, Connecting, 5*time.Second), session(9, Connected, 3*time.Second), session(2, Connected, 2*time.Second)}
	four := ranking[0]
	for _, u := range []*Update{
		{Changes: []Change{{Session: &four}}},
		{Heartbeat: &Heartbeat{Quorum: true, AtRisk: ranking}},
	} {
		if _, err := m.Apply(u, t0); err != nil {
			t.Fatal(err)
		}
	}
	ids := func(n int) string {
		var list []string
		for _, s := range m.AtRisk(n, t0.Add(500*time.Millisecond)) {
			list = append(list, fmt.Sprintf("%d %v %v", s.ID, s.State, s.Silence))
		}
		return fmt.Sprint(list)
	}
	if got, want := ids(20), "[4 CONNECTING 5.5s 9 CONNECTED 3.5s 2 CONNECTED 2.5s]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// What has happened since the ranking is in it: one has gone, one lost its
	// connection, one is back.
	lost, back := session(7, Connecting, 0), session(4, Connected, 0)
	if _, err := m.Apply(&Update{Changes: []Change{{Session: &lost}, {Session: &back}, {End: &End{Session: ranking[1]}}}}, t0); err != nil {
		t.Fatal(err)
	}
	if got, want := ids(20), "[7 CONNECTING 500ms 2 CONNECTED 2.5s 4 CONNECTED 500ms]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := ids(1), "[7 CONNECTING 500ms]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := m.AtRisk(29, t0); len(got) != 29 {
		t.Errorf("%d of 29 sessions, though all fit", len(got))
	}
}

// The operator has 150 MiB for a hundred thousand sessions and ten thousand
// ephemerals; the copy, twice at the moment of a new snapshot, is to be little
// of it.
func TestMemory(t *testing.T) {
	build := func() (*Mirror, *Update) {
		s := &Snapshot{First: true, Last: true}
		for i := range 100_000 {
			s.Sessions = append(s.Sessions, Session{ID: uint64(i) << 20, State: Connected, Timeout: time.Second, Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 5)})
		}
		for i := range 10_000 {
			s.Ephemerals = append(s.Ephemerals, Ephemeral{Path: fmt.Sprintf("/services/some-service-%05d/instance", i), Session: uint64(i) << 20, Czxid: int64(i), Data: make([]byte, 256)})
		}
		return New(), &Update{Zxid: 1, Snapshot: s}
	}
	heap := func() uint64 {
		runtime.GC()
		var ms runtime.MemStats
		runtime.ReadMemStats(&ms)
		return ms.HeapAlloc
	}
	m, u := build()
	_, u2 := build()
	if err := second(m.Apply(u, t0)); err != nil {
		t.Fatal(err)
	}
	u2.Zxid = 2
	if err := second(m.Apply(u2, t0)); err != nil {
		t.Fatal(err)
	}
	u, u2 = nil, nil
	with := heap()
	n := m.Sessions() + len(m.ephemerals)
	runtime.KeepAlive(m)
	m = nil
	without := heap()
	if n != 110_000 || with-without > 24<<20 {
		t.Errorf("%d sessions and ephemerals take %d KiB", n, (with-without)>>10)
	}
	t.Logf("%d KiB", (with-without)>>10)
}
