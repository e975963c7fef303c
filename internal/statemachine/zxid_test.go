package statemachine

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
)

func TestWhatTakesAZxid(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	if b.Zxid() != 1<<32|1 {
		t.Fatalf("the first zxid of term 1 is %#x", b.Zxid())
	}
	path := jute.PathRequest{Path: "/"}
	for _, step := range []struct {
		what  string
		ops   func() []byte
		takes int64
	}{
		{"an empty batch", func() []byte { return nil }, 0},
		{"create", func() []byte { return c.op(jute.OpCreate, createBody("/a", "", open, 0)) }, 1},
		{"a create that fails", func() []byte { return c.op(jute.OpCreate, createBody("/a", "", open, 0)) }, 1},
		{"setData", func() []byte { return c.op(jute.OpSetData, setBody("/a", "", -1)) }, 1},
		{"a setData that fails", func() []byte { return c.op(jute.OpSetData, setBody("/a", "", 99)) }, 1},
		{"setACL", func() []byte { return c.op(jute.OpSetACL, aclBody("/a", open, -1)) }, 1},
		{"sync", func() []byte { return c.op(jute.OpSync, path.Append(nil)) }, 0},
		{"auth", func() []byte { return c.op(jute.OpAuth, AuthBody(jute.ID{Scheme: "digest", ID: "a:b"})) }, 0},
		{"a request that can't be read", func() []byte { return c.op(jute.OpCreate, []byte{1}) }, 1},
		{"a multi of three", func() []byte { return c.op(jute.OpMulti, multiBody(create("/m", ""), create("/n", ""), set("/m", ""))) }, 1},
		{"a multi of none", func() []byte { return c.op(jute.OpMulti, multiBody()) }, 1},
		{"a multi that fails", func() []byte { return c.op(jute.OpMulti, multiBody(create("/o", ""), create("/n", ""))) }, 1},
		{"a multi that can't be read", func() []byte { return c.op(jute.OpMulti, nil) }, 1},
		{"attach", func() []byte { return AppendAttach(nil, b.hello(1), 1, c.password[:], 1, "", "") }, 0},
		{"a write that is refused", func() []byte { return c.op(jute.OpCreate, createBody("/b", "", open, 0)) }, 0},
		{"attach with a wrong password", func() []byte { return AppendAttach(nil, b.hello(1), 1, nil, 1, "", "") }, 0},
		{"createSession", func() []byte { return AppendCreateSession(nil, b.hello(1), 2, [16]byte{}, 1, "", "") }, 1},
		{"createSession with an id that is taken", func() []byte { return AppendCreateSession(nil, b.hello(1), 2, [16]byte{}, 1, "", "") }, 0},
		{"an expiry that is void", func() []byte { return AppendExpire(nil, 2, 9) }, 0},
		{"an expiry", func() []byte { return AppendExpire(nil, 2, 1) }, 1},
		{"a reap that is void", func() []byte { return AppendReap(nil, "/a", 1) }, 0},
		{"closeSession", func() []byte {
			c.epoch, c.seq = 2, 0
			return c.op(jute.OpCloseSession, nil)
		}, 1},
	} {
		ops := step.ops()
		before := b.Zxid()
		said := b.apply(ops)
		if got := b.Zxid() - before; got != step.takes {
			t.Errorf("%s takes %d", step.what, got)
		}
		for _, r := range said.replies {
			if r.Zxid != b.Zxid() {
				t.Errorf("%s: the reply shows %#x, not %#x", step.what, r.Zxid, b.Zxid())
			}
		}
	}
	before := b.Zxid()
	b.Machine.Skip(b.index+1, b.term)
	if err := b.Apply(b.index+2, b.term+5, nil, &b.said); err != nil || b.Zxid() != before {
		t.Errorf("an empty entry: %v, zxid %#x after %#x", err, b.Zxid(), before)
	}
	if index, term := b.Applied(); index != b.index+2 || term != b.term+5 {
		t.Errorf("applied %d of term %d", index, term)
	}
	b.index += 2
	b.ApplyMembers(b.index+1, b.term, threeMembers, &b.said)
	if b.Zxid() != before+1 {
		t.Errorf("a change of the membership takes %d", b.Zxid()-before)
	}
}

func TestZxidAndTerm(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	create := func() int64 {
		t.Helper()
		c.set("/", "")
		return b.Zxid()
	}
	for _, step := range []struct {
		term uint64
		from int64 // 0: where it is
		want int64
	}{
		{1, 0, 1<<32 | 2},
		{2, 0, 2<<32 | 1},
		{2, 0, 2<<32 | 2},
		{7, 0, 7<<32 | 1}, // terms that came to nothing are left out
		{7, 7<<32 | 0xfffffffe, 7<<32 | 0xffffffff},
		{7, 0, 8 << 32}, // a counter that is full counts on
		{7, 0, 8<<32 | 1},
		{8, 0, 8<<32 | 2}, // and the next term does not fall behind it
		{9, 0, 9<<32 | 1},
		{1<<31 - 1, 0, (1<<31-1)<<32 | 1},
		{1 << 31, 0, (1<<31-1)<<32 | 2}, // no term is so high; the zxid grows anyway
		{1<<63 + 5, 0, (1<<31-1)<<32 | 3},
	} {
		b.term = step.term
		if step.from != 0 {
			b.zxid = step.from
		}
		if got := create(); got != step.want {
			t.Errorf("term %d: zxid %#x, want %#x", step.term, got, step.want)
		}
	}
}

