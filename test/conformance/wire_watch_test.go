//go:build conformance

package conformance

import (
	"testing"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// The session's own write: first its events, then its reply.
func TestWireEventBeforeReply(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	p := root(t, s)
	s.create(p + "/a")
	s.ok(wire.OpGetData, wire.WatchBody(p+"/a", true))
	xid := s.send(wire.OpSetData, wire.SetDataBody(p+"/a", []byte("new"), 0))
	event := s.wantEvent(wire.EventDataChanged, p+"/a")
	reply := s.wantReply(xid, wire.OK)
	// 3.8 says -1 here, 3.9 and later the transaction.
	if event.Zxid != -1 && event.Zxid != reply.Zxid || event.Err != wire.OK {
		t.Errorf("event header %+v, the write had zxid %#x", event, reply.Zxid)
	}
	// It fires once.
	s.ok(wire.OpSetData, wire.SetDataBody(p+"/a", []byte("newer"), 1))
}

// Somebody else's write: the event comes before any reply that shows it.
func TestWireEventBeforeLaterReads(t *testing.T) {
	e := sharedEnsemble(t)
	reader, writer := openSession(t, e.Addrs()[0]), openSession(t, e.Addrs()[1])
	p := root(t, reader)
	for range 20 {
		version := reader.ok(wire.OpGetData, wire.WatchBody(p, true))
		version.Buffer()
		was := version.Stat().Version
		xid := writer.send(wire.OpSetData, wire.SetDataBody(p, nil, -1))
		for seen := false; ; {
			asked := reader.send(wire.OpExists, wire.WatchBody(p, false))
			reply := reader.recv()
			if reply.Xid == wire.XidEvent {
				seen = true
				reply = reader.wantReply(asked, wire.OK)
			}
			if stat := wire.NewReader(reply.Body).Stat(); stat.Version != was {
				if !seen {
					t.Fatalf("version %d was read before the event about it came", stat.Version)
				}
				break
			}
		}
		writer.wantReply(xid, wire.OK)
	}
}

// A delete: the node's watchers once, however they watch, then the parent's.
func TestWireDeleteEvents(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	p := root(t, s)
	s.create(p + "/a")
	s.ok(wire.OpGetData, wire.WatchBody(p+"/a", true))
	s.ok(wire.OpExists, wire.WatchBody(p+"/a", true))
	s.ok(wire.OpGetChildren, wire.WatchBody(p+"/a", true))
	s.ok(wire.OpGetChildren2, wire.WatchBody(p, true))
	xid := s.send(wire.OpDelete, wire.VersionBody(p+"/a", -1))
	s.wantEvent(wire.EventDeleted, p+"/a")
	s.wantEvent(wire.EventChildrenChanged, p)
	s.wantReply(xid, wire.OK)
	s.create(p + "/a")
}

func TestWireWatchOnFailedReads(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[2])
	p := root(t, s)
	s.fails(wire.OpGetData, wire.WatchBody(p+"/a", true), wire.NoNode)
	s.fails(wire.OpGetChildren, wire.WatchBody(p+"/a", true), wire.NoNode)
	s.create(p + "/a") // no event: those watches were not set
	s.fails(wire.OpExists, wire.WatchBody(p+"/b", true), wire.NoNode)
	xid := s.send(wire.OpCreate, wire.CreateBody(p+"/b", nil, wire.OpenACL, 0))
	s.wantEvent(wire.EventCreated, p+"/b")
	s.wantReply(xid, wire.OK)
}

// What raises no event: a child's data on the parent, an ACL, a failed write.
func TestWireNoEvent(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	p := root(t, s)
	s.create(p + "/a")
	s.ok(wire.OpGetChildren, wire.WatchBody(p, true))
	s.ok(wire.OpGetData, wire.WatchBody(p, true))
	before := s.stat(p)
	s.ok(wire.OpSetData, wire.SetDataBody(p+"/a", nil, -1))
	s.ok(wire.OpSetACL, wire.SetACLBody(p, wire.OpenACL, -1))
	s.fails(wire.OpSetData, wire.SetDataBody(p, nil, 7), wire.BadVersion)
	s.fails(wire.OpCreate, wire.CreateBody(p+"/a", nil, wire.OpenACL, 0), wire.NodeExists)
	s.fails(wire.OpDelete, wire.VersionBody(p, -1), wire.NotEmpty)
	after := s.stat(p)
	before.Aversion++
	if before != after {
		t.Errorf("stat went from %+v to %+v", before, after)
	}
}

