package server

import (
	"sync"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/replica"
)

// pending is a request that has been read and not answered.
type pending struct {
	xid   int32
	op    jute.OpCode
	write bool // waits for the log
	quiet bool // gets no reply when it comes back (auth was answered at once)
	seq   uint64
	batch *replica.Batch
	// body is a copy of the request of a read that waits behind a write.
	body []byte
	// size is about how many bytes the request holds, or will hold once it is
	// answered.
	size int
	// fail is the answer of a request that failed before it was tried.
	fail  jute.ErrCode
	start time.Duration
}

// pipeline is a session's queue of requests, oldest first. Invariant: its
// first element, if any, is a write: reads at the front are answered at once.
type pipeline struct {
	items []pending
	head  int
	size  int // of all items
}

func (q *pipeline) len() int { return len(q.items) - q.head }

func (q *pipeline) push(p pending) {
	if q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, p)
	q.size += p.size
}

func (q *pipeline) front() *pending { return &q.items[q.head] }

func (q *pipeline) last() *pending {
	if q.len() == 0 {
		return nil
	}
	return &q.items[len(q.items)-1]
}

func (q *pipeline) pop() {
	q.size -= q.items[q.head].size
	q.items[q.head] = pending{}
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > 64 {
			q.items = nil
		}
	}
}

// lastWords are the closings of sessions whose client has not waited for the
// answer, until the log has had them: the outbox repeats them as long.
type lastWords struct {
	mu sync.Mutex
	m  map[attachment]*replica.Batch
}

type attachment struct {
	session int64
	epoch   uint32
}

func (l *lastWords) add(session int64, epoch uint32, b *replica.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil {
		l.m = make(map[attachment]*replica.Batch)
	}
	l.m[attachment{session, epoch}] = b
}

// heard tells that the log has had the closing of a session.
func (l *lastWords) heard(session int64, epoch uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.m[attachment{session, epoch}]; b != nil {
		b.Done()
		delete(l.m, attachment{session, epoch})
	}
}

// abandon forgets everything, so that the outbox need not repeat it.
func (q *pipeline) abandon() (n int) {
	n = q.len()
	for i := q.head; i < len(q.items); i++ {
		if b := q.items[i].batch; b != nil {
			b.Done()
		}
	}
	q.items, q.head, q.size = nil, 0, 0
	return n
}
