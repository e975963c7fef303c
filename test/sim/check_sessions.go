package sim

import (
	"slices"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/tree"
)

// checkOwned judges the ephemeral nodes that clients were told of: each is there
// while its session is, unless a client has deleted it, and goes with it.
func (t *truth) checkOwned() {
	t.owned = slices.DeleteFunc(t.owned, func(o owned) bool {
		tr := t.machine.Tree()
		there := false
		if id := tr.Find(o.path); id != tree.None {
			var st jute.Stat
			tr.Stat(id, &st)
			there = st.Czxid == o.czxid
		}
		alive := t.machine.Sessions().Get(o.session) != nil
		switch {
		case alive && !there && t.deletedByClient[o.path] <= o.czxid:
			t.w.violate("ephemeral", "%s of session %#x, created at zxid %#x, is gone; the session lives, and nobody has deleted it", o.path, o.session, o.czxid)
		case !alive && there:
			t.w.violate("ephemeral", "%s of session %#x, created at zxid %#x, is still there; the session has ended", o.path, o.session, o.czxid)
		}
		return !alive || !there
	})
}

// checkExpiry judges that a session has expired. No server may have heard from its
// client within the timeout before that was proposed, in what its client was then
// answered; nor may the client have come back since; and for as long the leader's
// clocks must have been running, which start again after whatever made the ensemble
// deaf.
func (t *truth) checkExpiry(id int64, timeout time.Duration) {
	pr, ok := t.proposals[expiryOf{id, t.named[id]}]
	if !ok {
		t.w.violate("expiry", "session %#x has expired, and no leader has proposed that", id)
		return
	}
	proposed := pr.at
	if at := t.attachedAt[id]; at > proposed {
		t.w.violate("expiry", "session %#x expires: proposed at %s, and its client has come back at %s", id, stamp(proposed), stamp(at))
	}
	if proposed-pr.since < timeout {
		t.w.violate("expiry", "session %#x expires: proposed at %s, timeout %v, by a leader that has been deaf until %s", id, stamp(proposed), timeout, stamp(pr.since))
	}
	for _, cl := range t.w.clients {
		if cl.session != id {
			continue
		}
		if !cl.closing {
			t.w.stats.Bereft++
		}
		last := time.Duration(0)
		for _, heard := range cl.answered {
			if heard <= proposed {
				last = max(last, heard)
			}
		}
		if last != 0 && proposed-last < timeout {
			t.w.violate("expiry", "session %#x of %s expires: proposed at %s, timeout %v; a request that a server had at %s was answered",
				id, cl.name, stamp(proposed), timeout, stamp(last))
		}
	}
}

// conclude judges the end, after everything was mended and went on for a while:
// then there is one leader, everybody is there, and all have the same.
func (w *World) conclude() {
	if w.violation != nil {
		return
	}
	w.quiet = true
	w.runUntil(w.now + 5*time.Second)
	if w.leader() == nil {
		w.violate("live", "nobody leads")
	}
	for _, m := range w.members {
		if m.proc == nil {
			w.violate("live", "%s does not run", m.name)
			return
		}
		if got := m.proc.node.Applied(); got != w.truth.index {
			w.violate("live", "%s has applied up to %d, the log ends at %d", m.name, got, w.truth.index)
		}
		m.proc.guard(func() { (&app{Server: m.proc.srv, p: m.proc}).compare() })
	}
	for _, cl := range w.clients {
		if cl.conn == nil || cl.session == 0 {
			w.violate("live", "%s has no session", cl.name)
		}
		for _, q := range cl.owed {
			if q.xid > 0 {
				w.violate("live", "%s waits for an answer to %s", cl.name, q.what)
			}
		}
	}
	w.truth.checkReaped()
	w.note("the end: %d entries, zxid %#x", w.truth.index, w.truth.machine.Zxid())
}
