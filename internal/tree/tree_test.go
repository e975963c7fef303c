package tree

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
)

// The stats and ACLs are those of a fresh ZooKeeper 3.8.0.
func TestNew(t *testing.T) {
	tr := New()
	if err := newModel().compare(tr); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]jute.Stat{
		"/":                 {Cversion: -1, NumChildren: 1},
		"/zookeeper":        {Cversion: -2, NumChildren: 2},
		"/zookeeper/quota":  {},
		"/zookeeper/config": {Version: -1, Aversion: -1},
	} {
		var got jute.Stat
		if tr.Stat(tr.Find(path), &got); got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
	if tr.Find("/zookeeper") != System || tr.Find("/zookeeper/quota") != Quota || tr.Find("/zookeeper/config") != Config {
		t.Error("the constants are not the nodes' ids")
	}
	if tr.DataSize() != 44 || tr.DescendantCount(Root) != 3 {
		t.Errorf("DataSize %d, DescendantCount %d; ZooKeeper says 44 and 3", tr.DataSize(), tr.DescendantCount(Root))
	}
}

// Members compare digests: one that comes out otherwise in another release, on
// another processor or in another process is an outage. If this test fails, the
// format of the digest has changed, and members of two releases can't agree.
func TestDigestIsForever(t *testing.T) {
	tr := New()
	got := []uint64{tr.Digest()}
	id := tr.Create(Root, "a", NewNode{Data: []byte("some data, longer than 16 bytes"), ACL: openACL, Zxid: 1, Now: 2})
	got = append(got, tr.Digest())
	tr.Create(id, "ephemeral", NewNode{Kind: Ephemeral, Owner: 3, ACL: readACL, Zxid: 4, Now: 5})
	got = append(got, tr.Digest())
	want := []uint64{0x41ac1a42a101ddd1, 0x44c3ff2c27bd5a54, 0xf92d98ec6f09f2da}
	if !slices.Equal(got, want) {
		t.Errorf("got %#x, want %#x", got, want)
	}
}

// Each field of a node counts in the digest.
func TestDigestSeesAll(t *testing.T) {
	base := func(t *Tree) NodeID {
		return t.Create(Root, "a", NewNode{Data: []byte("x"), ACL: openACL, Kind: TTL, TTL: 9, Zxid: 1, Now: 2})
	}
	tr := New()
	base(tr)
	seen := map[uint64]string{tr.Digest(): "nothing"}
	for what, change := range map[string]func(*Tree, *node){
		"czxid":                func(_ *Tree, n *node) { n.czxid++ },
		"mzxid":                func(_ *Tree, n *node) { n.mzxid++ },
		"pzxid":                func(_ *Tree, n *node) { n.pzxid++ },
		"ctime":                func(_ *Tree, n *node) { n.ctime++ },
		"mtime":                func(_ *Tree, n *node) { n.mtime++ },
		"version":              func(_ *Tree, n *node) { n.version++ },
		"aversion":             func(_ *Tree, n *node) { n.aversion++ },
		"creates":              func(_ *Tree, n *node) { n.creates++ },
		"children":             func(_ *Tree, n *node) { n.numChildren++ },
		"kind":                 func(_ *Tree, n *node) { n.nameLen-- },
		"acl":                  func(t *Tree, n *node) { n.acl = t.acls.intern(readACL) },
		"acl order":            func(t *Tree, n *node) { n.acl = t.acls.intern(testACLs[3]) },
		"acl, the other order": func(t *Tree, n *node) { n.acl = t.acls.intern(testACLs[4]) },
		"path":                 func(_ *Tree, n *node) { n.pathHash = childHash(rootHash, "b") },
		"data":                 func(t *Tree, n *node) { t.store(n, 9, "a", []byte("y")) },
		"no data":              func(t *Tree, n *node) { t.store(n, 9, "a", []byte{}) },
		"nil data":             func(t *Tree, n *node) { t.store(n, 9, "a", nil) },
		"ttl":                  func(t *Tree, n *node) { t.store(n, 10, "a", []byte("x")) },
	} {
		tr := New()
		n := tr.nodes.get(base(tr))
		tr.digest -= tr.statTerm(n) + tr.dataTerm(n)
		change(tr, n)
		tr.digest += tr.statTerm(n) + tr.dataTerm(n)
		if other, ok := seen[tr.Digest()]; ok {
			t.Errorf("a change of %s has the digest of a change of %s", what, other)
		}
		seen[tr.Digest()] = what
	}
}

