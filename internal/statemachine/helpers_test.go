package statemachine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/session"
	"github.com/conclave-dev/conclave/internal/tree"
)

// box is a machine under test, one operation an entry, and what it said.
type box struct {
	testing.TB
	*Machine
	index, term uint64
	time        int64
	said        recorder          // by the last entry
	seqs        map[uint64]uint64 // of members' own operations
}

const (
	testTime   = 1_700_000_000_000
	everything = FlagExtendedTypes | FlagEnforceQuota
)

func newBox(tb testing.TB) *box {
	return &box{TB: tb, Machine: New(), term: 1, time: testTime, seqs: map[uint64]uint64{}}
}

// apply applies one entry of the operations and returns what it said.
func (b *box) apply(ops []byte) *recorder {
	b.Helper()
	b.index++
	b.said = recorder{}
	if err := b.Apply(b.index, b.term, append(AppendHeader(nil, b.time), ops...), &b.said); err != nil {
		b.Fatal(err)
	}
	return &b.said
}

// client is a session's client.
type client struct {
	*box
	id       int64
	password [session.PasswordSize]byte
	epoch    uint32
	seq      uint64
	flags    byte
}

// hello asks for operations of member in its own name.
func (b *box) hello(member uint64) MemberOp {
	b.seqs[member]++
	return MemberOp{Member: member, Boot: 1, Seq: b.seqs[member]}
}

// open opens a session with member 1, from 10.0.0.1.
func (b *box) open(id int64) *client {
	b.Helper()
	c := &client{box: b, id: id, epoch: 1, flags: everything}
	copy(c.password[:], fmt.Sprintf("password of %d", id))
	got := b.apply(AppendCreateSession(nil, b.hello(1), id, c.password, 4000, "10.0.0.1:999", "10.0.0.1"))
	if len(got.attached) != 1 || got.attached[0].Err != jute.OK {
		b.Fatalf("session %d: %s", id, got)
	}
	return c
}

// op encodes the client's next write.
func (c *client) op(op jute.OpCode, body []byte) []byte {
	c.seq++
	return AppendSessionOp(nil, SessionOp{Session: c.id, Epoch: c.epoch, Seq: c.seq, Flags: c.flags, Op: op}, body)
}

// do applies one write and returns its outcome.
func (c *client) do(op jute.OpCode, body []byte) Result {
	c.Helper()
	got := c.apply(c.op(op, body))
	if len(got.replies) != 1 || got.replies[0].Op != op || got.replies[0].Seq != c.seq {
		c.Fatalf("%v: %s", op, got)
	}
	return got.replies[0]
}

// must is do for what has to succeed.
func (c *client) must(op jute.OpCode, body []byte) Result {
	c.Helper()
	r := c.do(op, body)
	if r.Err != jute.OK {
		c.Fatalf("%v %q: %v", op, body, r.Err)
	}
	return r
}

func (c *client) create(path, data string) Result {
	c.Helper()
	return c.must(jute.OpCreate, createBody(path, data, open, jute.ModePersistent))
}

func (c *client) ephemeral(path string) Result {
	c.Helper()
	return c.must(jute.OpCreate, createBody(path, "", open, jute.ModeEphemeral))
}

func (c *client) set(path, data string) Result {
	c.Helper()
	return c.must(jute.OpSetData, setBody(path, data, -1))
}

func (c *client) delete(path string) Result {
	c.Helper()
	return c.must(jute.OpDelete, versionBody(path, -1))
}

func (c *client) setACL(path string, acl ...jute.ACL) Result {
	c.Helper()
	return c.must(jute.OpSetACL, aclBody(path, acl, -1))
}

// auth proves an identity.
func (c *client) auth(scheme, id string) Result {
	c.Helper()
	return c.do(jute.OpAuth, AuthBody(jute.ID{Scheme: scheme, ID: id}))
}

// quota puts a quota on path.
func (c *client) quota(path, limits string) {
	c.Helper()
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		if node := quotaPath + path[:i]; !c.exists(node) {
			c.create(node, "")
		}
	}
	c.create(quotaPath+path+"/zookeeper_limits", limits)
	c.create(quotaPath+path+"/zookeeper_stats", "")
}

// used is what the quota on path counts.
func (b *box) used(path string) string {
	b.Helper()
	return b.data(quotaPath + path + "/zookeeper_stats")
}

