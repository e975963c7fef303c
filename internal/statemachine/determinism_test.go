package statemachine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
)

// take writes out a snapshot.
func take(tb testing.TB, m *Machine, step int) []byte {
	tb.Helper()
	s, err := m.BeginSnapshot()
	if err != nil {
		tb.Fatal(err)
	}
	defer s.Close()
	var b []byte
	for done := false; !done; {
		b, done = s.Next(b, step)
	}
	return b
}

// restore reads it back.
func restore(tb testing.TB, snapshot []byte) *Machine {
	tb.Helper()
	m, err := Restore(bytes.NewReader(snapshot))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// same holds that after the steps both machines have the same state, and have
// said the same.
func same(tb testing.TB, what string, m, want *Machine, lines, wantLines []string) {
	tb.Helper()
	for i := range min(len(lines), len(wantLines)) {
		if lines[i] != wantLines[i] {
			tb.Fatalf("%s: line %d:\n got %s\nwant %s", what, i, lines[i], wantLines[i])
		}
	}
	if len(lines) != len(wantLines) {
		tb.Fatalf("%s: %d lines, want %d", what, len(lines), len(wantLines))
	}
	if m.Digest() != want.Digest() || m.Zxid() != want.Zxid() || m.Now() != want.Now() {
		tb.Fatalf("%s: digest %#x, zxid %#x, want %#x, %#x", what, m.Digest(), m.Zxid(), want.Digest(), want.Zxid())
	}
	if !bytes.Equal(take(tb, m, 1000), take(tb, want, 1000)) {
		tb.Fatalf("%s: the snapshots differ", what)
	}
	sound(tb, m)
}

// Apply is a pure function of state and entry: the same steps lead to the same
// state and the same answers, however they are cut into entries, and wherever a
// member has come in by a snapshot.
func TestSameHistorySameState(t *testing.T) {
	seeds, length := 10, 1000
	if testing.Short() {
		seeds = 6
	}
	reached := map[string]int{}
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(uint64(seed), 7))
		h := newHistory(rnd.IntN)
		marks := []int{0} // lines before each step
		digests := []uint64{h.now.Digest()}
		for range length {
			h.add()
			marks = append(marks, len(h.said.lines))
			digests = append(digests, h.now.Digest())
		}
		count(reached, &h.said)
		for name, join := range map[string]func() bool{
			"one by one": nil, "as long as can be": func() bool { return true }, "cut anywhere": func() bool { return rnd.IntN(3) > 0 },
		} {
			var r recorder
			m := New()
			if err := apply(m, h.steps, 0, join, &r); err != nil {
				t.Fatal(err)
			}
			same(t, fmt.Sprintf("seed %d, entries %s", seed, name), m, h.now, r.lines, h.said.lines)
		}
		for range 5 {
			at := rnd.IntN(length)
			m := New()
			if err := apply(m, h.steps[:at], 0, nil, &recorder{}); err != nil {
				t.Fatal(err)
			}
			m = restore(t, take(t, m, 1+rnd.IntN(5000)))
			if m.Digest() != digests[at] {
				t.Fatalf("seed %d, restored at step %d: digest %#x, want %#x", seed, at, m.Digest(), digests[at])
			}
			var r recorder
			if err := apply(m, h.steps, at, nil, &r); err != nil {
				t.Fatal(err)
			}
			same(t, fmt.Sprintf("seed %d, restored at step %d", seed, at), m, h.now, r.lines, h.said.lines[marks[at]:])
		}
	}
	// The histories would prove little if they did not get about.
	for _, what := range []string{"create OK", "create2 OK", "createContainer OK", "createTTL OK", "delete OK", "setData OK", "setACL OK", "multi OK",
		"auth OK", "sync OK", "closeSession OK", "part create", "part error", "create NodeExists", "create NoNode", "create NoAuth", "create InvalidACL",
		"create BadArguments", "create QuotaExceeded", "create NoChildrenForEphemerals", "createTTL Unimplemented", "delete NotEmpty", "delete BadVersion",
		"multi MarshallingError", "setData QuotaExceeded", "refused", "attached OK", "attached SessionExpired", "attached NodeExists", "expired", "closed",
		"NodeDeleted", "NodeCreated", "NodeDataChanged"} {
		if reached[what] == 0 {
			t.Errorf("no history has reached %s", what)
		}
	}
	t.Log(reached)
}

