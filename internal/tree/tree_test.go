package tree

import "testing"

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
