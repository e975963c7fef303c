//go:build conformance

package conformance

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// failure is one request and the error code that it has to get.
type failure struct {
	name string
	op   int32
	body []byte
	code int32
}

func (s *session) wantFailures(cases []failure) {
	s.t.Helper()
	for _, c := range cases {
		reply, err := s.Call(c.op, c.body)
		if err != nil {
			s.t.Errorf("%s: %v, want error %d", c.name, err, c.code)
			// The connection is of no further use: go on with another one.
			fresh := openSession(s.t, s.RemoteAddr().String())
			s.Conn, s.resp = fresh.Conn, fresh.resp
			continue
		}
		if reply.Err != c.code || len(reply.Body) != 0 {
			s.t.Errorf("%s: error %d and body %x, want error %d and no body", c.name, reply.Err, reply.Body, c.code)
		}
	}
}

// What client libraries check before they send: the server has to check it too.
func TestWireCreateErrors(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	p := root(t, s)
	s.ok(wire.OpCreate, wire.CreateBody(p+"/eph", nil, wire.OpenACL, wire.Ephemeral))
	s.create(p + "/there")
	s.ok(wire.OpCreate, wire.CreateBody(p+"/closed", nil, []wire.ACL{{Perms: 1, Scheme: "world", ID: "anyone"}}, wire.Persistent))
	create := func(name, path string, acl []wire.ACL, flags, code int32) []failure {
		var out []failure
		for _, op := range []int32{wire.OpCreate, wire.OpCreate2} {
			out = append(out, failure{fmt.Sprintf("%s, operation %d", name, op), op, wire.CreateBody(path, nil, acl, flags), code})
		}
		return out
	}
	open := wire.OpenACL
	var cases []failure
	cases = append(cases, create("existing", p+"/there", open, wire.Persistent, wire.NodeExists)...)
	cases = append(cases, create("the root", "/", open, wire.Persistent, wire.NodeExists)...)
	cases = append(cases, create("no parent", p+"/no/way", open, wire.Persistent, wire.NoNode)...)
	cases = append(cases, create("below an ephemeral", p+"/eph/child", open, wire.Persistent, wire.NoChildrenForEphemerals)...)
	cases = append(cases, create("no right to create", p+"/closed/child", open, wire.Persistent, wire.NoAuth)...)
	cases = append(cases, create("nil ACL", p+"/a", nil, wire.Persistent, wire.InvalidACL)...)
	cases = append(cases, create("empty ACL", p+"/a", []wire.ACL{}, wire.Persistent, wire.InvalidACL)...)
	cases = append(cases, create("unknown scheme", p+"/a", []wire.ACL{{Perms: 31, Scheme: "nobody", ID: "x"}}, wire.Persistent, wire.InvalidACL)...)
	cases = append(cases, create("world with another id", p+"/a", []wire.ACL{{Perms: 31, Scheme: "world", ID: "someone"}}, wire.Persistent, wire.InvalidACL)...)
	cases = append(cases, create("digest without a colon", p+"/a", []wire.ACL{{Perms: 31, Scheme: "digest", ID: "x"}}, wire.Persistent, wire.InvalidACL)...)
	cases = append(cases, create("ip that is none", p+"/a", []wire.ACL{{Perms: 31, Scheme: "ip", ID: "localhost"}}, wire.Persistent, wire.InvalidACL)...)
	cases = append(cases, create("auth of nobody", p+"/a", []wire.ACL{{Perms: 31, Scheme: "auth", ID: ""}}, wire.Persistent, wire.InvalidACL)...)
	cases = append(cases, create("relative path", "a", open, wire.Persistent, wire.BadArguments)...)
	cases = append(cases, create("empty path", "", open, wire.Persistent, wire.BadArguments)...)
	cases = append(cases, create("trailing slash", p+"/there/", open, wire.Persistent, wire.BadArguments)...)
	cases = append(cases, create("trailing slash, no parent", p+"/a/", open, wire.Persistent, wire.NoNode)...)
	cases = append(cases, create("two slashes", p+"//a", open, wire.Persistent, wire.NoNode)...)
	cases = append(cases, create("dot", p+"/./a", open, wire.Persistent, wire.NoNode)...)
	cases = append(cases, create("last component a dot", p+"/.", open, wire.Persistent, wire.BadArguments)...)
	cases = append(cases, create("dot dot", p+"/../a", open, wire.Persistent, wire.NoNode)...)
	cases = append(cases, create("NUL", p+"/a\x00b", open, wire.Persistent, wire.BadArguments)...)
	cases = append(cases, create("control character", p+"/a\x07b", open, wire.Persistent, wire.BadArguments)...)
	cases = append(cases, create("C1 control character", p+"/a\u0085b", open, wire.Persistent, wire.BadArguments)...)
	cases = append(cases, create("private use", p+"/a\ue000b", open, wire.Persistent, wire.BadArguments)...)
	cases = append(cases, create("specials", p+"/a\ufff0b", open, wire.Persistent, wire.BadArguments)...)
	cases = append(cases, create("unknown mode", p+"/a", open, 7, wire.BadArguments)...)
	cases = append(cases, create("negative mode", p+"/a", open, -1, wire.BadArguments)...)
	s.wantFailures(cases)

	// None of them left anything behind.
	if kids := s.ok(wire.OpGetChildren, wire.WatchBody(p, false)).Strings(); len(kids) != 3 {
		t.Errorf("children after failures: %q", kids)
	}
}

