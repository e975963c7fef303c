package load

import (
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/bench/proto"
)

func TestSchedule(t *testing.T) {
	s := NewSchedule(1000, 1e6) // one in a thousand nanoseconds
	if _, _, ok := s.Take(999); ok {
		t.Error("something was due before the start")
	}
	for want := range int64(3) {
		k, at, ok := s.Take(3500)
		if !ok || k != want || at != 1000+1000*want {
			t.Fatalf("operation %d at %d, %v; want %d at %d", k, at, ok, want, 1000+1000*want)
		}
	}
	if _, _, ok := s.Take(3500); ok || s.Next() != 4000 {
		t.Errorf("a fourth operation was due at 3500; the next is due at %d", s.Next())
	}
	// A rate that does not divide a second evenly must not drift.
	if at := NewSchedule(0, 3).At(3e9); at != 1e18 {
		t.Errorf("three thousand million operations at 3 a second end at %d", at)
	}
}

// A server that stalls must not make the generator forget the operations that
// were due meanwhile, nor shorten their latencies to what the server sees.
func TestAStallCountsFromWhenOperationsWereDue(t *testing.T) {
	s := serve(t, nil)
	n := nodes(t, s)
	p := plan(s)
	// Every look at the clock is a tenth of a millisecond after the last one.
	var now int64
	p.Clock = func() int64 { now += 1e5; return now }
	p.Rate = 1000
	p.Measure = 200 * time.Millisecond
	p.Window = func(begin bool) {
		if begin {
			s.Stall()
		} else {
			s.Resume()
		}
	}
	r, err := Run(p, func() Script { return NewData(n, conns, 50, proto.OpGetData) })
	if err != nil {
		t.Fatal(err)
	}
	// Nothing was answered before the window's end: the operation that was due
	// first waited all of it, the median one half of it. A request may have
	// slipped through before the stall.
	if got := r.Latencies.Count(); got != 200 {
		t.Errorf("%d operations were counted, 200 were due", got)
	}
	if got := r.Latencies.Max(); got < 18e7 {
		t.Errorf("the longest latency is %v", time.Duration(got))
	}
	if got := r.Latencies.Quantile(0.5); got < 9e7 {
		t.Errorf("the median latency is %v", time.Duration(got))
	}
}

func TestAnOpenLoopRunsAtItsRate(t *testing.T) {
	s := serve(t, nil)
	n := nodes(t, s)
	p := plan(s)
	p.Rate = 2000
	p.Warmup = 20 * time.Millisecond
	p.Measure = 200 * time.Millisecond
	r, err := Run(p, func() Script { return NewData(n, conns, 50, proto.OpGetData) })
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Latencies.Count(); got != 400 {
		t.Errorf("%d operations were counted, 400 were due", got)
	}
}
