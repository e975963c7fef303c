package formation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Timing says how patient a Former is. Safety depends on none of it.
type Timing struct {
	// Retry is the pause between two rounds of asking everybody.
	Retry time.Duration
	// Grace is how long a majority waits for the voters that have not answered,
	// to found the ensemble with them (ZooKeeper's initLimit is a good measure).
	Grace time.Duration
	// Phase bounds the wait for promises, and for acceptances.
	Phase time.Duration
	// Stagger is what the second voter in line waits for the first to propose,
	// the third twice as much, and so on; jittered.
	Stagger time.Duration
}

// Outcome is what became of a formation, for this member.
type Outcome struct {
	// Founded, if set: an ensemble was founded and this member is one of its
	// founders, under the id it has. This is durable here.
	Founded *Value
	// Otherwise: there is an ensemble without this member, which is to join it.
	ClusterID ClusterID
	// Via is the address of a member of it.
	Via string
}

// Status is for a person who asks why it takes so long.
type Status struct {
	// Answered and Missing are voters.
	Answered, Missing []uint64
	// Problem says what stands in the way; empty if nothing but time.
	Problem string
}

// Call is a request that the Former wants to have sent. Its answer, or its
// failure, is given back together with it.
type Call struct {
	// To is whom to call. If it is the member itself, its own acceptor is
	// meant; but if Loop is set, whoever answers at the address of its own line.
	To      Server
	Loop    bool
	Request *Request

	attempt uint64
}

type phase int

const (
	surveying phase = iota // asking who is there
	preparing              // collecting promises
	accepting              // collecting acceptances
	closing                // decided; not yet durable here
	finished
)

// Former is the side that asks. It has no clock and does no I/O: its owner
// tells it the time with every event, and sends the calls that it returns.
type Former struct {
	cfg    Config
	timing Timing
	rand   func() uint64

	now     time.Time
	phase   phase
	attempt uint64
	out     []Call
	outcome *Outcome

	servers map[uint64]*view
	loop    view
	probeAt time.Time
	// majoritySince is when a majority of empty voters had answered, zero if
	// they have not.
	majoritySince time.Time
	// turnAt is when it is this member's turn to propose, zero if not yet in line.
	turnAt time.Time
	// quietUntil holds back a proposer that did not get through.
	quietUntil time.Time
	failures   int

	deadline time.Time
	// highest is the highest round seen.
	highest uint64
	ballot  Ballot
	seats   []Identity
	// pending are those whose answer to the phase's request is outstanding.
	pending  map[uint64]bool
	promises map[uint64]*Reply
	accepted map[uint64]bool
	value    *Value
	// problem is why the last attempt failed.
	problem string
}

// NewFormer needs a source of random numbers, for ids and for jitter; ids from
// it must not repeat.
func NewFormer(cfg Config, timing Timing, rand func() uint64) *Former {
	f := &Former{cfg: cfg, timing: timing, rand: rand, servers: map[uint64]*view{}}
	for _, s := range cfg.Servers {
		f.servers[s.N] = &view{}
	}
	return f
}

// Outcome is nil until there is one; from then on nothing more happens.
func (f *Former) Outcome() *Outcome { return f.outcome }

// Wake is when Tick is due.
func (f *Former) Wake() time.Time {
	if f.phase != surveying {
		return f.deadline
	}
	wake := f.probeAt
	for _, t := range []time.Time{f.graceEnd(), f.turnAt, f.quietUntil} {
		if t.After(f.now) && t.Before(wake) {
			wake = t
		}
	}
	return wake
}

// Tick tells the time; the first one starts the Former.
func (f *Former) Tick(now time.Time) []Call {
	f.now = now
	switch f.phase {
	case surveying:
		if !now.Before(f.probeAt) {
			f.probe()
		}
		f.consider()
	case preparing:
		if !now.Before(f.deadline) {
			f.conclude()
		}
	case accepting:
		if !now.Before(f.deadline) {
			f.retreat(fmt.Sprintf("%d of %d voters have accepted in time", len(f.accepted), len(f.cfg.voters())))
		}
	case closing:
		if !now.Before(f.deadline) {
			f.announce()
		}
	}
	return f.take()
}

// Answer gives back a call with its reply, or with the error that it ended in.
func (f *Former) Answer(now time.Time, c Call, reply *Reply, err error) []Call {
	f.now = now
	if f.phase == finished {
		return nil
	}
	if reply != nil && reply.Code == CodeOK && reply.From.N != c.To.N {
		reply, err = nil, fmt.Errorf("server.%d was called, and server.%d agreed", c.To.N, reply.From.N)
	}
	if reply != nil {
		f.highest = max(f.highest, reply.Promised.Round, reply.Accepted.Round)
	}
	if c.Request.Op == OpProbe {
		v := f.servers[c.To.N]
		if c.Loop {
			v = &f.loop
		}
		*v = view{settled: true, reply: reply, err: err}
	}
	switch {
	case reply != nil && !c.Loop && f.meet(c, reply):
	case f.phase == surveying:
		f.consider()
	case c.attempt == f.attempt && f.pending[c.To.N] && c.Request.Op != OpProbe:
		delete(f.pending, c.To.N)
		if f.phase == preparing {
			f.promised(c, reply)
		} else if f.phase == accepting {
			f.hasAccepted(c, reply)
		}
	}
	return f.take()
}

func (f *Former) take() []Call {
	out := f.out
	f.out = nil
	return out
}

