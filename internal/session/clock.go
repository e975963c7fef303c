package session

import (
	"cmp"
	"iter"
	"math"
	"math/bits"
	"slices"
	"time"
)

// expiryRetry is how long a session that Due has returned stays out of its
// answers, at most: by then the expiry has either ended the session or been
// lost on the way. A session with a shorter timeout comes back after that.
const expiryRetry = time.Second

// notProposed stands for a session whose expiry has not been proposed.
const notProposed = time.Duration(math.MinInt64)

// Clock decides which sessions have been silent for longer than their timeout.
// Only the leader runs one, and only for silence that clients caused: after a
// change of leader (Restart) and after a pause of the process or a stalled
// disk (RestartAll) every session has its whole timeout again.
//
// Every now is a monotonic duration since one arbitrary moment, the same for
// all calls; one that lags behind an earlier call's counts as that. A Clock is
// for one goroutine at a time.
//
// Sessions stand in a heap by the moment at which to look at them next. Being
// heard from does not move a session there: its moment may lie too early, and
// is put right when it comes up. So Touch is one store, and a session is looked
// at about once per timeout, however often it is heard from.
type Clock struct {
	sessions map[int64]*timer
	heap     []slot // 4-ary: children of i are at 4i+1 to 4i+4

	now time.Duration // the latest that any call has named

	// floor is the latest RestartAll: whoever was last heard from before it
	// counts as heard from then.
	floor time.Duration
}

// timer is one session of a Clock.
type timer struct {
	id      int64
	timeout time.Duration
	heard   time.Duration // when the client was last heard from; Clock.floor may be later
	// proposed is when Due last returned the session, if it has not been heard
	// from since, or else notProposed.
	proposed time.Duration
	pos      int // index in Clock.heap
}

// slot is a place in the heap. Its moment is never later than what Clock.due
// says of its timer.
type slot struct {
	at time.Duration
	*timer
}

// NewClock returns a clock that knows no session.
func NewClock() *Clock {
	return &Clock{sessions: make(map[int64]*timer), now: math.MinInt64, floor: math.MinInt64}
}

// at notes that a call names now, and returns the latest that any has named.
func (c *Clock) at(now time.Duration) time.Duration {
	c.now = max(c.now, now)
	return c.now
}

// Restart forgets everything and starts with the given sessions and their
// timeouts, all of them heard from now: a new leader's first act.
func (c *Clock) Restart(now time.Duration, sessions iter.Seq2[int64, time.Duration]) {
	clear(c.sessions)
	clear(c.heap)
	c.heap, c.floor = c.heap[:0], math.MinInt64
	for id, timeout := range sessions {
		c.Add(now, id, timeout)
	}
}

// RestartAll counts every session as heard from now, those proposed for expiry
// included. It is for silence that the server caused: see PauseDetector.
func (c *Clock) RestartAll(now time.Duration) { c.floor = c.at(now) }

// Add starts the clock of a session, heard from now. A timeout of less than a
// millisecond, the protocol's unit, counts as one. A session that is there
// already gets the new timeout.
func (c *Clock) Add(now time.Duration, id int64, timeout time.Duration) {
	now, timeout = c.at(now), max(timeout, time.Millisecond)
	if t, ok := c.sessions[id]; ok {
		t.timeout, t.heard, t.proposed = timeout, now, notProposed
		c.heap[t.pos].at = c.due(t) // may be earlier than it was
		c.down(t.pos)
		c.up(t.pos)
		return
	}
	t := &timer{id: id, timeout: timeout, heard: now, proposed: notProposed, pos: len(c.heap)}
	c.sessions[id] = t
	c.heap = append(c.heap, slot{c.due(t), t})
	c.up(t.pos)
}

// Touch notes that the client of session id was heard from, and reports
// whether the clock knows the session.
func (c *Clock) Touch(now time.Duration, id int64) bool {
	t, ok := c.sessions[id]
	if ok {
		t.heard, t.proposed = c.at(now), notProposed
	}
	return ok
}

// Remove forgets a session: it has ended. An unknown id is no error.
func (c *Clock) Remove(id int64) {
	t, ok := c.sessions[id]
	if !ok {
		return
	}
	delete(c.sessions, id)
	last := len(c.heap) - 1
	moved := c.heap[last]
	c.heap[last] = slot{}
	c.heap = c.heap[:last]
	if moved.timer != t {
		c.put(t.pos, moved)
		c.down(moved.pos)
		c.up(moved.pos)
	}
}

// Due returns the sessions that have been silent for longer than their
// timeout, at most limit of them, in the order in which they became due: the
// longest overdue first. A session that was returned is due again when it has
// neither been heard from nor removed for a second more (or for its timeout,
// if that is shorter), since the expiry that was proposed may be lost.
func (c *Clock) Due(now time.Duration, limit int) []int64 {
	var out []int64
	now = c.at(now)
	for len(out) < limit && c.settle() && c.heap[0].at < now {
		t := c.heap[0].timer
		out = append(out, t.id)
		t.proposed = now
		c.heap[0].at = c.due(t)
		c.down(0)
	}
	return out
}

