package tree

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
)

// forged is a snapshot under construction that says whatever a test wants.
type forged struct {
	version byte
	count   uint64 // 0: as many as there are nodes
	nodes   []forgedNode
	tail    string
}

type forgedNode struct {
	id NodeID
	node
	rec record
	raw func([]byte) []byte // changes the encoded record
}

// honest is what a fresh tree's snapshot says, plus "/a" with children "b" and "c".
func honest() *forged {
	acl := string(jute.AppendACLs(nil, openACL))
	n := func(id, parent, next NodeID, name string, children int32) forgedNode {
		f := forgedNode{id: id, node: node{parent: parent, next: next, numChildren: children}, rec: record{acl: 1, name: name}}
		if id == Root {
			f.rec.newACL = acl
		}
		return f
	}
	return &forged{version: formatVersion, nodes: []forgedNode{
		n(1, 0, 0, "", 2), n(2, 1, 0, "zookeeper", 2), n(3, 2, 0, "quota", 0), n(4, 2, 3, "config", 0),
		n(5, 1, 2, "a", 2), n(6, 5, 0, "b", 0), n(7, 5, 6, "c", 0),
	}}
}

func (f *forged) encode() []byte {
	if f.count == 0 {
		f.count = uint64(len(f.nodes))
	}
	out := appendRecord(nil, binary.AppendUvarint([]byte{f.version}, f.count), "")
	var c recordCodec
	for _, n := range f.nodes {
		b := c.appendNode(nil, n.id, &n.node, n.rec)
		b = append(b, n.rec.data...)
		if n.raw != nil {
			b = n.raw(b)
		}
		out = appendRecord(out, b, "")
	}
	return append(out, f.tail...)
}

func tryRestore(b []byte) (*Tree, error) {
	r := NewRestorer()
	if err := r.Add(b); err != nil {
		if again := r.Add(nil); again != err {
			return nil, fmt.Errorf("Add returned %v, and then %v", err, again)
		}
		if t, again := r.Finish(); t != nil || again != err {
			return nil, fmt.Errorf("Add returned %v, and Finish %v", err, again)
		}
		return nil, err
	}
	return r.Finish()
}

