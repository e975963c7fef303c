package check

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/faults/history"
)

// Violation is something that a client must not have seen.
type Violation struct {
	Checker string
	// At is when it was seen, in the time of the history.
	At   int64
	Text string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s, at %v: %s", v.Checker, time.Duration(v.At).Round(time.Microsecond), v.Text)
}

// never is the time of what has not been.
const never = math.MaxInt64

// write is a change that a client asked for, alone or as a part of a multi.
type write struct {
	conn *history.Connection
	req  *history.Request
	op   int32
	path string // as answered, or as asked for if it was not
	data string
	// version is the one that was asked for, -1 for any.
	version               int32
	ephemeral, sequential bool
	// known says that it was answered. An answer whose err is not OK says that it
	// did not happen.
	known bool
	err   int32
	zxid  int64
	// stat is what a setData was answered.
	stat wire.Stat
	// decided is when it had happened or could not happen any more, in the time
	// of the history.
	decided int64
}

func (w *write) happened() bool { return w.known && w.err == wire.OK }

func (w *write) String() string {
	name := map[int32]string{wire.OpCreate: "create", wire.OpSetData: "set", wire.OpDelete: "delete", wire.OpCheck: "check"}[w.op]
	text := fmt.Sprintf("%s: %s %s %q version %d at %v", w.conn.Client, name, w.path, w.data, w.version, time.Duration(w.req.Sent))
	if !w.known {
		return text + ": unknown"
	}
	return text + fmt.Sprintf(": error %d, zxid %#x, at %v", w.err, w.zxid, time.Duration(w.decided))
}

// session is what is known of a session.
type session struct {
	id     int64
	client string
	// conns are its connections that were attached, in order.
	conns []*history.Connection
	// alive is the zxid of its last write that was executed.
	alive int64
	// closed is the zxid at which it was closed by its client; 0 if it was not,
	// as far as the client was told.
	closed int64
	// gone is when its client was told that it has ended.
	gone int64
}

// facts is a history, sorted.
type facts struct {
	conns    []*history.Connection
	sessions map[int64]*session
	writes   []*write
	// byPath are the writes of a path that happened, by zxid; unknown are those
	// of which nobody knows; refused are those that were answered with an error.
	byPath, unknown, refused map[string][]*write
	// byParent are the creates and deletes below a path that happened, by zxid.
	byParent map[string][]*write
}

func gather(conns []*history.Connection) *facts {
	f := &facts{
		conns: conns, sessions: map[int64]*session{},
		byPath: map[string][]*write{}, unknown: map[string][]*write{}, refused: map[string][]*write{}, byParent: map[string][]*write{},
	}
	for i, c := range conns {
		f.attach(c)
		decided := decidedAt(conns[i:])
		for _, q := range c.Requests {
			f.add(c, q, decided)
		}
	}
	for _, list := range []map[string][]*write{f.byPath, f.byParent} {
		for _, ws := range list {
			slices.SortStableFunc(ws, func(a, b *write) int { return int(max(-1, min(1, a.zxid-b.zxid))) })
		}
	}
	return f
}

func (f *facts) attach(c *history.Connection) {
	if c.Attached == 0 {
		return
	}
	if c.Session == 0 {
		if s := f.sessions[c.Asked]; s != nil {
			s.gone = c.Attached
		}
		return
	}
	s := f.sessions[c.Session]
	if s == nil {
		s = &session{id: c.Session, client: c.Client, gone: never}
		f.sessions[c.Session] = s
	}
	s.conns = append(s.conns, c)
}

// decidedAt returns when it was decided what became of the requests of conns[0]
// that were not answered: when its session was attached again, or was refused.
func decidedAt(conns []*history.Connection) int64 {
	for _, c := range conns[1:] {
		if c.Attached != 0 && c.Asked == conns[0].Session && c.Asked != 0 {
			return c.Attached
		}
	}
	return never
}

func (f *facts) add(c *history.Connection, q *history.Request, decided int64) {
	if q.Reply != nil {
		decided = q.Reply.At
	}
	s := f.sessions[c.Session]
	one := func(q *history.Request, part *history.Request) *write {
		w := &write{
			conn: c, req: q, op: part.Op, path: part.Path, data: part.Data, version: part.Version, decided: decided,
			ephemeral: part.Flags&history.Ephemeral != 0, sequential: part.Flags&history.Sequential != 0,
		}
		if w.op == wire.OpCreate2 {
			w.op = wire.OpCreate
		}
		if q.Reply != nil {
			w.known, w.err, w.zxid, w.stat = true, q.Reply.Err, q.Reply.Zxid, q.Reply.Stat
			if w.op == wire.OpCreate && w.err == wire.OK {
				w.path = q.Reply.Path
			}
		}
		return w
	}
	switch q.Op {
	case wire.OpCloseSession:
		if s != nil && q.Reply != nil && q.Reply.Err == wire.OK {
			s.closed, s.gone = q.Reply.Zxid, q.Reply.At
		}
	case wire.OpCreate, wire.OpCreate2, wire.OpSetData, wire.OpDelete:
		f.note(s, one(q, q))
	case wire.OpMulti:
		failed := -1
		if q.Reply != nil {
			failed = slices.IndexFunc(q.Reply.Results, func(r wire.MultiResult) bool {
				return r.Type == wire.OpError && r.Err != wire.OK && r.Err != wire.RuntimeInconsistency
			})
		}
		for i := range q.Parts {
			w := one(q, &q.Parts[i])
			switch {
			case q.Reply == nil:
			case q.Reply.Err != wire.OK && len(q.Reply.Results) == 0:
				w.err = q.Reply.Err
			case failed == i:
				w.err = q.Reply.Results[i].Err
			case failed >= 0:
				w.err = wire.RuntimeInconsistency // another part failed
			case i < len(q.Reply.Results):
				w.err, w.stat, w.path = wire.OK, q.Reply.Results[i].Stat, q.Parts[i].Path
				if w.op == wire.OpCreate {
					w.path = q.Reply.Results[i].Path
				}
			}
			f.note(s, w)
		}
	}
}

func (f *facts) note(s *session, w *write) {
	f.writes = append(f.writes, w)
	if w.happened() && s != nil {
		s.alive = max(s.alive, w.zxid)
	}
	if w.op == wire.OpCheck {
		return
	}
	switch {
	case !w.known:
		f.unknown[w.path] = append(f.unknown[w.path], w)
	case w.err != wire.OK:
		f.refused[w.path] = append(f.refused[w.path], w)
	default:
		f.byPath[w.path] = append(f.byPath[w.path], w)
		if w.op != wire.OpSetData {
			f.byParent[parent(w.path)] = append(f.byParent[parent(w.path)], w)
		}
	}
}

func parent(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return "/"
}

// between returns the first write of ws with a zxid in (after, upTo], nil if
// there is none.
func between(ws []*write, after, upTo int64) *write {
	i, _ := slices.BinarySearchFunc(ws, after+1, func(w *write, z int64) int { return int(max(-1, min(1, w.zxid-z))) })
	if i < len(ws) && ws[i].zxid <= upTo {
		return ws[i]
	}
	return nil
}

// last returns the last write of ws with a zxid of at most upTo, nil if there is
// none.
func last(ws []*write, upTo int64) *write {
	i, _ := slices.BinarySearchFunc(ws, upTo+1, func(w *write, z int64) int { return int(max(-1, min(1, w.zxid-z))) })
	if i == 0 {
		return nil
	}
	return ws[i-1]
}
