package sim

import (
	"slices"
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
)

// answered judges what a client is told in answer to a request.
func (t *truth) answered(cl *client, q *request, h jute.ReplyHeader, d *jute.Decoder) {
	w := t.w
	cl.answered = append(cl.answered, q.heardAt)
	if q.op == jute.OpAuth {
		if h.Err != jute.OK {
			w.violate("acl", "%s has proven who it is, and is told %v", cl.name, h.Err)
		}
		return // answered at once; it shows nothing
	}
	if h.Zxid < cl.seen {
		w.violate("order", "%s: the answer to %v shows zxid %#x, an earlier one showed %#x", cl.name, q.what, h.Zxid, cl.seen)
	}
	cl.seen = max(cl.seen, h.Zxid)
	cl.lastZxid = max(cl.lastZxid, h.Zxid)
	cl.checkMissed(h.Zxid)
	switch q.op {
	case jute.OpPing:
	case jute.OpSync:
		if h.Zxid < q.after {
			w.violate("order", "%s: a sync shows zxid %#x, and %#x was acknowledged before it was sent", cl.name, h.Zxid, q.after)
		}
	case jute.OpSetWatches, jute.OpSetWatches2:
		cl.rewatched(q, h.Zxid)
	case jute.OpAddWatch:
		if h.Err != jute.OK {
			w.violate("persistent", "%s: %s: %v", cl.name, q.what, h.Err)
		}
		cl.setLasting(q.lasting, h.Zxid)
	case jute.OpGetData, jute.OpExists, jute.OpGetChildren2:
		w.stats.Reads++
		t.checkRead(cl, q, h, d)
	default:
		w.stats.Writes++
		t.checkWrite(cl, q, h, d)
	}
}

func (t *truth) checkWrite(cl *client, q *request, h jute.ReplyHeader, d *jute.Decoder) {
	w := t.w
	o := t.outcomes[h.Zxid]
	switch {
	case o == nil:
		w.violate("lost", "%s is told that %s has zxid %#x, and nothing has", cl.name, q.what, h.Zxid)
		return
	case o.session != cl.session || o.op != q.op || o.body != string(q.body) || o.err != h.Err:
		w.violate("lost", "%s is told %v for %s at zxid %#x, where %v of session %#x was executed: %v", cl.name, h.Err, q.what, h.Zxid, o.op, o.session, o.err)
		return
	case o.told:
		w.violate("doubled", "%s is told a second time that zxid %#x is its request's: %s", cl.name, h.Zxid, q.what)
	case h.Zxid <= q.after:
		w.violate("order", "%s: %s has zxid %#x, and %#x was acknowledged before it was sent", cl.name, q.what, h.Zxid, q.after)
	}
	o.told = true
	t.acknowledged = max(t.acknowledged, h.Zxid)
	if h.Err != jute.OK {
		return
	}
	var path string
	var st jute.Stat
	switch q.op {
	case jute.OpCreate2, jute.OpCreateContainer, jute.OpCreateTTL:
		path = d.String()
		st.Decode(d)
	case jute.OpSetData:
		st.Decode(d)
	default:
		return
	}
	if path != o.path || st != o.stat {
		w.violate("order", "%s is told %q, %+v for %s; executed was %q, %+v", cl.name, path, st, q.what, o.path, o.stat)
	}
	if q.ephemeral {
		t.owned = append(t.owned, owned{path: strings.Clone(path), session: cl.session, czxid: h.Zxid})
		t.checkOwned()
	}
}

// checkRead holds what a read shows against what was there at its zxid, and
// notes the watch that it has left.
func (t *truth) checkRead(cl *client, q *request, h jute.ReplyHeader, d *jute.Decoder) {
	w := t.w
	want := t.nodeAt(q.path, h.Zxid)
	if denied := want.exists && want.locked && q.op != jute.OpExists && !cl.locksmith; denied != (h.Err == jute.ErrNoAuth) {
		w.violate("acl", "%s: %s at zxid %#x is answered with %v (locked: %v, has the key: %v)", cl.name, q.what, h.Zxid, h.Err, want.locked, cl.locksmith)
		return
	} else if denied {
		return
	}
	got := nodeState{zxid: want.zxid, exists: h.Err == jute.OK, locked: want.locked, data: want.data, children: want.children}
	if got.exists {
		switch q.op {
		case jute.OpGetData:
			got.data = string(d.Buffer())
		case jute.OpGetChildren2:
			var names []string
			for range d.Count(4) {
				names = append(names, strings.Clone(d.String()))
			}
			slices.Sort(names)
			got.children = strings.Join(names, " ")
		}
		got.stat.Decode(d)
	}
	if got != want || d.Err() != nil {
		w.violate("read", "%s: %s at zxid %#x shows %+v (%v); it should be %+v", cl.name, q.what, h.Zxid, got, h.Err, want)
		return
	}
	if !q.watch {
		return
	}
	switch {
	case q.op == jute.OpGetChildren2 && got.exists:
		cl.watch(q.path, watchChildren, h.Zxid)
	case q.op == jute.OpExists && !got.exists:
		cl.watch(q.path, watchAbsent, h.Zxid)
	case q.op != jute.OpGetChildren2 && got.exists:
		cl.watch(q.path, watchData, h.Zxid)
	}
}
