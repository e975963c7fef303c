package leases

import (
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/conclave-dev/conclave/internal/projection/mirror"
)

// Config is what a Planner is about.
type Config struct {
	// Cluster and Namespace of the CoordinationCluster; its Leases are in the same
	// namespace.
	Cluster, Namespace string
	// ClusterID of the ensemble, for the annotation; may be empty.
	ClusterID string
	// Owner is the CoordinationCluster: all goes with it.
	Owner metav1.OwnerReference
	// Labels of all that the operator makes for the cluster.
	Labels map[string]string
	Budget *Budget
	// PodOf names the pod of a session's client, as namespace/name.
	PodOf func(session uint64) (string, bool)
}

// Settings are what spec.leases says besides.
type Settings struct {
	Rules *Rules
	// Duration of a Lease, if there are not too many.
	Duration time.Duration
	// Max is the most Leases.
	Max int
}

// Planner decides about the Leases of one cluster. It is not safe for concurrent
// use.
//
// Whoever drives it calls Settings first, then Observe for every Lease that exists
// and Synced; from then on Apply and Confirm for each message of the stream,
// Observe and Forget for what happens to Leases, and Plan whenever there may be
// something to do, at the latest when Plan said. Each Write that Plan gives out
// comes back through Wrote, Lost or Failed.
type Planner struct {
	cfg      Config
	rules    *Rules
	duration time.Duration
	max      int
	// stretched is the interval of renewals for which due was built last.
	stretched time.Duration

	synced, whole bool
	state         mirror.State
	// confirmed is when the holders that are known were the present.
	confirmed time.Time

	claims  map[claimKey]*claim
	entries map[string]*entry
	// claimed entries are those that something claims; admitted are no more than
	// max of them.
	claimed, admitted int
	waiting           waiting
	// empties are admitted elections without candidates, the longest so first; some
	// are not so any more.
	empties []*entry

	queues [classes][]*entry
	turn   int
	// delayed are entries by when to look at them again, due those that are held, by
	// when to renew them.
	delayed, due timers
}

// entry is one Lease: what claims its name, and what is known of the object.
type entry struct {
	name   string
	claims []*claim
	// admitted: it is one of the Planner's max.
	admitted, isWaiting bool
	// isEmpty: it is among the Planner's empties, which it need not be by rights any
	// more.
	isEmpty bool
	// unmatched: no rule selects what the Lease was made for.
	unmatched bool

	// seen is the holder as it was last evaluated. handovers counts how often it
	// became another (not nobody), and changedAt is the transaction of the last
	// time. Up to written they are in rec.
	seen               holderKey
	handovers, written int32
	changedAt          int64

	// rec is what the Lease says, by our doing; it is there if hasRec. It outlives
	// the object while something claims the name.
	rec    record
	hasRec bool
	// rule is the one by whose labels the object was written last; nil if unknown.
	rule *rule
	// exists: there is an object of ours, uid at version.
	exists  bool
	uid     types.UID
	version string
	drift   bool
	// podKnown: the pod that holds has become known, and the Lease has its session.
	podKnown     bool
	foreignUntil time.Time
	foreign      bool

	// attempt is the write that is under way, or whose outcome is unknown.
	attempt  *Write
	inFlight bool
	// latest is the newest that was observed while a write was under way; gone is
	// the object's uid if it was seen deleted.
	latest *coordinationv1.Lease
	gone   types.UID

	// notBefore keeps a Lease from being written all the time.
	notBefore time.Time
	failures  int
	// renewed is when it was renewed by our clock, interval how long that was meant
	// to last; spread is for dueAt.
	renewed  time.Time
	interval time.Duration
	spread   bool

	in        [classes]bool
	timer     [2]time.Time
	timerSlot [2]int
}

// unwritten is how many hand-overs are not in rec.
func (e *entry) unwritten() int32 { return e.handovers - e.written }

// holderKey is a holder; zero is nobody.
type holderKey struct {
	path, identity, from string
	czxid                int64
}

const (
	// spacing is the least time between two writes of one Lease.
	spacing = 200 * time.Millisecond
	// patience is for how long a new holder's pod is waited for; then the session stands
	// in its place, and for nameable it is looked for between renewals.
	patience = 500 * time.Millisecond
	nameable = 15 * time.Second
	// foreignRetry is how often a name that somebody else has is tried again.
	foreignRetry = time.Minute
	// forever is longer than any interval.
	forever = 24 * time.Hour
	// maxBackoff bounds the wait after writes that failed.
	maxBackoff = 30 * time.Second
)

