package side

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/diff/script"
)

// Do does one step and returns what came of it. A step that its slot is in no
// state for does nothing: scripts stay runnable when steps are taken out. The
// error is for an ensemble that cannot be asked at all.
func (s *Side) Do(step script.Step) ([]Frame, error) {
	if step.Session < 0 || step.Session >= len(s.slots) {
		return nil, fmt.Errorf("no slot for session %d", step.Session)
	}
	sl := s.slots[step.Session]
	switch step.Verb {
	case script.Burst:
		return s.burst(sl, step.Ops)
	case script.Open:
		return s.open(sl, step.Member)
	case script.Close:
		return s.close(sl, step.Ops)
	case script.Drop:
		return s.drop(sl)
	case script.Attach:
		return s.attach(sl, step.Member)
	case script.Move:
		return s.move(sl, step.Member)
	case script.Expire:
		return s.expire(step)
	case script.Reap:
		return s.reap(sl, step.How)
	case script.Forge:
		return s.forge(sl, step.Member, step.How)
	case script.Greet:
		return s.greet(step.Member, step.How)
	case script.Sweep:
		return s.sweep()
	}
	return nil, fmt.Errorf("unknown step %q", step.Verb)
}

// flush takes in what a session has been told and not read yet.
func (s *Side) flush(sl *slot) ([]Frame, error) {
	if sl.conn == nil {
		return nil, nil
	}
	return s.exchange(sl, nil)
}

// flushAll takes in what all sessions have been told, but for one.
func (s *Side) flushAll(but *slot) (frames []Frame, err error) {
	for _, sl := range s.slots {
		if sl == but {
			continue
		}
		more, err := s.flush(sl)
		if err != nil {
			return frames, err
		}
		frames = append(frames, more...)
	}
	return frames, nil
}

// alone reports whether an operation has to be answered before the next is
// sent: pings, auth and unknown operations have no place in the order of
// replies, and ZooKeeper judges what is pipelined behind setACL by the old list.
func (s *Side) alone(op *script.Op) bool {
	return unordered(op) || op.Name == "setACL" || s.settled && op.Writes()
}

func unordered(op *script.Op) bool { return op.Name == "auth" || op.Name == "ping" || op.Name == "op" }

// burst sends operations, as many as possible in one packet, and takes in what
// comes back.
func (s *Side) burst(sl *slot, ops []script.Op) (frames []Frame, err error) {
	for len(ops) > 0 && sl.conn != nil {
		n := 0
		for n < len(ops) && !s.alone(&ops[n]) {
			n++
		}
		if n == 0 && !unordered(&ops[0]) {
			n = 1
		}
		if n > 0 {
			more, err := s.exchange(sl, ops[:n])
			frames = append(frames, more...)
			if err != nil {
				return frames, err
			}
			if s.alone(&ops[n-1]) {
				if err := s.settle(); err != nil {
					return frames, err
				}
			}
			ops = ops[n:]
			continue
		}
		more, err := s.flush(sl)
		frames = append(frames, more...)
		if err != nil || sl.conn == nil {
			return frames, err
		}
		if more, err = s.outOfOrder(sl, &ops[0]); err != nil {
			return frames, err
		}
		frames = append(frames, more...)
		ops = ops[1:]
	}
	return frames, nil
}

// outOfOrder sends an operation whose reply comes whenever it comes.
func (s *Side) outOfOrder(sl *slot, op *script.Op) ([]Frame, error) {
	xid := map[string]int32{"ping": wire.XidPing, "auth": wire.XidAuth}[op.Name]
	xid = sl.conn.add(xid, op.OpCode(), op.Body(&s.places))
	if err := sl.conn.send(); err != nil {
		return nil, err
	}
	return s.take(sl, []expected{{xid, op}})
}

// expected is a reply that has to come.
type expected struct {
	xid int32
	op  *script.Op
}