func TestRestoreForged(t *testing.T) {
	acl2 := string(jute.AppendACLs(nil, readACL))
	for _, tc := range []struct {
		name  string
		forge func(*forged)
		want  string // "": it is accepted
	}{
		{"honest", func(f *forged) {}, ""},
		{"parent after child", func(f *forged) {
			f.nodes[4], f.nodes[6] = f.nodes[6], f.nodes[4]
			f.nodes[4].id, f.nodes[6].id = 5, 7
			f.nodes[4].parent, f.nodes[5].parent = 7, 7
		}, ""},
		{"grandparent after grandchild", func(f *forged) {
			f.nodes[4].parent, f.nodes[4].next, f.nodes[4].numChildren = 6, 0, 0
			f.nodes[5].parent, f.nodes[5].numChildren = 7, 1
			f.nodes[6].parent, f.nodes[6].next, f.nodes[6].numChildren = 1, 2, 1
		}, ""},
		{"new ACL", func(f *forged) { f.nodes[3].rec.acl, f.nodes[3].rec.newACL = 2, acl2 }, ""},
		{"gap in the ids", func(f *forged) { f.nodes[6].id = 100_000 }, ""},
		{"version", func(f *forged) { f.version = 2 }, "version 2"},
		{"no nodes", func(f *forged) { f.count, f.nodes = 1, nil }, "can't be 1 nodes"},
		{"too many nodes", func(f *forged) { f.count = 1 << 40 }, "can't be"},
		{"breaks off", func(f *forged) { f.count = 8 }, "breaks off after 8 records"},
		{"goes on", func(f *forged) { f.count = 6 }, "after the number of nodes"},
		{"half a record behind", func(f *forged) { f.tail = "\x05abc" }, "breaks off"},
		{"bad length", func(f *forged) { f.tail = strings.Repeat("\xff", 11) }, "no varint"},
		{"id twice", func(f *forged) { f.nodes[6].id = 6 }, "not above the one before"},
		{"id out of range", func(f *forged) { f.nodes[6].id = maxNodeID + 1 }, "out of range"},
		{"parent out of range", func(f *forged) { f.nodes[6].parent = maxNodeID + 1 }, "out of range"},
		{"parent missing", func(f *forged) { f.nodes[6].parent = 55 }, "node 55, a parent, is missing"},
		{"two roots", func(f *forged) { f.nodes[6].parent = 0 }, "root alone"},
		{"root has a name", func(f *forged) { f.nodes[0].rec.name = "x" }, "root alone"},
		{"root has a parent", func(f *forged) { f.nodes[0].parent = 2 }, "root alone"},
		{"root has a sibling", func(f *forged) { f.nodes[0].next = 2 }, "root alone"},
		{"no root", func(f *forged) { f.nodes[1].rec.newACL = f.nodes[0].rec.newACL; f.nodes = f.nodes[1:] }, "node 1, a parent, is missing"},
		{"name empty", func(f *forged) { f.nodes[6].rec.name = "" }, "root alone"},
		{"slash in the name", func(f *forged) { f.nodes[6].rec.name = "x/y" }, "slash"},
		{"name twice", func(f *forged) { f.nodes[6].rec.name = "b" }, `both below node 5, are called "b"`},
		{"name twice, below an orphan", func(f *forged) {
			f.nodes[4], f.nodes[6] = f.nodes[6], f.nodes[4]
			f.nodes[4].id, f.nodes[6].id = 5, 7
			f.nodes[4].parent, f.nodes[5].parent = 7, 7
			f.nodes[4].rec.name = "b"
		}, `called "b"`},
		{"own parent", func(f *forged) { f.nodes[6].parent = 7 }, "its own ancestor"},
		{"circle of parents", func(f *forged) { f.nodes[5].parent, f.nodes[6].parent = 7, 6 }, "its own ancestor"},
		{"sibling missing", func(f *forged) { f.nodes[6].next = 99 }, "node 99 for a sibling, which is missing"},
		{"sibling of another parent", func(f *forged) { f.nodes[6].next = 4 }, "can't be followed"},
		{"two before one", func(f *forged) { f.nodes[5].next = 6 }, "can't be followed"},
		{"two first children", func(f *forged) { f.nodes[6].next = 0 }, "both the first child"},
		{"circle of siblings", func(f *forged) { f.nodes[5].next = 7; f.nodes[4].numChildren = 0 }, "2 of 7 nodes are not among"},
		{"too many children", func(f *forged) { f.nodes[4].numChildren = 3 }, "says that it has 3 children, and has 2"},
		{"too few children", func(f *forged) { f.nodes[4].numChildren = 1 }, "says that it has 1 children, and has 2"},
		{"negative children", func(f *forged) { f.nodes[4].numChildren = -1 }, "says that it has -1 children"},
		{"unknown ACL", func(f *forged) { f.nodes[6].rec.acl = 3 }, "ACL that it refers to"},
		{"ACL 0", func(f *forged) { f.nodes[6].rec.acl = 0 }, "ACL that it refers to"},
		{"ACL never brought along", func(f *forged) { f.nodes[0].rec.newACL = "" }, "ACL without length"},
		{"ACL twice", func(f *forged) { f.nodes[6].rec.acl, f.nodes[6].rec.newACL = 2, f.nodes[0].rec.newACL }, "was there before"},
		{"ACL damaged", func(f *forged) { f.nodes[6].rec.acl, f.nodes[6].rec.newACL = 2, acl2[:7] }, "ACL is damaged"},
		{"own node missing", func(f *forged) { f.nodes[3].rec.name = "konfig" }, "/zookeeper/config is missing"},
		{"unknown flag", func(f *forged) { f.nodes[6].raw = func(b []byte) []byte { b[0] |= flagUnknown; return b } }, "flag that this version"},
		{"nil data with data", func(f *forged) { f.nodes[6].raw = func(b []byte) []byte { b[0] |= flagNilData; return append(b, 'x') } }, "says that it has no data"},
		{"empty record", func(f *forged) { f.nodes[6].raw = func(b []byte) []byte { return nil } }, "ends within"},
		{"record cut", func(f *forged) { f.nodes[6].raw = func(b []byte) []byte { return b[:4] } }, "ends within"},
		{"name cut", func(f *forged) { f.nodes[6].raw = func(b []byte) []byte { return b[:len(b)-1] } }, "ends within"},
		{"version out of range", func(f *forged) {
			f.nodes[6].raw = func(b []byte) []byte {
				head, tail := slices.Clone(b[:7]), b[7:] // up to next
				head[0] |= flagSet
				head = binary.AppendVarint(append(head, 0, 0), 1<<40)
				return append(head, tail...)
			}
		}, "counter is out of range"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := honest()
			tc.forge(f)
			tree, err := tryRestore(f.encode())
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("got error %v, want one with %q", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := tree.Check(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestFinishTwice(t *testing.T) {
	r := NewRestorer()
	if err := r.Add(honest().encode()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Finish(); err != nil {
		t.Fatal(err)
	}
	if tree, err := r.Finish(); err == nil || tree != nil {
		t.Error("one Restorer made two trees")
	}
}

// snapshotOf returns the whole snapshot of a tree.
func snapshotOf(tb testing.TB, t *Tree) []byte {
	tb.Helper()
	s, err := t.BeginSnapshot()
	if err != nil {
		tb.Fatal(err)
	}
	defer s.Close()
	b, done := s.Next(nil, 1<<40)
	if !done {
		tb.Fatal("the snapshot did not end")
	}
	return b
}

func FuzzRestore(f *testing.F) {
	f.Add(honest().encode())
	f.Add(snapshotOf(f, New()))
	t := New()
	a := t.Create(Root, "a", NewNode{Data: []byte("data"), ACL: openACL, Zxid: 1 << 33, Now: 1_700_000_000_000})
	for i, kind := range []Kind{Persistent, Ephemeral, Container, TTL} {
		id := t.Create(a, kind.String(), NewNode{ACL: testACLs[i], Kind: kind, Owner: -5, TTL: 1000, Zxid: 1<<33 + 1, Now: 1_700_000_000_123})
		t.SetData(id, []byte{}, 1<<33+int64(i), 1_700_000_000_500)
		t.SetACL(id, testACLs[i+1])
	}
	t.Delete(t.Find("/a/container"), 1<<33+9)
	f.Add(snapshotOf(f, t))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return // sparse ids take a chunk of memory each
		}
		tree, err := tryRestore(b)
		if err != nil {
			return
		}
		if err := tree.Check(); err != nil {
			t.Fatal(err)
		}
		again, err := tryRestore(snapshotOf(t, tree))
		if err != nil {
			t.Fatalf("what was restored can't be restored again: %v", err)
		}
		if again.Digest() != tree.Digest() || again.NodeCount() != tree.NodeCount() {
			t.Fatal("what was restored again is another tree")
		}
	})
}
