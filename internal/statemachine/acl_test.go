package statemachine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
)

// entry is perms:scheme:id.
func entry(perms jute.Perm, scheme, id string) jute.ACL {
	return jute.ACL{Perms: perms, ID: jute.ID{Scheme: scheme, ID: id}}
}

func TestCheckACL(t *testing.T) {
	const r, w = jute.PermRead, jute.PermWrite
	me := []jute.ID{{Scheme: "ip", ID: "10.1.2.3"}, {Scheme: "digest", ID: "me:hash"}}
	six := []jute.ID{{Scheme: "ip", ID: "2001:db8::17"}}
	for _, test := range []struct {
		acl  []jute.ACL
		ids  []jute.ID
		want bool // for read
	}{
		{nil, nil, true},
		{[]jute.ACL{}, nil, true},
		{open, nil, true},
		{readOnly, nil, true},
		{[]jute.ACL{entry(w, "world", "anyone")}, me, false},
		{[]jute.ACL{entry(0, "world", "anyone")}, me, false},
		{[]jute.ACL{entry(-1, "world", "anyone")}, nil, true},
		{[]jute.ACL{entry(1<<30, "world", "anyone")}, nil, false},
		{[]jute.ACL{entry(r, "world", "someone")}, me, false},
		{[]jute.ACL{entry(r, "world", "someone")}, []jute.ID{{Scheme: "world", ID: "someone"}}, true},
		{[]jute.ACL{entry(r, "digest", "me:hash")}, me, true},
		{[]jute.ACL{entry(r, "digest", "me:hash")}, me[:1], false},
		{[]jute.ACL{entry(w, "digest", "me:hash")}, me, false},
		{[]jute.ACL{entry(r, "digest", "me:other")}, me, false},
		{[]jute.ACL{entry(r, "sasl", "me:hash")}, me, false},
		{[]jute.ACL{entry(w, "digest", "me:hash"), entry(r, "digest", "me:hash")}, me, true},
		{[]jute.ACL{entry(w, "digest", "me:hash"), entry(r, "digest", "you:hash")}, me, false},
		{[]jute.ACL{entry(r, "auth", "")}, me, false},
		{closed(31), []jute.ID{{Scheme: "super"}}, true},
		{[]jute.ACL{entry(0, "world", "anyone")}, []jute.ID{{Scheme: "super", ID: ""}}, true},
		{[]jute.ACL{entry(r, "super", "")}, me, false},

		{[]jute.ACL{entry(r, "ip", "10.1.2.3")}, me, true},
		{[]jute.ACL{entry(r, "ip", "10.1.2.4")}, me, false},
		{[]jute.ACL{entry(r, "ip", "10.1.2.3/32")}, me, true},
		{[]jute.ACL{entry(r, "ip", "10.1.2.0/24")}, me, true},
		{[]jute.ACL{entry(r, "ip", "10.1.2.99/24")}, me, true},
		{[]jute.ACL{entry(r, "ip", "10.1.3.0/24")}, me, false},
		{[]jute.ACL{entry(r, "ip", "10.1.3.0/23")}, me, true},
		{[]jute.ACL{entry(r, "ip", "10.1.2.2/31")}, me, true},
		{[]jute.ACL{entry(r, "ip", "10.1.2.4/31")}, me, false},
		{[]jute.ACL{entry(r, "ip", "1.1.1.1/0")}, me, true},
		{[]jute.ACL{entry(r, "ip", "010.01.2.03")}, me, true},
		{[]jute.ACL{entry(r, "ip", "10.1.2.3/33")}, me, false},
		{[]jute.ACL{entry(r, "ip", "10.1.2.3/")}, me, false},
		{[]jute.ACL{entry(r, "ip", "::/0")}, me, false},
		{[]jute.ACL{entry(r, "ip", "0.0.0.0/0")}, six, false},
		{[]jute.ACL{entry(r, "ip", "2001:db8::17")}, six, true},
		{[]jute.ACL{entry(r, "ip", "2001:DB8:0:0:0:0:0:17")}, six, true},
		{[]jute.ACL{entry(r, "ip", "2001:db8::/32")}, six, true},
		{[]jute.ACL{entry(r, "ip", "2001:db9::/32")}, six, false},
		{[]jute.ACL{entry(r, "ip", "2001:db8::16/127")}, six, true},
		{[]jute.ACL{entry(r, "ip", "2001:db8::17/129")}, six, false},
		{[]jute.ACL{entry(r, "ip", "10.1.2.3")}, []jute.ID{{Scheme: "ip", ID: "no address"}}, false},
		{[]jute.ACL{entry(r, "ip", "10.1.2.3")}, []jute.ID{{Scheme: "ip"}}, false},
		{[]jute.ACL{entry(r, "ip", "fe80::1")}, []jute.ID{{Scheme: "ip", ID: "fe80::1%eth0"}}, false},
	} {
		if got := CheckACL(test.acl, r, test.ids); got != test.want {
			t.Errorf("%v for %v: %t", test.acl, test.ids, got)
		}
	}
	for i := range 5 {
		perm := jute.Perm(1) << i
		if !CheckACL([]jute.ACL{entry(perm, "world", "anyone")}, perm, nil) || CheckACL([]jute.ACL{entry(31&^perm, "world", "anyone")}, perm, nil) {
			t.Errorf("permission %d", perm)
		}
	}
}

