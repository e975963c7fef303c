package metrics

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestBucketsPartitionTheNumbers(t *testing.T) {
	for i := 1; i < numBuckets; i++ {
		if upperBound(i) <= upperBound(i-1) {
			t.Fatalf("bucket %d ends at %d, the one before at %d", i, upperBound(i), upperBound(i-1))
		}
	}
	for i := range numBuckets {
		top := upperBound(i)
		if got := bucketOf(top); got != i {
			t.Errorf("%d is the largest of bucket %d, but goes to %d", top, i, got)
		}
		if got, want := bucketOf(top+1), min(i+1, numBuckets-1); got != want {
			t.Errorf("%d goes to bucket %d, not %d", top+1, got, want)
		}
	}
	for _, v := range []uint64{0, 1, 1 << minExp} {
		if bucketOf(v) != 0 {
			t.Errorf("%d goes to bucket %d", v, bucketOf(v))
		}
	}
	if got := bucketOf(math.MaxUint64); got != numBuckets-1 {
		t.Errorf("the largest number goes to bucket %d", got)
	}
}

func TestSummary(t *testing.T) {
	var h Histogram
	if got := h.Summary(); got != (Summary{}) {
		t.Fatalf("summary of nothing: %+v", got)
	}
	h.Observe(3 * time.Millisecond)
	if got, want := h.Summary(), (Summary{1, 3e6, 1, 3e6, 3e6, 3e6, 3e6, 3e6, 3e6, 3e6, 3e6, 3e6}); got != want {
		t.Errorf("one observation: %+v, want %+v", got, want)
	}
	h.Observe(-time.Second)
	if got := h.Summary(); got.Min != 0 || got.Count != 2 || got.Sum != 3e6 {
		t.Errorf("a negative duration counts as 0: %+v", got)
	}
}

// The quantiles are held against exact ones of the same values.
func TestQuantilesAreCloseEnough(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	shapes := map[string]func() float64{
		"uniform":     func() float64 { return rnd.Float64() * 1e7 },
		"exponential": func() float64 { return rnd.ExpFloat64() * 2e6 },
		"two modes":   func() float64 { return []float64{3e4, 5e8}[rnd.IntN(2)] * (1 + rnd.Float64()/10) },
	}
	for name, next := range shapes {
		var h Histogram
		values := make([]float64, 20000)
		for i := range values {
			v := math.Trunc(next())
			values[i] = v
			h.Observe(time.Duration(v))
		}
		slices.Sort(values)
		s := h.Summary()
		if s.Min != values[0] || s.Max != values[len(values)-1] || s.Count != uint64(len(values)) {
			t.Errorf("%s: min %v, max %v, count %d", name, s.Min, s.Max, s.Count)
		}
		for _, q := range []struct {
			p   float64
			got float64
		}{{0.95, s.P95}, {0.99, s.P99}, {0.999, s.P999}} {
			want := values[int(q.p*float64(len(values)))-1]
			if math.Abs(q.got-want) > want/subCount {
				t.Errorf("%s: quantile %v is %v, not %v", name, q.p, q.got, want)
			}
		}
	}
}

func TestResetForgetsAndStillGrows(t *testing.T) {
	m := New()
	m.Fsync.Observe(time.Second)
	m.PacketsSent.Add(7)
	m.ProposalSize.Observe(100)
	m.Request(OpCreate).Observe(time.Second)
	m.ConnectionsRefused[RefusedTLS].Inc()
	m.Reset()
	if got := m.Fsync.Summary(); got != (Summary{TotalCount: 1, TotalSum: 1e9}) {
		t.Errorf("after a reset: %+v", got)
	}
	if got := m.Latency(); got != (Summary{TotalCount: 1, TotalSum: 1e9}) {
		t.Errorf("latency after a reset: %+v", got)
	}
	if last, least, largest := m.ProposalSize.Read(); last != -1 || least != -1 || largest != -1 {
		t.Errorf("sizes after a reset: %d %d %d", last, least, largest)
	}
	m.Fsync.Observe(time.Millisecond)
	m.PacketsSent.Add(2)
	m.ProposalSize.Observe(50)
	if got := m.Fsync.Summary(); got.Count != 1 || got.Max != 1e6 || got.Sum != 1e6 || got.P999 != 1e6 {
		t.Errorf("one observation after a reset: %+v", got)
	}
	if m.PacketsSent.SinceReset() != 2 || m.PacketsSent.Total() != 9 {
		t.Errorf("packets: %d since the reset, %d in all", m.PacketsSent.SinceReset(), m.PacketsSent.Total())
	}
	if m.ConnectionsRefused[RefusedTLS].SinceReset() != 0 || m.ConnectionsRefused[RefusedTLS].Total() != 1 {
		t.Error("a counter with a label was not reset")
	}
	if last, least, largest := m.ProposalSize.Read(); last != 50 || least != 50 || largest != 50 {
		t.Errorf("sizes: %d %d %d", last, least, largest)
	}
	for _, f := range gather(m.Collect) {
		if f.Name != "conclave_log_fsync_duration_seconds" {
			continue
		}
		if got := f.Samples[len(f.Samples)-1]; got.Suffix != "_count" || got.Value != 2 {
			t.Errorf("Prometheus saw %+v, want both observations", got)
		}
	}
}

