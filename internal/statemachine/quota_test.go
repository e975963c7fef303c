package statemachine

import (
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
)

func (b *box) wantUsed(what, path, want string) {
	b.Helper()
	if got := b.used(path); got != want {
		b.Errorf("%s: %s uses %q, want %q", what, path, got, want)
	}
}

func TestQuotaCounts(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	c.create("/q", "12")
	c.create("/q/before", "345")
	c.create("/q/before/deep", "6")
	c.create("/qq", "a neighbour")
	c.quota("/q", "count=-1,bytes=-1")
	b.wantUsed("at the start", "/q", "count=3,bytes=6")
	id := b.node(quotaPath + "/q/zookeeper_stats")
	stat := b.stat(quotaPath + "/q/zookeeper_stats")
	for _, step := range []struct {
		what string
		do   func()
		want string
	}{
		{"create", func() { c.create("/q/a", "1234") }, "count=4,bytes=10"},
		{"create further down", func() { c.create("/q/a/b", "") }, "count=5,bytes=10"},
		{"setData to more", func() { c.set("/q/a", "123456") }, "count=5,bytes=12"},
		{"setData to less", func() { c.set("/q/a", "") }, "count=5,bytes=6"},
		{"setData of the quota's own node", func() { c.set("/q", "1") }, "count=5,bytes=5"},
		{"setACL", func() { c.setACL("/q/a", open...) }, "count=5,bytes=5"},
		{"ephemeral", func() { c.ephemeral("/q/e") }, "count=6,bytes=5"},
		{"delete", func() { c.delete("/q/before/deep") }, "count=5,bytes=4"},
		{"a failed create", func() { c.do(jute.OpCreate, createBody("/q/a", "123", open, 0)) }, "count=5,bytes=4"},
		{"a neighbour whose name begins the same", func() { c.create("/qq/x", "123") }, "count=5,bytes=4"},
		{"the parent", func() { c.set("/", "123") }, "count=5,bytes=4"},
		{"a multi", func() { c.multi(create("/q/m", "1"), set("/q/m", "22"), del("/q/a/b")) }, "count=5,bytes=6"},
		{"the end of a session", func() { c.must(jute.OpCloseSession, nil); c = b.open(2) }, "count=4,bytes=6"},
		{"deleting the quota's own node", func() { c.delete("/q/m"); c.delete("/q/a"); c.delete("/q/before"); c.delete("/q") }, "count=0,bytes=0"},
		{"and making it again", func() { c.create("/q", "777") }, "count=1,bytes=3"},
	} {
		step.do()
		b.wantUsed(step.what, "/q", step.want)
	}
	now := b.stat(quotaPath + "/q/zookeeper_stats")
	now.DataLength = stat.DataLength
	if now != stat || b.node(quotaPath+"/q/zookeeper_stats") != id {
		t.Errorf("counting has moved the stat: %+v, was %+v", now, stat)
	}
	// Nobody is told of what the server writes.
	c.create("/q/told", "")
	if got := b.said.paths(); len(got) != 1 {
		t.Errorf("events %v", got)
	}
}

// Only hard limits refuse. Every line was seen on ZooKeeper 3.8.
func TestQuotaLimits(t *testing.T) {
	const full = jute.ErrQuotaExceeded
	for _, test := range []struct {
		name, limits string
		create, grow jute.ErrCode // of a third node of 1 byte, and of 1 more byte, where 2 nodes have 10 bytes
	}{
		{"no limit", "", jute.OK, jute.OK},
		{"soft limits", "count=1,bytes=1", jute.OK, jute.OK},
		{"unlimited", "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=-1", jute.OK, jute.OK},
		{"count reached", "count=-1,bytes=-1=;countHardLimit=2", full, jute.OK},
		{"count not reached", "countHardLimit=3", jute.OK, jute.OK},
		{"count passed", "countHardLimit=0", full, jute.OK},
		{"bytes reached", "byteHardLimit=10", full, full},
		{"bytes not reached", "byteHardLimit=11", jute.OK, jute.OK},
		{"bytes passed", "byteHardLimit=0", full, full},
		{"a soft limit above the hard one", "count=99,bytes=99=;byteHardLimit=10;countHardLimit=2", full, full},
		{"a soft limit below the hard one", "count=1,bytes=1=;byteHardLimit=11;countHardLimit=3", jute.OK, jute.OK},
		{"the largest", "byteHardLimit=9223372036854775807", jute.OK, jute.OK},
	} {
		b := newBox(t)
		c := b.open(1)
		c.create("/q", "12345")
		c.create("/q/a", "12345")
		c.quota("/q", test.limits)
		r := c.do(jute.OpCreate, createBody("/q/b", "x", open, 0))
		b.wantErr(test.name+": create", r, test.create)
		if r.Err == jute.OK {
			c.delete("/q/b")
		}
		b.wantErr(test.name+": setData", c.do(jute.OpSetData, setBody("/q/a", "123456", -1)), test.grow)
		c.flags &^= FlagEnforceQuota
		c.create("/q/b", "quotas not enforced")
		c.set("/q/b", "quotas not enforced either")
	}
}