func TestWireTTLErrors(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	p := root(t, s)
	var cases []failure
	for _, mode := range []int32{wire.PersistentTTL, wire.PersistentSeqTTL} {
		for _, ttl := range []int64{0, -1, 1 << 40, 1<<63 - 1} {
			cases = append(cases, failure{fmt.Sprintf("mode %d, TTL %d", mode, ttl), wire.OpCreateTTL, wire.CreateTTLBody(p+"/a", nil, wire.OpenACL, mode, ttl), wire.BadArguments})
		}
	}
	s.wantFailures(cases)
	r := s.ok(wire.OpCreateTTL, wire.CreateTTLBody(p+"/longest", []byte("x"), wire.OpenACL, wire.PersistentTTL, 1<<40-1))
	if path, stat := r.String(), r.Stat(); r.Done() != nil || path != p+"/longest" || stat.EphemeralOwner != 0 {
		t.Errorf("the longest TTL: %s, %+v, %v", path, stat, r.Done())
	}
}

func TestWireErrors(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[1])
	p := root(t, s)
	s.create(p + "/there")
	s.create(p + "/there/child")
	w := wire.WatchBody
	s.wantFailures([]failure{
		{"delete the root", wire.OpDelete, wire.VersionBody("/", -1), wire.BadArguments},
		{"delete /zookeeper", wire.OpDelete, wire.VersionBody("/zookeeper", -1), wire.BadArguments},
		{"delete /zookeeper/quota", wire.OpDelete, wire.VersionBody("/zookeeper/quota", -1), wire.BadArguments},
		{"delete /zookeeper/config", wire.OpDelete, wire.VersionBody("/zookeeper/config", -1), wire.BadArguments},
		{"delete, not there", wire.OpDelete, wire.VersionBody(p+"/no", -1), wire.NoNode},
		{"delete, no parent", wire.OpDelete, wire.VersionBody(p+"/no/no", -1), wire.NoNode},
		{"delete, version before children", wire.OpDelete, wire.VersionBody(p+"/there", 9), wire.BadVersion},
		{"delete, not empty", wire.OpDelete, wire.VersionBody(p+"/there", 0), wire.NotEmpty},
		{"exists, not there", wire.OpExists, w(p+"/no", false), wire.NoNode},
		{"getData, not there", wire.OpGetData, w(p+"/no", false), wire.NoNode},
		{"getChildren, not there", wire.OpGetChildren, w(p+"/no", false), wire.NoNode},
		{"getChildren2, not there", wire.OpGetChildren2, w(p+"/no", false), wire.NoNode},
		{"getAllChildrenNumber, not there", wire.OpGetAllChildrenNumber, wire.PathBody(p + "/no"), wire.NoNode},
		{"getACL, not there", wire.OpGetACL, wire.PathBody(p + "/no"), wire.NoNode},
		{"setData, not there", wire.OpSetData, wire.SetDataBody(p+"/no", nil, -1), wire.NoNode},
		{"setData, version", wire.OpSetData, wire.SetDataBody(p+"/there", nil, 9), wire.BadVersion},
		{"setData, negative version", wire.OpSetData, wire.SetDataBody(p+"/there", nil, -2), wire.BadVersion},
		{"setACL, not there", wire.OpSetACL, wire.SetACLBody(p+"/no", wire.OpenACL, -1), wire.NoNode},
		{"setACL, version", wire.OpSetACL, wire.SetACLBody(p+"/there", wire.OpenACL, 9), wire.BadVersion},
		{"setACL, empty", wire.OpSetACL, wire.SetACLBody(p+"/there", []wire.ACL{}, -1), wire.InvalidACL},
		{"setACL, bad scheme before version", wire.OpSetACL, wire.SetACLBody(p+"/there", []wire.ACL{{Perms: 1, Scheme: "x", ID: "y"}}, 9), wire.InvalidACL},
		{"checkWatches, none", wire.OpCheckWatches, wire.PathIntBody(p+"/there", 3), wire.NoWatcher},
		{"removeWatches, none", wire.OpRemoveWatches, wire.PathIntBody(p+"/there", 2), wire.NoWatcher},
		{"addWatch, unknown mode", wire.OpAddWatch, wire.PathIntBody(p+"/there", 2), wire.MarshallingError},
		{"deleteContainer by a client", wire.OpDeleteContainer, wire.PathBody(p + "/there"), wire.BadArguments},
		{"reconfig", wire.OpReconfig, new(wire.Writer).Buffer(nil).String("3").Buffer(nil).Long(-1).Bytes(), wire.ReconfigDisabled},
		{"exists, relative path", wire.OpExists, w("a", false), wire.NoNode},
		{"getData, trailing slash", wire.OpGetData, w(p+"/", false), wire.NoNode},
		{"setData, trailing slash", wire.OpSetData, wire.SetDataBody(p+"/there/", nil, -1), wire.BadArguments},
		{"delete, trailing slash", wire.OpDelete, wire.VersionBody(p+"/there/", -1), wire.NoNode},
		{"delete, relative path", wire.OpDelete, wire.VersionBody("there", -1), wire.BadArguments},
		{"delete, empty path", wire.OpDelete, wire.VersionBody("", -1), wire.BadArguments},
		{"setData /zookeeper/config", wire.OpSetData, wire.SetDataBody("/zookeeper/config", nil, -1), wire.NoAuth},
		{"create /zookeeper/config/x", wire.OpCreate, wire.CreateBody("/zookeeper/config/x", nil, wire.OpenACL, 0), wire.NoAuth},
		{"truncated body", wire.OpGetData, []byte{0, 0, 0, 9, 'a'}, wire.MarshallingError},
	})
}

