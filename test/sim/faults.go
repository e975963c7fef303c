package sim

import (
	"slices"
	"time"

	"github.com/conclave-dev/conclave/internal/storage"
)

// fault is something that breaks, or that an operator does. It reports false if
// it does not apply now.
type fault struct {
	name string
	// weight is how often it is picked, in comparison.
	weight int
	do     func(w *World, m *member) bool
}

// faults are what may happen, each to some member.
var faults = []fault{
	{"power", 6, func(_ *World, m *member) bool { return m.lose(true) }},
	{"kill", 6, func(_ *World, m *member) bool { return m.lose(false) }},
	{"blackout", 1, (*World).blackout},
	{"freeze", 5, (*World).freeze},
	{"isolate", 5, (*World).isolate},
	{"one-way", 6, (*World).oneWay},
	{"split", 2, (*World).split},
	{"weather", 6, (*World).changeWeather},
	{"stall", 5, (*World).stall},
	{"hang", 4, (*World).hang},
	{"full", 2, (*World).fill},
	{"io-error", 2, (*World).breakSync},
	{"corrupt", 3, (*World).corrupt},
	{"bad-reads", 1, (*World).misread},
	{"client-cut", 8, (*World).cutClient},
	{"doze", 5, (*World).doze},
	{"transfer", 6, (*World).transfer},
	{"snapshot", 3, (*World).snapshot},
	{"grow", 2, (*World).grow},
	{"replace", 2, (*World).replaceDisk},
	{"remove", 3, (*World).remove},
}

// harmless are those that leave members alone.
var harmless = []string{"hang", "client-cut", "doze", "snapshot"}

// longestTrouble is how long any of the others is felt, at most.
const longestTrouble = 15 * time.Second

// FaultNames lists what may happen.
func FaultNames() (names []string) {
	for _, f := range faults {
		names = append(names, f.name)
	}
	return names
}

// scheduleFault lets things happen every now and then, as long as the storm
// lasts.
func (w *World) scheduleFault() {
	w.after(w.between(w.opt.Pace/20, w.opt.Pace), func() {
		if w.mended {
			return
		}
		total := 0
		for _, f := range faults {
			if w.allowed(f.name) {
				total += f.weight
			}
		}
		if total == 0 {
			return
		}
		n := w.rng.IntN(total)
		m := w.members[w.rng.IntN(len(w.members))]
		for _, f := range faults {
			if !w.allowed(f.name) {
				continue
			}
			if n -= f.weight; n < 0 {
				if f.do(w, m) {
					w.stats.Faults[f.name]++
					if !slices.Contains(harmless, f.name) {
						w.troubledUntil = w.now + longestTrouble
					}
				}
				break
			}
		}
		w.scheduleFault()
	})
}

func (w *World) allowed(name string) bool {
	return w.opt.Faults == nil || slices.Contains(w.opt.Faults, name)
}

// mend ends the storm: what is broken works again.
func (w *World) mend() {
	w.mended = true
	w.note("everything is mended")
	w.net.calm()
	for _, m := range w.members {
		m.disk.slowUntil, m.disk.fullUntil, m.disk.broken, m.disk.bad = 0, 0, false, false
		clear(m.disk.hungUntil[:])
	}
	for _, cl := range w.clients {
		clear(cl.cuts)
	}
}

func (m *member) lose(power bool) bool {
	if m.proc == nil {
		return false
	}
	m.crash(power)
	m.restartIn(m.w.between(50*time.Millisecond, 6*time.Second))
	return true
}

// blackout cuts the power of everybody.
func (w *World) blackout(*member) bool {
	w.note("blackout")
	for _, m := range w.members {
		m.lose(true)
	}
	return true
}

// freeze makes a process stand still.
func (w *World) freeze(m *member) bool {
	if m.proc == nil {
		return false
	}
	d := w.between(10*time.Millisecond, 5*time.Second)
	w.note("%s stands still for %v", m.name, d)
	m.proc.frozenUntil = max(m.proc.frozenUntil, w.now+d)
	return true
}