func TestVersionSkipsMinusOne(t *testing.T) {
	tr := New()
	id := tr.Create(Root, "a", NewNode{ACL: openACL})
	for _, v := range [][2]int32{{0, 1}, {math.MaxInt32, math.MinInt32}, {-3, -2}, {-2, 0}} {
		tr.digest -= tr.statTerm(tr.nodes.get(id))
		tr.nodes.get(id).version = v[0]
		tr.digest += tr.statTerm(tr.nodes.get(id))
		if tr.SetData(id, nil, 1, 1); tr.Version(id) != v[1] {
			t.Errorf("version %d is followed by %d, want %d", v[0], tr.Version(id), v[1])
		}
	}
	if err := tr.Check(); err != nil {
		t.Error(err)
	}
}

// What a caller should have refused is refused loudly, and changes nothing.
func TestMisuse(t *testing.T) {
	for name, f := range map[string]func(*Tree){
		"delete with children":        func(t *Tree) { t.Delete(t.Find("/a"), 1) },
		"delete of the root":          func(t *Tree) { t.Delete(Root, 1) },
		"delete of /zookeeper/config": func(t *Tree) { t.Delete(Config, 1) },
		"create twice":                func(t *Tree) { t.Create(t.Find("/a"), "b", NewNode{ACL: openACL}) },
		"create without a name":       func(t *Tree) { t.Create(Root, "", NewNode{ACL: openACL}) },
		"create of an unknown kind":   func(t *Tree) { t.Create(Root, "x", NewNode{ACL: openACL, Kind: 4}) },
		"commit without begin":        func(t *Tree) { t.Commit() },
		"rollback without begin":      func(t *Tree) { t.Rollback() },
		"begin within a transaction":  func(t *Tree) { t.Begin(); defer t.Rollback(); t.Begin() },
	} {
		t.Run(name, func(t *testing.T) {
			tr := New()
			tr.Create(tr.Create(Root, "a", NewNode{ACL: openACL}), "b", NewNode{ACL: openACL})
			digest := tr.Digest()
			func() {
				defer func() {
					if recover() == nil {
						t.Error("no panic")
					}
				}()
				f(tr)
			}()
			if err := tr.Check(); err != nil || tr.Digest() != digest {
				t.Errorf("the tree has changed: %v", err)
			}
		})
	}
	tr := New()
	tr.Begin()
	if _, err := tr.BeginSnapshot(); err == nil {
		t.Error("a snapshot began within a transaction")
	}
}

func TestFindOddPaths(t *testing.T) {
	tr := New()
	tr.Create(tr.Create(Root, "a", NewNode{ACL: openACL}), "b", NewNode{ACL: openACL})
	for _, path := range []string{"", "a", "a/b", "//", "/a/", "//a", "/a//b", "/b", "/a/b/c", "/a/c", "xa", "/zookeepe"} {
		if id := tr.Find(path); id != None {
			t.Errorf("%q is found to be node %d", path, id)
		}
	}
	if string(tr.AppendPath([]byte("at "), tr.Find("/a/b"))) != "at /a/b" || string(tr.AppendPath([]byte("at "), Root)) != "at /" {
		t.Error("AppendPath does not append")
	}
}

// Create keeps nothing of what it is given.
func TestCreateCopies(t *testing.T) {
	tr := New()
	data, name := []byte("data"), []byte("name")
	scheme := []byte("world")
	acl := []jute.ACL{{Perms: 1, ID: jute.ID{Scheme: text(scheme), ID: "anyone"}}, {Perms: 2}}
	id := tr.Create(Root, text(name), NewNode{Data: data, ACL: acl})
	copy(data, "xxxx")
	copy(name, "xxxx")
	copy(scheme, "xxxxx")
	acl[1].Perms = 3
	if string(tr.Data(id)) != "data" || tr.Name(id) != "name" || tr.ACL(id)[0].ID.Scheme != "world" || tr.ACL(id)[1].Perms != 2 {
		t.Errorf("%q %q %v", tr.Data(id), tr.Name(id), tr.ACL(id))
	}
	// Data that is a view of the node's own, and of a longer one.
	tr.SetData(id, []byte("0123456789"), 1, 1)
	tr.SetData(id, tr.Data(id)[2:5], 2, 2)
	if string(tr.Data(id)) != "234" {
		t.Errorf("%q", tr.Data(id))
	}
}

