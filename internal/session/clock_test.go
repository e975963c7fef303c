package session

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const (
	ms  = time.Millisecond
	sec = time.Second
)

// step is one call on a Clock and what it should answer.
type step struct {
	at   time.Duration
	do   func(c *Clock, now time.Duration) any
	want any
}

func add(id int64, timeout time.Duration) func(*Clock, time.Duration) any {
	return func(c *Clock, now time.Duration) any { c.Add(now, id, timeout); return nil }
}

func touch(id int64) func(*Clock, time.Duration) any {
	return func(c *Clock, now time.Duration) any { return c.Touch(now, id) }
}

func remove(id int64) func(*Clock, time.Duration) any {
	return func(c *Clock, _ time.Duration) any { c.Remove(id); return nil }
}

func restartAll(c *Clock, now time.Duration) any { c.RestartAll(now); return nil }

func restart(timeouts map[int64]time.Duration) func(*Clock, time.Duration) any {
	return func(c *Clock, now time.Duration) any { c.Restart(now, maps.All(timeouts)); return nil }
}

func due(limit int) func(*Clock, time.Duration) any {
	return func(c *Clock, now time.Duration) any { return c.Due(now, limit) }
}

func nextDue(c *Clock, _ time.Duration) any {
	next, ok := c.NextDue()
	if !ok {
		return "never"
	}
	return next
}

func silence(id int64) func(*Clock, time.Duration) any {
	return func(c *Clock, now time.Duration) any {
		d, ok := c.Silence(now, id)
		if !ok {
			return "unknown"
		}
		return d
	}
}

func atRisk(n int) func(*Clock, time.Duration) any {
	return func(c *Clock, now time.Duration) any {
		var out []string
		for _, r := range c.MostSilent(now, n) {
			out = append(out, fmt.Sprintf("%d: %v of %v", r.ID, r.Silence, r.Timeout))
		}
		return out
	}
}

