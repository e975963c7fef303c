package replica

import (
	"slices"
	"sync"

	"go.etcd.io/raft/v3/raftpb"
)

// task is one of raft's storage messages.
type task struct {
	msg *raftpb.Message
	// restore asks the applier to restore the message's snapshot, for the log
	// writer, which is held meanwhile.
	restore bool
	// snapshot asks the applier for a snapshot, and comes without a message.
	snapshot bool
}

// workQueue carries raft's storage messages to the one worker that deals with
// them, in order. Raft bounds what is in it: by the size of uncommitted
// entries and of entries that are committed and not applied.
//
// A worker never waits for another: it holds its queue, with the task that can't
// go on yet back at its front, and whoever it waits for releases it.
type workQueue struct {
	mu     sync.Mutex
	cond   sync.Cond
	tasks  []task
	spare  []task // memory for what comes next; the worker's own
	busy   bool   // tasks that were taken are being worked on
	held   bool   // nothing is given out before release
	closed bool
}

func (q *workQueue) init() { q.cond.L = &q.mu }

func (q *workQueue) put(t task) {
	q.add(t)
	q.cond.Signal()
}

// add puts in without waking anybody: stepIf follows.
func (q *workQueue) add(t task) {
	q.mu.Lock()
	q.tasks = append(q.tasks, t)
	q.mu.Unlock()
}

// wake has the worker look, if there is something to work on.
func (q *workQueue) wake() {
	if q.ready() {
		q.cond.Signal()
	}
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

// ready reports whether there is something to work on.
func (q *workQueue) ready() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.tasks) > 0 && !q.held && !q.busy
}

// hold puts back tasks in front of what has come since, and keeps all of it
// until release.
func (q *workQueue) hold(tasks []task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tasks = append(slices.Clone(tasks), q.tasks...)
	q.held = true
}

func (q *workQueue) release() {
	q.mu.Lock()
	q.held = false
	q.mu.Unlock()
	q.cond.Signal()
}

// step calls f with whatever has queued up, and reports whether that was
// anything.
func (q *workQueue) step(f func([]task)) bool {
	return q.stepIf(nil, f)
}

// stepIf is step if quick approves; otherwise the worker is woken. If somebody
// else is at it, he looks again when he is through.
func (q *workQueue) stepIf(quick func([]task) bool, f func([]task)) bool {
	q.mu.Lock()
	if len(q.tasks) == 0 || q.held || q.busy || q.closed {
		q.mu.Unlock()
		return false
	}
	if quick != nil && !quick(q.tasks) {
		q.mu.Unlock()
		q.cond.Signal()
		return false
	}
	tasks := q.tasks
	q.tasks, q.spare = q.spare[:0], nil
	q.busy = true
	q.mu.Unlock()
	f(tasks)
	clear(tasks)
	q.mu.Lock()
	q.spare, q.busy = tasks, false
	closed := q.closed
	q.mu.Unlock()
	if closed {
		q.cond.Broadcast()
	}
	return true
}

// run steps until close; done is called after each step, when the queue may be
// idle.
func (q *workQueue) run(f func([]task), done func()) {
	for {
		q.mu.Lock()
		for (len(q.tasks) == 0 || q.held || q.busy) && !q.closed {
			q.cond.Wait()
		}
		for q.closed && q.busy {
			q.cond.Wait()
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return
		}
		q.step(f)
		done()
	}
}

func (q *workQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cond.Broadcast()
}
