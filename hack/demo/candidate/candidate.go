package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

// pause is between a failure and the next attempt.
const pause = time.Second

// A candidate takes part in the election below dir.
type candidate struct {
	servers []string
	dir     string
	// name is the data of its node.
	name    string
	timeout time.Duration
	logf    func(format string, args ...any)
	// lead does a leader's work until its context ends, which it does as soon as it
	// is not certain any more that this candidate leads. The token is higher than
	// every leader's before it.
	lead func(ctx context.Context, token int64)

	conn *zk.Conn
	// changed has something in it after a change of the session's state.
	changed chan struct{}
	// me is this candidate's node, empty if it has to make one.
	me string
}

// errOut says that this candidate's node went, with its session or by hand.
var errOut = errors.New("this candidate's node is gone, and with it its place in line")

// run takes part until the context ends, and closes the session then, so that the
// next one leads at once.
func (c *candidate) run(ctx context.Context) {
	c.changed = make(chan struct{}, 1)
	for !c.connect() {
		if !sleep(ctx) {
			return
		}
	}
	defer c.conn.Close()
	for ctx.Err() == nil {
		err := c.takePart(ctx)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errOut) {
			c.me = ""
		}
		c.logf("%v; it begins again", err)
		if !sleep(ctx) {
			break
		}
	}
	c.logf("asked to end: closes its session")
}

func sleep(ctx context.Context) bool {
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}

// connect returns whether the members' names are known; the library does the rest
// in the background, for ever.
func (c *candidate) connect() bool {
	conn, _, err := zk.Connect(c.servers, c.timeout, zk.WithLogInfo(false), zk.WithLogger(printer(c.logf)), zk.WithEventCallback(func(e zk.Event) {
		if e.Type != zk.EventSession {
			return
		}
		switch e.State {
		case zk.StateHasSession:
			c.logf("connected to %s", e.Server)
		case zk.StateDisconnected:
			c.logf("connection lost: its session waits for it, for %v", c.timeout)
		case zk.StateExpired:
			c.logf("its session has expired")
		}
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}))
	if err != nil {
		c.logf("no ensemble yet: %v", err)
		return false
	}
	c.conn = conn
	return true
}

type printer func(string, ...any)

func (p printer) Printf(format string, args ...any) { p(format, args...) }

// takePart makes a node, waits until it is the lowest, and leads.
func (c *candidate) takePart(ctx context.Context) error {
	if c.me == "" {
		if err := c.makePath(); err != nil {
			return err
		}
		me, err := c.conn.CreateProtectedEphemeralSequential(c.dir+"/n-", []byte(c.name), zk.WorldACL(zk.PermAll))
		if err != nil {
			return err
		}
		c.me = me
		c.logf("session 0x%x: candidate %s", uint64(c.conn.SessionID()), me)
	}
	for ctx.Err() == nil {
		names, _, err := c.conn.Children(c.dir)
		if err != nil {
			return err
		}
		before, there := predecessor(names, c.me[len(c.dir)+1:])
		switch {
		case !there:
			return errOut
		case before == "":
			err = c.leads(ctx)
		default:
			err = c.waitBehind(ctx, before)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *candidate) makePath() error {
	for i := 1; i <= len(c.dir); i++ {
		if i == len(c.dir) || c.dir[i] == '/' {
			if _, err := c.conn.Create(c.dir[:i], nil, 0, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
				return err
			}
		}
	}
	return nil
}

// predecessor returns whom to watch, nobody if me is the lowest, and whether me is
// there at all. The number that the server has appended decides, not what stands
// before it.
func predecessor(names []string, me string) (before string, there bool) {
	type entry struct {
		number int64
		name   string
	}
	var line []entry
	for _, name := range names {
		if i := strings.LastIndex(name, "n-"); i >= 0 {
			if n, err := strconv.ParseInt(name[i+len("n-"):], 10, 32); err == nil {
				line = append(line, entry{n, name})
			}
		}
	}
	slices.SortFunc(line, func(a, b entry) int { return int(a.number - b.number) })
	i := slices.IndexFunc(line, func(e entry) bool { return e.name == me })
	if i > 0 {
		before = line[i-1].name
	}
	return before, i >= 0
}

// waitBehind returns when the one before has gone, whoever leads then.
func (c *candidate) waitBehind(ctx context.Context, before string) error {
	data, _, gone, err := c.conn.GetW(c.dir + "/" + before)
	if errors.Is(err, zk.ErrNoNode) {
		return nil
	}
	if err != nil {
		return err
	}
	c.logf("in line behind %s", data)
	select {
	case e := <-gone:
		return e.Err
	case <-ctx.Done():
		return nil
	}
}

// leads does the work of a leader, as long as the session is connected and the node
// is there. A session without a connection may have expired already.
func (c *candidate) leads(ctx context.Context) error {
	select {
	case <-c.changed:
	default:
	}
	there, stat, gone, err := c.conn.ExistsW(c.me)
	if err != nil {
		return err
	}
	if !there {
		return errOut
	}
	c.logf("LEADS, with fencing token %d", stat.Czxid)
	work, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.lead(work, stat.Czxid)
	}()
	defer func() {
		stop()
		<-ended
		c.logf("leads no more")
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-gone:
			return e.Err
		case <-c.changed:
			if c.conn.State() != zk.StateHasSession {
				return errors.New("it is not certain without a connection who leads")
			}
		}
	}
}