// exchange sends a barrier and the operations behind it, and takes in everything up
// to the last reply.
func (s *Side) exchange(sl *slot, ops []script.Op) ([]Frame, error) {
	s.places.Since[script.SinceSeen], s.places.Since[script.SinceStart] = sl.seen, sl.start
	c := sl.conn
	want := []expected{{c.add(0, barrier.OpCode(), barrier.Body(&s.places)), &barrier}}
	for i := range ops {
		var xid int32
		if strings.HasPrefix(ops[i].Name, "setWatches") {
			xid = wire.XidSetWatches
		}
		want = append(want, expected{c.add(xid, ops[i].OpCode(), ops[i].Body(&s.places)), &ops[i]})
	}
	if err := c.send(); err != nil {
		return nil, err
	}
	return s.take(sl, want)
}

// take receives frames until every expected reply has come, or the connection
// is closed.
func (s *Side) take(sl *slot, want []expected) (frames []Frame, err error) {
	tell := func(f Frame) {
		f.Who = sl.name
		frames = append(frames, f)
	}
	for len(want) > 0 {
		reply, err := sl.conn.recv()
		if errors.Is(err, errClosed) {
			tell(Frame{Op: want[0].op, Text: "connection closed instead of the reply to " + want[0].op.Name})
			s.gone(sl)
			return frames, nil
		}
		if err != nil {
			return frames, fmt.Errorf("%s, waiting for the reply to %s: %w", sl.name, want[0].op, err)
		}
		if reply.Xid == wire.XidEvent {
			tell(s.tellEvent(reply))
			continue
		}
		if reply.Xid != want[0].xid {
			return frames, fmt.Errorf("%s: the reply to %s (%d) came as %d", sl.name, want[0].op, want[0].xid, reply.Xid)
		}
		op := want[0].op
		f := s.tell(op, reply)
		if reply.Zxid > 0 {
			if reply.Zxid < sl.seen {
				f.Text += fmt.Sprintf(" BACKWARDS: the session was shown %#x", sl.seen)
			}
			sl.seen = reply.Zxid
		}
		if op != &barrier || reply.Err != wire.NoNode {
			tell(f)
		}
		want = want[1:]
		if reply.Err == wire.Unimplemented || reply.Err == wire.AuthFailed {
			more, err := s.awaitClose(sl)
			return append(frames, more...), err
		}
	}
	return frames, nil
}

// awaitClose takes in what comes until the server closes the connection.
func (s *Side) awaitClose(sl *slot) (frames []Frame, err error) {
	for {
		reply, err := sl.conn.recv()
		switch {
		case errors.Is(err, errClosed):
			s.gone(sl)
			return append(frames, Frame{Who: sl.name, Text: "connection closed"}), nil
		case err != nil:
			return frames, fmt.Errorf("%s, waiting for the connection to be closed: %w", sl.name, err)
		case reply.Xid == wire.XidEvent:
			f := s.tellEvent(reply)
			f.Who = sl.name
			frames = append(frames, f)
		default:
			frames = append(frames, Frame{Who: sl.name, Text: fmt.Sprintf("reply to %d with error %d behind the last", reply.Xid, reply.Err)})
		}
	}
}

// gone notes that a slot has no connection any more.
func (s *Side) gone(sl *slot) {
	sl.xid = sl.conn.xid
	sl.conn.Close()
	sl.conn = nil
}

func (s *Side) open(sl *slot, member int) ([]Frame, error) {
	if sl.id != 0 {
		return nil, nil
	}
	c, resp, err := s.connect(s.addr(member), wire.ConnectRequest{Timeout: SessionTimeout})
	if err != nil {
		return nil, err
	}
	sl.generation++
	sl.name = fmt.Sprintf("s%d", sl.n)
	if sl.generation > 1 {
		sl.name += fmt.Sprintf(".%d", sl.generation)
	}
	sl.conn, sl.id, sl.passwd, sl.member, sl.seen = c, resp.SessionID, resp.Passwd, member, 0
	s.names[sl.id] = sl.name
	f := s.tellHandshake("open", resp)
	f.Who = sl.name
	frames, err := s.flush(sl)
	sl.start = sl.seen
	return append([]Frame{f}, frames...), err
}

func (s *Side) addr(member int) string { return s.addrs[(member-1)%len(s.addrs)] }

