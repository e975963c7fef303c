package roster

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// rig is a roster on a clock of the test's own.
type rig struct {
	*Roster
	t   *testing.T
	now time.Duration
	// index of the last attachment
	index uint64
}

func at(id int64, member uint64, epoch uint32, term uint64) Attachment {
	return Attachment{Session: Session{ID: id, Member: member, Client: fmt.Sprintf("10.0.0.%d:1", id), Timeout: 4 * time.Second, Created: 77}, Epoch: epoch, Term: term}
}

// begin starts a reign over members 1 to 3 with these sessions.
func begin(t *testing.T, opt Options, sessions ...Attachment) *rig {
	g := &rig{Roster: New(opt), t: t, now: time.Second, index: 100}
	g.Begin(g.now, 50, 0, 0, []uint64{1, 2, 3}, len(sessions), func(yield func(Attachment)) {
		for _, a := range sessions {
			yield(a)
		}
	})
	return g
}

func (g *rig) pass(d time.Duration) {
	g.now += d
	g.Tick(g.now)
}

// full has a member report all its connections, by session and epoch.
func (g *rig) full(member, firstTerm uint64, open ...Seat) {
	g.Report(g.now, member, &Report{FirstTerm: firstTerm, Applied: g.index, Full: true, Open: open})
}

func (g *rig) attach(id int64, member uint64, epoch uint32) {
	g.index++
	a := at(id, member, epoch, 9)
	a.Index = g.index
	g.Attached(a)
}

func (g *rig) want(id int64, state State) {
	g.t.Helper()
	list := g.Get([]int64{id})
	if len(list) != 1 || list[0].State != state {
		g.t.Errorf("session %d: %+v; want state %d", id, list, state)
	}
	t, _ := g.Totals()
	if t.NotConnected+t.Connecting+t.Connected != t.Sessions || t.NotConnected < 0 || t.Connecting < 0 {
		g.t.Errorf("totals: %+v", t)
	}
}

func TestChangeOfLeader(t *testing.T) {
	// Sessions of term 3 and 7. Member 1, the new leader, was restarted in term 7;
	// the others have been there all the time.
	g := begin(t, Options{}, at(1, 1, 1, 3), at(2, 2, 1, 3), at(3, 3, 2, 7), at(4, 2, 1, 3))
	g.want(2, Connecting)
	g.full(1, 7)
	g.full(2, 1, Seat{2, 1})
	if tot, _ := g.Totals(); tot.Settled {
		t.Error("settled before member 3 has said anything")
	}
	g.full(3, 1, Seat{3, 2})
	if tot, _ := g.Totals(); !tot.Settled || tot.Connected != 2 || tot.Connecting != 2 || tot.NotConnected != 0 {
		t.Errorf("%+v", tot)
	}
	g.want(1, Connecting)
	g.want(2, Connected)
	g.want(3, Connected)
	g.want(4, Connecting)
}

func TestRestartOfTheWholeEnsemble(t *testing.T) {
	g := begin(t, Options{}, at(1, 1, 1, 3), at(2, 2, 1, 3), at(3, 3, 2, 3), at(4, 3, 1, 8))
	for m := uint64(1); m <= 3; m++ {
		g.full(m, 8)
	}
	for id := int64(1); id <= 3; id++ {
		g.want(id, NotConnected)
	}
	g.want(4, Connecting) // attached since, by the leader before this one

	// A client that shakes hands has been seen; so has one that was heard.
	g.Report(g.now, 2, &Report{FirstTerm: 8, Heard: []int64{1, 99}})
	g.want(1, Connecting)
	g.attach(1, 2, 2)
	g.want(1, Connected)
	g.Report(g.now, 2, &Report{FirstTerm: 8, Gone: []Seat{{1, 2}}})
	g.want(1, Connecting)
	g.Ended(2, 51, true)
	if tot, _ := g.Totals(); tot.NotConnected != 1 || tot.Sessions != 3 || tot.Expired != 1 {
		t.Errorf("%+v", tot)
	}
}

// One who was cut off as the reign began, and has been there all the time, is
// heard late.
func TestLateReport(t *testing.T) {
	g := begin(t, Options{}, at(1, 3, 1, 3), at(2, 1, 1, 3))
	g.full(1, 8)
	g.full(2, 8)
	g.pass(3 * time.Second)
	g.want(1, NotConnected)
	g.full(3, 2, Seat{1, 1})
	g.want(1, Connected)
	g.want(2, Connecting)
}