func TestSnapshotComesBack(t *testing.T) {
	tr := New()
	id := tr.Create(Root, "a", NewNode{Data: []byte("x"), ACL: openACL, Zxid: 1, Now: 5})
	if tr.Find("/a") != id || tr.Path(id) != "/a" || tr.DataSize() != 44+3 {
		t.Fatalf("Find %d, path %q, size %d", tr.Find("/a"), tr.Path(id), tr.DataSize())
	}
	digest := tr.Digest()
	tr.Begin()
	b := tr.Create(id, "b", NewNode{Kind: Ephemeral, Owner: 7, ACL: openACL, Zxid: 2})
	tr.SetData(b, []byte("yy"), 3, 3)
	tr.Rollback()
	if tr.Digest() != digest || tr.Find("/a/b") != None {
		t.Fatal("rollback left something behind")
	}
	s, err := tr.BeginSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	tr.Create(id, "c", NewNode{Kind: Ephemeral, Owner: 7, ACL: openACL, Zxid: 2})
	tr.SetData(id, []byte("yy"), 3, 3)
	buf, done := s.Next(nil, 1<<20)
	s.Close()
	r := NewRestorer()
	if err := r.Add(buf); err != nil || !done {
		t.Fatal(err, done)
	}
	back, err := r.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if back.Digest() != digest {
		t.Fatalf("digest %x, want %x", back.Digest(), digest)
	}
}

// A member that restored a snapshot and one that did not go on alike: the same
// operations give the same ids, children in the same order and the same bytes.
func TestTwins(t *testing.T) {
	for seed := range uint64(4) {
		r := &run{TB: t, rnd: rand.New(rand.NewPCG(seed, 2)), tree: New(), m: newModel()}
		for range 400 {
			r.change(10)
		}
		for range 100 {
			r.change(0)
		}
		twin := &run{TB: t, tree: restore(t, snapshotOf(t, r.tree), nil), m: r.m.clone(), zxid: r.zxid}
		r.rnd, twin.rnd = rand.New(rand.NewPCG(seed, 3)), rand.New(rand.NewPCG(seed, 3))
		for range 100 {
			r.change(5)
			twin.change(5)
			r.multi(5)
			twin.multi(5)
		}
		if !maps.Equal(r.ids(), twin.ids()) {
			t.Error("the ids differ")
		}
		if !bytes.Equal(snapshotOf(t, r.tree), snapshotOf(t, twin.tree)) {
			t.Error("the snapshots differ")
		}
	}
}

