package leases

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// Wrote tells that a write came about; l is the object as the API server has it now,
// nil after Delete.
func (p *Planner) Wrote(w Write, l *coordinationv1.Lease, now time.Time) {
	e := w.entry
	e.inFlight = false
	if l == nil {
		e.attempt, e.failures = nil, 0
		e.exists, e.uid, e.version, e.drift = false, "", "", false
	} else {
		e.exists, e.uid, e.version, e.foreign = true, l.UID, l.ResourceVersion, false
		p.wrote(e, &w, now)
	}
	p.landed(&w, now)
}

// wrote makes a write that came about what is known.
func (p *Planner) wrote(e *entry, w *Write, now time.Time) {
	e.attempt, e.failures, e.drift, e.podKnown = nil, 0, false, false
	e.rec, e.hasRec, e.rule = w.rec, true, w.rule
	e.written = w.handovers
	e.renewed, e.interval, e.spread = now, w.interval, w.Why != renew.String()
	p.schedule(e)
	p.awaitPod(e, now)
}

// Lost tells that a write did not come about, because the object is not what was
// thought: l, or nil if there is none.
func (p *Planner) Lost(w Write, l *coordinationv1.Lease, now time.Time) {
	e := w.entry
	e.inFlight = false
	e.failures++
	e.notBefore = now.Add(e.backoff())
	if l == nil {
		e.exists, e.uid, e.version, e.drift, e.foreign = false, "", "", false, false
	} else {
		// It is the newest there is, however it compares.
		e.version = ""
		p.take(e, l, now)
	}
	p.landed(&w, now)
}

// Failed tells that it is not known whether a write came about, or that it was
// refused. It is tried again after a while.
func (p *Planner) Failed(w Write, now time.Time) {
	e := w.entry
	e.inFlight = false
	e.failures++
	e.notBefore = now.Add(e.backoff())
	p.landed(&w, now)
}

// backoff is how long to wait after failures.
func (e *entry) backoff() time.Duration {
	return min(maxBackoff, spacing<<min(e.failures, 10))
}

// landed gives back a write to the Budget, and takes in what was observed while it was
// under way.
func (p *Planner) landed(w *Write, now time.Time) {
	e := w.entry
	p.cfg.Budget.landed(w.own, now)
	latest, gone := e.latest, e.gone
	e.latest, e.gone = nil, ""
	if latest != nil {
		p.take(e, latest, now)
	}
	if gone != "" && e.exists && e.uid == gone {
		p.lost(e, now)
		return
	}
	p.schedule(e)
	p.evaluate(e, 0, now)
}