func TestConnectionsComeAndGo(t *testing.T) {
	g := begin(t, Options{})
	for m := uint64(1); m <= 3; m++ {
		g.full(m, 1)
	}
	g.attach(5, 1, 1)
	g.want(5, Connected)
	// It moves; what its old member says of the old connection means nothing.
	g.attach(5, 2, 2)
	g.Report(g.now, 1, &Report{FirstTerm: 1, Gone: []Seat{{5, 1}}})
	g.full(1, 1)
	g.want(5, Connected)
	// It connects again to the same member before the old connection is told of.
	g.attach(5, 2, 3)
	g.Report(g.now, 2, &Report{FirstTerm: 1, Gone: []Seat{{5, 2}}})
	g.want(5, Connected)
	// A list from before the member knew of the attachment means nothing.
	g.Report(g.now, 2, &Report{FirstTerm: 1, Full: true, Applied: g.index - 1})
	g.want(5, Connected)
	// A lost report is made good by the next full one.
	g.full(2, 1)
	g.want(5, Connecting)
	g.full(2, 1, Seat{5, 3})
	g.want(5, Connected)

	// A member that falls silent has no connections, and has them again when it
	// speaks; one whose process is gone at once.
	for range 4 {
		g.pass(500 * ms)
		g.Report(g.now, 1, &Report{FirstTerm: 1})
	}
	g.want(5, Connecting)
	g.Report(g.now, 2, &Report{FirstTerm: 1})
	g.want(5, Connected)
	g.MemberGone(2)
	g.want(5, Connecting)
	g.full(2, 9)
	g.want(5, Connecting)
}

// follower is a reader and what it was told.
type follower struct {
	t        *testing.T
	rd       *Reader
	sessions map[int64]Session
	nodes    map[string]Ephemeral
	ends     []End
	whole    int // snapshots begun
	batches  int
	pos      Position
	zxid     int64
	lastTx   int64 // the last transaction that a batch had a part of
}

// maxZxid: max is a parameter where it is needed.
func maxZxid(a, b int64) int64 {
	if a > b {
		return a
	}
	return b
}