// An operation that does not exist is answered with an error, and then the
// connection is closed. The session is not.
func TestWireUnknownOperations(t *testing.T) {
	e := sharedEnsemble(t)
	for _, op := range []int32{-5, 0, 10, 23, 99, 108, 1000} {
		s := openSession(t, e.Addrs()[0])
		reply, err := s.Call(op, wire.PathBody("/"))
		if err != nil || reply.Err != wire.Unimplemented || len(reply.Body) != 0 {
			t.Errorf("operation %d: %+v, %v; want error %d", op, reply, err, wire.Unimplemented)
		}
		wantClosed(t, s.Conn)
		s.reattach(e.Addrs()[1]).end()
	}
}

// Operations that only members may ask for, and a check that stands alone. What
// ZooKeeper 3.8 does with these nobody should imitate: a check outside a multi
// is proposed, cannot be read by the followers, and takes the ensemble down.
func TestWireInternalOperationsHarmNobody(t *testing.T) {
	conclaveOnly(t)
	e := sharedEnsemble(t)
	other := openSession(t, e.Addrs()[1])
	for name, frame := range map[string][]byte{
		"check":             wire.Request(1, wire.OpCheck, wire.VersionBody("/", 0)),
		"createSession":     wire.Request(1, wire.OpCreateSession, new(wire.Writer).Int(1000).Bytes()),
		"deleteContainer":   wire.Request(1, wire.OpDeleteContainer, wire.PathBody("/zookeeper")),
		"error transaction": wire.Request(1, wire.OpError, new(wire.Writer).Int(-1).Bytes()),
	} {
		s := openSession(t, e.Addrs()[0])
		if err := s.SendFrame(frame); err != nil {
			t.Fatal(err)
		}
		if reply, err := s.Recv(); err == nil && reply.Err == wire.OK || err != nil && !closedByPeer(err) {
			t.Errorf("%s: %+v, %v; want an error or the connection closed", name, reply, err)
		}
		other.stat("/")
		other.catchUp()
		openSession(t, e.Addrs()[2]).stat("/")
	}
}

