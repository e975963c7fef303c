package swarm

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/hist"
	"github.com/conclave-dev/conclave/test/bench/proto"
)

// patience bounds every phase.
const patience = 5 * time.Minute

// retryDelay is how long a client waits between two servers.
const retryDelay = int64(10e6)

// Client is one session. Its exported fields are only read in the loop.
type Client struct {
	ID int
	// Conn is the present connection; it may be open or on its way.
	Conn *engine.Conn
	// Server is the index of the server that it goes to.
	Server int
	// Attached tells whether the session is confirmed on Conn.
	Attached bool
	// Expired tells whether the server has said so. Then nothing more happens.
	Expired bool
	// since is when the present attempt to attach began, over all servers.
	since   int64
	session proto.Session
	zxid    int64
	// attempt grows whenever a connection is given up, so that a retry knows
	// whether it is still wanted.
	attempt int
}

// role is what clients do beside staying alive. All methods run in the loop.
type role interface {
	attached(cl *Client) error
	detached(cl *Client, err error) error
	reply(cl *Client, p engine.Pending, r proto.Reply) error
	event(cl *Client, e proto.Event) error
}

// Attach is what it took to attach a number of sessions.
type Attach struct {
	// Took is from the start until the last one was attached, Each how long every
	// one took.
	Took time.Duration
	Each *hist.H
	// Retries is how often a server was tried in vain, Expired how many sessions
	// the ensemble gave up meanwhile.
	Retries, Expired int
}

// Swarm is a set of clients on one loop. Its exported methods are called by one
// goroutine, which is not the loop's.
type Swarm struct {
	loop    *engine.Loop
	servers []netip.AddrPort
	timeout int32
	ended   chan error // the loop's end

	// Below here everything belongs to the loop.
	clients []*Client
	role    role
	pongs   *hist.H // nil while pings are not measured

	// finish ends the present phase; it is nil between phases.
	finish chan struct{}

	// attach is what the present phase of attaching has come to; nil in other
	// phases. todo has not been dialled yet; underWay counts the clients that
	// are neither in todo nor attached nor expired, whatever the phase.
	attach   *Attach
	todo     []*Client
	underWay int
	parallel int
	pump     *engine.Timer // calls dialSome
	began    int64
	// drops counts the connections that were lost behind the handshake.
	drops int
}

// New makes a swarm without clients. timeout is that of the sessions, in ms.
func New(servers []netip.AddrPort, timeout int32) (*Swarm, error) {
	l, err := engine.New(engine.Monotonic)
	if err != nil {
		return nil, err
	}
	s := &Swarm{loop: l, servers: servers, timeout: timeout, ended: make(chan error, 1), role: idle{}}
	s.pump = l.NewTimer(s.dialSome)
	l.KeepAlive()
	s.watchSilence()
	go func() { s.ended <- l.Run() }()
	return s, nil
}

// Close ends the loop and drops all connections; the sessions stay.
func (s *Swarm) Close() {
	s.loop.Post(func() error { s.loop.Stop(); return nil })
	<-s.ended
	s.loop.Close()
}

// phase has the loop call start and waits until it closes finish.
func (s *Swarm) phase(start func() error) error {
	done := make(chan struct{})
	s.loop.Post(func() error {
		s.finish = done
		return start()
	})
	select {
	case <-done:
		return nil
	case err := <-s.ended:
		s.ended <- err // for Close
		if err == nil {
			err = errors.New("the loop has ended")
		}
		return err
	case <-time.After(patience):
		return fmt.Errorf("nothing came of it within %v", patience)
	}
}

func (s *Swarm) finished() {
	if s.finish != nil {
		close(s.finish)
		s.finish = nil
	}
}

// Open opens n more sessions, at most parallel at a time, in turn on the servers.
func (s *Swarm) Open(n, parallel int) (*Attach, error) {
	return s.attachAll(parallel, func() {
		for range n {
			cl := &Client{ID: len(s.clients), Server: len(s.clients) % len(s.servers)}
			s.clients = append(s.clients, cl)
			s.todo = append(s.todo, cl)
		}
	})
}

// Reattach drops all connections at once and attaches every session through the
// server after its last one; a latency counts from the drop.
func (s *Swarm) Reattach() (*Attach, error) {
	return s.attachAll(0, func() {
		s.underWay, s.todo = 0, nil
		for _, cl := range s.clients {
			s.unplug(cl)
			if cl.Expired {
				continue
			}
			cl.Server = (cl.Server + 1) % len(s.servers)
			cl.since = s.loop.Now()
			s.todo = append(s.todo, cl)
		}
	})
}

// attachAll attaches what enqueue puts into todo. parallel 0 means no limit.
func (s *Swarm) attachAll(parallel int, enqueue func()) (*Attach, error) {
	out := &Attach{Each: new(hist.H)}
	err := s.phase(func() error {
		enqueue()
		s.attach, s.began, s.parallel = out, s.loop.Now(), parallel
		s.pump.Set(s.loop.Now())
		return nil
	})
	return out, err
}

