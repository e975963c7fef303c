package server

import (
	"github.com/conclave-dev/conclave/internal/tree"
)

// check holds every member to what must be true whenever nothing is under way.
func (r *rig) check() {
	r.t.Helper()
	for _, m := range r.members {
		m.checkEphemerals()
		m.checkConns()
		m.checkWatches()
	}
}

// checkEphemerals wants an owner for each ephemeral node: a session's
// ephemerals exist exactly while it does.
func (m *member) checkEphemerals() {
	t := m.srv.machine.Tree()
	owned := 0
	for owner, n := range t.EphemeralOwners() {
		if m.srv.machine.Sessions().Get(owner) == nil {
			m.rig.t.Errorf("%s: %d ephemeral nodes of session %d, which does not exist", m.name, n, owner)
		}
		for _, id := range t.Ephemerals(owner) {
			if t.Kind(id) != tree.Ephemeral || t.Owner(id) != owner || t.Find(t.Path(id)) != id {
				m.rig.t.Errorf("%s: node %s is not an ephemeral of session %d", m.name, t.Path(id), owner)
			}
			owned++
		}
	}
	if owned != t.EphemeralCount() {
		m.rig.t.Errorf("%s: %d ephemeral nodes, %d of them have an owner", m.name, t.EphemeralCount(), owned)
	}
}

// checkConns wants the server's books on its connections to be right.
func (m *member) checkConns() {
	s, t := m.srv, m.rig.t
	outstanding := 0
	for _, l := range m.links {
		c := l.c
		outstanding += c.queue.len()
		if c.queue.len() > 0 && c.phase == phaseAttached && !c.queue.front().write {
			t.Errorf("%s: the first request in the queue of session %d is %v, a read", m.name, c.session, c.queue.front().op)
		}
		if c.queue.len() > s.opt.MaxOutstanding {
			t.Errorf("%s: %d requests of session %d are outstanding", m.name, c.queue.len(), c.session)
		}
		if c.phase == phaseAttached && !c.moved && s.bySession[c.session] != c {
			t.Errorf("%s: session %d is attached through a connection that is not the session's", m.name, c.session)
		}
		if len(c.out) > 0 && !c.writing {
			t.Errorf("%s: %d bytes for session %d wait for nobody", m.name, len(c.out), c.session)
		}
	}
	if got := s.Outstanding(); got != int64(outstanding) {
		t.Errorf("%s: %d requests are outstanding by its count, %d are queued", m.name, got, outstanding)
	}
	if got := s.Connections(); got != len(m.links) {
		t.Errorf("%s: %d connections by its count, %d are open", m.name, got, len(m.links))
	}
	for id, c := range s.bySession {
		if c.session != id || s.conns.all[c.id] != c {
			t.Errorf("%s: session %d is held by a connection that is gone", m.name, id)
		}
	}
}

// checkWatches wants watches to go with their connection.
func (m *member) checkWatches() {
	for _, w := range m.srv.watches.ByWatcher(func(a, b *Conn) int { return int(a.id) - int(b.id) }) {
		if m.srv.conns.all[w.Watcher.id] != w.Watcher {
			m.rig.t.Errorf("%s: %d watches of a connection that is gone: %q", m.name, len(w.Paths), w.Paths)
		}
	}
}
