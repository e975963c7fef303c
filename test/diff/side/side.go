package side

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/diff/script"
)

// SessionTimeout is what the slots' sessions ask for: nothing that a script does
// comes near it.
const SessionTimeout = time.Minute

// mortalTimeout is the timeout of sessions that are meant to expire. They must
// not do so while they still work.
const mortalTimeout = 3 * time.Second

// Side is one ensemble as one lane of the test uses it. It is not safe for
// concurrent use.
type Side struct {
	addrs []string
	// prefix is what the members' addresses begin with.
	prefix string
	base   string
	places script.Places
	slots  []*slot
	// names are the names of the sessions by their ids.
	names map[int64]string
	// probes are connections of the super user, one to each member, for what is
	// not part of a script.
	probes  []*conn
	mortals int
	// settled is set for scripts that are judged by quotas: every write is
	// awaited, by the leader too.
	settled bool
}

// slot is where one of a script's sessions lives.
type slot struct {
	n, generation int
	name          string
	id            int64 // 0: none
	passwd        []byte
	member        int
	conn          *conn // nil if there is none
	// xid is the last number of the connections before this one.
	xid int32
	// seen and start are the last zxid that the session was shown, now and when
	// it was opened.
	seen, start int64
	// endedID and endedPasswd are those of the slot's last session that was
	// closed.
	endedID     int64
	endedPasswd []byte
}

