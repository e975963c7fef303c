package tree

import (
	"encoding/binary"
	"iter"
	"slices"
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
)

// Tree is a tree of znodes. See the package's documentation for who may call
// what under which lock.
//
// Methods that take a NodeID want that of a node that lives, which they don't
// check. Strings and byte slices that they return are views unless they say
// otherwise: valid until the next change of the tree, and not to be written to.
type Tree struct {
	nodes    nodeStore
	payloads arena
	index    index
	acls     aclTable
	owners   owners

	digest   uint64
	dataSize int64 // bytes

	tx   transaction
	snap *Snapshot // the open one, if any
}

// openACL lets anyone do anything, readACL lets anyone read.
var (
	openACL = []jute.ACL{{Perms: jute.PermAll, ID: jute.ID{Scheme: "world", ID: "anyone"}}}
	readACL = []jute.ACL{{Perms: jute.PermRead, ID: jute.ID{Scheme: "world", ID: "anyone"}}}
)

func newTree() *Tree {
	t := &Tree{}
	t.nodes.init()
	t.index.init()
	t.acls.init()
	t.owners.init()
	return t
}

// New returns a tree with the nodes that ZooKeeper has from the start: "/",
// "/zookeeper", "/zookeeper/quota" and "/zookeeper/config". Their zxids, times
// and counters are 0, so that their cversion on the wire is minus the number of
// their children. /zookeeper/config can be read by all and changed by nobody
// (ZOOKEEPER-2014), and its aversion is -1, as on a fresh ZooKeeper.
func New() *Tree {
	t := newTree()
	root := t.nodes.take(t.nodes.lowest())
	root.pathHash = rootHash
	root.acl = t.acls.intern(openACL)
	t.dataSize = 1
	t.register(Root, root)
	t.digest = t.statTerm(root) + t.dataTerm(root)
	for _, n := range []struct {
		parent NodeID
		name   string
		acl    []jute.ACL
	}{{Root, "zookeeper", openACL}, {System, "quota", openACL}, {System, "config", readACL}} {
		id := t.Create(n.parent, n.name, NewNode{Data: []byte{}, ACL: n.acl})
		parent, child := t.nodes.get(n.parent), t.nodes.get(id)
		t.digest -= t.statTerm(parent) + t.statTerm(child)
		parent.creates = 0
		if id == Config {
			child.aversion = -1
		}
		t.digest += t.statTerm(parent) + t.statTerm(child)
	}
	return t
}

func (n *node) kind() Kind { return Kind(n.nameLen & 3) }

// head is the length of what precedes the name in the payload.
func (n *node) head() int {
	if k := n.kind(); k == Ephemeral || k == TTL {
		return 8
	}
	return 0
}

// nameSize is the length of the name.
func (n *node) nameSize() int { return int(n.nameLen >> 2) }

// size is the length of the payload.
func (n *node) size() int { return n.head() + n.nameSize() + int(max(n.dataLen, 0)) }

// holder returns the session of an ephemeral node, the time to live of a TTL
// node, and 0 for others.
func (t *Tree) holder(n *node) int64 {
	if n.head() == 0 {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(t.payloads.at(n.payload, 8)))
}

func (t *Tree) name(n *node) string {
	from := n.head()
	return text(t.payloads.at(n.payload, from+n.nameSize())[from:])
}

func (t *Tree) data(n *node) []byte {
	if n.dataLen <= 0 {
		if n.dataLen < 0 {
			return nil
		}
		return []byte{}
	}
	from := n.head() + n.nameSize()
	return t.payloads.at(n.payload, from+int(n.dataLen))[from:]
}

// Find returns the node at a valid path, or None.
func (t *Tree) Find(path string) NodeID {
	if len(path) < 2 || path[0] != '/' {
		if path == "/" {
			return Root
		}
		return None
	}
	h := rootHash
	for rest := path[1:]; ; {
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			h = childHash(h, rest)
			break
		}
		h = childHash(h, rest[:i])
		rest = rest[i+1:]
	}
	for b, tag := t.index.first(h); b != nil; b = t.index.next(b) {
		for i, id := range b.ids {
			if id == None {
				return None
			}
			if b.tags[i] == tag && t.isAt(id, h, path) {
				return id
			}
		}
	}
	return None
}

