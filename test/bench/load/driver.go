package load

import (
	"errors"
	"fmt"
	"time"

	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/hist"
	"github.com/conclave-dev/conclave/test/bench/proto"
)

// maxBehind bounds what an open loop may have outstanding on one connection: a
// server that is further behind than that does not take the rate.
const maxBehind = 1 << 16

// drainTimeout is how long replies may take after the last operation was sent.
const drainTimeout = int64(60e9)

// driver sends one loop's share of the traffic.
type driver struct {
	loop   *engine.Loop
	script Script
	plan   Plan
	rate   float64 // of this loop, 0 for a closed loop
	conns  []*engine.Conn
	// ready is called once all connections are open.
	ready  func()
	window func(begin bool) // at the window's two ends
	opened int

	// begin and end are the window in which operations count: in a closed loop
	// by when they ended, in an open one by when they were due. Until start sets
	// them nothing counts.
	begin, end int64
	stopping   bool
	closing    bool
	lat        hist.H
}

func (d *driver) Opened(*engine.Conn) error {
	if d.opened++; d.opened == len(d.conns) {
		d.ready()
	}
	return nil
}

// start lets the traffic begin; it is called in the loop.
func (d *driver) start() error {
	now := d.loop.Now()
	d.begin = now + d.plan.Warmup.Nanoseconds()
	d.end = d.begin + d.plan.Measure.Nanoseconds()
	at := func(when int64, fn func()) { d.loop.NewTimer(func() error { fn(); return nil }).Set(when) }
	at(d.begin, func() { d.window(true) })
	at(d.end, func() { d.window(false) })
	if d.rate > 0 {
		d.open(NewSchedule(now, d.rate))
		return nil
	}
	at(d.end, d.stop)
	for range d.plan.Depth {
		for _, c := range d.conns {
			d.script.Begin(c, now)
		}
	}
	return nil
}

// open sends what is due, to the connections in turn.
func (d *driver) open(s *Schedule) {
	var t *engine.Timer
	t = d.loop.NewTimer(func() error {
		for {
			if s.Next() >= d.end {
				d.stop()
				return nil
			}
			k, at, ok := s.Take(d.loop.Now())
			if !ok {
				break
			}
			c := d.conns[k%int64(len(d.conns))]
			if c.Outstanding() >= maxBehind {
				return fmt.Errorf("connection %d has %d requests outstanding: the server does not take %.0f operations a second", c.ID, c.Outstanding(), d.plan.Rate)
			}
			d.script.Begin(c, at)
		}
		t.Set(s.Next())
		return nil
	})
	t.Set(s.Next())
}

// stop sends nothing new and waits for the replies.
func (d *driver) stop() {
	d.stopping = true
	d.loop.After(drainTimeout, func() error {
		n := 0
		for _, c := range d.conns {
			n += c.Outstanding()
		}
		return fmt.Errorf("%d requests have no reply %v after the last one was sent", n, time.Duration(drainTimeout))
	})
	d.drained()
}

// drained closes the sessions once every operation has been answered.
func (d *driver) drained() {
	for _, c := range d.conns {
		if !d.script.Idle(c) {
			return
		}
	}
	d.closing = true
	for _, c := range d.conns {
		xid := c.Push(engine.Pending{Op: proto.OpClose})
		c.Out = proto.AppendClose(c.Out, xid)
	}
}

func (d *driver) Reply(c *engine.Conn, p engine.Pending, r proto.Reply) error {
	if d.closing {
		c.Close()
		if d.opened--; d.opened == 0 {
			d.loop.Stop()
		}
		return nil
	}
	out, err := d.script.Reply(c, p, r)
	if err != nil {
		return err
	}
	if out.Done {
		now := d.loop.Now()
		counts := now
		if d.rate > 0 {
			counts = out.Started
		}
		if counts >= d.begin && counts < d.end {
			d.lat.Record(now - out.Started)
		}
	}
	switch {
	case d.stopping:
		if d.script.Idle(c) {
			d.drained()
		}
	case out.Next && d.rate == 0:
		d.script.Begin(c, d.loop.Now())
	}
	return nil
}

func (d *driver) Event(c *engine.Conn, e proto.Event) error { return d.script.Event(c, e) }

func (d *driver) Pong(c *engine.Conn, _ int64) error {
	return c.Violation("an answer to a ping that was not sent")
}

// Closed: the close of a session is answered before the server closes the
// connection, and then the connection is ours no more.
func (d *driver) Closed(c *engine.Conn, err error) error {
	return errors.Join(c.Violation("the server ended the connection"), err)
}
