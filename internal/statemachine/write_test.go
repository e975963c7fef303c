package statemachine

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/tree"
)

// All but the last line was seen on a genuine ZooKeeper 3.8 as well; that one
// is refused by later ones, whose quotas it would break.
func TestPaths(t *testing.T) {
	const (
		bad    = jute.ErrBadArguments
		gone   = jute.ErrNoNode
		noAuth = jute.ErrNoAuth
	)
	for _, test := range []struct {
		path                        string
		create, delete, set, setACL jute.ErrCode
	}{
		{"", bad, bad, bad, bad},
		{"relative", bad, bad, bad, bad},
		{"a/b", gone, gone, bad, bad},
		{"/", jute.ErrNodeExists, bad, jute.OK, jute.OK},
		{"//", bad, gone, bad, bad},
		{"//x", bad, gone, bad, bad},
		{"/a//x", gone, gone, bad, bad},
		{"/a/", bad, gone, bad, bad},
		{"/gone/", gone, gone, bad, bad},
		{"/a/.", bad, gone, bad, bad},
		{"/a/..", bad, gone, bad, bad},
		{"/a/./x", gone, gone, bad, bad},
		{"/./x", gone, gone, bad, bad},
		{"/../x", gone, gone, bad, bad},
		{"/a/...", jute.OK, jute.OK, gone, gone},
		{"/a\x00b", bad, bad, bad, bad},
		{"/a/b\x00", bad, bad, bad, bad},
		{"/a/\x01", bad, gone, bad, bad},
		{"/a/\x7f", bad, gone, bad, bad},
		{"/a/\u0085", bad, gone, bad, bad},
		{"/a/\ue000", bad, gone, bad, bad},
		{"/a/\ufff0", bad, gone, bad, bad},
		{"/a/\U0001f600", bad, gone, bad, bad},
		{"/a/\xff", bad, gone, bad, bad},
		{"/a/ü b", jute.OK, jute.OK, gone, gone},
		{"/gone/x", gone, gone, gone, gone},
		{"/zookeeper", jute.ErrNodeExists, bad, jute.OK, jute.OK},
		{"/zookeeper/quota", jute.ErrNodeExists, bad, jute.OK, jute.OK},
		{"/zookeeper/config", jute.ErrNodeExists, bad, noAuth, noAuth},
		{"/zookeeper/", bad, gone, bad, bad},
		{"/zookeeper/x", jute.OK, jute.OK, gone, gone},
		{"/zookeeper/config/x", noAuth, noAuth, gone, gone},
		{"/zookeeper/quota/zookeeper_limits", bad, gone, gone, gone},
	} {
		b := newBox(t)
		c := b.open(1)
		c.create("/a", "")
		what := func(op string) string { return fmt.Sprintf("%s %q", op, test.path) }
		r := c.do(jute.OpCreate, createBody(test.path, "", open, jute.ModePersistent))
		b.wantErr(what("create"), r, test.create)
		if r.Err == jute.OK && r.Path != test.path {
			t.Errorf("create %q made %q", test.path, r.Path)
		}
		b.wantErr(what("delete"), c.do(jute.OpDelete, versionBody(test.path, -1)), test.delete)
		b.wantErr(what("setData"), c.do(jute.OpSetData, setBody(test.path, "", -1)), test.set)
		b.wantErr(what("setACL"), c.do(jute.OpSetACL, aclBody(test.path, open, -1)), test.setACL)
	}
}

// ZooKeeper looks at the parent's ACL before it finds that there is no such
// path, and the parent of "//x" is the root.
func TestDeleteOfDoubleSlashAsksTheRoot(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	c.setACL("/", closed(jute.PermDelete)...)
	b.wantErr("delete //x", c.do(jute.OpDelete, versionBody("//x", -1)), jute.ErrNoAuth)
}

