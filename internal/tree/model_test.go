package tree

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
)

// model is a tree as one would write it without a thought for memory: what the
// real one is compared with.
type model map[string]*modelNode

type modelNode struct {
	jute.Stat // Cversion is the number of creates; EphemeralOwner and DataLength are unused
	data      []byte
	acl       []jute.ACL
	kind      Kind
	owner     int64
	ttl       int64
	children  []string // newest first
}

func newModel() model {
	node := func(acl []jute.ACL, children ...string) *modelNode {
		return &modelNode{data: []byte{}, acl: acl, children: children, Stat: jute.Stat{NumChildren: int32(len(children))}}
	}
	m := model{"/": node(openACL, "zookeeper"), "/zookeeper": node(openACL, "config", "quota"),
		"/zookeeper/quota": node(openACL), "/zookeeper/config": node(readACL)}
	m["/zookeeper/config"].Aversion = -1
	return m
}

func (m model) clone() model {
	c := make(model, len(m))
	for path, n := range m {
		k := *n
		k.children = slices.Clone(n.children)
		c[path] = &k
	}
	return c
}

func join(parent, name string) string {
	if parent == "/" {
		return "/" + name
	}
	return parent + "/" + name
}

func (m model) create(parent, name string, a NewNode) {
	p := m[parent]
	p.children = slices.Insert(p.children, 0, name)
	p.Cversion++
	p.NumChildren++
	p.Pzxid = a.Zxid
	m[join(parent, name)] = &modelNode{data: a.Data, acl: a.ACL, kind: a.Kind, owner: a.Owner, ttl: a.TTL,
		Stat: jute.Stat{Czxid: a.Zxid, Mzxid: a.Zxid, Pzxid: a.Zxid, Ctime: a.Now, Mtime: a.Now}}
}

func (m model) remove(path string, zxid int64) {
	parent, name := Split(path)
	p := m[parent]
	i := slices.Index(p.children, name)
	p.children = slices.Delete(p.children, i, i+1)
	p.NumChildren--
	p.Pzxid = zxid
	delete(m, path)
}