func (w *World) isolate(m *member) bool {
	d := w.between(50*time.Millisecond, 6*time.Second)
	w.note("%s is cut off for %v", m.name, d)
	for _, o := range w.members {
		if o != m {
			w.net.cut(m.place, o.place, d)
			w.net.cut(o.place, m.place, d)
		}
	}
	w.reconnectIn(d)
	return true
}

func (w *World) oneWay(m *member) bool {
	o := w.members[w.rng.IntN(len(w.members))]
	if o == m {
		return false
	}
	d := w.between(50*time.Millisecond, 6*time.Second)
	w.note("nothing goes from %s to %s for %v", m.name, o.name, d)
	w.net.cut(m.place, o.place, d)
	w.reconnectIn(d)
	return true
}

// split parts the members in two.
func (w *World) split(*member) bool {
	d := w.between(50*time.Millisecond, 5*time.Second)
	side := make([]bool, len(w.members))
	for i := range side {
		side[i] = w.chance(2)
	}
	w.note("the members are split for %v: %v", d, side)
	for i := range side {
		for j := range side {
			if side[i] != side[j] {
				w.net.cut(i, j, d)
			}
		}
	}
	w.reconnectIn(d)
	return true
}

// reconnectIn lets the transports find each other again after d.
func (w *World) reconnectIn(d time.Duration) {
	w.after(d+1, func() {
		for _, m := range w.members {
			if m.proc != nil && m.proc.alive {
				w.tellPeers(m.proc, false)
			}
		}
	})
}

func (w *World) changeWeather(*member) bool {
	n := &w.net
	n.loss, n.dup, n.jitter, n.reorder = 0, 0, time.Millisecond, w.chance(3)
	if w.chance(2) {
		n.loss = 20 + w.rng.IntN(200)
	}
	if w.chance(2) {
		n.dup = 2 + w.rng.IntN(50)
	}
	if w.chance(2) {
		n.jitter = w.between(time.Millisecond, 100*time.Millisecond)
	}
	w.note("weather: one message in %d is lost, one in %d doubled, jitter %v, overtaking %v", n.loss, n.dup, n.jitter, n.reorder)
	return true
}

func (w *World) stall(m *member) bool {
	d := w.between(100*time.Millisecond, 5*time.Second)
	w.note("the disk of %s is slow for %v", m.name, d)
	m.disk.slowUntil = w.now + d
	return true
}

// hang makes a disk not answer at all: the log's, the other one, or both.
func (w *World) hang(m *member) bool {
	d := w.between(200*time.Millisecond, 6*time.Second)
	which := 1 + w.rng.IntN(3)
	for disk := range storage.NumDisks {
		if which&(1<<disk) != 0 {
			w.note("the %v disk of %s does not answer for %v", disk, m.name, d)
			m.disk.hungUntil[disk] = w.now + d
		}
	}
	if which&(1<<storage.LogDisk) != 0 && d > handOverBound {
		w.expectHandOver(m)
	}
	return true
}

func (w *World) fill(m *member) bool {
	d := w.between(100*time.Millisecond, 4*time.Second)
	w.note("the disk of %s is full for %v", m.name, d)
	m.disk.fullUntil = w.now + d
	return true
}

func (w *World) breakSync(m *member) bool {
	w.note("the next sync of %s fails", m.name)
	m.disk.broken = true
	return true
}

// expendable reports whether the ensemble can do without the member's disk: all
// the others are there, and up to date.
func (w *World) expendable(m *member) bool {
	lead := w.leader()
	if lead == nil || lead == m || len(w.members) < 3 {
		return false
	}
	members := lead.proc.node.Members()
	if me, ok := members.Get(m.id); !ok || !me.Voter && !m.observer {
		return false
	}
	for _, o := range w.members {
		if o.leaving {
			return false
		}
		if o == m {
			continue
		}
		p, ok := members.Get(o.id)
		if o.proc == nil || !ok || !p.Voter && !o.observer || o.proc.node.Applied()+20 < lead.proc.node.Applied() {
			return false
		}
	}
	return true
}