// node returns the node at path, which has to be there.
func (b *box) node(path string) tree.NodeID {
	b.Helper()
	id := b.Tree().Find(path)
	if id == tree.None {
		b.Fatalf("no node %s", path)
	}
	return id
}

func (b *box) exists(path string) bool { return b.Tree().Find(path) != tree.None }

func (b *box) stat(path string) (s jute.Stat) {
	b.Helper()
	b.Tree().Stat(b.node(path), &s)
	return s
}

func (b *box) data(path string) string {
	b.Helper()
	return string(b.Tree().Data(b.node(path)))
}

func (b *box) wantErr(what string, r Result, want jute.ErrCode) {
	b.Helper()
	if r.Err != want {
		b.Errorf("%s: %v, want %v", what, r.Err, want)
	}
}

var (
	open     = []jute.ACL{{Perms: jute.PermAll, ID: jute.ID{Scheme: "world", ID: "anyone"}}}
	readOnly = []jute.ACL{{Perms: jute.PermRead, ID: jute.ID{Scheme: "world", ID: "anyone"}}}
)

// closed is an ACL that gives permissions to nobody here.
func closed(perms jute.Perm) []jute.ACL {
	return []jute.ACL{{Perms: perms, ID: jute.ID{Scheme: "digest", ID: "nobody:x"}}}
}

func createBody(path, data string, acl []jute.ACL, mode jute.CreateMode) []byte {
	r := jute.CreateRequest{Path: path, Data: []byte(data), ACL: acl, Mode: mode}
	return r.Append(nil, jute.OpCreate)
}

func ttlBody(path string, acl []jute.ACL, mode jute.CreateMode, ttl int64) []byte {
	r := jute.CreateRequest{Path: path, ACL: acl, Mode: mode, TTL: ttl}
	return r.Append(nil, jute.OpCreateTTL)
}

func setBody(path, data string, version int32) []byte {
	r := jute.SetDataRequest{Path: path, Data: []byte(data), Version: version}
	return r.Append(nil)
}

func versionBody(path string, version int32) []byte {
	r := jute.PathVersionRequest{Path: path, Version: version}
	return r.Append(nil)
}

func aclBody(path string, acl []jute.ACL, version int32) []byte {
	r := jute.SetACLRequest{Path: path, ACL: acl, Version: version}
	return r.Append(nil)
}

// part is one operation of a multi.
type part struct {
	op   jute.OpCode
	body []byte
}

func multiBody(parts ...part) (b []byte) {
	for _, p := range parts {
		b = jute.MultiHeader{Type: p.op, Err: -1}.Append(b)
		b = append(b, p.body...)
	}
	return jute.MultiEnd.Append(b)
}

// recorder is a Sink that keeps what it hears, and writes it down: two machines
// did the same if their recorders' lines are equal.
type recorder struct {
	lines    []string
	events   []Event
	replies  []Result
	refused  []SessionOp
	attached []Attachment
	ended    []End
}

func (r *recorder) note(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) String() string { return strings.Join(r.lines, "\n") }

func (r *recorder) Changed(e Event) {
	e.Path, e.ACL, e.ParentACL = strings.Clone(e.Path), slices.Clone(e.ACL), slices.Clone(e.ParentACL)
	r.events = append(r.events, e)
	r.note("changed %+v", e)
}

func (r *recorder) Replied(res *Result) {
	c := *res
	c.Path, c.Parts = strings.Clone(c.Path), slices.Clone(c.Parts)
	for i := range c.Parts {
		c.Parts[i].Path = strings.Clone(c.Parts[i].Path)
	}
	r.replies = append(r.replies, c)
	r.note("replied %+v", c)
}

func (r *recorder) Refused(op SessionOp) {
	r.refused = append(r.refused, op)
	r.note("refused %+v", op)
}

func (r *recorder) Attached(a *Attachment) {
	c := *a
	if a.Table != nil {
		t := *a.Table
		c.Table = &t
		r.note("session %+v", t)
	}
	r.attached = append(r.attached, c)
	c.Table = nil
	r.note("attached %+v", c)
}

func (r *recorder) Ended(e End) {
	s := *e.Session
	e.Session = &s
	r.ended = append(r.ended, e)
	r.note("ended %+v expired %t ephemerals %d", s, e.Expired, e.Ephemerals)
}

// paths are the paths of the events, with their types.
func (r *recorder) paths() (out []string) {
	for _, e := range r.events {
		out = append(out, strings.TrimPrefix(e.Type.String(), "Node")+" "+e.Path)
	}
	return out
}
