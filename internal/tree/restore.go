package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
)

// Restorer makes a tree from the records of a snapshot.
//
// It takes nothing on trust: whatever the bytes, it returns either a tree that
// holds all of the package's invariants or an error. (A tree that does hold
// them may still be a wrong one. That is what checksums are for, and comparing
// Digest with the one of the tree that the snapshot was made of.)
type Restorer struct {
	t       *Tree
	stage   stage
	nodes   uint64   // still to come
	acls    []uint32 // ids, by number in the snapshot less 1
	records uint64   // read
	pending []byte   // the beginning of a record whose end is still to come
	rec     recordCodec
	// orphans are nodes whose parents came after them, or were orphans when they
	// came.
	orphans []NodeID
	err     error
}

// NewRestorer returns a Restorer that awaits a snapshot's first byte.
func NewRestorer() *Restorer { return &Restorer{t: newTree()} }

// Add takes the next bytes of the snapshot, cut into pieces in any way. It
// keeps none of b. After an error, every call returns that error.
func (r *Restorer) Add(b []byte) error {
	if r.err == nil {
		r.err = r.add(b)
	}
	return r.err
}

func (r *Restorer) add(b []byte) error {
	held := len(r.pending) > 0
	if held {
		r.pending = append(r.pending, b...)
		b = r.pending
	}
	for {
		size, n := binary.Uvarint(b)
		if n < 0 {
			return fmt.Errorf("tree: restore: the length of record %d is no varint", r.records)
		}
		if n == 0 || size > uint64(len(b)-n) {
			break
		}
		if err := r.record(b[n : n+int(size)]); err != nil {
			return fmt.Errorf("tree: restore: record %d: %w", r.records, err)
		}
		r.records++
		b = b[n+int(size):]
	}
	r.pending = append(r.pending[:0], b...)
	return nil
}

func (r *Restorer) record(body []byte) error {
	switch r.stage {
	case stageHeader:
		return r.header(body)
	case stageNodes:
		return r.node(body)
	}
	return errors.New("it comes after the number of nodes that the header says")
}

func (r *Restorer) header(body []byte) error {
	rd := reader{b: body}
	version := rd.byte()
	r.nodes = rd.uvarint()
	switch {
	case rd.err != nil:
		return rd.err
	case version != formatVersion:
		return fmt.Errorf("the format is version %d, and this program knows version %d", version, formatVersion)
	case len(rd.b) > 0:
		return errors.New("the header goes on behind its fields")
	case r.nodes < uint64(Config) || r.nodes > uint64(maxNodeID):
		return fmt.Errorf("there can't be %d nodes", r.nodes)
	}
	r.stage = stageNodes
	return nil
}

// acl enters an ACL that a node brings along.
func (r *Restorer) acl(encoded string) error {
	d := jute.NewDecoder([]byte(encoded))
	acl := jute.DecodeACLs(&d)
	if d.Err() != nil || d.Remaining() > 0 {
		return errors.New("its ACL is damaged")
	}
	id := r.t.acls.intern(acl)
	r.acls = append(r.acls, id)
	if r.t.acls.entries[id].refs--; r.t.acls.entries[id].refs > 0 {
		return errors.New("it brings along an ACL that was there before")
	}
	return nil
}

func (r *Restorer) node(body []byte) error {
	id, read, rec, err := r.rec.readNode(body)
	if err != nil {
		return err
	}
	if err := check(id, &read, &rec); err != nil {
		return fmt.Errorf("node %d: %w", id, err)
	}
	if rec.newACL != "" {
		if err := r.acl(rec.newACL); err != nil {
			return fmt.Errorf("node %d: %w", id, err)
		}
	}
	t := r.t
	n := t.nodes.take(id)
	*n = read
	n.nameLen |= uint32(len(rec.name)) << 2
	n.acl = r.acls[rec.acl-1]
	t.acls.entries[n.acl].refs++
	t.store(n, rec.holder, rec.name, rec.data)
	if id == Root {
		n.pathHash = rootHash
		t.enter(id, n)
	} else if parent := r.known(n.parent); parent == nil {
		r.orphans = append(r.orphans, id)
	} else if err := r.adopt(id, n, parent); err != nil {
		return err
	}
	if r.nodes--; r.nodes == 0 {
		r.stage = stageDone
	}
	return nil
}

// check looks at what can be judged of a node alone.
func check(id NodeID, n *node, rec *record) error {
	isRoot := id == Root
	switch {
	case isRoot != (n.parent == None) || isRoot != (rec.name == "") || isRoot && n.next != None:
		return errors.New("the root alone is id 1, without parent, siblings and name")
	case strings.IndexByte(rec.name, '/') >= 0:
		return fmt.Errorf("there is a slash in the name %q", rec.name)
	case len(rec.name) > 1<<30-1 || len(rec.data) > 1<<31-1:
		return errors.New("its name or data is too long")
	case n.numChildren < 0:
		return fmt.Errorf("it says that it has %d children", n.numChildren)
	}
	return nil
}

