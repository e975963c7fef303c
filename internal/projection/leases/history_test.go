package leases

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/conclave-dev/conclave/internal/projection/mirror"
)

// follower follows a Lease as client-go's LeaderElector does: what it reads is
// compared with what it read before, and a record that stays the same for longer
// than it says has run out, by the follower's own clock.
type follower struct {
	observed resourcelock.LeaderElectionRecord
	at       time.Time
	uid      types.UID
}

// read returns who leads by the follower's lights: nobody if the Lease is gone, is
// released or has run out.
func (f *follower) read(l *coordinationv1.Lease, now time.Time) string {
	if l == nil {
		*f = follower{}
		return ""
	}
	if r := *resourcelock.LeaseSpecToLeaderElectionRecord(&l.Spec); r != f.observed || l.UID != f.uid {
		f.observed, f.at, f.uid = r, now, l.UID
	}
	if f.observed.HolderIdentity == "" || f.expired(now) {
		return ""
	}
	return f.observed.HolderIdentity
}

func (f *follower) expired(now time.Time) bool {
	return !f.at.Add(time.Duration(f.observed.LeaseDurationSeconds) * time.Second).After(now)
}

var historyRules = []Rule{
	{Name: "nodes", Kind: Node, Path: "/n/{a}", LeaseName: "n-{a}"},
	{Name: "data", Kind: Node, Path: "/d/*", Holder: FromData, LeaseName: "d-{name}"},
	{Name: "elections", Kind: Election, Path: "/e/{a}", LeaseName: "e-{a}", Children: "*lock*", Holder: FromData, JSONField: "id"},
	// Two paths can have one name.
	{Name: "crossed", Kind: Election, Path: "/x/{a}/*", LeaseName: "x-{a}", Holder: FromPod},
}

// oracle says by brute force which Leases there should be and who holds them, from
// the rules above and the nodes alone. Names that two want are absent.
func oracle(w *world) map[string]string {
	claims := map[string][]string{}
	type inLine struct {
		number int
		czxid  int64
	}
	lowest := map[string]inLine{}
	digits := regexp.MustCompile(`-?\d{9,10}$`)
	dirs := map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(w.nodes)) {
		n := w.nodes[path]
		session := fmt.Sprintf("0x%x", n.Session)
		el := strings.Split(path, "/")
		switch el[1] {
		case "n":
			claims["n-"+el[2]] = append(claims["n-"+el[2]], session)
		case "d":
			holder := strings.TrimSpace(string(n.Data))
			if holder == "" {
				holder = session
			}
			claims["d-"+el[2]] = append(claims["d-"+el[2]], holder)
		case "e", "x":
			last := el[len(el)-1]
			text := digits.FindString(last)
			if len(text) < 10 || el[1] == "e" && !strings.Contains(last, "lock") {
				continue
			}
			if len(text) == 11 {
				// The - belongs to the name: no number here has so many digits.
				text = text[1:]
			}
			number, _ := strconv.Atoi(text)
			dir := strings.Join(el[:len(el)-1], "/")
			name := el[1] + "-" + el[2]
			// Two with one number, one of them made by hand: the older.
			if first, ok := lowest[dir]; ok && (first.number < number || first.number == number && first.czxid < n.Czxid) {
				continue
			}
			holder := session
			if el[1] == "x" {
				if pod := w.pods[n.Session]; pod != "" {
					holder = pod
				}
			} else if id, ok := strings.CutPrefix(string(n.Data), `{"id":"`); ok {
				holder = strings.TrimSuffix(id, `"}`)
			}
			lowest[dir] = inLine{number, n.Czxid}
			dirs[dir] = name + "=" + holder
		}
	}
	for _, v := range dirs {
		name, holder, _ := strings.Cut(v, "=")
		claims[name] = append(claims[name], holder)
	}
	out := map[string]string{}
	for name, holders := range claims {
		if len(holders) == 1 {
			out[name] = holders[0]
		}
	}
	return out
}

