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
