package main

import (
	"fmt"
	"time"

	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/load"
	"github.com/conclave-dev/conclave/test/bench/proto"
)

// Paths of the ephemeral nodes and what the rules call their Leases.
const (
	root      = "/bench"
	nodes     = root + "/nodes"
	elections = root + "/elections"
	flicker   = root + "/flicker"
)

// world is what there is of ephemeral nodes; it belongs to the owners' loop.
type world struct {
	o    *owners
	view *view
	// live are the numbers of the nodes that exist, oldest first, from first on.
	first, next int
	elections   []*election
	// turn is the election that hands over next; candidates counts those ever made.
	turn, candidates int
	// flickers are those that were made; those before gone are deleted again.
	flickers, gone int
}

// election has candidates in the order of their numbers.
type election struct {
	name string
	line []*candidate
}

type candidate struct {
	owner int
	// path is empty until the create was answered.
	path, identity string
}

func node(n int) (path, lease string) {
	return fmt.Sprintf("%s/%06d", nodes, n), fmt.Sprintf("n-%06d", n)
}

// newWorld makes the persistent nodes.
func newWorld(o *owners, v *view, electionCount int) (*world, error) {
	w := &world{o: o, view: v}
	err := o.Do(func() error {
		for _, p := range []string{root, nodes, elections, flicker} {
			o.create(0, p, nil, proto.Persistent, nil)
		}
		for i := range electionCount {
			e := &election{name: fmt.Sprintf("%04d", i)}
			w.elections = append(w.elections, e)
			o.create(0, elections+"/"+e.name, nil, proto.Persistent, nil)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for range 2 {
		if err := o.Do(func() error {
			for _, e := range w.elections {
				w.join(e)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	for _, e := range w.elections {
		v.expect("e-"+e.name, e.line[0].identity)
	}
	return w, nil
}

// owner spreads things over the owners.
func (w *world) owner(n int) int { return n % len(w.o.conns) }

// join adds a candidate to an election.
func (w *world) join(e *election) {
	c := &candidate{owner: w.owner(w.candidates), identity: fmt.Sprintf("candidate-%d", w.candidates)}
	w.candidates++
	e.line = append(e.line, c)
	w.o.create(c.owner, elections+"/"+e.name+"/c-", []byte(c.identity), proto.EphemeralSequential, func(path string) { c.path = path })
}

// appear makes a node, due at the time at; 0 if nobody measures.
func (w *world) appear(at int64) {
	path, lease := node(w.next)
	c := w.owner(w.next)
	w.next++
	w.view.change(lease, w.o.identity(c), created, at)
	w.o.create(c, path, nil, proto.Ephemeral, nil)
}

// vanish deletes the oldest node.
func (w *world) vanish(at int64) {
	path, lease := node(w.first)
	w.view.change(lease, "", deleted, at)
	w.o.remove(w.owner(w.first), path)
	w.first++
}

// handOver ends an election's leader, and has another join.
func (w *world) handOver(at int64) error {
	e := w.elections[w.turn%len(w.elections)]
	w.turn++
	head := e.line[0]
	if head.path == "" || len(e.line) < 2 {
		return fmt.Errorf("election %s: its leader was never created", e.name)
	}
	e.line = e.line[1:]
	w.view.change("e-"+e.name, e.line[0].identity, handed, at)
	w.o.remove(head.owner, head.path)
	w.join(e)
	return nil
}

// Nodes brings the number of nodes to n.
func (w *world) Nodes(n int) error {
	for {
		more := false
		// Requests that wait are a bounded number.
		if err := w.o.Do(func() error {
			for i := 0; i < 2000 && w.next-w.first < n; i++ {
				w.appear(0)
			}
			for i := 0; i < 2000 && w.next-w.first > n; i++ {
				w.vanish(0)
			}
			more = w.next-w.first != n
			return nil
		}); err != nil || !more {
			return err
		}
	}
}

// Changes makes rate changes a second for the time d, in an open loop: of ten, four
// nodes are made, four deleted and two elections handed over.
func (w *world) Changes(rate float64, d time.Duration) error {
	return w.paced(rate, d, func(k, at int64) error {
		switch k % 5 {
		case 0, 2:
			w.appear(at)
		case 1, 3:
			w.vanish(at)
		default:
			return w.handOver(at)
		}
		return nil
	})
}

// Flicker makes and deletes nodes, rate operations a second, each of which lives for
// a second and a half; and hands elections over, at a fifth of the rate. What is shown
// of it meanwhile is nobody's business; in the end it has to be right.
func (w *world) Flicker(rate float64, d time.Duration) error {
	lives := int(rate / 2 * 1.5)
	path := func(n int) string { return fmt.Sprintf("%s/%08d", flicker, n) }
	err := w.paced(rate, d, func(k, _ int64) error {
		if k%2 == 0 {
			w.o.create(w.owner(w.flickers), path(w.flickers), nil, proto.Ephemeral, nil)
			w.flickers++
		} else if w.gone < w.flickers-lives {
			w.o.remove(w.owner(w.gone), path(w.gone))
			w.gone++
		}
		if k%5 == 0 {
			e := w.elections[w.turn%len(w.elections)]
			// One whose leader's name is not known yet is left alone.
			if e.line[0].path == "" || e.line[1].path == "" {
				w.turn++
				return nil
			}
			return w.handOver(0)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.o.Do(func() error {
		for ; w.gone < w.flickers; w.gone++ {
			w.o.remove(w.owner(w.gone), path(w.gone))
		}
		return nil
	})
}

// paced calls do for each operation when it is due, and returns when all are
// answered.
func (w *world) paced(rate float64, d time.Duration, do func(k, at int64) error) error {
	over := make(chan struct{})
	w.o.loop.Post(func() error {
		s := load.NewSchedule(w.o.loop.Now(), rate)
		end := w.o.loop.Now() + d.Nanoseconds()
		var t *engine.Timer
		t = w.o.loop.NewTimer(func() error {
			for {
				if s.Next() >= end {
					close(over)
					return nil
				}
				k, at, ok := s.Take(w.o.loop.Now())
				if !ok {
					t.Set(s.Next())
					return nil
				}
				if err := do(k, at); err != nil {
					return err
				}
			}
		})
		t.Set(s.Next())
		return nil
	})
	if err := w.o.wait(over); err != nil {
		return err
	}
	return w.o.Do(func() error { return nil })
}