// change is one random thing that clients do.
func (w *world) change() {
	r := w.rand
	paths := slices.Sorted(maps.Keys(w.nodes))
	session := 1 + r.Uint64N(12)
	switch n := r.IntN(12); {
	case n < 2 && len(paths) > 0:
		w.remove(paths[r.IntN(len(paths))])
	case n == 2:
		// A session ends, with all it has.
		if gone := slices.DeleteFunc(paths, func(p string) bool { return w.nodes[p].Session != session }); len(gone) > 0 {
			w.remove(gone...)
		}
	case n == 3 && len(paths) > 0:
		p := paths[r.IntN(len(paths))]
		if strings.HasPrefix(p, "/e/") {
			w.setData(p, fmt.Sprintf(`{"id":"m%d"}`, r.IntN(4)))
		} else {
			w.setData(p, fmt.Sprint("m", r.IntN(4)))
		}
	case n < 6:
		if p := fmt.Sprintf("/n/%d", r.IntN(6)); w.nodes[p].Path == "" {
			w.create(p, session, "")
		}
	case n < 7:
		if p := fmt.Sprintf("/d/%d", r.IntN(4)); w.nodes[p].Path == "" {
			w.create(p, session, fmt.Sprint("m", r.IntN(4)))
		}
	case n < 10:
		prefix := []string{"_c_4f-lock-", "0a__lock__", "other-"}[r.IntN(3)]
		w.candidate(fmt.Sprint("/e/", r.IntN(4)), prefix, session, fmt.Sprintf(`{"id":"m%d"}`, r.IntN(4)))
	case n == 10:
		// A number that ZooKeeper would not have given.
		if p := fmt.Sprintf("/e/%d/lock-%010d", r.IntN(4), r.IntN(3)-1); w.nodes[p].Path == "" {
			w.create(p, session, "")
		}
	default:
		w.candidate(fmt.Sprintf("/x/%d/%d", r.IntN(2), r.IntN(2)), "n-", session, "")
	}
}

// trouble is one random thing that befalls the operator or the Leases.
func (w *world) trouble() {
	r := w.rand
	names := slices.Sorted(maps.Keys(w.objects))
	switch r.IntN(8) {
	case 0:
		w.stop()
		w.run(time.Duration(r.IntN(3000)) * time.Millisecond)
		w.start()
	case 1:
		w.cutOff()
		w.run(time.Duration(r.IntN(5000)) * time.Millisecond)
		w.connect()
	case 2:
		w.quorum = false
		w.run(time.Duration(r.IntN(8000)) * time.Millisecond)
		w.quorum = true
	case 3, 4:
		if len(names) > 0 {
			mallory := "mallory"
			w.edit(names[r.IntN(len(names))], func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = &mallory })
		}
	case 5:
		if len(names) > 0 {
			w.erase(names[r.IntN(len(names))])
		}
	case 6:
		w.faults = []int{0, 3, 10}[r.IntN(3)]
	default:
		w.latency = time.Duration(5+r.IntN(200)) * time.Millisecond
		w.delay = time.Duration(r.IntN(300)) * time.Millisecond
	}
}

// past is what was seen of one object.
type past struct {
	uid         types.UID
	holder      string
	token       int64
	transitions int32
	renewed     time.Time
}

// watchHistory checks every write against those before it.
func watchHistory(t *testing.T, w *world) {
	seen := map[string]*past{}
	highest := map[string]int64{}
	w.onWrite = func(name string, l *coordinationv1.Lease) {
		if l == nil || *l.Spec.HolderIdentity == "mallory" || l.Annotations[AnnotationPath] == "" {
			return
		}
		now := past{l.UID, *l.Spec.HolderIdentity, token(l), *l.Spec.LeaseTransitions, l.Spec.RenewTime.Time}
		before := seen[name]
		seen[name] = &now
		if strings.HasPrefix(name, "n-") && now.holder != "" {
			// A node's czxid rises with every life of its path, whatever became of the
			// object.
			if now.token < highest[name] {
				t.Errorf("%s: token %d after %d", name, now.token, highest[name])
			}
			highest[name] = now.token
		}
		if before == nil || before.uid != now.uid {
			return
		}
		switch {
		case now.transitions < before.transitions, now.token < before.token:
			t.Errorf("%s: %+v after %+v", name, now, *before)
		case now.holder != "" && now.holder != before.holder && now.token <= before.token,
			now.transitions > before.transitions && now.holder != "" && now.token <= before.token:
			t.Errorf("%s: handed over without a higher token: %+v after %+v", name, now, *before)
		case now.holder != "" && now.holder != before.holder && now.transitions <= before.transitions:
			t.Errorf("%s: handed over without a transition: %+v after %+v", name, now, *before)
		case now.holder != "" && !now.renewed.After(before.renewed):
			t.Errorf("%s: renewTime stands still: %+v after %+v", name, now, *before)
		}
	}
}

