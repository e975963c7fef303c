package statemachine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/session"
)

// attach moves a client's session to member, as the client would.
func (c *client) attach(member uint64) Attachment {
	c.Helper()
	said := c.apply(AppendAttach(nil, c.hello(member), c.id, c.password[:], 6000, "10.0.0.9:5", "10.0.0.9"))
	if len(said.attached) != 1 {
		c.Fatalf("attach: %s", said)
	}
	a := said.attached[0]
	if a.Err == jute.OK {
		c.epoch, c.seq = a.Epoch, 0
	}
	return a
}

func TestCreateSession(t *testing.T) {
	b := newBox(t)
	var pw [session.PasswordSize]byte
	copy(pw[:], "0123456789abcdef")
	said := b.apply(AppendCreateSession(nil, MemberOp{Member: 7, Boot: 3, Seq: 1}, 0x55, pw, 4321, "1.2.3.4:5", "1.2.3.4"))
	want := session.Session{ID: 0x55, Password: pw, Timeout: 4321, Created: testTime, Member: 7, Epoch: 1, Client: "1.2.3.4:5"}
	a := said.attached[0]
	got := *b.Sessions().Get(0x55)
	if !slices.Equal(got.IDs, []jute.ID{{Scheme: "ip", ID: "1.2.3.4"}}) {
		t.Errorf("identities %v", got.IDs)
	}
	got.IDs = nil
	if got.ID != want.ID || got.Password != want.Password || got.Timeout != want.Timeout || got.Created != want.Created ||
		got.Member != want.Member || got.Epoch != 1 || got.LastSeq != 0 || got.Client != want.Client {
		t.Errorf("%+v, want %+v", got, want)
	}
	if a.Err != jute.OK || !a.Create || a.Session != 0x55 || a.Epoch != 1 || a.Timeout != 4321 || a.Table == nil || a.MemberOp != (MemberOp{7, 3, 1}) {
		t.Errorf("attachment %+v", a)
	}
	if b.Zxid() != 1<<32+1 {
		t.Errorf("zxid %#x", b.Zxid())
	}

	digest := b.Digest()
	for _, id := range []int64{0x55, 0} {
		said = b.apply(AppendCreateSession(nil, MemberOp{Member: 8, Boot: 1, Seq: b.hello(8).Seq}, id, pw, 1, "x", "y"))
		if len(said.attached) != 1 || said.attached[0].Err != jute.ErrNodeExists || said.attached[0].Table != nil {
			t.Errorf("id %d: %s", id, said)
		}
	}
	if b.Zxid() != 1<<32+1 || b.Sessions().Len() != 1 || b.Sessions().Get(0x55).Member != 7 || b.Digest() == digest {
		t.Error("a refused session changed more than the member's count")
	}
	b.open(-9)
	if b.Sessions().Get(-9) == nil {
		t.Error("a session with a negative id is not found")
	}
}

