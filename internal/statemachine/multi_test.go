package statemachine

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/tree"
)

func create(path, data string) part { return part{jute.OpCreate, createBody(path, data, open, 0)} }
func with(mode jute.CreateMode, path string) part {
	return part{jute.OpCreate, createBody(path, "", open, mode)}
}
func set(path, data string) part      { return part{jute.OpSetData, setBody(path, data, -1)} }
func del(path string) part            { return part{jute.OpDelete, versionBody(path, -1)} }
func check(path string, v int32) part { return part{jute.OpCheck, versionBody(path, v)} }

// multi runs one, which has to be readable.
func (c *client) multi(parts ...part) Result {
	c.Helper()
	r := c.must(jute.OpMulti, multiBody(parts...))
	if len(r.Parts) != len(parts) {
		c.Fatalf("%d results of %d operations: %+v", len(r.Parts), len(parts), r.Parts)
	}
	return r
}

// failing runs a multi whose operation at fails, and holds it to having done
// nothing.
func (c *client) failing(at int, want jute.ErrCode, parts ...part) {
	c.Helper()
	var before, after state
	before.of(c.box)
	r := c.multi(parts...)
	after.of(c.box)
	for i, p := range r.Parts {
		code := jute.OK
		if i == at {
			code = want
		} else if i > at {
			code = jute.ErrRuntimeInconsistency
		}
		if p != (Part{Op: jute.OpError, Err: code}) {
			c.Errorf("part %d: %+v, want %v", i, p, code)
		}
	}
	if len(c.said.lines) != 1 {
		c.Errorf("it raised events: %s", &c.said)
	}
	before.same(c, after)
	if err := c.Tree().Check(); err != nil {
		c.Error(err)
	}
}

// state is what a failed multi leaves alone.
type state struct {
	digest                              uint64
	nodes, ephemerals, containers, ttls int
	size                                int64
	quotas                              map[string]struct{}
	ids                                 map[string]tree.NodeID
	sessions, expired, closed           int64
}

func (s *state) of(b *box) {
	t := b.Tree()
	s.digest, s.nodes, s.size = t.Digest(), t.NodeCount(), t.DataSize()
	s.ephemerals, s.containers, s.ttls = t.EphemeralCount(), t.ContainerCount(), t.TTLCount()
	s.quotas = maps.Clone(b.quotaRoots)
	s.closed, s.expired = b.Ended()
	s.sessions = int64(b.Sessions().Len())
	s.ids = map[string]tree.NodeID{}
	var walk func(id tree.NodeID)
	walk = func(id tree.NodeID) {
		s.ids[t.Path(id)] = id
		for child := range t.Children(id) {
			walk(child)
		}
	}
	walk(tree.Root)
}

func (s *state) same(c *client, o state) {
	c.Helper()
	if s.digest != o.digest || s.nodes != o.nodes || s.size != o.size || s.ephemerals != o.ephemerals || s.containers != o.containers ||
		s.ttls != o.ttls || s.closed != o.closed || s.expired != o.expired || s.sessions != o.sessions {
		c.Errorf("the state was %+v, and is %+v", *s, o)
	}
	if !maps.Equal(s.quotas, o.quotas) || !maps.Equal(s.ids, o.ids) {
		c.Errorf("quotas were %v, and are %v; nodes were %v, and are %v", s.quotas, o.quotas, s.ids, o.ids)
	}
}

