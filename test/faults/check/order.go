package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/faults/history"
)

// Order judges what each session was answered, in the order of the answers.
func Order(conns []*history.Connection) []Violation {
	f := gather(conns)
	var out []Violation
	fail := func(at int64, format string, args ...any) {
		out = append(out, Violation{"order", at, fmt.Sprintf(format, args...)})
	}
	given := map[int64]*history.Request{}
	for _, id := range sortedSessions(f) {
		s := f.sessions[id]
		seen, wrote := int64(0), int64(0)
		for _, c := range s.conns {
			next := 0
			for _, r := range c.Received {
				if r.Answered < 0 {
					continue
				}
				q := c.Requests[r.Answered]
				if q.Op == wire.OpPing || q.Op == wire.OpAuth {
					continue // answered out of turn, and of no state
				}
				if r.Answered < next {
					fail(q.Reply.At, "%s, session %#x: request %d is answered after one that was sent later", c.Client, id, q.Xid)
				}
				if i := slices.IndexFunc(c.Requests[min(next, r.Answered):r.Answered], func(o *history.Request) bool {
					return o.Reply == nil && o.Op != wire.OpPing && o.Op != wire.OpAuth
				}); i >= 0 {
					fail(q.Reply.At, "%s, session %#x: request %d is answered, and %d, sent before it, is not", c.Client, id, q.Xid, c.Requests[next+i].Xid)
				}
				next = max(next, r.Answered+1)
				if q.Reply.Zxid < seen {
					fail(q.Reply.At, "%s, session %#x on %s: the answer to request %d shows zxid %#x, an earlier one of the session showed %#x",
						c.Client, id, c.Member, q.Xid, q.Reply.Zxid, seen)
				}
				seen = max(seen, q.Reply.Zxid)
				if isWrite(q) && q.Reply.Err == wire.OK {
					if q.Reply.Zxid <= wrote {
						fail(q.Reply.At, "%s, session %#x: write %d has zxid %#x, an earlier one had %#x", c.Client, id, q.Xid, q.Reply.Zxid, wrote)
					}
					wrote = q.Reply.Zxid
					if given[q.Reply.Zxid] != nil {
						fail(q.Reply.At, "%s, session %#x: write %d has zxid %#x, and so had another one", c.Client, id, q.Xid, q.Reply.Zxid)
					}
					given[q.Reply.Zxid] = q
				}
				if text := f.shows(q); text != "" {
					fail(q.Reply.At, "%s, session %#x on %s: %s", c.Client, id, c.Member, text)
				}
			}
		}
	}
	return out
}

