package side

import (
	"errors"
	"fmt"
	"strings"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/diff/script"
)

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
