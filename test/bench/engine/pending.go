package engine

// Pending is a request that has no reply yet. Everything but Xid is the
// sender's: what it takes to check the reply and to tell the latency.
type Pending struct {
	// At is when the request was sent or, in an open loop, should have been.
	At int64
	// Xid is assigned by Conn.Push.
	Xid int32
	// Op, Node and Version say what was asked and what has to come back.
	Op      int32
	Node    uint32
	Version int32
}

// queue is a FIFO of requests that grows to the deepest pipeline seen.
type queue struct {
	ring []Pending // its length is a power of two, or 0
	head int
	n    int
}

func (q *queue) push(p Pending) {
	if q.n == len(q.ring) {
		grown := make([]Pending, max(2*len(q.ring), 4))
		for i := range q.n {
			grown[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
		}
		q.ring, q.head = grown, 0
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = p
	q.n++
}

// pop takes the oldest one out; ok is false when there is none.
func (q *queue) pop() (p Pending, ok bool) {
	if q.n == 0 {
		return Pending{}, false
	}
	p = q.ring[q.head]
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	return p, true
}
