package engine

import "container/heap"

// Timer calls a function at a time. Setting it again moves it, so that a
// periodic one needs no allocation.
type Timer struct {
	loop *Loop
	fn   func() error
	at   int64
	pos  int // in the heap, -1 while not set
}

// NewTimer makes a timer that is not set.
func (l *Loop) NewTimer(fn func() error) *Timer { return &Timer{loop: l, fn: fn, pos: -1} }

// After calls fn once, d nanoseconds from now.
func (l *Loop) After(d int64, fn func() error) *Timer {
	t := l.NewTimer(fn)
	t.Set(l.now + d)
	return t
}

// Set makes the timer fire at the time at, instead of any time it was set to.
func (t *Timer) Set(at int64) {
	t.at = at
	if t.pos < 0 {
		heap.Push(&t.loop.timers, t)
	} else {
		heap.Fix(&t.loop.timers, t.pos)
	}
}

// Clear unsets the timer.
func (t *Timer) Clear() {
	if t.pos >= 0 {
		heap.Remove(&t.loop.timers, t.pos)
	}
}

// timers is a heap by time.
type timers []*Timer

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

func (h *timers) Push(x any) {
	t := x.(*Timer)
	t.pos = len(*h)
	*h = append(*h, t)
}

func (h *timers) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.pos = -1
	return t
}
