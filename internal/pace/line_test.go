package pace

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }

func writer(name string) Writer {
	return Writer{Cluster: types.NamespacedName{Namespace: "ns", Name: name}, Part: "part"}
}

// Each is a story of a line of four turns a second: who asks when, and what it is
// told.
func TestTurns(t *testing.T) {
	type step struct {
		ms       int
		who      string
		patience time.Duration
		// again is when it is told to ask again; 0 if it has a turn. leaves and passes
		// ask nothing.
		again          int
		leaves, passes bool
	}
	calm := func(ms int, who string, again int) step { return step{ms: ms, who: who, patience: Calm, again: again} }
	prompt := func(ms int, who string, again int) step {
		return step{ms: ms, who: who, patience: Prompt, again: again}
	}
	passes := func(ms int, who string) step { return step{ms: ms, who: who, passes: true} }
	leaves := func(ms int, who string) step { return step{ms: ms, who: who, leaves: true} }
	for name, story := range map[string][]step{
		"alone":                          {calm(0, "a", 0), calm(100, "a", 250), calm(249, "a", 250), calm(250, "a", 0), calm(5000, "a", 0)},
		"in the order in which they ask": {calm(0, "a", 0), calm(10, "b", 250), calm(20, "c", 500), calm(30, "a", 750), calm(250, "b", 0), calm(250, "c", 500), calm(500, "c", 0), calm(500, "b", 1000), calm(750, "a", 0)},
		"nobody overtakes who is due":    {calm(0, "a", 0), calm(10, "b", 250), calm(251, "c", 501), calm(300, "b", 0)},
		"who is late holds up nobody":    {calm(0, "a", 0), calm(10, "b", 250), calm(2251, "c", 0), calm(2252, "d", 2501), calm(2253, "b", 2501), calm(2501, "b", 0), calm(2501, "d", 2751)},
		"who leaves neither":             {calm(0, "a", 0), calm(10, "b", 250), calm(20, "c", 500), leaves(100, "b"), calm(251, "c", 0), leaves(252, "nobody")},
		"what is prompt comes first":     {calm(0, "a", 0), calm(10, "b", 250), prompt(20, "c", 250), prompt(250, "c", 0), calm(250, "b", 500), calm(500, "b", 0)},
		"who loses its calm comes first": {calm(0, "a", 0), calm(10, "b", 250), calm(20, "c", 500), prompt(30, "c", 250), calm(250, "b", 500), prompt(250, "c", 0), calm(500, "b", 0)},
		"who finds it again keeps place": {calm(0, "a", 0), prompt(10, "b", 250), calm(20, "b", 250), prompt(600, "c", 850), calm(601, "b", 0)},
		"patience ends":                  {calm(0, "a", 0), calm(10, "b", 250), prompt(300_000, "c", 0), calm(300_001, "b", 300_250), prompt(300_002, "d", 300_500), calm(300_250, "b", 0)},
		"what can't wait is paid for":    {passes(0, "a"), calm(10, "b", 250), passes(20, "a"), calm(250, "b", 500), calm(500, "b", 0)},
		"by those who have patience":     {passes(0, "a"), passes(0, "a"), passes(0, "a"), passes(0, "a"), prompt(10, "b", 510), prompt(509, "b", 510), prompt(510, "b", 0)},
		"and not for ever":               {passes(0, "a"), passes(0, "a"), passes(0, "a"), passes(0, "a"), passes(0, "a"), passes(0, "a"), passes(0, "a"), passes(0, "a"), passes(0, "a"), calm(0, "b", 2000), calm(2000, "b", 0)},
		"who passes has no place":        {calm(0, "a", 0), calm(10, "b", 250), passes(20, "b"), calm(30, "c", 500), calm(500, "c", 0)},
	} {
		t.Run(name, func(t *testing.T) {
			l := New(4)
			for i, s := range story {
				switch {
				case s.leaves:
					l.Leave(writer(s.who))
				case s.passes:
					l.Pass(writer(s.who), at(s.ms))
				default:
					ok, again := l.Take(writer(s.who), s.patience, at(s.ms))
					if want := s.again == 0; ok != want || !ok && !again.Equal(at(s.again)) {
						t.Fatalf("step %d, %s at %d ms: %v, to ask again after %v", i, s.who, s.ms, ok, again.Sub(t0))
					}
				}
			}
		})
	}
	var none Line
	for range 100 {
		if ok, _ := none.Take(writer("a"), Calm, t0); !ok {
			t.Fatal("a line that is nobody's has a bound")
		}
	}
	if len(none.waiting) != 0 {
		t.Error("somebody waits in it")
	}
}

