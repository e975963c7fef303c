package server

import (
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/tree"
	"github.com/conclave-dev/conclave/internal/watch"
)

// isRead reports whether op is answered from the local state.
func isRead(op jute.OpCode) bool {
	switch op {
	case jute.OpExists, jute.OpGetData, jute.OpGetACL, jute.OpGetChildren, jute.OpGetChildren2, jute.OpMultiRead,
		jute.OpSetWatches, jute.OpSetWatches2, jute.OpCheckWatches, jute.OpRemoveWatches, jute.OpAddWatch,
		jute.OpGetEphemerals, jute.OpGetAllChildrenNumber, jute.OpWhoAmI:
		return true
	}
	return false
}

// read answers a read: one frame appended to the connection's output, header
// first, the error filled in when it is known. A reply with an error has no
// body, but for addWatch. The caller holds the state and c.mu.
func (s *Server) read(c *Conn, xid int32, op jute.OpCode, body []byte) {
	if op == jute.OpSetWatches || op == jute.OpSetWatches2 {
		s.setWatches(c, xid, op, body)
		return
	}
	zxid := s.machine.Zxid()
	b, mark := jute.BeginFrame(c.out)
	b = jute.ReplyHeader{Xid: xid, Zxid: zxid}.Append(b)
	start := len(b)
	d := jute.NewDecoder(body)
	b, code := s.readBody(c, b, op, &d)
	if code != jute.OK {
		b = b[:start]
		jute.ReplyHeader{Xid: xid, Zxid: zxid, Err: code}.Append(b[:mark+4])
	}
	jute.EndFrame(b, mark)
	c.out = b
	c.stats.sent++
}

func (s *Server) readBody(c *Conn, b []byte, op jute.OpCode, d *jute.Decoder) ([]byte, jute.ErrCode) {
	switch op {
	case jute.OpExists:
		return s.exists(c, b, d)
	case jute.OpGetData:
		return s.getData(c, b, d)
	case jute.OpGetChildren, jute.OpGetChildren2:
		return s.getChildren(c, b, op, d)
	case jute.OpGetACL:
		return s.getACL(c, b, d)
	case jute.OpMultiRead:
		return s.multiRead(c, b, d)
	case jute.OpAddWatch:
		return s.addWatch(c, b, d)
	case jute.OpCheckWatches, jute.OpRemoveWatches:
		return s.selectWatches(c, b, op, d)
	case jute.OpGetEphemerals:
		return s.getEphemerals(c, b, d)
	case jute.OpGetAllChildrenNumber:
		return s.getAllChildrenNumber(c, b, d)
	case jute.OpWhoAmI:
		return whoAmI(c, b), jute.OK
	}
	return b, jute.ErrUnimplemented
}

func (s *Server) may(c *Conn, id tree.NodeID, perm jute.Perm) bool {
	return s.flags&statemachine.FlagSkipACL != 0 || statemachine.CheckACL(s.machine.Tree().ACL(id), perm, c.ids)
}

// find looks a path up for a read. ZooKeeper does not check the paths of
// reads: a bad one is simply not there, but for one with a null byte. The empty
// one is the root's second name.
func (s *Server) find(path string) tree.NodeID {
	if path == "" {
		return tree.Root
	}
	if tree.ValidatePath(path) != nil {
		return tree.None
	}
	return s.machine.Tree().Find(path)
}

func (s *Server) exists(c *Conn, b []byte, d *jute.Decoder) ([]byte, jute.ErrCode) {
	var req jute.PathWatchRequest
	req.Decode(d)
	if d.Err() != nil {
		return b, jute.ErrMarshalling
	}
	if strings.IndexByte(req.Path, 0) >= 0 {
		return b, jute.ErrBadArguments
	}
	// A node that is not there can be watched for being created.
	if req.Watch {
		s.watches.Add(c, req.Path, watch.Data)
	}
	id := s.find(req.Path)
	if id == tree.None {
		return b, jute.ErrNoNode
	}
	return s.appendStat(b, id), jute.OK
}

func (s *Server) appendStat(b []byte, id tree.NodeID) []byte {
	var st jute.Stat
	s.machine.Tree().Stat(id, &st)
	return st.Append(b)
}

func (s *Server) getData(c *Conn, b []byte, d *jute.Decoder) ([]byte, jute.ErrCode) {
	var req jute.PathWatchRequest
	req.Decode(d)
	if d.Err() != nil {
		return b, jute.ErrMarshalling
	}
	id := s.find(req.Path)
	if id == tree.None {
		return b, jute.ErrNoNode
	}
	if !s.may(c, id, jute.PermRead) {
		return b, jute.ErrNoAuth
	}
	if req.Watch {
		s.watches.Add(c, req.Path, watch.Data)
	}
	b = jute.AppendBuffer(b, s.machine.Tree().Data(id))
	return s.appendStat(b, id), jute.OK
}

func (s *Server) getChildren(c *Conn, b []byte, op jute.OpCode, d *jute.Decoder) ([]byte, jute.ErrCode) {
	var req jute.PathWatchRequest
	req.Decode(d)
	if d.Err() != nil {
		return b, jute.ErrMarshalling
	}
	id := s.find(req.Path)
	if id == tree.None {
		return b, jute.ErrNoNode
	}
	if !s.may(c, id, jute.PermRead) {
		return b, jute.ErrNoAuth
	}
	if req.Watch {
		s.watches.Add(c, req.Path, watch.Child)
	}
	t := s.machine.Tree()
	b = jute.AppendInt32(b, int32(t.NumChildren(id)))
	for _, name := range t.Children(id) {
		b = jute.AppendString(b, name)
	}
	if op == jute.OpGetChildren2 {
		b = s.appendStat(b, id)
	}
	return b, jute.OK
}