// Persistent watches stay, and see children but not grandchildren; recursive
// ones see everything below, and nothing of kind "children changed".
func TestWirePersistentWatches(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[1])
	p := root(t, s)
	type ev struct {
		typ  int32
		path string
	}
	acts := []struct {
		op                    int32
		body                  []byte
		persistent, recursive []ev
	}{
		{wire.OpCreate, wire.CreateBody(p+"/a", nil, wire.OpenACL, 0), []ev{{wire.EventChildrenChanged, p}}, []ev{{wire.EventCreated, p + "/a"}}},
		{wire.OpCreate, wire.CreateBody(p+"/a/b", nil, wire.OpenACL, 0), nil, []ev{{wire.EventCreated, p + "/a/b"}}},
		{wire.OpSetData, wire.SetDataBody(p+"/a", nil, -1), nil, []ev{{wire.EventDataChanged, p + "/a"}}},
		{wire.OpSetData, wire.SetDataBody(p, nil, -1), []ev{{wire.EventDataChanged, p}}, []ev{{wire.EventDataChanged, p}}},
		{wire.OpSetData, wire.SetDataBody(p, nil, -1), []ev{{wire.EventDataChanged, p}}, []ev{{wire.EventDataChanged, p}}},
		{wire.OpDelete, wire.VersionBody(p+"/a/b", -1), nil, []ev{{wire.EventDeleted, p + "/a/b"}}},
		{wire.OpDelete, wire.VersionBody(p+"/a", -1), []ev{{wire.EventChildrenChanged, p}}, []ev{{wire.EventDeleted, p + "/a"}}},
		{wire.OpDelete, wire.VersionBody(p, -1), []ev{{wire.EventDeleted, p}}, []ev{{wire.EventDeleted, p}}},
		{wire.OpCreate, wire.CreateBody(p, nil, wire.OpenACL, 0), []ev{{wire.EventCreated, p}}, []ev{{wire.EventCreated, p}}},
	}
	for mode, pick := range map[int32]func(i int) []ev{
		0: func(i int) []ev { return acts[i].persistent },
		1: func(i int) []ev { return acts[i].recursive },
	} {
		s.ok(wire.OpAddWatch, wire.PathIntBody(p, mode))
		for i, act := range acts {
			xid := s.send(act.op, act.body)
			for _, want := range pick(i) {
				s.wantEvent(want.typ, want.path)
			}
			s.wantReply(xid, wire.OK)
		}
		s.ok(wire.OpCheckWatches, wire.PathIntBody(p, 3))
		s.ok(wire.OpRemoveWatches, wire.PathIntBody(p, 3))
		s.fails(wire.OpCheckWatches, wire.PathIntBody(p, 3), wire.NoWatcher)
		s.ok(wire.OpSetData, wire.SetDataBody(p, nil, -1))
	}
}

// Persistent watches can be removed by their own types since 3.9.
func TestWireTypedRemovalOfPersistentWatches(t *testing.T) {
	conclaveOnly(t)
	s := openSession(t, sharedEnsemble(t).Addrs()[1])
	p := root(t, s)
	for mode, typ := range map[int32]int32{0: 4, 1: 5} {
		s.ok(wire.OpAddWatch, wire.PathIntBody(p, mode))
		s.fails(wire.OpCheckWatches, wire.PathIntBody(p, 9-typ), wire.NoWatcher)
		s.ok(wire.OpCheckWatches, wire.PathIntBody(p, typ))
		s.ok(wire.OpRemoveWatches, wire.PathIntBody(p, typ))
		s.fails(wire.OpRemoveWatches, wire.PathIntBody(p, typ), wire.NoWatcher)
		s.ok(wire.OpSetData, wire.SetDataBody(p, nil, -1))
	}
}