// close ends a session. Its ephemerals go in the order of a hash set: the
// events about that are sorted, so everybody is asked for older ones before.
func (s *Side) close(sl *slot, ops []script.Op) ([]Frame, error) {
	if sl.conn == nil {
		return nil, nil
	}
	frames, err := s.burst(sl, ops)
	if err != nil || sl.conn == nil {
		return frames, err
	}
	return s.ending(sl, frames, func() ([]Frame, error) {
		op := &script.Op{Name: "closeSession"}
		xid := sl.conn.add(0, wire.OpCloseSession, nil)
		if err := sl.conn.send(); err != nil {
			return nil, err
		}
		frames, err := s.take(sl, []expected{{xid, op}})
		if err == nil && sl.conn != nil {
			var more []Frame
			more, err = s.awaitClose(sl)
			frames = append(frames, more...)
		}
		sl.endedID, sl.endedPasswd = sl.id, sl.passwd
		sl.id = 0
		return frames, err
	})
}

// ending runs end, which ends a session, and sorts the events that everybody
// gets from it. The leader has to apply it before anything else is done: until
// then ZooKeeper's counts the session's ephemerals as children, and refuses to
// delete their parents.
func (s *Side) ending(but *slot, frames []Frame, end func() ([]Frame, error)) ([]Frame, error) {
	before, err := s.flushAll(but)
	frames = append(frames, before...)
	if err != nil {
		return frames, err
	}
	during, err := end()
	if err != nil {
		return append(frames, during...), err
	}
	after, err := s.flushAll(but)
	during = append(during, after...)
	sortEvents(during)
	if err == nil {
		err = s.settle()
	}
	return append(frames, during...), err
}

// sortEvents sorts every session's events that stand together.
func sortEvents(frames []Frame) {
	for i := 0; i < len(frames); {
		j := i + 1
		for frames[i].event && j < len(frames) && frames[j].event && frames[j].Who == frames[i].Who {
			j++
		}
		slices.SortStableFunc(frames[i:j], func(a, b Frame) int { return strings.Compare(a.Text, b.Text) })
		i = j
	}
}

func (s *Side) drop(sl *slot) ([]Frame, error) {
	frames, err := s.flush(sl)
	if sl.conn != nil {
		s.gone(sl)
	}
	return frames, err
}

// reattach shakes hands for a slot's session at a member.
func (s *Side) reattach(sl *slot, member int, what string) ([]Frame, error) {
	c, resp, err := s.connect(s.addr(member), wire.ConnectRequest{
		Timeout: SessionTimeout, SessionID: sl.id, Passwd: sl.passwd, LastZxidSeen: sl.seen,
	})
	if err != nil {
		return nil, err
	}
	f := s.tellHandshake(what, resp)
	f.Who = sl.name
	if resp.SessionID == 0 {
		c.Close()
		sl.conn, sl.id = nil, 0
		return []Frame{f}, nil
	}
	// Numbers go on, as with real clients: ZooKeeper tells the transactions of a
	// session apart by them, also those of an earlier connection.
	c.xid = sl.xid
	sl.conn, sl.member = c, member
	return []Frame{f}, nil
}

func (s *Side) attach(sl *slot, member int) ([]Frame, error) {
	if sl.conn != nil || sl.id == 0 {
		return nil, nil
	}
	return s.reattach(sl, member, "attach")
}

// move attaches the session elsewhere, or to the same member again, while its
// connection is open. The old connection is of no more use: at the same member
// it is closed at once, elsewhere when it writes.
func (s *Side) move(sl *slot, member int) ([]Frame, error) {
	if sl.conn == nil {
		return nil, nil
	}
	frames, err := s.flush(sl)
	if err != nil || sl.conn == nil {
		return frames, err
	}
	old := *sl
	sl.xid = sl.conn.xid + 10
	more, err := s.reattach(sl, member, "move")
	frames = append(frames, more...)
	if err != nil {
		return frames, err
	}
	old.name += " (old connection)"
	if old.member == member || sl.conn == nil {
		more, err = s.awaitClose(&old)
		return append(frames, more...), err
	}
	// The new attachment is known everywhere once its member has answered.
	more, err = s.flush(sl)
	frames = append(frames, more...)
	if err != nil {
		return frames, err
	}
	op := &script.Op{Name: "setData", Path: "@", Data: "by the old connection", Version: -1}
	xid := old.conn.add(0, op.OpCode(), op.Body(&s.places))
	if err := old.conn.send(); err != nil {
		return frames, err
	}
	more, err = s.take(&old, []expected{{xid, op}})
	if old.conn != nil {
		old.conn.Close()
	}
	return append(frames, more...), err
}

