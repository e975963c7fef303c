package replica

import (
	"sync"
	"sync/atomic"
)

// Outbox holds a member's operations from when they are encoded until they
// are applied, in the order in which they were written.
//
// Operations are never lost on the way to a leader, since the Outbox gives
// them out again when the leader changes, or when nothing of what was given
// out has come back for a while. That a repeat does not execute twice is the
// state machine's business: it numbers them.
//
// Its size is bounded by its writers: each connection has a bound on its
// outstanding requests, and stops reading at it.
type Outbox struct {
	mu     sync.Mutex
	open   *Batch   // being filled
	sealed []*Batch // full, or given out; oldest first
	spare  []*Batch
	notify func()
	news   atomic.Bool // something was put in since the last Announce
}

// Batch is a run of operations that travel together.
type Batch struct {
	// Ops are the encoded operations, without an entry's header.
	Ops []byte
	ops int // in Ops
	// waiting counts the operations that have not come back, and that somebody
	// waits for. At 0 a sealed batch is done with, whether or not it was ever given
	// out: what its clients wanted when they hung up may happen or not. Who means
	// more than that (a closing of a session) does not call Done before it is.
	waiting atomic.Int32
}

// Done tells that one operation of the batch has been applied, or that nobody
// waits for it any more.
func (b *Batch) Done() { b.waiting.Add(-1) }

// batchSize is when a batch is full: a little less than what travels well in
// one message. A single operation may be larger.
const batchSize = 256 << 10

// NewOutbox returns an empty Outbox. Announce calls notify, without the lock
// held, when something was put into it.
func NewOutbox(notify func()) *Outbox { return &Outbox{notify: notify} }

// Begin locks the Outbox and returns the batch to append one operation to.
// End must follow.
func (o *Outbox) Begin() *Batch {
	o.mu.Lock()
	if o.open != nil && len(o.open.Ops) >= batchSize {
		o.seal()
	}
	if o.open == nil {
		if n := len(o.spare); n > 0 {
			o.open, o.spare = o.spare[n-1], o.spare[:n-1]
		} else {
			o.open = &Batch{}
		}
	}
	return o.open
}

// End counts the operation that was appended to the batch and unlocks.
// Announce must follow, sooner or later.
func (o *Outbox) End(b *Batch) {
	b.ops++
	b.waiting.Add(1)
	o.news.Store(true)
	o.mu.Unlock()
}

// Announce sends what was put in on its way. Whoever puts in several
// operations announces them together, so that they travel together.
func (o *Outbox) Announce() {
	if o.news.Load() && o.news.Swap(false) {
		o.notify()
	}
}

func (o *Outbox) seal() {
	o.sealed = append(o.sealed, o.open)
	o.open = nil
}

// Take calls give with every batch that was not given out before, oldest
// first. from is the number of batches already given out since the last
// Rewind; Take returns the new number.
func (o *Outbox) Take(from int, give func(ops []byte)) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open != nil && len(o.open.Ops) > 0 {
		o.seal()
	}
	for ; from < len(o.sealed); from++ {
		give(o.sealed[from].Ops)
	}
	return from
}

// Pending reports whether anything waits beyond the first from batches.
func (o *Outbox) Pending(from int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open != nil && len(o.open.Ops) > 0 || from < len(o.sealed)
}

// Waiting returns how many operations there are beyond the first from batches.
func (o *Outbox) Waiting(from int) (ops int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.sealed[min(from, len(o.sealed)):] {
		ops += b.ops
	}
	if o.open != nil {
		ops += o.open.ops
	}
	return ops
}

// Release forgets the batches at the front that are done with and returns how
// many they were.
func (o *Outbox) Release() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for n < len(o.sealed) && o.sealed[n].waiting.Load() <= 0 {
		b := o.sealed[n]
		b.Ops, b.ops = b.Ops[:0], 0
		b.waiting.Store(0)
		if cap(b.Ops) <= 4*batchSize && len(o.spare) < 8 {
			o.spare = append(o.spare, b)
		}
		n++
	}
	o.sealed = append(o.sealed[:0], o.sealed[n:]...)
	return n
}
