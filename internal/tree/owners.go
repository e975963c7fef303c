package tree

import (
	"iter"
	"maps"
	"slices"
)

// owners knows which ephemeral nodes belong to which session.
type owners struct {
	nodes map[int64][]NodeID // in no order; no empty list
	at    map[NodeID]uint32  // place in the owner's list
}

func (o *owners) init() {
	o.nodes = map[int64][]NodeID{}
	o.at = map[NodeID]uint32{}
}

func (o *owners) add(owner int64, id NodeID) {
	list := o.nodes[owner]
	o.at[id] = uint32(len(list))
	o.nodes[owner] = append(list, id)
}

func (o *owners) remove(owner int64, id NodeID) {
	list := o.nodes[owner]
	i, last := o.at[id], len(list)-1
	delete(o.at, id)
	if int(i) != last {
		list[i] = list[last]
		o.at[list[i]] = i
	}
	if last == 0 {
		delete(o.nodes, owner)
		return
	}
	o.nodes[owner] = list[:last]
}

// Ephemerals returns the ephemeral nodes of a session in the order of their
// paths' bytes. The slice is the caller's.
func (t *Tree) Ephemerals(owner int64) []NodeID {
	list := t.owners.nodes[owner]
	type entry struct {
		id       NodeID
		from, to int
	}
	entries := make([]entry, len(list))
	var paths []byte
	for i, id := range list {
		from := len(paths)
		paths = t.AppendPath(paths, id)
		entries[i] = entry{id, from, len(paths)}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return slices.Compare(paths[a.from:a.to], paths[b.from:b.to])
	})
	ids := make([]NodeID, len(list))
	for i := range entries {
		ids[i] = entries[i].id
	}
	return ids
}

// EphemeralCount returns the number of ephemeral nodes of all sessions.
func (t *Tree) EphemeralCount() int { return len(t.owners.at) }

// EphemeralCountOf returns the number of ephemeral nodes of one session.
func (t *Tree) EphemeralCountOf(owner int64) int { return len(t.owners.nodes[owner]) }

// EphemeralOwners yields each session that has ephemeral nodes and how many, in
// the order of the session ids.
func (t *Tree) EphemeralOwners() iter.Seq2[int64, int] {
	return func(yield func(int64, int) bool) {
		for _, owner := range slices.Sorted(maps.Keys(t.owners.nodes)) {
			if !yield(owner, len(t.owners.nodes[owner])) {
				return
			}
		}
	}
}

// Containers yields all container nodes in the order of their ids.
func (t *Tree) Containers() iter.Seq[NodeID] {
	return func(yield func(NodeID) bool) { t.nodes.ofKind(Container, yield) }
}

// TTLNodes yields all TTL nodes in the order of their ids.
func (t *Tree) TTLNodes() iter.Seq[NodeID] {
	return func(yield func(NodeID) bool) { t.nodes.ofKind(TTL, yield) }
}

// ContainerCount returns the number of container nodes.
func (t *Tree) ContainerCount() int { return t.nodes.kinds[kindBit(Container)] }

// TTLCount returns the number of TTL nodes.
func (t *Tree) TTLCount() int { return t.nodes.kinds[kindBit(TTL)] }
