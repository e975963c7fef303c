package leases

import (
	"container/heap"
	"hash/fnv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/conclave-dev/conclave/internal/projection/mirror"
)

// Verb is what a Write does.
type Verb string

const (
	// Create makes an object; it fails if there is one of the name.
	Create Verb = "Create"
	// Update replaces the object, by uid and version; it fails if it is another.
	Update Verb = "Update"
	// Delete removes the object, by uid and version.
	Delete Verb = "Delete"
)

// Write is one call of the API server.
type Write struct {
	Verb Verb
	Name string
	// UID and ResourceVersion of the object that is updated or deleted:
	// preconditions.
	UID             types.UID
	ResourceVersion string
	// Lease is the whole object, nil for Delete. Labels and annotations of others
	// are kept. It is not to be changed.
	Lease *coordinationv1.Lease
	// Why, in a word, for logs and metrics.
	Why string

	rec   record
	rule  *rule
	entry *entry
	// own is the bucket that it is out of, beside that of all writes; nil if none.
	own *bucket
	// handovers of the entry up to which it tells.
	handovers int32
	// interval of renewals that its duration is meant for: once it lands, there may be
	// more Leases.
	interval time.Duration
}

// class is the urgency of a write.
type class uint8

const (
	none class = iota
	// handover: the holder is another, or nobody any more.
	handover
	// revive: it has run out, or nearly, and its holder holds.
	revive
	// fresh: a Lease is new.
	fresh
	// restore: it was edited or deleted, or the rule says other labels.
	restore
	// renew: it is due.
	renew
	// cleanup: no rule selects it, or there is no room for it.
	cleanup
	classes
)

func (c class) String() string {
	return [...]string{"", "holder", "expired", "new", "restored", "renewed", "removed"}[c]
}

// turns is in which proportion the urgent classes get writes while all want some.
var turns = [...]class{handover, fresh, handover, revive, handover, fresh, handover, restore}

// want is what should be of an entry.
type want struct {
	class class
	verb  Verb
	// holder is the candidate that a written Lease names; nil for nobody.
	holder *candidate
	rule   *rule
	// at: not now, but then.
	at time.Time
}

// decide says what is to be written of e now, if anything.
func (p *Planner) decide(e *entry, now time.Time) want {
	if e.inFlight {
		return want{}
	}
	w := p.lacks(e, now)
	if w.class != none && now.Before(e.notBefore) {
		return want{at: e.notBefore}
	}
	return w
}

// lacks says what is wrong with a Lease, whenever it is that it may be written.
func (p *Planner) lacks(e *entry, now time.Time) want {
	if !p.synced {
		return want{}
	}
	remove := func(c class) want {
		if !e.exists {
			return want{}
		}
		return want{class: c, verb: Delete}
	}
	if len(e.claims) == 0 && e.unmatched {
		return remove(cleanup)
	}
	if p.state != mirror.Fresh || !p.whole {
		return want{}
	}
	if len(e.claims) == 0 {
		if e.rec.holder == "" {
			return remove(cleanup)
		}
		return remove(handover)
	}
	c, conflict := e.active()
	switch {
	case conflict:
		return remove(handover)
	case !e.admitted:
		return remove(cleanup)
	case e.foreign && now.Before(e.foreignUntil):
		return want{at: e.foreignUntil}
	}
	h := c.holder()
	if h == nil && !e.hasRec {
		// It came and went before anything was written.
		return want{}
	}
	w := want{verb: Update, holder: h, rule: c.rule}
	moved := e.unwritten() > 0
	if h == nil {
		moved = e.rec.holder != ""
	}
	if moved && h != nil && c.rule.Holder == FromPod && now.Before(h.seen.Add(patience)) {
		if _, ok := p.cfg.PodOf(h.session); !ok {
			return want{at: h.seen.Add(patience)}
		}
	}
	switch {
	case !e.exists && e.hasRec:
		w.class, w.verb = restore, Create
	case !e.exists:
		w.class, w.verb = fresh, Create
	case moved:
		w.class = handover
	case e.podKnown || e.drift || e.rule != nil && e.rule != c.rule && !sameLabels(e.rule, c.rule):
		w.class = restore
	case h == nil:
		return want{}
	case p.expiring(e, now):
		w.class = revive
	case !now.Before(p.dueAt(e)):
		w.class = renew
	default:
		return want{}
	}
	return w
}

// nameless tells whether the Lease has a holder's session where the rule wants his
// pod.
func (e *entry) nameless(h *candidate, r *rule) bool {
	return h != nil && r.Holder == FromPod && e.hasRec && e.unwritten() == 0 && e.rec.holder == SessionIdentity(h.session)
}

