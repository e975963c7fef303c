//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/conclave-dev/conclave/test/faults/check"
	"github.com/conclave-dev/conclave/test/faults/history"
)

// load is what clients do to an ensemble: each appends to a log that is never
// shortened, has an ephemeral node for all its life, and takes a lock by turns
// with the others.
type load struct {
	t       *testing.T
	history *history.History
	address func(context.Context) (string, error)
	clients []*worker
	stop    chan struct{}
	done    sync.WaitGroup
	once    sync.Once
	// holders counts who thinks that he has the lock.
	holders atomic.Int32
	// quiet makes clients write nothing; they go on reading.
	quiet atomic.Bool
	// busy counts writes that are under way.
	busy atomic.Int32
}

type worker struct {
	name    string
	l       *load
	zk      *zk.Conn
	session int64
	writes  atomic.Int64
	locks   atomic.Int64
	// failure is why the last request failed.
	failure atomic.Value
}

// silence is a logger of nothing: the history has all.
type silence struct{}

func (silence) Printf(string, ...any) {}

var anybody = zk.WorldACL(zk.PermAll)

// pace is how often a client does something.
const pace = 50 * time.Millisecond

// newLoad begins clients with sessions of the given lengths.
func newLoad(t *testing.T, address func(context.Context) (string, error), sessions ...time.Duration) *load {
	t.Helper()
	l := &load{t: t, history: history.New(), address: address, stop: make(chan struct{})}
	t.Cleanup(l.end)
	setup := l.connect("setup", time.Minute)
	for _, path := range []string{"/log", "/eph", "/lock"} {
		eventually(t, "create "+path, func() error {
			_, err := setup.zk.Create(path, nil, 0, anybody)
			if errors.Is(err, zk.ErrNodeExists) {
				return nil
			}
			return err
		})
	}
	for i, timeout := range sessions {
		w := l.connect(fmt.Sprintf("c%d", i+1), timeout)
		eventually(t, w.name+" creates its ephemeral node", func() error {
			_, err := w.zk.Create("/eph/"+w.name, nil, zk.FlagEphemeral, anybody)
			if errors.Is(err, zk.ErrNodeExists) {
				return nil
			}
			return err
		})
		w.session = w.zk.SessionID()
		l.done.Go(w.append)
		l.done.Go(w.lock)
	}
	l.progress()
	return l
}

func (l *load) connect(name string, timeout time.Duration) *worker {
	w := &worker{name: name, l: l}
	w.failure.Store("")
	conn, _, err := zk.Connect([]string{"cluster:2181"}, timeout, zk.WithDialer(w.dial), zk.WithLogger(silence{}), zk.WithLogInfo(false),
		zk.WithHostProvider(fixed{}))
	if err != nil {
		l.t.Fatal(err)
	}
	w.zk = conn
	l.clients = append(l.clients, w)
	return w
}

// fixed leaves the name to dial: the Service's address changes when a cluster is
// created anew.
type fixed struct{}

func (fixed) Init([]string) error  { return nil }
func (fixed) Len() int             { return 1 }
func (fixed) Next() (string, bool) { return "cluster:2181", true }
func (fixed) Connected()           {}

func (w *worker) dial(network, _ string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout+5*time.Second)
	defer cancel()
	addr, err := w.l.address(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := net.DialTimeout(network, addr, timeout)
	if err != nil {
		return nil, err
	}
	return w.l.history.Tap(w.name, addr, raw, func(err error) { w.l.t.Errorf("the history has a gap: %v", err) }), nil
}

// turns calls what at the clients' pace until the load ends.
func (w *worker) turns(what func(n int) error) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-w.l.stop:
			return
		case <-tick.C:
		}
		if err := what(n); err != nil {
			w.failure.Store(err.Error())
		}
	}
}

func (w *worker) append() {
	w.turns(func(n int) error {
		w.l.busy.Add(1)
		defer w.l.busy.Add(-1)
		if w.l.quiet.Load() {
			_, _, err := w.zk.Get("/log")
			return err
		}
		_, err := w.zk.Create("/log/e-", fmt.Appendf(nil, "%s-%d", w.name, n), zk.FlagSequence, anybody)
		if err == nil {
			w.writes.Add(1)
		}
		return err
	})
}