// New returns a Side that talks to the members at addrs.
func New(addrs []string) (*Side, error) {
	s := &Side{addrs: addrs, prefix: addrs[0][:strings.LastIndexByte(addrs[0], '.')+1]}
	if err := s.openProbes(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Side) openProbes() error {
	for _, addr := range s.addrs {
		c, resp, err := s.connect(addr, wire.ConnectRequest{Timeout: SessionTimeout})
		if err == nil && resp.SessionID == 0 {
			err = errors.New("got no session")
		}
		if err == nil {
			c.add(wire.XidAuth, wire.OpAuth, wire.AuthBody("digest", []byte("super:"+script.Passwords["super"])))
			if err = c.send(); err == nil {
				_, err = c.recv()
			}
		}
		if err != nil {
			return fmt.Errorf("probe of %s: %w", addr, err)
		}
		s.probes = append(s.probes, c)
	}
	return nil
}

// Reconnect goes on after all members were started anew: connections are gone,
// sessions live on.
func (s *Side) Reconnect() error {
	for _, c := range s.probes {
		c.Close()
	}
	s.probes = nil
	for _, sl := range s.slots {
		if sl.conn != nil {
			s.gone(sl)
		}
	}
	return s.openProbes()
}

// Close ends the probes' sessions.
func (s *Side) Close() {
	for _, c := range s.probes {
		_, _ = c.call(wire.OpCloseSession, nil) // best effort: they would expire by themselves
		c.Close()
	}
	s.probes = nil
}

// Begin makes an empty place for a script at base, which must not exist.
func (s *Side) Begin(base string, slots int, settled bool) error {
	s.base = base
	s.settled = settled
	s.places = script.Places{Root: base + "/r", Quota: "/zookeeper/quota" + base + "/r", Since: map[string]int64{}}
	s.names = map[int64]string{0: "0"}
	s.slots = nil
	for n := range slots {
		s.slots = append(s.slots, &slot{n: n})
	}
	dirs := []string{base, base + "/r", base + "/m"}
	if settled {
		dirs = append(dirs, "/zookeeper/quota"+base, s.places.Quota)
	}
	for _, dir := range dirs {
		reply, err := s.probes[0].call(wire.OpCreate, wire.CreateBody(dir, nil, wire.OpenACL, wire.Persistent))
		if err == nil && reply.Err != wire.OK {
			err = fmt.Errorf("%s", errorName(reply.Err))
		}
		if err != nil {
			return fmt.Errorf("create %s: %w", dir, err)
		}
	}
	return s.settle()
}

// End closes the script's sessions and removes what it has left.
func (s *Side) End() error {
	for _, sl := range s.slots {
		if err := s.endSlot(sl); err != nil {
			return fmt.Errorf("end %s: %w", sl.name, err)
		}
	}
	if err := s.settle(); err != nil {
		return err
	}
	trees := []string{s.base}
	if s.settled {
		trees = append(trees, "/zookeeper/quota"+s.base)
	}
	for _, top := range trees {
		if err := s.deleteTree(top); err != nil {
			return err
		}
	}
	return nil
}

// endSlot ends a slot's session, attaching to it once more if need be.
func (s *Side) endSlot(sl *slot) error {
	if sl.id == 0 {
		return nil
	}
	c := sl.conn
	if c == nil {
		var resp wire.ConnectResponse
		var err error
		c, resp, err = s.connect(s.addrs[0], wire.ConnectRequest{Timeout: SessionTimeout, SessionID: sl.id, Passwd: sl.passwd})
		if err != nil {
			return err
		}
		if resp.SessionID == 0 {
			c.Close()
			return nil // it has expired: an earlier step has told
		}
	}
	defer c.Close()
	sl.conn, sl.id = nil, 0
	if _, err := c.call(wire.OpCloseSession, nil); err != nil && !errors.Is(err, errClosed) {
		return err
	}
	return nil
}

// deleteTree removes top and everything below it.
func (s *Side) deleteTree(top string) error {
	var all []string
	err := s.walk(s.probes[0], top, func(path string, _ []wire.Reply) { all = append(all, path) })
	if err != nil {
		return err
	}
	c := s.probes[0]
	for i := len(all) - 1; i >= 0; i-- { // breadth first, so children come behind
		c.add(0, wire.OpDelete, wire.VersionBody(all[i], -1))
	}
	if err := c.send(); err != nil {
		return err
	}
	for range all {
		// NoNode is fine: a container may have gone with its last child.
		if reply, err := c.recv(); err != nil || reply.Err != wire.OK && reply.Err != wire.NoNode {
			return fmt.Errorf("remove what is left of a script below %s: %s, %w", top, errorName(reply.Err), err)
		}
	}
	return nil
}

// connect opens a connection and shakes hands. A member that is behind what the
// client has seen closes the connection: it is asked again.
func (s *Side) connect(addr string, q wire.ConnectRequest) (*conn, wire.ConnectResponse, error) {
	deadline := time.Now().Add(replyTimeout)
	for {
		c, err := dial(addr)
		if err != nil {
			return nil, wire.ConnectResponse{}, err
		}
		resp, err := c.handshake(q)
		if err == nil {
			return c, resp, nil
		}
		c.Close()
		if !errors.Is(err, errClosed) || time.Now().After(deadline) {
			return nil, resp, fmt.Errorf("handshake with %s: %w", addr, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// sessionName returns the name of the session with the id.
func (s *Side) sessionName(id int64) string {
	if name, ok := s.names[id]; ok {
		return name
	}
	return "unknown"
}

// hide replaces what differs between ensembles by definition.
func (s *Side) hide(text string) string {
	text = strings.ReplaceAll(text, s.prefix, "HOST.")
	if strings.HasPrefix(text, s.places.Quota) {
		return "%" + text[len(s.places.Quota):]
	}
	if strings.HasPrefix(text, s.places.Root) {
		return "@" + text[len(s.places.Root):]
	}
	return text
}

// barrier is a write that changes nothing: who is answered has applied all that
// was answered before.
var barrier = script.Op{Name: "delete", Path: "/nothing", Version: -1}

// bringUp brings a probe's member up to everything that was answered.
func (s *Side) bringUp(i int) error {
	reply, err := s.probes[i].call(barrier.OpCode(), barrier.Body(&s.places))
	if err == nil && reply.Err != wire.NoNode {
		err = errors.New(errorName(reply.Err))
	}
	if err != nil {
		return fmt.Errorf("barrier at %s: %w", s.addrs[i], err)
	}
	return nil
}

// Nudge makes the ensemble order one transaction.
func (s *Side) Nudge() error { return s.bringUp(0) }

// Epoch returns the epoch of the ensemble's present leader.
func (s *Side) Epoch() (int64, error) {
	if err := s.bringUp(0); err != nil {
		return 0, err
	}
	reply, err := s.probes[0].call(wire.OpExists, wire.WatchBody("/", false))
	return reply.Zxid >> 32, err
}

// settle waits until every member, the leader among them, has applied what was
// answered.
func (s *Side) settle() error {
	for i := range s.probes {
		if err := s.bringUp(i); err != nil {
			return err
		}
	}
	return nil
}

// awaitGone waits until a node is gone.
func (s *Side) awaitGone(path string) error {
	if err := s.bringUp(0); err != nil {
		return err
	}
	deadline := time.Now().Add(replyTimeout)
	for {
		reply, err := s.probes[0].call(wire.OpExists, wire.WatchBody(path, false))
		switch {
		case err != nil:
			return err
		case reply.Err == wire.NoNode:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%s is still there after %v", path, replyTimeout)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// walk visits top and all below it, breadth first, with the replies to getData,
// getACL and getChildren2.
func (s *Side) walk(c *conn, top string, visit func(path string, replies []wire.Reply)) error {
	for level := []string{top}; len(level) > 0; {
		for _, path := range level {
			c.add(0, wire.OpGetData, wire.WatchBody(path, false))
			c.add(0, wire.OpGetACL, wire.PathBody(path))
			c.add(0, wire.OpGetChildren2, wire.WatchBody(path, false))
		}
		if err := c.send(); err != nil {
			return err
		}
		var next []string
		for _, path := range level {
			var replies []wire.Reply
			for range 3 {
				reply, err := c.recv()
				if err != nil {
					return fmt.Errorf("read %s: %w", path, err)
				}
				replies = append(replies, reply)
			}
			if replies[0].Err == wire.NoNode {
				continue
			}
			if replies[2].Err != wire.OK {
				return fmt.Errorf("read %s: %s", path, errorName(replies[2].Err))
			}
			visit(path, replies)
			names := wire.NewReader(replies[2].Body).Strings()
			slices.Sort(names)
			for _, name := range names {
				next = append(next, path+"/"+name)
			}
		}
		level = next
	}
	return nil
}
