package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/faults/history"
)

// watch waits for a change of a node (of its children) after a zxid.
type watch struct {
	path     string
	children bool
	zxid     int64
	// pending says that it is being set again, on a new connection; absent, that
	// it was left where no node was.
	pending, absent bool
}

// watcher follows the watches of one connection.
type watcher struct {
	f       *facts
	c       *history.Connection
	watches []*watch
	seen    int64 // the highest zxid that an answer has shown
	out     []Violation
}

// Watches judges every connection's watches.
func Watches(conns []*history.Connection) []Violation {
	f := gather(conns)
	var out []Violation
	for _, id := range sortedSessions(f) {
		seen := int64(0)
		for _, c := range f.sessions[id].conns {
			w := &watcher{f: f, c: c, seen: seen}
			w.follow()
			seen = w.seen
			out = append(out, w.out...)
		}
	}
	return out
}

func (w *watcher) fail(at int64, format string, args ...any) {
	w.out = append(w.out, Violation{"watches", at, fmt.Sprintf("%s on %s: ", w.c.Client, w.c.Member) + fmt.Sprintf(format, args...)})
}

func (w *watcher) follow() {
	again := 0 // up to which request setWatches was looked for
	for _, r := range w.c.Received {
		at := r.Event.At
		if r.Answered >= 0 {
			at = w.c.Requests[r.Answered].Reply.At
		}
		for ; again < len(w.c.Requests) && w.c.Requests[again].Sent <= at; again++ {
			w.rewatch(w.c.Requests[again])
		}
		if r.Answered < 0 {
			w.event(r.Event)
			continue
		}
		w.answer(w.c.Requests[r.Answered])
	}
}

func (w *watcher) changes(o *watch) []*write {
	if o.children {
		return w.f.byParent[o.path]
	}
	return w.f.byPath[o.path]
}

// rewatch is for watches of earlier connections.
func (w *watcher) rewatch(q *history.Request) {
	for i, paths := range q.Watches {
		for _, path := range paths {
			w.watches = append(w.watches, &watch{path: path, children: i == 2, zxid: q.Relative, pending: true, absent: i == 1})
		}
	}
}

func (w *watcher) answer(q *history.Request) {
	if q.Op == wire.OpPing || q.Op == wire.OpAuth {
		return
	}
	zxid := q.Reply.Zxid
	for _, o := range w.watches {
		if o.pending {
			continue
		}
		if c := between(w.changes(o), o.zxid, zxid); c != nil {
			w.fail(q.Reply.At, "the answer to request %d shows zxid %#x, and the watch of %s, left at zxid %#x, has not fired for %v", q.Xid, zxid, o.path, o.zxid, c)
			o.zxid = zxid // once is enough
		}
	}
	w.seen = max(w.seen, zxid)
	switch q.Op {
	case wire.OpSetWatches, wire.OpSetWatches2:
		w.rewatched(q)
	case wire.OpGetData, wire.OpExists, wire.OpGetChildren, wire.OpGetChildren2:
		children := q.Op == wire.OpGetChildren || q.Op == wire.OpGetChildren2
		if !q.Watch || q.Reply.Err != wire.OK && (q.Op != wire.OpExists || q.Reply.Err != wire.NoNode) {
			return
		}
		for _, o := range w.watches {
			if o.path == q.Path && o.children == children && !o.pending {
				return // a server has one for both
			}
		}
		w.watches = append(w.watches, &watch{path: q.Path, children: children, zxid: zxid})
	}
}

// rewatched judges the watches that are set again and have raised no event.
func (w *watcher) rewatched(q *history.Request) {
	for _, o := range w.watches {
		if !o.pending || o.zxid != q.Relative {
			continue
		}
		// A node that came and went meanwhile leaves no trace where none was.
		if c := between(w.changes(o), o.zxid, q.Reply.Zxid); c != nil && !o.absent {
			w.fail(q.Reply.At, "the watch of %s was set again at zxid %#x, and has not fired for %v", o.path, q.Reply.Zxid, c)
		}
		o.pending, o.zxid = false, q.Reply.Zxid
	}
	w.merge()
}

// merge keeps one watch of each kind for a node.
func (w *watcher) merge() {
	seen := map[string]bool{}
	w.watches = slices.DeleteFunc(w.watches, func(o *watch) bool {
		key := fmt.Sprint(o.path, o.children, o.pending)
		dup := seen[key]
		seen[key] = true
		return dup
	})
}

func (w *watcher) event(e history.Event) {
	if e.Type <= 0 {
		return
	}
	if e.Zxid > 0 && e.Zxid <= w.seen {
		w.fail(e.At, "event %d of %s, zxid %#x, comes after an answer that shows %#x", e.Type, e.Path, e.Zxid, w.seen)
	}
	concerned := func(o *watch) bool {
		return o.path == e.Path && !(e.Type == history.ChildrenChanged && !o.children || (e.Type == history.Created || e.Type == history.DataChanged) && o.children)
	}
	// An event of the past is raised by setWatches, for what it sets again; any
	// other one by a watch that was left on this connection, if there is one. The
	// other watch stays.
	pending := e.Zxid <= 0
	if !slices.ContainsFunc(w.watches, func(o *watch) bool { return concerned(o) && o.pending == pending }) {
		pending = !pending
	}
	fired := false
	w.watches = slices.DeleteFunc(w.watches, func(o *watch) bool {
		if !concerned(o) || o.pending != pending {
			return false
		}
		fired = true
		if o.pending || e.Zxid <= 0 {
			return true
		}
		changes := w.changes(o)
		if e.Zxid <= o.zxid {
			w.fail(e.At, "event %d of zxid %#x fires the watch of %s, left at zxid %#x", e.Type, e.Zxid, o.path, o.zxid)
		} else if c := between(changes, o.zxid, e.Zxid-1); c != nil && !(o.children && c.path == o.path) {
			w.fail(e.At, "event %d of zxid %#x fires the watch of %s, left at zxid %#x; the first change since is %v", e.Type, e.Zxid, o.path, o.zxid, c)
		}
		return true
	})
	if !fired && !w.asked(e) {
		w.fail(e.At, "event %d of %s, zxid %#x, and there is no watch for it", e.Type, e.Path, e.Zxid)
	}
}

// asked reports whether a watch for the event may be on its way: one was asked
// for, and the answer was not read.
func (w *watcher) asked(e history.Event) bool {
	return slices.ContainsFunc(w.c.Requests, func(q *history.Request) bool {
		return q.Watch && q.Path == e.Path && q.Reply == nil && q.Sent < e.At && !strings.HasSuffix(q.Path, "/")
	})
}