func (g *rig) follow(resume Position, nodes ...Ephemeral) *follower {
	g.t.Helper()
	rd, err := g.Follow(resume, func(yield func(Ephemeral)) {
		for _, e := range nodes {
			yield(e)
		}
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return &follower{t: g.t, rd: rd, sessions: map[int64]Session{}, nodes: map[string]Ephemeral{}}
}

// read takes batches of at most max until there are no more, or limit of them.
func (f *follower) read(max, limit int) {
	f.t.Helper()
	for range limit {
		b, err := f.rd.Next(max)
		if err != nil {
			f.t.Fatal(err)
		}
		if b == nil {
			return
		}
		f.batches++
		if b.Zxid < f.zxid && b.Position.Reign != 0 {
			f.t.Errorf("zxid fell from %d to %d", f.zxid, b.Zxid)
		}
		f.zxid = b.Zxid
		if b.Position.Reign != 0 {
			f.pos = b.Position
		}
		if b.First {
			f.lastTx = 0
			clear(f.sessions)
			clear(f.nodes)
			f.whole++
		}
		// A transaction stays together, and only one may be more than was asked for.
		told := map[int64]bool{}
		for _, c := range b.Changes {
			switch {
			case c.Node != nil:
				told[c.Node.Mzxid] = true
			case c.Gone != nil:
				told[c.Zxid] = true
			case c.End != nil:
				told[c.End.Zxid] = true
			}
		}
		for zxid := range told {
			if zxid <= f.lastTx {
				f.t.Errorf("transaction %d is told in two batches, or late", zxid)
			}
		}
		for zxid := range told {
			f.lastTx = maxZxid(f.lastTx, zxid)
		}
		if len(b.Sessions)+len(b.Nodes) > max || len(b.Changes) > max && len(told) > 1 {
			f.t.Errorf("a batch of %d sessions, %d nodes, %d changes, and %d is the bound", len(b.Sessions), len(b.Nodes), len(b.Changes), max)
		}
		for _, s := range b.Sessions {
			f.sessions[s.ID] = s
		}
		for _, e := range b.Nodes {
			f.nodes[e.Path] = *e
		}
		for _, c := range b.Changes {
			switch {
			case c.Session != nil:
				f.sessions[c.Session.ID] = *c.Session
			case c.End != nil:
				delete(f.sessions, c.End.Session.ID)
				f.ends = append(f.ends, *c.End)
			case c.Node != nil:
				f.nodes[c.Node.Path] = *c.Node
			case c.Gone != nil:
				if f.nodes[c.Gone.Path].Czxid != c.Gone.Czxid {
					f.t.Errorf("%s of %d is gone, and %d was there", c.Gone.Path, c.Gone.Czxid, f.nodes[c.Gone.Path].Czxid)
				}
				delete(f.nodes, c.Gone.Path)
			}
		}
	}
}

// same compares what a follower knows with what the roster has.
func (g *rig) same(f *follower) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	truth := map[int64]Session{}
	for id, rec := range g.sessions {
		truth[id] = rec.Session
	}
	for id, s := range f.sessions {
		s.Ephemerals = truth[id].Ephemerals // it is not sent again as they come and go
		f.sessions[id] = s
	}
	if !maps.Equal(truth, f.sessions) {
		g.t.Fatalf("sessions:\n%v\nwant:\n%v", f.sessions, truth)
	}
	nodes := map[string]Ephemeral{}
	for p, e := range g.ephemerals {
		nodes[p] = *e
	}
	if !maps.Equal(nodes, f.nodes) {
		g.t.Fatalf("nodes:\n%v\nwant:\n%v", f.nodes, nodes)
	}
}

// Followers of every speed, some of which break off and come back, see in the
// end what is there.
func TestFollowersSeeEverything(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		g := begin(t, Options{Changes: 64}, at(1, 1, 1, 1), at(2, 2, 1, 1))
		for m := uint64(1); m <= 3; m++ {
			g.full(m, 1)
		}
		zxid := int64(50)
		fast, slow := g.follow(Position{}, Ephemeral{Path: "/old", Session: 1, Czxid: 7, Mzxid: 7}), g.follow(Position{})
		epochs := map[int64]uint32{1: 1, 2: 1}
		// What ends with a session is told in that transaction, and never more.
		owned := func(id int64) (paths []string) {
			for p, e := range g.ephemerals {
				if e.Session == id {
					paths = append(paths, p)
				}
			}
			slices.Sort(paths)
			return paths
		}
		for range 2000 {
			id, member, path := 1+rnd.Int64N(12), 1+rnd.Uint64N(3), fmt.Sprintf("/e%d", rnd.IntN(20))
			switch rnd.IntN(9) {
			case 0:
				epochs[id]++
				g.attach(id, member, epochs[id])
			case 1:
				if epochs[id] > 0 {
					zxid++
					paths := owned(id)
					for _, p := range paths {
						g.Gone(p, zxid)
					}
					g.Ended(id, zxid, rnd.IntN(2) == 0)
					delete(epochs, id)
					fast.read(5, 100) // in the middle of a transaction
					g.Applied(zxid)
					fast.read(5, 100)
					if n := len(fast.ends); n > 0 && fast.ends[n-1].Zxid == zxid && (!slices.Equal(fast.ends[n-1].Paths, paths) || fast.ends[n-1].Session.Ephemerals != len(paths)) {
						t.Fatalf("seed %d: %+v; it held %q", seed, fast.ends[n-1], paths)
					}
				}
			case 2, 3:
				if epochs[id] > 0 && !g.Has(path) {
					zxid++
					g.Node(Ephemeral{Path: path, Session: id, Czxid: zxid, Mzxid: zxid, Created: zxid})
				}
			case 4:
				g.mu.Lock()
				e := g.ephemerals[path]
				g.mu.Unlock()
				if e != nil {
					zxid++
					next := *e
					next.Mzxid, next.DataLength = zxid, rnd.IntN(9)
					g.Node(next)
				}
			case 5:
				zxid++
				g.Gone(path, zxid)
			case 6:
				g.Report(g.now, member, &Report{FirstTerm: 1, Gone: []Seat{{id, epochs[id]}}})
			case 7:
				g.pass(time.Duration(rnd.IntN(900)) * ms)
			case 8:
				g.Report(g.now, member, &Report{FirstTerm: 1, Heard: []int64{id}})
			}
			g.Applied(zxid)
			if rnd.IntN(4) == 0 {
				fast.read(1+rnd.IntN(20), 50)
			}
			if rnd.IntN(200) == 0 { // it breaks off, and comes back to where it was
				fast.read(7, 100)
				fast.rd.Close()
				fast.rd = g.follow(fast.pos).rd
				fast.read(7, 100)
			}
			if rnd.IntN(300) == 0 {
				slow.read(3, 4)
			}
		}
		fast.read(7, 1000)
		slow.read(7, 1000)
		g.same(fast)
		g.same(slow)
		if got := fast.rd.Zxid(); got != zxid {
			t.Errorf("told up to %d of %d", got, zxid)
		}
		if slow.whole < 2 {
			t.Errorf("seed %d: the slow reader was sent %d snapshots", seed, slow.whole)
		}
	}
}

