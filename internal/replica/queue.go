package replica

import (
	"sync"

	"go.etcd.io/raft/v3/raftpb"
)

// task is one of raft's storage messages. done, if set, is told when a snapshot
// in it has been restored.
type task struct {
	msg  *raftpb.Message
	done chan<- error
	// snapshot asks the applier for a snapshot, and comes without a message.
	snapshot bool
}

// workQueue carries raft's storage messages to the one goroutine that works
// on them, in order. Raft bounds what is in it: by the size of uncommitted
// entries and of entries that are committed and not applied.
type workQueue struct {
	mu     sync.Mutex
	cond   sync.Cond
	tasks  []task
	busy   bool // tasks that were taken are being worked on
	closed bool
}

func (q *workQueue) init() { q.cond.L = &q.mu }

func (q *workQueue) put(t task) {
	q.mu.Lock()
	q.tasks = append(q.tasks, t)
	q.mu.Unlock()
	q.cond.Signal()
}

// waiting returns how many messages nobody works on yet.
func (q *workQueue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.tasks)
}

// idle reports whether nothing waits and nothing is being worked on.
func (q *workQueue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.tasks) == 0 && !q.busy
}

// take returns everything that waits, and reuses into's memory for what comes
// next.
func (q *workQueue) take(into []task) []task {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := q.tasks
	q.tasks = into[:0]
	q.busy = len(out) > 0
	return out
}

// run calls f with whatever has queued up, until close; done after each f,
// when the queue may be idle.
func (q *workQueue) run(f func([]task), done func()) {
	var spare []task
	for {
		q.mu.Lock()
		for len(q.tasks) == 0 && !q.closed {
			q.cond.Wait()
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return
		}
		tasks := q.take(spare)
		f(tasks)
		clear(tasks)
		spare = tasks
		q.mu.Lock()
		q.busy = false
		q.mu.Unlock()
		done()
	}
}

func (q *workQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cond.Broadcast()
}
