package tree

// The digest is the sum of two terms for each node, so that it does not depend
// on an order and one node's change costs one node's terms. The node's data has
// a term of its own because a child's create and delete change the parent's
// stat: that must not cost a hash over the parent's data.

// Digest returns a 64-bit hash of the tree's contents: of every node its path,
// data, ACL, kind, owner and all fields of its stat. Equal contents have equal
// digests, whatever the node ids and however the tree came about.
func (t *Tree) Digest() uint64 { return t.digest }

// statTerm is what a node adds to the digest besides its data.
func (t *Tree) statTerm(n *node) uint64 {
	h := fold(n.pathHash, uint64(n.czxid), uint64(n.mzxid))
	h = fold(h, uint64(n.pzxid), uint64(n.ctime))
	h = fold(h, uint64(n.mtime), t.acls.entries[n.acl].hash)
	h = fold(h, uint64(uint32(n.version))|uint64(uint32(n.aversion))<<32,
		uint64(uint32(n.creates))|uint64(uint32(n.numChildren))<<32)
	h = fold(h, uint64(n.kind()), uint64(t.holder(n)))
	return finish(h)
}

// dataTerm is what a node's data adds to the digest.
func (t *Tree) dataTerm(n *node) uint64 {
	if n.dataLen < 0 {
		return finish(n.pathHash ^ mulB)
	}
	return hashBytes(n.pathHash^mulA, t.data(n))
}