func TestClock(t *testing.T) {
	none := []int64(nil)
	ids := func(ids ...int64) []int64 { return ids }
	for name, steps := range map[string][]step{
		"an empty clock": {
			{0, due(10), none},
			{0, nextDue, "never"},
			{0, touch(1), false},
			{0, silence(1), "unknown"},
			{0, remove(1), nil},
			{0, restartAll, nil},
			{0, atRisk(5), []string(nil)},
		},
		"silence must exceed the timeout": {
			{1 * sec, add(1, 4*sec), nil},
			{5 * sec, due(10), none},
			{5 * sec, nextDue, 5*sec + 1},
			{5*sec + 1, due(10), ids(1)},
		},
		"each heartbeat gives the whole timeout again": {
			{0, add(1, 4*sec), nil},
			{3 * sec, touch(1), true},
			{6 * sec, touch(1), true},
			{6 * sec, nextDue, 10*sec + 1},
			{7 * sec, silence(1), 1 * sec},
			{10 * sec, due(10), none},
			{10*sec + 1, due(10), ids(1)},
		},
		"the longest overdue come first, no more than asked for": {
			{0, add(3, 4*sec), nil},
			{0, add(1, 6*sec), nil},
			{0, add(2, 4*sec), nil},
			{0, add(4, 5*sec), nil},
			{9 * sec, due(0), none},
			{9 * sec, due(2), ids(2, 3)}, // due at the same moment: by id
			{9 * sec, due(1), ids(4)},
			{9 * sec, due(10), ids(1)},
			{9 * sec, due(10), none},
		},
		"an expiry that was lost is proposed again after a second": {
			{0, add(1, 4*sec), nil},
			{5 * sec, due(10), ids(1)},
			{5 * sec, nextDue, 6*sec + 1},
			{6 * sec, due(10), none},
			{6*sec + 1, due(10), ids(1)},
			{6*sec + 1, silence(1), 6*sec + 1},
			{7*sec + 2, due(10), ids(1)},
		},
		"or after the timeout if that is shorter": {
			{0, add(1, 200*ms), nil},
			{500 * ms, due(10), ids(1)},
			{700 * ms, due(10), none},
			{701 * ms, due(10), ids(1)},
		},
		"heard from after the proposal: alive": {
			{0, add(1, 4*sec), nil},
			{5 * sec, due(10), ids(1)},
			{5 * sec, touch(1), true},
			{9 * sec, due(10), none},
			{9*sec + 1, due(10), ids(1)},
		},
		"added again after the proposal: alive": {
			{0, add(1, 4*sec), nil},
			{5 * sec, due(10), ids(1)},
			{5 * sec, add(1, 2*sec), nil},
			{7 * sec, due(10), none},
			{7*sec + 1, due(10), ids(1)},
		},
		"a new timeout holds at once, shorter or longer": {
			{0, add(1, 10*sec), nil},
			{0, add(2, 10*sec), nil},
			{0, add(3, 1*sec), nil},
			{0, add(2, 3*sec), nil},
			{0, add(3, 20*sec), nil},
			{0, nextDue, 3*sec + 1},
			{15 * sec, due(10), ids(2, 1)},
		},
		"removed is gone": {
			{0, add(1, 4*sec), nil},
			{0, add(2, 4*sec), nil},
			{5 * sec, due(1), ids(1)},
			{5 * sec, remove(1), nil},
			{5 * sec, remove(2), nil},
			{50 * sec, due(10), none},
			{50 * sec, nextDue, "never"},
			{50 * sec, silence(1), "unknown"},
			{50 * sec, touch(1), false},
		},
		"a pause of the process is nobody's silence": {
			{0, add(1, 4*sec), nil},
			{0, add(2, 9*sec), nil},
			{60 * sec, restartAll, nil},
			{60 * sec, due(10), none},
			{60 * sec, silence(1), time.Duration(0)},
			{60 * sec, nextDue, 64*sec + 1},
			{63 * sec, touch(1), true},
			{67 * sec, due(10), none},
			{67*sec + 1, due(10), ids(1)},
			{69*sec + 1, due(10), ids(1, 2)}, // 1 for the second time, since 68 s
		},
		"a pause takes back what was proposed": {
			{0, add(1, 4*sec), nil},
			{5 * sec, due(10), ids(1)},
			{5 * sec, restartAll, nil},
			{9 * sec, due(10), none},
			{9*sec + 1, due(10), ids(1)},
		},
		"a new leader gives everybody the whole timeout": {
			{0, add(9, 1*sec), nil},
			{90 * sec, restartAll, nil},
			{100 * sec, restart(map[int64]time.Duration{1: 4 * sec, 2: 2 * sec}), nil},
			{100 * sec, silence(9), "unknown"},
			{102 * sec, due(10), none},
			{104*sec + 1, due(10), ids(2, 1)},
		},
		"time does not run backwards": {
			{10 * sec, add(1, 4*sec), nil},
			{8 * sec, touch(1), true},
			{9 * sec, silence(1), time.Duration(0)},
			{14*sec + 1, due(10), ids(1)},
			{3 * sec, touch(1), true}, // heard from after the proposal, by a clock read before it
			{18*sec + 1, due(10), none},
			{18*sec + 2, due(10), ids(1)},
		},
		"a timeout of nothing counts as the protocol's unit": {
			{0, add(1, 0), nil},
			{0, add(2, -5*sec), nil},
			{1 * ms, due(10), none},
			{1*ms + 1, due(10), ids(1, 2)},
		},
		"at risk is who has used up most of the timeout": {
			{0, add(1, 40*sec), nil},
			{0, add(2, 10*sec), nil},
			{0, add(3, 20*sec), nil},
			{0, add(4, 20*sec), nil},
			{5 * sec, touch(2), true},
			{5 * sec, add(5, 1*sec), nil},
			{6 * sec, atRisk(4), []string{"5: 1s of 1s", "3: 6s of 20s", "4: 6s of 20s", "1: 6s of 40s"}},
			{6 * sec, atRisk(100), []string{"5: 1s of 1s", "3: 6s of 20s", "4: 6s of 20s", "1: 6s of 40s", "2: 1s of 10s"}},
			{6 * sec, atRisk(1), []string{"5: 1s of 1s"}},
			{6 * sec, atRisk(0), []string(nil)},
			{8 * sec, restartAll, nil},
			{9 * sec, atRisk(2), []string{"5: 1s of 1s", "2: 1s of 10s"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := NewClock()
			for i, s := range steps {
				if got := s.do(c, s.at); fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", s.want) {
					t.Fatalf("step %d at %v: %v, want %v", i, s.at, got, s.want)
				}
				checkHeap(t, c)
			}
		})
	}
}