func TestStats(t *testing.T) {
	b := newBox(t)
	c := b.open(0x77)
	var s jute.Stat
	step := func(what string, got jute.Stat) {
		t.Helper()
		if got != s {
			t.Errorf("%s:\n got %+v\nwant %+v", what, got, s)
		}
	}

	b.time = 1000
	first := c.must(jute.OpCreate2, createBody("/a", "data", open, jute.ModePersistent))
	z := first.Zxid
	s = jute.Stat{Czxid: z, Mzxid: z, Pzxid: z, Ctime: testTime, Mtime: testTime, DataLength: 4}
	step("create, by a clock that has fallen back", first.Stat)

	b.time = testTime + 5
	r := c.set("/a", "longer data")
	s.Mzxid, s.Mtime, s.Version, s.DataLength = z+1, testTime+5, 1, 11
	step("setData", r.Stat)

	b.time = testTime + 9
	r = c.setACL("/a", open...)
	s.Aversion = 1
	step("setACL moves nothing but aversion", r.Stat)

	c.create("/a/b", "")
	s.Pzxid, s.Cversion, s.NumChildren = z+3, 1, 1
	step("a child's create", b.stat("/a"))
	c.create("/a/c", "")
	s.Pzxid, s.Cversion, s.NumChildren = z+4, 2, 2
	step("another", b.stat("/a"))
	c.set("/a/b", "new")
	c.setACL("/a/b", open...)
	step("a child's setData and setACL", b.stat("/a"))
	c.create("/a/b/deeper", "")
	step("a grandchild", b.stat("/a"))
	c.delete("/a/b/deeper")
	step("a grandchild's delete", b.stat("/a"))
	c.delete("/a/b")
	s.Pzxid, s.Cversion, s.NumChildren = b.Zxid(), 3, 1
	step("a child's delete", b.stat("/a"))
	c.delete("/a/c")
	s.Pzxid, s.Cversion, s.NumChildren = b.Zxid(), 4, 0
	step("the last child's delete", b.stat("/a"))
	c.do(jute.OpCreate, createBody("/a/.", "", open, 0))
	c.do(jute.OpDelete, versionBody("/a/gone", -1))
	c.do(jute.OpSetData, setBody("/a", "", 7))
	step("failures", b.stat("/a"))

	r = c.ephemeral("/a/e")
	if got := b.stat("/a/e"); got.EphemeralOwner != 0x77 || got != r.Stat {
		t.Errorf("ephemeral: %+v, and in the reply %+v", got, r.Stat)
	}
	for _, made := range []Result{
		c.must(jute.OpCreateContainer, createBody("/a/k", "", open, jute.ModeContainer)),
		c.must(jute.OpCreateTTL, ttlBody("/a/t", open, jute.ModeTTL, 1<<33)),
	} {
		if made.Stat.EphemeralOwner != 0 || made.Stat != b.stat(made.Path) {
			t.Errorf("%s: %+v", made.Path, made.Stat)
		}
	}
	null := jute.CreateRequest{Path: "/null", ACL: open}
	c.must(jute.OpCreate, null.Append(nil, jute.OpCreate))
	if b.stat("/null").DataLength != 0 || b.Tree().Data(b.node("/null")) != nil || b.Tree().Data(b.node("/a/e")) == nil {
		t.Error("null data and empty data are not told apart")
	}
}

// counter returns a counter of a node, for setting it to where no test can
// count.
func counter(t *tree.Tree, id tree.NodeID, name string) *int32 {
	chunks := reflect.ValueOf(t).Elem().FieldByName("nodes").FieldByName("chunks")
	per := chunks.Type().Elem().Elem().Len()
	node := chunks.Index(int(id) / per).Elem().Index(int(id) % per)
	return (*int32)(unsafe.Pointer(node.FieldByName(name).UnsafeAddr()))
}

