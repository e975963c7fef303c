//go:build conformance

package conformance

import (
	"slices"
	"testing"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// multi sends a multi (or multiRead) and returns its results.
func (s *session) multi(op int32, ops ...wire.MultiOp) (wire.Reply, []wire.MultiResult) {
	s.t.Helper()
	reply := s.call(op, wire.MultiBody(ops...))
	if reply.Err != wire.OK {
		s.t.Fatalf("operation %d: error %d in the header; it belongs to the results", op, reply.Err)
	}
	results, err := wire.DecodeMulti(reply.Body)
	if err != nil {
		s.t.Fatalf("operation %d: %v in %x", op, err, reply.Body)
	}
	if len(results) != len(ops) {
		s.t.Fatalf("operation %d: %d results for %d operations", op, len(results), len(ops))
	}
	return reply, results
}

func create(path string, mode int32) wire.MultiOp {
	return wire.MultiOp{Type: wire.OpCreate, Body: wire.CreateBody(path, []byte("m"), wire.OpenACL, mode)}
}

func TestWireMultiSuccess(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	p := root(t, s)
	s.create(p + "/old")
	reply, got := s.multi(wire.OpMulti,
		create(p+"/a", wire.Persistent),
		wire.MultiOp{Type: wire.OpCreate2, Body: wire.CreateBody(p+"/a/b", []byte("m"), wire.OpenACL, wire.Persistent)},
		create(p+"/a/seq-", wire.PersistentSequential),
		wire.MultiOp{Type: wire.OpCreateContainer, Body: wire.CreateBody(p+"/container", nil, wire.OpenACL, wire.Container)},
		wire.MultiOp{Type: wire.OpCreateTTL, Body: wire.CreateTTLBody(p+"/ttl", nil, wire.OpenACL, wire.PersistentTTL, 3600_000)},
		wire.MultiOp{Type: wire.OpSetData, Body: wire.SetDataBody(p+"/a", []byte("changed"), 0)},
		wire.MultiOp{Type: wire.OpCheck, Body: wire.VersionBody(p+"/a", 1)},
		wire.MultiOp{Type: wire.OpDelete, Body: wire.VersionBody(p+"/old", -1)},
	)
	// Containers and TTL nodes come back as create2, and a create2 as a plain
	// create.
	want := []struct {
		typ  int32
		path string
	}{
		{wire.OpCreate, p + "/a"}, {wire.OpCreate, p + "/a/b"}, {wire.OpCreate, p + "/a/seq-0000000001"},
		{wire.OpCreate2, p + "/container"}, {wire.OpCreate2, p + "/ttl"}, {wire.OpSetData, ""}, {wire.OpCheck, ""}, {wire.OpDelete, ""},
	}
	for i, w := range want {
		if got[i].Type != w.typ || got[i].Path != w.path || got[i].Err != wire.OK {
			t.Errorf("result %d: %+v, want type %d and path %q", i, got[i], w.typ, w.path)
		}
	}
	// One transaction, one zxid.
	for _, node := range []string{"/a", "/a/b", "/a/seq-0000000001", "/container", "/ttl"} {
		if stat := s.stat(p + node); stat.Czxid != reply.Zxid {
			t.Errorf("%s: czxid %#x, the multi's reply said %#x", node, stat.Czxid, reply.Zxid)
		}
	}
	if stat := s.stat(p + "/a"); stat.Mzxid != reply.Zxid || stat.Version != 1 || stat.NumChildren != 2 || stat.Cversion != 2 {
		t.Errorf("/a: %+v", stat)
	}
	s.fails(wire.OpExists, wire.WatchBody(p+"/old", false), wire.NoNode)
}

// A multi that fails: 0 before the operation that failed, its error, and
// RuntimeInconsistency after it; nothing of it happens.
func TestWireMultiFailure(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[1])
	p := root(t, s)
	before := s.stat(p)
	s.ok(wire.OpGetChildren, wire.WatchBody(p, true))
	for name, c := range map[string]struct {
		bad  wire.MultiOp
		code int32
	}{
		"create":    {create(p+"/no/way", wire.Persistent), wire.NoNode},
		"existing":  {create(p+"/a", wire.Persistent), wire.NodeExists},
		"delete":    {wire.MultiOp{Type: wire.OpDelete, Body: wire.VersionBody(p+"/a", 7)}, wire.BadVersion},
		"not empty": {wire.MultiOp{Type: wire.OpDelete, Body: wire.VersionBody(p, -1)}, wire.NotEmpty},
		"setData":   {wire.MultiOp{Type: wire.OpSetData, Body: wire.SetDataBody(p+"/no", nil, -1)}, wire.NoNode},
		"check":     {wire.MultiOp{Type: wire.OpCheck, Body: wire.VersionBody(p+"/a", 3)}, wire.BadVersion},
		"no check":  {wire.MultiOp{Type: wire.OpCheck, Body: wire.VersionBody(p+"/no", 3)}, wire.NoNode},
		"bad mode":  {create(p+"/b", 9), wire.BadArguments},
		"bad ACL":   {wire.MultiOp{Type: wire.OpCreate, Body: wire.CreateBody(p+"/b", nil, []wire.ACL{}, 0)}, wire.InvalidACL},
	} {
		_, got := s.multi(wire.OpMulti,
			create(p+"/a", wire.Persistent), create(p+"/a/b", wire.Ephemeral), c.bad, create(p+"/d", wire.Persistent), create(p+"/d/e", wire.Persistent))
		want := []int32{wire.OK, wire.OK, c.code, wire.RuntimeInconsistency, wire.RuntimeInconsistency}
		for i, w := range want {
			if got[i].Type != wire.OpError || got[i].Err != w {
				t.Errorf("%s: result %d is %+v, want an error result with code %d", name, i, got[i], w)
			}
		}
	}
	if after := s.stat(p); after != before {
		t.Errorf("failed multis changed the node from %+v to %+v", before, after)
	}
	// And the watch is still there: a failed multi raises no event.
	xid := s.send(wire.OpCreate, wire.CreateBody(p+"/a", nil, wire.OpenACL, 0))
	s.wantEvent(wire.EventChildrenChanged, p)
	s.wantReply(xid, wire.OK)
}