func TestAttach(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	c.create("/a", "")
	c.auth("digest", "me:x")
	c.ephemeral("/e")
	zxid := b.Zxid()

	a := c.attach(2)
	s := b.Sessions().Get(1)
	if a.Err != jute.OK || a.Create || a.Epoch != 2 || a.Timeout != 6000 || s.Member != 2 || s.Timeout != 6000 || s.LastSeq != 0 || s.Client != "10.0.0.9:5" {
		t.Errorf("attachment %+v of %+v", a, s)
	}
	if !slices.Equal(s.IDs, []jute.ID{{Scheme: "ip", ID: "10.0.0.9"}}) {
		t.Errorf("identities of an earlier connection are still there: %v", s.IDs)
	}
	if b.Zxid() != zxid || !b.exists("/e") {
		t.Error("an attachment is a transaction, or takes an ephemeral with it")
	}
	c.create("/b", "") // number 1 again

	for name, ask := range map[string]func(h MemberOp) []byte{
		"no such session": func(h MemberOp) []byte { return AppendAttach(nil, h, 99, c.password[:], 1, "", "") },
		"wrong password": func(h MemberOp) []byte {
			pw := c.password
			pw[15] ^= 1
			return AppendAttach(nil, h, 1, pw[:], 1, "", "")
		},
		"short password": func(h MemberOp) []byte { return AppendAttach(nil, h, 1, c.password[:15], 1, "", "") },
		"long password":  func(h MemberOp) []byte { return AppendAttach(nil, h, 1, append(c.password[:], 0), 1, "", "") },
		"no password":    func(h MemberOp) []byte { return AppendAttach(nil, h, 1, nil, 1, "", "") },
	} {
		before := *s
		said := b.apply(ask(b.hello(3)))
		if len(said.attached) != 1 || said.attached[0].Err != jute.ErrSessionExpired || said.attached[0].Timeout != 0 || said.attached[0].Epoch != 0 {
			t.Errorf("%s: %s", name, said)
		}
		if s.Epoch != before.Epoch || s.Member != before.Member || s.Timeout != before.Timeout {
			t.Errorf("%s: the session has moved: %+v", name, s)
		}
	}
}

// Writes in flight through the previous member are refused, and those of a
// session that is gone.
func TestWritesOfAnOldAttachmentAreRefused(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	old := *c
	late := old.op(jute.OpCreate, createBody("/late", "", open, 0))
	c.attach(2)
	zxid, digest := b.Zxid(), b.Tree().Digest()
	refused := func(what string, ops []byte) {
		t.Helper()
		said := b.apply(ops)
		if len(said.refused) != 1 || len(said.lines) != 1 || b.Zxid() != zxid || b.Tree().Digest() != digest {
			t.Errorf("%s: %s, zxid %#x", what, said, b.Zxid())
		}
	}
	refused("an old epoch", late)
	future := *c
	future.epoch++
	refused("an epoch to come", future.op(jute.OpCreate, createBody("/late", "", open, 0)))
	old.id = 77
	refused("no such session", old.op(jute.OpCreate, createBody("/late", "", open, 0)))
	c.must(jute.OpCloseSession, nil)
	zxid = b.Zxid()
	refused("a closed session", c.op(jute.OpCreate, createBody("/late", "", open, 0)))
	refused("closing it again", c.op(jute.OpCloseSession, nil))
}

func TestRepeatsAndGaps(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	first := c.op(jute.OpCreate, createBody("/1", "", open, 0))
	second := c.op(jute.OpCreate, createBody("/2", "", open, 0))
	third := c.op(jute.OpCreate, createBody("/3", "", open, 0))
	silent := func(what string, ops []byte) {
		t.Helper()
		zxid, digest := b.Zxid(), b.Tree().Digest()
		if said := b.apply(ops); len(said.lines) > 0 || b.Zxid() != zxid || b.Tree().Digest() != digest {
			t.Errorf("%s: %s", what, said)
		}
	}
	silent("a gap", second)
	silent("a gap of two", slices.Concat(second, third))
	if b.apply(first); !b.exists("/1") {
		t.Error("the first is missing")
	}
	silent("a repeat", first)
	said := b.apply(slices.Concat(first, second, first, second, third, second))
	if len(said.replies) != 2 || said.replies[0].Path != "/2" || said.replies[1].Path != "/3" {
		t.Errorf("repeats beside what is missing: %s", said)
	}
	// What failed is not done again either.
	fails := c.op(jute.OpCreate, createBody("/1", "", open, 0))
	if said := b.apply(fails); len(said.replies) != 1 || said.replies[0].Err != jute.ErrNodeExists {
		t.Errorf("%s", said)
	}
	silent("a failure's repeat", fails)
	if s := b.Sessions().Get(1); s.LastSeq != 4 {
		t.Errorf("last number %d", s.LastSeq)
	}
}