// NewPlanner returns a Planner without rules.
func NewPlanner(cfg Config) *Planner {
	return &Planner{
		cfg: cfg, rules: &Rules{}, duration: time.Minute,
		claims: make(map[claimKey]*claim), entries: make(map[string]*entry),
		delayed: timers{slot: 0}, due: timers{slot: 1}, stretched: forever,
	}
}

// Close gives back the Planner's part of the Budget. The writes that are under way
// count as landed: nobody will tell.
func (p *Planner) Close(now time.Time) {
	for _, e := range p.entries {
		if e.inFlight {
			p.cfg.Budget.landed(e.attempt.own, now)
		}
	}
	p.cfg.Budget.hold(p, 0)
}

func (p *Planner) entry(name string) *entry {
	e := p.entries[name]
	if e == nil {
		e = &entry{name: name, timerSlot: [2]int{-1, -1}}
		p.entries[name] = e
	}
	return e
}

// Settings takes the rules, and what the mirror has by now.
func (p *Planner) Settings(s Settings, m *mirror.Mirror, now time.Time) {
	elections := p.claims
	p.rules, p.duration, p.max = s.Rules, s.Duration, s.Max
	p.claims = make(map[claimKey]*claim)
	p.claimed, p.admitted, p.waiting, p.empties = 0, 0, nil, nil
	for _, e := range p.entries {
		e.claims, e.admitted, e.isWaiting, e.isEmpty = nil, false, false, false
	}
	for n := range m.Ephemerals() {
		p.set(n, nil, now)
	}
	// An election without candidates goes on, if a rule still selects it.
	for key := range elections {
		if key.rule.Kind == Election {
			p.keepElection(key.rule.Name, key.subject, "")
		}
	}
	if p.whole = m.Whole(); p.whole {
		p.keepElections()
	}
	p.fill(now)
	for _, e := range p.entries {
		p.evaluate(e, 0, now)
	}
	p.settled()
}

// Synced tells that every Lease that exists was observed.
func (p *Planner) Synced() {
	p.synced = true
	p.level()
}

// Apply takes in what has changed of ephemeral nodes.
func (p *Planner) Apply(d mirror.Delta, now time.Time) {
	touched := make(map[*entry]struct{})
	for i := range d.Transactions {
		t := &d.Transactions[i]
		clear(touched)
		for _, path := range t.Gone {
			p.remove(path, touched)
		}
		for _, n := range t.Set {
			p.set(n, touched, now)
		}
		if d.Whole {
			// What exists keeps its place before anything new gets one.
			p.whole = true
			p.keepElections()
			for _, e := range p.entries {
				touched[e] = struct{}{}
			}
		}
		p.fill(now)
		for e := range touched {
			p.evaluate(e, t.Zxid, now)
		}
	}
	p.settled()
}

// Confirm tells what the mirror is worth. at is when it was last confirmed.
func (p *Planner) Confirm(s mirror.State, at, now time.Time) {
	thaw := s == mirror.Fresh && p.state != mirror.Fresh
	p.state, p.confirmed = s, at
	if thaw {
		for _, e := range p.entries {
			p.enqueue(e, now)
		}
	}
}

// set adds or changes a node in every claim that it is part of.
func (p *Planner) set(n mirror.Ephemeral, touched map[*entry]struct{}, now time.Time) {
	for _, r := range p.rules.list {
		subject, sequence, ok := r.subject(n.Path)
		if !ok {
			continue
		}
		c := p.claims[claimKey{r, subject}]
		if c == nil {
			name, ok := r.leaseName(p.cfg.Cluster, subject)
			if !ok {
				continue
			}
			c = p.claim(r, subject, name, n.Czxid)
		}
		x := r.candidate(n, sequence)
		x.seen = now
		c.set(x)
		if touched != nil {
			touched[c.entry] = struct{}{}
		}
	}
}

// claim makes the claim of a rule; czxid is its seniority.
func (p *Planner) claim(r *rule, subject, name string, czxid int64) *claim {
	c := &claim{rule: r, subject: subject, entry: p.entry(name)}
	p.claims[claimKey{r, subject}] = c
	e := c.entry
	if e.claims = append(e.claims, c); len(e.claims) == 1 {
		p.claimed++
		p.wait(e, czxid)
	}
	return c
}

