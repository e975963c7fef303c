package formation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Acceptor answers requests. It is a value: Handle returns the state that has
// to be durable before the reply may leave, and changes nothing.
type Acceptor struct {
	cfg Config
	// State is what is durable.
	State State
	// Member is the ensemble that this member belongs to without having
	// founded it; zero for none.
	Member ClusterID
}

// NewAcceptor continues from a state, nil for a new data directory.
func NewAcceptor(cfg Config, state *State) (Acceptor, error) {
	if err := cfg.Validate(); err != nil {
		return Acceptor{}, fmt.Errorf("formation: %w", err)
	}
	a := Acceptor{cfg: cfg, State: State{Self: cfg.Self}}
	if state == nil {
		return a, nil
	}
	if state.Self != cfg.Self {
		return Acceptor{}, fmt.Errorf("formation: the stored state is of %v, this is %v: the data directory, or its myid, belongs to another member", state.Self, cfg.Self)
	}
	a.State = *state
	return a, nil
}

// changed names the server lines that were changed after a promise was made. A
// promise binds within the list that it was made for: majorities of another
// list need not overlap with those of this one.
func (a *Acceptor) changed() string {
	if a.State.Promised.IsZero() {
		return ""
	}
	diff := differences(a.cfg.Servers, a.cfg.Self.N, a.State.Servers, a.cfg.Self.N)
	if len(diff) == 0 {
		return ""
	}
	return fmt.Sprintf("the server lines of server.%d were changed (here) while an ensemble was being founded (there): %s; restore them, or, if no server has any data, stop all, empty all data directories, and start again",
		a.cfg.Self.N, strings.Join(diff, "; "))
}

// clusterID is the ensemble that this member belongs to, zero for none.
func (a *Acceptor) clusterID() ClusterID {
	if a.State.Decided {
		return a.State.Value.ClusterID
	}
	return a.Member
}

// Handle answers a request. If the state that it returns is not the one it has,
// the former must be durable, and be made the acceptor's State, before the
// reply leaves.
func (a *Acceptor) Handle(req *Request) (State, *Reply) {
	next := a.State
	code, reason := a.decide(req, &next)
	return next, &Reply{
		Code: code, Reason: reason, From: a.cfg.Self, Servers: a.cfg.Servers,
		Promised: next.Promised, Accepted: next.Accepted, Value: next.Value, Decided: next.Decided, Seats: next.Seats,
		ClusterID: (&Acceptor{State: next, Member: a.Member}).clusterID(),
	}
}

func (a *Acceptor) decide(req *Request, next *State) (Code, string) {
	self := a.cfg.Self
	if req.From.N == self.N && req.From.MemberID != self.MemberID {
		return CodeSameN, fmt.Sprintf("two processes are server.%d: the caller (member %x) and the one called (member %x), each with a data directory of its own; one of them has the wrong myid, or is an old one that should be stopped",
			self.N, req.From.MemberID, self.MemberID)
	}
	if req.To != self.N {
		return CodeWrongServer, fmt.Sprintf("server.%d was called, but server.%d answers: the address of the line for server.%d leads to it, or its myid is wrong", req.To, self.N, req.To)
	}
	if !a.clusterID().IsZero() {
		if req.Op == OpDecide && req.Value != nil && req.Value.ClusterID != a.clusterID() {
			return CodeRefused, fmt.Sprintf("this is a member of ensemble %v, it cannot become one of ensemble %v", a.clusterID(), req.Value.ClusterID)
		}
		return CodeOK, "" // and the reply says which ensemble there is
	}
	if req.Op == OpDecide {
		return a.conclude(req, next)
	}
	if diff := differences(a.cfg.Servers, self.N, req.Servers, req.From.N); len(diff) > 0 {
		return CodeServersDiffer, fmt.Sprintf("the server lines of server.%d (here) and server.%d (there) differ: %s; an ensemble is founded when all have the same", self.N, req.From.N, strings.Join(diff, "; "))
	}
	if why := a.changed(); why != "" {
		return CodeServersDiffer, why
	}
	switch req.Op {
	case OpProbe:
		return CodeOK, ""
	case OpPrepare:
		return a.prepare(req, next)
	case OpAccept:
		return a.accept(req, next)
	}
	return CodeRefused, fmt.Sprintf("%v is unknown here", req.Op)
}

