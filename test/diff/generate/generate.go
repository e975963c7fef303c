package generate

import (
	"fmt"
	"math/rand/v2"

	"github.com/conclave-dev/conclave/test/diff/script"
)

// Slots is the number of sessions that a script has at a time.
const Slots = 4

// steps is how many steps a script has, the last ones apart.
const steps = 120

// Params name a script.
type Params struct {
	Seed uint64
	// Lane and Epoch number the scripts of a run.
	Lane, Epoch int
}

// String returns what to pass to make test-diff to get the script again.
func (p Params) String() string {
	return fmt.Sprintf("SEED=%d LANE=%d EPOCH=%d", p.Seed, p.Lane, p.Epoch)
}

// state of a slot, as it is if everything goes as it should.
type state int

const (
	none state = iota
	connected
	dropped
)

type generator struct {
	*rand.Rand
	// quota: the script is about quotas.
	quota bool
	// salt makes every script distribute kinds of watches over paths in its own
	// way.
	salt  uint64
	slots [Slots]state
	// watchers are the slots whose operations are made now, for watchFamily.
	slot int
}

// Script returns the script of p. Its last steps end all sessions and compare
// everything that is left.
func Script(p Params) []script.Step {
	g := generator{Rand: rand.New(rand.NewPCG(p.Seed, uint64(p.Lane)<<32|uint64(p.Epoch)))}
	g.salt = g.Uint64()
	g.quota = g.one(8)
	out := []script.Step{g.open(0), g.open(1), {Session: 0, Verb: script.Burst, Ops: g.furniture()}}
	for range steps {
		out = append(out, g.step())
	}
	out = append(out, script.Step{Verb: script.Sweep})
	for n, s := range g.slots {
		if s == connected {
			out = append(out, script.Step{Session: n, Verb: script.Close})
		}
	}
	return append(out, script.Step{Verb: script.Sweep})
}

// one is true once in n times.
func (g *generator) one(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

// weighted picks an index by its weight.
func (g *generator) weighted(weights ...int) int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	at := g.IntN(sum)
	for i, w := range weights {
		if at -= w; at < 0 {
			return i
		}
	}
	return 0
}

func (g *generator) member() int { return 1 + g.IntN(3) }

func (g *generator) open(slot int) script.Step {
	g.slots[slot] = connected
	return script.Step{Session: slot, Verb: script.Open, Member: g.member()}
}

// find returns a slot in the state, from a random place on, or -1.
func (g *generator) find(s state) int {
	at := g.IntN(Slots)
	for i := range Slots {
		if n := (at + i) % Slots; g.slots[n] == s {
			return n
		}
	}
	return -1
}

// step makes one step.
func (g *generator) step() script.Step {
	const (
		burst = iota
		open
		closing
		drop
		attach
		move
		forge
		greet
		expire
		reap
		auth
	)
	for {
		verb := g.weighted(1700, 60, 30, 40, 60, 30, 30, 10, 6, 8, 70)
		want := connected
		switch verb {
		case open:
			want = none
		case attach:
			want = dropped
		}
		slot := g.find(want)
		if verb == expire {
			return g.expire()
		}
		if slot < 0 {
			if g.find(connected) < 0 && g.find(dropped) < 0 {
				return g.open(0)
			}
			continue
		}
		g.slot = slot
		switch verb {
		case burst:
			return script.Step{Session: slot, Verb: script.Burst, Ops: g.burst()}
		case open:
			return g.open(slot)
		case closing:
			g.slots[slot] = none
			s := script.Step{Session: slot, Verb: script.Close}
			if g.one(2) {
				s.Ops = []script.Op{g.read(), g.read()}
			}
			return s
		case drop:
			g.slots[slot] = dropped
			return script.Step{Session: slot, Verb: script.Drop}
		case attach:
			g.slots[slot] = connected
			return script.Step{Session: slot, Verb: script.Attach, Member: g.member()}
		case move:
			return script.Step{Session: slot, Verb: script.Move, Member: g.member()}
		case forge:
			return script.Step{Session: slot, Verb: script.Forge, Member: g.member(), How: pick(g, script.WrongPassword,
				script.ShortPassword, script.Unknown, script.Ended, script.FutureZxid, script.Garbage)}
		case greet:
			return script.Step{Session: slot, Verb: script.Greet, Member: g.member(), How: pick(g, script.NoTimeout, script.NegativeTimeout,
				script.ShortTimeout, script.LongTimeout, script.NoPassword, script.OldClient, script.ReadOnlyClient)}
		case reap:
			s := script.Step{Session: slot, Verb: script.Reap, How: pick(g, script.Container, script.TTL, script.TTLParent)}
			if s.How == script.TTLParent && g.quota {
				s.How = script.TTL // it creates two nodes in a multi: see there
			}
			return s
		case auth:
			op := g.auth()
			if op.Scheme != "digest" && op.Scheme != "ip" || op.Scheme == "digest" && op.NilData {
				g.slots[slot] = dropped
			}
			return script.Step{Session: slot, Verb: script.Burst, Ops: []script.Op{op}}
		}
	}
}

// expire makes a session that ends by itself.
func (g *generator) expire() script.Step {
	g.slot = Slots
	s := script.Step{Verb: script.Expire, Member: g.member(), How: pick(g, script.Silent, script.Dropped)}
	for range 1 + g.IntN(6) {
		op := g.op()
		if op.Name == "create" || op.Name == "create2" {
			op.Mode |= 1
		}
		s.Ops = append(s.Ops, op)
	}
	return s
}

// burst makes a session's next operations.
func (g *generator) burst() []script.Op {
	n := 1 + g.IntN(40)
	if g.quota {
		n = 1 + g.IntN(8)
	}
	var ops []script.Op
	for range n {
		ops = append(ops, g.op())
	}
	if g.one(100) {
		// The connection does not survive this one. 13, check, is never sent
		// outside a multi: it takes ZooKeeper 3.8 down for good.
		ops = append(ops, script.Op{Name: "op", Path: g.path(), Code: pick[int32](g, -5, 0, 10, 23, 99, 108, 1000)})
		g.slots[g.slot] = dropped
	}
	return ops
}

// furniture is what a script begins with.
func (g *generator) furniture() []script.Op {
	var ops []script.Op
	for _, path := range []string{"@/a", "@/b", "@/a/a", "@/a/b"} {
		if !g.one(4) {
			ops = append(ops, script.Op{Name: "create", Path: path, ACL: "open", Data: g.data()})
		}
	}
	if g.quota {
		ops = append(ops, script.Op{Name: "create", Path: "%/a", ACL: "open"})
		for _, dir := range []string{"%", "%/a"} {
			if g.one(2) {
				ops = append(ops,
					script.Op{Name: "create", Path: dir + "/zookeeper_limits", ACL: "open", Data: g.limits()},
					script.Op{Name: "create", Path: dir + "/zookeeper_stats", ACL: "open", Data: "count=0,bytes=0"})
			}
		}
	}
	if len(ops) == 0 {
		ops = append(ops, script.Op{Name: "whoAmI"})
	}
	return ops
}