func TestSequentialNames(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	c.create("/q", "")
	seq := func(path string, mode jute.CreateMode, want string) {
		t.Helper()
		r := c.must(jute.OpCreate, createBody(path, "", open, mode))
		if r.Path != want || !b.exists(want) {
			t.Errorf("%q became %q, want %q", path, r.Path, want)
		}
		if len(b.said.events) != 1 || b.said.events[0].Path != want {
			t.Errorf("%q: events %v", path, b.said.paths())
		}
	}
	seq("/q/n-", jute.ModePersistentSequential, "/q/n-0000000000")
	c.create("/q/any", "")
	seq("/q/n-", jute.ModeEphemeralSequential, "/q/n-0000000002")
	c.delete("/q/any")
	seq("/q/n-", jute.ModePersistentSequential, "/q/n-0000000003")
	c.do(jute.OpCreate, createBody("/q/n-0000000003", "", open, 0))
	seq("/q/", jute.ModePersistentSequential, "/q/0000000004")
	seq("/q/.", jute.ModePersistentSequential, "/q/.0000000005")
	b.wantErr("a name that no number mends", c.do(jute.OpCreate, createBody("/q/a\x01", "", open, 2)), jute.ErrBadArguments)
	c.create("/q/x0000000007", "")
	b.wantErr("a name that is taken", c.do(jute.OpCreate, createBody("/q/x", "", open, 2)), jute.ErrNodeExists)
	seq("/", jute.ModePersistentSequential, "/0000000001")
	ttl := c.must(jute.OpCreateTTL, ttlBody("/q/t", open, jute.ModeTTLSequential, 5))
	if ttl.Path != "/q/t0000000007" || b.Tree().TTL(b.node(ttl.Path)) != 5 {
		t.Errorf("TTL: %q", ttl.Path)
	}

	// The counter goes below zero behind 2147483647, as ZooKeeper documents.
	creates := counter(b.Tree(), b.node("/q"), "creates")
	for _, step := range []struct {
		at   int32
		name string
	}{{999999999, "0999999999"}, {1000000000, "1000000000"}, {2147483647, "2147483647"}, {-2147483648, "-2147483648"},
		{-2147483647, "-2147483647"}, {-1000000000, "-1000000000"}, {-999999999, "-999999999"}, {-10, "-000000010"}, {-1, "-000000001"}} {
		*creates = step.at
		seq("/q/s", jute.ModePersistentSequential, "/q/s"+step.name)
		if *creates != step.at+1 {
			t.Errorf("after %d: the counter is %d", step.at, *creates)
		}
	}
	*creates = 1<<31 - 1
	seq("/q/over", jute.ModePersistentSequential, "/q/over2147483647")
	seq("/q/over", jute.ModePersistentSequential, "/q/over-2147483648")
}

// The version of -1 means any in a request, so that no node ever has it
// (ZOOKEEPER-4743).
func TestVersionWraps(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	c.create("/a", "")
	version := counter(b.Tree(), b.node("/a"), "version")
	for _, step := range [][2]int32{{0, 1}, {1<<31 - 1, -1 << 31}, {-1 << 31, -1<<31 + 1}, {-3, -2}, {-2, 0}} {
		*version = step[0]
		r := c.must(jute.OpSetData, setBody("/a", "", step[0]))
		if r.Stat.Version != step[1] {
			t.Errorf("version %d was followed by %d, want %d", step[0], r.Stat.Version, step[1])
		}
	}
	*version = -2
	b.wantErr("a negative version that is not the node's", c.do(jute.OpSetData, setBody("/a", "", -3)), jute.ErrBadVersion)
	b.wantErr("delete of another version", c.do(jute.OpDelete, versionBody("/a", 0)), jute.ErrBadVersion)
	c.must(jute.OpDelete, versionBody("/a", -2))
}

// What each operation makes of each mode: seen on ZooKeeper 3.8.
func TestKindsAndModes(t *testing.T) {
	type want struct {
		kind tree.Kind
		path string // "" for BadArguments
	}
	persistent, ephemeral := want{tree.Persistent, "/k"}, want{tree.Ephemeral, "/k"}
	container, ttl, refused := want{tree.Container, "/k"}, want{tree.TTL, "/k"}, want{}
	seq := func(w want) want { return want{w.kind, "/k0000000000"} }
	plain := []want{persistent, ephemeral, seq(persistent), seq(ephemeral), persistent, refused, refused, refused}
	for _, test := range []struct {
		op    jute.OpCode
		modes []want // from mode 0
	}{
		{jute.OpCreate, plain},
		{jute.OpCreate2, plain},
		{jute.OpCreateContainer, []want{container, container, seq(container), seq(container), container, refused, refused, refused}},
		{jute.OpCreateTTL, []want{refused, refused, refused, refused, refused, ttl, seq(ttl), refused}},
	} {
		for mode := jute.CreateMode(-1); mode < 8; mode++ {
			w := refused
			if mode >= 0 {
				w = test.modes[mode]
			}
			b := newBox(t)
			c := b.open(9)
			r := jute.CreateRequest{Path: "/k", ACL: open, Mode: mode, TTL: 1000}
			got := c.do(test.op, r.Append(nil, test.op))
			what := fmt.Sprintf("%v with mode %d", test.op, mode)
			if w == refused {
				b.wantErr(what, got, jute.ErrBadArguments)
				continue
			}
			if got.Err != jute.OK || got.Path != w.path {
				t.Errorf("%s: %v %q, want %q", what, got.Err, got.Path, w.path)
				continue
			}
			id := b.node(got.Path)
			if b.Tree().Kind(id) != w.kind || (b.Tree().Owner(id) == 9) != (w.kind == tree.Ephemeral) || (b.Tree().TTL(id) == 1000) != (w.kind == tree.TTL) {
				t.Errorf("%s made a %v node of %d, TTL %d", what, b.Tree().Kind(id), b.Tree().Owner(id), b.Tree().TTL(id))
			}
		}
	}
}

