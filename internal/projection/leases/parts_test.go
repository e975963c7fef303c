package leases

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSequence(t *testing.T) {
	for _, c := range []struct {
		name string
		want int32
		ok   bool
	}{
		{"_c_0c5b1de7-67f5-4ee8-a7ac-1a2b3c4d5e6f-latch-0000000001", 1, true},
		{"_c_0c5b1de7-67f5-4ee8-a7ac-1a2b3c4d5e6f-lock-0000000012", 12, true},
		{"f0a1b2c3d4e5f60718293a4b5c6d7e8f__lock__0000000003", 3, true},
		{"n_0000000000", 0, true},
		{"x-72057594037927936-0000000007", 7, true},
		{"0000000009", 9, true},
		{"lock-2147483647", 2147483647, true},
		// Behind the overflow.
		{"latch--2147483648", -2147483648, true},
		{"latch--000000001", -1, true},
		{"latch--123456789", -123456789, true},
		{"a__lock__-2147483647", -2147483647, true},
		{"latch--1000000000", -1000000000, true},
		{"lock-000000001", -1, true},
		// A - that belongs to the name.
		{"lock-1000000000", 1000000000, true},
		{"lock-0999999999", 999999999, true},
		// No sequence.
		{"leader", 0, false},
		{"lock00000001", 0, false},
		{"n_2147483648", 0, false},
		{"lock-2147483649", 0, false},
		{"lock-00000000x1", 0, false},
		{"-000000000", 0, false},
		{"", 0, false},
	} {
		if got, ok := Sequence(c.name); got != c.want || ok != c.ok {
			t.Errorf("%q: %d %v, want %d %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

func TestDataIdentity(t *testing.T) {
	for _, c := range []struct{ data, field, want string }{
		{"host-1:8080", "", "host-1:8080"},
		{" host-1\n", "", "host-1"},
		{"host\x00\x00", "", "host"},
		{"zoë", "", "zoë"},
		{"", "", ""},
		{"a\nb", "", ""},
		{"\xff\xfe", "", ""},
		{strings.Repeat("x", 257), "", ""},
		{`{"id":"a"}`, "id", "a"},
		{`{"id":17}`, "id", "17"},
		{`{"id":12345678901234567890}`, "id", "12345678901234567890"},
		{`{"payload":{"id":"a"}}`, "payload.id", "a"},
		{`{"payload":"x"}`, "payload.id", ""},
		{`{"id":null}`, "id", ""},
		{`{"id":["a"]}`, "id", ""},
		{`["a"]`, "id", ""},
		{`{"id":`, "id", ""},
		{"plain", "id", ""},
	} {
		if got := dataIdentity([]byte(c.data), len(c.data), c.field); got != c.want {
			t.Errorf("%q, field %q: %q, want %q", c.data, c.field, got, c.want)
		}
	}
	if got := dataIdentity([]byte("the beginn"), 11, ""); got != "" {
		t.Errorf("data that was cut off names %q", got)
	}
}

func TestRefusedRules(t *testing.T) {
	good := Rule{Name: "r", Kind: Node, Path: "/a/*"}
	for want, change := range map[string]func(r *Rule){
		`rules[0] (R): name: "R" is no label`:                        func(r *Rule) { r.Name = "R" },
		`kind: "Lock" is neither Node nor Election`:                  func(r *Rule) { r.Kind = "Lock" },
		`children: is for rules of kind Election`:                    func(r *Rule) { r.Children = "x*" },
		`holder.from: "Host" is none of`:                             func(r *Rule) { r.Holder = "Host" },
		`holder.jsonField: is a field of the node's data`:            func(r *Rule) { r.JSONField = "id" },
		`holder.jsonField: "a..b": give names`:                       func(r *Rule) { r.Holder, r.JSONField = FromData, "a..b" },
		`path: "a" does not begin at the root`:                       func(r *Rule) { r.Path = "a" },
		`leaseName: "x" is the same for every path`:                  func(r *Rule) { r.LeaseName = "x" },
		`labels: conclave.dev/x is the operator's`:                   func(r *Rule) { r.Labels = map[string]string{"conclave.dev/x": ""} },
		`annotations: conclave.dev/path is the operator's: use anot`: func(r *Rule) { r.Annotations = map[string]string{"conclave.dev/path": ""} },
	} {
		r := good
		change(&r)
		if _, err := Compile([]Rule{r}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
	_, err := Compile([]Rule{good, {Name: "r", Kind: Election, Path: "/b", Children: "a/b"}})
	if err == nil || !strings.Contains(err.Error(), "rules[1] (r): name: an earlier rule has it") || !strings.Contains(err.Error(), "rules[1] (r): children:") {
		t.Errorf("%v; want both faults of the second rule", err)
	}
	if _, err := Compile([]Rule{good}); err != nil {
		t.Error(err)
	}
}

func TestDataPatterns(t *testing.T) {
	rs, err := Compile([]Rule{
		{Name: "a", Kind: Node, Path: "/a/{x}", Holder: FromData},
		{Name: "b", Kind: Node, Path: "/b/*"},
		{Name: "c", Kind: Election, Path: "/c/{x}", Holder: FromData, JSONField: "id"},
		{Name: "d", Kind: Election, Path: "/d", Holder: FromData, Children: "*-latch-*"},
		{Name: "e", Kind: Node, Path: "/a/*", Holder: FromData},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := rs.DataPatterns(), []string{"/a/*", "/c/*/*", "/d/*-latch-*"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Whoever asks and when, and however long writes take: the API server sees no more in
// a second than the limits say, and nearly that many where they are wanted.
func TestBudgetWindows(t *testing.T) {
	for _, slow := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond} {
		r := rand.New(rand.NewPCG(5, uint64(slow)))
		b := NewBudget(DefaultLimits)
		now := time.Unix(1e9, 0)
		began := now
		type flight struct {
			own *bucket
			at  time.Time
		}
		var flying []flight
		var all, renewals []time.Time
		for range 20000 {
			now = now.Add(time.Duration(r.ExpFloat64() * float64(3*time.Millisecond)))
			// Now and then nothing moves for a while, and then everything arrives.
			if r.IntN(500) == 0 {
				now = now.Add(200 * time.Millisecond)
			}
			flying = slices.DeleteFunc(flying, func(f flight) bool {
				if f.at.After(now) {
					return false
				}
				b.landed(f.own, now)
				return true
			})
			own := b.of(renew)
			if r.IntN(2) == 0 {
				own = nil
			}
			ok, next := b.take(own, now)
			if !ok {
				if !next.After(now) {
					t.Fatalf("refused until %v, and it is %v", next, now)
				}
				continue
			}
			took := time.Duration(r.Float64() * float64(slow))
			flying = append(flying, flight{own, now.Add(took)})
			// It arrives somewhere on its way.
			arrived := now.Add(time.Duration(r.Float64() * float64(took)))
			all = append(all, arrived)
			if own != nil {
				renewals = append(renewals, arrived)
			}
		}
		slices.SortFunc(all, time.Time.Compare)
		slices.SortFunc(renewals, time.Time.Compare)
		least := 0.9 / (1 + slow.Seconds()/2)
		for what, list := range map[int][]time.Time{DefaultLimits.Writes: all, DefaultLimits.Renewals: renewals} {
			if got := busiest(list); got > what {
				t.Errorf("writes of up to %v: %d in a second, at most %d", slow, got, what)
			}
			if mean := float64(len(list)) / now.Sub(began).Seconds(); mean < least*float64(what) {
				t.Errorf("writes of up to %v: %.1f in a second on average, of %d", slow, mean, what)
			}
		}
	}
}

// What others borrow is among the writes of a second, there is room for much at once,
// and for little in the long run.
func TestBorrowed(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	b := NewBudget(DefaultLimits)
	began := time.Unix(1e9, 0)
	now := began
	var all []time.Time
	flying := map[int]time.Time{}
	borrowed := 0
	borrow := func() bool {
		if !b.Borrow(now) {
			return false
		}
		borrowed++
		all = append(all, now.Add(time.Duration(r.Float64()*float64(time.Second))))
		return true
	}
	for borrow() {
	}
	if borrowed != Credit {
		t.Errorf("%d may be borrowed at once, want %d", borrowed, Credit)
	}
	const minutes = 5
	for i := 0; now.Before(began.Add(minutes * time.Minute)); i++ {
		now = now.Add(time.Millisecond)
		for n, at := range flying {
			if !at.After(now) {
				b.landed(nil, now)
				delete(flying, n)
			}
		}
		// Now and then there is much to do, and now and then nothing.
		if now.Sub(began)%(20*time.Second) < 15*time.Second {
			if ok, next := b.take(nil, now); ok {
				all = append(all, now)
				flying[i] = now.Add(time.Duration(r.IntN(20)) * time.Millisecond)
			} else if !next.After(now) {
				t.Fatalf("refused until %v, and it is %v", next, now)
			}
		}
		if i%100 == 0 {
			borrow()
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	if got := busiest(all); got > DefaultLimits.Writes {
		t.Errorf("%d writes in a second, at most %d", got, DefaultLimits.Writes)
	}
	if most := Credit + minutes*60/int(creditEvery/time.Second) + 1; borrowed > most || borrowed < most*8/10 {
		t.Errorf("%d were borrowed, of %d that may be", borrowed, most)
	}
}

// A write whose outcome is never told, because its planner has ended, counts no longer
// than a second.
func TestBudgetAfterAPlanner(t *testing.T) {
	w := newWorld(t, 1, Rule{Name: "r", Kind: Node, Path: "/a/*"})
	for i := range 200 {
		w.create(fmt.Sprintf("/a/%d", i), 7, "")
	}
	w.run(50 * time.Millisecond)
	if w.budget.writes.flying == 0 {
		t.Fatal("no write is under way")
	}
	w.planner.Close(w.now)
	if n := w.budget.writes.flying; n != 0 {
		t.Errorf("%d writes are under way, of nobody", n)
	}
	if ok, next := w.budget.take(nil, w.now.Add(time.Second)); !ok {
		t.Errorf("after a second a write has to wait until %v", next)
	}
}

// busiest is the most of times that are within one second.
func busiest(times []time.Time) int {
	most, from := 0, 0
	for i, at := range times {
		for at.Sub(times[from]) >= time.Second {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// An operator has made all Leases within seconds, and another takes its place: renewals
// take turns all the same, and none comes late.
func TestRenewalsAfterARestart(t *testing.T) {
	w := newWorld(t, 3, Rule{Name: "r", Kind: Node, Path: "/a/*"})
	const n = 1000
	for i := range n {
		w.create(fmt.Sprintf("/a/%d", i), 7, "")
	}
	w.run(13 * time.Second)
	if len(w.objects) != n {
		t.Fatalf("%d Leases, want %d", len(w.objects), n)
	}
	w.stop()
	w.run(time.Second)
	w.issued = map[string][]time.Time{}
	w.start()
	w.run(2 * time.Minute)
	if late := len(w.issued["expired"]); late > 0 {
		t.Errorf("%d Leases were renewed because they were about to run out", late)
	}
	if got := busiest(w.issued["renewed"]); got > DefaultLimits.Renewals {
		t.Errorf("%d renewals in a second", got)
	}
	if got := len(w.issued["renewed"]); got < n || got > 4*n {
		t.Errorf("%d renewals of %d Leases in two minutes", got, n)
	}
}

// Two rules select one node: each has its Lease, or, if both want one name, neither
// has, and it is said of both.
func TestTwoRulesOnePath(t *testing.T) {
	elections := Rule{Name: "leaders", Kind: Election, Path: "/e/{x}", LeaseName: "{x}-leader"}
	candidates := Rule{Name: "candidates", Kind: Node, Path: "/e/{x}/*", LeaseName: "{x}-{hash}"}
	twice := Rule{Name: "twice", Kind: Election, Path: "/e/*", LeaseName: "boss-{hash}"}
	w := newWorld(t, 1, elections, candidates, twice)
	w.candidate("/e/a", "n-", 1, "")
	w.candidate("/e/a", "n-", 2, "")
	w.run(time.Second)
	s := w.planner.Status(w.now)
	if len(w.objects) != 4 || s.Conflicts != 0 || s.Rules[0].Mirrored != 1 || s.Rules[1].Mirrored != 2 || s.Rules[2].Mirrored != 1 {
		t.Fatalf("%d Leases, status %+v", len(w.objects), s)
	}
	w.wantHolder("a-leader", "0x1")
	// Under one name there is nobody to believe.
	same := twice
	same.Path, same.LeaseName = "/e/{x}", "{x}-leader"
	set := func(rules ...Rule) {
		t.Helper()
		rs, err := Compile(rules)
		if err != nil {
			t.Fatal(err)
		}
		w.settings.Rules = rs
		w.planner.Settings(w.settings, w.mirror, w.now)
		w.run(2 * time.Second)
	}
	set(elections, candidates, same)
	w.wantHolder("a-leader", "none")
	s = w.planner.Status(w.now)
	if len(w.objects) != 2 || s.Conflicts != 1 || s.Rules[0].Conflicts != 1 || s.Rules[2].Conflicts != 1 ||
		!strings.Contains(s.Rules[2].Message, "Lease a-leader is wanted by /e/a (rule leaders) and by /e/a (rule twice)") {
		t.Errorf("%d Leases, status %+v", len(w.objects), s)
	}
	// No rules at all, as when spec.leases is taken away: everything goes.
	set(elections, candidates)
	w.wantHolder("a-leader", "0x1")
	set()
	if len(w.objects) != 0 {
		t.Errorf("no rule selects them, and there are %d Leases", len(w.objects))
	}
}

// Edits by hand while no operator looks: what it knows better is restored, and that is
// no change of holder.
func TestByHandMeanwhile(t *testing.T) {
	w := newWorld(t, 1, nodeRule)
	w.create("/n/a", 1, "")
	w.run(time.Second)
	was := w.objects["n-a"].DeepCopy()
	mallory := "mallory"
	for what, change := range map[string]func(l *coordinationv1.Lease){
		"a lower token": func(l *coordinationv1.Lease) { l.Annotations[AnnotationFencingToken] = "1" },
		"no token":      func(l *coordinationv1.Lease) { delete(l.Annotations, AnnotationFencingToken) },
		"a word of ours": func(l *coordinationv1.Lease) {
			l.Annotations["conclave.dev/what"] = "ever"
		},
		"a preferred holder": func(l *coordinationv1.Lease) { l.Spec.PreferredHolder = &mallory },
		"renewed next year": func(l *coordinationv1.Lease) {
			next := metav1.NewMicroTime(w.now.AddDate(1, 0, 0))
			l.Spec.RenewTime = &next
		},
	} {
		w.stop()
		w.edit("n-a", change)
		w.start()
		w.run(2 * time.Second)
		l := w.objects["n-a"]
		if token(l) != token(was) || l.Annotations["conclave.dev/what"] != "" || l.Spec.PreferredHolder != nil || l.Spec.RenewTime.After(w.now.Add(time.Minute)) ||
			*l.Spec.LeaseTransitions != 0 || !l.Spec.AcquireTime.Equal(was.Spec.AcquireTime) {
			t.Errorf("%s: %v", what, l)
		}
	}
	// Another holder, who never was one: the true one comes back as a change of holder.
	w.stop()
	w.edit("n-a", func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = &mallory })
	w.start()
	w.run(2 * time.Second)
	w.wantHolder("n-a", "0x1")
	if l := w.objects["n-a"]; token(l) <= token(was) || *l.Spec.LeaseTransitions != 1 {
		t.Errorf("%v", l)
	}
}