// Which identities an ACL may name: seen on ZooKeeper 3.8, but for IPv6.
func TestValidIdentities(t *testing.T) {
	for _, test := range []struct {
		scheme     string
		good, evil []string
	}{
		{"world", []string{"anyone"}, []string{"", "someone", "anyone "}},
		{"digest", []string{"a:b", "a:b:", "a:b::", ":b"}, []string{"", "a", "a:", ":", "a::", "::b", "a:b:c", "a:b:c:"}},
		{"ip", []string{"127.0.0.1", "127.0.0.01", "+127.0.0.1", "-0.0.0.0", "1.2.3.4/0", "1.2.3.4/32", "1.2.3.4/08", "1.2.3.4/+8", "::1", "::/0", "2001:db8::1/128", "::ffff:1.2.3.4"},
			[]string{"", "/", "localhost", "1.2.3", "1.2.3.4.", ".1.2.3.4", "1.2.3.4.5", "1..3.4", "256.0.0.1", "-1.0.0.0", "0x1.2.3.4", " 1.2.3.4", "1.2.3.4 ", "1_0.2.3.4",
				"99999999999.0.0.0", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/8/8", "1.2.3.4/x", "1.2.3.4/99999999999999999999", "::1/129", "::1/-1", ":", "fe80::1%eth0", "::1::"}},
		{"super", nil, []string{"", "x"}},
		{"x509", nil, []string{"CN=me"}},
		{"sasl", nil, []string{"me"}},
		{"", nil, []string{"", "anyone"}},
		{"digest\x00", nil, []string{"a:b"}},
		{"auth", nil, []string{"", "x"}}, // nobody has authenticated
		{"\xff\xfe", nil, []string{"\xff"}},
	} {
		for i, list := range [][]string{test.good, test.evil} {
			for _, id := range list {
				for _, acl := range [][]jute.ACL{{entry(31, test.scheme, id)}, {readOnly[0], entry(31, test.scheme, id)}} {
					got, code := FixupACL(acl, []jute.ID{{Scheme: "ip", ID: "1.1.1.1"}})
					if i == 0 && (code != jute.OK || !slices.Equal(got, acl)) || i == 1 && code != jute.ErrInvalidACL {
						t.Errorf("%s:%q: %v %v", test.scheme, id, got, code)
					}
				}
			}
		}
	}
}

func TestFixupACL(t *testing.T) {
	ids := []jute.ID{{Scheme: "ip", ID: "1.1.1.1"}, {Scheme: "super"}, {Scheme: "digest", ID: "bob:1"}, {Scheme: "digest", ID: "eve:2"}}
	bob, eve := entry(31, "digest", "bob:1"), entry(31, "digest", "eve:2")
	anyone := open[0]
	for _, test := range []struct {
		name      string
		acl, want []jute.ACL
	}{
		{"none", nil, nil},
		{"empty", []jute.ACL{}, nil},
		{"repeats go", []jute.ACL{anyone, bob, anyone, bob}, []jute.ACL{anyone, bob}},
		{"other permissions are no repeat", []jute.ACL{bob, entry(1, "digest", "bob:1")}, []jute.ACL{bob, entry(1, "digest", "bob:1")}},
		{"auth is who has authenticated", []jute.ACL{entry(31, "auth", "")}, []jute.ACL{bob, eve}},
		{"whatever its id", []jute.ACL{entry(31, "auth", "x:y")}, []jute.ACL{bob, eve}},
		{"what auth becomes may repeat others", []jute.ACL{bob, entry(31, "auth", ""), entry(31, "auth", "x"), entry(31, "auth", "")}, []jute.ACL{bob, bob, eve, bob, eve}},
		{"one bad entry is enough", []jute.ACL{anyone, entry(31, "digest", "x")}, nil},
		{"permissions are the client's affair", []jute.ACL{entry(-1, "digest", "x:y"), entry(0, "world", "anyone")}, []jute.ACL{entry(-1, "digest", "x:y"), entry(0, "world", "anyone")}},
	} {
		got, code := FixupACL(test.acl, ids)
		if !slices.Equal(got, test.want) || (code == jute.OK) != (test.want != nil) || code != jute.OK && code != jute.ErrInvalidACL {
			t.Errorf("%s: %v %v, want %v", test.name, got, code, test.want)
		}
	}
	for _, nobody := range [][]jute.ID{nil, ids[:1], ids[:2]} {
		if got, code := FixupACL([]jute.ACL{anyone, entry(31, "auth", "")}, nobody); code != jute.ErrInvalidACL {
			t.Errorf("auth by %v: %v %v", nobody, got, code)
		}
	}

	// As many entries as a request has room for, each twice.
	var many []jute.ACL
	for i := range 80_000 {
		many = append(many, entry(31, "digest", fmt.Sprintf("u%d:x", i/2)))
	}
	got, code := FixupACL(many, nil)
	if code != jute.OK || len(got) != len(many)/2 {
		t.Errorf("%d entries, each twice: %d, %v", len(many), len(got), code)
	}
	// A megabyte of auth entries, each to become many.
	for i := range many {
		many[i] = entry(jute.Perm(i), "auth", "")
	}
	for i := range 200 {
		ids = append(ids, jute.ID{Scheme: "digest", ID: fmt.Sprintf("user%d:x", i)})
	}
	if got, code := FixupACL(many, ids); code != jute.ErrInvalidACL {
		t.Errorf("%d entries of auth by %d identities: %d entries, %v", len(many), len(ids), len(got), code)
	}
}

func TestMaskACL(t *testing.T) {
	acl := []jute.ACL{open[0], entry(31, "digest", "bob:secret"), entry(1, "digest", ":x:y"), entry(1, "ip", "1.1.1.1"), entry(1, "digest", "odd")}
	before := slices.Clone(acl)
	got := MaskACL(acl)
	want := []jute.ACL{open[0], entry(31, "digest", "bob:x"), entry(1, "digest", ":x"), entry(1, "ip", "1.1.1.1"), entry(1, "digest", "odd:x")}
	if !slices.Equal(got, want) || !slices.Equal(acl, before) {
		t.Errorf("%v became %v", acl, got)
	}
}

// Who may do what, through the whole of Apply.
func TestPermissions(t *testing.T) {
	type op struct {
		perm jute.Perm
		op   jute.OpCode
		body []byte
		of   string // whose ACL decides
	}
	ops := []op{
		{jute.PermCreate, jute.OpCreate, createBody("/n/new", "", open, 0), "/n"},
		{jute.PermDelete, jute.OpDelete, versionBody("/n/child", -1), "/n"},
		{jute.PermWrite, jute.OpSetData, setBody("/n", "new", -1), "/n"},
		{jute.PermAdmin, jute.OpSetACL, aclBody("/n", open, -1), "/n"},
		{jute.PermRead, jute.OpMulti, multiBody(part{jute.OpCheck, versionBody("/n", -1)}), "/n"},
	}
	who := []struct {
		name string
		acl  func(jute.Perm) jute.ACL
		be   func(c *client)
	}{
		{"anyone", func(p jute.Perm) jute.ACL { return entry(p, "world", "anyone") }, func(*client) {}},
		{"digest", func(p jute.Perm) jute.ACL { return entry(p, "digest", "me:x") }, func(c *client) { c.auth("digest", "me:x") }},
		{"ip", func(p jute.Perm) jute.ACL { return entry(p, "ip", "10.0.0.0/8") }, func(*client) {}},
		{"super", func(p jute.Perm) jute.ACL { return entry(0, "ip", "::1") }, func(c *client) { c.auth("super", "") }},
		{"skipACL", func(p jute.Perm) jute.ACL { return entry(0, "ip", "::1") }, func(c *client) { c.flags |= FlagSkipACL }},
	}
	for _, w := range who {
		for _, o := range ops {
			for _, allowed := range []bool{true, false} {
				if !allowed && (w.name == "super" || w.name == "skipACL") {
					continue
				}
				b := newBox(t)
				owner, c := b.open(1), b.open(2)
				owner.create("/n", "")
				owner.create("/n/child", "")
				perm, want := o.perm, jute.OK
				if !allowed {
					perm, want = jute.PermAll&^o.perm, jute.ErrNoAuth
				}
				owner.setACL("/n", w.acl(perm))
				w.be(c)
				r := c.do(o.op, o.body)
				if o.op == jute.OpMulti {
					r.Err = r.Parts[0].Err
				}
				b.wantErr(fmt.Sprintf("%v by %s with permissions %d", o.op, w.name, perm), r, want)
			}
		}
	}
}

// An ACL of auth is resolved when it is set, by who sets it.
func TestAuthBecomesTheCreator(t *testing.T) {
	b := newBox(t)
	bob, other := b.open(1), b.open(2)
	auth := []jute.ACL{entry(31, "auth", "")}
	b.wantErr("auth by nobody", bob.do(jute.OpCreate, createBody("/a", "", auth, 0)), jute.ErrInvalidACL)
	bob.auth("digest", "bob:1")
	bob.must(jute.OpCreate, createBody("/a", "", auth, 0))
	if got := b.Tree().ACL(b.node("/a")); !slices.Equal(got, []jute.ACL{entry(31, "digest", "bob:1")}) {
		t.Errorf("stored as %v", got)
	}
	b.wantErr("another's write", other.do(jute.OpSetData, setBody("/a", "", -1)), jute.ErrNoAuth)
	other.auth("digest", "bob:1")
	other.set("/a", "")
}

// Events carry the ACLs by which they are withheld from who may not read.
func TestEventsCarryACLs(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	c.create("/p", "")
	c.setACL("/p", entry(31, "ip", "10.0.0.1"))
	check := func(what string, acl, parent []jute.ACL) {
		t.Helper()
		e := b.said.events
		if len(e) != 1 || !slices.Equal(e[0].ACL, acl) || !slices.Equal(e[0].ParentACL, parent) || e[0].Zxid != b.Zxid() {
			t.Errorf("%s: %s", what, &b.said)
		}
	}
	parent := []jute.ACL{entry(31, "ip", "10.0.0.1")}
	c.must(jute.OpCreate, createBody("/p/n", "", readOnly, 0))
	check("create", readOnly, parent)
	c.flags |= FlagSkipACL
	c.set("/p/n", "")
	check("setData", readOnly, parent)
	c.delete("/p/n")
	check("delete", readOnly, parent)
	c.set("/", "")
	check("setData of the root", open, nil)
}
