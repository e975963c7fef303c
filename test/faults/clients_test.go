//go:build faults

package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/faults/history"
)

// client is a genuine client, listened to: go-zookeeper/zk in this process, or
// ZooKeeper's own in another one.
type client struct {
	name string
	l    *load
	zk   *zk.Conn
	java *javaClient

	mu   sync.Mutex
	conn net.Conn
	// gone says that its network cable is out.
	gone bool

	// writes counts those that were acknowledged.
	writes atomic.Int64
	// mine are its ephemeral nodes, as far as it remembers.
	mine chan string
}

// load is what clients do to an ensemble.
type load struct {
	t       *testing.T
	history *history.History
	clients []*client
	stop    chan struct{}
	workers sync.WaitGroup
	once    sync.Once
	// appended are the nodes below /log in the end.
	appended map[string]string
	number   atomic.Int64 // makes names unique
}

const (
	registers = 8
	pairs     = 3
	// workersOf is how many goroutines share a client, and so its session.
	workersOf = 3
)

// silence is a logger of nothing: the history has all.
type silence struct{}

func (silence) Printf(string, ...any) {}

// anySession are sessions of different lengths.
var anySession = []time.Duration{8 * time.Second, 15 * time.Second, 30 * time.Second, 8 * time.Second, 15 * time.Second}

// newLoad begins clients with sessions of the given lengths.
func (c *cluster) newLoad(seed uint64, sessions ...time.Duration) *load {
	c.t.Helper()
	l := &load{t: c.t, history: c.history, stop: make(chan struct{})}
	c.load = l
	var addrs []string
	for _, m := range c.members {
		addrs = append(addrs, m.addr())
	}
	setup := l.connect("setup", addrs, time.Minute)
	for _, path := range []string{"/reg", "/eph", "/log"} {
		c.must(eventually("create "+path, func() error {
			_, err := setup.zk.Create(path, nil, 0, zk.WorldACL(zk.PermAll))
			if errors.Is(err, zk.ErrNodeExists) {
				return nil
			}
			return err
		}))
	}
	for i, timeout := range sessions {
		cl := l.connect(fmt.Sprintf("c%d", i+1), addrs, timeout)
		for w := range workersOf {
			rng := rand.New(rand.NewPCG(seed, uint64(i*workersOf+w)))
			l.workers.Go(func() { cl.work(w, rng) })
		}
	}
	return l
}

func (l *load) connect(name string, addrs []string, timeout time.Duration) *client {
	c := &client{name: name, l: l, mine: make(chan string, 64)}
	var err error
	c.zk, _, err = zk.Connect(addrs, timeout, zk.WithDialer(c.dial), zk.WithLogger(silence{}), zk.WithLogInfo(false))
	if err != nil {
		l.t.Fatal(err)
	}
	l.clients = append(l.clients, c)
	return c
}

func (c *client) dial(network, addr string, timeout time.Duration) (net.Conn, error) {
	raw, err := c.reach(network, addr, timeout)
	if err != nil {
		return nil, err
	}
	return c.l.history.Tap(c.name, addr, raw, func(err error) { c.l.t.Errorf("the history has a gap: %v", err) }), nil
}

// reach connects to a member, unless the cable is out.
func (c *client) reach(network, addr string, timeout time.Duration) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return nil, errors.New("the cable is out")
	}
	conn, err := net.DialTimeout(network, addr, timeout)
	if err == nil {
		c.conn = conn
	}
	return conn, err
}

// close ends the client, with its session if it is one that does so.
func (c *client) close() {
	if c.java != nil {
		c.java.end()
		return
	}
	c.zk.Close()
}

// unplug takes a client's network away, or gives it back.
func (c *client) unplug(out bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = out
	if out && c.conn != nil {
		_ = c.conn.Close()
	}
}

// work does one thing after another until the load ends.
func (c *client) work(worker int, rng *rand.Rand) {
	pace := time.NewTimer(0)
	defer pace.Stop()
	for n := 0; ; n++ {
		select {
		case <-c.l.stop:
			return
		case <-pace.C:
		}
		c.act(rng, fmt.Sprintf("%s-%d-%d", c.name, worker, n))
		pace.Reset(time.Duration(rng.IntN(int(30 * time.Millisecond))))
	}
}

var anybody = zk.WorldACL(zk.PermAll)

// act does one thing; value is like no other.
func (c *client) act(rng *rand.Rand, value string) {
	key := fmt.Sprintf("/reg/k%d", rng.IntN(registers))
	var err error
	write := true
	switch p := rng.IntN(100); {
	case p < 14:
		_, err = c.zk.Set(key, []byte(value), -1)
	case p < 26:
		var stat *zk.Stat
		if _, stat, err = c.zk.Get(key); err == nil {
			_, err = c.zk.Set(key, []byte(value), stat.Version)
		}
	case p < 36:
		_, err = c.zk.Create(key, []byte(value), 0, anybody)
	case p < 40:
		err = c.zk.Delete(key, -1)
	case p < 50:
		err = c.pair(rng.IntN(pairs), value, rng.IntN(4) == 0)
	case p < 58:
		_, err = c.zk.Create("/log/e-", []byte(value), zk.FlagSequence, anybody)
	case p < 64:
		err = c.own(value)
	case p < 66:
		select {
		case path := <-c.mine:
			err = c.zk.Delete(path, -1)
		default:
			write = false
		}
	default:
		write = false
		c.look(rng, key)
	}
	if write && err == nil {
		c.writes.Add(1)
	}
}

