package load

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/hist"
)

// Plan is how a script is run.
type Plan struct {
	Servers []netip.AddrPort
	Conns   int // in turn to the servers
	// Depth is how many operations each connection keeps outstanding in a closed
	// loop.
	Depth int
	// Rate, if not 0, makes it an open loop with this many operations a second
	// over all connections.
	Rate            float64
	Warmup, Measure time.Duration
	// Threads is how many loops share the connections; at least 1.
	Threads int
	// SessionTimeout is asked for, in ms.
	SessionTimeout int32
	// Window, if not nil, is called at the window's two ends.
	Window func(begin bool)
	// Clock is the machine's where it is nil.
	Clock engine.Clock
}

// Result is what was counted in the window.
type Result struct {
	// Latencies has one value for every operation.
	Latencies hist.H
	Measured  time.Duration
}

// PerSecond is the throughput.
func (r *Result) PerSecond() float64 {
	return float64(r.Latencies.Count()) / r.Measured.Seconds()
}

// Run opens the connections, runs the scripts and closes the sessions. script
// makes one script for each thread. The error of a script, a connection lost, or a
// reply that never comes ends it.
func Run(p Plan, script func() Script) (*Result, error) {
	p.Threads = max(p.Threads, 1)
	if p.Clock == nil {
		p.Clock = engine.Monotonic
	}
	if p.Window == nil {
		p.Window = func(bool) {}
	}
	var drivers []*driver
	defer func() {
		for _, d := range drivers {
			d.loop.Close()
		}
	}()
	ready := make(chan struct{}, p.Threads)
	for i := range p.Threads {
		l, err := engine.New(p.Clock)
		if err != nil {
			return nil, err
		}
		d := &driver{loop: l, script: script(), plan: p, ready: func() { ready <- struct{}{} }, window: func(bool) {}}
		if i == 0 {
			d.window = p.Window
		}
		drivers = append(drivers, d)
	}
	for i := range p.Conns {
		d := drivers[i%p.Threads]
		c, err := d.loop.Dial(engine.Options{
			// Threads and servers are dealt out independently of each other.
			ID: i, Server: p.Servers[i/p.Threads%len(p.Servers)], Timeout: p.SessionTimeout, Reserve: max(p.Depth, 16),
		}, d)
		if err != nil {
			return nil, fmt.Errorf("connection %d of %d: %w", i, p.Conns, err)
		}
		d.conns = append(d.conns, c)
	}
	for _, d := range drivers {
		if d.rate = p.Rate * float64(len(d.conns)) / float64(p.Conns); len(d.conns) == 0 {
			return nil, fmt.Errorf("%d connections for %d threads", p.Conns, p.Threads)
		}
	}
	errs := make([]error, len(drivers))
	failed := make(chan struct{})
	var once sync.Once
	var running sync.WaitGroup
	for i, d := range drivers {
		running.Add(1)
		go func() {
			defer running.Done()
			if errs[i] = d.loop.Run(); errs[i] != nil {
				once.Do(func() { close(failed) })
			}
		}()
	}
	for range drivers {
		select {
		case <-ready:
		case <-failed:
		}
	}
	stopAll := func() {
		for _, d := range drivers {
			d.loop.Post(func() error { d.loop.Stop(); return nil })
		}
	}
	for _, d := range drivers {
		d.loop.Post(d.start)
	}
	finished := make(chan struct{})
	go func() {
		running.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-failed:
		stopAll()
		<-finished
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	r := &Result{Measured: p.Measure}
	for _, d := range drivers {
		r.Latencies.Merge(&d.lat)
	}
	return r, nil
}
