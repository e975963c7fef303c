package leases

import (
	"sync"
	"time"
)

// Limits are rates of writes, per second. A window of one second sees at most a
// rate and its burst.
type Limits struct {
	// Writes bounds all writes of Leases.
	Writes, WritesBurst float64
	// Renewals bounds those that only renew, within Writes.
	Renewals, RenewalsBurst float64
	// Cleanups bounds removals of what no rule selects, within Writes.
	Cleanups, CleanupsBurst float64
}

// DefaultLimits leave room for status and Events below a hundred writes a second in
// all, and below twenty where nothing changes.
var DefaultLimits = Limits{Writes: 88, WritesBurst: 4, Renewals: 14, RenewalsBurst: 2, Cleanups: 2, CleanupsBurst: 1}

// Budget is what an operator may write. All clusters share it. It is safe for
// concurrent use.
type Budget struct {
	mu                         sync.Mutex
	limits                     Limits
	writes, renewals, cleanups bucket
	// held are the Leases that have to be renewed, by planner, and their sum.
	held  map[*Planner]int
	total int
}

// NewBudget returns a Budget that is full.
func NewBudget(l Limits) *Budget {
	return &Budget{
		limits:   l,
		writes:   bucket{rate: l.Writes, burst: l.WritesBurst},
		renewals: bucket{rate: l.Renewals, burst: l.RenewalsBurst},
		cleanups: bucket{rate: l.Cleanups, burst: l.CleanupsBurst},
		held:     make(map[*Planner]int),
	}
}

// take takes a write, and one of the kind's own if it has a bucket. If it can't,
// it returns when it can.
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
	b.writes.tokens--
	if own != nil {
		own.tokens--
	}
	return true, now
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
	return max(base, time.Duration(float64(b.total)/(b.limits.Renewals*renewalShare)*float64(time.Second)))
}

// bucket is a token bucket. It is full when it is first looked at.
type bucket struct {
	rate, burst, tokens float64
	last                time.Time
}

// ready fills the bucket up to now, and returns when it has a token.
func (b *bucket) ready(now time.Time) time.Time {
	switch {
	case b.last.IsZero():
		b.tokens = b.burst
		b.last = now
	case now.After(b.last):
		b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.last).Seconds())
		b.last = now
	}
	const whole = 1 - 1e-9
	if b.tokens >= whole {
		return now
	}
	return now.Add(time.Duration((1-b.tokens)/b.rate*float64(time.Second)) + time.Microsecond)
}
