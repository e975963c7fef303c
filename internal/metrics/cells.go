package metrics

import "sync/atomic"

// Counter counts events. The zero value is ready for use. An Add costs a few
// nanoseconds, and more when several cores meet on it: whoever counts per
// packet adds once per batch.
type Counter struct {
	n atomic.Uint64
	// base is n at the last reset; n itself never shrinks.
	base atomic.Uint64
}

// Inc counts one event.
func (c *Counter) Inc() { c.n.Add(1) }

// Add counts n events.
func (c *Counter) Add(n uint64) { c.n.Add(n) }

// Total returns the number of events since the process began.
func (c *Counter) Total() uint64 { return c.n.Load() }

// SinceReset returns the number of events since the last reset.
func (c *Counter) SinceReset() uint64 {
	base := c.base.Load() // first: a reset in between would make it larger than n
	return c.n.Load() - base
}

func (c *Counter) reset() { c.base.Store(c.n.Load()) }

// Gauge is a number that was set last. The zero value is ready for use.
type Gauge struct{ v atomic.Int64 }

// Set replaces the number.
func (g *Gauge) Set(v int64) { g.v.Store(v) }

// Value returns the number.
func (g *Gauge) Value() int64 { return g.v.Load() }

// Sizes keeps the last, least and largest size that was seen. The zero value
// is ready for use.
type Sizes struct {
	// Each is one more than the size it stands for, notLeast the complement of
	// that: 0 is none.
	last, notLeast, largest atomic.Uint64
}

// Observe records a size in bytes.
func (s *Sizes) Observe(n int) {
	v := uint64(max(n, 0)) + 1
	s.last.Store(v)
	raise(&s.largest, v)
	raise(&s.notLeast, ^v) // last: Read goes by it
}

// Read returns the last, least and largest size in bytes since the last reset,
// or -1 for each if there was none, which is how ZooKeeper shows it.
func (s *Sizes) Read() (last, least, largest int64) {
	notLeast := s.notLeast.Load()
	if notLeast == 0 {
		return -1, -1, -1
	}
	return int64(s.last.Load()) - 1, int64(^notLeast) - 1, int64(s.largest.Load()) - 1
}

func (s *Sizes) reset() {
	s.notLeast.Store(0) // first: Read goes by it
	s.last.Store(0)
	s.largest.Store(0)
}
