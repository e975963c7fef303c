package sim

import (
	"container/heap"
	"iter"
	"time"
)

// event is something that happens at a moment. Events of the same moment happen
// in the order in which they were made.
type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

type agenda struct {
	events []event
	seq    uint64
}

func (a *agenda) Len() int { return len(a.events) }
func (a *agenda) Less(i, j int) bool {
	x, y := &a.events[i], &a.events[j]
	return x.at < y.at || x.at == y.at && x.seq < y.seq
}
func (a *agenda) Swap(i, j int) { a.events[i], a.events[j] = a.events[j], a.events[i] }
func (a *agenda) Push(x any)    { a.events = append(a.events, x.(event)) }
func (a *agenda) Pop() any {
	last := len(a.events) - 1
	e := a.events[last]
	a.events[last] = event{}
	a.events = a.events[:last]
	return e
}

// at lets do happen at a moment, but not before now.
func (w *World) at(t time.Duration, do func()) {
	w.agenda.seq++
	heap.Push(&w.agenda, event{at: max(t, w.now), seq: w.agenda.seq, do: do})
}

// after lets do happen when d has passed.
func (w *World) after(d time.Duration, do func()) { w.at(w.now+d, do) }

// runUntil lets time pass up to t, or to the first violation.
func (w *World) runUntil(t time.Duration) {
	for len(w.agenda.events) > 0 && w.agenda.events[0].at <= t && w.violation == nil {
		e := heap.Pop(&w.agenda).(event)
		w.now = e.at
		w.steps++
		e.do()
	}
	if w.violation == nil {
		w.now = t
	}
}

// between returns a random duration from lo up to hi.
func (w *World) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

// chance is true once in n times.
func (w *World) chance(n int) bool { return w.rng.IntN(n) == 0 }

// coroutine is work of a process that takes time in the middle. Exactly one
// coroutine, or none, runs at any time; whoever resumes it goes on when it
// pauses or ends.
type coroutine struct {
	p     *process
	next  func() (struct{}, bool)
	yield func(struct{}) bool
	ended bool
	// logs tells that it is the log writer's: it holds locks of the log while
	// it is paused.
	logs bool
}

// spawn makes a coroutine, which runs for the first time at its first resume.
func (p *process) spawn(f func()) *coroutine {
	c := &coroutine{p: p}
	c.next, _ = iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		f()
	})
	p.coroutines = append(p.coroutines, c)
	return c
}

// resume runs the coroutine until it pauses or ends.
func (c *coroutine) resume() {
	if c.ended {
		return
	}
	w := c.p.w
	before := w.running
	w.running = c
	_, more := c.next()
	w.running = before
	c.ended = !more
}

// pause lets others run until somebody resumes the coroutine. It returns at once
// if its process is no more, so that the coroutine comes to its end.
func (c *coroutine) pause() {
	if c.p.alive {
		c.yield(struct{}{})
	}
}

// sleep pauses for d.
func (c *coroutine) sleep(d time.Duration) {
	if c.p.alive {
		c.p.wake(c, d)
		c.pause()
	}
}

// wake resumes c when d has passed.
func (p *process) wake(c *coroutine, d time.Duration) {
	p.after(d, func() {
		if !c.logs && p.writer != nil {
			// The log writer is in the middle of something, with the log's locks
			// held: whoever would wait for those waits here.
			p.wake(c, time.Millisecond)
			return
		}
		c.resume()
	})
}
