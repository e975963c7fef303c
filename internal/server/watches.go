package server

import (
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/tree"
	"github.com/conclave-dev/conclave/internal/watch"
)

// setWatches restores what a client watched on another connection and raises
// what it has missed since relativeZxid, before the reply.
func (s *Server) setWatches(c *Conn, xid int32, op jute.OpCode, body []byte) {
	var req jute.SetWatchesRequest
	d := jute.NewDecoder(body)
	req.Decode(&d, op)
	if d.Err() != nil {
		c.reply(xid, s.machine.Zxid(), jute.ErrMarshalling)
		return
	}
	t := s.machine.Tree()
	// Events of the past carry no transaction's id: several may be missing
	// between them. As in ZooKeeper nobody asks for the right to read: they tell
	// nothing that exists, which needs no right, would not.
	raise := func(typ jute.EventType, path string) {
		c.out = jute.AppendEvent(c.out, -1, typ, path)
		c.stats.sent++
	}
	for _, path := range req.Data {
		switch id := s.find(path); {
		case id == tree.None:
			raise(jute.EventNodeDeleted, path)
		case t.Mzxid(id) > req.RelativeZxid:
			raise(jute.EventNodeDataChanged, path)
		default:
			s.watches.Add(c, path, watch.Data)
		}
	}
	for _, path := range req.Exist {
		if id := s.find(path); id != tree.None {
			raise(jute.EventNodeCreated, path)
		} else {
			s.watches.Add(c, path, watch.Data)
		}
	}
	for _, path := range req.Child {
		switch id := s.find(path); {
		case id == tree.None:
			raise(jute.EventNodeDeleted, path)
		case t.Pzxid(id) > req.RelativeZxid:
			raise(jute.EventNodeChildrenChanged, path)
		default:
			s.watches.Add(c, path, watch.Child)
		}
	}
	for _, path := range req.Persistent {
		s.watches.Add(c, path, watch.Persistent)
	}
	for _, path := range req.Recurse {
		s.watches.Add(c, path, watch.PersistentRecursive)
	}
	c.reply(xid, s.machine.Zxid(), jute.OK)
}

// addWatch adds a persistent watch. Its reply has a body of four bytes, an
// error code: CuratorCache waits for it.
func (s *Server) addWatch(c *Conn, b []byte, d *jute.Decoder) ([]byte, jute.ErrCode) {
	var req jute.WatchSelection
	req.Decode(d)
	if d.Err() != nil {
		return b, jute.ErrMarshalling
	}
	switch jute.AddWatchMode(req.Kind) {
	case jute.AddWatchPersistent:
		s.watches.Add(c, req.Path, watch.Persistent)
	case jute.AddWatchPersistentRecursive:
		s.watches.Add(c, req.Path, watch.PersistentRecursive)
	default:
		return b, jute.ErrMarshalling
	}
	return jute.AppendInt32(b, 0), jute.OK
}

func (s *Server) selectWatches(c *Conn, b []byte, op jute.OpCode, d *jute.Decoder) ([]byte, jute.ErrCode) {
	var req jute.WatchSelection
	req.Decode(d)
	typ := jute.WatcherType(req.Kind)
	if d.Err() != nil || typ < jute.WatcherChildren || typ > jute.WatcherPersistentRecursive {
		return b, jute.ErrMarshalling
	}
	found := false
	switch {
	case op == jute.OpRemoveWatches:
		found = s.watches.Remove(c, req.Path, typ)
	case strings.HasPrefix(req.Path, "/"):
		found = s.watches.Contains(c, req.Path, typ)
	case req.Path != "":
		// Such a watch can be added and never fires; ZooKeeper trips over the
		// question.
		return b, jute.ErrMarshalling
	}
	if !found {
		return b, jute.ErrNoWatcher
	}
	return b, jute.OK
}