func (f *Former) call(to Server, req Request) {
	req.From, req.To, req.Servers = f.cfg.Self, to.N, f.cfg.Servers
	f.out = append(f.out, Call{To: to, Request: &req, attempt: f.attempt})
}

func (f *Former) finish(o *Outcome) {
	f.phase, f.outcome, f.problem = finished, o, ""
}

func (f *Former) begin(p phase) {
	f.phase = p
	f.attempt++
	f.deadline = f.now.Add(f.timing.Phase)
	f.pending = map[uint64]bool{}
}

func (f *Former) propose(voters []*Reply) {
	f.begin(preparing)
	f.highest++
	f.ballot = Ballot{Round: f.highest, By: f.cfg.Self}
	f.promises = map[uint64]*Reply{}
	f.seats = nil
	for _, r := range voters {
		f.seats = append(f.seats, r.From)
		f.pending[r.From.N] = true
	}
	// Its own promise first: so the ballot is durable before anyone else hears
	// of it, and is not used a second time after a restart.
	self, _ := f.cfg.server(f.cfg.Self.N)
	f.call(self, Request{Op: OpPrepare, Ballot: f.ballot, Seats: f.seats})
}

func (f *Former) promised(c Call, reply *Reply) {
	switch {
	case reply == nil:
		if c.To.N == f.cfg.Self.N {
			f.retreat("this member's own promise could not be stored")
			return
		}
	case reply.Code != CodeOK || reply.Promised != f.ballot:
		f.retreat(reply.Reason)
		return
	default:
		f.promises[c.To.N] = reply
		if c.To.N == f.cfg.Self.N {
			for _, id := range f.seats {
				if s, _ := f.cfg.server(id.N); id != f.cfg.Self {
					f.call(s, Request{Op: OpPrepare, Ballot: f.ballot, Seats: f.seats})
				}
			}
		}
	}
	if len(f.pending) == 0 {
		f.conclude()
	}
}

func (f *Former) conclude() {
	var promises []*Reply
	for _, n := range slices.Sorted(maps.Keys(f.promises)) {
		promises = append(promises, f.promises[n])
	}
	value, problem := choose(&f.cfg, f.seats, promises, f.found)
	if value == nil {
		f.retreat(problem)
		return
	}
	f.value = value
	f.begin(accepting)
	f.accepted = map[uint64]bool{}
	for _, id := range value.founders() {
		s, _ := f.cfg.server(id.N)
		f.pending[id.N] = true
		f.call(s, Request{Op: OpAccept, Ballot: f.ballot, Value: value})
	}
}

// found makes the value of a free choice.
func (f *Former) found(founders []Identity) *Value {
	v := &Value{FoundedAt: f.now.UnixMilli()}
	for i := 0; i < len(v.ClusterID); i += 8 {
		for b, r := 0, f.rand(); b < 8; b, r = b+1, r>>8 {
			v.ClusterID[i+b] = byte(r)
		}
	}
	for _, s := range f.cfg.voters() {
		seat := Voter{N: s.N, Addr: f.reachable(s)}
		id, ok := memberIn(founders, s.N)
		for seat.ID = id; seat.ID == 0; seat.ID = f.rand() {
			seat.Vacant = !ok
		}
		v.Voters = append(v.Voters, seat)
	}
	return v
}

// reachable is the address that the others have for a server: its own may
// stand for all interfaces.
func (f *Former) reachable(s Server) string {
	if s.N != f.cfg.Self.N || !isWildcard(s.Addr) {
		return s.Addr
	}
	for _, n := range slices.Sorted(maps.Keys(f.servers)) {
		if r := f.servers[n].reply; r != nil && r.Code == CodeOK {
			if there, ok := find(r.Servers, s.N); ok && !isWildcard(there.Addr) {
				return there.Addr
			}
		}
	}
	return s.Addr
}

func (f *Former) hasAccepted(c Call, reply *Reply) {
	switch {
	case reply == nil:
	case reply.Code == CodeBallot:
		f.retreat(reply.Reason)
		return
	case reply.Code != CodeOK:
		f.problem = reply.Reason
	case reply.Accepted == f.ballot && f.value.Names(reply.From):
		f.accepted[c.To.N] = true
	}
	if len(f.accepted) >= f.cfg.majority() {
		f.begin(closing)
		f.announce()
		return
	}
	if len(f.pending) == 0 {
		f.retreat(cmp.Or(f.problem, "too few voters have accepted"))
	}
}

// announce tells the founders, this member among them, that the value is
// decided. Whoever does not hear it finds out by asking.
func (f *Former) announce() {
	f.deadline = f.now.Add(f.timing.Phase)
	for _, id := range f.value.founders() {
		if s, ok := f.cfg.server(id.N); ok {
			f.call(s, Request{Op: OpDecide, Value: f.value})
		}
	}
	if f.value.Names(f.cfg.Self) {
		return // the acceptor's answer is the outcome: see meet
	}
	// A value of an earlier proposer, founded without this member.
	seat, _ := f.value.Seat(f.value.founders()[0].N)
	f.finish(&Outcome{ClusterID: f.value.ClusterID, Via: seat.Addr})
}

// retreat gives up the attempt and goes back to asking, quietly for a while.
func (f *Former) retreat(why string) {
	f.begin(surveying)
	f.problem = why
	f.failures++
	quiet := f.timing.Stagger << min(f.failures, 4)
	f.quietUntil = f.now.Add(f.jitter(quiet / 2))
	f.turnAt = time.Time{}
	f.probe()
}
