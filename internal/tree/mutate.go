package tree

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/conclave-dev/conclave/internal/jute"
)

// NewNode says what a node is created with. Create copies what it keeps.
type NewNode struct {
	Data  []byte // nil and empty are different
	ACL   []jute.ACL
	Kind  Kind
	Owner int64 // the session of an ephemeral node
	TTL   int64 // milliseconds, of a TTL node
	Zxid  int64
	Now   int64 // milliseconds
}

// Create adds a child to parent and returns its id. The parent's count of
// creates goes up and its pzxid becomes Zxid. It panics if the parent has a
// child of that name, or if the name is empty.
func (t *Tree) Create(parent NodeID, name string, a NewNode) NodeID {
	p := t.nodes.get(parent)
	h := childHash(p.pathHash, name)
	if name == "" || a.Kind > TTL || t.findChild(parent, name, h) != None {
		panic(fmt.Sprintf("tree: create of %q, %v, below %s: there is no such kind, or the name is empty or taken", name, a.Kind, t.Path(parent)))
	}
	id := t.nodes.lowest()
	t.touch(parent)
	t.touch(p.firstChild)
	t.touch(id)

	n := t.nodes.take(id)
	*n = node{
		czxid: a.Zxid, mzxid: a.Zxid, pzxid: a.Zxid, ctime: a.Now, mtime: a.Now,
		pathHash: h, parent: parent, next: p.firstChild,
		nameLen: uint32(len(name))<<2 | uint32(a.Kind),
		acl:     t.acls.intern(a.ACL),
	}
	holder := a.Owner
	if a.Kind == TTL {
		holder = a.TTL
	}
	t.store(n, holder, name, a.Data)
	if p.firstChild != None {
		t.nodes.get(p.firstChild).prev = id
	}
	t.digest -= t.statTerm(p)
	p.firstChild = id
	p.numChildren++
	p.creates++
	p.pzxid = a.Zxid
	t.digest += t.statTerm(p) + t.statTerm(n) + t.dataTerm(n)
	t.dataSize += int64(t.pathLen(id) + len(a.Data))
	t.register(id, n)
	return id
}

// Delete removes a node and sets its parent's pzxid. It panics if the node has
// children, or is one of those that every tree has.
func (t *Tree) Delete(id NodeID, zxid int64) {
	n := t.nodes.get(id)
	if n.firstChild != None || id <= Config {
		panic(fmt.Sprintf("tree: delete of %s, which has %d children or is the tree's own", t.Path(id), n.numChildren))
	}
	t.touch(n.parent)
	t.touch(n.prev)
	t.touch(n.next)
	t.touch(id)

	p := t.nodes.get(n.parent)
	t.digest -= t.statTerm(p) + t.statTerm(n) + t.dataTerm(n)
	t.dataSize -= int64(t.pathLen(id)) + int64(max(n.dataLen, 0))
	if n.prev != None {
		t.nodes.get(n.prev).next = n.next
	} else {
		p.firstChild = n.next
	}
	if n.next != None {
		t.nodes.get(n.next).prev = n.prev
	}
	p.numChildren--
	p.pzxid = zxid
	t.digest += t.statTerm(p)
	t.unregister(id, n)
	t.dropACL(n.acl)
	t.dropPayload(id, n.payload)
	t.nodes.free(id)
}

// SetData sets a node's data. The version goes up by one; -1 is left out, since
// it means any version in a request.
func (t *Tree) SetData(id NodeID, data []byte, zxid, now int64) {
	n := t.nodes.get(id)
	t.touch(id)
	t.digest -= t.statTerm(n)
	t.replace(id, n, data)
	if n.version++; n.version == -1 {
		n.version = 0
	}
	n.mzxid, n.mtime = zxid, now
	t.digest += t.statTerm(n)
}

// ReplaceData sets a node's data and leaves its stat alone. ZooKeeper does so
// with the zookeeper_stats of a quota.
func (t *Tree) ReplaceData(id NodeID, data []byte) {
	t.touch(id)
	t.replace(id, t.nodes.get(id), data)
}

// SetACL sets a node's ACL. The aversion goes up by one; nothing else changes.
func (t *Tree) SetACL(id NodeID, acl []jute.ACL) {
	n := t.nodes.get(id)
	t.touch(id)
	t.digest -= t.statTerm(n)
	old := n.acl
	if n.acl = t.acls.intern(acl); n.acl == old {
		// Rollback would see no difference, and not take back the new reference.
		t.acls.unref(old)
	} else {
		t.dropACL(old)
	}
	n.aversion++
	t.digest += t.statTerm(n)
}

// replace gives a node a payload with other data. The old block stays as it is
// until it is freed: an undo log or a snapshot may refer to it.
func (t *Tree) replace(id NodeID, n *node, data []byte) {
	t.digest -= t.dataTerm(n)
	t.dataSize += int64(len(data)) - int64(max(n.dataLen, 0))
	old := n.payload
	t.store(n, t.holder(n), t.name(n), data)
	t.dropPayload(id, old)
	t.digest += t.dataTerm(n)
}

// store puts name and data, and the holder if the node's kind has one, in a new
// block. Name and data may be views into the old one.
func (t *Tree) store(n *node, holder int64, name string, data []byte) {
	if len(name) > math.MaxUint32>>2 || len(data) > math.MaxInt32 {
		panic(fmt.Sprintf("tree: a name of %d bytes or data of %d bytes is too long", len(name), len(data)))
	}
	n.dataLen = int32(len(data))
	if data == nil {
		n.dataLen = -1
	}
	size := n.size()
	n.payload = t.payloads.alloc(size)
	b := t.payloads.at(n.payload, size)
	if n.head() > 0 {
		binary.LittleEndian.PutUint64(b, uint64(holder))
		b = b[8:]
	}
	copy(b[copy(b, name):], data)
}

// register enters a node, complete but for its digest, in all that finds it.
func (t *Tree) register(id NodeID, n *node) {
	t.index.insert(n.pathHash, id, &t.nodes)
	k := n.kind()
	t.nodes.mark(id, k)
	if k == Ephemeral {
		t.owners.add(t.holder(n), id)
	}
}

// unregister is register's inverse.
func (t *Tree) unregister(id NodeID, n *node) {
	t.index.remove(n.pathHash, id)
	k := n.kind()
	t.nodes.unmark(id, k)
	if k == Ephemeral {
		t.owners.remove(t.holder(n), id)
	}
}
