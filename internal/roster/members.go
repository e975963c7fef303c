package roster

import (
	"cmp"
	"slices"
	"time"
)

// Report takes what a member tells. It returns at once outside of a reign.
func (r *Roster) Report(now time.Duration, member uint64, rep *Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.leading.Load() {
		return
	}
	v := r.members[member]
	back := v == nil || v.silent // what is attached there counts from now on
	if v == nil {
		v = &view{firstTerm: rep.FirstTerm}
		r.members[member] = v
	}
	v.at, v.firstTerm, v.watches, v.silent = now, rep.FirstTerm, rep.Watches, false
	v.full = v.full || rep.Full
	if r.settled && rep.FirstTerm < r.floor {
		r.lower(rep.FirstTerm) // it was not heard before, and has seen more than the others
	}
	if r.notConnected > 0 {
		for _, id := range rep.Heard {
			if rec := r.sessions[id]; rec != nil && rec.State == NotConnected {
				rec.seen = true
				r.refile(rec, false)
			}
		}
	}
	if rep.Full {
		r.roll(member, rep)
	}
	for _, g := range rep.Gone {
		if rec := r.sessions[g.Session]; rec != nil && rec.Member == member && rec.Epoch == g.Epoch && rec.open {
			r.setOpen(rec, false)
			r.refile(rec, false)
		}
	}
	if back {
		r.refileMember(member)
	}
	if !r.settled {
		r.settle(now)
	}
	r.wakeReaders()
}

// roll goes by a member's list of all its connections.
func (r *Roster) roll(member uint64, rep *Report) {
	r.reports++
	listed := 0
	for _, s := range rep.Open {
		rec := r.sessions[s.Session]
		if rec == nil || rec.Epoch != s.Epoch || rec.Member != member {
			continue // ended since, or attached anew
		}
		listed++
		rec.listed, rec.seen = r.reports, true
		if !rec.open {
			r.setOpen(rec, true)
			r.refile(rec, false)
		}
	}
	if listed == r.connections[member] {
		return
	}
	for _, rec := range r.sessions {
		// What the member has not applied yet it can't have listed.
		if rec.Member != member || !rec.open || rec.Index > rep.Applied {
			continue
		}
		if rec.listed != r.reports {
			r.setOpen(rec, false)
			r.refile(rec, false)
		}
	}
}

// Tick lets time pass: members that no longer report lose their connections, and
// a new reign settles.
func (r *Roster) Tick(now time.Duration) {
	if !r.leading.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.leading.Load() {
		return
	}
	for member, v := range r.members {
		if !v.silent && now-v.at > r.opt.Silent {
			v.silent = true
			r.refileMember(member)
		}
	}
	if !r.settled {
		r.settle(now)
	}
	r.wakeReaders()
}

// MemberGone notes that a member's process is gone: nothing is connected to it
// until it reports again.
func (r *Roster) MemberGone(member uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.members[member]; v != nil && !v.silent {
		v.silent = true
		r.refileMember(member)
		r.wakeReaders()
	}
}

// settle ends the time in which it is not known who is connected, if that is so
// now.
func (r *Roster) settle(now time.Duration) {
	if now-r.began < r.opt.Settle {
		for _, id := range r.expected {
			if v := r.members[id]; v == nil || !v.full {
				return
			}
		}
	}
	r.settled = true
	first := true
	for _, v := range r.members {
		if first || v.firstTerm < r.floor {
			r.floor, first = v.firstTerm, false
		}
	}
	r.refileAll()
}

// lower notes that a member has seen more than the others.
func (r *Roster) lower(term uint64) {
	r.floor = term
	r.refileAll()
}

func (r *Roster) refileAll() {
	for _, rec := range r.sessions {
		r.refile(rec, false)
	}
}

func (r *Roster) refileMember(member uint64) {
	for _, rec := range r.sessions {
		if rec.Member == member && rec.open {
			r.refile(rec, false)
		}
	}
}

// Totals are figures of the whole ensemble.
type Totals struct {
	Sessions                            int
	NotConnected, Connecting, Connected int
	Closed, Expired                     int64
	Ephemerals                          int // 0 as long as nobody follows
	Watches                             int64
	Settled                             bool
}

// Totals returns the present figures; false outside of a reign.
func (r *Roster) Totals() (t Totals, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.leading.Load() {
		return Totals{}, false
	}
	return r.totals(), true
}

func (r *Roster) totals() Totals {
	t := Totals{
		Sessions: len(r.sessions), NotConnected: r.notConnected, Connecting: len(r.apart) - r.notConnected,
		Connected: len(r.sessions) - len(r.apart), Closed: r.closed, Expired: r.expired, Ephemerals: len(r.ephemerals), Settled: r.settled,
	}
	for _, v := range r.members {
		if !v.silent {
			t.Watches += v.watches
		}
	}
	return t
}

// AtRisk is a session and how long its client has been silent.
type AtRisk struct {
	Session
	Silence time.Duration
}

// Rank orders sessions by risk: those without a connection before those with
// one, and then by the share of the timeout that is used up.
func Rank(list []AtRisk) {
	share := func(a AtRisk) float64 { return float64(a.Silence) / float64(max(a.Timeout, 1)) }
	apart := func(a AtRisk) int {
		if a.State == Connected {
			return 1
		}
		return 0
	}
	slices.SortFunc(list, func(a, b AtRisk) int {
		return cmp.Or(cmp.Compare(apart(a), apart(b)), cmp.Compare(share(b), share(a)), cmp.Compare(uint64(a.ID), uint64(b.ID)))
	})
}

// Apart returns how many sessions are without a connection.
func (r *Roster) Apart() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.apart)
}

// Worst returns, at most n of them, the sessions without a connection of the
// largest share of their timeouts; silence tells how long each was silent. It
// looks at all of those.
func (r *Roster) Worst(n int, silence func(id int64) time.Duration) []AtRisk {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []AtRisk
	for id, rec := range r.apart {
		list = append(list, AtRisk{rec.Session, silence(id)})
		if len(list) >= 64*max(n, 16) {
			Rank(list)
			list = list[:n]
		}
	}
	Rank(list)
	return list[:min(n, len(list))]
}

// Get returns what is known of some sessions, those that there are.
func (r *Roster) Get(ids []int64) []Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Session, 0, len(ids))
	for _, id := range ids {
		if rec := r.sessions[id]; rec != nil {
			out = append(out, rec.Session)
		}
	}
	return out
}
