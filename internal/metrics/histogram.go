package metrics

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// The buckets of a histogram: bucket 0 is [0, 2^minExp], and above that every
// power of two is divided into subCount buckets of equal width, up to 2^maxExp,
// where the last bucket takes in whatever is larger. Bounds are inclusive
// above, as Prometheus' le is. A quantile read from them is off by at most one
// part in subCount.
const (
	minExp   = 10
	maxExp   = 37
	subBits  = 3
	subCount = 1 << subBits

	numBuckets = (maxExp-minExp)*subCount + 1
)

// bucketOf returns the bucket of v.
func bucketOf(v uint64) int {
	if v <= 1<<minExp {
		return 0
	}
	v = min(v, 1<<maxExp) - 1 // -1 makes the bounds inclusive above
	e := bits.Len64(v) - 1    // 2^e <= v < 2^(e+1)
	return (e-minExp)<<subBits | int(v>>(uint(e)-subBits)&(subCount-1)) + 1
}

// upperBound returns the largest value of bucket i.
func upperBound(i int) uint64 {
	if i == 0 {
		return 1 << minExp
	}
	e, sub := (i-1)>>subBits, (i-1)&(subCount-1)
	return 1<<(e+minExp) + uint64(sub+1)<<(e+minExp-subBits)
}

// cell is the memory of a histogram of non-negative integers. All methods may
// be called at any time from any goroutine. A reader may see an observation
// that is under way in one field and not yet in another.
type cell struct {
	buckets [numBuckets]atomic.Uint64
	sum     atomic.Uint64
	// notMin is the complement of the least value since the last reset, so that
	// the zero cell is ready for use; max is the largest. Both are 0 if there
	// was none. Only read together with the counts that say whether there was.
	notMin, max atomic.Uint64
	// base is what the cell held at the last reset, nil if there was none. The
	// cell itself is never set back: a counter that Prometheus reads only grows.
	base atomic.Pointer[counts]
}

type counts struct {
	buckets [numBuckets]uint64
	sum     uint64
}

func (c *cell) observe(v uint64) {
	c.buckets[bucketOf(v)].Add(1)
	c.sum.Add(v)
	raise(&c.notMin, ^v)
	raise(&c.max, v)
}

// raise makes a at least v. Nearly always a load is all it takes.
func raise(a *atomic.Uint64, v uint64) {
	for {
		old := a.Load()
		if v <= old || a.CompareAndSwap(old, v) {
			return
		}
	}
}

func (c *cell) read(into *counts) {
	for i := range c.buckets {
		into.buckets[i] = c.buckets[i].Load()
	}
	into.sum = c.sum.Load()
}

func (c *cell) reset() {
	base := new(counts)
	c.read(base)
	c.base.Store(base)
	c.notMin.Store(0)
	c.max.Store(0)
}

// add adds to total what was ever observed, and to into what was observed
// since the last reset.
func (c *cell) add(into *counts, total *Summary, lowest, highest *uint64) {
	var now counts
	c.read(&now)
	for _, n := range now.buckets {
		total.TotalCount += n
	}
	total.TotalSum += float64(now.sum)
	if base := c.base.Load(); base != nil {
		for i := range now.buckets {
			now.buckets[i] -= min(base.buckets[i], now.buckets[i])
		}
		now.sum -= min(base.sum, now.sum)
	}
	n := uint64(0)
	for i := range now.buckets {
		into.buckets[i] += now.buckets[i]
		n += now.buckets[i]
	}
	into.sum += now.sum
	if n > 0 {
		*lowest = min(*lowest, ^c.notMin.Load())
		*highest = max(*highest, c.max.Load())
	}
}

// Summary is what was observed since the last reset, in the unit of what was
// observed: nanoseconds for a Histogram, things for a Distribution. All fields
// but the totals are 0 if there was nothing.
type Summary struct {
	// TotalCount and TotalSum are of the whole life of the process.
	TotalCount uint64
	TotalSum   float64

	Count         uint64
	Sum           float64
	Min, Avg, Max float64
	// P50 to P999 are quantiles, off by at most one part in eight.
	P50, P90, P95, P99, P999 float64
}

func summarize(unit float64, cells ...*cell) Summary {
	var c counts
	var s Summary
	lowest, highest := uint64(math.MaxUint64), uint64(0)
	for _, cell := range cells {
		cell.add(&c, &s, &lowest, &highest)
	}
	s.TotalSum /= unit
	for _, n := range c.buckets {
		s.Count += n
	}
	if s.Count == 0 {
		return s
	}
	// An observation may have been counted before its value reached the minimum
	// or the maximum.
	lowest = min(lowest, highest)
	q := func(p float64) float64 { return quantile(&c, s.Count, p, lowest, highest) / unit }
	s.Sum = float64(c.sum) / unit
	s.Avg = s.Sum / float64(s.Count)
	s.Min, s.Max = float64(lowest)/unit, float64(highest)/unit
	s.P50, s.P90, s.P95, s.P99, s.P999 = q(0.5), q(0.9), q(0.95), q(0.99), q(0.999)
	return s
}

// quantile returns the value below or at which the share p of n values lies,
// interpolated inside its bucket and kept within what was seen.
func quantile(c *counts, n uint64, p float64, lowest, highest uint64) float64 {
	rank := p * float64(n)
	below := uint64(0)
	for i, k := range c.buckets {
		if k == 0 || float64(below+k) < rank {
			below += k
			continue
		}
		lo, hi := float64(0), float64(upperBound(i))
		if i > 0 {
			lo = float64(upperBound(i - 1))
		}
		v := lo + (hi-lo)*(rank-float64(below))/float64(k)
		return min(max(v, float64(lowest)), float64(highest))
	}
	return float64(highest)
}

// Histogram measures durations, from a microsecond to two minutes apart. The
// zero value is ready for use.
type Histogram struct{ cell cell }

// Observe records one duration. It does not allocate or wait. A negative one,
// as a clock that was set back makes it, counts as 0.
func (h *Histogram) Observe(d time.Duration) { h.cell.observe(uint64(max(d, 0))) }

// Since records the time that has passed since start.
func (h *Histogram) Since(start time.Time) { h.Observe(time.Since(start)) }

// Summary returns what was observed since the last reset, in nanoseconds.
func (h *Histogram) Summary() Summary { return summarize(1, &h.cell) }

// Distribution measures numbers of things, such as the size of a batch, from 1
// to a hundred million. The zero value is ready for use.
type Distribution struct{ cell cell }

// distributionUnit is what one thing counts for in a cell. The smallest bound
// of a bucket is then one thing.
const distributionUnit = 1 << minExp

// Observe records that there were n things at once.
func (d *Distribution) Observe(n int) { d.cell.observe(uint64(max(n, 0)) * distributionUnit) }

// Summary returns what was observed since the last reset.
func (d *Distribution) Summary() Summary { return summarize(distributionUnit, &d.cell) }
