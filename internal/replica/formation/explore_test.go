package formation

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
)

// explorer visits every state that a few proposals can lead three acceptors
// into, whatever is delivered when, twice, or never, and whoever loses its disk
// in between. The acceptors and the proposer's choice are the real ones; what
// is left out is only how a proposer comes to propose.
type explorer struct {
	servers   []Server
	proposers []uint64 // the proposal with round i+1 is made by this server
	wipes     int
	seen      map[[16]byte]bool
	// judge is told of every state.
	judge func(w world)
}

// world is one state. It is copied, never changed, and its parts are shared.
type world struct {
	// ids, states and lost are by server, proposals by round, both less one.
	ids       [3]uint64
	states    [3]State
	lost      [3]bool
	wipes     int
	proposals [3]proposal
}

type proposal struct {
	// ballot is zero before the proposal has been made.
	ballot   Ballot
	seats    []Identity
	promises [3]*Reply
	value    *Value
	// gone: the proposer has lost its disk, and with it what it was doing. What
	// it has sent may still arrive.
	gone bool
	// accepted has those that have stored the acceptance.
	accepted [3]bool
}

func (w *world) key() [16]byte {
	var b []byte
	for i := range w.states {
		b = append(appendUint(b, w.ids[i]), bit(w.lost[i], 0))
		b = append(b, w.states[i].Encode()...)
	}
	b = appendUint(b, uint64(w.wipes))
	for _, p := range w.proposals {
		b = appendBallot(b, p.ballot)
		b = appendIdentities(b, p.seats)
		b = appendValue(b, p.value)
		b = append(b, bit(p.gone, 0)|bit(p.value != nil, 1))
		for i := range p.promises {
			b = append(b, bit(p.accepted[i], 0)|bit(p.promises[i] != nil, 1))
			if p.promises[i] != nil {
				b = append(b, p.promises[i].Encode()...)
			}
		}
	}
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

func (e *explorer) config(w *world, n uint64) Config {
	return Config{Self: Identity{N: n, MemberID: w.ids[n-1]}, Servers: e.servers}
}

// handle lets a server answer; the reply is nil if it is not that member any more.
func (e *explorer) handle(w *world, n uint64, req Request) *Reply {
	req.To, req.Servers = n, e.servers
	acc := Acceptor{cfg: e.config(w, n), State: w.states[n-1]}
	next, reply := acc.Handle(&req)
	w.states[n-1] = next
	return reply
}

func (e *explorer) visit(w world) {
	k := w.key()
	if e.seen[k] {
		return
	}
	e.seen[k] = true
	e.judge(w)
	for i := range e.proposers {
		e.propose(w, i)
		e.prepare(w, i)
		e.conclude(w, i)
		e.accept(w, i)
	}
	if w.wipes < e.wipes {
		for i := range w.ids {
			next := w
			next.wipes++
			next.lost[i] = true
			next.ids[i] += 100
			next.states[i] = State{Self: Identity{N: uint64(i + 1), MemberID: next.ids[i]}}
			for r := range next.proposals {
				if next.proposals[r].ballot.By.N == uint64(i+1) {
					next.proposals[r].gone = true
				}
			}
			e.visit(next)
		}
	}
}

// propose: the proposer has heard from a majority, itself among it.
func (e *explorer) propose(w world, i int) {
	by := e.proposers[i]
	if !w.proposals[i].ballot.IsZero() || w.states[by-1].Promised.Round > uint64(i) {
		return
	}
	for mask := range 8 {
		var seats []Identity
		for n := range uint64(3) {
			if mask>>n&1 == 1 {
				seats = append(seats, Identity{N: n + 1, MemberID: w.ids[n]})
			}
		}
		if len(seats) < 2 || mask>>(by-1)&1 == 0 {
			continue
		}
		next := w
		p := &next.proposals[i]
		p.ballot = Ballot{Round: uint64(i + 1), By: Identity{N: by, MemberID: w.ids[by-1]}}
		p.seats = seats
		// Its own promise comes first.
		p.promises[by-1] = e.handle(&next, by, Request{Op: OpPrepare, From: p.ballot.By, Ballot: p.ballot, Seats: seats})
		e.visit(next)
	}
}

// prepare: a request for a promise arrives; its answer does, or does not.
func (e *explorer) prepare(w world, i int) {
	p := w.proposals[i]
	for _, seat := range p.seats {
		next := w
		reply := e.handle(&next, seat.N, Request{Op: OpPrepare, From: p.ballot.By, Ballot: p.ballot, Seats: p.seats})
		e.visit(next)
		if !p.gone && p.value == nil && p.promises[seat.N-1] == nil && reply.Code == CodeOK {
			next.proposals[i].promises[seat.N-1] = reply
			e.visit(next)
		}
	}
}

// conclude: the proposer does not wait any longer.
func (e *explorer) conclude(w world, i int) {
	p := w.proposals[i]
	if p.ballot.IsZero() || p.gone || p.value != nil {
		return
	}
	var promises []*Reply
	for _, r := range p.promises {
		if r != nil {
			promises = append(promises, r)
		}
	}
	cfg := e.config(&w, p.ballot.By.N)
	value, _ := choose(&cfg, p.seats, promises, func(founders []Identity) *Value {
		v := &Value{ClusterID: ClusterID{byte(i + 1)}}
		for n := range uint64(3) {
			id, ok := memberIn(founders, n+1)
			if !ok {
				id = 1000 + n
			}
			v.Voters = append(v.Voters, Voter{N: n + 1, ID: id, Addr: "x", Vacant: !ok})
		}
		return v
	})
	if value != nil {
		next := w
		next.proposals[i].value = value
		e.visit(next)
	}
}

func (e *explorer) accept(w world, i int) {
	p := w.proposals[i]
	if p.value == nil {
		return
	}
	for _, f := range p.value.founders() {
		next := w
		reply := e.handle(&next, f.N, Request{Op: OpAccept, From: p.ballot.By, Ballot: p.ballot, Value: p.value})
		if reply.Code == CodeOK {
			next.proposals[i].accepted[f.N-1] = true
			e.visit(next)
		}
	}
}

// decided are the values that a majority has accepted in one ballot, the
// earliest ballot first.
func (w *world) decided() []*Value {
	var out []*Value
	for _, p := range w.proposals {
		n := 0
		for _, ok := range p.accepted {
			if ok {
				n++
			}
		}
		if n >= 2 && !slices.ContainsFunc(out, p.value.Equal) {
			out = append(out, p.value)
		}
	}
	return out
}

func explore(t *testing.T, wipes int, proposers ...uint64) (states, beyond int) {
	e := &explorer{proposers: proposers, wipes: wipes, seen: map[[16]byte]bool{}}
	for n := range uint64(3) {
		e.servers = append(e.servers, Server{N: n + 1, Addr: fmt.Sprintf("zk%d:2888", n+1)})
	}
	e.judge = func(w world) {
		values := w.decided()
		if len(values) < 2 {
			return
		}
		lost := 0
		for _, l := range w.lost {
			if l {
				lost++
			}
		}
		if founders := len(values[0].founders()); lost <= founders+2-3-1 {
			t.Fatalf("%d founders, %d lost disks, and then another value is decided: %+v and %+v\n%+v", founders, lost, *values[0], *values[1], w)
		}
		beyond++
	}
	var w world
	for n := range uint64(3) {
		w.ids[n] = n + 1
		w.states[n] = State{Self: Identity{N: n + 1, MemberID: n + 1}}
	}
	e.visit(w)
	return len(e.seen), beyond
}

// Everything that two or three proposals, and a lost disk, can lead to.
func TestEveryScheduleOfThree(t *testing.T) {
	for _, c := range []struct {
		name      string
		wipes     int
		proposers []uint64
	}{
		{"two proposals", 0, []uint64{1, 3}},
		{"two proposals of one", 0, []uint64{2, 2}},
		{"two proposals, one lost disk", 1, []uint64{1, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			states, beyond := explore(t, c.wipes, c.proposers...)
			t.Logf("%d states; in %d of them two values are decided, founded by two of three, one of which lost its disk", states, beyond)
			if (beyond > 0) != (c.wipes > 0) {
				t.Errorf("two founders of three and a lost disk: doc.go says that this can decide two values; without a lost disk, never")
			}
		})
	}
}
