package session

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
)

func TestTable(t *testing.T) {
	tab := NewTable()
	if tab.Len() != 0 || tab.Get(1) != nil || len(tab.Sorted()) != 0 {
		t.Error("a new table has sessions")
	}
	tab.Delete(1) // of what is not there
	ids := []int64{5, -1, math.MaxInt64, 1, math.MinInt64, 0}
	for _, id := range ids {
		tab.Put(&Session{ID: id})
	}
	for _, id := range ids {
		if s := tab.Get(id); s == nil || s.ID != id {
			t.Errorf("Get(%d) is %v", id, s)
		}
	}
	again := &Session{ID: 5, Epoch: 9}
	if tab.Put(again); tab.Get(5) != again || tab.Len() != len(ids) {
		t.Error("Put does not replace")
	}
	if tab.Delete(1); tab.Get(1) != nil || tab.Len() != len(ids)-1 {
		t.Error("Delete leaves it there")
	}
	want := []int64{math.MinInt64, -1, 0, 5, math.MaxInt64}
	var sorted, each []int64
	for _, s := range tab.Sorted() {
		sorted = append(sorted, s.ID)
	}
	tab.Each(func(s *Session) { each = append(each, s.ID) })
	if slices.Sort(each); !slices.Equal(sorted, want) || !slices.Equal(each, want) {
		t.Errorf("sorted %v, each %v, want %v", sorted, each, want)
	}
}

// The order is that of the ids, however the table came about.
func TestSortedDependsOnNothingElse(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	tab := NewTable()
	var want []int64
	for range 5000 {
		id := int64(rnd.Uint64())
		tab.Put(&Session{ID: id})
		if rnd.IntN(3) == 0 {
			tab.Delete(id)
			continue
		}
		want = append(want, id)
	}
	slices.Sort(want)
	for i, s := range tab.Sorted() {
		if s.ID != want[i] || tab.Get(s.ID) != s {
			t.Fatalf("place %d has %d, want %d", i, s.ID, want[i])
		}
	}
	if tab.Len() != len(want) {
		t.Errorf("%d sessions, want %d", tab.Len(), len(want))
	}
}

func TestCheckPassword(t *testing.T) {
	s := Session{Password: [PasswordSize]byte{1, 2, 3, 15: 9}}
	good := s.Password[:]
	if !s.CheckPassword(slices.Clone(good)) {
		t.Error("its own password is refused")
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x80
		if s.CheckPassword(bad) {
			t.Errorf("a password that differs in byte %d is taken", i)
		}
		if s.CheckPassword(good[:i]) {
			t.Errorf("%d bytes of the password are taken", i)
		}
	}
	if s.CheckPassword(append(slices.Clone(good), 0)) || s.CheckPassword(nil) {
		t.Error("a longer password, or none, is taken")
	}
	// A session of zero bytes is no open door: clients show zeros for none.
	if (&Session{}).CheckPassword(nil) {
		t.Error("no password is taken for zeros")
	}
}

func TestHasID(t *testing.T) {
	s := Session{IDs: []jute.ID{{Scheme: "ip", ID: "::1"}, {Scheme: "digest", ID: "a:b"}}}
	for id, want := range map[jute.ID]bool{
		{Scheme: "ip", ID: "::1"}: true, {Scheme: "digest", ID: "a:b"}: true,
		{Scheme: "digest", ID: "::1"}: false, {Scheme: "ip", ID: "a:b"}: false, {}: false, {Scheme: "ip"}: false,
	} {
		if s.HasID(id) != want {
			t.Errorf("%v: %t", id, !want)
		}
	}
	if (&Session{}).HasID(jute.ID{}) {
		t.Error("a session without identities has one")
	}
}
