package roster

import (
	"fmt"
	"reflect"
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