// awaitPod looks for the holder's pod again if it was not known: a pod that has just
// started has no address in Kubernetes yet. After a moment, and then after twice as
// long each time, until renewals do it.
func (p *Planner) awaitPod(e *entry, now time.Time) {
	c, conflict := e.active()
	if conflict || c == nil || e.timerSlot[p.delayed.slot] >= 0 {
		return
	}
	h := c.holder()
	if !e.nameless(h, c.rule) {
		return
	}
	if _, e.podKnown = p.cfg.PodOf(h.session); e.podKnown {
		p.enqueue(e, now)
	} else if now.Before(h.seen.Add(nameable)) {
		p.delay(e, now.Add(max(patience, now.Sub(h.seen))))
	}
}

func sameLabels(a, b *rule) bool {
	return a.Name == b.Name && equalMaps(a.Labels, b.Labels) && equalMaps(a.Annotations, b.Annotations)
}

func equalMaps(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// expiring tells whether a Lease has run out for those who follow it, or is about
// to.
func (p *Planner) expiring(e *entry, now time.Time) bool {
	d := time.Duration(e.rec.duration) * time.Second
	return now.Sub(e.renewed) >= d-d/8
}

// interval is how often each Lease is renewed.
func (p *Planner) interval() time.Duration { return p.cfg.Budget.interval(p.duration / 3) }

// Duration is for how long a Lease is good that is written now: an interval of
// renewals, and then what an operator takes to come back.
func (p *Planner) Duration() time.Duration {
	interval := p.interval()
	d := interval + max(p.duration*2/3, interval/4)
	return (d + time.Second - 1).Truncate(time.Second)
}

// dueAt is when a Lease is to be renewed: within an interval, that for which it was
// written or the present one, whichever is shorter, less some that differs from
// Lease to Lease and from time to time. It is much less for those that were written
// for another reason than to be renewed, who may be many at once: from then on they
// take turns.
func (p *Planner) dueAt(e *entry) time.Time {
	h := fnv.New64a()
	h.Write([]byte(e.name))
	ns := uint64(e.renewed.UnixNano())
	for i := range 8 {
		h.Write([]byte{byte(ns >> (8 * i))})
	}
	most := 0.15
	if e.spread {
		most = 0.9
	}
	jitter := most * float64(h.Sum64()>>11) / (1 << 53)
	return e.renewed.Add(time.Duration((1 - jitter) * float64(min(e.interval, p.stretched))))
}

// schedule notes when a Lease is due.
func (p *Planner) schedule(e *entry) {
	if e.rec.holder == "" || !e.exists {
		p.due.remove(e)
		return
	}
	p.due.set(e, p.dueAt(e))
}

// restretch adapts to how many Leases there are. Fewer are renewed more often, at
// once; more have been told to be good for less, and are not put off.
func (p *Planner) restretch() {
	switch now := p.interval(); {
	case now > p.stretched:
		p.stretched = now
	case now < p.stretched*7/10:
		p.stretched = now
		for _, e := range p.due.list {
			e.timer[p.due.slot] = p.dueAt(e)
		}
		heap.Init(&p.due)
	}
}

// enqueue sees to it that Plan comes to e.
func (p *Planner) enqueue(e *entry, now time.Time) {
	w := p.decide(e, now)
	switch {
	case !w.at.IsZero():
		p.delay(e, w.at)
	case w.class == none:
	case w.class == renew:
		if e.timerSlot[p.due.slot] < 0 {
			p.schedule(e)
		}
	case !e.in[w.class]:
		e.in[w.class] = true
		p.queues[w.class] = append(p.queues[w.class], e)
	}
}

// delay looks at e again at a time.
func (p *Planner) delay(e *entry, at time.Time) { p.delayed.set(e, at) }

// next returns the first of a queue for which that is still to be done.
func (p *Planner) next(c class, now time.Time) (*entry, want) {
	for len(p.queues[c]) > 0 {
		e := p.queues[c][0]
		w := p.decide(e, now)
		if w.class == c {
			return e, w
		}
		p.pop(c)
		p.enqueue(e, now)
	}
	return nil, want{}
}

func (p *Planner) pop(c class) {
	e := p.queues[c][0]
	e.in[c] = false
	p.queues[c][0] = nil
	p.queues[c] = p.queues[c][1:]
}

// Plan returns at most limit writes, the most urgent first, and when to look again
// at the latest, zero if there is nothing to look for. The time may have come
// already.
func (p *Planner) Plan(now time.Time, limit int) (writes []Write, again time.Time) {
	if !p.synced {
		return nil, time.Time{}
	}
	p.restretch()
	for e, at := p.delayed.first(); e != nil && !at.After(now); e, at = p.delayed.first() {
		p.delayed.remove(e)
		p.enqueue(e, now)
		p.awaitPod(e, now)
	}
	soon := func(t time.Time) {
		if !t.IsZero() && (again.IsZero() || t.Before(again)) {
			again = t
		}
	}
	// Renewals and cleanups take their share first, which is small, and come last.
	var renewals, cleanups []Write
	if p.state == mirror.Fresh && p.whole {
		renewals = p.planRenewals(now, limit, soon)
		limit -= len(renewals)
	}
	for limit > 0 {
		e, w := p.next(cleanup, now)
		if e == nil {
			break
		}
		ok, when := p.cfg.Budget.take(p.cfg.Budget.of(cleanup), now)
		if !ok {
			soon(when)
			break
		}
		p.pop(cleanup)
		cleanups = append(cleanups, p.write(e, w, now))
		limit--
	}
	for idle := 0; limit > 0 && idle < len(turns); p.turn++ {
		c := turns[p.turn%len(turns)]
		e, w := p.next(c, now)
		if e == nil {
			idle++
			continue
		}
		idle = 0
		ok, when := p.cfg.Budget.take(nil, now)
		if !ok {
			soon(when)
			break
		}
		p.pop(c)
		writes = append(writes, p.write(e, w, now))
		limit--
	}
	if _, at := p.delayed.first(); !at.IsZero() {
		soon(at)
	}
	if limit <= 0 {
		soon(now)
	}
	return append(append(writes, renewals...), cleanups...), again
}

func (p *Planner) planRenewals(now time.Time, limit int, soon func(time.Time)) (writes []Write) {
	for len(writes) < limit {
		e, at := p.due.first()
		if e == nil {
			break
		}
		if at.After(now) {
			soon(at)
			break
		}
		w := p.decide(e, now)
		if at = p.dueAt(e); at.After(now) {
			// There are more Leases than when it was put there.
			p.due.set(e, at)
			continue
		}
		if w.class != renew {
			// Something else is to be done, which renews it, or it is under way.
			p.due.remove(e)
			p.enqueue(e, now)
			continue
		}
		ok, when := p.cfg.Budget.take(p.cfg.Budget.of(renew), now)
		if !ok {
			soon(when)
			break
		}
		writes = append(writes, p.write(e, w, now))
	}
	return writes
}

// write makes the Write that was decided upon.
func (p *Planner) write(e *entry, w want, now time.Time) Write {
	p.due.remove(e)
	e.inFlight = true
	e.notBefore = now.Add(spacing)
	out := Write{Verb: w.verb, Name: e.name, UID: e.uid, ResourceVersion: e.version, Why: w.class.String(), entry: e, own: p.cfg.Budget.of(w.class), rule: w.rule}
	if w.verb == Delete {
		e.attempt = &out
		return out
	}
	if w.verb == Create {
		out.UID, out.ResourceVersion = "", ""
	}
	out.rec, out.handovers, out.interval = p.record(e, w), e.handovers, p.interval()
	out.Lease = p.lease(e, &out.rec)
	e.attempt = &out
	return out
}

// record is what the Lease is to say.
func (p *Planner) record(e *entry, w want) record {
	old := e.rec
	c, _ := e.active()
	at := p.confirmed.Truncate(time.Microsecond)
	// By whichever clock it was renewed last, it changes, or its followers take it
	// for run out.
	if e.hasRec && !at.After(old.renewed) {
		at = old.renewed.Add(time.Microsecond)
	}
	r := record{ruleName: w.rule.Name, subject: c.subject, from: w.rule.holderFrom(), transitions: old.transitions, token: old.token, renewed: at}
	if w.holder == nil {
		// Those who held in between count.
		r.transitions += e.unwritten()
		r.duration, r.acquired = 1, at
		if old.holder == "" {
			r.acquired, r.renewed = old.acquired, old.renewed
		}
		return r
	}
	h := w.holder
	r.path, r.session, r.czxid = h.path, h.session, h.czxid
	r.duration = int32(p.Duration() / time.Second)
	if e.unwritten() == 0 {
		r.holder, r.acquired = old.holder, old.acquired
		if e.nameless(h, w.rule) {
			r.holder = p.identity(h, w.rule)
		}
		return r
	}
	r.holder, r.acquired, r.token = p.identity(h, w.rule), at, h.czxid
	switch {
	case e.hasRec:
		r.transitions += e.unwritten()
		if r.token <= old.token {
			r.token = max(e.changedAt, old.token+1)
		}
	case w.rule.Kind == Node && !h.created.IsZero() && h.created.Before(at):
		// The node is its own holder, since it was made.
		r.acquired = h.created.Truncate(time.Microsecond)
	}
	return r
}

func (p *Planner) identity(h *candidate, r *rule) string {
	switch r.Holder {
	case FromData:
		return dataHolder(h)
	case FromPod:
		if pod, ok := p.cfg.PodOf(h.session); ok {
			return pod
		}
	}
	return SessionIdentity(h.session)
}
