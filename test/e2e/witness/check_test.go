package witness

import (
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	t0     = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	limits = Limits{Outlive: time.Second, Flight: time.Second}
)

func sec(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }

var (
	a = Child{Name: "x-latch-0000000001", Czxid: 100, Owner: 1}
	b = Child{Name: "c-latch-0000000002", Czxid: 110, Owner: 2}
	c = Child{Name: "a-latch-0000000003", Czxid: 120, Owner: 3}
)

// shown is a Lease that a child has.
func shown(at float64, c Child, transitions int32) Shown {
	return Shown{At: sec(at), Subject: "/e", Node: "/e/" + c.Name, Holder: "somebody", Session: c.Owner, Czxid: c.Czxid, Token: c.Czxid,
		Transitions: transitions, Duration: 15 * time.Second, Renewed: sec(at)}
}

// good is an election: a leads, then b, whose session was quicker than c's; then
// nobody can know anything for 30 seconds; then c leads, and then nobody.
func good() *History {
	nobody := shown(75.2, Child{}, 2)
	nobody.Node, nobody.Holder, nobody.Session, nobody.Token, nobody.Duration = "", "", 0, 120, time.Second
	return &History{
		Name: "election", Election: true,
		Record: Record{Parent: "/e", States: []State{
			{At: sec(0), Version: 1, Children: []Child{a}},
			{At: sec(0.9), Version: 2, Children: []Child{a, b}},
			{At: sec(1), Version: 3, Children: []Child{c, a, b}},
			{At: sec(10), Version: 4, Children: []Child{b, c}},
			{At: sec(70), Version: 5, Children: []Child{c}},
			{At: sec(75), Version: 6, Children: nil},
		}},
		Shown: []Shown{
			shown(0.1, a, 0), shown(5, a, 0), shown(9.5, a, 0),
			shown(10.3, b, 1), shown(15, b, 1), shown(20, b, 1),
			shown(50.5, b, 1), shown(55, b, 1), shown(60, b, 1), shown(65, b, 1),
			shown(70.1, c, 2), shown(74.8, c, 2), nobody,
		},
		Windows: []Window{{Kind: Silence, From: sec(20.5), To: sec(50), Why: "no quorum"}},
		End:     sec(80),
	}
}

func TestGood(t *testing.T) {
	f := Check(good(), limits)
	if len(f.Violations) > 0 {
		t.Fatalf("violations: %q", f.Violations)
	}
	if f.Handovers != 2 || f.Unjudged != 0 || f.Renewals != 9 || len(f.RanOut) != 1 || !f.RanOut[0].Equal(sec(35)) || !f.RanOutIn(good().Windows[0]) || f.RanOutIn(Window{From: sec(36), To: sec(50)}) {
		t.Errorf("%+v", f)
	}
	ms := func(list []time.Duration) (n []int64) {
		for _, d := range list {
			n = append(n, d.Milliseconds())
		}
		return n
	}
	if got := ms(f.Outlived); !slices.Equal(got, []int64{300, 100, 200}) {
		t.Errorf("outlived: %v", got)
	}
	if got := ms(f.Taken); !slices.Equal(got, []int64{300, 100}) {
		t.Errorf("taken: %v", got)
	}
}