func TestResume(t *testing.T) {
	g := begin(t, Options{Changes: 8}, at(1, 1, 1, 1))
	for m := uint64(1); m <= 3; m++ {
		g.full(m, 1, Seat{1, 1})
	}
	f := g.follow(Position{})
	f.read(100, 10)
	place := f.pos
	f.rd.Close()
	for i := range int64(5) {
		g.Node(Ephemeral{Path: fmt.Sprint("/", i), Session: 1, Czxid: 60 + i, Mzxid: 60 + i})
	}
	g.Applied(64)
	back := g.follow(place)
	back.read(100, 10)
	if back.whole != 0 || len(back.nodes) != 5 {
		t.Errorf("%d snapshots, nodes %v", back.whole, back.nodes)
	}
	for i := range int64(5) {
		g.Gone(fmt.Sprint("/", i), 70+i)
	}
	g.Applied(74)
	for what, p := range map[string]Position{"too long ago": place, "another reign": {place.Reign + 1, place.Sequence}, "the future": {place.Reign, 1000}} {
		late := g.follow(p)
		late.read(100, 10)
		if late.whole != 1 || len(late.sessions) != 1 || len(late.nodes) != 0 {
			t.Errorf("%s: %d snapshots, %v", what, late.whole, late.sessions)
		}
	}
	// The end of the reign is the end of every reader, and of every place.
	g.End()
	<-back.rd.Ready()
	if _, err := back.rd.Next(1); !errors.Is(err, ErrNotLeading) {
		t.Error(err)
	}
	if _, err := g.Follow(place, nil); !errors.Is(err, ErrNotLeading) {
		t.Error(err)
	}
	if _, ok := g.Totals(); ok {
		t.Error("totals without a reign")
	}
}

func TestSnapshotWaitsUntilItIsKnownWhoIsConnected(t *testing.T) {
	g := begin(t, Options{}, at(1, 1, 1, 1))
	f := g.follow(Position{})
	g.full(1, 1, Seat{1, 1})
	g.full(2, 1)
	f.read(10, 10)
	if f.whole != 0 {
		t.Error("it was sent before member 3 has reported")
	}
	g.pass(3 * time.Second)
	g.Report(g.now, 1, &Report{FirstTerm: 1})
	f.read(10, 10)
	if f.whole != 1 || f.sessions[1].State != Connected {
		t.Errorf("%d, %v", f.whole, f.sessions)
	}
}

