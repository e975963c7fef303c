package sim

import (
	"time"

	"github.com/conclave-dev/conclave/internal/storage"
)

// handOverBound is within how long leadership is gone from a member whose log's
// disk does not answer, if nothing else is wrong: something has to be written,
// two election timeouts must have passed since, and a third is for another to
// take over.
const handOverBound = 200*time.Millisecond + 3*electionTicks*tick

// expectHandOver judges whether m, whose log's disk hangs from now on, is rid of
// its leadership in time. If anything else has been wrong meanwhile nobody can say.
func (w *World) expectHandOver(m *member) {
	p, began := m.proc, w.now
	if p == nil || !p.node.Role().IsLeader || len(w.members) < 3 || !w.undisturbed(m, began) {
		return
	}
	w.after(handOverBound, func() {
		if m.proc != p || !w.undisturbed(m, began) || !p.node.Role().IsLeader {
			return
		}
		w.violate("stall", "%s still leads, %v after the disk of its log has ceased to answer", m.name, w.now-began)
	})
}

// undisturbed reports whether since a moment everybody but m has been well.
func (w *World) undisturbed(m *member, since time.Duration) bool {
	if w.troubledUntil > since || w.net.loss > 0 || w.net.jitter > time.Millisecond {
		return false
	}
	for _, o := range w.members {
		if o == m {
			continue
		}
		if o.proc == nil || o.disk.hungUntil[storage.LogDisk] > since-time.Second || !o.isVoter() {
			return false
		}
	}
	return true
}

// isVoter reports whether the member votes, as far as it knows itself.
func (m *member) isVoter() bool {
	self, ok := m.proc.node.Members().Get(m.id)
	return ok && self.Voter
}