// Whatever clients do and whatever befalls the operator: every write is a lawful
// successor of the one before it, and once things calm down, Leases are what the
// oracle says.
func TestRandomHistories(t *testing.T) {
	seeds := 40
	if text := os.Getenv("CONCLAVE_SEEDS"); text != "" {
		seeds, _ = strconv.Atoi(text)
	}
	if testing.Short() {
		seeds = 5
	}
	handovers := 0
	for seed := range uint64(seeds) {
		w := newWorld(t, seed, historyRules...)
		for s := range uint64(6) {
			w.pods[s] = fmt.Sprintf("ns/pod-%d", s)
		}
		watchHistory(t, w)
		for range 6 {
			for range 25 {
				for range w.rand.IntN(6) {
					w.change()
				}
				if w.rand.IntN(6) == 0 {
					w.trouble()
				}
				w.run(time.Duration(w.rand.IntN(400)) * time.Millisecond)
			}
			w.faults, w.latency, w.delay = 0, 10*time.Millisecond, 20*time.Millisecond
			// Longer than a write that failed again and again is put off.
			w.run(maxBackoff + 5*time.Second)
			want := oracle(w)
			for name, holder := range want {
				if got := w.holder(name); got != holder {
					t.Errorf("seed %d: %s: holder %q, want %q", seed, name, got, holder)
				}
			}
			for name, l := range w.objects {
				if *l.Spec.HolderIdentity != "" && want[name] == "" {
					t.Errorf("seed %d: %s is there, with holder %s", seed, name, *l.Spec.HolderIdentity)
				}
				if *l.Spec.HolderIdentity == "" && strings.HasPrefix(name, "n") {
					t.Errorf("seed %d: %s outlives its node", seed, name)
				}
			}
			if s := w.planner.Status(w.now); s.Pending != 0 {
				t.Errorf("seed %d: %d are pending", seed, s.Pending)
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		handovers += len(w.issued["holder"])
		for what, most := range map[string]int{"renewed": DefaultLimits.Renewals, "removed": DefaultLimits.Cleanups} {
			// An operator that starts knows nothing of what the one before has written.
			if got := busiest(w.issued[what]); got > 2*most {
				t.Errorf("seed %d: %d times %s in a second", seed, got, what)
			}
		}
	}
	if handovers < seeds*50 {
		t.Errorf("only %d hand-overs: the test tells little", handovers)
	}
}

// A follower never believes in anybody who does not hold for longer than a second
// while all is well, never misses who does, and sees a Lease run out when the
// ensemble or the operator is gone.
func TestFollowers(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(t, seed, historyRules...)
		watchHistory(t, w)
		followers := map[string]*follower{}
		look := func() map[string]string {
			believed := map[string]string{}
			for name := range w.objects {
				if followers[name] == nil {
					followers[name] = &follower{}
				}
			}
			for name, f := range followers {
				if who := f.read(w.objects[name], w.now); who != "" {
					believed[name] = who
				}
			}
			return believed
		}
		// wrong is since when a follower has believed what is not so.
		wrong := map[string]time.Time{}
		watch := func(d time.Duration, churn bool) {
			for end := w.now.Add(d); w.now.Before(end); {
				if churn && w.rand.IntN(3) == 0 {
					w.change()
				}
				w.run(50 * time.Millisecond)
				believed, so := look(), oracle(w)
				for name := range followers {
					if believed[name] == so[name] {
						delete(wrong, name)
						continue
					}
					if wrong[name].IsZero() {
						wrong[name] = w.now
					}
					if w.now.Sub(wrong[name]) > time.Second {
						t.Fatalf("seed %d: for %v a follower has believed %q to hold %s, and %q does", seed, w.now.Sub(wrong[name]), believed[name], name, so[name])
					}
				}
			}
		}
		calm := func(d time.Duration) { watch(d, false) }
		watch(20*time.Second, true)
		// Longer than any Lease lasts: renewals are seen.
		calm(3 * time.Minute)
		if len(look()) < 3 {
			t.Fatalf("seed %d: only %d Leases", seed, len(look()))
		}
		// A short break, a change of the operator: nobody notices.
		w.cutOff()
		calm(5 * time.Second)
		w.connect()
		calm(5 * time.Second)
		w.stop()
		w.run(25 * time.Second)
		w.start()
		calm(2 * time.Minute)
		// The ensemble loses its quorum: what was believed is believed until it runs
		// out, and no other comes in its place.
		believed := look()
		w.quorum = false
		for range 5 {
			w.change()
		}
		for range 60 {
			w.run(time.Second)
			for name, who := range look() {
				if believed[name] != who {
					t.Fatalf("seed %d: without a quorum %s came to hold %s", seed, who, name)
				}
			}
		}
		w.run(5 * time.Second)
		if left := look(); len(left) > 0 {
			t.Fatalf("seed %d: without a quorum these have not run out: %v", seed, left)
		}
		w.quorum = true
		w.run(2 * time.Second)
		clear(wrong)
		calm(90 * time.Second)
		// The operator dies.
		w.stop()
		w.run(65 * time.Second)
		if left := look(); len(left) > 0 {
			t.Fatalf("seed %d: without an operator these have not run out: %v", seed, left)
		}
		w.start()
		w.run(2 * time.Second)
		clear(wrong)
		calm(20 * time.Second)
	}
}

// The mirror is told of thousands of changes a second, for minutes, by clients who
// mean harm: no second sees more writes than allowed, no Lease runs out, and who
// holds quietly is served as well as who makes the noise.
func TestChurn(t *testing.T) {
	w := newWorld(t, 3, nodeRule, electionRule)
	const quiet, loud = 400, 100
	for i := range quiet {
		w.create(fmt.Sprintf("/n/quiet%d", i), 1, "")
	}
	w.run(10 * time.Second)
	w.issued = map[string][]time.Time{}
	followers := map[string]*follower{}
	late := map[string]time.Time{}
	for range 90 * 10 {
		for i := range loud {
			p := fmt.Sprintf("/n/loud%d", i)
			if w.nodes[p].Path != "" {
				w.remove(p)
				w.create(p, 2, "")
			} else {
				w.create(p, 2, "")
			}
			if w.rand.IntN(5) == 0 {
				w.remove(p)
			}
		}
		// One of the quiet changes hands now and then.
		if w.rand.IntN(10) == 0 {
			p := fmt.Sprintf("/n/quiet%d", w.rand.IntN(quiet))
			w.remove(p)
			w.create(p, 3+w.rand.Uint64N(100), "")
		}
		w.run(100 * time.Millisecond)
		for i := range quiet {
			name := fmt.Sprintf("n-quiet%d", i)
			f := followers[name]
			if f == nil {
				f = &follower{}
				followers[name] = f
			}
			want := SessionIdentity(w.nodes[fmt.Sprintf("/n/quiet%d", i)].Session)
			switch got := f.read(w.objects[name], w.now); {
			case got == want:
				delete(late, name)
			case late[name].IsZero():
				late[name] = w.now
			case w.now.Sub(late[name]) > 4*time.Second:
				t.Fatalf("%s: %q is believed to hold, and %s does, for %v", name, got, want, w.now.Sub(late[name]))
			}
		}
	}
	var all []time.Time
	for _, times := range w.issued {
		all = append(all, times...)
	}
	slices.SortFunc(all, time.Time.Compare)
	if got := busiest(all); got > DefaultLimits.Writes || got < 60 {
		t.Errorf("%d writes in a second", got)
	}
	if got := busiest(w.issued["renewed"]); got > 16 || got < 8 {
		t.Errorf("%d renewals in a second", got)
	}
}

// Ten thousand Leases: there within two minutes of a cold start, and then less than
// twenty writes a second, with no Lease running out.
func TestTenThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute")
	}
	w := newWorld(t, 4, nodeRule)
	w.settings.Max = 20000
	w.planner.Settings(w.settings, w.mirror, w.now)
	for i := range 10000 {
		w.create(fmt.Sprintf("/n/%d", i), 1, "")
	}
	begun := w.now
	for len(w.objects) < 10000 {
		if w.run(time.Second); w.now.Sub(begun) > 2*time.Minute {
			t.Fatalf("%d Leases after two minutes", len(w.objects))
		}
	}
	t.Logf("10,000 Leases after %v", w.now.Sub(begun))
	if got := busiest(w.issued["new"]); got > DefaultLimits.Writes {
		t.Errorf("%d writes in a second", got)
	}
	clear(w.issued)
	expires := func() {
		t.Helper()
		for name, l := range w.objects {
			if w.now.Sub(l.Spec.RenewTime.Time) > time.Duration(*l.Spec.LeaseDurationSeconds)*time.Second {
				e := w.planner.entries[name]
				t.Fatalf("%s has run out: %v after the start, renewed %v ago, %v %v due %v ago, %d queued; issued %d", name, w.now.Sub(begun), w.now.Sub(l.Spec.RenewTime.Time), e.interval, e.timerSlot, w.now.Sub(e.timer[1]), w.planner.due.Len(), len(w.issued["renewed"]))
			}
		}
	}
	steady := func(minutes int, step func()) {
		t.Helper()
		for range minutes * 6 {
			w.run(10 * time.Second)
			step()
			expires()
		}
		var all []time.Time
		for _, times := range w.issued {
			all = append(all, times...)
		}
		slices.SortFunc(all, time.Time.Compare)
		if got := busiest(all); got > 18 || len(all) < minutes*60 {
			t.Errorf("%d writes in a second, %d in all: %v", got, len(all), len(w.issued["renewed"]))
		}
	}
	steady(20, func() {})
	t.Logf("duration %v", w.planner.Duration())
	// A new operator goes on with what it finds.
	w.stop()
	w.run(20 * time.Second)
	w.start()
	clear(w.issued)
	steady(20, func() {})
	if got := w.planner.Status(w.now); got.Mirrored != 10000 || got.State != mirror.Fresh {
		t.Errorf("status %+v", got)
	}
}
