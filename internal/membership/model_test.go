package membership_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/ensemble"
	"github.com/conclave-dev/conclave/internal/ensemble/fake"
	"github.com/conclave-dev/conclave/internal/membership"
)

// model is a cluster: pods of two StatefulSets, members in them, and what the
// operator has written down.
type model struct {
	t       *testing.T
	world   *fake.World
	want    membership.Target
	latches membership.Latches
	sets    membership.Target
	exist   bool
	down    map[string]int // pods that can't run, and for how many ticks
	fresh   int
	log     []string
}

func newModel(t *testing.T, want membership.Target) *model {
	return &model{t: t, world: fake.New(), want: want, down: map[string]int{}}
}

func podName(s membership.Seat) string {
	if s.Observer {
		return fmt.Sprintf("o-%d", s.Ordinal)
	}
	return fmt.Sprintf("v-%d", s.Ordinal)
}

func (m *model) seats() (seats []membership.Seat) {
	for i := range m.sets.Voters {
		seats = append(seats, membership.Seat{Ordinal: i})
	}
	for i := range m.sets.Observers {
		seats = append(seats, membership.Seat{Observer: true, Ordinal: i})
	}
	return seats
}

// tick is a moment: StatefulSets make and delete pods, members hear of each other.
func (m *model) tick() {
	wanted := map[string]bool{}
	for _, s := range m.seats() {
		name := podName(s)
		wanted[name] = true
		if m.down[name] > 0 {
			m.down[name]--
			m.world.Stop(name)
			continue
		}
		if m.world.Process(name) == nil {
			m.world.Start(name, s.ServerName()).Connections = 1
		}
	}
	for i := range 16 {
		for _, o := range []bool{false, true} {
			if name := podName(membership.Seat{Observer: o, Ordinal: i}); !wanted[name] {
				m.world.Stop(name)
			}
		}
	}
	m.world.Tick()
}

func (m *model) volumes(observer bool) (ordinals []int) {
	prefix := "v-"
	if observer {
		prefix = "o-"
	}
	for _, pod := range m.world.Volumes() {
		if rest, ok := strings.CutPrefix(pod, prefix); ok {
			var i int
			fmt.Sscan(rest, &i)
			ordinals = append(ordinals, i)
		}
	}
	return ordinals
}

func (m *model) observe() membership.Observed {
	m.fresh++
	o := membership.Observed{
		Want: m.want, Latches: m.latches, FreshClusterID: fmt.Sprintf("%032x", m.fresh), DrainPatience: time.Minute,
		Voters:    membership.Set{Exists: m.exist, Replicas: m.sets.Voters, Volumes: m.volumes(false)},
		Observers: membership.Set{Exists: m.exist, Replicas: m.sets.Observers, Volumes: m.volumes(true)},
	}
	for _, s := range m.seats() {
		p := membership.Pod{Seat: s, Name: podName(s), Status: m.world.Status(podName(s))}
		if p.Status == nil {
			p.NoAnswer = "connection refused"
		}
		o.Pods = append(o.Pods, p)
	}
	return o
}

func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(m.log[max(0, len(m.log)-60):], "\n"))
}

// act carries a plan out that was made when there were so many pods.
func (m *model) act(p membership.Plan, had membership.Target) error {
	ctx := context.Background()
	api, _ := m.world.At(ensemble.Endpoint{Pod: p.Ask, Address: p.Ask})
	var err error
	switch p.Act {
	case membership.Rest, membership.Wait, membership.Hold:
	case membership.LatchEnsemble, membership.LatchBootstrap, membership.LatchTarget, membership.LatchParked:
		if m.latches.Bootstrapped && !p.Latches.Bootstrapped {
			m.fatalf("the latch of the bootstrap was taken back: %+v", p)
		}
		m.latches = p.Latches
	case membership.SetPods:
		m.shrinkIsSafe(p, had)
		m.sets, m.exist = p.Pods, true
	case membership.Bootstrap:
		if m.latches.Bootstrapped || p.ClusterID != m.latches.ClusterID || p.Member.ID != m.latches.FirstMember {
			m.fatalf("a Bootstrap that is not the latched one: %+v, latched %+v", p, m.latches)
		}
		_, err = api.Bootstrap(ctx, &adminpb.BootstrapRequest{ClusterId: p.ClusterID, MemberId: p.Member.ID})
	case membership.StartClean:
		_, err = api.StartClean(ctx, &adminpb.StartCleanRequest{ClusterId: p.ClusterID, MemberId: p.Member.ID, UnreadableIdentity: p.Member.ID == 0})
	case membership.AddLearner:
		_, err = api.AddLearner(ctx, &adminpb.AddLearnerRequest{ConfigurationIndex: p.Index, MemberId: p.Member.ID, Name: p.Member.ServerName(),
			PeerAddress: p.Member.PeerAddress, ClientAddress: p.Member.ClientAddress, Observer: p.Member.Observer})
	case membership.Promote:
		_, err = api.Promote(ctx, &adminpb.PromoteRequest{ConfigurationIndex: p.Index, MemberId: p.Member.ID})
	case membership.TransferLeadership:
		_, err = api.TransferLeadership(ctx, &adminpb.TransferLeadershipRequest{TargetMemberId: p.Member.ID})
	case membership.Drain:
		_, err = api.Drain(ctx, &adminpb.DrainRequest{})
	case membership.Remove:
		_, err = api.Remove(ctx, &adminpb.RemoveRequest{ConfigurationIndex: p.Index, MemberId: p.Member.ID})
	default:
		m.fatalf("unknown act %q", p.Act)
	}
	return err
}