// Where the bytes are above the limit already, ZooKeeper refuses whatever
// leaves them above it and other than they are, even if it is less.
func TestQuotaAboveTheLimit(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	c.create("/s", "1234567890")
	c.quota("/s", "byteHardLimit=5,countHardLimit=3")
	setData := func(what, data string, want jute.ErrCode) {
		t.Helper()
		b.wantErr(what, c.do(jute.OpSetData, setBody("/s", data, -1)), want)
	}
	setData("less, but not enough", "12345678", jute.ErrQuotaExceeded)
	setData("as much", "abcdefghij", jute.OK)
	c.create("/s/empty", "")
	b.wantErr("a byte more", c.do(jute.OpCreate, createBody("/s/x", "x", open, 0)), jute.ErrQuotaExceeded)
	setData("down to the limit", "12345", jute.OK)
	setData("up again", "123456", jute.ErrQuotaExceeded)
	c.delete("/s/empty")
	b.wantUsed("in the end", "/s", "count=1,bytes=5")
}

// The deepest quota counts and limits, and it alone; once it is gone the one
// above does, with what it has counted itself. Seen on ZooKeeper 3.8.
func TestNestedQuotas(t *testing.T) {
	const full = jute.ErrQuotaExceeded
	b := newBox(t)
	c := b.open(1)
	c.create("/q", "")
	c.create("/q/in", "")
	c.quota("/q", "countHardLimit=3")
	c.quota("/q/in", "countHardLimit=5")
	for _, name := range []string{"0", "1", "2", "3"} {
		c.create("/q/in/"+name, "x")
	}
	b.wantErr("the inner limit", c.do(jute.OpCreate, createBody("/q/in/4", "", open, 0)), full)
	b.wantUsed("inner", "/q/in", "count=5,bytes=4")
	b.wantUsed("outer", "/q", "count=2,bytes=0")
	c.create("/q/a", "")
	b.wantErr("the outer limit", c.do(jute.OpCreate, createBody("/q/b", "", open, 0)), full)
	c.set("/q/in", "abc")
	b.wantUsed("inner", "/q/in", "count=5,bytes=7")
	b.wantUsed("outer", "/q", "count=3,bytes=0")
	c.delete(quotaPath + "/q/in/zookeeper_limits")
	b.wantErr("the outer limit holds further down", c.do(jute.OpCreate, createBody("/q/in/z", "", open, 0)), full)
	c.delete("/q/in/0")
	b.wantUsed("the outer one counts further down", "/q", "count=2,bytes=-1")
	b.wantUsed("the inner one no longer does", "/q/in", "count=5,bytes=7")
	c.create(quotaPath+"/q/in/zookeeper_limits", "countHardLimit=5")
	c.delete("/q/in/1")
	b.wantUsed("inner again", "/q/in", "count=4,bytes=6")
}

