package statemachine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/session"
)

// furnished is a machine with some of everything in it.
func furnished(tb testing.TB) *Machine {
	b := newBox(tb)
	b.Found(1, 1, []Member{{ID: 11, Name: 1, Voter: true, Host: "a", PeerPort: 2888, ElectionPort: 3888, ClientHost: "a", ClientPort: 2181}, {ID: 22, Name: 2, Observer: true, Host: "b"}}, testTime)
	b.index = 1
	c, other := b.open(1), b.open(2)
	c.auth("digest", "me:x")
	c.create("/a", "data")
	c.must(jute.OpCreate, createBody("/a/mine", "", []jute.ACL{entry(31, "auth", "")}, jute.ModePersistentSequential))
	c.ephemeral("/e")
	other.must(jute.OpCreateContainer, createBody("/k", "", open, jute.ModeContainer))
	other.must(jute.OpCreateTTL, ttlBody("/t", open, jute.ModeTTL, 1000))
	other.set("/t", "later")
	other.quota("/a", "countHardLimit=3")
	other.delete("/k")
	b.open(3).must(jute.OpCloseSession, nil)
	b.open(4)
	b.apply(AppendExpire(nil, 4, 1))
	return b.Machine
}

func TestRestoreBringsEverythingBack(t *testing.T) {
	m := furnished(t)
	got := restore(t, take(t, m, 100))
	if got.Digest() != m.Digest() || got.Zxid() != m.Zxid() || got.Now() != m.Now() {
		t.Errorf("digest %#x, zxid %#x at %d", got.Digest(), got.Zxid(), got.Now())
	}
	if i, n := got.Applied(); i != m.applied || n != 1 || i == 0 {
		t.Errorf("applied %d of term %d", i, n)
	}
	if closed, expired := got.Ended(); closed != 1 || expired != 1 {
		t.Errorf("%d closed, %d expired", closed, expired)
	}
	if a, b := got.Members(), m.Members(); a.Version != b.Version || a.Index != b.Index || !slices.Equal(a.List, b.List) || len(a.List) != 2 {
		t.Errorf("members %+v, want %+v", a, b)
	}
	if got.MemberSeq(1, 1) != 4 {
		t.Errorf("member 1 is at %d", got.MemberSeq(1, 1))
	}
	want := m.Sessions().Sorted()
	for i, s := range got.Sessions().Sorted() {
		if fmt.Sprintf("%+v", *s) != fmt.Sprintf("%+v", *want[i]) {
			t.Errorf("session %+v, want %+v", *s, *want[i])
		}
	}
	if got.Sessions().Len() != 2 || !slices.Equal(got.Sessions().Get(1).IDs, []jute.ID{{Scheme: "ip", ID: "10.0.0.1"}, {Scheme: "digest", ID: "me:x"}}) {
		t.Errorf("identities %v", got.Sessions().Get(1).IDs)
	}
	sound(t, got)
	// A fresh machine, too.
	if got := restore(t, take(t, New(), 1)); got.Digest() != New().Digest() {
		t.Error("an empty state does not come back")
	}
}

// Whatever is damaged is an error, and never a panic: each byte, each length,
// more or less of it.
func TestDamagedSnapshots(t *testing.T) {
	good := take(t, furnished(t), 300)
	try := func(what string, b []byte) {
		t.Helper()
		if m, err := Restore(bytes.NewReader(b)); err == nil || !errors.Is(err, ErrSnapshot) || m != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range good {
		for _, change := range []byte{1 << (i % 8), 0x80, 0xff} {
			b := slices.Clone(good)
			b[i] ^= change
			try(fmt.Sprintf("byte %d of %d, changed by %#x", i, len(good), change), b)
		}
		try(fmt.Sprintf("cut to %d of %d bytes", i, len(good)), good[:i])
		try(fmt.Sprintf("without byte %d", i), slices.Delete(slices.Clone(good), i, i+1))
		try(fmt.Sprintf("byte %d twice", i), slices.Insert(slices.Clone(good), i, good[i]))
	}
	try("a byte more", append(slices.Clone(good), 0))
	try("twice", append(slices.Clone(good), good...))

	records := split(good)
	for i := range records {
		try(fmt.Sprintf("without record %d", i), slices.Concat(slices.Delete(slices.Clone(records), i, i+1)...))
		try(fmt.Sprintf("record %d twice", i), slices.Concat(slices.Insert(slices.Clone(records), i, records[i])...))
		if i > 0 {
			swapped := slices.Clone(records)
			swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
			try(fmt.Sprintf("records %d and %d in each other's place", i-1, i), slices.Concat(swapped...))
		}
	}
	_, err := Restore(io.MultiReader(bytes.NewReader(good[:50]), iotest.ErrReader(io.ErrClosedPipe)))
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a reader's error is lost: %v", err)
	}
	_, err = Restore(io.MultiReader(bytes.NewReader(good), iotest.ErrReader(io.ErrClosedPipe)))
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a reader's error at the end is lost: %v", err)
	}
	if _, err := Restore(iotest.OneByteReader(bytes.NewReader(good))); err != nil {
		t.Error(err)
	}
}

