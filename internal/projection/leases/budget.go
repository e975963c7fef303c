package leases

import (
	"sync"
	"time"
)

// Limits are the most writes that the API server sees in any second: a write counts
// from when it is issued until a second after its outcome is known, so that those
// that were held up on their way and arrive together are no more either.
type Limits struct {
	// Writes bounds all writes of Leases.
	Writes int
	// Renewals bounds those that only renew, within Writes.
	Renewals int
	// Cleanups bounds removals of what no rule selects, within Writes.
	Cleanups int
}

// DefaultLimits leave room for status and Events below a hundred writes a second in
// all, and for status below twenty where nothing changes.
var DefaultLimits = Limits{Writes: 90, Renewals: 15, Cleanups: 2}

// Budget is what an operator may write. All clusters share it. It is safe for
// concurrent use.
type Budget struct {
	mu                         sync.Mutex
	limits                     Limits
	writes, renewals, cleanups bucket
	// held are the Leases that have to be renewed, by planner, and their sum.
	held  map[*Planner]int
	total int
	// credit is how many writes may be borrowed, as of credited; never more than
	// Credit.
	credit   float64
	credited time.Time
}

// Credit is how many writes may be borrowed at once; from then on one in so many
// seconds.
const (
	Credit      = 45
	creditEvery = 2 * time.Second
	// borrowedFor is for how long a write counts that is borrowed, since nobody tells
	// when it lands: a second until it does, and the one after that.
	borrowedFor = 2 * time.Second
)

// NewBudget returns a Budget that is full.
func NewBudget(l Limits) *Budget {
	return &Budget{
		limits:   l,
		writes:   bucket{most: l.Writes},
		renewals: bucket{most: l.Renewals},
		cleanups: bucket{most: l.Cleanups},
		held:     make(map[*Planner]int),
	}
}

// take takes a write, and one of the kind's own if it has a bucket. If it can't,
// it returns when to ask again. What was taken comes back through landed.
func (b *Budget) take(own *bucket, now time.Time) (ok bool, next time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next = b.writes.ready(now)
	if own != nil {
		if n := own.ready(now); n.After(next) {
			next = n
		}
	}
	if next.After(now) {
		return false, next
	}
	b.writes.take()
	if own != nil {
		own.take()
	}
	return true, now
}

// landed tells that the outcome of a write is known.
func (b *Budget) landed(own *bucket, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes.landed(now)
	if own != nil {
		own.landed(now)
	}
}

// Borrow takes a write for something else that is to be seen at once: of status, when
// many clusters have news at the same time. It is one of those that Leases leave.
func (b *Budget) Borrow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.credited.IsZero() {
		b.credit, b.credited = Credit, now
	} else if now.After(b.credited) {
		b.credit = min(Credit, b.credit+float64(now.Sub(b.credited))/float64(creditEvery))
		b.credited = now
	}
	if b.credit < 1 || b.writes.used(now) >= b.writes.most {
		return false
	}
	b.credit--
	b.writes.borrowed = append(b.writes.borrowed, now)
	return true
}

// of is the bucket of a kind of writes' own, nil if it has none.
func (b *Budget) of(c class) *bucket {
	switch c {
	case renew:
		return &b.renewals
	case cleanup:
		return &b.cleanups
	}
	return nil
}

// hold tells how many Leases a planner has to renew.
func (b *Budget) hold(p *Planner, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total += n - b.held[p]
	if b.held[p] = n; n == 0 {
		delete(b.held, p)
	}
}

// renewalShare of the renewals' rate is planned with; the rest is for catching up.
const renewalShare = 0.85

// interval is how often a Lease can be renewed, given how many there are, if base
// were often enough.
func (b *Budget) interval(base time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(base, time.Duration(float64(b.total)/(float64(b.limits.Renewals)*renewalShare)*float64(time.Second)))
}

const (
	// pace is how much faster than its mean writes may follow one another: so much
	// faster what was held up is made up for, and no faster, so that a second's writes
	// are not all at its beginning.
	pace = 1.25
	// burst of writes comes at once.
	burst = 4
	// unknown is how long to wait where only outcomes are waited for.
	unknown = 10 * time.Millisecond
)

// bucket bounds writes. It is full when it is first looked at.
type bucket struct {
	// most writes are in any second, those included that are borrowed.
	most int
	// flying have no outcome yet; landings are those of the last second, oldest first.
	flying   int
	landings []time.Time
	// borrowed are when others took one, within borrowedFor, oldest first.
	borrowed []time.Time
	// tokens pace them.
	tokens float64
	last   time.Time
}

// ready brings the bucket up to now, and returns when there may be a write.
func (b *bucket) ready(now time.Time) time.Time {
	rate, full := float64(b.most)*pace, float64(min(burst, b.most))
	switch {
	case b.last.IsZero():
		b.tokens, b.last = full, now
	case now.After(b.last):
		b.tokens = min(full, b.tokens+rate*now.Sub(b.last).Seconds())
		b.last = now
	}
	used := b.used(now)
	next := now
	const whole = 1 - 1e-9
	if b.tokens < whole {
		next = now.Add(time.Duration((1-b.tokens)/rate*float64(time.Second)) + time.Microsecond)
	}
	if used >= b.most {
		free := now.Add(unknown)
		if len(b.landings) > 0 {
			free = b.landings[0].Add(time.Second)
		}
		if len(b.borrowed) > 0 {
			if back := b.borrowed[0].Add(borrowedFor); len(b.landings) == 0 || back.Before(free) {
				free = back
			}
		}
		if free.After(next) {
			next = free
		}
	}
	return next
}

// used is how many writes of the last second there are, and of those under way.
func (b *bucket) used(now time.Time) int {
	b.landings = after(b.landings, now.Add(-time.Second))
	b.borrowed = after(b.borrowed, now.Add(-borrowedFor))
	return b.flying + len(b.landings) + len(b.borrowed)
}

// after is what is later than that, of times in order.
func after(times []time.Time, than time.Time) []time.Time {
	old := 0
	for old < len(times) && !times[old].After(than) {
		old++
	}
	return times[old:]
}

func (b *bucket) take() {
	b.tokens--
	b.flying++
}

func (b *bucket) landed(now time.Time) {
	b.flying--
	// By whichever clock: they are in order.
	if n := len(b.landings); n > 0 && now.Before(b.landings[n-1]) {
		now = b.landings[n-1]
	}
	b.landings = append(b.landings, now)
}