// Members number what they ask in their own name, anew with each start.
func TestMemberStreams(t *testing.T) {
	b := newBox(t)
	next := int64(100)
	ask := func(member, boot, seq uint64) bool {
		t.Helper()
		next++
		before := b.Sessions().Len()
		b.apply(AppendCreateSession(nil, MemberOp{Member: member, Boot: boot, Seq: seq}, next, [16]byte{}, 1, "", ""))
		return b.Sessions().Len() > before
	}
	for _, step := range []struct {
		what              string
		member, boot, seq uint64
		want              bool
	}{
		{"a gap at the start", 1, 10, 2, false},
		{"first", 1, 10, 1, true},
		{"repeat", 1, 10, 1, false},
		{"zero", 1, 10, 0, false},
		{"second", 1, 10, 2, true},
		{"gap", 1, 10, 4, false},
		{"another member", 2, 1, 1, true},
		{"a new start with a gap", 1, 11, 3, false},
		{"which leaves the old one as it was", 1, 10, 3, true},
		{"a new start", 1, 11, 1, true},
		{"the old one's next", 1, 10, 4, false},
		{"the old one's, under the number that is the new one's next", 1, 10, 2, false},
		{"the old one's first", 1, 10, 1, false},
		{"the new one's next", 1, 11, 2, true},
	} {
		if got := ask(step.member, step.boot, step.seq); got != step.want {
			t.Errorf("%s: executed %t", step.what, got)
		}
	}
	if b.MemberSeq(1, 11) != 2 || b.MemberSeq(1, 10) != 0 || b.MemberSeq(2, 1) != 1 || b.MemberSeq(3, 1) != 0 {
		t.Errorf("numbers %d %d %d", b.MemberSeq(1, 11), b.MemberSeq(1, 10), b.MemberSeq(2, 1))
	}
}

func TestExpiry(t *testing.T) {
	b := newBox(t)
	c, other := b.open(1), b.open(2)
	c.create("/keep", "")
	other.ephemeral("/other")
	for _, path := range []string{"/e2", "/e1", "/keep/e", "/e10"} {
		c.ephemeral(path)
	}
	void := func(what string, id int64, epoch uint32) {
		t.Helper()
		zxid, digest := b.Zxid(), b.Tree().Digest()
		if said := b.apply(AppendExpire(nil, id, epoch)); len(said.lines) > 0 || b.Zxid() != zxid || b.Tree().Digest() != digest {
			t.Errorf("%s: %s", what, said)
		}
	}
	void("no such session", 9, 1)
	void("an epoch to come", 1, 2)
	c.attach(2)
	void("attached anew since", 1, 1)

	zxid := b.Zxid()
	said := b.apply(AppendExpire(nil, 1, 2))
	want := []string{"Deleted /e1", "Deleted /e10", "Deleted /e2", "Deleted /keep/e"}
	if !slices.Equal(said.paths(), want) {
		t.Errorf("ephemerals went as %v, want %v", said.paths(), want)
	}
	for _, e := range said.events {
		if e.Zxid != zxid+1 {
			t.Errorf("%s went under zxid %#x, not %#x", e.Path, e.Zxid, zxid+1)
		}
	}
	if b.Zxid() != zxid+1 || b.stat("/keep").Pzxid != zxid+1 || b.stat("/").Pzxid != zxid+1 || b.stat("/keep").NumChildren != 0 {
		t.Errorf("zxid %#x after %#x; parents %+v", b.Zxid(), zxid, b.stat("/keep"))
	}
	if len(said.ended) != 1 || !said.ended[0].Expired || said.ended[0].Ephemerals != 4 || said.ended[0].Session.ID != 1 || len(said.replies) != 0 {
		t.Errorf("%s", said)
	}
	if b.Sessions().Get(1) != nil || !b.exists("/other") || b.Tree().EphemeralCount() != 1 {
		t.Error("the session is still there, or another's ephemerals are not")
	}
	void("expired already", 1, 2)
	if a := c.attach(2); a.Err != jute.ErrSessionExpired {
		t.Errorf("attach to an expired session: %+v", a)
	}

	other.ephemeral("/keep/e")
	said = b.apply(other.op(jute.OpCloseSession, nil))
	// Events come before the end, the end before the reply.
	if len(said.lines) != 4 || !slices.Equal(said.paths(), []string{"Deleted /keep/e", "Deleted /other"}) ||
		len(said.ended) != 1 || said.ended[0].Expired || said.ended[0].Ephemerals != 2 || len(said.replies) != 1 ||
		said.lines[3][:7] != "replied" || said.lines[2][:5] != "ended" || said.replies[0].Zxid != b.Zxid() {
		t.Errorf("%s", said)
	}
	if closed, expired := b.Ended(); closed != 1 || expired != 1 {
		t.Errorf("%d closed, %d expired", closed, expired)
	}
	b.open(3).must(jute.OpCloseSession, nil)
	if closed, _ := b.Ended(); closed != 2 || b.Sessions().Len() != 0 {
		t.Errorf("%d closed, %d left", closed, b.Sessions().Len())
	}
}