// split cuts a snapshot into its records.
func split(b []byte) (records [][]byte) {
	for len(b) >= 5 {
		n := min(5+int(binary.BigEndian.Uint32(b[1:])), len(b))
		records = append(records, b[:n:n])
		b = b[n:]
	}
	return records
}

// seal gives records an end with the right checksum and, if they make a state,
// with its digest: what only who means harm would write.
func seal(records []byte) []byte { return sealAs(records, digestOf(records)) }

func digestOf(records []byte) uint64 {
	s := newRestorer(bytes.NewReader(records))
	for err := error(nil); err == nil; s.records++ {
		err = s.record()
	}
	t, err := s.tree.Finish()
	if err != nil {
		return 0
	}
	s.m.tree = t
	return s.m.Digest()
}

func sealAs(records []byte, digest uint64) []byte {
	b, _ := beginRecord(slices.Clone(records), recordEnd)
	b = binary.BigEndian.AppendUint64(b, digest)
	b = binary.BigEndian.AppendUint32(b, 0)
	endRecord(b, len(records))
	return binary.BigEndian.AppendUint32(b[:len(b)-4], crc32.Checksum(b[:len(b)-4], castagnoli))
}

// Fields that run over or leave something over are found by themselves.
func TestRecordsAreReadToTheirEnd(t *testing.T) {
	records := split(take(t, furnished(t), 1<<20))
	body := slices.Concat(records[:len(records)-1]...)
	if _, err := Restore(bytes.NewReader(seal(body))); err != nil {
		t.Fatalf("sealed again as it was: %v", err)
	}
	if _, err := Restore(bytes.NewReader(sealAs(body, digestOf(body)+1))); err == nil || !strings.Contains(err.Error(), "digest") {
		t.Errorf("another digest: %v", err)
	}
	for i := range 2 { // the machine's and the sessions'
		for _, change := range []func(b []byte) []byte{
			func(b []byte) []byte { return append(b, 0) },
			func(b []byte) []byte { return b[:len(b)-1] },
			func(b []byte) []byte { b[5] = 99; return b }, // version, or count
		} {
			changed := slices.Clone(records[:len(records)-1])
			r := change(slices.Clone(records[i]))
			binary.BigEndian.PutUint32(r[1:], uint32(len(r)-5))
			changed[i] = r
			if _, err := Restore(bytes.NewReader(seal(slices.Concat(changed...)))); err == nil || strings.Contains(err.Error(), "digest") || strings.Contains(err.Error(), "checksum") {
				t.Errorf("record %d: %v", i, err)
			}
		}
	}
	huge := slices.Concat(records[0], []byte{recordSessions, 0xff, 0xff, 0xff, 0xff})
	if _, err := Restore(bytes.NewReader(huge)); err == nil || !strings.Contains(err.Error(), "4294967295 bytes") {
		t.Errorf("%v", err)
	}
}

// More sessions than one record holds, some of them with all the identities
// that a session may have.
func TestManySessions(t *testing.T) {
	m := New()
	for id := range int64(3000) {
		s := &session.Session{ID: id - 1000, Client: "somewhere", IDs: []jute.ID{{Scheme: "ip", ID: "::1"}}}
		if id%10 == 0 {
			s.IDs = append(s.IDs, jute.ID{Scheme: "digest", ID: strings.Repeat("x", maxIdentities)})
		}
		m.sessions.Put(s)
	}
	b := take(t, m, 1000)
	records := 0
	for _, r := range split(b) {
		if r[0] == recordSessions {
			records++
			if len(r) > sessionsPerRecord+2*maxIdentities {
				t.Errorf("a record of %d bytes", len(r))
			}
		}
	}
	if got := restore(t, b); records < 4 || got.Sessions().Len() != 3000 || got.Digest() != m.Digest() {
		t.Errorf("%d sessions in %d records", got.Sessions().Len(), records)
	}
}