// conclude takes note of a decision. It was made by others, under the server
// lines of that time; whether they are still the same does not matter.
func (a *Acceptor) conclude(req *Request, next *State) (Code, string) {
	if err := req.Value.wellFormed(); err != nil {
		return CodeRefused, err.Error()
	}
	if !req.Value.Names(a.cfg.Self) {
		return CodeNotFounder, a.notFounder(req.Value)
	}
	next.Value, next.Decided = req.Value, true
	return CodeOK, ""
}

func (a *Acceptor) prepare(req *Request, next *State) (Code, string) {
	if code, reason := a.checkBallot(req); code != CodeOK {
		return code, reason
	}
	next.Servers = a.cfg.Servers
	next.Promised = req.Ballot
	next.Seats = a.learn(req.Seats)
	return CodeOK, ""
}

func (a *Acceptor) accept(req *Request, next *State) (Code, string) {
	if code, reason := a.checkBallot(req); code != CodeOK {
		return code, reason
	}
	if err := req.Value.fits(&a.cfg); err != nil {
		return CodeRefused, err.Error()
	}
	if !req.Value.Names(a.cfg.Self) {
		return CodeNotFounder, a.notFounder(req.Value)
	}
	next.Servers = a.cfg.Servers
	next.Promised, next.Accepted, next.Value = req.Ballot, req.Ballot, req.Value
	return CodeOK, ""
}

func (a *Acceptor) checkBallot(req *Request) (Code, string) {
	switch {
	case !a.cfg.isVoter(a.cfg.Self.N):
		return CodeRefused, fmt.Sprintf("server.%d is an observer, it does not vote", a.cfg.Self.N)
	case req.Ballot.By != req.From || !a.cfg.isVoter(req.From.N):
		return CodeRefused, fmt.Sprintf("ballot %v is not for %v to propose", req.Ballot, req.From)
	case req.Ballot.Compare(a.State.Promised) < 0:
		return CodeBallot, fmt.Sprintf("ballot %v has been promised", a.State.Promised)
	}
	return CodeOK, ""
}

func (a *Acceptor) notFounder(v *Value) string {
	if s, ok := v.Seat(a.cfg.Self.N); ok && !s.Vacant {
		return fmt.Sprintf("the ensemble is being founded with server.%d as member %x, which this one is not (it is %x): it has lost its disk meanwhile", s.N, s.ID, a.cfg.Self.MemberID)
	}
	return fmt.Sprintf("the ensemble is being founded without server.%d; it joins when it is there", a.cfg.Self.N)
}

// learn adds the ids of names that had none.
func (a *Acceptor) learn(seats []Identity) []Identity {
	out := slices.Clone(a.State.Seats)
	for _, s := range seats {
		if _, known := memberIn(out, s.N); !known && a.cfg.isVoter(s.N) {
			out = append(out, s)
		}
	}
	return out
}

func memberIn(seats []Identity, n uint64) (uint64, bool) {
	for _, s := range seats {
		if s.N == n {
			return s.MemberID, true
		}
	}
	return 0, false
}

// founders are the members that the value names.
func (v *Value) founders() []Identity {
	var out []Identity
	for _, s := range v.Voters {
		if !s.Vacant {
			out = append(out, Identity{N: s.N, MemberID: s.ID})
		}
	}
	return out
}

// wellFormed checks what holds for every value.
func (v *Value) wellFormed() error {
	if v == nil || v.ClusterID.IsZero() {
		return errors.New("a value without a cluster id")
	}
	ids := map[uint64]bool{0: true}
	for i, s := range v.Voters {
		if ids[s.ID] || i > 0 && v.Voters[i-1].N >= s.N {
			return fmt.Errorf("a value with the voters %v: they must be ascending, with an id each", v.Voters)
		}
		ids[s.ID] = true
	}
	if n := len(v.founders()); n < Majority(len(v.Voters)) {
		return fmt.Errorf("a value with %d founders of %d voters: they are no majority", n, len(v.Voters))
	}
	return nil
}

// fits checks that v can be accepted under this configuration: what is a
// majority has to be the same for all.
func (v *Value) fits(cfg *Config) error {
	if err := v.wellFormed(); err != nil {
		return err
	}
	if !slices.EqualFunc(v.Voters, cfg.voters(), func(s Voter, c Server) bool { return s.N == c.N }) {
		return fmt.Errorf("a value with the voters %v, for the configured voters %v", v.Voters, cfg.voters())
	}
	return nil
}
