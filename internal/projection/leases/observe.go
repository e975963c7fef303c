package leases

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Observe takes in a Lease that exists, as a watch or a list shows it.
func (p *Planner) Observe(l *coordinationv1.Lease, now time.Time) {
	e := p.entries[l.Name]
	if e == nil {
		if !p.ours(l) {
			return
		}
		e = p.entry(l.Name)
	}
	if e.inFlight {
		if e.latest == nil || newer(l.ResourceVersion, e.latest.ResourceVersion) {
			e.latest = l
		}
		return
	}
	p.take(e, l, now)
}

// take makes l what is known of the object, unless that is older than what is.
func (p *Planner) take(e *entry, l *coordinationv1.Lease, now time.Time) {
	if e.version != "" && !newer(l.ResourceVersion, e.version) {
		return
	}
	e.version = l.ResourceVersion
	// An object that we have made stays ours, whatever was done to its labels.
	if mine := p.ours(l) || e.uid != "" && l.UID == e.uid; !mine {
		e.exists, e.uid, e.foreign, e.foreignUntil = false, "", true, now.Add(foreignRetry)
		p.delay(e, e.foreignUntil)
		p.evaluate(e, 0, now)
		return
	}
	e.exists, e.uid, e.foreign = true, l.UID, false
	switch {
	case e.attempt != nil && e.attempt.Lease != nil && says(l, e.attempt.Lease):
		// A write whose outcome was unknown did come about.
		p.wrote(e, e.attempt, now)
	case !e.hasRec:
		p.adopt(e, l, now)
	default:
		e.drift = !says(l, p.lease(e, &e.rec))
	}
	p.evaluate(e, 0, now)
}

// skew is how far an earlier operator's clock may have been ahead of ours.
const skew = time.Hour

// adopt takes over what an earlier operator has written.
func (p *Planner) adopt(e *entry, l *coordinationv1.Lease, now time.Time) {
	e.rec, e.hasRec = read(l), true
	if e.rec.renewed.After(now.Add(skew)) {
		e.rec.renewed = now // that was done by hand
	}
	if e.drift = !says(l, p.lease(e, &e.rec)); !e.drift {
		e.rule = p.rules.byName(e.rec.ruleName)
	}
	// By whoever's clock it was written: it can't have been renewed in the future.
	e.renewed = e.rec.renewed
	if e.renewed.After(now) {
		e.renewed = now
	}
	d := time.Duration(e.rec.duration) * time.Second
	e.interval, e.spread = max(d/3, min(d-p.duration*2/3, d*4/5)), false
	// If it was evaluated before, that was without knowing of the object.
	e.seen, e.written = holderKey{}, e.handovers
	p.schedule(e)
}

// level puts forward renewals of Leases that an earlier operator has written, so far
// that they are no more at a time than there may be: it may have made all of them at
// once, and has taken with it when it meant to renew which.
func (p *Planner) level() {
	var list []*entry
	for _, e := range p.entries {
		if e.exists && e.hasRec && e.rec.holder != "" {
			list = append(list, e)
		}
	}
	if len(list) == 0 {
		return
	}
	// The claims are not known yet.
	p.cfg.Budget.hold(p, max(p.admitted, len(list)))
	gap := p.interval() / time.Duration(len(list))
	// The last first: each is due before those that are due later, by a gap.
	due := func(e *entry) time.Time { return e.renewed.Add(e.interval) }
	slices.SortFunc(list, func(a, b *entry) int { return cmp.Or(due(b).Compare(due(a)), cmp.Compare(a.name, b.name)) })
	latest := due(list[0])
	for _, e := range list {
		if at := due(e); at.Before(latest) {
			latest = at
		}
		e.interval = max(0, latest.Sub(e.renewed))
		latest = latest.Add(-gap)
		p.schedule(e)
	}
}

// Forget takes in that an object is gone.
func (p *Planner) Forget(name string, uid types.UID, now time.Time) {
	e := p.entries[name]
	switch {
	case e == nil:
	case e.inFlight:
		e.gone = uid
	case e.exists && e.uid == uid:
		p.lost(e, now)
	case e.foreign:
		e.foreign = false
		e.version = ""
		p.evaluate(e, 0, now)
	}
}

func (p *Planner) lost(e *entry, now time.Time) {
	e.exists, e.uid, e.version, e.drift = false, "", "", false
	p.due.remove(e)
	p.evaluate(e, 0, now)
}

// newer compares versions of an object, which are numbers that rise. What can't be
// compared is newer.
func newer(a, b string) bool {
	x, err := strconv.ParseUint(a, 10, 64)
	y, err2 := strconv.ParseUint(b, 10, 64)
	if err != nil || err2 != nil {
		return a != b
	}
	return x > y
}