func TestMultiSucceeds(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	zxid := b.Zxid()
	r := c.multi(
		create("/a", "1"),
		part{jute.OpCreate2, createBody("/a/b", "22", open, jute.ModePersistentSequential)},
		part{jute.OpCreateContainer, createBody("/k", "", open, jute.ModeContainer)},
		part{jute.OpCreateTTL, ttlBody("/t", open, jute.ModeTTL, 77)},
		with(jute.ModeEphemeral, "/e"),
		set("/a", "333"),
		check("/a", 1),
		set("/a", "4444"),
		del("/e"),
		with(jute.ModeEphemeral, "/e"),
	)
	if b.Zxid() != zxid+1 || r.Zxid != zxid+1 {
		t.Errorf("zxid %#x, and %#x in the reply, after %#x", b.Zxid(), r.Zxid, zxid)
	}
	want := []Part{
		{Op: jute.OpCreate, Path: "/a"}, {Op: jute.OpCreate, Path: "/a/b0000000000"}, {Op: jute.OpCreateContainer, Path: "/k"},
		{Op: jute.OpCreateTTL, Path: "/t"}, {Op: jute.OpCreate, Path: "/e"}, {Op: jute.OpSetData}, {Op: jute.OpCheck}, {Op: jute.OpSetData},
		{Op: jute.OpDelete}, {Op: jute.OpCreate, Path: "/e"},
	}
	for i, p := range r.Parts {
		got := p
		got.Stat = jute.Stat{}
		if got != want[i] {
			t.Errorf("part %d: %+v, want %+v", i, got, want[i])
		}
		if p.Stat != (jute.Stat{}) && (p.Stat.Mzxid != zxid+1 || p.Stat.Mtime != testTime) {
			t.Errorf("part %d: %+v", i, p.Stat)
		}
	}
	// A part's Stat is as of that part.
	if v := r.Parts[5].Stat; v.Version != 1 || v.DataLength != 3 || v.Cversion != 1 || v.NumChildren != 1 {
		t.Errorf("%+v", v)
	}
	if v := r.Parts[7].Stat; v.Version != 2 || v.DataLength != 4 {
		t.Errorf("%+v", v)
	}
	events := []string{"Created /a", "Created /a/b0000000000", "Created /k", "Created /t", "Created /e", "DataChanged /a", "DataChanged /a", "Deleted /e", "Created /e"}
	if !slices.Equal(b.said.paths(), events) {
		t.Errorf("events %v, want %v", b.said.paths(), events)
	}
	for _, e := range b.said.events {
		if e.Zxid != zxid+1 {
			t.Errorf("%+v", e)
		}
	}
	if s := b.stat("/"); s.Cversion != 5 || s.NumChildren != 5 || s.Pzxid != zxid+1 {
		t.Errorf("the root: %+v", s)
	}
	if b.data("/a") != "4444" || b.Tree().Owner(b.node("/e")) != 1 {
		t.Error("the last did not stay")
	}
}

