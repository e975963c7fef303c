package history

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// Tap notes what goes over a connection to a member. It calls failed with what it
// could not understand: something is missing then, and the history is of no use.
func (h *History) Tap(client, member string, c net.Conn, failed func(error)) net.Conn {
	t := &tap{Conn: c, h: h, failed: failed, rec: &Connection{Client: client, Member: member, Opened: h.Now()}}
	h.mu.Lock()
	h.conns = append(h.conns, t.rec)
	h.mu.Unlock()
	return t
}

// tap is a connection that is listened to. Reads and writes come from one
// goroutine each.
type tap struct {
	net.Conn
	h      *History
	rec    *Connection
	failed func(error)

	out, in frames
	// answered is how many requests from the first one on have been.
	answered int
}

// frames cuts a stream into frames.
type frames struct {
	buf   []byte
	count int
}

func (f *frames) add(b []byte, each func(n int, body []byte) error) error {
	f.buf = append(f.buf, b...)
	for len(f.buf) >= 4 {
		size := int(binary.BigEndian.Uint32(f.buf))
		if size > 1<<26 {
			return fmt.Errorf("a frame of %d bytes: the stream is out of step", size)
		}
		if len(f.buf) < 4+size {
			return nil
		}
		if err := each(f.count, f.buf[4:4+size]); err != nil {
			return err
		}
		f.count++
		f.buf = slices.Clone(f.buf[4+size:])
	}
	return nil
}

func (t *tap) Write(b []byte) (int, error) {
	// Noted before it is sent, so that it never looks later than it was.
	t.rec.mu.Lock()
	now := t.h.Now()
	err := t.out.add(b, func(n int, body []byte) error { return t.sent(n, body, now) })
	t.rec.mu.Unlock()
	if err != nil {
		t.failed(fmt.Errorf("%s to %s: %w", t.rec.Client, t.rec.Member, err))
	}
	return t.Conn.Write(b)
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.rec.mu.Lock()
	defer t.rec.mu.Unlock()
	if t.rec.Closed != 0 {
		return n, err // the client does not see it any more
	}
	now := t.h.Now()
	if err := t.in.add(b[:n], func(n int, body []byte) error { return t.received(n, body, now) }); err != nil {
		t.failed(fmt.Errorf("%s from %s: %w", t.rec.Client, t.rec.Member, err))
	}
	if err != nil && !isTimeout(err) {
		t.rec.Closed = now
	}
	return n, err
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

func (t *tap) Close() error {
	t.rec.mu.Lock()
	if t.rec.Closed == 0 {
		t.rec.Closed = t.h.Now()
	}
	t.rec.mu.Unlock()
	return t.Conn.Close()
}

func (t *tap) sent(n int, body []byte, now int64) error {
	r := wire.NewReader(body)
	if n == 0 {
		_, seen, _, session := r.Int(), r.Long(), r.Int(), r.Long()
		t.rec.Asked, t.rec.Seen = session, seen
		return r.Err()
	}
	q := &Request{Xid: r.Int(), Op: r.Int(), Sent: now}
	if err := q.decode(r); err != nil {
		return fmt.Errorf("request of type %d: %w", q.Op, err)
	}
	t.rec.Requests = append(t.rec.Requests, q)
	return nil
}

func (q *Request) decode(r *wire.Reader) error {
	switch q.Op {
	case wire.OpCreate, wire.OpCreate2:
		q.Path, q.Data = r.String(), r.String()
		r.ACLs()
		q.Flags = r.Int()
	case wire.OpDelete, wire.OpCheck:
		q.Path, q.Version = r.String(), r.Int()
	case wire.OpSetData:
		q.Path, q.Data, q.Version = r.String(), r.String(), r.Int()
	case wire.OpExists, wire.OpGetData, wire.OpGetChildren, wire.OpGetChildren2:
		q.Path, q.Watch = r.String(), r.Bool()
	case wire.OpSync:
		q.Path = r.String()
	case wire.OpSetWatches, wire.OpSetWatches2:
		q.Relative = r.Long()
		for i := range q.Watches {
			q.Watches[i] = r.Strings()
		}
		if q.Op == wire.OpSetWatches2 {
			if len(r.Strings())+len(r.Strings()) > 0 {
				return fmt.Errorf("persistent watches are not followed")
			}
		}
	case wire.OpMulti:
		for {
			part := Request{Op: r.Int()}
			done := r.Bool()
			r.Int()
			if done || r.Err() != nil {
				return r.Err()
			}
			if part.Op == wire.OpMulti {
				return fmt.Errorf("a multi in a multi")
			}
			if err := part.decode(r); err != nil {
				return err
			}
			q.Parts = append(q.Parts, part)
		}
	case wire.OpPing, wire.OpCloseSession, wire.OpAuth:
	default:
		return fmt.Errorf("it is not followed")
	}
	return r.Err()
}

func (t *tap) received(n int, body []byte, now int64) error {
	if n == 0 {
		resp, err := wire.DecodeConnectResponse(body)
		t.rec.Attached, t.rec.Session, t.rec.Timeout = now, resp.SessionID, resp.Timeout
		return err
	}
	r := wire.NewReader(body)
	xid := r.Int()
	rep := &Reply{At: now, Zxid: r.Long(), Err: r.Int()}
	if xid == wire.XidEvent {
		e := Event{At: now, Zxid: rep.Zxid, Type: r.Int()}
		r.Int() // the client's state
		e.Path = r.String()
		t.rec.Received = append(t.rec.Received, Received{Answered: -1, Event: e})
		return r.Err()
	}
	// The answer may belong to any request that waits; whether it is the first
	// one's turn is for a checker to say.
	i := slices.IndexFunc(t.rec.Requests[t.answered:], func(q *Request) bool { return q.Xid == xid && q.Reply == nil })
	if i < 0 {
		return fmt.Errorf("an answer to request %d, and none of that number waits", xid)
	}
	i += t.answered
	q := t.rec.Requests[i]
	q.Reply = rep
	t.rec.Received = append(t.rec.Received, Received{Answered: i})
	for t.answered < len(t.rec.Requests) && t.rec.Requests[t.answered].Reply != nil {
		t.answered++
	}
	if err := rep.decode(q, r); err != nil {
		return fmt.Errorf("answer to %d, of type %d: %w", xid, q.Op, err)
	}
	return nil
}

func (p *Reply) decode(q *Request, r *wire.Reader) error {
	if q.Op == wire.OpMulti && len(r.Rest()) > 0 {
		var err error
		p.Results, err = wire.DecodeMulti(r.Rest())
		return err
	}
	if p.Err != wire.OK {
		return r.Err()
	}
	switch q.Op {
	case wire.OpCreate:
		p.Path = r.String()
	case wire.OpCreate2:
		p.Path, p.Stat = r.String(), r.Stat()
	case wire.OpSetData, wire.OpExists:
		p.Stat = r.Stat()
	case wire.OpGetData:
		p.Data, p.Stat = r.String(), r.Stat()
	case wire.OpGetChildren:
		p.Children = r.Strings()
	case wire.OpGetChildren2:
		p.Children, p.Stat = r.Strings(), r.Stat()
	}
	return r.Err()
}
