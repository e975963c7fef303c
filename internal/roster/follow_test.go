package roster

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

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
