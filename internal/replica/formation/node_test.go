package formation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// town is a network in memory: who answers at which address.
type town struct {
	mu    sync.Mutex
	homes map[string]*Node
}

func newTown() *town { return &town{homes: map[string]*Node{}} }

func (w *town) call(_ context.Context, addr string, request []byte) ([]byte, error) {
	w.mu.Lock()
	n := w.homes[addr]
	w.mu.Unlock()
	if n == nil {
		return nil, errors.New("connection refused")
	}
	return n.HandleCall(request)
}

func (w *town) settle(addr string, n *Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.homes[addr] = n
}

// resident is a node with its disk.
type resident struct {
	*Node
	w    *town
	addr string
	mu   sync.Mutex
	disk []byte
	// broken makes its disk fail.
	broken bool
	logs   *strings.Builder
}

// move starts a node at an address, with the disk of before, if there is one.
func (w *town) move(t *testing.T, addr string, self Identity, servers []Server, before *resident) *resident {
	t.Helper()
	r := &resident{w: w, addr: addr, logs: &strings.Builder{}}
	if before != nil {
		r.disk = before.disk
	}
	env := Env{Call: w.call, Timing: DefaultTiming(20 * time.Second), Logger: slog.New(slog.NewTextHandler(r.logs, nil)), Persist: func(state []byte) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.broken {
			return errors.New("input/output error")
		}
		r.disk = state
		return nil
	}}
	n, err := NewNode(Config{Self: self, Servers: servers}, r.disk, env)
	if err != nil {
		t.Fatal(err)
	}
	r.Node = n
	w.settle(addr, n)
	return r
}

// lines are three voters and an observer.
func lines() []Server {
	return []Server{{N: 1, Addr: "zk1:2888"}, {N: 2, Addr: "zk2:2888"}, {N: 3, Addr: "zk3:2888"}, {N: 9, Addr: "zk9:2888", Observer: true}}
}

type ending struct {
	out  *Outcome
	err  error
	took time.Duration
}

// run lets a node run; its ending comes through the channel.
func (r *resident) run(ctx context.Context) <-chan ending {
	ch := make(chan ending, 1)
	start := time.Now()
	go func() {
		out, err := r.Run(ctx)
		ch <- ending{out, err, time.Since(start)}
	}()
	return ch
}

func mustFound(t *testing.T, ch <-chan ending) *Value {
	t.Helper()
	e := <-ch
	if e.err != nil || e.out.Founded == nil {
		t.Fatalf("%+v", e)
	}
	return e.out.Founded
}

func mustJoin(t *testing.T, ch <-chan ending, id ClusterID) *Outcome {
	t.Helper()
	e := <-ch
	if e.err != nil || e.out.Founded != nil || e.out.ClusterID != id || e.out.Via == "" {
		t.Fatalf("%+v, want to join %v", e, id)
	}
	return e.out
}

func TestServersThatStartTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := newTown()
		var rs []*resident
		var chs []<-chan ending
		for i, s := range lines() {
			rs = append(rs, w.move(t, s.Addr, Identity{s.N, uint64(100 + i)}, lines(), nil))
		}
		for _, r := range rs {
			chs = append(chs, r.run(t.Context()))
		}
		v := mustFound(t, chs[0])
		for i, ch := range chs[1:3] {
			if got := mustFound(t, ch); !got.Equal(v) {
				t.Errorf("server.%d: %+v, server.1: %+v", i+2, got, v)
			}
		}
		mustJoin(t, chs[3], v.ClusterID)
		for i, s := range v.Voters {
			if want := (Voter{N: uint64(i + 1), ID: uint64(100 + i), Addr: lines()[i].Addr}); s != want {
				t.Errorf("seat %+v, want %+v", s, want)
			}
		}
		if len(v.Voters) != 3 || v.FoundedAt != began.UnixMilli() {
			t.Errorf("nobody was to be waited for: %+v, it began at %d", v, began.UnixMilli())
		}
		// It is durable: a founder that starts again needs nobody to know.
		w.homes = map[string]*Node{}
		again := w.move(t, "zk2:2888", Identity{2, 101}, lines(), rs[1])
		if got := mustFound(t, again.run(t.Context())); !got.Equal(v) {
			t.Errorf("after a restart: %+v", got)
		}
		// And on an empty disk it is somebody else, who joins.
		w.settle("zk1:2888", rs[0].Node)
		mustJoin(t, w.move(t, "zk2:2888", Identity{2, 555}, lines(), nil).run(t.Context()), v.ClusterID)
	})
}

func TestMajorityWaitsForTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown()
		three := lines()[:3]
		r1 := w.move(t, "zk1:2888", Identity{1, 101}, three, nil)
		ch1 := r1.run(t.Context())
		time.Sleep(3 * time.Minute)
		if st := r1.Status(); len(st.Missing) != 2 || !strings.Contains(st.Problem, "1 of 3 voters have answered") || !strings.Contains(st.Problem, "server.2=zk2:2888: connection refused") {
			t.Errorf("alone: %+v", st)
		}
		if n := strings.Count(r1.logs.String(), "\n"); n < 2 || n > 20 {
			t.Errorf("%d lines were logged in three minutes", n)
		}
		ch2 := w.move(t, "zk2:2888", Identity{2, 102}, three, nil).run(t.Context())
		e := <-ch1
		if e.err != nil || e.out.Founded == nil {
			t.Fatalf("%+v", e)
		}
		v := e.out.Founded
		if grace := e.took - 3*time.Minute; grace < 20*time.Second || grace > 21*time.Second {
			t.Errorf("the third was waited for for %v", grace)
		}
		if got := mustFound(t, ch2); !got.Equal(v) {
			t.Errorf("%+v and %+v", got, v)
		}
		seat, ok := v.Seat(3)
		if !ok || !seat.Vacant || seat.ID == 0 || seat.Addr != "zk3:2888" || v.Names(Identity{3, seat.ID}) {
			t.Errorf("the seat of the one that was missing: %+v", seat)
		}
		mustJoin(t, w.move(t, "zk3:2888", Identity{3, 103}, three, nil).run(t.Context()), v.ClusterID)
	})
}

func TestSingleServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := []Server{{N: 1, Addr: "0.0.0.0:2888"}}
		e := <-newTown().move(t, "zk1:2888", Identity{1, 7}, one, nil).run(t.Context())
		if e.err != nil || e.out.Founded == nil || !e.out.Founded.Names(Identity{1, 7}) || e.took != 0 {
			t.Fatalf("%+v", e)
		}
		if e.out.Founded.Voters[0].Addr != "0.0.0.0:2888" {
			t.Errorf("nobody has another address for it: %+v", e.out.Founded)
		}
	})
}

// A founder that was away when the value was decided is a founder still.
func TestFounderThatHearsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown()
		three := lines()[:3]
		r3 := w.move(t, "zk3:2888", Identity{3, 103}, three, nil) // it answers, but does not run
		ch1 := w.move(t, "zk1:2888", Identity{1, 101}, three, nil).run(t.Context())
		ch2 := w.move(t, "zk2:2888", Identity{2, 102}, three, nil).run(t.Context())
		v := mustFound(t, ch1)
		mustFound(t, ch2)
		if got := mustFound(t, r3.run(t.Context())); !got.Equal(v) {
			t.Errorf("told: %+v", got)
		}
		// Now one that has promised, and was not told.
		old, err := DecodeState(r3.disk)
		if err != nil {
			t.Fatal(err)
		}
		old.Decided, old.Value, old.Accepted = false, nil, Ballot{}
		r3.disk = old.Encode()
		// Even with other lines than those it was founded under.
		more := append(lines()[:3], Server{N: 4, Addr: "zk4:2888"})
		if got := mustFound(t, w.move(t, "zk3:2888", Identity{3, 103}, more, r3).run(t.Context())); !got.Equal(v) {
			t.Errorf("asking: %+v", got)
		}
	})
}

func TestServerLinesMustBeTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown()
		other := lines()[:3]
		other[1].Addr = "zk2.example:2888"
		other = append(other, Server{N: 4, Addr: "zk4:2888"})
		ctx, cancel := context.WithCancel(t.Context())
		r1 := w.move(t, "zk1:2888", Identity{1, 101}, lines()[:3], nil)
		r2 := w.move(t, "zk2:2888", Identity{2, 102}, lines()[:3], nil)
		r3 := w.move(t, "zk3:2888", Identity{3, 103}, other, nil)
		ch1, ch2, ch3 := r1.run(ctx), r2.run(ctx), r3.run(ctx)
		time.Sleep(3 * time.Minute)
		for _, want := range []string{"server.3 (here)", "server.1 (there)", "here server.2=zk2.example:2888, there server.2=zk2:2888", "server.4=zk4:2888 stands here only"} {
			if st := r1.Status(); !strings.Contains(st.Problem, want) {
				t.Errorf("%q is not in %q", want, st.Problem)
			}
		}
		cancel()
		for _, ch := range []<-chan ending{ch1, ch2, ch3} {
			if e := <-ch; !errors.Is(e.err, context.Canceled) {
				t.Errorf("%+v", e)
			}
		}
		var chs []<-chan ending
		for i, r := range []*resident{r1, r2, r3} {
			n := uint64(i + 1)
			chs = append(chs, w.move(t, r.addr, Identity{n, 100 + n}, lines()[:3], r).run(t.Context()))
		}
		v := mustFound(t, chs[0])
		mustFound(t, chs[1])
		if got := mustFound(t, chs[2]); !got.Equal(v) {
			t.Errorf("after the correction: %+v, %+v", got, v)
		}
	})
}

// All interfaces in one's own line is a custom among ZooKeeper's users.
func TestOwnLineMayStandForAllInterfaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown()
		var chs []<-chan ending
		for n := uint64(1); n <= 3; n++ {
			mine := lines()[:3]
			mine[n-1].Addr = []string{"0.0.0.0:2888", "[::]:2888", ":2888"}[n-1]
			chs = append(chs, w.move(t, fmt.Sprintf("zk%d:2888", n), Identity{n, 100 + n}, mine, nil).run(t.Context()))
		}
		v := mustFound(t, chs[0])
		mustFound(t, chs[1])
		mustFound(t, chs[2])
		for i, s := range v.Voters {
			if s.Addr != lines()[i].Addr {
				t.Errorf("seat %+v, the others know it as %s", s, lines()[i].Addr)
			}
		}
	})
}

func TestTwoProcessesOfOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown()
		three := lines()[:3]
		// myid was copied: the server at zk2 says that it is server.1, too.
		r1 := w.move(t, "zk1:2888", Identity{1, 101}, three, nil)
		r2 := w.move(t, "zk2:2888", Identity{1, 102}, three, nil)
		r3 := w.move(t, "zk3:2888", Identity{3, 103}, three, nil)
		for _, r := range []*resident{r1, r2, r3} {
			r.run(t.Context())
		}
		time.Sleep(3 * time.Minute)
		for _, r := range []*resident{r1, r2} {
			if st := r.Status(); !strings.Contains(st.Problem, "two processes are server.1") || !strings.Contains(st.Problem, "wrong myid") {
				t.Errorf("at %s: %+v", r.addr, st)
			}
		}
		if st := r3.Status(); !strings.Contains(st.Problem, "server.2 was called, but server.1 answers") {
			t.Errorf("at %s: %+v", r3.addr, st)
		}
	})
}

func TestWhoeverHasAnEnsembleIsJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown()
		old := ClusterID{4, 2}
		// All voters are new, and ready; the observer has the data.
		r9 := w.move(t, "zk9:2888", Identity{9, 109}, lines(), nil)
		r9.SetMember(old)
		for i, s := range lines()[:3] {
			out := mustJoin(t, w.move(t, s.Addr, Identity{s.N, uint64(200 + i)}, lines(), nil).run(t.Context()), old)
			if out.Via != "zk9:2888" {
				t.Errorf("via %s", out.Via)
			}
		}
		// But not an ensemble that does not know of this server.
		strayed := []Server{{N: 1, Addr: "zk1:2888"}, {N: 2, Addr: "other2:2888"}, {N: 9, Addr: "zk9:2888"}}
		r := w.move(t, "other2:2888", Identity{2, 300}, strayed, nil)
		r.run(t.Context())
		time.Sleep(3 * time.Minute)
		if st := r.Status(); !strings.Contains(st.Problem, "whose configuration does not have server.2=other2:2888: add the line there") {
			t.Errorf("%+v", st)
		}
	})
}

func TestDiskThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown()
		two := lines()[:2]
		r1 := w.move(t, "zk1:2888", Identity{1, 101}, two, nil)
		r2 := w.move(t, "zk2:2888", Identity{2, 102}, two, nil)
		r1.broken = true
		if e := <-r1.run(t.Context()); e.err == nil || !strings.Contains(e.err.Error(), "server.1 cannot store what it promises: input/output error") {
			t.Errorf("%+v", e)
		}
		// The other one cannot go on without it: what is not stored is not said.
		r2.run(t.Context())
		time.Sleep(3 * time.Minute)
		if r1.disk != nil || r2.Status().Problem == "" {
			t.Errorf("the failed disk holds %x, the other's status is %+v", r1.disk, r2.Status())
		}
		r1.mu.Lock()
		r1.broken = false
		r1.mu.Unlock()
		synctest.Wait()
		mustFound(t, w.move(t, "zk1:2888", Identity{1, 101}, two, r1).run(t.Context()))
	})
}

func TestStoredStateOfAnother(t *testing.T) {
	three := lines()[:3]
	st := State{Self: Identity{1, 101}, Servers: three, Promised: Ballot{3, Identity{1, 101}}}
	for name, c := range map[string]struct {
		cfg    Config
		stored []byte
		want   string
	}{
		"another member": {Config{Self: Identity{1, 999}, Servers: three}, st.Encode(), "the data directory, or its myid, belongs to another member"},
		"damaged":        {Config{Self: st.Self, Servers: three}, st.Encode()[:10], "stored state"},
		"no line":        {Config{Self: Identity{7, 1}, Servers: three}, nil, "there is no line for it"},
	} {
		if _, err := NewNode(c.cfg, c.stored, Env{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Between a promise and the decision the lines may not change.
func TestServerLinesThatChangeInBetween(t *testing.T) {
	old := []Server{{N: 1, Addr: "zk1:2888"}, {N: 2, Addr: "zk2:2888"}}
	self := Identity{1, 101}
	a, err := NewAcceptor(Config{Self: self, Servers: lines()[:3]}, &State{Self: self, Servers: old, Promised: Ballot{1, Identity{2, 102}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []Op{OpProbe, OpPrepare, OpAccept} {
		next, reply := a.Handle(&Request{Op: op, From: Identity{3, 103}, To: 1, Servers: lines()[:3], Ballot: Ballot{5, Identity{3, 103}}})
		if reply.Code != CodeServersDiffer || !strings.Contains(reply.Reason, "server.3=zk3:2888 stands here only") || next.Promised.Round != 1 {
			t.Errorf("%v: %+v", op, reply)
		}
	}
}

func TestAcceptorRefusesWhatMakesNoSense(t *testing.T) {
	three := append(lines()[:3], lines()[3])
	self, peer, watcher := Identity{1, 101}, Identity{2, 102}, Identity{9, 109}
	value := func(change func(v *Value)) *Value {
		v := &Value{ClusterID: ClusterID{1}, Voters: []Voter{{N: 1, ID: 101}, {N: 2, ID: 102}, {N: 3, ID: 5, Vacant: true}}}
		change(v)
		return v
	}
	fine := value(func(*Value) {})
	mine, next := Ballot{4, peer}, Ballot{5, peer}
	for name, c := range map[string]struct {
		self Identity
		req  Request
		code Code
		why  string
	}{
		"fine":                {self, Request{Op: OpAccept, From: peer, Ballot: next, Value: fine}, CodeOK, ""},
		"the same again":      {self, Request{Op: OpAccept, From: peer, Ballot: mine, Value: fine}, CodeOK, ""},
		"an earlier ballot":   {self, Request{Op: OpAccept, From: peer, Ballot: Ballot{3, peer}, Value: fine}, CodeBallot, "4 by server.2"},
		"another's ballot":    {self, Request{Op: OpPrepare, From: peer, Ballot: Ballot{9, self}}, CodeRefused, "not for server.2"},
		"an observer's":       {self, Request{Op: OpPrepare, From: watcher, Ballot: Ballot{9, watcher}}, CodeRefused, "not for server.9"},
		"asked of one":        {watcher, Request{Op: OpPrepare, From: peer, Ballot: next}, CodeRefused, "is an observer"},
		"no value":            {self, Request{Op: OpAccept, From: peer, Ballot: next}, CodeRefused, "without a cluster id"},
		"nothing decided":     {self, Request{Op: OpDecide, From: peer}, CodeRefused, "without a cluster id"},
		"without us":          {self, Request{Op: OpAccept, From: peer, Ballot: next, Value: value(func(v *Value) { v.Voters[0].Vacant, v.Voters[2].Vacant = true, false })}, CodeNotFounder, "is being founded without server.1"},
		"with our former id":  {self, Request{Op: OpDecide, From: peer, Value: value(func(v *Value) { v.Voters[0].ID = 77 })}, CodeNotFounder, "it has lost its disk meanwhile"},
		"too few founders":    {self, Request{Op: OpAccept, From: peer, Ballot: next, Value: value(func(v *Value) { v.Voters[1].Vacant = true })}, CodeRefused, "no majority"},
		"one id twice":        {self, Request{Op: OpAccept, From: peer, Ballot: next, Value: value(func(v *Value) { v.Voters[1].ID = 101 })}, CodeRefused, "with an id each"},
		"not ascending":       {self, Request{Op: OpAccept, From: peer, Ballot: next, Value: value(func(v *Value) { v.Voters[1].N = 1 })}, CodeRefused, "ascending"},
		"for other voters":    {self, Request{Op: OpAccept, From: peer, Ballot: next, Value: value(func(v *Value) { v.Voters[2].N = 4 })}, CodeRefused, "for the configured voters"},
		"meant for another":   {self, Request{Op: OpProbe, From: peer, To: 3}, CodeWrongServer, "server.3 was called, but server.1 answers"},
		"our name":            {self, Request{Op: OpProbe, From: Identity{1, 8}}, CodeSameN, "two processes are server.1"},
		"an unknown question": {self, Request{Op: 77, From: peer}, CodeRefused, "op 77 is unknown"},
	} {
		a, err := NewAcceptor(Config{Self: c.self, Servers: three}, &State{Self: c.self, Servers: three, Promised: mine})
		if err != nil {
			t.Fatal(err)
		}
		c.req.Servers = three
		if c.req.To == 0 {
			c.req.To = c.self.N
		}
		after, reply := a.Handle(&c.req)
		if reply.Code != c.code || !strings.Contains(reply.Reason, c.why) {
			t.Errorf("%s: %d %q, want %d %q", name, reply.Code, reply.Reason, c.code, c.why)
		}
		if c.code != CodeOK && string(after.Encode()) != string(a.State.Encode()) {
			t.Errorf("%s: refused, and yet it changed the state", name)
		}
	}
}

func TestOneEnsembleIsEnough(t *testing.T) {
	self, peer := Identity{1, 101}, Identity{2, 102}
	v := &Value{ClusterID: ClusterID{1}, Voters: []Voter{{N: 1, ID: 101}, {N: 2, ID: 102}}}
	other := &Value{ClusterID: ClusterID{2}, Voters: v.Voters}
	a, err := NewAcceptor(Config{Self: self, Servers: lines()[:2]}, &State{Self: self, Value: v, Decided: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, req := range []Request{{Op: OpDecide, Value: other}, {Op: OpPrepare, Ballot: Ballot{9, peer}}, {Op: OpAccept, Ballot: Ballot{9, peer}, Value: other}, {Op: OpDecide}} {
		req.From, req.To = peer, 1
		next, reply := a.Handle(&req)
		if reply.ClusterID != v.ClusterID || !reply.Value.Equal(v) || !next.Value.Equal(v) || !next.Promised.IsZero() || reply.Promised == req.Ballot && req.Op == OpPrepare {
			t.Errorf("%v: %+v", req.Op, reply)
		}
		if (reply.Code == CodeRefused) != (req.Op == OpDecide && req.Value != nil) {
			t.Errorf("%v: code %d %s", req.Op, reply.Code, reply.Reason)
		}
	}
}