func (p *Planner) remove(path string, touched map[*entry]struct{}) {
	for _, r := range p.rules.list {
		subject, _, ok := r.subject(path)
		if !ok {
			continue
		}
		c := p.claims[claimKey{r, subject}]
		if c == nil {
			continue
		}
		touched[c.entry] = struct{}{}
		c.remove(path)
		// An election goes on without candidates if it has a Lease.
		if r.Kind == Node || len(c.candidates) == 0 && !c.entry.hasRec && !c.entry.inFlight {
			p.drop(c)
		}
	}
}

// drop ends a claim.
func (p *Planner) drop(c *claim) {
	e := c.entry
	delete(p.claims, claimKey{c.rule, c.subject})
	for i, x := range e.claims {
		if x == c {
			e.claims = append(e.claims[:i:i], e.claims[i+1:]...)
			break
		}
	}
	if len(e.claims) > 0 {
		return
	}
	e.claims = nil
	p.claimed--
	if e.admitted {
		e.admitted = false
		p.admitted--
	}
}

// keepElections makes claims of the elections whose Leases exist, and that have no
// candidates.
func (p *Planner) keepElections() {
	for _, e := range p.entries {
		if e.hasRec && len(e.claims) == 0 {
			p.keepElection(e.rec.ruleName, e.rec.subject, e.name)
		}
	}
}

// keepElection makes a claim of an election without candidates, if a rule selects
// it. With a name, only if that is what the rule calls its Lease.
func (p *Planner) keepElection(ruleName, subject, name string) {
	r := p.rules.byName(ruleName)
	if r == nil || r.Kind != Election || p.claims[claimKey{r, subject}] != nil {
		return
	}
	is, ok := r.leaseName(p.cfg.Cluster, subject)
	if !ok || name != "" && is != name {
		return
	}
	if e := p.entries[is]; e != nil && e.hasRec {
		p.claim(r, subject, is, 0)
	}
}

// selected tells whether some rule has this Lease for what it was made for.
func (p *Planner) selected(e *entry) bool {
	r := p.rules.byName(e.rec.ruleName)
	if r == nil {
		return false
	}
	name, ok := r.leaseName(p.cfg.Cluster, e.rec.subject)
	return ok && name == e.name
}

// active is the claim that has the Lease, nil if there is none, or more than one:
// then conflict is true. An election without candidates yields to who is there.
func (e *entry) active() (c *claim, conflict bool) {
	for _, x := range e.claims {
		switch {
		case x.holder() == nil:
		case c != nil:
			return nil, true
		default:
			c = x
		}
	}
	for _, x := range e.claims {
		if c == nil || c.holder() == nil && x.subject == e.rec.subject {
			c = x
		}
	}
	return c, false
}

// evaluate looks who holds now, counts if that has changed, and sees to it that it
// is written. zxid is the transaction, 0 if none.
func (p *Planner) evaluate(e *entry, zxid int64, now time.Time) {
	if len(e.claims) == 0 {
		e.unmatched = e.hasRec && !p.selected(e)
		e.seen = holderKey{}
		if !e.exists && !e.inFlight {
			p.forget(e)
			return
		}
		p.enqueue(e, now)
		return
	}
	e.unmatched = false
	c, conflict := e.active()
	if conflict {
		e.seen = holderKey{}
		p.enqueue(e, now)
		return
	}
	var key holderKey
	h := c.holder()
	switch {
	case h == nil && e.admitted && !e.isEmpty:
		e.isEmpty = true
		p.empties = append(p.empties, e)
	case h != nil:
		key = holderKey{path: h.path, identity: h.identity, from: c.rule.holderFrom(), czxid: h.czxid}
	}
	if key == e.seen {
		p.enqueue(e, now)
		return
	}
	known := e.seen == holderKey{} && e.unwritten() == 0 && e.hasRec && h != nil && p.names(&e.rec, h, c.rule)
	e.seen = key
	if h != nil && !known {
		e.handovers++
		e.changedAt = max(e.changedAt, zxid)
		h.seen = now
	}
	p.enqueue(e, now)
}

// forget drops an entry of which nothing is left.
func (p *Planner) forget(e *entry) {
	p.delayed.remove(e)
	p.due.remove(e)
	delete(p.entries, e.name)
}

// settled brings the Budget up to date.
func (p *Planner) settled() {
	// Elections that have nobody are among them: they may have somebody any time.
	p.cfg.Budget.hold(p, p.admitted)
}

// describe is a claim for a person.
func (c *claim) describe() string {
	return fmt.Sprintf("%s (rule %s)", c.subject, c.rule.Name)
}