func TestASessionThatChangesOftenIsToldOnce(t *testing.T) {
	g := begin(t, Options{})
	for m := uint64(1); m <= 3; m++ {
		g.full(m, 1)
	}
	f := g.follow(Position{})
	f.read(10, 10)
	for epoch := range uint32(100) {
		g.attach(1, 1, epoch+1)
		g.Report(g.now, 1, &Report{FirstTerm: 1, Gone: []Seat{{1, epoch + 1}}})
	}
	b, err := f.rd.Next(1000)
	if err != nil || len(b.Changes) != 1 || b.Changes[0].Session.State != Connecting {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestEndNamesWhatWentWithIt(t *testing.T) {
	g := begin(t, Options{}, at(1, 1, 1, 1), at(2, 1, 1, 1))
	for m := uint64(1); m <= 3; m++ {
		g.full(m, 1)
	}
	f := g.follow(Position{})
	f.read(10, 10)
	for i := range 100 {
		g.Node(Ephemeral{Path: fmt.Sprintf("/n/%03d", i), Session: 1, Czxid: 60, Mzxid: 60})
	}
	g.Node(Ephemeral{Path: "/other", Session: 2, Czxid: 61, Mzxid: 61})
	g.Gone("/n/000", 62) // before, and by itself
	for i := 1; i < 100; i++ {
		g.Gone(fmt.Sprintf("/n/%03d", i), 63)
	}
	g.Ended(1, 63, true)
	f.read(1000, 10)
	if len(f.ends) != 0 {
		t.Error("told before the transaction was complete")
	}
	g.Applied(63)
	f.read(10, 1000)
	if len(f.ends) != 1 || f.ends[0].Session.Ephemerals != 99 || len(f.ends[0].Paths) != maxEndPaths || f.ends[0].Paths[0] != "/n/001" || !f.ends[0].Expired {
		t.Errorf("%+v", f.ends)
	}
}

func TestTooManyReaders(t *testing.T) {
	g := begin(t, Options{Readers: 2})
	a := g.follow(Position{})
	g.follow(Position{})
	if _, err := g.Follow(Position{}, nil); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	a.rd.Close()
	g.follow(Position{})
}

func TestWorst(t *testing.T) {
	var all []Attachment
	for id := int64(1); id <= 5000; id++ {
		all = append(all, at(id, 1, 1, 1))
	}
	g := begin(t, Options{}, all...)
	g.full(1, 1, Seat{7, 1})
	g.pass(3 * time.Second)
	g.Report(g.now, 1, &Report{FirstTerm: 1})
	got := g.Worst(3, func(id int64) time.Duration { return time.Duration(id) })
	if len(got) != 3 || got[0].ID != 5000 || got[1].ID != 4999 || got[2].ID != 4998 {
		t.Errorf("%v", got)
	}
	list := []AtRisk{{Session{ID: 1, State: Connected, Timeout: 4}, 3}, {Session{ID: 2, State: Connecting, Timeout: 8}, 1}, {Session{ID: 3, State: Connecting, Timeout: 8}, 2}}
	Rank(list)
	if list[0].ID != 3 || list[1].ID != 2 || list[2].ID != 1 {
		t.Errorf("%v", list)
	}
}

func TestReportCodec(t *testing.T) {
	for _, r := range []Report{
		{Heard: []int64{}, Gone: []Seat{}, Open: []Seat{}},
		{FirstTerm: 1 << 40, Applied: 2, Watches: 3, Heard: []int64{-1, 5}, Gone: []Seat{{6, 7}}, Full: true, Open: []Seat{{8, 9}, {-10, 11}}},
	} {
		b := r.Append(nil)
		got, err := DecodeReport(b)
		if err != nil || !reflect.DeepEqual(*got, r) {
			t.Errorf("%+v, %v; want %+v", got, err, r)
		}
		for n := range b {
			if _, err := DecodeReport(b[:n]); err == nil {
				t.Errorf("%d of %d bytes were taken", n, len(b))
			}
		}
	}
	if _, err := DecodeReport([]byte(strings.Repeat("\xff", 100))); err == nil {
		t.Error("garbage was taken")
	}
}

// What a busy ensemble costs its leader, with 100,000 sessions and somebody who
// follows.
func BenchmarkRoster(b *testing.B) {
	var all []Attachment
	for id := int64(1); id <= 100_000; id++ {
		all = append(all, at(id, uint64(1+id%3), 1, 1))
	}
	r := New(Options{})
	r.Begin(0, 1, 0, 0, []uint64{1}, len(all), func(yield func(Attachment)) {
		for _, a := range all {
			yield(a)
		}
	})
	full := &Report{FirstTerm: 1, Full: true}
	for _, a := range all {
		if a.Member == 1 {
			full.Open = append(full.Open, Seat{a.ID, 1})
		}
	}
	r.Report(0, 1, full)
	rd, err := r.Follow(Position{}, func(func(Ephemeral)) {})
	if err != nil {
		b.Fatal(err)
	}
	for batch := (&Batch{}); batch != nil; {
		if batch, err = rd.Next(1000); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("begin", func(b *testing.B) {
		for b.Loop() {
			New(Options{}).Begin(0, 1, 0, 0, []uint64{1}, len(all), func(yield func(Attachment)) {
				for _, a := range all {
					yield(a)
				}
			})
		}
	})
	b.Run("first full report", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			n := New(Options{})
			n.Begin(0, 1, 0, 0, []uint64{1}, len(all), func(yield func(Attachment)) {
				for _, a := range all {
					yield(a)
				}
			})
			b.StartTimer()
			n.Report(0, 1, full)
		}
	})
	b.Run("attached", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			r.Attached(all[i%len(all)])
		}
	})
	b.Run("node", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			r.Node(Ephemeral{Path: "/a", Session: 1, Czxid: int64(i)})
			r.Gone("/a", int64(i))
			r.Applied(int64(i))
		}
	})
	b.Run("full report", func(b *testing.B) {
		for b.Loop() {
			r.Report(0, 1, full)
		}
	})
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			rd.whole, rd.began = nil, false
			if _, err := rd.Next(1000); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// What members send is taken apart without harm, whatever it is, and nothing is
// read into it.
func FuzzReport(f *testing.F) {
	f.Add((&Report{Full: true, Heard: []int64{1}, Gone: []Seat{{2, 3}}, Open: []Seat{{4, 5}}}).Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeReport(b)
		if err == nil && string(r.Append(nil)) != string(b) {
			t.Errorf("%x was read as %+v", b, r)
		}
	})
}