// checkHeap holds the heap to its order, and each slot to its invariant.
func checkHeap(t *testing.T, c *Clock) {
	t.Helper()
	if len(c.heap) != len(c.sessions) || c.Len() != len(c.heap) {
		t.Fatalf("heap of %d for %d sessions, Len %d", len(c.heap), len(c.sessions), c.Len())
	}
	for i, s := range c.heap {
		if s.pos != i || c.sessions[s.id] != s.timer || s.at > c.due(s.timer) || i > 0 && s.before(c.heap[(i-1)/4]) {
			t.Fatalf("slot %d at %v holds %+v, due %v", i, s.at, *s.timer, c.due(s.timer))
		}
	}
}

// clockModel says the same as Clock, by looking at every session each time.
type clockModel map[int64]*modelSession

type modelSession struct{ timeout, heard, due time.Duration }

func (m clockModel) hear(now time.Duration, s *modelSession) { s.heard, s.due = now, now+s.timeout }

// pending returns all sessions in the order in which they are due.
func (m clockModel) pending() []int64 {
	return slices.SortedFunc(maps.Keys(m), func(a, b int64) int {
		return cmp.Or(cmp.Compare(m[a].due, m[b].due), cmp.Compare(a, b))
	})
}

func (m clockModel) take(now time.Duration, limit int) []int64 {
	var out []int64
	for _, id := range m.pending() {
		if s := m[id]; s.due < now && len(out) < limit {
			out = append(out, id)
			s.due = now + min(s.timeout, sec)
		}
	}
	return out
}

func (m clockModel) share(now time.Duration, id int64) float64 {
	return float64(now-m[id].heard) / float64(m[id].timeout)
}

func TestClockAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		c, m := NewClock(), clockModel{}
		now := time.Duration(rng.Int64N(int64(time.Hour)))
		population := 1 + rng.Int64N(200)
		for i := range 2000 {
			now += time.Duration(rng.Int64N(int64(100 * ms)))
			id := rng.Int64N(population) - population/2
			s, known := m[id]
			switch op := rng.IntN(100); {
			case op < 15:
				timeout := time.Duration(1+rng.IntN(40)) * 250 * ms
				c.Add(now, id, timeout)
				m[id] = &modelSession{timeout: timeout}
				m.hear(now, m[id])
			case op < 75:
				if got := c.Touch(now, id); got != known {
					t.Fatalf("seed %d step %d: Touch(%d) is %v, want %v", seed, i, id, got, known)
				}
				if known {
					m.hear(now, s)
				}
			case op < 80:
				c.Remove(id)
				delete(m, id)
			case op == 80 && i%7 == 0:
				c.RestartAll(now)
				for _, s := range m {
					m.hear(now, s)
				}
			case op == 81 && i%7 == 0:
				c.Restart(now, m.timeouts())
				for _, s := range m {
					m.hear(now, s)
				}
			case op < 85:
				got := c.MostSilent(now, 1+rng.IntN(10))
				for j, r := range got {
					if s := m[r.ID]; s == nil || r.Silence != now-s.heard || r.Timeout != s.timeout {
						t.Fatalf("seed %d step %d: MostSilent has %+v, want %+v", seed, i, r, s)
					}
					if j > 0 && m.share(now, r.ID) > m.share(now, got[j-1].ID) {
						t.Fatalf("seed %d step %d: %+v is not in order", seed, i, got)
					}
				}
				for id := range m {
					listed := slices.ContainsFunc(got, func(r AtRisk) bool { return r.ID == id })
					if !listed && m.share(now, id) > m.share(now, got[len(got)-1].ID) {
						t.Fatalf("seed %d step %d: %+v lacks %d", seed, i, got, id)
					}
				}
			default:
				limit := rng.IntN(5)
				if got, want := c.Due(now, limit), m.take(now, limit); !slices.Equal(got, want) {
					t.Fatalf("seed %d step %d: Due is %v, want %v", seed, i, got, want)
				}
			}
			if i%16 == 0 {
				checkHeap(t, c)
			}
			next, ok := c.NextDue()
			if want := m.pending(); ok != (len(want) > 0) || ok && next != m[want[0]].due+1 {
				t.Fatalf("seed %d step %d: NextDue is %v %v; pending %v", seed, i, next, ok, want)
			}
			if d, ok := c.Silence(now, id); ok != (m[id] != nil) || ok && d != now-m[id].heard {
				t.Fatalf("seed %d step %d: Silence(%d) is %v %v", seed, i, id, d, ok)
			}
		}
	}
}

