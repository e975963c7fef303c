package tree

// transaction is the undo log of a multi.
//
// Each change first appends the node as it is (touch). Blocks and ACLs that a
// change lets go are kept until Commit, so that Rollback finds them where the
// old nodes say they are. Going back through the log, the difference between a
// node and its older self tells what to undo: ids, payloads, ACL references and
// the entries in the index and the sets of kinds and owners.
type transaction struct {
	open     bool
	before   []preimage
	payloads []dropped
	acls     []uint32

	digest   uint64
	dataSize int64
}

type preimage struct {
	id NodeID
	n  node // zero: the slot was free
}

type dropped struct {
	id NodeID // the node that had it
	r  ref
}

// keepLog is the number of entries for which a finished transaction's log keeps
// its memory.
const keepLog = 4096

// Begin starts a transaction. There is at most one.
func (t *Tree) Begin() {
	if t.tx.open {
		panic("tree: Begin within a transaction")
	}
	t.tx.open = true
	t.tx.digest, t.tx.dataSize = t.digest, t.dataSize
}

// Commit makes what was done since Begin final.
func (t *Tree) Commit() {
	t.end()
	for _, d := range t.tx.payloads {
		t.freePayload(d.id, d.r)
	}
	for _, id := range t.tx.acls {
		t.acls.unref(id)
	}
	t.tx.reset()
}

// Rollback undoes all that was done since Begin: contents, ids, the order of
// children, ephemerals and digest are as they were then.
func (t *Tree) Rollback() {
	t.end()
	for i := len(t.tx.before) - 1; i >= 0; i-- {
		p := &t.tx.before[i]
		isLive, wasLive := t.nodes.live(p.id), p.n != node{}
		if isLive {
			n := t.nodes.get(p.id)
			if !wasLive {
				t.unregister(p.id, n)
			}
			if n.payload != p.n.payload {
				t.freePayload(p.id, n.payload)
			}
			if n.acl != p.n.acl {
				t.acls.unref(n.acl)
			}
		}
		switch {
		case isLive && wasLive:
			*t.nodes.get(p.id) = p.n
		case isLive:
			t.nodes.free(p.id)
		case wasLive:
			n := t.nodes.take(p.id)
			*n = p.n
			t.register(p.id, n)
		}
	}
	t.digest, t.dataSize = t.tx.digest, t.tx.dataSize
	t.tx.reset()
}

func (t *Tree) end() {
	if !t.tx.open {
		panic("tree: Commit or Rollback without Begin")
	}
	t.tx.open = false
}

func (tx *transaction) reset() {
	if cap(tx.before) > keepLog {
		*tx = transaction{}
	}
	tx.before, tx.payloads, tx.acls = tx.before[:0], tx.payloads[:0], tx.acls[:0]
}

// touch is called before a change of the slot id, be there a node or not. None
// is no slot.
func (t *Tree) touch(id NodeID) {
	if t.snap != nil {
		t.snap.touch(id)
	}
	if !t.tx.open || id == None {
		return
	}
	t.tx.before = append(t.tx.before, preimage{id: id, n: t.at(id)})
}

// at returns a copy of a slot's node, zero if it is free.
func (t *Tree) at(id NodeID) node {
	if !t.nodes.live(id) {
		return node{}
	}
	return *t.nodes.get(id)
}

// dropPayload lets go of a block that node id no longer refers to.
func (t *Tree) dropPayload(id NodeID, r ref) {
	if t.tx.open {
		t.tx.payloads = append(t.tx.payloads, dropped{id, r})
		return
	}
	t.freePayload(id, r)
}

// freePayload frees a block that node id has referred to, unless the snapshot
// has yet to write it out: then the snapshot frees it.
func (t *Tree) freePayload(id NodeID, r ref) {
	if t.snap != nil && t.snap.holds(id, r) {
		return
	}
	t.payloads.free(r)
}

// dropACL lets go of a node's reference to an ACL.
func (t *Tree) dropACL(id uint32) {
	if t.tx.open {
		t.tx.acls = append(t.tx.acls, id)
		return
	}
	t.acls.unref(id)
}