// The time comes in the entry, and never goes back.
func TestTime(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	for _, step := range [][2]int64{{100, testTime}, {testTime + 7, testTime + 7}, {testTime + 6, testTime + 7}, {-1, testTime + 7}, {1<<63 - 1, 1<<63 - 1}} {
		b.time = step[0]
		if r := c.set("/", ""); r.Stat.Mtime != step[1] || b.Now() != step[1] {
			t.Errorf("at %d: mtime %d, want %d", step[0], r.Stat.Mtime, step[1])
		}
	}
}

// A batch that can't be read stops where that is found, on every member at the
// same place.
func TestUnreadableEntries(t *testing.T) {
	good := func(c *client, path string) []byte { return c.op(jute.OpCreate, createBody(path, "", open, 0)) }
	head := AppendHeader(nil, testTime)
	short := func(origin byte, n int) []byte {
		return append([]byte{0, 0, 0, byte(n + 1), origin}, make([]byte, n)...)
	}
	for name, tail := range map[string][]byte{
		"stray bytes":            {0, 0, 0, 1},
		"an empty operation":     {0, 0, 0, 0, 0},
		"longer than the rest":   {0, 0, 0, 2, 1},
		"a huge length":          {0xff, 0xff, 0xff, 0xff, 1},
		"origin 0":               short(0, 3),
		"origin 4":               short(4, 3),
		"a session's, too short": short(originSession, sessionOpHeader-1),
		"a member's, too short":  short(originMember, memberOpHeader-1),
		"a member's, no body":    AppendCreateSession(nil, MemberOp{1, 1, 2}, 5, [16]byte{}, 1, "", "")[:4+1+memberOpHeader],
		"a leader's, too short":  short(originLeader, 0),
		"a leader's, kind 0":     short(originLeader, 20),
		"a leader's, kind 3":     append([]byte{0, 0, 0, 10, originLeader, 3}, make([]byte, 8)...),
		"an expiry, no epoch":    append([]byte{0, 0, 0, 10, originLeader, leaderExpire}, make([]byte, 8)...),
		"a reap, no path":        append([]byte{0, 0, 0, 10, originLeader, leaderReap}, make([]byte, 8)...),
		"a member's, kind 3": func() []byte {
			b := AppendCreateSession(nil, MemberOp{1, 1, 2}, 5, [16]byte{}, 1, "", "")
			b[4+1+24] = 3
			return b
		}(),
	} {
		if name == "a member's, no body" {
			tail[3] = byte(len(tail) - 4)
		}
		b := newBox(t)
		c := b.open(1)
		ops := slices.Concat(good(c, "/before"), tail, good(c, "/behind"))
		err := b.Apply(b.index+1, 1, slices.Concat(head, ops), &b.said)
		if !errors.Is(err, ErrEntry) {
			t.Errorf("%s: %v", name, err)
		}
		if !b.exists("/before") || b.exists("/behind") || b.Sessions().Len() != 1 || b.MemberSeq(1, 1) != 1 {
			t.Errorf("%s: more or less was done than what came before", name)
		}
		if index, _ := b.Applied(); index != b.index+1 {
			t.Errorf("%s: applied %d", name, index)
		}
	}
	b := newBox(t)
	for _, entry := range [][]byte{{1}, {2}, head[:8], append([]byte{2}, head[1:]...), append([]byte{0}, head[1:]...)} {
		digest := b.Tree().Digest()
		if err := b.Apply(9, 1, entry, &b.said); !errors.Is(err, ErrEntry) || b.Tree().Digest() != digest || b.Now() != 0 {
			t.Errorf("%x: %v", entry, err)
		}
	}
}

func TestCountOps(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	one := c.op(jute.OpSync, nil)
	three := slices.Concat(one, AppendExpire(nil, 1, 1), one)
	for batch, want := range map[string]int{"": 0, string(one): 1, string(three): 3} {
		if n, err := CountOps([]byte(batch)); n != want || err != nil {
			t.Errorf("%d operations: %d, %v", want, n, err)
		}
	}
	whole := map[int]bool{0: true, len(one): true, len(three) - len(one): true}
	for n := range three {
		if _, err := CountOps(three[:n]); (err == nil) != whole[n] || err != nil && !errors.Is(err, ErrEntry) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := CountOps([]byte{0, 0, 0, 0, 1}); err == nil {
		t.Error("an operation without a byte counts")
	}
}

// A request travels in the entry as it came off the wire.
func TestRequestsAreNotEncodedAgain(t *testing.T) {
	body := createBody("/some/path", "some data", open, 0)
	op := AppendSessionOp([]byte("before"), SessionOp{Session: -5, Epoch: 7, Seq: 1 << 40, Flags: 3, Op: jute.OpCreate2}, body)
	if !bytes.HasPrefix(op, []byte("before")) || !bytes.HasSuffix(op, body) || len(op) != 6+4+1+sessionOpHeader+len(body) {
		t.Errorf("%x", op)
	}
}