// A node may be as large as jute.maxbuffer allows, which is for the operator to
// say: larger than any other record.
func TestLargeNodeComesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some hundred megabytes")
	}
	b := newBox(t)
	c := b.open(1)
	c.must(jute.OpCreate, createBody("/large", strings.Repeat("x", maxRecord+1), open, 0))
	if got := restore(t, take(t, b.Machine, 1000)); got.Digest() != b.Digest() {
		t.Errorf("digest %#x, want %#x", got.Digest(), b.Digest())
	}
}

func TestOneSnapshotAtATime(t *testing.T) {
	m := furnished(t)
	s, err := m.BeginSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.BeginSnapshot(); err == nil {
		t.Error("a second one began")
	}
	s.Next(nil, 1)
	s.Close()
	s.Close()
	if _, err := Restore(bytes.NewReader(take(t, m, 10))); err != nil {
		t.Errorf("after one that was given up: %v", err)
	}
	s, _ = m.BeginSnapshot()
	var b []byte
	for done := false; !done; {
		b, done = s.Next(b, 50)
	}
	if more, done := s.Next(b, 50); len(more) != len(b) || !done {
		t.Error("there is more behind the end")
	}
	s.Close()
}

// The digest shows each part of the state.
func TestDigestShowsEverything(t *testing.T) {
	digests := map[uint64]string{furnished(t).Digest(): "nothing"}
	if one, other := furnished(t).Digest(), furnished(t).Digest(); one != other {
		t.Error("the same state has two digests")
	}
	for name, change := range map[string]func(m *Machine){
		"applied":  func(m *Machine) { m.applied++ },
		"term":     func(m *Machine) { m.term++ },
		"zxid":     func(m *Machine) { m.zxid++ },
		"now":      func(m *Machine) { m.now++ },
		"closed":   func(m *Machine) { m.closed++ },
		"expired":  func(m *Machine) { m.expired++ },
		"stream":   func(m *Machine) { m.streams[1] = stream{1, 99} },
		"boot":     func(m *Machine) { m.streams[1] = stream{2, 4} },
		"streams":  func(m *Machine) { m.streams[9] = stream{} },
		"version":  func(m *Machine) { m.members.Version++ },
		"index":    func(m *Machine) { m.members.Index++ },
		"member":   func(m *Machine) { m.members.List[0].Voter = false },
		"members":  func(m *Machine) { m.members.List = m.members.List[:1] },
		"session":  func(m *Machine) { m.sessions.Delete(2) },
		"password": func(m *Machine) { m.sessions.Get(2).Password[15]++ },
		"timeout":  func(m *Machine) { m.sessions.Get(2).Timeout++ },
		"created":  func(m *Machine) { m.sessions.Get(2).Created++ },
		"attached": func(m *Machine) { m.sessions.Get(2).Member++ },
		"epoch":    func(m *Machine) { m.sessions.Get(2).Epoch++ },
		"seq":      func(m *Machine) { m.sessions.Get(2).LastSeq++ },
		"client":   func(m *Machine) { m.sessions.Get(2).Client += "x" },
		"identity": func(m *Machine) { m.sessions.Get(2).IDs[0].ID += "x" },
		"scheme":   func(m *Machine) { m.sessions.Get(2).IDs[0].Scheme += "x" },
		"tree":     func(m *Machine) { m.tree.SetData(m.tree.Find("/a"), nil, 1, 1) },
	} {
		m := furnished(t)
		change(m)
		if before, ok := digests[m.Digest()]; ok {
			t.Errorf("%s: the digest is that of %s", name, before)
		}
		digests[m.Digest()] = name
	}
}

// What it costs to begin a snapshot, while nothing else goes on.
func BenchmarkBeginSnapshot(b *testing.B) {
	for _, sessions := range []int{100, 100_000} {
		b.Run(fmt.Sprint(sessions, " sessions"), func(b *testing.B) {
			m := New()
			rnd := rand.New(rand.NewPCG(1, 1))
			for range sessions {
				m.sessions.Put(&session.Session{ID: rnd.Int64(), Client: "10.0.0.1:12345", IDs: []jute.ID{{Scheme: "ip", ID: "10.0.0.1"}}})
			}
			b.ReportAllocs()
			for b.Loop() {
				s, err := m.BeginSnapshot()
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
}