// isAt reports whether the node has the path, whose hash is h.
func (t *Tree) isAt(id NodeID, h uint64, path string) bool {
	n := t.nodes.get(id)
	if n.pathHash != h {
		return false
	}
	for id != Root {
		name := t.name(n)
		slash := len(path) - len(name) - 1
		if slash < 0 || path[slash] != '/' || path[slash+1:] != name {
			return false
		}
		path = path[:slash]
		id = n.parent
		n = t.nodes.get(id)
	}
	return path == ""
}

// FindChild returns the child with the name, or None.
func (t *Tree) FindChild(parent NodeID, name string) NodeID {
	return t.findChild(parent, name, childHash(t.nodes.get(parent).pathHash, name))
}

func (t *Tree) findChild(parent NodeID, name string, h uint64) NodeID {
	for b, tag := t.index.first(h); b != nil; b = t.index.next(b) {
		for i, id := range b.ids {
			if id == None {
				return None
			}
			if b.tags[i] != tag {
				continue
			}
			n := t.nodes.get(id)
			if n.pathHash == h && n.parent == parent && t.name(n) == name {
				return id
			}
		}
	}
	return None
}

// Live reports whether id names a node.
func (t *Tree) Live(id NodeID) bool { return t.nodes.live(id) }

// Parent returns the node's parent, None for the root.
func (t *Tree) Parent(id NodeID) NodeID { return t.nodes.get(id).parent }

// Name returns the last component of the node's path, "" for the root.
func (t *Tree) Name(id NodeID) string { return t.name(t.nodes.get(id)) }

// pathLen returns the length of the node's path in bytes.
func (t *Tree) pathLen(id NodeID) int {
	if id == Root {
		return 1
	}
	l := 0
	for id != Root {
		n := t.nodes.get(id)
		l += 1 + n.nameSize()
		id = n.parent
	}
	return l
}

// AppendPath appends the node's path to b.
func (t *Tree) AppendPath(b []byte, id NodeID) []byte {
	if id == Root {
		return append(b, '/')
	}
	l := t.pathLen(id)
	b = slices.Grow(b, l)
	b = b[:len(b)+l]
	end := len(b)
	for id != Root {
		n := t.nodes.get(id)
		end -= n.nameSize()
		copy(b[end:], t.name(n))
		end--
		b[end] = '/'
		id = n.parent
	}
	return b
}

// Path returns the node's path, in a new string.
func (t *Tree) Path(id NodeID) string { return string(t.AppendPath(nil, id)) }

// Data returns the node's data. Nil data and empty data are different: jute
// writes a length of -1 for the one and of 0 for the other.
func (t *Tree) Data(id NodeID) []byte { return t.data(t.nodes.get(id)) }

// Stat fills in the node's stat as clients see it: Cversion is twice the number
// of creates less the number of children, and EphemeralOwner is 0 in all but
// ephemeral nodes.
func (t *Tree) Stat(id NodeID, s *jute.Stat) {
	n := t.nodes.get(id)
	*s = jute.Stat{
		Czxid: n.czxid, Mzxid: n.mzxid, Ctime: n.ctime, Mtime: n.mtime,
		Version: t.Version(id), Cversion: 2*n.creates - n.numChildren, Aversion: n.aversion,
		DataLength: max(n.dataLen, 0), NumChildren: n.numChildren, Pzxid: n.pzxid,
	}
	if n.kind() == Ephemeral {
		s.EphemeralOwner = t.holder(n)
	}
}

// ACL returns the node's ACL. It stays valid, and nobody may change it.
func (t *Tree) ACL(id NodeID) []jute.ACL { return t.acls.entries[t.nodes.get(id).acl].acl }

