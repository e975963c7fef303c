package replica

// A Node that was not started has no goroutines: whoever made it schedules its
// work, a step at a time, in any order, on one goroutine or several. It is the
// work that Start's goroutines do. Simulations run whole ensembles in this way.

// Work is a set of the Node's workers.
type Work uint8

// The Node's workers.
const (
	// Loop passes messages, operations and time to raft. Whatever it has to do,
	// time passes for it by Turn alone: it wants one at least every half Tick.
	Loop Work = 1 << iota
	// LogWriter makes entries durable.
	LogWriter
	// Applier applies what is committed.
	Applier
)

// Pending returns the workers that have something to do.
func (n *Node) Pending() (w Work) {
	n.mu.Lock()
	if n.in.any() || len(n.wake) > 0 {
		w |= Loop
	}
	n.mu.Unlock()
	if n.logs.ready() {
		w |= LogWriter
	}
	if n.apply.ready() {
		w |= Applier
	}
	return w
}

// Turn does what the loop has to do now. It waits for nothing.
func (n *Node) Turn() {
	select {
	case <-n.wake:
	default:
	}
	n.turn(n.cfg.Now())
}

// WriteLog makes durable what waits for that. It waits for the disk alone.
func (n *Node) WriteLog() {
	if n.logs.step(n.writeOnce) {
		n.notify()
		n.prepareOnce()
	}
}

// ApplyCommitted applies what waits to be applied. It waits for nothing.
func (n *Node) ApplyCommitted() { n.apply.step(n.applyOnce) }
