package side

import (
	"fmt"
	"slices"
	"strings"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/diff/script"
)

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