func (m clockModel) timeouts() iter.Seq2[int64, time.Duration] {
	return func(yield func(int64, time.Duration) bool) {
		for id, s := range m {
			if !yield(id, s.timeout) {
				return
			}
		}
	}
}

// The order in which a map happens to hand over the sessions must not show.
func TestRestartDoesNotDependOnOrder(t *testing.T) {
	var first []int64
	for range 20 {
		timeouts := make(map[int64]time.Duration)
		for id := range int64(300) {
			timeouts[id*7919%1000] = time.Duration(1+id%3) * sec
		}
		c := NewClock()
		c.Restart(0, maps.All(timeouts))
		got := c.Due(time.Minute, 1000)
		if first == nil {
			first = got
		}
		if len(got) != 300 || !slices.Equal(got, first) {
			t.Fatalf("%d sessions are due, in the order %v; before it was %v", len(got), got, first)
		}
	}
}

func TestPauseDetector(t *testing.T) {
	p := NewPauseDetector(100 * ms)
	for _, s := range []struct{ now, paused time.Duration }{
		{17 * sec, 0}, // the first tick: nothing to compare with
		{17*sec + 100*ms, 0},
		{17*sec + 499*ms, 0}, // late, but no pause
		{17*sec + 500*ms, 0},
		{17*sec + 900*ms, 300 * ms},
		{17*sec + 950*ms, 0},
		{27*sec + 950*ms, 9900 * ms},
		{27*sec + 950*ms, 0},
	} {
		if got := p.Observe(s.now); got != s.paused {
			t.Errorf("at %v: paused for %v, want %v", s.now, got, s.paused)
		}
	}
}

func TestTouchDoesNotAllocate(t *testing.T) {
	c := NewClock()
	for id := range int64(1000) {
		c.Add(0, id, sec)
	}
	now := time.Duration(0)
	if n := testing.AllocsPerRun(1000, func() {
		now += ms
		c.Touch(now, int64(now/ms)%1000)
	}); n != 0 {
		t.Errorf("Touch: %v allocations, want none", n)
	}
	c.RestartAll(now)
	if n := testing.AllocsPerRun(1000, func() { c.Due(now, 100) }); n != 0 {
		t.Errorf("Due with nothing due: %v allocations, want none", n)
	}
}

func fullClock() *Clock {
	c := NewClock()
	for id := range int64(100_000) {
		c.Add(time.Duration(id)*33*time.Microsecond, id*0x9E3779B97F4A7C, 10*sec)
	}
	return c
}

func BenchmarkTouch(b *testing.B) {
	c := fullClock()
	now, i := 4*sec, int64(0)
	b.ReportAllocs()
	for b.Loop() {
		i++
		now += 33 * time.Microsecond
		c.Touch(now, i%100_000*0x9E3779B97F4A7C)
	}
}

// One tick of 100 ms of a leader with 100,000 sessions of 10 s that are each
// heard from every 3.3 s; the heartbeats themselves are not counted.
func BenchmarkTick(b *testing.B) {
	c := fullClock()
	now, i := 4*sec, int64(0)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for range 3030 {
			i++
			now += 33 * time.Microsecond
			c.Touch(now, i%100_000*0x9E3779B97F4A7C)
		}
		b.StartTimer()
		if ids := c.Due(now, 100); len(ids) != 0 {
			b.Fatalf("%d sessions are due", len(ids))
		}
	}
}

// All 100,000 sessions are due at once and are expired, 1,000 at a time.
func BenchmarkExpireAll(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		c := fullClock()
		b.StartTimer()
		for c.Len() > 0 {
			for _, id := range c.Due(time.Minute, 1000) {
				c.Remove(id)
			}
		}
	}
}

func BenchmarkMostSilent(b *testing.B) {
	c := fullClock()
	b.ReportAllocs()
	for b.Loop() {
		c.MostSilent(5*sec, 20)
	}
}