// The replies that succeed, down to their last byte.
func TestWireReplyShapes(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[2])
	p := root(t, s)
	done := func(what string, r *wire.Reader) {
		t.Helper()
		if err := r.Done(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	same := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", what, got, want)
		}
	}

	reply := s.call(wire.OpCreate2, wire.CreateBody(p+"/a", []byte("data"), wire.OpenACL, wire.Persistent))
	r := wire.NewReader(reply.Body)
	same("create2 path", r.String(), p+"/a")
	stat := r.Stat()
	done("create2", r)
	same("create2 stat", stat, wire.Stat{
		Czxid: reply.Zxid, Mzxid: reply.Zxid, Pzxid: reply.Zxid,
		Ctime: stat.Ctime, Mtime: stat.Ctime, DataLength: 4,
	})
	if now := time.Now().UnixMilli(); stat.Ctime < now-3600_000 || stat.Ctime > now+3600_000 {
		t.Errorf("ctime %d is not in milliseconds of now, %d", stat.Ctime, now)
	}

	r = s.ok(wire.OpCreateContainer, wire.CreateBody(p+"/container", nil, wire.OpenACL, wire.Container))
	same("createContainer path", r.String(), p+"/container")
	same("createContainer owner", r.Stat().EphemeralOwner, int64(0))
	done("createContainer", r)

	r = s.ok(wire.OpCreate2, wire.CreateBody(p+"/eph", nil, wire.OpenACL, wire.Ephemeral))
	same("ephemeral path", r.String(), p+"/eph")
	same("ephemeral owner", r.Stat().EphemeralOwner, s.resp.SessionID)
	done("create2 of an ephemeral", r)

	r = s.ok(wire.OpCreate, wire.CreateBody(p+"/seq-", nil, wire.OpenACL, wire.PersistentSequential))
	same("sequential path", r.String(), p+"/seq-0000000003")
	done("create of a sequential", r)

	reply = s.call(wire.OpSetData, wire.SetDataBody(p+"/a", []byte("longer data"), 0))
	r = wire.NewReader(reply.Body)
	set := r.Stat()
	done("setData", r)
	want := stat
	want.Version, want.DataLength, want.Mzxid, want.Mtime = 1, 11, reply.Zxid, set.Mtime
	same("setData", set, want)

	r = s.ok(wire.OpGetData, wire.WatchBody(p+"/a", false))
	same("getData", string(r.Buffer()), "longer data")
	same("getData stat", r.Stat(), want)
	done("getData", r)

	r = s.ok(wire.OpSetACL, wire.SetACLBody(p+"/a", []wire.ACL{{Perms: 31, Scheme: "ip", ID: "127.0.0.0/8"}}, 0))
	want.Aversion = 1
	same("setACL", r.Stat(), want)
	done("setACL", r)

	r = s.ok(wire.OpGetACL, wire.PathBody(p+"/a"))
	same("getACL", r.ACLs(), []wire.ACL{{Perms: 31, Scheme: "ip", ID: "127.0.0.0/8"}})
	same("getACL stat", r.Stat(), want)
	done("getACL", r)

	r = s.ok(wire.OpExists, wire.WatchBody(p+"/a", false))
	same("exists", r.Stat(), want)
	done("exists", r)

	r = s.ok(wire.OpGetChildren, wire.WatchBody(p, false))
	kids := r.Strings()
	slices.Sort(kids)
	same("getChildren", kids, []string{"a", "container", "eph", "seq-0000000003"})
	done("getChildren", r)

	r = s.ok(wire.OpGetChildren2, wire.WatchBody(p, false))
	kids = r.Strings()
	slices.Sort(kids)
	same("getChildren2", kids, []string{"a", "container", "eph", "seq-0000000003"})
	parent := r.Stat()
	same("getChildren2 stat", [2]int32{parent.NumChildren, parent.Cversion}, [2]int32{4, 4})
	done("getChildren2", r)

	r = s.ok(wire.OpGetAllChildrenNumber, wire.PathBody(p))
	same("getAllChildrenNumber", r.Int(), int32(4))
	done("getAllChildrenNumber", r)

	r = s.ok(wire.OpGetEphemerals, wire.PathBody(p))
	same("getEphemerals", r.Strings(), []string{p + "/eph"})
	done("getEphemerals", r)

	r = s.ok(wire.OpSync, wire.PathBody(p+"/not-there"))
	same("sync", r.String(), p+"/not-there")
	done("sync", r)

	// The four bytes of an ErrorResponse: without them Java's client cannot read
	// the reply.
	r = s.ok(wire.OpAddWatch, wire.PathIntBody(p, 0))
	same("addWatch", r.Int(), int32(0))
	done("addWatch", r)
	done("checkWatches", s.ok(wire.OpCheckWatches, wire.PathIntBody(p, 3)))
	done("removeWatches", s.ok(wire.OpRemoveWatches, wire.PathIntBody(p, 3)))

	r = s.ok(wire.OpWhoAmI, nil)
	same("whoAmI", [3]any{r.Int(), r.String(), r.String()}, [3]any{int32(1), "ip", "127.0.0.1"})
	done("whoAmI", r)

	reply = s.call(wire.OpDelete, wire.VersionBody(p+"/a", 1))
	same("delete", [2]any{reply.Err, len(reply.Body)}, [2]any{wire.OK, 0})
	parent = s.stat(p)
	same("the parent after a delete", [3]int64{int64(parent.NumChildren), int64(parent.Cversion), parent.Pzxid}, [3]int64{3, 5, reply.Zxid})

	s.sendXid(wire.XidPing, wire.OpPing, nil)
	same("ping", len(s.wantReply(wire.XidPing, wire.OK).Body), 0)
	s.sendXid(wire.XidAuth, wire.OpAuth, wire.AuthBody("digest", []byte("user:password")))
	reply = s.wantReply(wire.XidAuth, wire.OK)
	same("auth", len(reply.Body), 0)
	r = s.ok(wire.OpWhoAmI, nil)
	ids := map[string]string{}
	for range r.Int() {
		scheme := r.String()
		ids[scheme] = r.String()
	}
	same("whoAmI after auth", ids, map[string]string{"ip": "127.0.0.1", "digest": "user"})
	done("whoAmI after auth", r)
}