// NextDue returns the first moment at which Due will return something, if
// nothing happens until then. It reports false if there is no session.
func (c *Clock) NextDue() (time.Duration, bool) {
	if !c.settle() {
		return 0, false
	}
	return c.heap[0].at + 1, true
}

// Silence returns how long nothing has been heard from the session.
func (c *Clock) Silence(now time.Duration, id int64) (time.Duration, bool) {
	t, ok := c.sessions[id]
	if !ok {
		return 0, false
	}
	return c.silence(c.at(now), t), true
}

// Len returns how many sessions the clock knows.
func (c *Clock) Len() int { return len(c.sessions) }

// AtRisk is a session and how long it has been silent.
type AtRisk struct {
	ID      int64
	Silence time.Duration
	Timeout time.Duration
}

// compare puts those first that have used up the larger share of their
// timeout, exactly: silence/timeout is compared crosswise.
func (a AtRisk) compare(b AtRisk) int {
	ahi, alo := bits.Mul64(uint64(a.Silence), uint64(b.Timeout))
	bhi, blo := bits.Mul64(uint64(b.Silence), uint64(a.Timeout))
	return cmp.Or(cmp.Compare(bhi, ahi), cmp.Compare(blo, alo), cmp.Compare(a.ID, b.ID))
}

// MostSilent returns the n sessions that have used up the largest share of
// their timeouts, the largest first. It looks at every session, so it is for a
// report every few seconds.
func (c *Clock) MostSilent(now time.Duration, n int) []AtRisk {
	if n = min(n, len(c.heap)); n <= 0 {
		return nil
	}
	now = c.at(now)
	out := make([]AtRisk, 0, n)
	for _, s := range c.heap {
		r := AtRisk{s.id, c.silence(now, s.timer), s.timeout}
		if len(out) == n {
			if r.compare(out[n-1]) > 0 {
				continue
			}
			out = out[:n-1]
		}
		i, _ := slices.BinarySearchFunc(out, r, AtRisk.compare)
		out = slices.Insert(out, i, r)
	}
	return out
}

// lastHeard returns since when the session's silence counts.
func (c *Clock) lastHeard(t *timer) time.Duration { return max(t.heard, c.floor) }

func (c *Clock) silence(now time.Duration, t *timer) time.Duration {
	return now - c.lastHeard(t)
}

// due returns the last moment at which t is not yet due: behind it, Due
// returns t.
func (c *Clock) due(t *timer) time.Duration {
	if t.proposed != notProposed && t.proposed > c.floor {
		return t.proposed + min(expiryRetry, t.timeout)
	}
	return c.lastHeard(t) + t.timeout
}

// settle puts moments that lie too early right until the first one is true. It
// reports whether there is a session at all.
func (c *Clock) settle() bool {
	for len(c.heap) > 0 {
		due := c.due(c.heap[0].timer)
		if due == c.heap[0].at {
			return true
		}
		c.heap[0].at = due
		c.down(0)
	}
	return false
}

// before orders the heap. The id makes the order total, so that it depends on
// nothing but what the clock was told.
func (s slot) before(o slot) bool { return s.at < o.at || s.at == o.at && s.id < o.id }

func (c *Clock) put(i int, s slot) {
	c.heap[i] = s
	s.pos = i
}

func (c *Clock) up(i int) {
	s := c.heap[i]
	for i > 0 {
		parent := (i - 1) / 4
		if !s.before(c.heap[parent]) {
			break
		}
		c.put(i, c.heap[parent])
		i = parent
	}
	c.put(i, s)
}

func (c *Clock) down(i int) {
	s := c.heap[i]
	for {
		first := 4*i + 1
		if first >= len(c.heap) {
			break
		}
		least := first
		for j := first + 1; j < min(first+4, len(c.heap)); j++ {
			if c.heap[j].before(c.heap[least]) {
				least = j
			}
		}
		if !c.heap[least].before(s) {
			break
		}
		c.put(i, c.heap[least])
		i = least
	}
	c.put(i, s)
}

// pauseFactor is how many intervals between two ticks make a pause. Less is
// what a busy machine does to any timer.
const pauseFactor = 4

// PauseDetector finds out that the process itself stood still, from the gaps
// between ticks that should be an interval apart. While it stood still no
// client could be heard, so a leader calls RestartAll before it asks what is
// due.
type PauseDetector struct {
	interval time.Duration
	last     time.Duration
	started  bool
}

// NewPauseDetector returns a detector for ticks that are expected once per
// interval. A pause is seen from four intervals on, which should be well below
// the shortest session timeout.
func NewPauseDetector(interval time.Duration) *PauseDetector {
	return &PauseDetector{interval: interval}
}

// Observe notes a tick and returns for how long the process stood still since
// the one before: the gap beyond one interval, or 0 if it was no longer than
// ticks may be late.
func (p *PauseDetector) Observe(now time.Duration) (paused time.Duration) {
	if p.Overdue(now) {
		paused = now - p.last - p.interval
	}
	p.last, p.started = now, true
	return paused
}

// Overdue reports whether a tick at this moment would show a pause: the process
// has stood still, or does so without knowing.
func (p *PauseDetector) Overdue(now time.Duration) bool {
	return p.started && now-p.last >= pauseFactor*p.interval
}