func TestQuotaNodes(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	q := quotaPath + "/n"
	c.create(q, "")
	bad := func(what string, op jute.OpCode, body []byte) {
		t.Helper()
		b.wantErr(what, c.do(op, body), jute.ErrBadArguments)
	}
	bad("rubbish", jute.OpCreate, createBody(q+"/zookeeper_limits", "rubbish", open, 0))
	bad("no number", jute.OpCreate, createBody(q+"/zookeeper_stats", "count=x", open, 0))
	bad("too large a number", jute.OpCreate, createBody(q+"/zookeeper_stats", "count=9223372036854775808", open, 0))
	bad("limits of nothing", jute.OpCreate, createBody(quotaPath+"/zookeeper_limits", "", open, 0))
	bad("stats of nothing", jute.OpCreate, createBody(quotaPath+"/zookeeper_stats", "", open, 0))
	c.create(quotaPath+"/zookeeper", "")
	c.create("/zookeeper/zookeeper_limits", "not below the quotas: any text will do")

	// Limits without stats, and stats of what is not there yet.
	c.create(q+"/zookeeper_limits", "countHardLimit=2")
	bad("rubbish later", jute.OpSetData, setBody(q+"/zookeeper_limits", "count", -1))
	c.create("/n", "a")
	c.delete("/n")
	c.create(q+"/zookeeper_stats", "count=7,bytes=7,other=7")
	b.wantUsed("nothing there", "/n", "count=0,bytes=0")
	c.create("/n", "a")
	c.create("/n/b", "a")
	b.wantErr("the limit", c.do(jute.OpCreate, createBody("/n/c", "a", open, 0)), jute.ErrQuotaExceeded)
	// Clients may write the stats; the server goes on from there.
	c.set(q+"/zookeeper_stats", "count=0,bytes=0,foo=7")
	c.create("/n/c", "a")
	b.wantUsed("from a client's figures", "/n", "count=1,bytes=1=;foo=7")
	c.set(q+"/zookeeper_stats", "")
	c.create("/n/d", "a")
	b.wantUsed("from no figures", "/n", "count=0,bytes=0")
	c.delete(q + "/zookeeper_stats")
	c.create("/n/e", "a")
	c.create(q+"/zookeeper_stats", "")
	b.wantUsed("counted anew", "/n", "count=5,bytes=5")

	// A quota on the quotas: its own bookkeeping is below itself.
	c.create(quotaPath+"/zookeeper/quota", "")
	c.create(quotaPath+"/zookeeper/quota/zookeeper_limits", "countHardLimit=100")
	c.create(quotaPath+"/zookeeper/quota/zookeeper_stats", "")
	before := b.used("/zookeeper/quota")
	c.create(quotaPath+"/more", "")
	c.delete(quotaPath + "/more")
	b.wantUsed("there and back", "/zookeeper/quota", before)
	c.multi(del(quotaPath+"/zookeeper/quota/zookeeper_limits"), del(quotaPath+"/zookeeper/quota/zookeeper_stats"), del(quotaPath+"/zookeeper/quota"))
	if _, ok := b.quotaRoots["/zookeeper/quota"]; ok {
		t.Error("a quota without its node")
	}
}

// The figures follow a quota that goes and comes with a session.
func TestEphemeralQuota(t *testing.T) {
	b := newBox(t)
	c, other := b.open(1), b.open(2)
	c.create("/n", "")
	c.create(quotaPath+"/n", "")
	c.must(jute.OpCreate, createBody(quotaPath+"/n/zookeeper_limits", "countHardLimit=1", open, jute.ModeEphemeral))
	c.create(quotaPath+"/n/zookeeper_stats", "")
	b.wantErr("while it stands", other.do(jute.OpCreate, createBody("/n/a", "", open, 0)), jute.ErrQuotaExceeded)
	c.must(jute.OpCloseSession, nil)
	other.create("/n/a", "")
	if len(b.quotaRoots) != 0 {
		t.Errorf("%v", b.quotaRoots)
	}
}

// The index of quotas is found again from the tree, however deep they are.
func TestQuotasAreFoundAgain(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	deep := strings.Repeat("/d", 200)
	for i := 2; i <= len(deep); i += 2 {
		c.create(deep[:i], "")
	}
	for _, path := range []string{"/d", deep[:100], deep} {
		c.quota(path, "")
	}
	want := b.quotaRoots
	b.quotaRoots = map[string]struct{}{}
	b.findQuotas()
	if len(want) != 3 || len(b.quotaRoots) != 3 {
		t.Fatalf("%d quotas, and %d found", len(want), len(b.quotaRoots))
	}
	for root := range want {
		if _, ok := b.quotaRoots[root]; !ok {
			t.Errorf("%s was not found", root)
		}
	}
}