func sortedSessions(f *facts) []int64 {
	var ids []int64
	for id := range f.sessions {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func isWrite(q *history.Request) bool {
	switch q.Op {
	case wire.OpCreate, wire.OpCreate2, wire.OpSetData, wire.OpDelete, wire.OpMulti, wire.OpCloseSession:
		return true
	}
	return false
}

// shows says what is wrong with what a read shows, held against what is known to
// have been there at the zxid of its answer.
func (f *facts) shows(q *history.Request) string {
	r := q.Reply
	switch q.Op {
	case wire.OpGetChildren, wire.OpGetChildren2:
		return f.showsChildren(q)
	case wire.OpGetData, wire.OpExists:
	default:
		return ""
	}
	ws := f.byPath[q.Path]
	if r.Err == wire.NoNode {
		w := last(ws, r.Zxid)
		if w != nil && w.op != wire.OpDelete && !w.ephemeral && !f.mayBeDeleted(q.Path) {
			return fmt.Sprintf("%s is not there at zxid %#x, though this has happened: %v", q.Path, r.Zxid, w)
		}
		return ""
	}
	if r.Err != wire.OK {
		return ""
	}
	if r.Stat.Mzxid > r.Zxid {
		return fmt.Sprintf("%s of zxid %#x is shown at zxid %#x", q.Path, r.Stat.Mzxid, r.Zxid)
	}
	if w := between(ws, r.Stat.Mzxid, r.Zxid); w != nil {
		return fmt.Sprintf("%s is shown at zxid %#x as it was at %#x, though this has happened: %v", q.Path, r.Zxid, r.Stat.Mzxid, w)
	}
	w := between(ws, r.Stat.Mzxid-1, r.Stat.Mzxid)
	switch {
	case q.Op == wire.OpExists:
	case w != nil && w.data != r.Data:
		return fmt.Sprintf("%s shows %q, written at zxid %#x, where this has happened: %v", q.Path, r.Data, r.Stat.Mzxid, w)
	case w == nil && !wroteIt(f.unknown[q.Path], r.Data) && strings.Count(q.Path, "/") > 1 && !f.sequentialBelow(parent(q.Path)):
		return fmt.Sprintf("%s shows %q at zxid %#x, which nobody wrote who does not know that it failed; refused were %v", q.Path, r.Data, r.Stat.Mzxid, f.refused[q.Path])
	}
	return ""
}

// sequentialBelow reports whether nodes below a path may have names that nobody
// was told.
func (f *facts) sequentialBelow(path string) bool {
	for p, ws := range f.unknown {
		if parent(p) == path && slices.ContainsFunc(ws, func(w *write) bool { return w.sequential }) {
			return true
		}
	}
	return false
}

func wroteIt(ws []*write, data string) bool {
	return slices.ContainsFunc(ws, func(w *write) bool { return w.data == data && w.op != wire.OpDelete })
}

func (f *facts) mayBeDeleted(path string) bool {
	return slices.ContainsFunc(f.unknown[path], func(w *write) bool { return w.op == wire.OpDelete })
}

func (f *facts) showsChildren(q *history.Request) string {
	if q.Reply.Err != wire.OK {
		return ""
	}
	there := map[string]bool{}
	for _, name := range q.Reply.Children {
		there[strings.TrimSuffix(q.Path, "/")+"/"+name] = true
	}
	state := map[string]*write{}
	for _, w := range f.byParent[q.Path] {
		if w.zxid > q.Reply.Zxid {
			if w.op == wire.OpCreate && state[w.path] == nil && there[w.path] && len(f.unknown[w.path]) == 0 {
				return fmt.Sprintf("%s is shown at zxid %#x, before this has happened: %v", w.path, q.Reply.Zxid, w)
			}
			continue
		}
		state[w.path] = w
	}
	for path, w := range state {
		switch {
		case len(f.unknown[path]) > 0:
		case w.op == wire.OpCreate && !there[path] && !w.ephemeral:
			return fmt.Sprintf("%s is not shown at zxid %#x, though this has happened: %v", path, q.Reply.Zxid, w)
		case w.op == wire.OpDelete && there[path]:
			return fmt.Sprintf("%s is shown at zxid %#x, though this has happened: %v", path, q.Reply.Zxid, w)
		}
	}
	return ""
}

// Expiry judges the sessions that ended without their clients' doing.
func Expiry(conns []*history.Connection) []Violation {
	f := gather(conns)
	var out []Violation
	for _, c := range f.conns {
		if c.Asked == 0 || c.Attached == 0 || c.Session != 0 {
			continue
		}
		s := f.sessions[c.Asked]
		if s == nil || s.closed != 0 {
			continue
		}
		// What was answered had been heard at some time after it was sent.
		heard, timeout := int64(0), time.Duration(0)
		for _, o := range s.conns {
			heard, timeout = max(heard, o.Opened), o.Timeout
			for _, q := range o.Requests {
				if q.Reply != nil {
					heard = max(heard, q.Sent)
				}
			}
		}
		if silence := time.Duration(c.Attached - heard); silence < timeout {
			out = append(out, Violation{"expiry", c.Attached, fmt.Sprintf("%s is told that session %#x has ended; a request of %v before was answered, its timeout is %v",
				c.Client, s.id, silence, timeout)})
		}
	}
	return out
}