// lock takes the lock, finds it its own and nobody else who has it, and gives it back.
func (w *worker) lock() {
	w.turns(func(int) error {
		w.l.busy.Add(1)
		defer w.l.busy.Add(-1)
		if w.l.quiet.Load() {
			return nil
		}
		const path = "/lock/held"
		_, err := w.zk.Create(path, []byte(w.name), zk.FlagEphemeral, anybody)
		if errors.Is(err, zk.ErrNodeExists) {
			// It may be this client's own, of a request whose answer was lost.
			_, stat, err := w.zk.Get(path)
			if err != nil || stat.EphemeralOwner != w.zk.SessionID() {
				return nil
			}
		} else if err != nil {
			return err
		}
		if n := w.l.holders.Add(1); n != 1 {
			w.l.t.Errorf("%d clients have the lock, %s among them", n, w.name)
		}
		// It is held for a round trip at least, so that another has the time to take it.
		if mine, err := w.has(path); err == nil && !mine {
			w.l.t.Errorf("%s took the lock, and has it no more", w.name)
		}
		w.locks.Add(1)
		w.l.holders.Add(-1)
		for err := w.zk.Delete(path, -1); err != nil && !errors.Is(err, zk.ErrNoNode); {
			select {
			case <-w.l.stop:
				return err
			case <-time.After(pace):
			}
			// It may have been carried out, and the node be the next one's.
			if _, err = w.zk.Sync(path); err != nil && !errors.Is(err, zk.ErrNoNode) {
				continue
			}
			var mine bool
			if mine, err = w.has(path); mine {
				err = w.zk.Delete(path, -1)
			}
		}
		return nil
	})
}

// has tells whether an ephemeral node is there and this client's.
func (w *worker) has(path string) (bool, error) {
	_, stat, err := w.zk.Get(path)
	if errors.Is(err, zk.ErrNoNode) {
		return false, nil
	}
	return err == nil && stat.EphemeralOwner == w.zk.SessionID(), err
}

// progress waits until every client has had a write acknowledged from now on,
// and the lock has been had.
func (l *load) progress() {
	l.t.Helper()
	before, locks := map[*worker]int64{}, map[*worker]int64{}
	for _, w := range l.clients {
		before[w], locks[w] = w.writes.Load(), w.locks.Load()
	}
	eventually(l.t, "all clients go on", func() error {
		had := false
		for _, w := range l.clients {
			if w.session != 0 && w.writes.Load() == before[w] {
				return fmt.Errorf("%s has written nothing more than %d times: %v", w.name, before[w], w.failure.Load())
			}
			had = had || w.locks.Load() > locks[w]
		}
		if !had {
			return errors.New("nobody gets the lock")
		}
		return nil
	})
}

// hush makes the clients write nothing, or write again; when it returns no write is
// under way.
func (l *load) hush(quiet bool) {
	l.t.Helper()
	if l.quiet.Store(quiet); quiet {
		// Who becomes busy later than this sees that quiet is set.
		eventually(l.t, "no write is under way", func() error {
			if n := l.busy.Load(); n != 0 {
				return fmt.Errorf("%d requests are under way", n)
			}
			return nil
		})
	}
}

// conclude ends the load, and judges it.
func (l *load) conclude() {
	l.t.Helper()
	l.hush(false)
	l.progress()
	l.once.Do(func() { close(l.stop) })
	l.done.Wait()
	auditor := l.connect("auditor", time.Minute)
	appended := map[string]string{}
	eventually(l.t, "everything is read", func() error {
		clear(appended)
		if _, err := auditor.zk.Sync("/"); err != nil {
			return err
		}
		names, _, err := auditor.zk.Children("/log")
		if err != nil {
			return err
		}
		for _, name := range names {
			data, _, err := auditor.zk.Get("/log/" + name)
			if err != nil {
				return err
			}
			appended[name] = string(data)
		}
		_, _, err = auditor.zk.Children("/eph")
		return err
	})
	for _, w := range l.clients {
		if w.session == 0 {
			continue
		}
		if got := w.zk.SessionID(); got != w.session {
			l.t.Errorf("%s had session %#x and has %#x", w.name, w.session, got)
		}
		_, stat, err := auditor.zk.Get("/eph/" + w.name)
		if err != nil || stat.EphemeralOwner != w.session {
			l.t.Errorf("the ephemeral node of %s, session %#x: %+v, %v", w.name, w.session, stat, err)
		}
	}
	l.end()
	conns := l.history.Connections()
	for what, violations := range map[string][]check.Violation{
		"expiry": check.Expiry(conns), "order": check.Order(conns), "ephemerals": check.Ephemerals(conns),
		"appended": check.Appended(conns, "/log", appended),
	} {
		for i, v := range violations {
			if i == 10 {
				l.t.Errorf("and %d more of %s", len(violations)-10, what)
				break
			}
			l.t.Error(v)
		}
	}
	l.t.Logf("%d connections, %d nodes appended", len(conns), len(appended))
}

// end leaves nothing running.
func (l *load) end() {
	l.once.Do(func() { close(l.stop) })
	for _, w := range l.clients {
		w.zk.Close()
	}
	l.done.Wait()
}