// pair changes two nodes at once; or tries to, and must change neither.
func (c *client) pair(n int, value string, fail bool) error {
	a, b := fmt.Sprintf("/reg/p%da", n), fmt.Sprintf("/reg/p%db", n)
	version := int32(-1)
	if fail {
		version = 1 << 30
	}
	_, err := c.zk.Multi(&zk.SetDataRequest{Path: a, Data: []byte(value), Version: -1}, &zk.SetDataRequest{Path: b, Data: []byte(value), Version: version})
	if errors.Is(err, zk.ErrNoNode) {
		_, err = c.zk.Multi(&zk.CreateRequest{Path: a, Data: []byte(value), Acl: anybody}, &zk.CreateRequest{Path: b, Data: []byte(value), Acl: anybody})
	}
	return err
}

// own creates an ephemeral node under a name that nobody uses again.
func (c *client) own(value string) error {
	path := fmt.Sprintf("/eph/%s-%d", value, c.l.number.Add(1))
	_, err := c.zk.Create(path, nil, zk.FlagEphemeral, anybody)
	if err != nil {
		return err
	}
	select {
	case c.mine <- path:
	default: // it stays until the session ends
	}
	return nil
}

// look reads, most often behind a sync.
func (c *client) look(rng *rand.Rand, key string) {
	if rng.IntN(3) > 0 {
		_, _ = c.zk.Sync("/")
	}
	if rng.IntN(3) == 0 {
		key = fmt.Sprintf("/reg/p%d%c", rng.IntN(pairs), 'a'+rune(rng.IntN(2)))
	}
	switch rng.IntN(8) {
	case 0, 1:
		_, _, _ = c.zk.Get(key)
	case 2, 3:
		_, _, _, _ = c.zk.GetW(key)
	case 4:
		_, _, _, _ = c.zk.ExistsW(key)
	case 5:
		_, _, _, _ = c.zk.ChildrenW("/reg")
	case 6:
		_, _, _ = c.zk.Children("/eph")
	case 7:
		_, _, _, _ = c.zk.ChildrenW("/eph")
	}
}

// progress waits until every client has had a write acknowledged from now on.
func (l *load) progress() error {
	before := map[*client]int64{}
	for _, c := range l.clients {
		before[c] = c.writes.Load()
	}
	for _, c := range l.clients {
		if c.name == "setup" {
			continue
		}
		err := eventually(c.name+" goes on", func() error {
			if c.writes.Load() == before[c] {
				return fmt.Errorf("it has written nothing more than %d times", before[c])
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// halt lets the workers finish; sessions stay open.
func (l *load) halt() {
	l.once.Do(func() {
		close(l.stop)
		for _, c := range l.clients {
			if c.java != nil {
				c.close()
			}
		}
	})
	l.workers.Wait()
}

// conclude looks at everything once more, when everybody has what he is to have.
func (l *load) conclude(c *cluster) {
	l.t.Helper()
	for _, cl := range l.clients {
		cl.unplug(false)
	}
	c.must(c.awaitReady())
	c.must(l.progress())
	l.halt()
	var addrs []string
	for _, m := range c.members {
		if m.up() {
			addrs = append(addrs, m.addr())
		}
	}
	auditor := l.connect("auditor", addrs, time.Minute)
	// Every session that has something is there, or its client knows better.
	c.must(auditor.everything(l))
	for _, cl := range l.clients {
		if cl.java != nil {
			continue
		}
		c.must(eventually(cl.name+" writes once more", func() error {
			_, err := cl.zk.Create("/log/e-", []byte("last of "+cl.name+fmt.Sprint(l.number.Add(1))), zk.FlagSequence, anybody)
			return err
		}))
	}
	for _, cl := range l.clients {
		if cl != auditor {
			cl.close()
		}
	}
	// With their sessions the ephemeral nodes go: the closed ones' at once, those
	// that nobody knows of any more when they expire.
	c.must(eventually("no ephemeral node is left", func() error {
		if _, err := auditor.zk.Sync("/"); err != nil {
			return err
		}
		left, _, err := auditor.zk.Children("/eph")
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%v are left", left)
		}
		return err
	}))
	c.must(auditor.everything(l))
	auditor.zk.Close()
}

// everything reads all nodes, behind a sync.
func (c *client) everything(l *load) error {
	return eventually("everything is read", func() error {
		l.appended = map[string]string{}
		if _, err := c.zk.Sync("/"); err != nil {
			return err
		}
		for _, parent := range []string{"/reg", "/eph", "/log"} {
			names, _, err := c.zk.Children(parent)
			if err != nil {
				return err
			}
			for _, name := range names {
				data, _, err := c.zk.Get(parent + "/" + name)
				if err != nil && !(errors.Is(err, zk.ErrNoNode) && parent == "/eph") {
					return err
				}
				if parent == "/log" {
					l.appended[name] = string(data)
				}
			}
		}
		return nil
	})
}

// end leaves nothing running.
func (l *load) end() {
	for _, c := range l.clients {
		c.close()
		c.unplug(true)
	}
	l.halt()
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// summary counts what happened.
func summary(conns []*history.Connection) string {
	var requests, unknown, failed, events int
	sessions, ended := map[int64]bool{}, 0
	for _, c := range conns {
		if c.Session != 0 {
			sessions[c.Session] = true
		}
		if c.Attached != 0 && c.Session == 0 {
			ended++
		}
		for _, q := range c.Requests {
			switch {
			case q.Op == wire.OpPing:
			case q.Reply == nil:
				unknown++
			case q.Reply.Err != wire.OK:
				failed++
			default:
				requests++
			}
		}
		events += len(c.Received)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d sessions on %d connections, %d ended by the ensemble; %d requests succeeded, %d were refused, %d have no answer", len(sessions), len(conns), ended, requests, failed, unknown)
	return b.String()
}
