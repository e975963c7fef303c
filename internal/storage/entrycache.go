package storage

import "go.etcd.io/raft/v3/raftpb"

// entryOverhead is what an entry weighs in memory beside its data, in bytes:
// the message, its three pointers' targets, its place in the ring.
const entryOverhead = 136

// entryCache holds the last entries of the log as the appender handed them in:
// raft and we treat them as immutable, so they are shared, not copied.
type entryCache struct {
	limit int // bytes
	bytes int
	first uint64 // index of the oldest entry held, meaningless if n is 0
	n     int
	head  int
	ring  []*raftpb.Entry // a power of two long
}

func (c *entryCache) at(k int) **raftpb.Entry { return &c.ring[(c.head+k)&(len(c.ring)-1)] }

func weight(e *raftpb.Entry) int { return len(e.Data) + entryOverhead }

// holdsFrom is the index from which on every entry of a log that ends before
// next is held.
func (c *entryCache) holdsFrom(next uint64) uint64 {
	if c.n == 0 {
		return next
	}
	return c.first
}

func (c *entryCache) get(i uint64) *raftpb.Entry { return *c.at(int(i - c.first)) }

// push appends the entry that follows the last, and lets go of the oldest ones
// beyond the limit.
func (c *entryCache) push(e *raftpb.Entry) {
	if c.n == 0 {
		c.first = e.GetIndex()
	}
	if c.n == len(c.ring) {
		ring := make([]*raftpb.Entry, max(64, 2*c.n))
		for k := range c.n {
			ring[k] = *c.at(k)
		}
		c.ring, c.head = ring, 0
	}
	*c.at(c.n) = e
	c.n++
	c.bytes += weight(e)
	for c.bytes > c.limit {
		c.popFirst()
	}
}

func (c *entryCache) popFirst() {
	p := c.at(0)
	c.bytes -= weight(*p)
	*p = nil
	c.head = (c.head + 1) & (len(c.ring) - 1)
	c.first++
	c.n--
}

// dropBefore forgets the entries before i.
func (c *entryCache) dropBefore(i uint64) {
	for c.n > 0 && c.first < i {
		c.popFirst()
	}
}

// truncate forgets entry i and all after it.
func (c *entryCache) truncate(i uint64) {
	for c.n > 0 && c.first+uint64(c.n) > i {
		p := c.at(c.n - 1)
		c.bytes -= weight(*p)
		*p = nil
		c.n--
	}
}
