package fake

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// patience bounds every read and write: a test ends long before.
const patience = time.Minute

const (
	codeNoNode     = -101
	codeNodeExists = -110
	codeUnknown    = -6
)

// answer executes one request; it reports whether the connection goes on.
func (c *conn) answer(body []byte) bool {
	r := wire.NewReader(body)
	a := Answer{Xid: r.Int(), Op: r.Int(), Session: c.session.id}
	more := true
	switch a.Op {
	case wire.OpPing:
	case wire.OpCloseSession:
		c.server.end(c.session)
		more = false
	case wire.OpMulti:
		a.Body = c.multi(r)
	default:
		a.Path, a.Err, a.Body = c.one(a.Op, r)
	}
	a.Zxid = c.server.zxid
	c.send(a)
	return more
}

// one executes an operation that may be part of a transaction.
func (c *conn) one(op int32, r *wire.Reader) (path string, code int32, body []byte) {
	s := c.server
	path = r.String()
	n := s.nodes[path]
	switch op {
	case wire.OpCreate:
		data := append([]byte(nil), r.Buffer()...)
		r.ACLs()
		name, code := s.create(path, data, r.Int(), c.session)
		return path, code, new(wire.Writer).String(name).Bytes()
	case wire.OpDelete:
		if n == nil {
			return path, codeNoNode, nil
		}
		s.remove(path)
		return path, 0, nil
	case wire.OpSetData:
		data := append([]byte(nil), r.Buffer()...)
		r.Int()
		if n == nil {
			return path, codeNoNode, nil
		}
		s.zxid++
		n.data = data
		n.stat.Version++
		n.stat.Mzxid = s.zxid
		n.stat.DataLength = int32(len(data))
		n.fire(path, 3)
		return path, 0, appendStat(nil, n.stat)
	case wire.OpExists, wire.OpGetData:
		watch := r.Bool()
		if n == nil {
			return path, codeNoNode, nil
		}
		if watch {
			if n.watchers == nil {
				n.watchers = make(map[*conn]struct{})
			}
			n.watchers[c] = struct{}{}
		}
		if op == wire.OpGetData {
			body = new(wire.Writer).Buffer(n.data).Bytes()
		}
		return path, 0, appendStat(body, n.stat)
	case wire.OpGetChildren:
		if n == nil {
			return path, codeNoNode, nil
		}
		return path, 0, new(wire.Writer).Strings(s.children(path)...).Bytes()
	}
	return path, codeUnknown, nil
}

// multi executes every part under one zxid; the tests send none that fails.
func (c *conn) multi(r *wire.Reader) []byte {
	w := new(wire.Writer)
	before := c.server.zxid
	for {
		op, done := r.Int(), r.Bool()
		r.Int()
		if done {
			return w.Int(-1).Bool(true).Int(-1).Bytes()
		}
		c.server.zxid = before
		_, code, body := c.one(op, r)
		if op == wire.OpDelete {
			r.Int() // the version
		}
		if code != 0 {
			w.Int(-1).Bool(false).Int(code).Int(code)
			continue
		}
		w.Int(op).Bool(false).Int(0).Raw(body)
	}
}

func (s *Server) create(name string, data []byte, flags int32, owner *session) (string, int32) {
	parent := s.nodes[path.Dir(name)]
	if parent == nil {
		return "", codeNoNode
	}
	if flags&2 != 0 {
		name += fmt.Sprintf("%010d", parent.stat.Cversion)
	}
	if s.nodes[name] != nil {
		return "", codeNodeExists
	}
	s.zxid++
	parent.stat.Cversion++
	n := &node{data: data, stat: wire.Stat{Czxid: s.zxid, Mzxid: s.zxid, Pzxid: s.zxid, DataLength: int32(len(data))}}
	if flags&1 != 0 {
		n.stat.EphemeralOwner = owner.id
	}
	s.nodes[name] = n
	return name, 0
}

func (s *Server) remove(path string) {
	s.zxid++
	s.nodes[path].fire(path, 2)
	delete(s.nodes, path)
}

// end closes a session and removes its ephemeral nodes.
func (s *Server) end(ended *session) {
	delete(s.sessions, ended.id)
	for path, n := range s.nodes {
		if n.stat.EphemeralOwner == ended.id {
			s.remove(path)
		}
	}
}

func (s *Server) children(dir string) []string {
	prefix := strings.TrimSuffix(dir, "/") + "/"
	var names []string
	for name := range s.nodes {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" && !strings.Contains(rest, "/") {
			names = append(names, rest)
		}
	}
	return names
}

// fire tells every watcher once.
func (n *node) fire(path string, event int32) {
	for c := range n.watchers {
		c.Write(encode(Answer{Xid: -1, Zxid: -1, Body: new(wire.Writer).Int(event).Int(3).String(path).Bytes()}))
	}
	n.watchers = nil
}

func appendStat(b []byte, s wire.Stat) []byte {
	return append(b, new(wire.Writer).Long(s.Czxid).Long(s.Mzxid).Long(s.Ctime).Long(s.Mtime).
		Int(s.Version).Int(s.Cversion).Int(s.Aversion).Long(s.EphemeralOwner).Int(s.DataLength).Int(s.NumChildren).Long(s.Pzxid).Bytes()...)
}
