package statemachine

import (
	"strings"
	"unsafe"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/session"
	"github.com/conclave-dev/conclave/internal/tree"
)

func unsafeString(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// FlagExtendedTypes carries the origin's extendedTypesEnabled setting: without
// it TTL nodes are refused.
const FlagExtendedTypes byte = 1 << 2

// MaxTTL is the longest time to live in milliseconds: ZooKeeper keeps it in 40
// bits of the node's owner field.
const MaxTTL = 1<<40 - 1

func allowed(flags byte, acl []jute.ACL, perm jute.Perm, s *session.Session) bool {
	return flags&FlagSkipACL != 0 || CheckACL(acl, perm, s.IDs)
}

// splitParent cuts path at its last slash, as ZooKeeper does before it checks
// the path itself: the order of the checks decides which error a client sees.
func splitParent(path string) (parent string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 || strings.IndexByte(path, 0) >= 0 {
		return "", false
	}
	return path[:i], true
}

// findParent returns the node that splitParent named, or None. Both the empty
// path and "/" (of "//x") are the root.
func (m *Machine) findParent(parent string) tree.NodeID {
	if parent == "" {
		return tree.Root
	}
	if tree.ValidatePath(parent) != nil {
		return tree.None
	}
	return m.tree.Find(parent)
}

// create keeps the order of ZooKeeper's checks: mode and TTL, shape of the
// path, InvalidACL, NoNode, NoAuth, bad path, NodeExists,
// NoChildrenForEphemerals, quota. p.Op says which of the creates it is.
func (m *Machine) create(s *session.Session, req *jute.CreateRequest, flags byte, p *Part) jute.ErrCode {
	if !req.Mode.Valid() {
		return jute.ErrBadArguments
	}
	if req.Mode.TTL() {
		if flags&FlagExtendedTypes == 0 {
			return jute.ErrUnimplemented
		}
		if p.Op != jute.OpCreateTTL || req.TTL < 1 || req.TTL > MaxTTL {
			return jute.ErrBadArguments
		}
	} else if p.Op == jute.OpCreateTTL {
		return jute.ErrBadArguments
	}
	parentPath, ok := splitParent(req.Path)
	if !ok {
		return jute.ErrBadArguments
	}
	acl, code := FixupACL(req.ACL, s.IDs)
	if code != jute.OK {
		return code
	}
	parent := m.findParent(parentPath)
	if parent == tree.None {
		return jute.ErrNoNode
	}
	parentACL := m.tree.ACL(parent)
	if !allowed(flags, parentACL, jute.PermCreate, s) {
		return jute.ErrNoAuth
	}
	path := req.Path
	if req.Mode.Sequential() {
		m.path = appendSequence(append(m.path[:0], path...), m.tree.Creates(parent))
		path = m.keep(m.path)
	}
	if tree.ValidatePath(path) != nil {
		return jute.ErrBadArguments
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	if path == "/" || m.tree.FindChild(parent, name) != tree.None {
		return jute.ErrNodeExists
	}
	if m.tree.Kind(parent) == tree.Ephemeral {
		return jute.ErrNoChildrenForEphemerals
	}
	if code := m.checkQuotaNode(path, req.Data); code != jute.OK {
		return code
	}
	if flags&FlagEnforceQuota != 0 && m.overQuota(path, int64(len(req.Data)), 1) {
		return jute.ErrQuotaExceeded
	}

	n := tree.NewNode{Data: req.Data, ACL: acl, Zxid: m.zxid, Now: m.now}
	switch {
	case p.Op == jute.OpCreateContainer:
		n.Kind = tree.Container
	case p.Op == jute.OpCreateTTL:
		n.Kind, n.TTL = tree.TTL, req.TTL
	case req.Mode.Ephemeral():
		n.Kind, n.Owner = tree.Ephemeral, s.ID
	}
	id := m.tree.Create(parent, name, n)
	m.quotaCreated(path, int64(len(req.Data)))
	m.raise(jute.EventNodeCreated, path, m.tree.ACL(id), parentACL)
	p.Path = path
	m.tree.Stat(id, &p.Stat)
	return jute.OK
}

// appendSequence appends the counter of a sequential node: ten digits, or the
// sign and what follows once it has overflown, as Java's %010d prints it.
func appendSequence(b []byte, n int32) []byte {
	var digits [10]byte
	v, width := int64(n), 10
	if v < 0 {
		b, v, width = append(b, '-'), -v, 9
	}
	i := len(digits)
	for v > 0 || len(digits)-i < width {
		i--
		digits[i] = byte('0' + v%10)
		v /= 10
	}
	return append(b, digits[i:]...)
}

// special reports whether path is one of the nodes that nobody deletes.
func special(path string) bool {
	switch path {
	case "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config":
		return true
	}
	return false
}

func (m *Machine) remove(s *session.Session, flags byte, d *jute.Decoder) jute.ErrCode {
	var req jute.PathVersionRequest
	req.Decode(d)
	if d.Err() != nil {
		return jute.ErrMarshalling
	}
	parentPath, ok := splitParent(req.Path)
	if !ok || special(req.Path) {
		return jute.ErrBadArguments
	}
	parent := m.findParent(parentPath)
	if parent == tree.None {
		return jute.ErrNoNode
	}
	if !allowed(flags, m.tree.ACL(parent), jute.PermDelete, s) {
		return jute.ErrNoAuth
	}
	if tree.ValidatePath(req.Path) != nil {
		return jute.ErrNoNode
	}
	id := m.tree.Find(req.Path)
	if id == tree.None {
		return jute.ErrNoNode
	}
	if req.Version != -1 && req.Version != m.tree.Version(id) {
		return jute.ErrBadVersion
	}
	if m.tree.NumChildren(id) > 0 {
		return jute.ErrNotEmpty
	}
	m.deleteNode(id, req.Path)
	return jute.OK
}

// deleteNode removes a leaf and raises its event. path is its full path.
func (m *Machine) deleteNode(id tree.NodeID, path string) {
	acl, parentACL := m.tree.ACL(id), m.tree.ACL(m.tree.Parent(id))
	size := int64(len(m.tree.Data(id)))
	m.tree.Delete(id, m.zxid)
	m.quotaDeleted(path, size)
	m.raise(jute.EventNodeDeleted, path, acl, parentACL)
}

// find returns the node at path for an operation that checks the path first.
func (m *Machine) find(path string) (tree.NodeID, jute.ErrCode) {
	if tree.ValidatePath(path) != nil {
		return tree.None, jute.ErrBadArguments
	}
	id := m.tree.Find(path)
	if id == tree.None {
		return tree.None, jute.ErrNoNode
	}
	return id, jute.OK
}

func (m *Machine) setData(s *session.Session, flags byte, d *jute.Decoder, p *Part) jute.ErrCode {
	var req jute.SetDataRequest
	req.Decode(d)
	if d.Err() != nil {
		return jute.ErrMarshalling
	}
	id, code := m.find(req.Path)
	if code != jute.OK {
		return code
	}
	if !allowed(flags, m.tree.ACL(id), jute.PermWrite, s) {
		return jute.ErrNoAuth
	}
	if code := m.checkQuotaNode(req.Path, req.Data); code != jute.OK {
		return code
	}
	diff := int64(len(req.Data)) - int64(len(m.tree.Data(id)))
	if flags&FlagEnforceQuota != 0 && m.overQuota(req.Path, diff, 0) {
		return jute.ErrQuotaExceeded
	}
	if req.Version != -1 && req.Version != m.tree.Version(id) {
		return jute.ErrBadVersion
	}
	m.tree.SetData(id, req.Data, m.zxid, m.now)
	m.quotaResized(req.Path, diff)
	var parentACL []jute.ACL
	if id != tree.Root {
		parentACL = m.tree.ACL(m.tree.Parent(id))
	}
	m.raise(jute.EventNodeDataChanged, req.Path, m.tree.ACL(id), parentACL)
	m.tree.Stat(id, &p.Stat)
	return jute.OK
}

func (m *Machine) setACL(s *session.Session, flags byte, d *jute.Decoder, p *Part) jute.ErrCode {
	var req jute.SetACLRequest
	req.Decode(d)
	if d.Err() != nil {
		return jute.ErrMarshalling
	}
	if tree.ValidatePath(req.Path) != nil {
		return jute.ErrBadArguments
	}
	acl, code := FixupACL(req.ACL, s.IDs)
	if code != jute.OK {
		return code
	}
	id, code := m.find(req.Path)
	if code != jute.OK {
		return code
	}
	if !allowed(flags, m.tree.ACL(id), jute.PermAdmin, s) {
		return jute.ErrNoAuth
	}
	if req.Version != -1 && req.Version != m.tree.Aversion(id) {
		return jute.ErrBadVersion
	}
	m.tree.SetACL(id, acl)
	m.tree.Stat(id, &p.Stat)
	return jute.OK
}

func (m *Machine) check(s *session.Session, flags byte, d *jute.Decoder) jute.ErrCode {
	var req jute.PathVersionRequest
	req.Decode(d)
	if d.Err() != nil {
		return jute.ErrMarshalling
	}
	id, code := m.find(req.Path)
	if code != jute.OK {
		return code
	}
	if !allowed(flags, m.tree.ACL(id), jute.PermRead, s) {
		return jute.ErrNoAuth
	}
	if req.Version != -1 && req.Version != m.tree.Version(id) {
		return jute.ErrBadVersion
	}
	return jute.OK
}