// Clusters whose figures never rest, and whose sessions change: no more turns in any
// second than there are; what is prompt is, as long as there is room for all that is;
// and each gets its turn.
func TestManyClusters(t *testing.T) {
	for _, c := range []struct {
		clusters, churning int
		// prompt and calm are the longest that somebody may have waited.
		prompt, calm time.Duration
	}{
		{clusters: 1, churning: 1, prompt: time.Second, calm: time.Second},
		{clusters: 100, churning: 0, calm: 60 * time.Second},
		{clusters: 100, churning: 2, prompt: 1500 * time.Millisecond, calm: 3 * time.Minute},
		// More than there is room for: patience ends.
		{clusters: 100, churning: 100, prompt: 2 * time.Minute, calm: Calm + 2*time.Minute},
	} {
		t.Run(fmt.Sprintf("%d clusters, %d churning", c.clusters, c.churning), func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(c.churning)))
			type asker struct {
				who      Writer
				patience time.Duration
				// rests is how long after a turn there is something to say again.
				rests time.Duration
				// late is how late it comes at most.
				late time.Duration
				// since is when it asked first, ask when it does next.
				since, ask time.Time
				turns      int
			}
			var askers []*asker
			for i := range c.clusters {
				cluster := types.NamespacedName{Namespace: "ns", Name: fmt.Sprint("zoo-", i)}
				askers = append(askers, &asker{who: Writer{cluster, "pass"}, patience: Calm, rests: 15 * time.Second, late: 300 * time.Millisecond, ask: t0.Add(time.Duration(random.IntN(15000)) * time.Millisecond)})
				if i < c.churning {
					askers = append(askers, &asker{who: Writer{cluster, "view"}, patience: Prompt, rests: time.Second, late: 10 * time.Millisecond, ask: t0})
				}
			}
			l := New(PerSecond)
			var given []time.Time
			longest := map[time.Duration]time.Duration{}
			end := t0.Add(12 * time.Minute)
			for now := t0; now.Before(end); now = now.Add(20 * time.Millisecond) {
				for _, i := range random.Perm(len(askers)) {
					a := askers[i]
					if now.Before(a.ask) {
						continue
					}
					if a.since.IsZero() {
						a.since = now
					}
					ok, again := l.Take(a.who, a.patience, now)
					if !ok {
						if !again.After(now) {
							t.Fatalf("at %v: %v is to ask again at %v", now, a.who, again)
						}
						a.ask = again.Add(time.Duration(random.Int64N(int64(a.late))))
						continue
					}
					given = append(given, now)
					longest[a.patience] = max(longest[a.patience], now.Sub(a.since))
					a.turns++
					a.since, a.ask = time.Time{}, now.Add(a.rests)
				}
			}
			for i := range given {
				if i >= PerSecond && given[i].Sub(given[i-PerSecond]) < time.Second {
					t.Fatalf("%d turns in %v", PerSecond+1, given[i].Sub(given[i-PerSecond]))
				}
			}
			for _, a := range askers {
				if a.turns == 0 || !a.since.IsZero() && end.Sub(a.since) > max(c.calm, c.prompt) {
					t.Errorf("%v has had %d turns, and waits since %v", a.who, a.turns, end.Sub(a.since))
				}
			}
			if longest[Prompt] > c.prompt || longest[Calm] > c.calm {
				t.Errorf("waited for %v", longest)
			}
			t.Logf("%d turns; waited for %v at most", len(given), longest)
		})
	}
}
