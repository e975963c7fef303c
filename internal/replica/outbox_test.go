package replica

import "testing"

func put(o *Outbox, ops string) *Batch {
	b := o.Begin()
	b.Ops = append(b.Ops, ops...)
	o.End(b)
	return b
}

func TestOutboxAnnouncesOnce(t *testing.T) {
	calls := 0
	o := NewOutbox(func() { calls++ })
	o.Announce()
	if calls != 0 {
		t.Fatal("nothing was put in, and it was announced")
	}
	put(o, "a")
	put(o, "b")
	if calls != 0 {
		t.Fatal("announced before Announce")
	}
	o.Announce()
	o.Announce()
	if calls != 1 {
		t.Fatalf("announced %d times, want once", calls)
	}
}

func TestOutboxWaiting(t *testing.T) {
	o := NewOutbox(func() {})
	want := func(from, n int) {
		t.Helper()
		if got := o.Waiting(from); got != n {
			t.Fatalf("%d operations wait beyond batch %d, want %d", got, from, n)
		}
	}
	want(0, 0)
	first := put(o, "a")
	put(o, "b")
	want(0, 2)
	given := o.Take(0, func([]byte) {})
	want(given, 0)
	put(o, "c")
	want(given, 1)
	want(0, 3) // after a rewind everything waits again
	first.Done()
	first.Done()
	if n := o.Release(); n != 1 {
		t.Fatalf("%d batches were released, want 1", n)
	}
	want(0, 1)
	if again := put(o, "d"); again == first && again.ops != 2 {
		t.Fatalf("a batch that is used again counts %d operations", again.ops)
	}
}
