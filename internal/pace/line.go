package pace

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// PerSecond is how often an operator writes figures into status, all clusters taken
// together. With renewals of Leases (leases.DefaultLimits) and the operator's own
// election it makes the twenty writes a second that an API server is to bear while
// nothing changes.
const PerSecond = 4

// How long it matters little to wait. Who has waited for longer goes before those who
// have only just come, whatever they want to say.
const (
	// Prompt is for what is to be seen within two seconds: a session's change of state.
	Prompt = 500 * time.Millisecond
	// Calm is for figures that move all the time.
	Calm = 5 * time.Minute
)

const (
	// grace is how late somebody may come to a turn. A pass over a cluster takes some
	// time until it asks.
	grace = 2 * time.Second
	// debt is how long what did not wait may hold up what does.
	debt = 2 * time.Second
)

// Writer is who writes: one of the parts of a cluster's status.
type Writer struct {
	Cluster types.NamespacedName
	Part    string
}

// Line gives turns, one at a time, to those who ask for them. First comes whose
// patience ends first: of those who are equally patient, who asked first. So nobody
// waits for longer than its patience and a turn of everybody else.
//
// It is safe for concurrent use. The zero Line gives a turn to everybody who asks.
type Line struct {
	every time.Duration

	mu sync.Mutex
	// next is when the next turn may be given. Until owed it is only given to those who
	// have lost their patience.
	next, owed time.Time
	// waiting are ordered by deadline. There is at most one for each Writer.
	waiting []waiter
}

type waiter struct {
	who Writer
	// deadline is when its patience ends, due when it was told to ask again.
	deadline, due time.Time
}

// New returns a Line that gives perSecond turns a second at most, evenly.
func New(perSecond int) *Line {
	return &Line{every: (time.Second + time.Duration(perSecond) - 1) / time.Duration(perSecond)}
}

// Take takes a turn. If there is none for who yet, it waits in the line from now on,
// and is to ask again at that time.
func (l *Line) Take(who Writer, patience time.Duration, now time.Time) (ok bool, again time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.join(who, now.Add(patience))
	free := later(now, l.next)
	if deadline := l.waiting[i].deadline; l.owed.Before(deadline) {
		free = later(free, l.owed)
	} else {
		free = later(free, deadline)
	}
	// Who is late holds up nobody, and keeps its place.
	before, here := 0, false
	for _, w := range l.waiting[:i] {
		if now.Before(w.due.Add(grace)) {
			before++
			here = here || !now.Before(w.due)
		}
	}
	if !here && !free.After(now) {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		l.next = now.Add(l.every)
		return true, now
	}
	again = free.Add(time.Duration(before) * l.every)
	l.waiting[i].due = again
	return false, again
}

// join returns the place of a Writer, who has none yet or is less patient now.
func (l *Line) join(who Writer, deadline time.Time) int {
	w := waiter{who: who, deadline: deadline}
	if i := l.place(who); i >= 0 {
		if !deadline.Before(l.waiting[i].deadline) {
			return i
		}
		w.due = l.waiting[i].due
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	i := slices.IndexFunc(l.waiting, func(x waiter) bool { return deadline.Before(x.deadline) })
	if i < 0 {
		i = len(l.waiting)
	}
	l.waiting = slices.Insert(l.waiting, i, w)
	return i
}

func (l *Line) place(who Writer) int {
	return slices.IndexFunc(l.waiting, func(w waiter) bool { return w.who == who })
}

// Leave gives up a Writer's place, if it has one: it has nothing to write any more.
func (l *Line) Leave(who Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.place(who); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
}

// Pass is Leave for a Writer who writes what can't wait: it asks nobody, and those
// who have the patience wait for it.
func (l *Line) Pass(who Writer, now time.Time) {
	l.Leave(who)
	l.mu.Lock()
	defer l.mu.Unlock()
	owed := later(now, later(l.next, l.owed)).Add(l.every)
	if most := now.Add(debt); owed.After(most) {
		owed = most
	}
	l.owed = owed
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
