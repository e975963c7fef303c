package statemachine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
)

// A fault is one thing that is wrong with a request, and the error that it
// deserves. The order of an operation's faults is the order of ZooKeeper's
// checks: a request with several gets the error of the first.
type fault struct {
	name string
	code jute.ErrCode
}

// faults is a set of them, by their places in the list.
type faults uint

func (f faults) has(i int) bool { return f>>i&1 != 0 }

// eachCombination calls f with every set of the faults and the error that it
// deserves.
func eachCombination(list []fault, f func(set faults, name string, want jute.ErrCode)) {
	for set := range faults(1 << len(list)) {
		var names []string
		want := jute.OK
		for i := len(list) - 1; i >= 0; i-- {
			if set.has(i) {
				names = append(names, list[i].name)
				want = list[i].code
			}
		}
		f(set, strings.Join(names, "+"), want)
	}
}

// suffix names a node by those of its properties that are in the set.
func suffix(set faults, at map[int]string) (s string) {
	for i := range 16 {
		if set.has(i) {
			s += at[i]
		}
	}
	return s
}

func TestCreateChecksInOrder(t *testing.T) {
	const (
		mode = iota
		ttlOff
		ttlRange
		shape
		acl
		parentGone
		parentClosed
		badPath
		exists
		parentEphemeral
		quota
	)
	list := []fault{
		mode: {"mode", jute.ErrBadArguments}, ttlOff: {"TTL disabled", jute.ErrUnimplemented}, ttlRange: {"TTL of 0", jute.ErrBadArguments},
		shape: {"a NUL", jute.ErrBadArguments}, acl: {"no ACL", jute.ErrInvalidACL}, parentGone: {"no parent", jute.ErrNoNode},
		parentClosed: {"not allowed", jute.ErrNoAuth}, badPath: {"bad path", jute.ErrBadArguments}, exists: {"exists", jute.ErrNodeExists},
		parentEphemeral: {"ephemeral parent", jute.ErrNoChildrenForEphemerals}, quota: {"quota", jute.ErrQuotaExceeded},
	}
	props := map[int]string{parentClosed: "closed", parentEphemeral: "ephemeral", quota: "full"}

	b := newBox(t)
	c := b.open(1)
	for set := range faults(1 << len(list)) {
		if set&^(1<<parentClosed|1<<parentEphemeral|1<<quota) != 0 {
			continue
		}
		parent := "/" + "p" + suffix(set, props)
		kind := jute.ModePersistent
		if set.has(parentEphemeral) {
			kind = jute.ModeEphemeral
		}
		c.must(jute.OpCreate, createBody(parent, "", open, kind))
		if kind == jute.ModePersistent {
			c.create(parent+"/there", "")
		}
		if set.has(quota) {
			c.quota(parent, "countHardLimit=1")
		}
		if set.has(parentClosed) {
			c.setACL(parent, closed(jute.PermCreate)...)
		}
	}

	eachCombination(list, func(set faults, name string, want jute.ErrCode) {
		real := set.has(parentClosed) || set.has(parentEphemeral) || set.has(quota)
		if set.has(parentGone) && (real || set.has(exists)) || set.has(exists) && (set.has(badPath) || set.has(shape) || set.has(parentEphemeral)) {
			return // nobody can be both
		}
		r := jute.CreateRequest{Path: "/p" + suffix(set, props), ACL: open}
		op := jute.OpCreate2
		if set.has(parentGone) {
			r.Path = "/gone"
		}
		switch {
		case set.has(exists):
			r.Path += "/there"
		case set.has(badPath):
			r.Path += "/."
		default:
			r.Path += "/new"
		}
		if set.has(shape) {
			r.Path += "\x00"
		}
		if set.has(acl) {
			r.ACL = nil
		}
		flags := everything
		if set.has(ttlOff) || set.has(ttlRange) {
			op, r.Mode, r.TTL = jute.OpCreateTTL, jute.ModeTTL, 1000
		}
		if set.has(ttlOff) {
			flags &^= FlagExtendedTypes
		}
		if set.has(ttlRange) {
			r.TTL = 0
		}
		if set.has(mode) {
			r.Mode = 7
		}
		c.flags = flags
		before, zxid := b.Tree().Digest(), b.Zxid()
		got := c.do(op, r.Append(nil, op))
		c.flags = everything
		b.wantErr(name, got, want)
		if want == jute.OK {
			c.delete(r.Path)
			return
		}
		if b.Tree().Digest() != before || len(b.said.events) > 0 || got.Path != "" || got.Stat != (jute.Stat{}) {
			t.Errorf("%s: the failure left something behind, or told of something: %+v", name, got)
		}
		if b.Zxid() != zxid+1 || got.Zxid != zxid+1 {
			t.Errorf("%s: zxid %#x after %#x", name, got.Zxid, zxid)
		}
	})
}