// Readers, the writer and a snapshot at the same time, with no more locking
// than the package's documentation asks for. The race detector is the judge,
// and the restored digest.
func TestConcurrent(t *testing.T) {
	var mu sync.RWMutex
	tr := New()
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Add(4)
	go func() { // the writer
		defer wg.Done()
		defer close(done)
		rnd := rand.New(rand.NewPCG(8, 8))
		for i := range int64(6000) {
			path := fmt.Sprintf("/n%d", rnd.IntN(300))
			acl := []jute.ACL{{Perms: jute.Perm(rnd.IntN(20))}}
			mu.Lock()
			switch id := tr.Find(path); {
			case id == None:
				tr.Create(Root, path[1:], NewNode{Data: make([]byte, rnd.IntN(3000)), ACL: acl, Kind: Kind(rnd.IntN(4)), Owner: 1 + i%3, Zxid: i})
			case rnd.IntN(3) == 0:
				tr.Delete(id, i)
			case rnd.IntN(3) == 0:
				tr.Begin()
				tr.SetACL(id, acl)
				tr.SetData(id, make([]byte, 10), i, i)
				tr.Rollback()
			default:
				tr.SetData(id, make([]byte, rnd.IntN(10000)), i, i)
				tr.SetACL(id, acl)
			}
			mu.Unlock()
		}
	}()
	for range 2 {
		go func() {
			defer wg.Done()
			var stat jute.Stat
			for {
				select {
				case <-done:
					return
				default:
				}
				mu.RLock()
				for id, name := range tr.Children(Root) {
					tr.Stat(id, &stat)
					if tr.Find("/"+name) != id || len(tr.Data(id)) != int(stat.DataLength) || len(tr.ACL(id)) != 1 && id != System {
						t.Errorf("%s does not hold together", tr.Path(id))
					}
				}
				for owner, n := range tr.EphemeralOwners() {
					if len(tr.Ephemerals(owner)) != n {
						t.Error("a session's ephemerals don't add up")
					}
				}
				if bytes := tr.SubtreeBytes(Root); bytes > tr.DataSize() {
					t.Errorf("%d bytes of data in %d bytes", bytes, tr.DataSize())
				}
				mu.RUnlock()
			}
		}()
	}
	go func() {
		defer wg.Done()
		for taken := 0; ; taken++ {
			select {
			case <-done:
				if taken > 0 {
					return
				}
			default:
			}
			mu.Lock()
			digest := tr.Digest()
			s, err := tr.BeginSnapshot()
			mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			r := NewRestorer()
			var buf []byte
			for all := false; !all; {
				mu.RLock()
				buf, all = s.Next(buf[:0], 10_000)
				mu.RUnlock()
				if err := r.Add(buf); err != nil {
					t.Error(err)
				}
			}
			mu.Lock()
			s.Close()
			if err := tr.Check(); err != nil {
				t.Error(err)
			}
			mu.Unlock()
			if back, err := r.Finish(); err != nil || back.Digest() != digest {
				t.Errorf("a snapshot does not come back: %v", err)
			}
		}
	}()
	wg.Wait()
}

// The hot path does not allocate.
func TestNoAllocations(t *testing.T) {
	tr := New()
	leaves := fill(tr, 5000, make([]byte, 100))
	path := leaves[777]
	id := tr.Find(path)
	data := make([]byte, 100)
	var stat jute.Stat
	buf := make([]byte, 0, 100)
	for name, f := range map[string]func(){
		"Find":          func() { id = tr.Find(path) },
		"FindChild":     func() { tr.FindChild(Root, "zookeeper") },
		"Stat and Data": func() { tr.Stat(id, &stat); tr.Data(id) },
		"AppendPath":    func() { buf = tr.AppendPath(buf[:0], id) },
		"Children": func() {
			n := 0
			for _, name := range tr.Children(tr.Parent(id)) {
				n += len(name)
			}
		},
		"SetData":           func() { tr.SetData(id, data, 1, 1) },
		"SetData in multi":  func() { tr.Begin(); tr.SetData(id, data, 1, 1); tr.Commit() },
		"SetData undone":    func() { tr.Begin(); tr.SetData(id, data, 1, 1); tr.Rollback() },
		"SetACL":            func() { tr.SetACL(id, openACL) },
		"Create and Delete": func() { tr.Delete(tr.Create(id, "x", NewNode{Data: data, ACL: openACL}), 1) },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// A large multi does not keep its undo log's memory.
func TestTransactionShrinks(t *testing.T) {
	tr := New()
	tr.Begin()
	for range 2 * keepLog {
		tr.SetData(Root, nil, 1, 1)
	}
	tr.Commit()
	if c := cap(tr.tx.before); c != 0 {
		t.Errorf("the log keeps room for %d nodes", c)
	}
}

// Ephemerals are sorted by whole paths, not by names.
func TestEphemeralsOrder(t *testing.T) {
	tr := New()
	for _, path := range []string{"/b", "/a", "/a/z", "/a-", "/b/a"} {
		parent, name := Split(path)
		tr.Create(tr.Find(parent), name, NewNode{ACL: openACL, Kind: Ephemeral, Owner: 1})
	}
	var got []string
	for _, id := range tr.Ephemerals(1) {
		got = append(got, tr.Path(id))
	}
	if want := "/a /a- /a/z /b /b/a"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if got := tr.Ephemerals(2); len(got) != 0 {
		t.Errorf("session 2 has %v", got)
	}
}