func (s *Server) getACL(c *Conn, b []byte, d *jute.Decoder) ([]byte, jute.ErrCode) {
	var req jute.PathRequest
	req.Decode(d)
	if d.Err() != nil {
		return b, jute.ErrMarshalling
	}
	id := s.find(req.Path)
	if id == tree.None {
		return b, jute.ErrNoNode
	}
	if !s.may(c, id, jute.PermRead|jute.PermAdmin) {
		return b, jute.ErrNoAuth
	}
	acl := s.machine.Tree().ACL(id)
	if !s.may(c, id, jute.PermAdmin) {
		acl = statemachine.MaskACL(acl)
	}
	return s.appendStat(jute.AppendACLs(b, acl), id), jute.OK
}

// multiRead answers getData and getChildren in one reply. Each fails by
// itself, as type -1; none of them registers a watch. Together they may be no
// longer than what a connection may leave unsent: a request has room for fifty
// thousand reads.
func (s *Server) multiRead(c *Conn, b []byte, d *jute.Decoder) ([]byte, jute.ErrCode) {
	for start := len(b); ; {
		if len(b)-start > s.opt.MaxUnsent {
			return b, jute.ErrBadArguments
		}
		var h jute.MultiHeader
		h.Decode(d)
		if d.Err() != nil {
			return b, jute.ErrMarshalling
		}
		if h.Done {
			return jute.MultiEnd.Append(b), jute.OK
		}
		var req jute.PathWatchRequest
		req.Decode(d)
		if d.Err() != nil {
			return b, jute.ErrMarshalling
		}
		id := s.find(req.Path)
		code := jute.OK
		switch {
		case h.Type != jute.OpGetData && h.Type != jute.OpGetChildren:
			return b, jute.ErrMarshalling
		case id == tree.None:
			code = jute.ErrNoNode
		case !s.may(c, id, jute.PermRead):
			code = jute.ErrNoAuth
		}
		if code != jute.OK {
			b = jute.MultiHeader{Type: jute.OpError, Err: int32(code)}.Append(b)
			b = jute.AppendInt32(b, int32(code))
			continue
		}
		b = jute.MultiHeader{Type: h.Type}.Append(b)
		t := s.machine.Tree()
		if h.Type == jute.OpGetData {
			b = s.appendStat(jute.AppendBuffer(b, t.Data(id)), id)
			continue
		}
		b = jute.AppendInt32(b, int32(t.NumChildren(id)))
		for _, name := range t.Children(id) {
			b = jute.AppendString(b, name)
		}
	}
}

// replySize returns about how long the answer to a read is, in bytes, if that is
// longer than the request.
func (s *Server) replySize(c *Conn, op jute.OpCode, body []byte) int {
	d := jute.NewDecoder(body)
	switch op {
	case jute.OpGetData, jute.OpGetChildren, jute.OpGetChildren2:
		return s.nodeSize(op, d.String())
	case jute.OpGetEphemerals:
		return len(s.machine.Tree().Ephemerals(c.session)) * nameSize
	case jute.OpMultiRead:
		size := 0
		for d.Err() == nil && size < s.opt.MaxUnsent {
			var h jute.MultiHeader
			var req jute.PathWatchRequest
			if h.Decode(&d); h.Done {
				break
			}
			req.Decode(&d)
			size += s.nodeSize(h.Type, req.Path)
		}
		return size
	}
	return 0
}

// nameSize is about how long a path or a child's name is in a reply, in bytes.
const nameSize = 48

func (s *Server) nodeSize(op jute.OpCode, path string) int {
	id := s.find(path)
	switch {
	case id == tree.None:
		return 0
	case op == jute.OpGetData:
		return len(s.machine.Tree().Data(id))
	}
	return int(s.machine.Tree().NumChildren(id)) * nameSize
}

func (s *Server) getEphemerals(c *Conn, b []byte, d *jute.Decoder) ([]byte, jute.ErrCode) {
	prefix := d.String()
	if d.Err() != nil {
		return b, jute.ErrMarshalling
	}
	if strings.TrimSpace(prefix) == "" || strings.TrimSpace(prefix) == "/" {
		prefix = ""
	}
	t := s.machine.Tree()
	at, n := len(b), int32(0)
	b = jute.AppendInt32(b, 0)
	for _, id := range t.Ephemerals(c.session) {
		if path := t.Path(id); strings.HasPrefix(path, prefix) {
			b = jute.AppendString(b, path)
			n++
		}
	}
	jute.AppendInt32(b[:at], n)
	return b, jute.OK
}

func (s *Server) getAllChildrenNumber(c *Conn, b []byte, d *jute.Decoder) ([]byte, jute.ErrCode) {
	var req jute.PathRequest
	req.Decode(d)
	if d.Err() != nil {
		return b, jute.ErrMarshalling
	}
	id := s.find(req.Path)
	if id == tree.None {
		return b, jute.ErrNoNode
	}
	if !s.may(c, id, jute.PermRead) {
		return b, jute.ErrNoAuth
	}
	return jute.AppendInt32(b, int32(s.machine.Tree().DescendantCount(id))), jute.OK
}

// whoAmI lists the session's identities, a digest's without its hash.
func whoAmI(c *Conn, b []byte) []byte {
	b = jute.AppendInt32(b, int32(len(c.ids)))
	for _, id := range c.ids {
		user := id.ID
		if id.Scheme == "digest" {
			user, _, _ = strings.Cut(user, ":")
		}
		b = jute.AppendString(jute.AppendString(b, id.Scheme), user)
	}
	return b
}
