package sim

import (
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
)

// lasting is a persistent watch that a client has: it fires for each change, in
// order, and stays.
type lasting struct {
	path      string
	recursive bool
	// pos is which of the changes that it covers is the next to be told.
	pos int
	// pending says that it has not been set again since the last connection broke.
	pending bool
}

// told is a change as the watchers of a path, or of everything below it, are told
// of it.
type told struct {
	zxid int64
	typ  jute.EventType
	path string
}

// Where persistent watches are, and nobody has others: two watches of a client that
// a change fires both are one event.
const (
	lastingRoot = "/p"
	lastingNode = "/p/a"
)

// tell notes a change for those who have persistent watches.
func (t *truth) tell(zxid int64, typ jute.EventType, path string) {
	c := told{zxid, typ, path}
	if path == lastingRoot || strings.HasPrefix(path, lastingRoot+"/") {
		if typ != jute.EventNodeChildrenChanged {
			t.below = append(t.below, c)
		}
		if path == lastingNode {
			t.there = append(t.there, c)
		}
	}
}

func (t *truth) changesFor(o *lasting) []told {
	if o.recursive {
		return t.below
	}
	return t.there
}

// setLasting notes that a persistent watch was set as of zxid: it fires for what
// changes after that.
func (cl *client) setLasting(o *lasting, zxid int64) {
	list := cl.w.truth.changesFor(o)
	o.pos, o.pending = len(list), false
	for o.pos > 0 && list[o.pos-1].zxid > zxid {
		o.pos--
	}
	cl.lasting = o
}

// lastingEvent judges an event where persistent watches are. It reports false if
// it is another's.
func (cl *client) lastingEvent(zxid int64, typ jute.EventType, path string) bool {
	if path != lastingRoot && !strings.HasPrefix(path, lastingRoot+"/") {
		return false
	}
	w, o := cl.w, cl.lasting
	if o == nil || o.pending {
		w.violate("persistent", "%s: %v %s of zxid %#x, and no watch for it", cl.name, typ, path, zxid)
		return true
	}
	got := told{zxid, typ, path}
	if list := w.truth.changesFor(o); o.pos >= len(list) || list[o.pos] != got {
		var want []told
		if o.pos < len(list) {
			want = list[o.pos : o.pos+1]
		}
		w.violate("persistent", "%s: %v %s of zxid %#x; the next change that its watch of %s covers is %v", cl.name, typ, path, zxid, o.path, want)
		return true
	}
	o.pos++
	return true
}

// checkLasting judges an answer that shows zxid: every change up to it has been
// told.
func (cl *client) checkLasting(zxid int64) {
	o := cl.lasting
	if o == nil || o.pending {
		return
	}
	if list := cl.w.truth.changesFor(o); o.pos < len(list) && list[o.pos].zxid <= zxid {
		cl.w.violate("persistent", "%s: an answer shows zxid %#x, and its watch of %s has not fired for %v", cl.name, zxid, o.path, list[o.pos])
	}
}