// A failed authentication is answered, and then the connection is closed.
func TestWireFailedAuth(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	s.sendXid(wire.XidAuth, wire.OpAuth, wire.AuthBody("no-such-scheme", []byte("x")))
	if reply := s.wantReply(wire.XidAuth, wire.AuthFailed); len(reply.Body) != 0 {
		t.Errorf("got %+v, want no body", reply)
	}
	wantClosed(t, s.Conn)
}

// A reply's zxid never goes back, and a write's is the transaction's own; a
// failed write takes one too.
func TestWireReplyZxids(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	p := root(t, s)
	first := s.call(wire.OpCreate, wire.CreateBody(p+"/a", nil, wire.OpenACL, 0))
	failed := s.fails(wire.OpCreate, wire.CreateBody(p+"/a", nil, wire.OpenACL, 0), wire.NodeExists)
	second := s.call(wire.OpCreate, wire.CreateBody(p+"/b", nil, wire.OpenACL, 0))
	if !(first.Zxid < failed.Zxid && failed.Zxid < second.Zxid) {
		t.Errorf("zxids %#x, %#x, %#x of a write, a failed write and a write do not increase", first.Zxid, failed.Zxid, second.Zxid)
	}
	if stat := s.stat(p + "/a"); stat.Czxid != first.Zxid {
		t.Errorf("czxid %#x, the create's reply said %#x", stat.Czxid, first.Zxid)
	}
	if read := s.call(wire.OpExists, wire.WatchBody(p, false)); read.Zxid < second.Zxid {
		t.Errorf("a read's reply has zxid %#x, the write before it %#x", read.Zxid, second.Zxid)
	}
}
