package replica

import "time"

// Start runs the member's goroutines until Stop. Who wants to schedule the
// member's work himself does not call it: see Pending.
func (n *Node) Start() {
	n.mu.Lock()
	n.started = true
	n.timer = time.AfterFunc(time.Hour, n.Drive)
	n.mu.Unlock()
	n.timer.Stop()
	n.work.Go(n.runLoop)
	n.work.Go(n.prepareLog)
	n.work.Go(func() { n.logs.run(n.writeOnce, n.written) })
	n.work.Go(func() { n.apply.run(n.applyOnce, n.drive) })
}

// Stop ends the member's goroutines and waits for them. What is being written
// is finished. A second call does nothing.
func (n *Node) Stop() {
	if !n.ended.CompareAndSwap(false, true) {
		return
	}
	close(n.stop)
	n.mu.Lock()
	n.stopped = true
	for n.turning {
		n.turned.Wait()
	}
	n.mu.Unlock()
	if n.timer != nil { // it was started
		n.timer.Stop() // a last call of it finds the member stopped
	}
	n.logs.close()
	n.apply.close()
	n.work.Wait()
	n.snaps.Wait()
}

// written follows what the log writer has written: the loop hears of it, and
// the next write does not wait for what is committed by it to be applied.
func (n *Node) written() {
	n.drive()
	if n.logs.waiting() == 0 {
		n.applyHere()
	} else {
		n.apply.cond.Signal()
	}
}

// notify has the loop's goroutine do its work, soon.
func (n *Node) notify() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Drive does the loop's work on the caller's goroutine, and applies what that
// has committed, unless somebody is at it already and will see to it. Whoever has
// brought work and can spare the time calls it: a hand-over to another goroutine
// costs more than the work. The caller holds no locks.
func (n *Node) Drive() {
	n.drive()
	n.applyHere()
}

// drive takes turns until there is nothing left to do, and wakes the log writer
// for what they have brought; applying is the caller's. Invariant: whoever finds
// another at it leaves all that follows from his work to the other, so every
// caller of drive sees to what waits to be applied.
func (n *Node) drive() {
	n.mu.Lock()
	if !n.started || n.turning || n.stopped {
		n.again = true // not started: whoever schedules the member's work asks Pending
		n.mu.Unlock()
		return
	}
	n.again = true
	n.turning = true
	for n.again && !n.stopped {
		n.again = false
		n.mu.Unlock()
		now := n.cfg.Now()
		n.turn(now)
		if n.wakeAt > now {
			n.timer.Reset(n.wakeAt - now)
		}
		n.mu.Lock()
	}
	n.turning = false
	n.turned.Broadcast()
	n.mu.Unlock()
	n.logs.wake()
}

// applyHere applies what waits for that on the caller's goroutine, unless the
// applier is at it, or it is more than the caller has time for.
func (n *Node) applyHere() {
	for n.apply.stepIf(quickToApply, n.applyOnce) {
		n.drive() // raft hears of it
	}
}

// quickBytes of entries are applied by whoever finds them; for more the applier
// is woken.
const quickBytes = 256 << 10

func quickToApply(tasks []task) bool {
	size := 0
	for _, t := range tasks {
		if t.restore || t.snapshot {
			return false
		}
		for _, e := range t.msg.GetEntries() {
			size += len(e.GetData())
		}
	}
	return size <= quickBytes
}
