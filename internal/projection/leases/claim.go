package leases

import (
	"cmp"
	"container/heap"
	"time"
)

// claim is what a rule selects, and for which it wants a Lease: a node, or an
// election.
type claim struct {
	rule    *rule
	subject string
	entry   *entry
	// node is the holder of a Node claim, which is gone with it.
	node *candidate
	// candidates of an election, by path. line has them all, and some that are gone.
	candidates map[string]*candidate
	line       line
}

type claimKey struct {
	rule    *rule
	subject string
}

// candidate is an ephemeral node that holds, or may come to hold.
type candidate struct {
	path     string
	sequence int32
	session  uint64
	czxid    int64
	created  time.Time
	// identity is the holder's name in the node's data, empty if there is none.
	identity string
	// seen is when it came to hold.
	seen time.Time
	gone bool
}

func (c *candidate) before(o *candidate) bool {
	return cmp.Or(cmp.Compare(c.sequence, o.sequence), cmp.Compare(c.czxid, o.czxid), cmp.Compare(c.path, o.path)) < 0
}

// holder is who holds now, nil if nobody.
func (c *claim) holder() *candidate {
	if c.rule.Kind == Node {
		return c.node
	}
	for len(c.line) > 0 && c.line[0].gone {
		heap.Pop(&c.line)
	}
	if len(c.line) == 0 {
		return nil
	}
	return c.line[0]
}

// set adds a candidate, or takes in that its data is another.
func (c *claim) set(n *candidate) {
	if c.rule.Kind == Node {
		if c.node != nil && c.node.czxid == n.czxid {
			n.seen = c.node.seen
		}
		c.node = n
		return
	}
	if c.candidates == nil {
		c.candidates = make(map[string]*candidate)
	}
	if old := c.candidates[n.path]; old != nil {
		if old.czxid == n.czxid {
			old.identity, old.session = n.identity, n.session
			return
		}
		old.gone = true
	}
	c.candidates[n.path] = n
	heap.Push(&c.line, n)
	// Those that are gone are no more than those that are there.
	if len(c.line) > 16 && len(c.line) > 2*len(c.candidates) {
		live := c.line[:0]
		for _, x := range c.line {
			if !x.gone {
				live = append(live, x)
			}
		}
		clear(c.line[len(live):])
		c.line = live
		heap.Init(&c.line)
	}
}

func (c *claim) remove(path string) {
	if c.rule.Kind == Node {
		c.node = nil
		return
	}
	if old := c.candidates[path]; old != nil {
		old.gone = true
		delete(c.candidates, path)
	}
}

// line is a heap of candidates, the lowest first.
type line []*candidate

func (l line) Len() int           { return len(l) }
func (l line) Less(i, j int) bool { return l[i].before(l[j]) }
func (l line) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *line) Push(x any)        { *l = append(*l, x.(*candidate)) }
func (l *line) Pop() any {
	old := *l
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*l = old[:len(old)-1]
	return x
}
