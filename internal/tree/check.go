package tree

import (
	"fmt"
	"slices"
)

// Check goes through everything and returns the first invariant that it finds
// broken. It is for tests and tools: it takes seconds on a large tree. It needs
// the read lock, and no transaction may be open.
func (t *Tree) Check() error {
	c := checker{t: t, blocks: map[ref]NodeID{}, acls: map[uint32]int{}}
	for id := range t.nodes.all() {
		if err := c.node(id); err != nil {
			return fmt.Errorf("tree: check: node %d: %w", id, err)
		}
	}
	if err := c.totals(); err != nil {
		return fmt.Errorf("tree: check: %w", err)
	}
	return nil
}

type checker struct {
	t        *Tree
	blocks   map[ref]NodeID // who refers to a block
	acls     map[uint32]int // references to an ACL
	nodes    int
	children int
	owned    int
	kinds    [2]int
	digest   uint64
	dataSize int64
}

func (c *checker) node(id NodeID) error {
	t, n := c.t, c.t.nodes.get(id)
	c.nodes++
	c.acls[n.acl]++
	path := t.Path(id)
	if n.payload != 0 {
		if other, ok := c.blocks[n.payload]; ok {
			return fmt.Errorf("%s shares its payload with node %d", path, other)
		}
		c.blocks[n.payload] = id
	}
	if id == Root {
		if n.parent != None || n.pathHash != rootHash || n.prev != None || n.next != None {
			return fmt.Errorf("the root has a parent, siblings or another path hash than its own")
		}
	} else if n.parent == None || !t.nodes.live(n.parent) || n.pathHash != childHash(t.nodes.get(n.parent).pathHash, t.name(n)) {
		return fmt.Errorf("%s has no parent, or its path hash is wrong", path)
	}
	if t.Find(path) != id {
		return fmt.Errorf("at %s, node %d is found", path, t.Find(path))
	}
	prev, count := None, 0
	for child := range t.Children(id) {
		m := t.nodes.get(child)
		if m.parent != id || m.prev != prev || !t.nodes.live(child) {
			return fmt.Errorf("node %d among the children of %s: parent %d, prev %d, expected %d", child, path, m.parent, m.prev, prev)
		}
		prev = child
		if count++; count > int(n.numChildren) {
			break
		}
	}
	if count != int(n.numChildren) {
		return fmt.Errorf("%s has %d children, and says %d", path, count, n.numChildren)
	}
	c.children += count
	k := n.kind()
	for b, marked := range t.nodes.slots[id>>nodeChunkBits].kinds {
		if marked.has(uint32(id)&(nodesPerChunk-1)) != (kindBit(k) == b) {
			return fmt.Errorf("%s is a %s node and not marked so", path, k)
		}
	}
	if b := kindBit(k); b >= 0 {
		c.kinds[b]++
	}
	if k == Ephemeral {
		c.owned++
		list, at := t.owners.nodes[t.holder(n)], t.owners.at[id]
		if int(at) >= len(list) || list[at] != id {
			return fmt.Errorf("%s is not among the ephemerals of session 0x%x", path, t.holder(n))
		}
	}
	c.digest += t.statTerm(n) + t.dataTerm(n)
	c.dataSize += int64(len(path) + len(t.data(n)))
	return nil
}

func (c *checker) totals() error {
	t := c.t
	blocks := len(c.blocks)
	if s := t.snap; s != nil {
		for id := range s.acls {
			c.acls[id]++
		}
		for id, n := range s.before {
			if n.free() {
				continue
			}
			c.acls[n.acl]++
			if owner, ok := c.blocks[n.payload]; n.payload != 0 && (!ok || owner != id) {
				blocks++
			}
		}
	}
	for id, e := range t.acls.entries {
		if e.refs != c.acls[uint32(id)] {
			return fmt.Errorf("ACL %d has %d references, and says %d", id, c.acls[uint32(id)], e.refs)
		}
		if free := slices.Contains(t.acls.free, uint32(id)); id > 0 && free == (e.refs > 0) {
			return fmt.Errorf("ACL %d has %d references, and is listed as free: %t", id, e.refs, free)
		}
	}
	owned := 0
	for _, list := range t.owners.nodes {
		owned += len(list)
	}
	for _, total := range []struct {
		what      string
		got, want int64
	}{
		{"nodes", int64(t.nodes.count), int64(c.nodes)},
		{"children and the root", int64(c.children + 1), int64(c.nodes)},
		{"nodes in the index", int64(t.index.count), int64(c.nodes)},
		{"containers", int64(t.nodes.kinds[0]), int64(c.kinds[0])},
		{"TTL nodes", int64(t.nodes.kinds[1]), int64(c.kinds[1])},
		{"ephemerals in the sessions' lists", int64(owned), int64(c.owned)},
		{"ephemerals with a place in a list", int64(len(t.owners.at)), int64(c.owned)},
		{"ACLs", int64(len(t.acls.byText)), int64(len(c.acls))},
		{"blocks in use", int64(t.payloads.inUse), int64(blocks)},
		{"bytes of paths and data", t.dataSize, c.dataSize},
		{"digest", int64(t.digest), int64(c.digest)},
	} {
		if total.got != total.want {
			return fmt.Errorf("%s: kept as %d, and are %d", total.what, total.got, total.want)
		}
	}
	return nil
}
