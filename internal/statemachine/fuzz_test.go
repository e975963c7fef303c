package statemachine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
)

// twins are two machines in the same state.
func twins(tb testing.TB, base []byte) (a, b *Machine) { return restore(tb, base), restore(tb, base) }

// alike applies the entry to both and holds them to the same outcome, which is
// a state that a snapshot brings back.
func alike(t *testing.T, a, b *Machine, entry []byte) {
	t.Helper()
	var ra, rb recorder
	errA, errB := a.Apply(100, 2, entry, &ra), b.Apply(100, 2, slices.Clone(entry), &rb)
	if fmt.Sprint(errA) != fmt.Sprint(errB) {
		t.Fatalf("%v, and %v", errA, errB)
	}
	same(t, "twins", a, b, ra.lines, rb.lines)
	if back := restore(t, take(t, a, 500)); back.Digest() != a.Digest() {
		t.Fatalf("restored: digest %#x, want %#x", back.Digest(), a.Digest())
	}
}

// FuzzApply: whatever is in an entry, Apply does not panic, and does the same
// everywhere.
func FuzzApply(f *testing.F) {
	m := furnished(f)
	base := take(f, m, 1<<20)
	rnd := rand.New(rand.NewPCG(3, 3))
	h := newHistory(rnd.IntN)
	h.now = restore(f, base)
	for range 40 {
		op := h.op()
		f.Add(append(AppendHeader(nil, testTime), op...))
		f.Add(slices.Concat(AppendHeader(nil, testTime+5), op, h.op(), h.op()))
	}
	f.Add([]byte{})
	f.Add(AppendHeader(nil, -1))
	f.Fuzz(func(t *testing.T, entry []byte) {
		a, b := twins(t, base)
		alike(t, a, b, entry)
	})
}

// FuzzWrite: the same for the two writes that a session sends next, whatever
// they are.
func FuzzWrite(f *testing.F) {
	m := furnished(f)
	base := take(f, m, 1<<20)
	rnd := rand.New(rand.NewPCG(4, 4))
	h := newHistory(rnd.IntN)
	h.now = restore(f, base)
	for range 30 {
		op, body := h.write()
		op2, body2 := h.write()
		f.Add(int32(op), everything, body, int32(op2), body2)
		multi := multiBody(part{op, body}, part{op2, body2})
		f.Add(int32(jute.OpMulti), everything, multi, int32(op), body)
	}
	f.Fuzz(func(t *testing.T, op int32, flags byte, body []byte, op2 int32, body2 []byte) {
		a, b := twins(t, base)
		s := a.Sessions().Get(1)
		next := SessionOp{Session: s.ID, Epoch: s.Epoch, Seq: s.LastSeq + 1, Flags: flags, Op: jute.OpCode(op)}
		entry := AppendSessionOp(AppendHeader(nil, testTime), next, body)
		next.Seq, next.Op = next.Seq+1, jute.OpCode(op2)
		alike(t, a, b, AppendSessionOp(entry, next, body2))
	})
}

// FuzzHistory: the same for the histories that a string of bytes decides on,
// one operation an entry on one machine, as many as can be on the other, which
// is restored from a snapshot half way.
func FuzzHistory(f *testing.F) {
	rnd := rand.New(rand.NewPCG(5, 5))
	for n := 1; n <= 2048; n *= 2 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		h := newHistory(func(n int) int {
			v := 0
			for ; n > 1 && len(script) > 0; n >>= 8 {
				v = v<<8 | int(script[0])
				script = script[1:]
				if n <= 256 {
					return v % n
				}
			}
			return 0
		})
		for len(script) > 0 && len(h.steps) < 400 {
			h.add()
		}
		half := len(h.steps) / 2
		m := New()
		var r recorder
		if err := apply(m, h.steps[:half], 0, nil, &r); err != nil {
			t.Fatal(err)
		}
		m = restore(t, take(t, m, 700))
		if err := apply(m, h.steps, half, func() bool { return true }, &r); err != nil {
			t.Fatal(err)
		}
		same(t, "another way", m, h.now, r.lines, h.said.lines)
	})
}

// FuzzRestore: whatever is in a snapshot, Restore returns a sound state or an
// error, even if the checksum and digest at its end are right.
func FuzzRestore(f *testing.F) {
	for _, m := range []*Machine{New(), furnished(f)} {
		for _, step := range []int{1, 1 << 20} {
			b := take(f, m, step)
			f.Add(b)
			records := split(b)
			f.Add(slices.Concat(records[:len(records)-1]...))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, seal(b)} {
			m, err := Restore(bytes.NewReader(b))
			if err != nil {
				continue
			}
			if err := m.Tree().Check(); err != nil {
				t.Fatal(err)
			}
			if back := restore(t, take(t, m, 300)); back.Digest() != m.Digest() {
				t.Fatalf("restored again: digest %#x, want %#x", back.Digest(), m.Digest())
			}
		}
	})
}

// FuzzACL: no identity, however hostile, makes the judges of ACLs panic or
// disagree with themselves.
func FuzzACL(f *testing.F) {
	for _, s := range [][3]string{{"ip", "10.0.0.0/8", "10.1.1.1"}, {"ip", "::/0", "::1"}, {"digest", "a:b", "a:b"}, {"auth", "", "x:y"}, {"world", "anyone", ""}, {"super", "", ""}, {"ip", "1.2.3.4/99", "fe80::1%lo"}} {
		f.Add(int32(31), s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, perms int32, scheme, id, mine string) {
		acl := []jute.ACL{entry(jute.Perm(perms), scheme, id), entry(1, "digest", "x:y")}
		ids := []jute.ID{{Scheme: "ip", ID: mine}, {Scheme: scheme, ID: mine}}
		stored, code := FixupACL(acl, ids)
		if (code == jute.OK) != (len(stored) > 0) {
			t.Fatalf("%v %v", stored, code)
		}
		if again, code2 := FixupACL(stored, nil); code == jute.OK && scheme != "auth" && (code2 != jute.OK || !slices.Equal(again, stored)) {
			t.Fatalf("%v is stored, and later %v %v", stored, again, code2)
		}
		if addr, err := netip.ParseAddr(id); err == nil && addr.Zone() == "" && scheme == "ip" && perms != 0 {
			if code != jute.OK || !CheckACL(stored[:1], jute.Perm(perms), []jute.ID{{Scheme: "ip", ID: id}}) {
				t.Fatalf("%q is not in itself: %v", id, code)
			}
		}
		CheckACL(stored, jute.PermRead, ids)
		MaskACL(stored)
	})
}