// shrinkIsSafe: no pod of those that there were when it was planned goes while the
// ensemble counts its member, but to park.
func (m *model) shrinkIsSafe(p membership.Plan, had membership.Target) {
	to := p.Pods
	if p.Reason == membership.Parking && to == (membership.Target{}) && (m.latches.Parked.Voters > 0 || !m.latches.Bootstrapped) {
		return
	}
	for _, n := range append(m.world.Voters(m.latches.ClusterID), m.world.Learners(m.latches.ClusterID)...) {
		s, _ := membership.SeatOf(n)
		if s.Observer && s.Ordinal >= to.Observers && s.Ordinal < had.Observers || !s.Observer && s.Ordinal >= to.Voters && s.Ordinal < had.Voters {
			m.fatalf("pods go to %v while server.%d is a member", to, n)
		}
	}
}

// pass is one pass of the operator: observe, plan, act, and perhaps something in
// between.
func (m *model) pass(between func()) membership.Plan {
	had := m.sets
	p := membership.Next(m.observe())
	m.log = append(m.log, fmt.Sprintf("%-18s %-20s %s", p.Act, p.Reason, p.Message))
	if p.Reason == "" || p.Message == "" {
		m.fatalf("a plan without a reason: %+v", p)
	}
	if between != nil {
		between()
	}
	quorum := m.world.HasQuorum(m.latches.ClusterID)
	if err := m.act(p, had); err != nil {
		why, refused := ensemble.Refusal(err)
		m.log = append(m.log, fmt.Sprintf("   -> %v", err))
		// A plan that is carried out on what it was made on is not refused.
		if refused && between == nil && why != adminpb.RefusalReason_REFUSAL_REASON_UNREACHABLE {
			m.fatalf("refused: %v\nplan: %+v", err, p)
		}
	}
	if p.Act != membership.SetPods && quorum && between == nil && !m.world.HasQuorum(m.latches.ClusterID) {
		m.fatalf("the step cost the ensemble its quorum: %+v", p)
	}
	m.check()
	return p
}

// check holds what is true at any time.
func (m *model) check() {
	m.t.Helper()
	if len(m.world.Founded) > 1 {
		m.fatalf("a second ensemble was founded: %v", m.world.Founded)
	}
}

// settle runs passes until the planner rests, and wants it to.
func (m *model) settle(bound int) {
	m.t.Helper()
	for range bound {
		m.tick()
		if p := m.pass(nil); p.Act == membership.Rest {
			return
		}
	}
	m.fatalf("no rest after %d passes: voters %v, learners %v, pods %v", bound, m.world.Voters(m.latches.ClusterID), m.world.Learners(m.latches.ClusterID), m.sets)
}

// atTarget wants the ensemble to be exactly what the spec asks for.
func (m *model) atTarget() {
	m.t.Helper()
	if m.want.Voters == 0 {
		if m.sets != (membership.Target{}) {
			m.fatalf("parked with pods: %v", m.sets)
		}
		return
	}
	var voters, observers []int32
	for i := range m.want.Voters {
		voters = append(voters, membership.Seat{Ordinal: i}.ServerName())
	}
	for i := range m.want.Observers {
		observers = append(observers, membership.Seat{Observer: true, Ordinal: i}.ServerName())
	}
	id := m.latches.ClusterID
	if got := m.world.Voters(id); !slices.Equal(got, voters) {
		m.fatalf("voters %v, want %v", got, voters)
	}
	if got := m.world.Learners(id); !slices.Equal(got, observers) {
		m.fatalf("others %v, want %v", got, observers)
	}
	if m.sets != m.want || !m.world.Healthy(id) {
		m.fatalf("pods %v, want %v; healthy: %t", m.sets, m.want, m.world.Healthy(id))
	}
	for _, s := range m.seats() {
		if st := m.world.Status(podName(s)); st.GetClusterId() != id || !st.GetReady() && !st.GetDrain().GetActive() {
			m.fatalf("%s: %v", podName(s), st)
		}
	}
}

