package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/hack/localcluster/faults"
	"github.com/conclave-dev/conclave/test/bench/hist"
	"github.com/conclave-dev/conclave/test/bench/usage"
)

// sizes are how much of everything there is.
type sizes struct {
	// few ephemerals are there while changes are timed, many at full size; two of each
	// election are among them.
	few, many, elections int
	// rate of changes, for changing.
	rate     float64
	changing time.Duration
	// connected and gone are sessions with a connection and without, of each member.
	connected, gone int
	// flapping sessions of each member lose their connections every second, as many
	// others come and go; flicker is the rate of changes of ephemerals meanwhile.
	flapping, coming int
	flicker          float64
	storm            time.Duration
	steady           time.Duration
}

var (
	full = sizes{few: 1000, many: 10_000, elections: 100, rate: 50, changing: time.Minute, connected: 14_666, gone: 18_334,
		flapping: 334, coming: 334, flicker: 1000, storm: time.Minute, steady: 2 * time.Minute}
	little = sizes{few: 200, many: 1000, elections: 40, rate: 50, changing: 10 * time.Second, connected: 1467, gone: 1834,
		flapping: 100, coming: 100, flicker: 400, storm: 15 * time.Second, steady: 30 * time.Second}
)

// Bars, from the project's issue: milliseconds, seconds, writes a second, MiB.
const (
	barP50, barP99 = 100, 1000
	barCold        = 120
	barChanging    = 100
	barSteady      = 20
	barMemory      = 150
)

// mib is a unit of memory.
const mib = 1 << 20

type bench struct {
	sizes
	log     io.Writer
	began   time.Time
	kube    *kube
	audit   *audit
	view    *view
	owners  *owners
	world   *world
	holders []*holder
	servers []netip.AddrPort
	table   table
	// died is how often operators did that are gone.
	died int32
	// measuring ends with close.
	measuring context.CancelFunc
	measured  chan struct{}
}