// known returns the node if it has come and its path is known.
func (r *Restorer) known(id NodeID) *node {
	if r.t.nodes.live(id) {
		if n := r.t.nodes.get(id); n.pathHash != 0 {
			return n
		}
	}
	return nil
}

// adopt enters a node whose parent's path is known.
func (r *Restorer) adopt(id NodeID, n, parent *node) error {
	t := r.t
	name := t.name(n)
	h := childHash(parent.pathHash, name)
	if other := t.findChild(n.parent, name, h); other != None {
		return fmt.Errorf("nodes %d and %d, both below node %d, are called %q", other, id, n.parent, name)
	}
	n.pathHash = h
	t.enter(id, n)
	return nil
}

// enter makes a restored node, whose path is known, part of the tree. Only its
// links to siblings and children are still to come.
func (t *Tree) enter(id NodeID, n *node) {
	t.register(id, n)
	t.dataSize += int64(t.pathLen(id)) + int64(max(n.dataLen, 0))
	t.digest += t.statTerm(n) + t.dataTerm(n)
}

// Finish returns the tree, or what is wrong with it. The Restorer is of no use
// afterwards.
func (r *Restorer) Finish() (*Tree, error) {
	if r.err == nil {
		r.err = r.finish()
	}
	if r.err != nil {
		return nil, r.err
	}
	r.err = errors.New("tree: restore: finished already")
	return r.t, nil
}

func (r *Restorer) finish() error {
	if r.stage != stageDone || len(r.pending) > 0 {
		return fmt.Errorf("tree: restore: the snapshot breaks off after %d records", r.records)
	}
	for _, step := range []func() error{r.adoptOrphans, r.t.linkSiblings, r.t.checkChildren, r.t.checkOwn} {
		if err := step(); err != nil {
			return fmt.Errorf("tree: restore: %w", err)
		}
	}
	return nil
}

// adoptOrphans enters the orphans, each after its parent.
func (r *Restorer) adoptOrphans() error {
	var chain []NodeID
	for _, id := range r.orphans {
		for chain = chain[:0]; r.known(id) == nil; id = r.t.nodes.get(id).parent {
			if !r.t.nodes.live(id) {
				return fmt.Errorf("node %d, a parent, is missing", id)
			}
			// A chain longer than all orphans together has come back to itself.
			if chain = append(chain, id); len(chain) > len(r.orphans) {
				return fmt.Errorf("node %d is its own ancestor", id)
			}
		}
		for len(chain) > 0 {
			id, chain = chain[len(chain)-1], chain[:len(chain)-1]
			n := r.t.nodes.get(id)
			if err := r.adopt(id, n, r.t.nodes.get(n.parent)); err != nil {
				return err
			}
		}
	}
	r.orphans = nil
	return nil
}

// linkSiblings fills in prev and firstChild from next.
func (t *Tree) linkSiblings() error {
	for id := range t.nodes.all() {
		n := t.nodes.get(id)
		if n.next == None {
			continue
		}
		if !t.nodes.live(n.next) {
			return fmt.Errorf("node %d has node %d for a sibling, which is missing", id, n.next)
		}
		s := t.nodes.get(n.next)
		if s.parent != n.parent || s.prev != None {
			return fmt.Errorf("node %d can't be followed by node %d among the children", id, n.next)
		}
		s.prev = id
	}
	for id := range t.nodes.all() {
		n := t.nodes.get(id)
		if n.prev != None || id == Root {
			continue
		}
		p := t.nodes.get(n.parent)
		if p.firstChild != None {
			return fmt.Errorf("nodes %d and %d are both the first child of node %d", p.firstChild, id, n.parent)
		}
		p.firstChild = id
	}
	return nil
}

// checkChildren counts everyone's children. Lists can't run in circles from
// their first child, since no node follows two others; children in a circle
// beside the list are missing from the count of all.
func (t *Tree) checkChildren() error {
	total := 1
	for id := range t.nodes.all() {
		n := t.nodes.get(id)
		count := int32(0)
		for c := n.firstChild; c != None; c = t.nodes.get(c).next {
			count++
		}
		if count != n.numChildren {
			return fmt.Errorf("node %d says that it has %d children, and has %d", id, n.numChildren, count)
		}
		total += int(count)
	}
	if total != t.nodes.count {
		return fmt.Errorf("%d of %d nodes are not among their parents' children", t.nodes.count-total, t.nodes.count)
	}
	return nil
}

// checkOwn looks for the nodes that every tree has.
func (t *Tree) checkOwn() error {
	for i, path := range []string{"/zookeeper", "/zookeeper/quota", "/zookeeper/config"} {
		if id := System + NodeID(i); t.Find(path) != id {
			return fmt.Errorf("%s is missing, or not node %d", path, id)
		}
	}
	return nil
}