func TestSizesInTurn(t *testing.T) {
	for _, sizes := range [][]int{{1}, {3}, {3, 1, 3}, {3, 5, 3}, {1, 7, 1}, {7, 3, 5, 1}, {3, 0, 3}, {5, 0, 1}, {0, 1}, {0, 3, 0, 7}} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			m := newModel(t, membership.Target{})
			for i, n := range sizes {
				m.want = membership.Target{Voters: n, Observers: (i + 1) % 3}
				m.settle(120)
				m.atTarget()
			}
		})
	}
}

// Between two odd numbers of voters, nothing but the second half of the step is
// done.
func TestEvenNumbersDoNotLast(t *testing.T) {
	m := newModel(t, membership.Target{Voters: 1})
	m.settle(50)
	for _, n := range []int{7, 1} {
		m.want.Voters = n
		even := 0
		for range 200 {
			m.tick()
			p := m.pass(nil)
			if len(m.world.Voters(m.latches.ClusterID))%2 == 0 {
				if even++; even > 1 {
					m.fatalf("an even number of voters for %d passes", even)
				}
			} else {
				even = 0
			}
			if p.Act == membership.Rest {
				break
			}
		}
		m.atTarget()
	}
}

// Faults between any two steps, and between looking and acting; the operator that
// dies, calls that fail or are answered in vain. In the end the ensemble is what
// the spec asks for, and there has never been another.
func TestRandomFaults(t *testing.T) {
	seeds := uint64(400)
	if testing.Short() {
		seeds = 100
	}
	for seed := range seeds {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { runFaults(t, seed) }) {
			return
		}
	}
}

var odd = []int{0, 1, 3, 5, 7}

func runFaults(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 6))
	m := newModel(t, membership.Target{Voters: odd[1+rng.IntN(4)], Observers: rng.IntN(3)})
	failing := func(chance float64) func(string, string) error {
		return func(_, call string) error {
			if call != "Status" && rng.Float64() < chance {
				return status.Error(codes.Unavailable, "the connection broke")
			}
			return nil
		}
	}
	m.world.OnCall, m.world.OnDone = failing(0.1), failing(0.1)
	somebody := func() string {
		if s := m.seats(); len(s) > 0 {
			return podName(s[rng.IntN(len(s))])
		}
		return ""
	}
	fault := func() {
		pod := somebody()
		p := m.world.Process(pod)
		id := m.latches.ClusterID
		k := rng.IntN(10)
		m.log = append(m.log, fmt.Sprintf("== fault %d at %s", k, pod))
		switch k {
		case 0:
			m.world.Stop(pod)
		case 1:
			if pod != "" {
				m.world.Stop(pod)
				m.down[pod] = rng.IntN(10)
			}
		case 2:
			if p != nil {
				p.Silent = !p.Silent
			}
		case 3:
			if p != nil {
				p.Cut = !p.Cut
			}
		case 4:
			if p != nil {
				p.Slow = !p.Slow
			}
		case 5:
			// A disk is lost at most where the ensemble can bear it.
			if m.latches.Bootstrapped && len(m.world.Voters(id)) > 2 && m.world.Healthy(id) {
				if rng.IntN(2) == 0 {
					m.world.LoseVolume(pod)
				} else {
					m.world.Damage(pod)
				}
			}
		case 6:
			m.want = membership.Target{Voters: odd[rng.IntN(5)], Observers: rng.IntN(3)}
		case 7: // somebody scales or deletes a StatefulSet
			if rng.IntN(2) == 0 {
				m.sets.Voters = rng.IntN(8)
			} else {
				m.exist, m.sets = false, membership.Target{}
			}
		case 8: // the resource is made again over the volumes that are there
			if m.latches.Bootstrapped {
				m.latches = membership.Latches{}
				m.sets, m.exist = membership.Target{}, false
				m.log = append(m.log, "== recreated")
			}
		case 9: // clients come
			if p != nil {
				p.Connections += 3
			}
		}
	}
	for range 60 {
		if rng.IntN(3) == 0 {
			fault()
		}
		m.tick()
		switch rng.IntN(6) {
		case 0: // the operator dies before it acts
			p := membership.Next(m.observe())
			m.log = append(m.log, fmt.Sprintf("%-18s %-20s (not carried out)", p.Act, p.Reason))
		case 1:
			m.pass(fault)
		default:
			m.pass(func() {})
		}
	}
	// Everything is well again.
	m.world.OnCall, m.world.OnDone = nil, nil
	clear(m.down)
	if m.want.Voters == 0 {
		m.want.Voters = 3
	}
	for range 3 {
		for _, s := range m.seats() {
			if p := m.world.Process(podName(s)); p != nil {
				p.Silent, p.Cut, p.Slow = false, false, false
			}
		}
		m.tick()
	}
	m.log = append(m.log, "== healed")
	m.settle(200)
	m.atTarget()
}