// Kind returns the node's kind.
func (t *Tree) Kind(id NodeID) Kind { return t.nodes.get(id).kind() }

// Owner returns the session of an ephemeral node, 0 for others.
func (t *Tree) Owner(id NodeID) int64 {
	if n := t.nodes.get(id); n.kind() == Ephemeral {
		return t.holder(n)
	}
	return 0
}

// TTL returns the time to live of a TTL node in milliseconds, 0 for others.
func (t *Tree) TTL(id NodeID) int64 {
	if n := t.nodes.get(id); n.kind() == TTL {
		return t.holder(n)
	}
	return 0
}

// NumChildren returns how many children the node has.
func (t *Tree) NumChildren(id NodeID) int { return int(t.nodes.get(id).numChildren) }

// Creates returns how many children the node has ever had: the number that a
// sequential child's name ends in, and what ZooKeeper stores as cversion.
func (t *Tree) Creates(id NodeID) int32 { return t.nodes.get(id).creates }

// Version returns how often the data was set, and -1 for /zookeeper/config:
// ZooKeeper counts the configuration in its own version line and puts this
// constant into the node's stat.
func (t *Tree) Version(id NodeID) int32 {
	if id == Config {
		return -1
	}
	return t.nodes.get(id).version
}

// Aversion returns how often the ACL was set.
func (t *Tree) Aversion(id NodeID) int32 { return t.nodes.get(id).aversion }

// Czxid returns the zxid of the node's create.
func (t *Tree) Czxid(id NodeID) int64 { return t.nodes.get(id).czxid }

// Mzxid returns the zxid of the last change of the data.
func (t *Tree) Mzxid(id NodeID) int64 { return t.nodes.get(id).mzxid }

// Pzxid returns the zxid of the last create or delete of a child.
func (t *Tree) Pzxid(id NodeID) int64 { return t.nodes.get(id).pzxid }

// Mtime returns the time of the last change of the data in milliseconds.
func (t *Tree) Mtime(id NodeID) int64 { return t.nodes.get(id).mtime }

// Children yields the node's children and their names, the newest first. The
// names are views. The tree must not change during the iteration.
func (t *Tree) Children(id NodeID) iter.Seq2[NodeID, string] {
	return func(yield func(NodeID, string) bool) {
		for c := t.nodes.get(id).firstChild; c != None; {
			n := t.nodes.get(c)
			if !yield(c, t.name(n)) {
				return
			}
			c = n.next
		}
	}
}

// subtree calls f for each node below top, top itself excluded.
func (t *Tree) subtree(top NodeID, f func(*node)) {
	id, n := top, t.nodes.get(top)
	for {
		if n.firstChild != None {
			id = n.firstChild
		} else {
			for id != top && n.next == None {
				id = n.parent
				n = t.nodes.get(id)
			}
			if id == top {
				return
			}
			id = n.next
		}
		n = t.nodes.get(id)
		f(n)
	}
}

// DescendantCount returns how many nodes there are below the node. It visits
// them all.
func (t *Tree) DescendantCount(id NodeID) int {
	if id == Root {
		return t.nodes.count - 1
	}
	count := 0
	t.subtree(id, func(*node) { count++ })
	return count
}

// SubtreeBytes returns the sum of the lengths of the data of the node and of
// all nodes below it, in bytes. It visits them all.
func (t *Tree) SubtreeBytes(id NodeID) int64 {
	sum := int64(max(t.nodes.get(id).dataLen, 0))
	t.subtree(id, func(n *node) { sum += int64(max(n.dataLen, 0)) })
	return sum
}

// NodeCount returns the number of nodes. ZooKeeper's znode_count is one higher:
// it counts the root twice.
func (t *Tree) NodeCount() int { return t.nodes.count }

// DataSize returns the sum of the lengths of all paths and all data in bytes,
// which ZooKeeper calls the approximate data size. (Paths count in UTF-8 here,
// and in UTF-16 there.)
func (t *Tree) DataSize() int64 { return t.dataSize }