func TestDeleteChecksInOrder(t *testing.T) {
	const (
		shape = iota
		parentGone
		parentClosed
		gone
		version
		children
	)
	list := []fault{
		shape: {"a NUL", jute.ErrBadArguments}, parentGone: {"no parent", jute.ErrNoNode}, parentClosed: {"not allowed", jute.ErrNoAuth},
		gone: {"no node", jute.ErrNoNode}, version: {"version", jute.ErrBadVersion}, children: {"children", jute.ErrNotEmpty},
	}
	b := newBox(t)
	c := b.open(1)
	for _, parent := range []string{"/open", "/closed"} {
		c.create(parent, "")
		c.create(parent+"/leaf", "")
		c.create(parent+"/full", "")
		c.create(parent+"/full/child", "")
	}
	c.setACL("/closed", closed(jute.PermDelete)...)
	eachCombination(list, func(set faults, name string, want jute.ErrCode) {
		if set.has(parentGone) && set.has(parentClosed) || (set.has(gone) || set.has(parentGone)) && set.has(children) {
			return
		}
		path, v := "/open", int32(0)
		switch {
		case set.has(parentGone):
			path = "/gone"
		case set.has(parentClosed):
			path = "/closed"
		}
		switch {
		case set.has(gone):
			path += "/gone"
		case set.has(children):
			path += "/full"
		default:
			path += "/leaf"
		}
		if set.has(shape) {
			path += "\x00"
		}
		if set.has(version) {
			v = 3
		}
		before := b.Tree().Digest()
		b.wantErr(name, c.do(jute.OpDelete, versionBody(path, v)), want)
		if want == jute.OK {
			c.create(path, "")
		} else if b.Tree().Digest() != before || len(b.said.events) > 0 {
			t.Errorf("%s: the failure left something behind", name)
		}
	})
}

func TestSetDataChecksInOrder(t *testing.T) {
	const (
		badPath = iota
		gone
		notAllowed
		quota
		version
	)
	list := []fault{
		badPath: {"bad path", jute.ErrBadArguments}, gone: {"no node", jute.ErrNoNode}, notAllowed: {"not allowed", jute.ErrNoAuth},
		quota: {"quota", jute.ErrQuotaExceeded}, version: {"version", jute.ErrBadVersion},
	}
	b := newBox(t)
	c := b.open(1)
	for set := range faults(1 << len(list)) {
		if set&^(1<<notAllowed|1<<quota) != 0 {
			continue
		}
		path := "/p" + suffix(set, map[int]string{notAllowed: "closed", quota: "full"})
		c.create(path, "x")
		if set.has(quota) {
			c.quota(path, "byteHardLimit=1")
		}
		if set.has(notAllowed) {
			c.setACL(path, closed(jute.PermWrite)...)
		}
	}
	versions := map[string]int32{}
	eachCombination(list, func(set faults, name string, want jute.ErrCode) {
		if set.has(gone) && (set.has(notAllowed) || set.has(quota)) {
			return
		}
		path := "/p" + suffix(set, map[int]string{notAllowed: "closed", quota: "full"})
		v := versions[path]
		if set.has(version) {
			v += 5
		}
		if set.has(gone) {
			path = "/gone"
		}
		if set.has(badPath) {
			path += "/"
		}
		before := b.Tree().Digest()
		r := c.do(jute.OpSetData, setBody(path, "four", v))
		b.wantErr(name, r, want)
		if want == jute.OK {
			versions[path] = r.Stat.Version
		} else if b.Tree().Digest() != before || len(b.said.events) > 0 {
			t.Errorf("%s: the failure left something behind", name)
		}
	})
}