// corrupt flips bits on the disk of a member that is down. If it is found at the
// start, the disk is replaced.
func (w *World) corrupt(m *member) bool {
	if m.proc == nil || !w.expendable(m) {
		return false
	}
	last, err := m.proc.log.LastIndex()
	if err != nil {
		panic(err) // it is always nil
	}
	m.had = logEnd{last, m.proc.log.HardState().GetTerm(), m.proc.log.HardState().GetVote()}
	m.crash(false)
	for range 1 + w.rng.IntN(3) {
		m.rot()
	}
	m.restartIn(w.between(10*time.Millisecond, time.Second))
	return true
}

// misread makes the log of a member that runs come back wrong.
func (w *World) misread(m *member) bool {
	if m.proc == nil || !w.expendable(m) {
		return false
	}
	w.note("the disk of %s reads wrongly", m.name)
	m.disk.bad = true
	return true
}

// cutClient cuts a client off from a member, or from all of them.
func (w *World) cutClient(m *member) bool {
	cl := w.clients[w.rng.IntN(len(w.clients))]
	d := w.between(100*time.Millisecond, 8*time.Second)
	if w.chance(3) {
		if w.chance(2) {
			// It comes back as its session expires, a little sooner or later.
			d = w.between(cl.timeout*3/4, cl.timeout*5/4)
		}
		w.note("%s is cut off from all members for %v", cl.name, d)
		for _, o := range w.members {
			cl.cuts[o.place] = w.now + d
		}
		return true
	}
	w.note("%s is cut off from %s for %v", cl.name, m.name, d)
	cl.cuts[m.place] = w.now + d
	return true
}

// doze lets a client read nothing for a while. It goes on asking.
func (w *World) doze(*member) bool {
	cl := w.clients[w.rng.IntN(len(w.clients))]
	d := w.between(50*time.Millisecond, 3*time.Second)
	w.note("%s reads nothing for %v", cl.name, d)
	cl.dozesUntil = max(cl.dozesUntil, w.now+d)
	return true
}

// transfer hands leadership over, to somebody or to a certain voter.
func (w *World) transfer(m *member) bool {
	lead := w.leader()
	if lead == nil {
		return false
	}
	target := uint64(0)
	if w.chance(2) && m != lead && !m.observer {
		target = m.id
	}
	w.note("%s is told to hand leadership to %s", lead.name, w.nameOf(target))
	lead.proc.node.BeginTransfer(target, func(error) {})
	lead.proc.settle()
	return true
}

// snapshot asks a member for a snapshot now.
func (w *World) snapshot(m *member) bool {
	if m.proc == nil {
		return false
	}
	m.proc.node.RequestSnapshot()
	m.proc.settle()
	return true
}

// grow adds a member: an observer, or a voter to be.
func (w *World) grow(*member) bool {
	if len(w.members) >= 7 || w.leader() == nil {
		return false
	}
	m := w.addMember(w.chance(2))
	w.note("%s, %x, is to join (observer: %v)", m.name, m.id, m.observer)
	m.enroll()
	return true
}

// replaceDisk takes a member's disk away, and gives it an empty one.
func (w *World) replaceDisk(m *member) bool {
	if m.proc == nil || !w.expendable(m) {
		return false
	}
	m.crash(true)
	m.replace()
	return true
}

// remove takes a member out of the ensemble, for good. The machine joins again, as
// another member.
func (w *World) remove(m *member) bool {
	if m.proc == nil || !w.expendable(m) {
		return false
	}
	w.note("%s is to be removed", m.name)
	m.leaving = true
	m.leave(m.id)
	return true
}
