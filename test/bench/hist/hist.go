package hist

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
)

const (
	subBits = 7
	sub     = 1 << subBits
	maxBits = 40 // 2^40 ns are 18 minutes; what is longer counts as that
	buckets = (maxBits - subBits + 1) * sub
	// maxValue is the largest value that has a bucket of its own.
	maxValue = 1<<maxBits - 1
)

// H is a histogram of non-negative values, in nanoseconds wherever the bench
// uses it. The zero value is empty and ready. It is not safe for concurrent use.
type H struct {
	// counts is allocated with the first value, so that an unused histogram
	// costs nothing.
	counts []uint64
	count  uint64
	sum    float64
	// min and max are exact, whatever the buckets round to. They mean nothing
	// while count is 0.
	min, max int64
}

// Record counts v once. A negative value counts as 0: clocks that were read on
// two sides of a change may differ by a little.
func (h *H) Record(v int64) {
	if h.counts == nil {
		h.counts = make([]uint64, buckets)
	}
	v = max(v, 0)
	if h.count == 0 || v < h.min {
		h.min = v
	}
	h.max = max(h.max, v)
	h.count++
	h.sum += float64(v)
	h.counts[index(min(v, maxValue))]++
}

// index is the bucket of v, which is in [0, maxValue]: values below sub have one
// each, every doubling above adds sub of them.
func index(v int64) int {
	if v < sub {
		return int(v)
	}
	shift := bits.Len64(uint64(v)) - 1 - subBits
	return shift*sub + int(v>>shift)
}

// upper is the largest value that falls into bucket i.
func upper(i int) int64 {
	if i < 2*sub {
		return int64(i)
	}
	shift := i/sub - 1
	return (int64(i-shift*sub)+1)<<shift - 1
}

// Count is how many values were recorded.
func (h *H) Count() uint64 { return h.count }

// Min is the smallest recorded value, 0 if there is none.
func (h *H) Min() int64 { return h.min }

// Max is the largest recorded value, 0 if there is none.
func (h *H) Max() int64 { return h.max }

// Mean is the arithmetic mean, 0 without values.
func (h *H) Mean() float64 {
	if h.count == 0 {
		return 0
	}
	return h.sum / float64(h.count)
}

// Quantile returns a value that at least the share q (0 to 1) of all recorded
// values do not exceed; 0 without values. It is never above Max.
func (h *H) Quantile(q float64) int64 {
	if h.count == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(h.count)))
	rank = min(max(rank, 1), h.count)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// Merge adds everything that o counted.
func (h *H) Merge(o *H) {
	if o.count == 0 {
		return
	}
	if h.counts == nil {
		h.counts = make([]uint64, buckets)
	}
	if h.count == 0 || o.min < h.min {
		h.min = o.min
	}
	h.max = max(h.max, o.max)
	h.count += o.count
	h.sum += o.sum
	for i, n := range o.counts {
		h.counts[i] += n
	}
}

// Reset forgets all values and keeps the memory.
func (h *H) Reset() {
	clear(h.counts)
	*h = H{counts: h.counts}
}

// encoded is how a histogram travels between generator processes: the buckets
// that are in use, as pairs of index and count.
type encoded struct {
	Sum      float64
	Min, Max int64
	Buckets  [][2]uint64
}

// MarshalJSON writes the buckets in use.
func (h *H) MarshalJSON() ([]byte, error) {
	e := encoded{Sum: h.sum, Min: h.min, Max: h.max, Buckets: [][2]uint64{}}
	for i, n := range h.counts {
		if n > 0 {
			e.Buckets = append(e.Buckets, [2]uint64{uint64(i), n})
		}
	}
	return json.Marshal(e)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (h *H) UnmarshalJSON(data []byte) error {
	var e encoded
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	*h = H{sum: e.Sum, min: e.Min, max: e.Max}
	if len(e.Buckets) > 0 {
		h.counts = make([]uint64, buckets)
	}
	for _, b := range e.Buckets {
		if b[0] >= buckets {
			return fmt.Errorf("histogram: bucket %d of %d", b[0], buckets)
		}
		h.counts[b[0]] = b[1]
		h.count += b[1]
	}
	return nil
}