// One session may watch the same path in different modes; a node's one-shot
// watch does not take a persistent one with it (ZOOKEEPER-4466, fixed in 3.9).
// What concerns several of them is told once.
func TestWireWatchModesOnOnePath(t *testing.T) {
	conclaveOnly(t)
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	p := root(t, s)
	s.ok(wire.OpAddWatch, wire.PathIntBody(p, 1))
	s.ok(wire.OpGetChildren, wire.WatchBody(p, true))
	s.ok(wire.OpGetData, wire.WatchBody(p, true))
	xid := s.send(wire.OpCreate, wire.CreateBody(p+"/a", nil, wire.OpenACL, 0))
	s.wantEvent(wire.EventCreated, p+"/a")
	s.wantEvent(wire.EventChildrenChanged, p)
	s.wantReply(xid, wire.OK)
	for range 2 {
		xid = s.send(wire.OpSetData, wire.SetDataBody(p, nil, -1))
		s.wantEvent(wire.EventDataChanged, p)
		s.wantReply(xid, wire.OK)
	}
	xid = s.send(wire.OpDelete, wire.VersionBody(p+"/a", -1))
	s.wantEvent(wire.EventDeleted, p+"/a")
	s.wantReply(xid, wire.OK)
}

func TestWireRemoveWatchesByType(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	p := root(t, s)
	const children, data, anything = 1, 2, 3
	s.ok(wire.OpGetData, wire.WatchBody(p, true))
	s.ok(wire.OpGetChildren, wire.WatchBody(p, true))
	s.ok(wire.OpRemoveWatches, wire.PathIntBody(p, children))
	s.fails(wire.OpCheckWatches, wire.PathIntBody(p, children), wire.NoWatcher)
	s.ok(wire.OpCheckWatches, wire.PathIntBody(p, data))
	s.ok(wire.OpCheckWatches, wire.PathIntBody(p, anything))
	s.create(p + "/a") // no event
	xid := s.send(wire.OpSetData, wire.SetDataBody(p, nil, -1))
	s.wantEvent(wire.EventDataChanged, p)
	s.wantReply(xid, wire.OK)
	s.fails(wire.OpRemoveWatches, wire.PathIntBody(p, anything), wire.NoWatcher)
	// An exists watch on a node that is not there is a data watch.
	s.fails(wire.OpExists, wire.WatchBody(p+"/no", true), wire.NoNode)
	s.ok(wire.OpRemoveWatches, wire.PathIntBody(p+"/no", data))
	s.create(p + "/no")
}