// expire lets a session of its own expire.
func (s *Side) expire(step script.Step) ([]Frame, error) {
	frames, err := s.flushAll(nil)
	if err != nil {
		return frames, err
	}
	c, resp, err := s.connect(s.addr(step.Member), wire.ConnectRequest{Timeout: mortalTimeout})
	if err != nil {
		return frames, err
	}
	defer c.Close()
	s.mortals++
	m := &slot{name: fmt.Sprintf("mortal%d", s.mortals), id: resp.SessionID, passwd: resp.Passwd, member: step.Member, conn: c}
	s.names[m.id] = m.name
	f := s.tellHandshake("open", resp)
	f.Who = m.name
	frames = append(frames, f)
	marker := fmt.Sprintf("%s/m/%d", s.base, s.mortals)
	if reply, err := c.call(wire.OpCreate, wire.CreateBody(marker, nil, wire.OpenACL, wire.Ephemeral)); err != nil || reply.Err != wire.OK {
		return frames, fmt.Errorf("create the marker %s: %s, %w", marker, errorName(reply.Err), err)
	}
	more, err := s.burst(m, step.Ops)
	frames = append(frames, more...)
	if err != nil {
		return frames, err
	}
	if m.conn == nil {
		step.How = script.Dropped
	}
	return s.ending(m, frames, func() ([]Frame, error) {
		if step.How == script.Silent {
			// Whether it still hears of its own end is a matter of luck.
			if _, err := s.awaitClose(m); err != nil {
				return nil, err
			}
		} else if m.conn != nil {
			s.gone(m)
		}
		if err := s.awaitGone(marker); err != nil {
			return nil, err
		}
		c, resp, err := s.connect(s.addr(step.Member+1), wire.ConnectRequest{Timeout: mortalTimeout, SessionID: m.id, Passwd: m.passwd})
		if err != nil {
			return nil, err
		}
		defer c.Close()
		f := s.tellHandshake("attach", resp)
		f.Who = m.name
		return []Frame{f}, nil
	})
}

// reap makes a node that does not stay.
func (s *Side) reap(sl *slot, how string) ([]Frame, error) {
	if sl.conn == nil {
		return nil, nil
	}
	s.mortals++
	path := fmt.Sprintf("@/reap%d", s.mortals)
	child := script.Op{Name: "create", Path: path + "/child", ACL: "open"}
	ttl := script.Op{Name: "createTTL", Path: path, ACL: "open", Mode: wire.PersistentTTL, TTL: 1}
	gone := script.Op{Name: "delete", Path: path + "/child", Version: -1}
	var ops []script.Op
	switch how {
	case script.Container:
		ops = []script.Op{{Name: "createContainer", Path: path, ACL: "open", Mode: wire.Container}, child, gone}
	case script.TTL:
		ops = []script.Op{ttl}
	case script.TTLParent:
		ops = []script.Op{{Name: "multi", Ops: []script.Op{ttl, child}}, {Name: "exists", Path: path}, gone}
	default:
		return nil, fmt.Errorf("reap: unknown way %q", how)
	}
	frames, err := s.burst(sl, ops)
	if err != nil {
		return frames, err
	}
	last := &ops[len(ops)-1]
	if !slices.ContainsFunc(frames, func(f Frame) bool { return f.Op == last && strings.HasPrefix(f.Text, last.Name+": ok") }) {
		return frames, nil // a quota was in the way: nothing is due, and a container without a child stays
	}
	return frames, s.awaitGone(s.places.Path(path))
}