func count(reached map[string]int, said *recorder) {
	for _, r := range said.replies {
		reached[fmt.Sprint(r.Op, " ", r.Err)]++
		for _, p := range r.Parts {
			reached[fmt.Sprint("part ", p.Op)]++
		}
	}
	for _, a := range said.attached {
		reached[fmt.Sprint("attached ", a.Err)]++
	}
	for _, e := range said.ended {
		reached[map[bool]string{true: "expired", false: "closed"}[e.Expired]]++
	}
	for _, e := range said.events {
		reached[e.Type.String()]++
	}
	reached["refused"] += len(said.refused)
}

// A snapshot written while Apply goes on is the state as it was when it began.
func TestSnapshotBesideApply(t *testing.T) {
	for seed := range 8 {
		rnd := rand.New(rand.NewPCG(uint64(seed), 8))
		h := newHistory(rnd.IntN)
		m := New()
		var s *Snapshot
		var b, clean []byte
		var began int
		var digest uint64
		snapshots := 0
		for i := range 1500 {
			h.add()
			if err := apply(m, h.steps, i, nil, &recorder{}); err != nil {
				t.Fatal(err)
			}
			if s == nil {
				if i > 300 && rnd.IntN(20) == 0 {
					clean = take(t, m, 1<<20)
					digest, began, b = m.Digest(), i+1, nil
					var err error
					if s, err = m.BeginSnapshot(); err != nil {
						t.Fatal(err)
					}
					if index, term := m.Applied(); s.Index != index || s.Term != term || s.Zxid != m.Zxid() {
						t.Fatalf("the snapshot says %d %d %#x", s.Index, s.Term, s.Zxid)
					}
				}
				continue
			}
			var done bool
			if b, done = s.Next(b, rnd.IntN(400)); !done {
				continue
			}
			s.Close()
			s = nil
			snapshots++
			back := restore(t, b)
			if back.Digest() != digest {
				t.Fatalf("seed %d: a snapshot of step %d written until step %d has digest %#x, want %#x", seed, began, i, back.Digest(), digest)
			}
			sound(t, back)
			if !bytes.Equal(take(t, back, 1<<20), clean) {
				t.Fatalf("seed %d: it has other bytes", seed)
			}
			if err := apply(back, h.steps, began, nil, &recorder{}); err != nil {
				t.Fatal(err)
			}
			if back.Digest() != m.Digest() {
				t.Fatalf("seed %d: from step %d on it goes another way", seed, began)
			}
		}
		if s != nil {
			s.Close()
		}
		if snapshots == 0 {
			t.Fatalf("seed %d: no snapshot came to its end", seed)
		}
		sound(t, m)
	}
}

// Nothing that is handed to a Sink, and nothing that is kept, lives in the
// entry: whoever reads the log reuses its memory.
func TestEntriesAreNotKept(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 9))
	h := newHistory(rnd.IntN)
	m := New()
	var r recorder
	for i := range 3000 {
		h.add()
		s := h.steps[i]
		if s.op == nil {
			m.ApplyMembers(uint64(i+1), s.term, slices.Clone(s.members), &r)
			continue
		}
		entry := append(AppendHeader(nil, s.time), s.op...)
		if err := m.Apply(uint64(i+1), s.term, entry, &r); err != nil {
			t.Fatal(err)
		}
		for j := range entry {
			entry[j] = 0xa5
		}
	}
	same(t, "over entries that are gone", m, h.now, r.lines, h.said.lines)
	if strings.Contains(r.String(), "\xa5\xa5") {
		t.Error("a line shows an entry that is gone")
	}
}

// A Sink is told of a transaction when the state already has it, events first.
func TestSinkSeesTheNewState(t *testing.T) {
	b := newBox(t)
	c := b.open(1)
	c.create("/a", "")
	sink := &lookingSink{recorder: &recorder{}, m: b.Machine}
	ops := slices.Concat(c.op(jute.OpSetData, setBody("/a", "1", -1)), c.op(jute.OpSetData, setBody("/a", "2", -1)))
	if err := b.Apply(b.index+1, 1, append(AppendHeader(nil, 0), ops...), sink); err != nil {
		t.Fatal(err)
	}
	if want := []string{"1", "1", "2", "2"}; !slices.Equal(sink.saw, want) {
		t.Errorf("saw %v, want %v", sink.saw, want)
	}
}

type lookingSink struct {
	*recorder
	m   *Machine
	saw []string
}

func (s *lookingSink) look() {
	s.saw = append(s.saw, string(s.m.Tree().Data(s.m.Tree().Find("/a"))))
}
func (s *lookingSink) Changed(Event)   { s.look() }
func (s *lookingSink) Replied(*Result) { s.look() }