// Each rule finds the fault that was planted for it, and no other rule complains.
func TestPlantedFaults(t *testing.T) {
	for what, p := range map[string]struct {
		plant func(h *History)
		want  string
	}{
		"a token that stays at a hand-over": {func(h *History) {
			for i := 3; i < 10; i++ {
				h.Shown[i].Token = 120
			}
		}, "the token of /e/a-latch-0000000003 is 120, and that of /e/c-latch-0000000002 before it was 120"},
		"a token that falls": {func(h *History) {
			for i := range 3 {
				h.Shown[i].Token = 115
			}
		}, "the token of /e/c-latch-0000000002 is 110"},
		"a token that changes by itself": {func(h *History) {
			h.Shown[1].Token, h.Shown[2].Token = 101, 101
		}, "the token is 100 and then 101"},
		"a token of before the node": {func(h *History) {
			for i := range 3 {
				h.Shown[i].Token = 99
			}
		}, "is less than its czxid"},
		"a hand-over that is not counted": {func(h *History) {
			for i := 3; i < 10; i++ {
				h.Shown[i].Transitions = 0
			}
		}, "leaseTransitions is 0 with /e/c-latch-0000000002, and was 0"},
		"a hand-over that never was": {func(h *History) {
			for i := 1; i < len(h.Shown); i++ {
				h.Shown[i].Transitions++
			}
		}, "leaseTransitions is 0 and then 1, and"},
		"who is not the lowest": {func(h *History) {
			for i := 3; i < 10; i++ {
				h.Shown[i] = shown(h.Shown[i].At.Sub(t0).Seconds(), c, 1)
			}
			// It is the lowest later; so it has to be what comes between that fails.
			h.Shown[10] = shown(70.1, b, 2)
			h.Shown[10].Token = 130
			h.Shown[11] = h.Shown[10]
			h.Shown[11].At, h.Shown[11].Renewed = sec(74.8), sec(74.8)
			h.Shown[12].Token = 130
		}, "czxid 0x6e, session 0x2) is shown as the holder, and never was after"},
		"an heir who is shown before he leads": {func(h *History) {
			h.Shown[3] = shown(5.1, b, 1)
			h.Shown = slices.Delete(h.Shown, 1, 3)
		}, "\"/e/c-latch-0000000002\" is shown as the holder 4.9s before it was"},
		"nobody before the end": {func(h *History) {
			nobody := h.Shown[12]
			nobody.At = sec(71)
			h.Shown = append(h.Shown[:11], nobody)
		}, "\"\" is shown as the holder 4s before it was"},
		"who never led, and a gap much later": {func(h *History) {
			h.Shown[3].Session, h.Shown[4].Session, h.Shown[5].Session = 9, 9, 9
			h.Record.States[5].Version = 8
		}, "session 0x9) is shown as the holder"},
		"another session": {func(h *History) {
			for i := 10; i < 12; i++ {
				h.Shown[i].Session = 9
			}
		}, "session 0x9) is shown as the holder"},
		"another node of the same name": {func(h *History) {
			for i := 2; i < 5; i++ {
				for j, x := range h.Record.States[i].Children {
					if x == c {
						h.Record.States[i].Children[j].Czxid = 121
					}
				}
			}
		}, "(czxid 0x78, session 0x3) is shown as the holder"},
		"nobody while somebody led": {func(h *History) {
			h.Record.States = h.Record.States[:5]
		}, "nobody is shown as the holder"},
		"a holder that outlives his node": {func(h *History) {
			h.Shown[10].At, h.Shown[10].Renewed = sec(71.5), sec(71.5)
		}, "/e/c-latch-0000000002 is shown as the holder 1.5s after it was gone"},
		"a holder for ever": {func(h *History) {
			h.Shown = h.Shown[:12]
		}, "/e/a-latch-0000000003 is shown as the holder 5s after it was gone"},
		"a renewal that does not come": {func(h *History) {
			h.Shown = slices.Delete(h.Shown, 7, 10)
			h.Record.States[4].At, h.Shown[7].At = sec(69.5), sec(70)
		}, "not renewed for 19.5s"},
		"a renewal for each ping": {func(h *History) {
			h.Shown[8] = shown(56, b, 1)
		}, "renewed twice within 1s"},
		"a renewal in a silence": {func(h *History) {
			h.Shown = slices.Insert(h.Shown, 6, shown(40, b, 1))
		}, "it was written 19.5s after the beginning of: no quorum"},
	} {
		t.Run(what, func(t *testing.T) {
			h := good()
			p.plant(h)
			f := Check(h, limits)
			if len(f.Violations) == 0 || !slices.ContainsFunc(f.Violations, func(v string) bool { return strings.Contains(v, p.want) }) {
				t.Errorf("found %q, want one with %q", f.Violations, p.want)
			}
		})
	}
}

// What the record has missed is no violation, and is counted.
func TestGapInRecord(t *testing.T) {
	h := good()
	h.Record.States = slices.Delete(h.Record.States, 3, 5)
	f := Check(h, limits)
	if f.Unjudged == 0 || len(f.Violations) > 0 {
		t.Errorf("%+v", f)
	}
}

// A node's Lease goes with its node; one made anew begins its count anew, and not
// its token.
func TestNode(t *testing.T) {
	first, second := Child{Name: "n", Czxid: 5, Owner: 1}, Child{Name: "n", Czxid: 9, Owner: 1}
	see := func(at float64, c Child) Shown {
		s := shown(at, c, 0)
		s.Subject = "/e/n"
		return s
	}
	gone := see(10.5, first)
	gone.Gone = true
	h := &History{Name: "node", End: sec(30),
		Record: Record{Parent: "/e", States: []State{
			{At: sec(0), Children: []Child{first, a}, Version: 2}, {At: sec(10), Children: []Child{a}, Version: 3},
			{At: sec(20), Children: []Child{a, second}, Version: 4},
		}},
		Shown: []Shown{see(0.2, first), see(5, first), gone, see(20.3, second), see(25, second)}}
	if f := Check(h, limits); len(f.Violations) > 0 || len(f.Outlived) != 1 || f.Handovers != 1 {
		t.Errorf("%+v", f)
	}
	h.Shown[3].Token, h.Shown[4].Token = 5, 5
	h.Shown[3].Czxid, h.Shown[4].Czxid = 5, 5
	if f := Check(h, limits); len(f.Violations) == 0 {
		t.Error("a Lease of a node that is no more was not found")
	}
}

func TestRead(t *testing.T) {
	holder, transitions, duration, renewed := "pod/a", int32(3), int32(15), metav1.NewMicroTime(sec(4))
	l := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseTransitions: &transitions, LeaseDurationSeconds: &duration, RenewTime: &renewed}}
	l.Annotations = map[string]string{"conclave.dev/path": "/e", "conclave.dev/holder-path": "/e/n-0000000001", "conclave.dev/session": "0xff00000000000001",
		"conclave.dev/czxid": "0x10", "conclave.dev/fencing-token": "16"}
	want := Shown{At: sec(5), Subject: "/e", Node: "/e/n-0000000001", Holder: "pod/a", Session: 0xff00000000000001, Czxid: 16, Token: 16,
		Transitions: 3, Duration: 15 * time.Second, Renewed: sec(4)}
	if got := Read(l, sec(5), false); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