// An id may come again once its session has ended; what was its is nobody's.
func TestSessionIDComesAgain(t *testing.T) {
	b := newBox(t)
	c := b.open(5)
	c.auth("digest", "me:x")
	c.ephemeral("/e")
	c.must(jute.OpCloseSession, nil)
	again := b.open(5)
	if s := b.Sessions().Get(5); len(s.IDs) != 1 || s.LastSeq != 0 || b.exists("/e") {
		t.Errorf("%+v", s)
	}
	again.create("/a", "")
}

// What a setData does to an ephemeral: its owner stays.
func TestEphemeralKeepsItsOwner(t *testing.T) {
	b := newBox(t)
	c, other := b.open(1), b.open(2)
	c.ephemeral("/e")
	other.set("/e", "by another")
	other.setACL("/e", open...)
	if s := b.stat("/e"); s.EphemeralOwner != 1 {
		t.Errorf("%+v", s)
	}
	other.must(jute.OpCloseSession, nil)
	if !b.exists("/e") {
		t.Error("it went with a session that is not its owner")
	}
	other = b.open(3)
	other.delete("/e")
	other.ephemeral("/e")
	c.must(jute.OpCloseSession, nil)
	if !b.exists("/e") {
		t.Error("another's ephemeral went, at a path that was the session's once")
	}
}

func TestSync(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	zxid := b.Zxid()
	path := jute.PathRequest{Path: "/any where"}
	if r := c.must(jute.OpSync, path.Append(nil)); r.Path != "/any where" || r.Zxid != zxid || b.Zxid() != zxid {
		t.Errorf("%+v", r)
	}
	if r := c.do(jute.OpSync, nil); r.Err != jute.ErrMarshalling || r.Zxid != zxid {
		t.Errorf("%+v", r)
	}
}

func TestIdentitiesAreBounded(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	long := strings.Repeat("x", 1000)
	n := 0
	for ; n < 1000; n++ {
		zxid := b.Zxid()
		r := c.auth("digest", fmt.Sprintf("%s%d:h", long, n))
		if b.Zxid() != zxid || r.Zxid != zxid {
			t.Fatal("auth is a transaction")
		}
		if r.Err == jute.ErrAuthFailed {
			break
		}
	}
	if got := len(b.Sessions().Get(1).IDs); n < 10 || n > 16 || got != n+1 {
		t.Errorf("%d identities were taken, and %d stand in the table", n, got)
	}
	b.wantErr("one that is known", c.auth("digest", long+"0:h"), jute.OK)
	b.wantErr("a short one still fits", c.auth("super", ""), jute.OK)
	b.wantErr("half of one", c.do(jute.OpAuth, []byte{0, 0, 0, 9}), jute.ErrMarshalling)
	b.wantErr("none", c.do(jute.OpAuth, nil), jute.ErrMarshalling)
}