func TestLatencyIsTheSumOfOperations(t *testing.T) {
	m := New()
	m.Request(OpPing).Observe(0)
	m.Request(OpGetData).Observe(2 * time.Millisecond)
	m.Request(OpMulti).Observe(10 * time.Millisecond)
	m.Request(OpCreate).Observe(20 * time.Millisecond)
	if got := m.Latency(); got.Count != 4 || got.Min != 0 || got.Avg != 8e6 || got.Max != 20e6 {
		t.Errorf("all: %+v", got)
	}
	if got := m.ReadLatency(); got.Count != 1 || got.Avg != 2e6 {
		t.Errorf("reads: %+v", got)
	}
	if got := m.UpdateLatency(); got.Count != 2 || got.Min != 10e6 || got.Avg != 15e6 || got.Max != 20e6 {
		t.Errorf("updates: %+v", got)
	}
}

func TestDistribution(t *testing.T) {
	var d Distribution
	for n := 1; n <= 9; n++ {
		d.Observe(n)
	}
	if s := d.Summary(); s.Count != 9 || s.Min != 1 || s.Max != 9 || s.Avg != 5 {
		t.Errorf("%+v", s)
	}
	// 8 belongs to le="8" and 9 does not.
	want := map[string]float64{"1": 1, "2": 2, "4": 4, "8": 8, "16": 9, "+Inf": 9}
	for _, s := range d.cell.samples(nil, oneThing, numbers) {
		if s.Suffix == "_bucket" {
			if n, ok := want[s.Labels[0].Value]; ok && n != s.Value {
				t.Errorf("le=%s: %v, want %v", s.Labels[0].Value, s.Value, n)
			}
		}
	}
}

func TestOpOf(t *testing.T) {
	for code := int32(-20); code < 200; code++ {
		if op := OpOf(code); op >= numOps {
			t.Errorf("code %d has index %d", code, op)
		}
	}
	for code, want := range map[int32]Op{-11: OpCloseSession, -10: OpCreateSession, 1: OpCreate, 15: OpCreate, 21: OpCreate,
		4: OpGetData, 12: OpGetChildren, 106: OpWatches, -1: OpOther, 0: OpOther, 108: OpOther, math.MinInt32: OpOther, math.MaxInt32: OpOther} {
		if got := OpOf(code); got != want {
			t.Errorf("code %d is %s, want %s", code, got, want)
		}
	}
	if New().Request(Op(250)) == nil {
		t.Error("no histogram for an index that does not exist")
	}
}

func TestConcurrentObservations(t *testing.T) {
	m := New()
	var wg sync.WaitGroup
	const each = 2000
	for g := range 4 {
		wg.Go(func() {
			for i := range each {
				m.Request(OpGetData).Observe(time.Duration(g*each + i))
				m.PacketsSent.Inc()
				m.ResponseSize.Observe(i)
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			m.Latency()
			m.ResponseSize.Read()
			gather(m.Collect)
		}
	})
	wg.Wait()
	if s := m.Latency(); s.Count != 4*each || s.Min != 0 || s.Max != 4*each-1 || m.PacketsSent.Total() != 4*each {
		t.Errorf("%+v, %d packets", s, m.PacketsSent.Total())
	}
	wg.Go(m.Reset)
	wg.Go(func() { m.Request(OpGetData).Observe(1) })
	wg.Wait()
	if n := m.Latency().Count; n > 1 {
		t.Errorf("%d observations after a reset", n)
	}
}

func TestObservationsDoNotAllocate(t *testing.T) {
	m := New()
	if n := testing.AllocsPerRun(100, func() {
		m.Request(OpOf(4)).Observe(time.Millisecond)
		m.LogBatch.Observe(3)
		m.PacketsReceived.Add(2)
		m.ResponseSize.Observe(9)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHistogram(b *testing.B) {
	b.Run("alone", func(b *testing.B) {
		m := New()
		for i := 0; b.Loop(); i++ {
			m.Request(OpOf(4)).Observe(time.Duration(i & 0xfffff))
		}
	})
	b.Run("contended", func(b *testing.B) {
		m := New()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				m.Request(OpOf(4)).Observe(time.Duration(i & 0xfffff))
			}
		})
	})
}

func BenchmarkCollect(b *testing.B) {
	m := New()
	for b.Loop() {
		gather(m.Collect)
	}
}

func gather(c Collector) (out []Family) {
	c(func(f Family) { out = append(out, f) })
	return out
}
