package replica

import (
	"testing"
	"time"
)

const us = time.Microsecond

func TestPacer(t *testing.T) {
	type step struct {
		at        time.Duration
		proposed  int // operations of a round, 0 for none
		committed bool
		waiting   int // operations queued up, for hold or committed
		hold      bool
		until     time.Duration
	}
	for name, steps := range map[string][]step{
		"one writer never waits": {
			{at: 0, waiting: 1},
			{at: 0, proposed: 1},
			{at: 400 * us, committed: true},
			{at: 450 * us, waiting: 1},
			{at: 450 * us, proposed: 1},
		},
		"one round at a time": {
			{at: 0, proposed: crowd},
			{at: 100 * us, waiting: 5, hold: true, until: longRound},
			{at: 400 * us, committed: true, waiting: 5},
			{at: 400 * us, waiting: 9},
		},
		"few operations hold nobody up": {
			{at: 0, proposed: crowd - 1},
			{at: 100 * us, waiting: 1},
			{at: 100 * us, proposed: crowd},
			{at: 150 * us, waiting: 1, hold: true, until: 100*us + longRound},
		},
		"a round that takes long holds nobody up": {
			{at: 0, proposed: crowd},
			{at: longRound, waiting: 1},
			{at: longRound, proposed: crowd},
			{at: longRound + us, waiting: 1, hold: true, until: 2 * longRound},
			{at: 2 * longRound, waiting: 1},
		},
		"a crowd is waited for until it is back": {
			{at: 0, proposed: 32},
			{at: 400 * us, committed: true, waiting: 10},
			{at: 410 * us, waiting: 12, hold: true, until: 1200 * us},
			{at: 500 * us, waiting: 39, hold: true, until: 1200 * us},
			{at: 600 * us, waiting: 40}, // thirty of thirty-two,
		},
		"and no longer than two rounds": {
			{at: 0, proposed: 32},
			{at: 400 * us, committed: true},
			{at: 410 * us, waiting: 20, hold: true, until: 1200 * us},
			{at: 1200 * us, waiting: 20},
		},
		"nor longer than the bound": {
			{at: 0, proposed: 32},
			{at: 2000 * us, committed: true},
			{at: 2000 * us, waiting: 1, hold: true, until: 2000*us + longestWait},
		},
		"waiting for nobody is given up for some rounds": {
			{at: 0, proposed: 8},
			{at: 100 * us, committed: true},
			{at: 100 * us, waiting: 1, hold: true, until: 300 * us},
			{at: 300 * us, waiting: 1}, // one of eight is back
			{at: 300 * us, proposed: 8},
			{at: 400 * us, committed: true},
			{at: 400 * us, waiting: 1}, // the first of two without
			{at: 400 * us, proposed: 8},
			{at: 500 * us, committed: true},
			{at: 500 * us, waiting: 1},
			{at: 500 * us, proposed: 8},
			{at: 600 * us, committed: true},
			{at: 600 * us, waiting: 1, hold: true, until: 800 * us},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var p pacer
			for i, s := range steps {
				switch {
				case s.proposed > 0:
					p.proposed(s.at, s.proposed)
				case s.committed:
					if _, ok := p.committed(s.at, s.waiting); !ok {
						t.Fatalf("step %d: nothing was on its way", i)
					}
				default:
					until, hold := p.hold(s.at, s.waiting)
					if hold != s.hold || hold && until != s.until {
						t.Fatalf("step %d, at %v with %d waiting: hold %v until %v, want %v until %v", i, s.at, s.waiting, hold, until, s.hold, s.until)
					}
				}
			}
		})
	}
}

// However slow a round is, no more than a bound of them are on their way.
func TestPacerBound(t *testing.T) {
	var p pacer
	now := time.Duration(0)
	for range mostFlying {
		if _, hold := p.hold(now, 1); hold {
			t.Fatalf("held at %v with %d on their way", now, len(p.flying))
		}
		p.proposed(now, crowd)
		now += longRound
	}
	if _, hold := p.hold(now, 1); !hold {
		t.Errorf("%d rounds are on their way, and the next is not held", len(p.flying))
	}
	p.forget()
	if _, hold := p.hold(now, 1); hold {
		t.Error("held for rounds of a term that is over")
	}
	if _, ok := p.committed(now, 0); ok {
		t.Error("a round of a term that is over counts")
	}
}