func TestEmptyMulti(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	zxid := b.Zxid()
	r := c.multi()
	if r.Zxid != zxid+1 || b.Zxid() != zxid+1 || len(r.Parts) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestMultiFails(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	c.auth("digest", "me:x")
	other := b.open(2)
	c.create("/a", "data")
	c.create("/a/b", "")
	c.create("/closed", "")
	c.setACL("/closed", closed(31)...)
	c.ephemeral("/e")
	other.ephemeral("/other")
	c.must(jute.OpCreateContainer, createBody("/k", "", open, jute.ModeContainer))
	c.must(jute.OpCreateTTL, ttlBody("/t", open, jute.ModeTTL, 5))
	c.create("/q", "12")
	c.create("/q/in", "34")
	c.quota("/q", "countHardLimit=4,byteHardLimit=10")
	c.quota("/a", "")
	const exists, gone, version = jute.ErrNodeExists, jute.ErrNoNode, jute.ErrBadVersion
	everyKind := []part{create("/new", "x"), part{jute.OpCreateContainer, createBody("/new/k", "", open, 4)}, part{jute.OpCreateTTL, ttlBody("/new/t", open, 5, 9)},
		with(1, "/new/e"), with(3, "/new/s"), set("/new", "longer than it was"), set("/a", ""), del("/e"), del("/t"), del("/k"), del("/other"), del("/a/b"), create("/a/b", "again")}

	c.failing(0, exists, create("/a", ""))
	c.failing(0, gone, set("/gone", ""), create("/x", ""))
	c.failing(0, gone, set("/gone", ""), del("/a"), create("/a", ""), del("/gone"))
	c.failing(len(everyKind), version, append(slices.Clone(everyKind), check("/a", 9), create("/y", ""), set("/a", ""))...)
	c.failing(1, exists, create("/x", ""), create("/x", ""))
	c.failing(2, gone, create("/x", ""), del("/x"), set("/x", ""))
	c.failing(1, jute.ErrNotEmpty, create("/x", ""), del("/a"))
	c.failing(2, version, set("/a", "1"), set("/a", "2"), check("/a", 0))
	c.failing(1, jute.ErrNoAuth, create("/x", ""), create("/closed/x", ""))
	c.failing(1, jute.ErrInvalidACL, create("/x", ""), part{jute.OpCreate, createBody("/y", "", nil, 0)})
	c.failing(1, jute.ErrBadArguments, create("/x", ""), with(7, "/y"))
	c.failing(1, jute.ErrBadArguments, create("/x", ""), create("", ""))
	c.failing(1, jute.ErrBadArguments, create("/x", ""), del("/"))
	c.failing(2, jute.ErrNoChildrenForEphemerals, with(1, "/x"), set("/x", "1"), create("/x/y", ""))
	c.failing(1, jute.ErrInvalidACL, del("/e"), part{jute.OpCreate, createBody("/z", "", []jute.ACL{entry(1, "ip", "x")}, 0)})

	// Quotas: their figures and limits come back, and count what the multi did.
	c.failing(2, jute.ErrQuotaExceeded, create("/q/1", ""), create("/q/2", ""), create("/q/3", ""))
	c.failing(1, jute.ErrQuotaExceeded, set("/q/in", "12345678"), set("/q", "123"))
	c.failing(3, gone, del("/zookeeper/quota/q/zookeeper_limits"), create("/q/1", ""), create("/q/2", "123456789"), set("/gone", ""))
	c.failing(4, gone, create("/zookeeper/quota/q/in", ""), create("/zookeeper/quota/q/in/zookeeper_limits", "countHardLimit=1"),
		create("/zookeeper/quota/q/in/zookeeper_stats", ""), set("/q/in", "999"), set("/gone", ""))
	c.failing(5, gone, del("/zookeeper/quota/q/zookeeper_limits"), create("/zookeeper/quota/q/zookeeper_limits", ""), del("/zookeeper/quota/q/zookeeper_limits"),
		del("/zookeeper/quota/q/zookeeper_stats"), del("/zookeeper/quota/q"), set("/gone", ""))
	c.failing(4, gone, create("/zookeeper/quota/e", ""), create("/zookeeper/quota/e/zookeeper_limits", ""), del("/zookeeper/quota/e/zookeeper_limits"),
		del("/zookeeper/quota/e"), set("/gone", ""))
	c.failing(1, jute.ErrBadArguments, create("/x", ""), set("/zookeeper/quota/q/zookeeper_limits", "rubbish"))
	if got := b.used("/q"); got != "count=2,bytes=4" {
		t.Errorf("usage %q", got)
	}
	b.wantErr("a quota that a failed multi had lifted", c.do(jute.OpSetData, setBody("/q", "123456789", -1)), jute.ErrQuotaExceeded)

	// Afterwards everything goes that would have gone before.
	c.multi(everyKind...)
	if err := b.Tree().Check(); err != nil {
		t.Error(err)
	}
}

// A failed multi leaves the sequence numbers alone, and the next multi's
// results nothing of its own.
func TestFailedMultiLeavesNoNumbers(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	c.create("/q", "")
	c.failing(2, jute.ErrNoNode, with(2, "/q/n"), with(2, "/q/n"), del("/gone"))
	r := c.multi(with(2, "/q/n"), with(2, "/q/n"))
	if r.Parts[0].Path != "/q/n0000000000" || r.Parts[1].Path != "/q/n0000000001" {
		t.Errorf("%+v", r.Parts)
	}
	if r := c.do(jute.OpDelete, versionBody("/gone", 0)); len(r.Parts) != 0 {
		t.Errorf("%+v", r)
	}
}

// What has no place in a multi spoils all of it, before any of it is done.
func TestForeignOperationInMulti(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	for _, op := range []jute.OpCode{jute.OpSetACL, jute.OpGetData, jute.OpExists, jute.OpMulti, jute.OpSync, jute.OpAuth, jute.OpCloseSession,
		jute.OpCreateSession, jute.OpDeleteContainer, 0, 99} {
		zxid, digest := b.Zxid(), b.Tree().Digest()
		for _, parts := range [][]part{{{op, nil}}, {create("/x", ""), {op, setBody("/x", "", -1)}}} {
			r := c.do(jute.OpMulti, multiBody(parts...))
			zxid++
			if r.Err != jute.ErrMarshalling || len(r.Parts) != 0 || b.Tree().Digest() != digest || b.Zxid() != zxid || len(b.said.events) != 0 {
				t.Errorf("%v: %s", op, &b.said)
			}
		}
	}
	r := c.do(jute.OpMulti, multiBody(create("/x", ""))[:20])
	b.wantErr("half a multi", r, jute.ErrMarshalling)
	noEnd := multiBody(create("/x", ""))
	b.wantErr("a multi without an end", c.do(jute.OpMulti, noEnd[:len(noEnd)-9]), jute.ErrMarshalling)
	if b.exists("/x") {
		t.Error("part of an unreadable multi was done")
	}
}

// A multi as large as a request may be.
func TestLargeMulti(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	c.create("/d", "")
	var parts []part
	for i := range 10_000 {
		parts = append(parts, with(2, "/d/node-"), set(fmt.Sprintf("/d/node-%010d", i), "data"))
	}
	c.failing(len(parts), jute.ErrNoNode, append(slices.Clone(parts), del("/gone"))...)
	r := c.multi(parts...)
	for i := 0; i < len(parts); i += 2 {
		if want := fmt.Sprintf("/d/node-%010d", i/2); r.Parts[i].Path != want || b.data(want) != "data" {
			t.Fatalf("part %d is %q, want %q", i, r.Parts[i].Path, want)
		}
	}
}

// In a multi the mode says what a create makes, whatever operation it came as.
func TestMultiCreatesByMode(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	r := c.multi(
		part{jute.OpCreateContainer, createBody("/plain", "", open, jute.ModePersistent)},
		with(jute.ModeContainer, "/container"),
		part{jute.OpCreate2, createBody("/container2", "", open, jute.ModeContainer)},
		part{jute.OpCreateTTL, ttlBody("/nottl", open, jute.ModeEphemeral, 5)},
	)
	for i, want := range []struct {
		op   jute.OpCode
		kind tree.Kind
	}{{jute.OpCreate, tree.Persistent}, {jute.OpCreateContainer, tree.Container}, {jute.OpCreateContainer, tree.Container}, {jute.OpCreate, tree.Ephemeral}} {
		p := r.Parts[i]
		if kind := b.Tree().Kind(b.Tree().Find(p.Path)); p.Op != want.op || kind != want.kind {
			t.Errorf("%s: answered as %v, kind %v; want %v, %v", p.Path, p.Op, kind, want.op, want.kind)
		}
	}
	// A time to live that did not come makes all of it unreadable, once an
	// earlier part has not failed already.
	bad := part{jute.OpCreateContainer, createBody("/x", "", open, jute.ModeTTL)}
	digest := b.Tree().Digest()
	if r := c.do(jute.OpMulti, multiBody(create("/y", ""), bad, del("/y"))); r.Err != jute.ErrMarshalling || len(r.Parts) != 0 {
		t.Errorf("%v, %+v", r.Err, r.Parts)
	}
	if b.Tree().Digest() != digest {
		t.Error("an unreadable multi has changed the tree")
	}
	c.failing(0, jute.ErrNoNode, del("/y"), bad)
}
