package replica

import "time"

// pacer decides when the leader proposes what has queued up.
//
// Each round of the log (a write on every member, messages there and back) costs
// much the same for one operation as for a hundred, so under load it pays to have
// few of them. One round at a time is on its way: what comes meanwhile is the
// next, as with Nagle's algorithm. And clients that have just been answered are
// mostly back at once with their next request: the round waits for them, so that
// all go together instead of in two groups by turns. Where waiting brings nobody
// back, it is given up, and tried again later.
//
// It is pure: times come in, and are those of one monotonic clock.
type pacer struct {
	flying []round // proposed and not committed, oldest first: the log keeps their order
	// last is how long the last round took.
	last time.Duration
	// Since the last commit: when that was, how many operations it answered, and
	// how many were waiting then.
	at       time.Duration
	answered int
	waiting  int
	// futile counts how often in a row waiting brought nobody; so many powers of
	// two rounds go without (skip).
	futile, skip int
	waited       bool
}

type round struct {
	at  time.Duration
	ops int
}

const (
	// crowd is how many operations a round must have for the next to wait for it,
	// and for their clients. With fewer, what counts is the time that each takes.
	crowd = 4
	// longestWait bounds that wait. It is also no longer than two rounds.
	longestWait = 1500 * time.Microsecond
	// mostFutile bounds how seldom it is tried: every 64 rounds.
	mostFutile = 6
	// longRound is when the next round no longer waits for the one on its way:
	// members are far apart, or one is slow, and waiting saves nothing.
	longRound = 3 * time.Millisecond
	// mostFlying rounds are on their way at once.
	mostFlying = 64
)

// proposed notes a round.
func (p *pacer) proposed(now time.Duration, ops int) {
	p.flying = append(p.flying, round{now, ops})
	p.answered = 0
}

// committed notes that the oldest round is committed, with waiting operations
// queued up, and returns how long it took; ok is false for one that this leader
// has not proposed.
func (p *pacer) committed(now time.Duration, waiting int) (took time.Duration, ok bool) {
	if len(p.flying) == 0 {
		return 0, false
	}
	r := p.flying[0]
	p.flying = append(p.flying[:0], p.flying[1:]...)
	took = now - r.at
	p.last, p.at, p.answered, p.waiting, p.waited = took, now, r.ops, waiting, false
	return took, true
}

// forget is called when leadership changes.
func (p *pacer) forget() { *p = pacer{flying: p.flying[:0]} }

// hold reports whether waiting operations are to be held, and until when at the
// latest if nothing else happens.
func (p *pacer) hold(now time.Duration, waiting int) (until time.Duration, hold bool) {
	if n := len(p.flying); n > 0 {
		until = p.flying[n-1].at + longRound
		return until, p.flying[n-1].ops >= crowd && now < until || n >= mostFlying
	}
	if p.answered < crowd {
		return 0, false
	}
	if p.skip > 0 {
		p.skip--
		p.answered = 0
		return 0, false
	}
	until = p.at + min(2*p.last, longestWait)
	back := waiting - p.waiting
	switch {
	case 16*back >= 15*p.answered:
		p.futile = 0
		return 0, false
	case now < until:
		p.waited = true
		return until, true
	case p.waited && 2*back < p.answered:
		p.futile = min(p.futile+1, mostFutile)
		p.skip = 1 << p.futile
	}
	return 0, false
}
