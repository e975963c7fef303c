package hist

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Every value must lie in its bucket, and the bucket's end at most 1/128 above
// it.
func TestBucketsHoldTheirValues(t *testing.T) {
	check := func(v int64) {
		t.Helper()
		i := index(v)
		if i < 0 || i >= buckets {
			t.Fatalf("index(%d) = %d of %d", v, i, buckets)
		}
		u := upper(i)
		if u < v || float64(u-v) > float64(v)/sub {
			t.Fatalf("%d is in bucket %d, which ends at %d", v, i, u)
		}
		if u < maxValue && index(u+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, but %d is in bucket %d", i, u, u+1, index(u+1))
		}
	}
	for v := range int64(1 << 14) {
		check(v)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		check(rng.Int64N(maxValue) >> rng.IntN(maxBits))
	}
	check(maxValue)
	if index(maxValue) != buckets-1 {
		t.Errorf("the largest value is in bucket %d of %d", index(maxValue), buckets)
	}
}

func TestQuantilesAgainstSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var h H
	var all []int64
	for range 20_000 {
		v := int64(math.Exp(rng.Float64() * 20))
		h.Record(v)
		all = append(all, v)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1} {
		rank := max(int(math.Ceil(q*float64(len(all)))), 1)
		want := all[rank-1]
		got := h.Quantile(q)
		if got < want || float64(got-want) > float64(want)/sub {
			t.Errorf("quantile %v = %d, sorting says %d", q, got, want)
		}
	}
	if h.Min() != all[0] || h.Max() != all[len(all)-1] || h.Count() != uint64(len(all)) {
		t.Errorf("min %d max %d count %d, want %d %d %d", h.Min(), h.Max(), h.Count(), all[0], all[len(all)-1], len(all))
	}
}

func TestExtremes(t *testing.T) {
	var h H
	if h.Quantile(0.5) != 0 || h.Max() != 0 || h.Mean() != 0 {
		t.Error("an empty histogram has values")
	}
	h.Record(-5)
	h.Record(1 << 50)
	if h.Min() != 0 || h.Max() != 1<<50 || h.Quantile(0.5) != 0 {
		t.Errorf("min %d, median %d, max %d", h.Min(), h.Quantile(0.5), h.Max())
	}
	if got := h.Quantile(1); got != maxValue {
		t.Errorf("a value beyond the last bucket is reported as %d, want the bucket's end %d", got, maxValue)
	}
	h.Reset()
	if h.Count() != 0 || h.Quantile(1) != 0 {
		t.Error("Reset left values behind")
	}
}

func TestMergeAndJSON(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var whole, a, b, empty H
	for i := range 5_000 {
		v := rng.Int64N(1 << 30)
		whole.Record(v)
		if i%3 == 0 {
			a.Record(v)
		} else {
			b.Record(v)
		}
	}
	data, err := json.Marshal(&b)
	if err != nil {
		t.Fatal(err)
	}
	var back H
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	a.Merge(&back)
	a.Merge(&empty)
	for q := 0.0; q <= 1; q += 0.01 {
		if a.Quantile(q) != whole.Quantile(q) {
			t.Fatalf("quantile %v: merged %d, whole %d", q, a.Quantile(q), whole.Quantile(q))
		}
	}
	if a.Count() != whole.Count() || a.Min() != whole.Min() || a.Max() != whole.Max() || math.Abs(a.Mean()-whole.Mean()) > 1e-3 {
		t.Errorf("merged: %d values %d..%d mean %v; whole: %d values %d..%d mean %v",
			a.Count(), a.Min(), a.Max(), a.Mean(), whole.Count(), whole.Min(), whole.Max(), whole.Mean())
	}
	if err := json.Unmarshal([]byte(`{"Buckets":[[99999,1]]}`), &back); err == nil {
		t.Error("a bucket that does not exist was accepted")
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	var h H
	h.Record(1)
	if n := testing.AllocsPerRun(100, func() { h.Record(12345) }); n != 0 {
		t.Errorf("%v allocations per value", n)
	}
}