// newBench founds an ensemble, beside an operator that runs.
func newBench(ctx context.Context, s sizes, auditLog string, log io.Writer) (*bench, error) {
	b := &bench{sizes: s, log: log, began: time.Now(), measuring: func() {}, measured: make(chan struct{})}
	if auditLog == "" {
		c, err := faults.Open()
		if err != nil {
			return nil, err
		}
		auditLog = c.Audit()
	}
	var err error
	if b.kube, err = connect(); err != nil {
		return nil, err
	}
	if b.audit, err = followAudit(auditLog); err != nil {
		return nil, err
	}
	b.say("founding an ensemble")
	if err := errors.Join(b.kube.operate(ctx, 1), b.kube.clean(ctx)); err != nil {
		return nil, err
	}
	if b.servers, err = b.kube.found(ctx); err != nil {
		return nil, err
	}
	if b.view, err = watchLeases(ctx, b.kube, namespace); err != nil {
		return nil, err
	}
	var within context.Context
	within, b.measuring = context.WithCancel(ctx)
	go func() {
		defer close(b.measured)
		b.kube.measure(within)
	}()
	return b, nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.log, "%6.1f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// close ends what was begun, and removes the ensemble.
func (b *bench) close() error {
	b.measuring()
	<-b.measured
	if b.owners != nil {
		b.owners.Close()
	}
	for _, h := range b.holders {
		h.end()
	}
	b.view.Close()
	b.audit.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return b.kube.clean(ctx)
}

// all takes everything in turn.
func (b *bench) all(ctx context.Context) error {
	for _, step := range []func(context.Context) error{b.few, b.fill, b.cold, b.rest, b.restart, b.storms, b.large} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return b.dead(ctx)
}

// dead says how often operators have died.
func (b *bench) dead(ctx context.Context) error {
	n, err := b.kube.restarts(ctx)
	if n += b.died; n > 0 {
		err = errors.Join(err, fmt.Errorf("the operator died %d times", n))
	}
	return err
}

// operate has an operator run, or none. How often one died is not known any more once
// it is gone, and its memory is not the next one's.
func (b *bench) operate(ctx context.Context, n int32) error {
	if n == 0 {
		died, err := b.kube.restarts(ctx)
		if err != nil {
			return err
		}
		b.died += died
		b.view.Down()
	}
	if err := b.kube.operate(ctx, n); err != nil {
		return err
	}
	if n == 0 {
		b.kube.mostMemory()
	} else {
		b.view.Up()
	}
	return nil
}

// few times changes among few ephemerals.
func (b *bench) few(ctx context.Context) error {
	var err error
	if b.owners, err = newOwners(b.servers, 50); err != nil {
		return err
	}
	if b.world, err = newWorld(b.owners, b.view, b.sizes.elections); err != nil {
		return err
	}
	if err := b.world.Nodes(b.sizes.few - 2*b.sizes.elections); err != nil {
		return err
	}
	if err := b.view.Right(patience); err != nil {
		return err
	}
	b.say("%d ephemerals: %v changes a second for %v", b.sizes.few, b.rate, b.changing)
	return b.changes(ctx, fmt.Sprintf("%d ephemerals", b.sizes.few), true)
}

// large is the same at full size.
func (b *bench) large(ctx context.Context) error {
	b.say("%d ephemerals: %v changes a second for %v", b.many, b.rate, b.changing)
	return b.changes(ctx, fmt.Sprintf("%d ephemerals", b.many), false)
}

// changes times changes.
func (b *bench) changes(ctx context.Context, title string, bars bool) error {
	b.view.Latency()
	return b.watched(ctx, title+", while holders change", barChanging, func() error {
		if err := b.world.Changes(b.rate, b.changing); err != nil {
			return err
		}
		if err := b.sound(); err != nil {
			return err
		}
		p50, p99 := 0.0, 0.0
		if bars {
			p50, p99 = barP50, barP99
		}
		every := &hist.H{}
		ms := func(ns int64) float64 { return float64(ns) / 1e6 }
		told := func(what string, h *hist.H, p50, p99 float64) {
			what = fmt.Sprintf("%s: until %s, and the Lease shows it (%d)", title, what, h.Count())
			b.table.add(what+", p50", "ms", ms(h.Quantile(0.5)), p50)
			b.table.add(what+", p99", "ms", ms(h.Quantile(0.99)), p99)
			b.table.add(what+", max", "ms", ms(h.Max()), 0)
		}
		for k, h := range b.view.Latency() {
			told(kind(k).String(), h, p50, p99)
			every.Merge(h)
		}
		told("anything changes", every, p50, p99)
		return nil
	})
}

// watched says what of the operator's writes, and of everybody's time, something
// costs.
func (b *bench) watched(ctx context.Context, what string, bar float64, do func() error) error {
	var pids []int
	for _, h := range b.holders {
		pids = append(pids, h.cmd.Process.Pid)
	}
	before, err := usage.Read(pids)
	if err != nil {
		return err
	}
	// There is none where the operator does not run, or is another in the end.
	was, _ := b.kube.memory(ctx)
	events := b.view.Events()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	events = b.view.Events() - events
	after, err := usage.Read(pids)
	if err != nil {
		return err
	}
	r, err := b.audit.between(before.At, after.At)
	if err == nil {
		err = r.covers(events)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	b.table.add(what+": writes of the operator, most in any second", "/s", float64(r.most), bar)
	b.table.add(fmt.Sprintf("%s: writes of the operator, mean of %.0f s (%v)", what, after.At.Sub(before.At).Seconds(), r), "/s", r.mean, 0)
	c := usage.Between(before, after)
	b.table.add(what+": the generator's and its watch's share", "cores", c.Self+c.Servers, 0)
	b.table.add(what+": everything else's share", "cores", c.Others, 0)
	if is, err := b.kube.memory(ctx); err == nil && is.pod == was.pod && was.busy > 0 {
		b.table.add(what+": of it the operator's", "cores", (is.busy-was.busy)/after.At.Sub(before.At).Seconds(), 0)
	}
	b.say("%s: %d writes in a second at most, %.1f on average: %v; generator %.2f cores, all else %.2f", what, r.most, r.mean, r, c.Self+c.Servers, c.Others)
	return nil
}

// fill makes everything that is there at full size, with no operator and no Lease.
func (b *bench) fill(ctx context.Context) error {
	m, err := b.kube.mostMemory()
	if err != nil {
		return fmt.Errorf("%d ephemerals: %w", b.sizes.few, err)
	}
	b.table.add(fmt.Sprintf("%d ephemerals: the operator's memory (working set of its pod)", b.sizes.few), "MiB", m.workingSet/mib, 0)
	b.say("%d ephemerals and %d sessions, with no operator and no Lease", b.many, 3*(b.connected+b.sizes.gone+b.flapping))
	if err := b.operate(ctx, 0); err != nil {
		return err
	}
	for _, s := range b.servers {
		h, err := startHolder(s)
		if err != nil {
			return err
		}
		b.holders = append(b.holders, h)
	}
	if err := all(b.holders, "hold %d %d", b.connected, b.sizes.gone); err != nil {
		return err
	}
	if err := all(b.holders, "flap %d", b.flapping); err != nil {
		return err
	}
	if err := b.world.Nodes(b.many - 2*b.sizes.elections); err != nil {
		return err
	}
	err = b.kube.CoordinationV1().Leases(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: v1alpha1.LabelCluster + "=" + name})
	if err != nil {
		return err
	}
	return until(ctx, patience, func() error {
		if n, _ := b.view.Count(); n > 0 {
			return fmt.Errorf("%d Leases are left", n)
		}
		return nil
	})
}

// cold starts the operator where there are no Leases.
func (b *bench) cold(ctx context.Context) error {
	b.say("the operator is started")
	_, want := b.view.Count()
	title := fmt.Sprintf("cold start, %d Leases", want)
	return b.watched(ctx, title, barChanging, func() error {
		began := time.Now()
		if err := b.operate(ctx, 1); err != nil {
			return err
		}
		b.table.add("until an operator is started", "s", time.Since(began).Seconds(), 0)
		if err := b.view.Right(2 * patience); err != nil {
			return err
		}
		b.table.add(title+": until all are there, from when the operator was asked for", "s", time.Since(began).Seconds(), barCold)
		return b.sound()
	})
}

// rest does nothing.
func (b *bench) rest(ctx context.Context) error {
	if err := b.memory("cold start"); err != nil {
		return err
	}
	b.say("nothing changes for %v", b.steady)
	cc, err := b.kube.sessions(ctx)
	if err != nil {
		return err
	}
	if s := cc.Status.Sessions; s == nil || s.Total < int64(3*(b.connected+b.sizes.gone)) || s.Connected < int64(3*b.connected) {
		return fmt.Errorf("status says %+v of %d sessions, %d of them connected", s, 3*(b.connected+b.sizes.gone), 3*b.connected)
	}
	b.table.add("sessions, by status", "", float64(cc.Status.Sessions.Total), 0)
	b.table.add("of them connected, by status", "", float64(cc.Status.Sessions.Connected), 0)
	b.table.add("ephemerals, by status", "", float64(cc.Status.Sessions.Ephemerals), 0)
	if err := b.watched(ctx, "nothing changes", barSteady, func() error {
		due, before := b.view.Due(b.steady), b.view.Events()
		time.Sleep(b.steady)
		// Nothing else writes Leases.
		return errors.Join(b.sound(), enough(b.view.Events()-before, due))
	}); err != nil {
		return err
	}
	b.table.add("for how long a Lease is good at most then", "s", b.view.Duration().Seconds(), 0)
	return b.memory("nothing changes")
}

// sound says what must not be while operator and ensemble are well.
func (b *bench) sound() error {
	err := b.view.Right(time.Minute)
	if n := b.view.RunOut(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d Leases have run out", n))
	}
	if n, first := b.view.Lapsed(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d Leases had run out when they were written again or removed, the first %s", n, first))
	}
	return err
}

// memory tells the most there was since it was told last.
func (b *bench) memory(when string) error {
	m, err := b.kube.mostMemory()
	if err != nil {
		return fmt.Errorf("%s: %w", when, err)
	}
	b.table.add(when+": the operator's memory (working set of its pod), most", "MiB", m.workingSet/mib, barMemory)
	b.table.add(when+": of it Go's heap, most", "MiB", m.heap/mib, 0)
	b.say("%s: working set %.0f MiB, heap %.0f, resident %.0f, from the system %.0f", when, m.workingSet/mib, m.heap/mib, m.resident/mib, m.sys/mib)
	return nil
}

// restart starts the operator where all Leases are there.
func (b *bench) restart(ctx context.Context) error {
	b.say("the operator is started again")
	return b.watched(ctx, "restart with all Leases there", barChanging, func() error {
		if err := b.operate(ctx, 0); err != nil {
			return err
		}
		began := time.Now()
		// A change that it has not seen shows that it has read everything.
		if err := b.owners.Do(func() error {
			b.world.appear(0)
			b.world.vanish(0)
			return b.world.handOver(0)
		}); err != nil {
			return err
		}
		if err := b.operate(ctx, 1); err != nil {
			return err
		}
		if err := b.view.Right(patience); err != nil {
			return err
		}
		b.table.add("restart with all Leases there: until what changed meanwhile is shown, from when the operator was asked for", "s", time.Since(began).Seconds(), barCold)
		time.Sleep(10 * time.Second)
		return errors.Join(b.memory("restart"), b.sound())
	})
}

// storms has clients do all that they can.
func (b *bench) storms(ctx context.Context) error {
	b.say("for %v, %d connections break and %d sessions come and go a second, and %v ephemerals", b.storm, 3*b.flapping, 3*b.coming, b.flicker)
	before, err := b.kube.sessions(ctx)
	if err != nil {
		return err
	}
	if err := b.watched(ctx, "storm", barChanging, func() error {
		done := make(chan error, 1)
		go func() { done <- all(b.holders, "storm %d %d", b.coming, int(b.storm.Seconds())) }()
		return errors.Join(b.world.Flicker(b.flicker, b.storm), <-done)
	}); err != nil {
		return err
	}
	stormed := time.Now()
	if err := b.sound(); err != nil {
		return fmt.Errorf("after the storm: %w", err)
	}
	b.table.add("storm: until every Lease is right afterwards", "s", time.Since(stormed).Seconds(), 0)
	// Status comes within two seconds.
	time.Sleep(2 * time.Second)
	after, err := b.kube.sessions(ctx)
	if err != nil {
		return err
	}
	b.table.add("storm: sessions that came and went", "/s", float64(after.Status.Sessions.Closed-before.Status.Sessions.Closed)/b.storm.Seconds(), 0)
	return b.memory("storm")
}