// compare reports the first difference between the tree and the model.
func (m model) compare(t *Tree) error {
	if err := t.Check(); err != nil {
		return err
	}
	var size int64
	ephemerals := map[int64][]string{}
	var containers, ttls []string
	for _, path := range slices.Sorted(maps.Keys(m)) {
		n := m[path]
		size += int64(len(path) + len(n.data))
		switch n.kind {
		case Ephemeral:
			ephemerals[n.owner] = append(ephemerals[n.owner], path)
		case Container:
			containers = append(containers, path)
		case TTL:
			ttls = append(ttls, path)
		}
		if err := n.compare(t, path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if t.NodeCount() != len(m) || t.DataSize() != size {
		return fmt.Errorf("%d nodes of %d bytes, want %d of %d", t.NodeCount(), t.DataSize(), len(m), size)
	}
	count := 0
	var got []string
	for owner, n := range t.EphemeralOwners() {
		var paths []string
		for _, id := range t.Ephemerals(owner) {
			paths = append(paths, t.Path(id))
		}
		if !slices.Equal(paths, ephemerals[owner]) || n != len(paths) || t.EphemeralCountOf(owner) != n {
			return fmt.Errorf("session %d has %d: %v, want %v", owner, n, paths, ephemerals[owner])
		}
		count += n
		delete(ephemerals, owner)
	}
	if len(ephemerals) > 0 || t.EphemeralCount() != count {
		return fmt.Errorf("ephemerals missing: %v; %d counted, and said to be %d", ephemerals, count, t.EphemeralCount())
	}
	for id := range t.Containers() {
		got = append(got, t.Path(id))
	}
	if slices.Sort(got); !slices.Equal(got, containers) || t.ContainerCount() != len(got) {
		return fmt.Errorf("containers %v, want %v", got, containers)
	}
	got = nil
	for id := range t.TTLNodes() {
		got = append(got, t.Path(id))
	}
	if slices.Sort(got); !slices.Equal(got, ttls) || t.TTLCount() != len(got) {
		return fmt.Errorf("TTL nodes %v, want %v", got, ttls)
	}
	return nil
}

func (n *modelNode) compare(t *Tree, path string) error {
	id := t.Find(path)
	if id == None {
		return fmt.Errorf("not found")
	}
	parent, name := Split(path)
	if id != Root && t.FindChild(t.Find(parent), name) != id {
		return fmt.Errorf("not found as a child of its parent")
	}
	if t.Name(id) != name || t.Path(id) != path || t.Parent(id) != t.Find(parent) || !t.Live(id) {
		return fmt.Errorf("its name is %q, its path %q, its parent %d", t.Name(id), t.Path(id), t.Parent(id))
	}
	if !bytes.Equal(t.Data(id), n.data) || (t.Data(id) == nil) != (n.data == nil) {
		return fmt.Errorf("its data is %q, want %q", t.Data(id), n.data)
	}
	if !slices.Equal(t.ACL(id), n.acl) || t.Kind(id) != n.kind || t.Owner(id) != n.owner || t.TTL(id) != n.ttl {
		return fmt.Errorf("%v %v owner %d ttl %d, want %v %v %d %d", t.ACL(id), t.Kind(id), t.Owner(id), t.TTL(id), n.acl, n.kind, n.owner, n.ttl)
	}
	own := n.Stat
	if id == Config {
		own.Version = -1 // whatever was counted
	}
	want := own
	want.Cversion = 2*n.Cversion - n.NumChildren
	want.DataLength = int32(len(n.data))
	if n.kind == Ephemeral {
		want.EphemeralOwner = n.owner
	}
	var stat jute.Stat
	if t.Stat(id, &stat); stat != want {
		return fmt.Errorf("stat %+v, want %+v", stat, want)
	}
	short := jute.Stat{Czxid: t.Czxid(id), Mzxid: t.Mzxid(id), Pzxid: t.Pzxid(id), Mtime: t.Mtime(id), Ctime: n.Ctime,
		Version: t.Version(id), Aversion: t.Aversion(id), Cversion: t.Creates(id), NumChildren: int32(t.NumChildren(id))}
	if short != own {
		return fmt.Errorf("one by one %+v, want %+v", short, own)
	}
	var children []string
	for child, name := range t.Children(id) {
		if t.Parent(child) != id {
			return fmt.Errorf("child %q has another parent", name)
		}
		children = append(children, strings.Clone(name))
	}
	if !slices.Equal(children, n.children) {
		return fmt.Errorf("children %v, want %v", children, n.children)
	}
	return nil
}

// below returns the count and data size of the subtree without its top.
func (m model) below(top string) (count int, size int64) {
	prefix := join(top, "")
	for path, n := range m {
		if path != top && strings.HasPrefix(path, prefix) {
			count++
			size += int64(len(n.data))
		}
	}
	return count, size
}

// rebuild makes a tree with the model's contents in the order of the paths, so
// that its node ids have nothing to do with those of the tree that the model
// went along with.
func (m model) rebuild() *Tree {
	t := New()
	for _, path := range slices.Sorted(maps.Keys(m)) {
		n := m[path]
		id := t.Find(path)
		if id == None {
			parent, name := Split(path)
			t.Create(t.Find(parent), name, NewNode{Data: n.data, ACL: n.acl, Kind: n.kind, Owner: n.owner, TTL: n.ttl, Zxid: n.Czxid, Now: n.Ctime})
		} else {
			t.ReplaceData(id, n.data)
			t.SetACL(id, n.acl)
		}
	}
	for path, n := range m {
		r := t.nodes.get(t.Find(path))
		t.digest -= t.statTerm(r)
		r.czxid, r.mzxid, r.pzxid, r.ctime, r.mtime = n.Czxid, n.Mzxid, n.Pzxid, n.Ctime, n.Mtime
		r.version, r.aversion, r.creates = n.Version, n.Aversion, n.Cversion
		t.digest += t.statTerm(r)
	}
	return t
}

var testACLs = [][]jute.ACL{
	openACL, readACL,
	{{Perms: jute.PermAll, ID: jute.ID{Scheme: "auth", ID: ""}}},
	{{Perms: jute.PermRead, ID: jute.ID{Scheme: "digest", ID: "a:b="}}, {Perms: jute.PermAll, ID: jute.ID{Scheme: "ip", ID: "127.0.0.1"}}},
	{{Perms: jute.PermAll, ID: jute.ID{Scheme: "ip", ID: "127.0.0.1"}}, {Perms: jute.PermRead, ID: jute.ID{Scheme: "digest", ID: "a:b="}}},
}

// run is a tree and its model on the way through random operations.
type run struct {
	testing.TB
	rnd  *rand.Rand
	tree *Tree
	m    model
	zxid int64

	// The snapshot under way, what it should show, and its bytes so far.
	snap   *Snapshot
	snapM  model
	digest uint64
	bytes  []byte
}

// path picks a node, on a random way down.
func (r *run) path() string {
	for path := "/"; ; {
		children := r.m[path].children
		if len(children) == 0 || r.rnd.IntN(5) == 0 {
			return path
		}
		path = join(path, children[r.rnd.IntN(len(children))])
	}
}

func (r *run) data() []byte {
	switch r.rnd.IntN(8) {
	case 0:
		return nil
	case 1:
		return []byte{}
	case 2:
		return bytes.Repeat([]byte{byte(r.rnd.Uint32())}, r.rnd.IntN(20000))
	}
	return bytes.Repeat([]byte{byte(r.rnd.Uint32())}, r.rnd.IntN(60))
}

// change makes one random change, in the tree and in the model.
func (r *run) change(grow int) {
	r.zxid++
	path, now := r.path(), r.zxid*1000+r.rnd.Int64N(1000)
	id, n := r.tree.Find(path), r.m[path]
	acl := testACLs[r.rnd.IntN(len(testACLs))]
	switch op := r.rnd.IntN(10 + grow); {
	case op < 2:
		data := r.data()
		r.tree.SetData(id, data, r.zxid, now)
		n.data, n.Mzxid, n.Mtime = data, r.zxid, now
		if n.Version++; n.Version == -1 {
			n.Version = 0
		}
	case op < 3:
		data := r.data()
		r.tree.ReplaceData(id, data)
		n.data = data
	case op < 4:
		r.tree.SetACL(id, acl)
		n.acl = acl
		n.Aversion++
	case op < 8:
		if len(n.children) == 0 && id > Config {
			r.tree.Delete(id, r.zxid)
			r.m.remove(path, r.zxid)
		}
	default:
		name := fmt.Sprintf("%c%d", 'a'+r.rnd.IntN(3), r.rnd.IntN(20))
		if r.rnd.IntN(20) == 0 {
			name = strings.Repeat("n", 1+r.rnd.IntN(2000))
		}
		if r.m[join(path, name)] != nil {
			return
		}
		a := NewNode{Data: r.data(), ACL: acl, Kind: Kind(r.rnd.IntN(4)), Zxid: r.zxid, Now: now}
		switch a.Kind {
		case Ephemeral:
			a.Owner = r.rnd.Int64N(5) - 2
		case TTL:
			a.TTL = 1 + r.rnd.Int64N(1<<40)
		}
		r.tree.Create(id, name, a)
		r.m.create(path, name, a)
	}
}

// multi makes several changes in a transaction.
func (r *run) multi(grow int) {
	before, digest := r.m.clone(), r.tree.Digest()
	ids := r.ids()
	r.tree.Begin()
	for range r.rnd.IntN(30) {
		r.change(grow)
	}
	if r.rnd.IntN(2) == 0 {
		r.tree.Commit()
		return
	}
	r.tree.Rollback()
	r.m = before
	if r.tree.Digest() != digest || !maps.Equal(ids, r.ids()) {
		r.Fatalf("rollback: digest %x, want %x; or the ids are others", r.tree.Digest(), digest)
	}
}

func (r *run) ids() map[string]NodeID {
	ids := map[string]NodeID{}
	for path := range r.m {
		ids[path] = r.tree.Find(path)
	}
	return ids
}

// snapshot moves a snapshot on, or begins or abandons one.
func (r *run) snapshot() {
	if r.snap == nil {
		var err error
		if r.snap, err = r.tree.BeginSnapshot(); err != nil {
			r.Fatal(err)
		}
		if _, err := r.tree.BeginSnapshot(); err == nil {
			r.Fatal("two snapshots at a time")
		}
		r.snapM, r.digest, r.bytes = r.m.clone(), r.tree.Digest(), nil
		return
	}
	had := len(r.bytes)
	var done bool
	if r.bytes, done = r.snap.Next(r.bytes, r.rnd.IntN(2000)); len(r.bytes) == had && !done {
		r.Fatal("Next came back with nothing")
	}
	if done {
		back := restore(r, r.bytes, r.rnd)
		if err := r.snapM.compare(back); err != nil {
			r.Fatalf("restored: %v", err)
		}
		if back.Digest() != r.digest {
			r.Fatalf("restored: digest %x, want %x", back.Digest(), r.digest)
		}
		again, err := back.BeginSnapshot()
		if err != nil {
			r.Fatal(err)
		}
		if b, _ := again.Next(nil, 1<<30); !bytes.Equal(b, r.bytes) {
			r.Fatal("the restored tree's snapshot has other bytes")
		}
	} else if r.rnd.IntN(100) > 0 {
		return
	}
	r.snap.Close()
	r.snap.Close()
	r.snap = nil
}

// restore makes a tree of a snapshot that comes in pieces.
func restore(tb testing.TB, snapshot []byte, rnd *rand.Rand) *Tree {
	tb.Helper()
	r := NewRestorer()
	for len(snapshot) > 0 {
		n := len(snapshot)
		if rnd != nil {
			n = 1 + rnd.IntN(min(n, 3000))
		}
		if err := r.Add(snapshot[:n:n]); err != nil {
			tb.Fatal(err)
		}
		snapshot = snapshot[n:]
	}
	t, err := r.Finish()
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func TestModel(t *testing.T) {
	seeds, steps := 12, 1500
	if testing.Short() {
		seeds, steps = 3, 500
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := &run{TB: t, rnd: rand.New(rand.NewPCG(uint64(seed), 1)), tree: New(), m: newModel()}
			for step := range steps {
				// The tree grows and shrinks by turns.
				grow := 12 * (step / 300 % 2)
				switch r.rnd.IntN(10) {
				case 0:
					r.multi(grow)
				case 1, 2, 3:
					r.snapshot()
				default:
					r.change(grow)
				}
				if step%50 == 49 {
					if err := r.m.compare(r.tree); err != nil {
						t.Fatalf("step %d: %v", step, err)
					}
					top := r.path()
					id := r.tree.Find(top)
					count, size := r.m.below(top)
					size += int64(len(r.m[top].data))
					if r.tree.DescendantCount(id) != count || r.tree.SubtreeBytes(id) != size {
						t.Fatalf("step %d: below %s: %d nodes of %d bytes, want %d of %d", step, top, r.tree.DescendantCount(id), r.tree.SubtreeBytes(id), count, size)
					}
				}
			}
			other := r.m.rebuild()
			if err := other.Check(); err != nil {
				t.Fatal(err)
			}
			if other.Digest() != r.tree.Digest() {
				t.Fatalf("the same contents, built in another order, have digest %x, not %x", other.Digest(), r.tree.Digest())
			}
		})
	}
}
