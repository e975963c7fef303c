package cells

import (
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/bench/fake"
)

func TestWorker(t *testing.T) {
	s, err := fake.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Worker(s.Addr(), inRead, outWrite) }()
	orders, results := json.NewEncoder(inWrite), json.NewDecoder(outRead)
	do := func(o order) result {
		t.Helper()
		var r result
		if err := orders.Encode(o); err != nil {
			t.Fatal(err)
		}
		if err := results.Decode(&r); err != nil || r.Error != "" {
			t.Fatalf("%+v, %v", r, err)
		}
		return r
	}
	if r := do(order{Open: 30, Parallel: 4}); r.Each.Count() != 30 || r.Took <= 0 {
		t.Errorf("opened %+v", r)
	}
	do(order{Open: 20, Parallel: 4})
	if n := s.Sessions(); n != 50 {
		t.Errorf("%d sessions", n)
	}
	// 50 sessions with four pings in 30 seconds each: one every 150 ms.
	if r := do(order{Ping: 160 * time.Millisecond}); r.Each.Count() != 2 || r.Drops != 0 {
		t.Errorf("%d pings, %d drops", r.Each.Count(), r.Drops)
	}
	inWrite.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A worker that loses its server says so instead of waiting.
func TestWorkerReportsLostSessions(t *testing.T) {
	s, err := fake.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in, out := io.Pipe()
	defer out.Close()
	results, write := io.Pipe()
	go Worker(s.Addr(), in, write)
	orders, answers := json.NewEncoder(out), json.NewDecoder(results)
	var r result
	if err := errorsOf(orders.Encode(order{Open: 10, Parallel: 10}), answers.Decode(&r)); err != nil {
		t.Fatal(err)
	}
	s.Expire()
	s.Drop()
	// The worker learns of it whenever it is told; the test's own limit of time
	// is the deadline.
	for r.Drops < 10 {
		if err := errorsOf(orders.Encode(order{Ping: time.Millisecond}), answers.Decode(&r)); err != nil {
			t.Fatal(err)
		}
	}
	if r.Drops != 10 {
		t.Errorf("%d drops", r.Drops)
	}
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