func TestSetACLAndCheckInOrder(t *testing.T) {
	const (
		badPath = iota
		acl
		gone
		notAllowed
		version
	)
	list := []fault{
		badPath: {"bad path", jute.ErrBadArguments}, acl: {"no ACL", jute.ErrInvalidACL}, gone: {"no node", jute.ErrNoNode},
		notAllowed: {"not allowed", jute.ErrNoAuth}, version: {"version", jute.ErrBadVersion},
	}
	b := newBox(t)
	c := b.open(1)
	c.create("/open", "")
	c.create("/closed", "")
	c.setACL("/closed", closed(jute.PermAll)...)
	aversion := int32(0)
	eachCombination(list, func(set faults, name string, want jute.ErrCode) {
		if set.has(gone) && set.has(notAllowed) {
			return
		}
		path, to, v := "/open", open, aversion
		switch {
		case set.has(gone):
			path = "/gone"
		case set.has(notAllowed):
			path, v = "/closed", 1
		}
		if set.has(badPath) {
			path += "/"
		}
		if set.has(acl) {
			to = nil
		}
		if set.has(version) {
			v += 5
		}
		before := b.Tree().Digest()
		b.wantErr("setACL: "+name, c.do(jute.OpSetACL, aclBody(path, to, v)), want)
		if len(b.said.events) > 0 {
			t.Errorf("%s: setACL raised an event", name)
		}
		if want == jute.OK {
			aversion++
		} else if b.Tree().Digest() != before {
			t.Errorf("%s: the failure left something behind", name)
		}
		if set.has(acl) {
			return
		}
		// check has the same faults, but for the ACL. The versions that are right
		// here are those of the data: 0.
		if v = 0; set.has(version) {
			v = 5
		}
		r := c.must(jute.OpMulti, multiBody(part{jute.OpCheck, versionBody(path, v)}))
		if got := r.Parts[0]; got.Err != want {
			t.Errorf("check: %s: %v, want %v", name, got.Err, want)
		}
	})
}

func TestMalformedRequests(t *testing.T) {
	for _, op := range []jute.OpCode{jute.OpCreate, jute.OpCreate2, jute.OpCreateContainer, jute.OpCreateTTL, jute.OpDelete,
		jute.OpSetData, jute.OpSetACL, jute.OpCheck, jute.OpMulti} {
		b := newBox(t)
		c := b.open(1)
		whole := map[jute.OpCode][]byte{
			jute.OpCreate: createBody("/a", "x", open, 0), jute.OpCreate2: createBody("/a", "x", open, 0), jute.OpCreateContainer: createBody("/a", "x", open, 4),
			jute.OpCreateTTL: ttlBody("/a", open, jute.ModeTTL, 5), jute.OpDelete: versionBody("/a", -1), jute.OpSetData: setBody("/", "x", -1),
			jute.OpSetACL: aclBody("/", open, -1), jute.OpCheck: versionBody("/", -1),
			jute.OpMulti: multiBody(part{jute.OpCreate, createBody("/a", "x", open, 0)}, part{jute.OpCheck, versionBody("/a", 0)}),
		}[op]
		digest := b.Tree().Digest()
		for n := range whole {
			r := c.do(op, whole[:n])
			if r.Err != jute.ErrMarshalling || b.Tree().Digest() != digest || len(r.Parts) > 0 {
				t.Fatalf("%v cut to %d of %d bytes: %+v", op, n, len(whole), r)
			}
		}
	}
	b := newBox(t)
	c := b.open(1)
	for _, op := range []jute.OpCode{0, -1, -10, jute.OpExists, jute.OpGetData, jute.OpReconfig, jute.OpDeleteContainer, jute.OpMultiRead, 1000} {
		b.wantErr(fmt.Sprint(op), c.do(op, createBody("/a", "", open, 0)), jute.ErrMarshalling)
	}
}