func TestWireMultiEmpty(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	s.multi(wire.OpMulti)
	s.multi(wire.OpMultiRead)
	s.stat("/")
}

// A multi may delete what it created, and create what it deleted.
func TestWireMultiSeesItself(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	p := root(t, s)
	s.create(p + "/old")
	_, got := s.multi(wire.OpMulti,
		create(p+"/tmp", wire.Persistent),
		wire.MultiOp{Type: wire.OpSetData, Body: wire.SetDataBody(p+"/tmp", []byte("1"), 0)},
		wire.MultiOp{Type: wire.OpSetData, Body: wire.SetDataBody(p+"/tmp", []byte("2"), 1)},
		wire.MultiOp{Type: wire.OpDelete, Body: wire.VersionBody(p+"/tmp", 2)},
		wire.MultiOp{Type: wire.OpDelete, Body: wire.VersionBody(p+"/old", 0)},
		create(p+"/old", wire.Ephemeral),
	)
	for i, r := range got {
		if r.Err != wire.OK || r.Type == wire.OpError {
			t.Errorf("result %d: %+v", i, r)
		}
	}
	s.fails(wire.OpExists, wire.WatchBody(p+"/tmp", false), wire.NoNode)
	if stat := s.stat(p + "/old"); stat.EphemeralOwner != s.resp.SessionID {
		t.Errorf("/old: %+v, want an ephemeral", stat)
	}
	if stat := s.stat(p); stat.NumChildren != 1 || stat.Cversion != 5 {
		t.Errorf("parent: %+v, want 1 child and cversion 5 (three creates, two deletes)", stat)
	}
}

// The results of a multiRead are independent of one another, and an error is a
// result of type -1.
func TestWireMultiRead(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[1])
	p := root(t, s)
	s.create(p + "/a")
	s.create(p + "/b")
	s.ok(wire.OpCreate, wire.CreateBody(p+"/secret", nil, []wire.ACL{{Perms: 31, Scheme: "digest", ID: "u:x"}}, 0))
	reply, got := s.multi(wire.OpMultiRead,
		wire.MultiOp{Type: wire.OpGetData, Body: wire.WatchBody(p+"/a", true)},
		wire.MultiOp{Type: wire.OpGetData, Body: wire.WatchBody(p+"/no", true)},
		wire.MultiOp{Type: wire.OpGetChildren, Body: wire.WatchBody(p, true)},
		wire.MultiOp{Type: wire.OpGetData, Body: wire.WatchBody(p+"/secret", false)},
		wire.MultiOp{Type: wire.OpGetChildren, Body: wire.WatchBody(p+"/no", false)},
		wire.MultiOp{Type: wire.OpGetData, Body: wire.WatchBody(p+"/b", false)},
	)
	codes := []int32{}
	for _, r := range got {
		if (r.Err != wire.OK) != (r.Type == wire.OpError) {
			t.Errorf("result %+v of %x", r, reply.Body)
		}
		codes = append(codes, r.Err)
	}
	if want := []int32{wire.OK, wire.NoNode, wire.OK, wire.NoAuth, wire.NoNode, wire.OK}; !slices.Equal(codes, want) {
		t.Errorf("codes %v, want %v", codes, want)
	}
	if string(got[0].Data) != "x" || got[0].Stat.DataLength != 1 {
		t.Errorf("getData: %+v", got[0])
	}
	slices.Sort(got[2].Children)
	if !slices.Equal(got[2].Children, []string{"a", "b", "secret"}) {
		t.Errorf("getChildren: %+v", got[2])
	}
	// No watch was left: the next frame is the reply, not an event.
	s.ok(wire.OpSetData, wire.SetDataBody(p+"/a", nil, -1))
	s.create(p + "/c")
}

// An operation of the wrong kind makes the whole request unreadable, which is
// said in the header; the connection lives on.
func TestWireMultiForeignOperation(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	p := root(t, s)
	read := wire.MultiOp{Type: wire.OpGetData, Body: wire.WatchBody(p, false)}
	exists := wire.MultiOp{Type: wire.OpExists, Body: wire.WatchBody(p, false)}
	for _, c := range []struct {
		op  int32
		ops []wire.MultiOp
	}{
		{wire.OpMulti, []wire.MultiOp{exists}},
		{wire.OpMulti, []wire.MultiOp{create(p+"/a", 0), read}},
		{wire.OpMultiRead, []wire.MultiOp{exists}},
		{wire.OpMultiRead, []wire.MultiOp{create(p+"/a", 0)}},
		{wire.OpMultiRead, []wire.MultiOp{read, create(p+"/a", 0)}},
	} {
		if reply := s.call(c.op, wire.MultiBody(c.ops...)); reply.Err != wire.MarshallingError {
			t.Errorf("operation %d: %+v, want error %d", c.op, reply, wire.MarshallingError)
		}
	}
	if stat := s.stat(p); stat.NumChildren != 0 {
		t.Errorf("%d nodes were created", stat.NumChildren)
	}
}
