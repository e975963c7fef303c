package tree

import (
	"encoding/binary"
	"errors"
)

// A snapshot is a sequence of records, each with its length before it as an
// unsigned varint: the header (format version, number of nodes) and the nodes,
// ascending by id. A node says where its elder sibling is, so that the order of
// children comes back too; the rest of the links follows from it. ACLs are
// numbered as they come up; the first node that has one brings it along, as
// jute encodes it. Node ids are part of the state, and the same on all members;
// the ids of interned ACLs are neither. Numbers are varints,
// and those that tend to be near the previous node's are written as the
// difference from it: a million nodes of one kind take a dozen bytes each
// besides their names and data.

const formatVersion = 1

// The flags of a node record; the lowest two bits are the kind.
const (
	flagNilData  = 1 << 2
	flagSet      = 1 << 3 // mzxid, mtime and version follow
	flagChildren = 1 << 4 // pzxid, creates and numChildren follow
	flagACLSet   = 1 << 5 // aversion follows
	flagNext     = 1 << 6 // next follows
	flagUnknown  = 1 << 7
)

func (n *node) free() bool { return n.parent == None && n.pathHash == 0 }

// appendRecord appends one record whose body is head and tail.
func appendRecord(buf, head []byte, tail string) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(head)+len(tail)))
	buf = append(buf, head...)
	return append(buf, tail...)
}

// recordCodec is what a node record is relative to: the node before it.
type recordCodec struct {
	id, parent   NodeID
	czxid, ctime int64
	acls         uint32 // numbered so far
}

// appendNode appends a node's record but for the data, which comes last.
func (c *recordCodec) appendNode(b []byte, id NodeID, n *node, rec record) []byte {
	flags := byte(n.kind())
	if n.dataLen < 0 {
		flags |= flagNilData
	}
	if n.mzxid != n.czxid || n.mtime != n.ctime || n.version != 0 {
		flags |= flagSet
	}
	if n.pzxid != n.czxid || n.creates != 0 || n.numChildren != 0 {
		flags |= flagChildren
	}
	if n.aversion != 0 {
		flags |= flagACLSet
	}
	if n.next != None {
		flags |= flagNext
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(id-c.id))
	b = binary.AppendVarint(b, int64(n.parent)-int64(c.parent))
	b = binary.AppendVarint(b, n.czxid-c.czxid)
	b = binary.AppendVarint(b, n.ctime-c.ctime)
	b = binary.AppendUvarint(b, uint64(rec.acl))
	if rec.newACL != "" {
		c.acls++
		b = binary.AppendUvarint(b, uint64(len(rec.newACL)))
		b = append(b, rec.newACL...)
	}
	if flags&flagNext != 0 {
		b = binary.AppendVarint(b, int64(n.next)-int64(id))
	}
	if flags&flagSet != 0 {
		b = binary.AppendVarint(b, n.mzxid-n.czxid)
		b = binary.AppendVarint(b, n.mtime-n.ctime)
		b = binary.AppendVarint(b, int64(n.version))
	}
	if flags&flagChildren != 0 {
		b = binary.AppendVarint(b, n.pzxid-n.czxid)
		b = binary.AppendVarint(b, int64(n.creates))
		b = binary.AppendVarint(b, int64(n.numChildren))
	}
	if flags&flagACLSet != 0 {
		b = binary.AppendVarint(b, int64(n.aversion))
	}
	if n.head() > 0 {
		b = binary.AppendVarint(b, rec.holder)
	}
	b = binary.AppendUvarint(b, uint64(len(rec.name)))
	b = append(b, rec.name...)
	c.id, c.parent, c.czxid, c.ctime = id, n.parent, n.czxid, n.ctime
	return b
}

// record is what is in a node's record besides what the node struct has.
type record struct {
	acl    uint32 // number in the snapshot
	newACL string // view; "" if the ACL has been there before
	holder int64
	name   string // view
	data   []byte // view
}

// readNode reads what appendNode and the data behind it have written. Of the
// node, only the fields that are in the record are set.
func (c *recordCodec) readNode(body []byte) (id NodeID, n node, rec record, err error) {
	r := reader{b: body}
	flags := r.byte()
	id = c.id
	if step := r.uvarint(); step == 0 || step > uint64(maxNodeID-c.id) {
		r.fail("its id is not above the one before, or out of range")
	} else {
		id += NodeID(step)
	}
	n.parent = r.nodeID(int64(c.parent))
	n.czxid = c.czxid + r.varint()
	n.ctime = c.ctime + r.varint()
	switch number := r.uvarint(); {
	case number == 0 || number > uint64(c.acls)+1:
		r.fail("no node before it has brought along the ACL that it refers to")
	case number == uint64(c.acls)+1:
		c.acls++
		if rec.newACL = text(r.bytes(r.uvarint())); rec.newACL == "" {
			r.fail("it brings along an ACL without length")
		}
		fallthrough
	default:
		rec.acl = uint32(number)
	}
	if flags&flagNext != 0 {
		if n.next = r.nodeID(int64(id)); n.next == None {
			r.fail("its elder sibling has id 0")
		}
	}
	n.mzxid, n.mtime, n.pzxid = n.czxid, n.ctime, n.czxid
	if flags&flagSet != 0 {
		n.mzxid, n.mtime, n.version = n.czxid+r.varint(), n.ctime+r.varint(), r.int32()
	}
	if flags&flagChildren != 0 {
		n.pzxid, n.creates, n.numChildren = n.czxid+r.varint(), r.int32(), r.int32()
	}
	if flags&flagACLSet != 0 {
		n.aversion = r.int32()
	}
	n.nameLen = uint32(flags & 3)
	if n.head() > 0 {
		rec.holder = r.varint()
	}
	rec.name = text(r.bytes(r.uvarint()))
	switch rec.data = r.b; {
	case flags&flagUnknown != 0:
		r.fail("it has a flag that this version does not know")
	case flags&flagNilData != 0 && len(rec.data) > 0:
		r.fail("it says that it has no data, and has some")
	case flags&flagNilData != 0:
		rec.data = nil
	}
	c.id, c.parent, c.czxid, c.ctime = id, n.parent, n.czxid, n.ctime
	return id, n, rec, r.err
}

// reader reads a record's fields. The first failure sticks; what is read after
// it is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(why string) {
	if r.err == nil {
		r.err = errors.New(why)
	}
	r.b = nil
}

const cutShort = "it ends within its fields"

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail(cutShort)
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(cutShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(cutShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int32() int32 {
	v := r.varint()
	if v != int64(int32(v)) {
		r.fail("a counter is out of range")
	}
	return int32(v)
}

// nodeID reads an id written as its difference from base.
func (r *reader) nodeID(base int64) NodeID {
	d := r.varint()
	if d < -base || d > int64(maxNodeID)-base {
		r.fail("it refers to an id out of range")
		return None
	}
	return NodeID(base + d)
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail(cutShort)
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}