// setWatches after a reconnection: what happened meanwhile is told at once, in
// front of the reply, and what did not happen yet is watched.
func TestWireSetWatches(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	p := root(t, s)
	for _, n := range []string{"/changed", "/same", "/gone", "/kids", "/nokids", "/gonekids"} {
		s.create(p + n)
	}
	rel := s.call(wire.OpExists, wire.WatchBody(p, false)).Zxid
	s.ok(wire.OpSetData, wire.SetDataBody(p+"/changed", nil, -1))
	s.ok(wire.OpDelete, wire.VersionBody(p+"/gone", -1))
	s.ok(wire.OpDelete, wire.VersionBody(p+"/gonekids", -1))
	s.create(p + "/kids/child")
	s.create(p + "/born")

	for name, op := range map[string]int32{"setWatches": wire.OpSetWatches, "setWatches2": wire.OpSetWatches2} {
		t.Run(name, func(t *testing.T) {
			lists := [][]string{
				{p + "/changed", p + "/same", p + "/gone"},
				{p + "/born", p + "/unborn"},
				{p + "/kids", p + "/nokids", p + "/gonekids"},
			}
			if op == wire.OpSetWatches2 {
				lists = append(lists, []string{p + "/persistent"}, []string{p + "/recursive"})
			}
			s.sendXid(wire.XidSetWatches, op, wire.SetWatchesBody(rel, lists...))
			want := map[wire.Event]bool{
				{Type: wire.EventDataChanged, State: 3, Path: p + "/changed"}:  true,
				{Type: wire.EventDeleted, State: 3, Path: p + "/gone"}:         true,
				{Type: wire.EventCreated, State: 3, Path: p + "/born"}:         true,
				{Type: wire.EventChildrenChanged, State: 3, Path: p + "/kids"}: true,
				{Type: wire.EventDeleted, State: 3, Path: p + "/gonekids"}:     true,
			}
			for range len(want) {
				reply := s.recv()
				event, err := reply.Event()
				if err != nil || !want[event] || reply.Zxid != -1 {
					t.Fatalf("got %+v (%+v, %v), want one of %v with zxid -1", reply, event, err, want)
				}
				delete(want, event)
			}
			if reply := s.wantReply(wire.XidSetWatches, wire.OK); len(reply.Body) != 0 {
				t.Errorf("setWatches answered %+v", reply)
			}

			xid := s.send(wire.OpSetData, wire.SetDataBody(p+"/same", nil, -1))
			s.wantEvent(wire.EventDataChanged, p+"/same")
			s.wantReply(xid, wire.OK)
			xid = s.send(wire.OpCreate, wire.CreateBody(p+"/unborn", nil, wire.OpenACL, 0))
			s.wantEvent(wire.EventCreated, p+"/unborn")
			s.wantReply(xid, wire.OK)
			xid = s.send(wire.OpCreate, wire.CreateBody(p+"/nokids/child", nil, wire.OpenACL, 0))
			s.wantEvent(wire.EventChildrenChanged, p+"/nokids")
			s.wantReply(xid, wire.OK)
			// What was told is not watched any more.
			s.ok(wire.OpSetData, wire.SetDataBody(p+"/changed", nil, -1))
			s.ok(wire.OpDelete, wire.VersionBody(p+"/unborn", -1))
			s.ok(wire.OpDelete, wire.VersionBody(p+"/nokids/child", -1))

			if op == wire.OpSetWatches2 {
				xid = s.send(wire.OpCreate, wire.CreateBody(p+"/recursive", nil, wire.OpenACL, 0))
				s.wantEvent(wire.EventCreated, p+"/recursive")
				s.wantReply(xid, wire.OK)
				xid = s.send(wire.OpCreate, wire.CreateBody(p+"/recursive/deep", nil, wire.OpenACL, 0))
				s.wantEvent(wire.EventCreated, p+"/recursive/deep")
				s.wantReply(xid, wire.OK)
				xid = s.send(wire.OpCreate, wire.CreateBody(p+"/persistent", nil, wire.OpenACL, 0))
				s.wantEvent(wire.EventCreated, p+"/persistent")
				s.wantReply(xid, wire.OK)
			}
			// The state for the next run.
			rel = s.call(wire.OpExists, wire.WatchBody(p, false)).Zxid
			s.ok(wire.OpSetData, wire.SetDataBody(p+"/changed", nil, -1))
			s.create(p + "/kids/" + name)
			s.ok(wire.OpDelete, wire.VersionBody(p+"/born", -1))
			s.create(p + "/born")
		})
	}
}

// Watches die with their connection; the new connection starts without any.
func TestWireWatchesBelongToTheConnection(t *testing.T) {
	e := sharedEnsemble(t)
	s := openSession(t, e.Addrs()[0])
	p := root(t, s)
	s.ok(wire.OpGetData, wire.WatchBody(p, true))
	s.ok(wire.OpAddWatch, wire.PathIntBody(p, 1))
	fresh := s.reattach(e.Addrs()[0])
	t.Cleanup(fresh.end)
	fresh.fails(wire.OpCheckWatches, wire.PathIntBody(p, 3), wire.NoWatcher)
	fresh.ok(wire.OpSetData, wire.SetDataBody(p, nil, -1))
	fresh.create(p + "/a")
}

// A session without READ on a node learns nothing about it.
func TestWireEventsNeedReadPermission(t *testing.T) {
	e := sharedEnsemble(t)
	owner, other := openSession(t, e.Addrs()[0]), openSession(t, e.Addrs()[0])
	p := root(t, owner)
	owner.sendXid(wire.XidAuth, wire.OpAuth, wire.AuthBody("digest", []byte("owner:secret")))
	owner.wantReply(wire.XidAuth, wire.OK)
	other.ok(wire.OpAddWatch, wire.PathIntBody(p, 1))
	owner.ok(wire.OpCreate, wire.CreateBody(p+"/secret", nil, []wire.ACL{{Perms: 31, Scheme: "auth", ID: ""}}, 0))
	owner.ok(wire.OpSetData, wire.SetDataBody(p+"/secret", nil, -1))
	owner.ok(wire.OpDelete, wire.VersionBody(p+"/secret", -1))
	owner.create(p + "/public")
	// Everything about /secret came before this on one connection.
	other.wantEvent(wire.EventCreated, p+"/public")
}