func TestTTLBounds(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	for _, test := range []struct {
		ttl  int64
		want jute.ErrCode
	}{{1, jute.OK}, {MaxTTL, jute.OK}, {1<<40 - 1, jute.OK}, {0, jute.ErrBadArguments}, {-1, jute.ErrBadArguments},
		{1 << 40, jute.ErrBadArguments}, {1<<63 - 1, jute.ErrBadArguments}, {-1 << 63, jute.ErrBadArguments}} {
		r := c.do(jute.OpCreateTTL, ttlBody("/t", open, jute.ModeTTL, test.ttl))
		b.wantErr(fmt.Sprint("TTL ", test.ttl), r, test.want)
		if r.Err == jute.OK {
			c.delete("/t")
		}
	}
	c.flags &^= FlagExtendedTypes
	b.wantErr("TTL disabled", c.do(jute.OpCreateTTL, ttlBody("/t", open, jute.ModeTTL, 5)), jute.ErrUnimplemented)
	b.wantErr("a mode of TTL without one, disabled", c.do(jute.OpCreate, createBody("/t", "", open, jute.ModeTTL)), jute.ErrUnimplemented)
	c.must(jute.OpCreateContainer, createBody("/k", "", open, jute.ModeContainer))
}

func TestReaping(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	reap := func(path string, neverUsed int64, want bool) {
		t.Helper()
		zxid := b.Zxid()
		said := b.apply(AppendReap(nil, path, neverUsed))
		if gone := !b.exists(path); gone != want {
			t.Errorf("%s: gone %t, want %t", path, gone, want)
		}
		if !want {
			if b.Zxid() != zxid || len(said.lines) > 0 {
				t.Errorf("%s: a reap that is void takes a zxid, or says %s", path, said)
			}
			return
		}
		if b.Zxid() != zxid+1 || !slices.Equal(said.paths(), []string{"Deleted " + path}) {
			t.Errorf("%s: zxid %#x after %#x: %s", path, b.Zxid(), zxid, said)
		}
		if parent := b.stat("/"); parent.Pzxid != b.Zxid() {
			t.Errorf("%s: the parent's pzxid is %#x, want %#x", path, parent.Pzxid, b.Zxid())
		}
	}
	container := func() {
		c.must(jute.OpCreateContainer, createBody("/k", "", open, jute.ModeContainer))
	}
	container()
	reap("/k", 0, false) // never used
	c.create("/k/child", "")
	reap("/k", 0, false) // in use
	c.delete("/k/child")
	reap("/k", 0, true)
	container()
	b.time += 100
	reap("/k", 100, false)
	b.time++
	reap("/k", 100, true)

	c.must(jute.OpCreateTTL, ttlBody("/t", open, jute.ModeTTL, 50))
	b.time += 50
	reap("/t", 0, false) // not yet longer than it
	c.set("/t", "")
	b.time += 50
	reap("/t", 0, false)
	c.create("/t/child", "")
	b.time += 1000
	reap("/t", 0, false)
	c.delete("/t/child")
	reap("/t", 0, true)

	c.create("/plain", "")
	c.ephemeral("/eph")
	b.time += 1 << 41
	reap("/plain", 1, false)
	reap("/eph", 1, false)
	b.apply(AppendReap(nil, "/gone", 1))
	if err := b.Apply(b.index+1, 1, append(AppendHeader(nil, 0), AppendReap(nil, "/a/", 1)...), &b.said); err == nil || !strings.Contains(err.Error(), `"/a/"`) {
		t.Errorf("a reap of no path: %v", err)
	}
}