// forge tries to get a session that is not to be had.
func (s *Side) forge(sl *slot, member int, how string) ([]Frame, error) {
	q := wire.ConnectRequest{Timeout: SessionTimeout, SessionID: sl.id, Passwd: sl.passwd}
	switch how {
	case script.WrongPassword:
		q.Passwd = slices.Repeat([]byte{7}, 16)
	case script.ShortPassword:
		q.Passwd = []byte{1, 2, 3}
	case script.Unknown:
		q.SessionID, q.Passwd = 0x7777_0000_1234_5678, slices.Repeat([]byte{7}, 16)
	case script.Ended:
		q.SessionID, q.Passwd = sl.endedID, sl.endedPasswd
	case script.FutureZxid:
		q.LastZxidSeen = 1 << 62
	case script.Garbage:
	default:
		return nil, fmt.Errorf("forge: unknown way %q", how)
	}
	if q.SessionID == 0 && how != script.Garbage {
		return nil, nil
	}
	if sl.conn != nil && member == sl.member {
		// 3.8 closes the owner's connection before it looks at the password.
		member = member%len(s.addrs) + 1
	}
	c, err := dial(s.addr(member))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if how == script.Garbage {
		c.frame([]byte("0123456789"))
	} else {
		c.frame(q.Encode())
	}
	f := Frame{Who: "forger", Text: "connection closed"}
	if err := c.send(); err != nil {
		return nil, err
	}
	body, err := c.recvFrame()
	if err == nil {
		resp, err := wire.DecodeConnectResponse(body)
		if err != nil {
			return nil, err
		}
		f = s.tellHandshake("forge", resp)
		f.Who = "forger"
		_, err = c.recvFrame()
		f.Text += fmt.Sprintf(" then %v", err)
	} else if !errors.Is(err, errClosed) {
		return nil, err
	}
	return []Frame{f}, nil
}

// greet opens a session in an unusual way.
func (s *Side) greet(member int, how string) ([]Frame, error) {
	q := wire.ConnectRequest{Timeout: SessionTimeout}
	switch how {
	case script.NoTimeout:
		q.Timeout = 0
	case script.NegativeTimeout:
		q.Timeout = -time.Millisecond
	case script.ShortTimeout:
		q.Timeout = time.Millisecond
	case script.LongTimeout:
		q.Timeout = math.MaxInt32 * time.Millisecond
	case script.NoPassword:
		q.Passwd = []byte{}
	case script.OldClient:
		q.OmitReadOnly = true
	case script.ReadOnlyClient:
		q.ReadOnly = true
	default:
		return nil, fmt.Errorf("greet: unknown way %q", how)
	}
	c, resp, err := s.connect(s.addr(member), q)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	s.names[resp.SessionID] = "greeter"
	f := s.tellHandshake("greet", resp)
	f.Who = "greeter"
	if _, err := c.call(wire.OpCloseSession, nil); err != nil {
		return nil, err
	}
	return []Frame{f}, nil
}

var (
	readData     = &script.Op{Name: "getData"}
	readACL      = &script.Op{Name: "getACL"}
	readChildren = &script.Op{Name: "getChildren2"}
)

// sweep reads everything through every member, and tells what the first has and
// what the others have otherwise.
func (s *Side) sweep() ([]Frame, error) {
	frames, err := s.flushAll(nil)
	if err != nil {
		return frames, err
	}
	var first []Frame
	for i := range s.probes {
		if err := s.bringUp(i); err != nil {
			return frames, err
		}
		var mine []Frame
		trees := []string{s.places.Root}
		if s.settled {
			trees = append(trees, s.places.Quota)
		}
		for _, top := range trees {
			err := s.walk(s.probes[i], top, func(path string, replies []wire.Reply) {
				for j, op := range []*script.Op{readData, readACL, readChildren} {
					replies[j].Zxid = 0
					f := s.tell(op, replies[j])
					f.Who = "sweep"
					f.Op = nil
					f.Text = s.hide(path) + " " + f.Text
					mine = append(mine, f)
				}
			})
			if err != nil {
				return frames, err
			}
		}
		if i == 0 {
			first = mine
			frames = append(frames, mine...)
			continue
		}
		for j := range max(len(first), len(mine)) {
			a, b := "nothing", "nothing"
			if j < len(first) {
				a = first[j].String()
			}
			if j < len(mine) {
				b = mine[j].String()
			}
			if a != b {
				frames = append(frames, Frame{Who: "sweep", Text: fmt.Sprintf("MEMBERS DIFFER: member 1 has %s, member %d has %s", a, i+1, b)})
				break
			}
		}
	}
	return frames, nil
}
