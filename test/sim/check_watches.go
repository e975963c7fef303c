package sim

import (
	"github.com/conclave-dev/conclave/internal/jute"
)

// watchKind is what a client's watch waits for.
type watchKind uint8

const (
	watchData     watchKind = iota // a node that is there
	watchAbsent                    // a node that is not there
	watchChildren                  // children of a node that is there
)

// watched is a watch that a client has, as of an answer's zxid.
type watched struct {
	path string
	kind watchKind
	zxid int64
	// pending says that it has not been set again since the last connection
	// broke.
	pending bool
}

// watch notes a watch, unless the client has the same already. A server has one
// watch for the data of a path, whether the node is there or not.
func (cl *client) watch(path string, kind watchKind, zxid int64) {
	for _, o := range cl.watches {
		if o.path == path && (o.kind == watchChildren) == (kind == watchChildren) {
			return
		}
	}
	cl.watches = append(cl.watches, &watched{path: path, kind: kind, zxid: zxid})
}

// next returns the first change that a watch waits for.
func (cl *client) next(o *watched) (change, bool) {
	t := cl.w.truth
	list := t.data[o.path]
	if o.kind == watchChildren {
		list = t.children[o.path]
	}
	for i := len(list); i > 0; i-- {
		if list[i-1].zxid <= o.zxid {
			list = list[i:]
			break
		}
	}
	if len(list) == 0 {
		return change{}, false
	}
	return list[0], true
}

// event judges an event.
func (cl *client) event(zxid int64, typ jute.EventType, path string) {
	w := cl.w
	w.stats.Events++
	w.note("%s receives %v %s zxid %#x", cl.name, typ, path, zxid)
	if zxid >= 0 && zxid <= cl.seen {
		w.violate("watch", "%s: event %v %s of zxid %#x comes after an answer that shows %#x", cl.name, typ, path, zxid, cl.seen)
	}
	if cl.lastingEvent(zxid, typ, path) {
		return
	}
	fired := false
	rest := cl.watches[:0:0]
	for _, o := range cl.watches {
		children := o.kind == watchChildren
		if o.path != path || typ == jute.EventNodeChildrenChanged && !children || typ != jute.EventNodeChildrenChanged && typ != jute.EventNodeDeleted && children {
			rest = append(rest, o)
			continue
		}
		fired = true
		if zxid < 0 {
			continue // of the past, raised by setWatches
		}
		if first, ok := cl.next(o); !ok || first.zxid != zxid || first.typ != typ {
			w.violate("watch", "%s: %v %s of zxid %#x fires a watch of zxid %#x; the first change since is %v of zxid %#x (%v)",
				cl.name, typ, path, zxid, o.zxid, first.typ, first.zxid, ok)
		}
	}
	cl.watches = rest
	if !fired {
		w.violate("watch", "%s: %v %s of zxid %#x, and no watch for it", cl.name, typ, path, zxid)
	}
}

// checkMissed judges an answer that shows zxid: no watch may be left that should
// have fired before it.
func (cl *client) checkMissed(zxid int64) {
	cl.checkLasting(zxid)
	for _, o := range cl.watches {
		if o.pending {
			continue
		}
		if first, ok := cl.next(o); ok && first.zxid <= zxid {
			cl.w.violate("watch", "%s: an answer shows zxid %#x, and %v %s of zxid %#x has not come, for a watch of zxid %#x",
				cl.name, zxid, first.typ, o.path, first.zxid, o.zxid)
		}
	}
}

// rewatch sets the session's watches again, on a new connection.
func (cl *client) rewatch() {
	if len(cl.watches) == 0 && cl.lasting == nil {
		return
	}
	op := jute.OpSetWatches
	req := jute.SetWatchesRequest{RelativeZxid: cl.seen}
	for _, o := range cl.watches {
		o.pending = true
		switch o.kind {
		case watchData:
			req.Data = append(req.Data, o.path)
		case watchAbsent:
			req.Exist = append(req.Exist, o.path)
		case watchChildren:
			req.Child = append(req.Child, o.path)
		}
	}
	if o := cl.lasting; o != nil {
		op, o.pending = jute.OpSetWatches2, true
		if o.recursive {
			req.Recurse = append(req.Recurse, o.path)
		} else {
			req.Persistent = append(req.Persistent, o.path)
		}
	}
	cl.send(&request{
		xid: jute.XidSetWatches, op: op, body: req.Append(nil, op),
		what: "set watches", relative: cl.seen,
	})
}

// rewatched judges which watches setWatches has not raised an event for.
func (cl *client) rewatched(q *request, zxid int64) {
	if o := cl.lasting; o != nil && o.pending {
		cl.setLasting(o, zxid)
	}
	for _, o := range cl.watches {
		if !o.pending {
			continue
		}
		o.pending = false
		if o.kind == watchAbsent {
			// Created and deleted meanwhile: nobody can tell.
			o.zxid = zxid
			continue
		}
		o.zxid = q.relative
		if first, ok := cl.next(o); ok && first.zxid <= zxid {
			cl.w.violate("watch", "%s: its watch of %s was set again at zxid %#x without an event for %v of zxid %#x",
				cl.name, o.path, zxid, first.typ, first.zxid)
		}
		o.zxid = zxid
	}
}
