package summary

import (
	"net/netip"
	"slices"
	"time"

	"github.com/conclave-dev/conclave/internal/projection/mirror"
)

// MaxAtRisk is how many sessions are listed at most. So few are all listed.
const MaxAtRisk = 20

// Pod is the pod in which a session's client runs.
type Pod struct {
	Namespace, Name string
	// Owner is what made it, as kind/name; may be empty.
	Owner string
	// UID is for Events about it.
	UID string
}

// Names finds what Kubernetes calls things.
type Names struct {
	// Member is the pod of a member, empty if unknown.
	Member func(id uint64) string
	// Pod is the pod that has an address now.
	Pod func(netip.Addr) (Pod, bool)
}

// Session is a session at risk.
type Session struct {
	ID               uint64
	State            mirror.SessionState
	Silence, Timeout time.Duration
	Ephemerals       int
	Member, Client   string
	// Pod is zero if the client is in none that is known.
	Pod Pod
}

// Summary is what status says.
type Summary struct {
	// State is what the rest is worth, as of Observed.
	State    mirror.State
	Observed time.Time
	// Settled is false for a moment after a change of leader, in which sessions with
	// a connection may be shown without one.
	Settled bool
	Zxid    int64
	Totals  mirror.Totals
	// AtRisk has the nearest to expiry first.
	AtRisk []Session
}

// Take sums up a mirror.
func Take(m *mirror.Mirror, names Names, now time.Time) Summary {
	s := Summary{State: m.State(now), Settled: m.Settled(), Observed: m.ConfirmedAt(), Zxid: m.Zxid(), Totals: m.Totals()}
	for _, x := range m.AtRisk(MaxAtRisk, now) {
		r := Session{ID: x.ID, State: x.State, Silence: x.Silence, Timeout: x.Timeout, Ephemerals: x.Ephemerals, Member: names.Member(x.Member)}
		if x.Client.IsValid() {
			r.Client = x.Client.String()
			r.Pod, _ = names.Pod(x.Client.Addr())
		}
		s.AtRisk = append(s.AtRisk, r)
	}
	return s
}

const (
	// shortest is the least time between two writes of status, promptly the most
	// until a change of state is in it.
	shortest = time.Second
	// unsettled is the most that a change of state waits for a new leader to have
	// been told everything. It has to leave room within two seconds for the write.
	unsettled = 1500 * time.Millisecond
	// calmly is how often what merely drifts is written: silences, watches, who of
	// the healthy is silent.
	calmly = 10 * time.Second
	// rarely is how often a status is written that has nothing new but its time.
	rarely = time.Minute
)

// Gate decides when a Summary is written.
type Gate struct {
	last  Summary
	at    time.Time
	begun bool
	// differs is since when a leader that is not settled tells of other states.
	differs time.Time
}

// Due tells whether s is to be written now, and if not, when at the latest to ask
// again.
func (g *Gate) Due(s Summary, now time.Time) (due bool, again time.Time) {
	wait := rarely
	switch {
	case !g.begun:
		return true, now
	case !sameStates(g.last, s):
		wait = shortest
	case !same(g.last, s):
		wait = calmly
	}
	again = g.at.Add(wait)
	switch {
	case wait != shortest || s.State != mirror.Fresh || s.Settled:
		g.differs = time.Time{}
	case g.differs.IsZero():
		g.differs = now
		fallthrough
	default:
		// In a moment it is known better.
		if known := g.differs.Add(unsettled); known.After(again) {
			again = known
		}
	}
	return !now.Before(again), again
}

// Drifts tells whether s says nothing else than what was written last, but for what
// moves all the time.
func (g *Gate) Drifts(s Summary) bool { return g.begun && sameStates(g.last, s) }

// Wrote tells that s was written.
func (g *Gate) Wrote(s Summary, now time.Time) {
	g.last, g.at, g.begun, g.differs = s, now, true, time.Time{}
}

// sameStates tells whether all that is told within two seconds is the same.
func sameStates(a, b Summary) bool {
	a.Totals.Watches = b.Totals.Watches
	return a.State == b.State && a.Totals == b.Totals && slices.Equal(unwell(a), unwell(b))
}

// unwell are the sessions without a connection, by id, without what drifts.
func unwell(s Summary) []Session {
	var list []Session
	for _, x := range s.AtRisk {
		if x.State != mirror.Connected {
			x.Silence = 0
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(x, y Session) int {
		if x.ID < y.ID {
			return -1
		}
		return 1
	})
	return list
}

func same(a, b Summary) bool { return a.Totals == b.Totals && slices.Equal(a.AtRisk, b.AtRisk) }