// Drops is how many connections were lost so far although nobody dropped them.
func (s *Swarm) Drops() (n int, err error) {
	err = s.phase(func() error {
		n = s.drops
		s.finished()
		return nil
	})
	return n, err
}

// dialSome starts attempts, a few at a time so that answers are read in between.
func (s *Swarm) dialSome() error {
	for range 64 {
		if len(s.todo) == 0 || s.parallel > 0 && s.underWay >= s.parallel {
			return nil
		}
		cl := s.todo[0]
		s.todo = s.todo[1:]
		s.underWay++
		if cl.since == 0 {
			cl.since = s.loop.Now()
		}
		if err := s.dial(cl); err != nil {
			return err
		}
	}
	s.pump.Set(s.loop.Now())
	return nil
}

func (s *Swarm) dial(cl *Client) error {
	c, err := s.loop.Dial(engine.Options{
		ID: cl.ID, Server: s.servers[cl.Server], Session: cl.session, LastZxid: cl.zxid, Timeout: s.timeout,
	}, (*handler)(s))
	if err != nil {
		return err
	}
	cl.Conn = c
	return nil
}

// unplug ends the client's connection and keeps what is needed to attach again.
func (s *Swarm) unplug(cl *Client) {
	if cl.Conn != nil {
		cl.zxid = cl.Conn.LastZxid
		cl.Conn.Close()
	}
	cl.Conn, cl.Attached = nil, false
	cl.attempt++
}

// settled counts a client whose attempts have come to an end.
func (s *Swarm) settled() {
	s.underWay--
	if s.attach == nil {
		return
	}
	if len(s.todo) == 0 && s.underWay == 0 {
		s.attach.Took = time.Duration(s.loop.Now() - s.began)
		s.attach = nil
		s.finished()
		return
	}
	s.pump.Set(s.loop.Now())
}

// handler is the swarm as the engine sees it.
type handler Swarm

func (h *handler) Opened(c *engine.Conn) error {
	s := (*Swarm)(h)
	cl := s.clients[c.ID]
	cl.Attached, cl.session = true, c.Session
	if s.attach != nil {
		s.attach.Each.Record(s.loop.Now() - cl.since)
	}
	cl.since = 0
	if err := s.role.attached(cl); err != nil {
		return err
	}
	s.settled()
	return nil
}

func (h *handler) Closed(c *engine.Conn, err error) error {
	return (*Swarm)(h).lost(h.clients[c.ID], err)
}

// lost lets the client try the next server.
func (s *Swarm) lost(cl *Client, err error) error {
	attached := cl.Attached
	s.unplug(cl)
	switch {
	case errors.Is(err, engine.ErrExpired):
		cl.Expired = true
		if s.attach != nil {
			s.attach.Expired++
		}
		s.settled()
		return s.role.detached(cl, err)
	case attached:
		s.drops++
		s.underWay++
		cl.since = s.loop.Now()
		if err := s.role.detached(cl, err); err != nil {
			return err
		}
	case s.attach != nil:
		s.attach.Retries++
	}
	cl.Server = (cl.Server + 1) % len(s.servers)
	attempt := cl.attempt
	s.loop.After(retryDelay, func() error {
		if cl.attempt != attempt {
			return nil // a phase has begun that dials everybody
		}
		return s.dial(cl)
	})
	return nil
}

func (h *handler) Reply(c *engine.Conn, p engine.Pending, r proto.Reply) error {
	return h.role.reply(h.clients[c.ID], p, r)
}

func (h *handler) Event(c *engine.Conn, e proto.Event) error {
	return h.role.event(h.clients[c.ID], e)
}

func (h *handler) Pong(_ *engine.Conn, sent int64) error {
	if h.pongs != nil {
		h.pongs.Record(h.loop.Now() - sent)
	}
	return nil
}

// watchSilence lets clients give up connections as client libraries do: after a
// third of the session's timeout without an answer to the connect request, after
// two thirds without a word of any kind.
func (s *Swarm) watchSilence() {
	const every = int64(100e6)
	third := int64(s.timeout) * 1e6 / 3
	var t *engine.Timer
	t = s.loop.NewTimer(func() error {
		t.Set(s.loop.Now() + every)
		for _, cl := range s.clients {
			if cl.Conn == nil {
				continue
			}
			silence := s.loop.Now() - cl.Conn.Heard
			if cl.Attached && silence > 2*third || !cl.Attached && silence > third {
				if err := s.lost(cl, errSilent); err != nil {
					return err
				}
			}
		}
		return nil
	})
	t.Set(s.loop.Now() + every)
}

var errSilent = errors.New("the server has fallen silent")

// idle is the role of clients that only stay alive.
type idle struct{}

func (idle) attached(*Client) error        { return nil }
func (idle) detached(*Client, error) error { return nil }

func (idle) reply(cl *Client, p engine.Pending, r proto.Reply) error {
	return cl.Conn.Violation("a reply to request %d, and none was sent", r.Xid)
}

func (idle) event(cl *Client, e proto.Event) error {
	return cl.Conn.Violation("an event of type %d on %s, and no watch was set", e.Type, e.Path)
}
