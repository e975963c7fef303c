package leases

import (
	"cmp"
	"container/heap"
	"time"
)

// wait puts an entry in the line of those that want to be among the Planner's max.
func (p *Planner) wait(e *entry, czxid int64) {
	if !e.isWaiting && !e.admitted {
		e.isWaiting = true
		heap.Push(&p.waiting, waiter{entry: e, exists: e.exists, czxid: czxid})
	}
}

// fill admits those that wait while there is room, first what exists, then the
// oldest. Elections that have nobody, the longest so first, make room.
func (p *Planner) fill(now time.Time) {
	for len(p.waiting) > 0 {
		e := p.waiting[0].entry
		if len(e.claims) > 0 && !e.admitted && p.admitted >= p.max && !p.evict(now) {
			return
		}
		heap.Pop(&p.waiting)
		e.isWaiting = false
		if len(e.claims) > 0 && !e.admitted {
			e.admitted = true
			p.admitted++
			p.enqueue(e, now)
		}
	}
}

// evict ends the claims of the election that has been without candidates for
// longest.
func (p *Planner) evict(now time.Time) bool {
	for len(p.empties) > 0 {
		e := p.empties[0]
		p.empties[0] = nil
		p.empties = p.empties[1:]
		e.isEmpty = false
		c, conflict := e.active()
		if conflict || c == nil || !e.admitted || c.holder() != nil {
			continue
		}
		for len(e.claims) > 0 {
			p.drop(e.claims[0])
		}
		p.evaluate(e, 0, now)
		return true
	}
	return false
}

type waiter struct {
	entry  *entry
	exists bool
	czxid  int64
}

// waiting is a heap: who is admitted next comes first.
type waiting []waiter

func (w waiting) Len() int { return len(w) }
func (w waiting) Less(i, j int) bool {
	if w[i].exists != w[j].exists {
		return w[i].exists
	}
	return cmp.Or(cmp.Compare(w[i].czxid, w[j].czxid), cmp.Compare(w[i].entry.name, w[j].entry.name)) < 0
}
func (w waiting) Swap(i, j int) { w[i], w[j] = w[j], w[i] }
func (w *waiting) Push(x any)   { *w = append(*w, x.(waiter)) }
func (w *waiting) Pop() any {
	old := *w
	x := old[len(old)-1]
	old[len(old)-1] = waiter{}
	*w = old[:len(old)-1]
	return x
}

// timers is a heap of entries by a time of theirs, the earliest first. An entry
// knows its place, by slot.
type timers struct {
	slot int
	list []*entry
}

func (t *timers) Len() int { return len(t.list) }
func (t *timers) Less(i, j int) bool {
	return t.list[i].timer[t.slot].Before(t.list[j].timer[t.slot])
}
func (t *timers) Swap(i, j int) {
	t.list[i], t.list[j] = t.list[j], t.list[i]
	t.list[i].timerSlot[t.slot], t.list[j].timerSlot[t.slot] = i, j
}
func (t *timers) Push(x any) {
	e := x.(*entry)
	e.timerSlot[t.slot] = len(t.list)
	t.list = append(t.list, e)
}
func (t *timers) Pop() any {
	n := len(t.list) - 1
	e := t.list[n]
	t.list[n] = nil
	t.list = t.list[:n]
	e.timerSlot[t.slot] = -1
	return e
}

// set puts an entry at a time.
func (t *timers) set(e *entry, at time.Time) {
	e.timer[t.slot] = at
	if i := e.timerSlot[t.slot]; i >= 0 {
		heap.Fix(t, i)
		return
	}
	heap.Push(t, e)
}

func (t *timers) remove(e *entry) {
	if i := e.timerSlot[t.slot]; i >= 0 {
		heap.Remove(t, i)
	}
}

// first is the earliest, nil if there is none.
func (t *timers) first() (*entry, time.Time) {
	if len(t.list) == 0 {
		return nil, time.Time{}
	}
	return t.list[0], t.list[0].timer[t.slot]
}
