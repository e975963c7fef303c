package server

import (
	"maps"
	"time"

	"github.com/conclave-dev/conclave/internal/roster"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/tree"
)

// mirror is somebody who follows the sessions of the ensemble, from leader to
// leader.
type mirror struct {
	srv      *Server // that it reads from
	rd       *roster.Reader
	whole    bool // it has read a snapshot of this reader
	sessions map[int64]roster.Session
	nodes    map[string]roster.Ephemeral
	place    roster.Position
	zxid     int64
}

// follow lets the mirror read on; at most so many batches.
func (x *chaos) follow(batches int) {
	m := &x.mirror
	if m.srv != x.r.leader.srv && m.rd != nil { // it has crashed, or its stream is cut
		m.rd.Close()
		m.rd, m.whole = nil, false
	}
	if m.rd == nil {
		m.srv = x.r.leader.srv
		rd, err := x.r.leader.srv.FollowSessions(m.place)
		if err != nil {
			return // it does not lead yet
		}
		m.rd = rd
	}
	for range batches {
		b, err := m.rd.Next(1 + x.rng.IntN(8))
		if err != nil {
			m.rd.Close()
			m.rd, m.whole = nil, false
			return
		}
		if b == nil {
			return
		}
		m.take(x, b)
	}
}

func (m *mirror) take(x *chaos, b *roster.Batch) {
	if b.First {
		m.sessions, m.nodes, m.zxid = map[int64]roster.Session{}, map[string]roster.Ephemeral{}, 0
	}
	if b.Position.Reign != 0 {
		if b.Zxid < m.zxid {
			x.t.Errorf("the zxid that was told fell from %#x to %#x", m.zxid, b.Zxid)
		}
		m.place, m.zxid, m.whole = b.Position, b.Zxid, true
	}
	for _, s := range b.Sessions {
		m.sessions[s.ID] = s
	}
	for _, e := range b.Nodes {
		m.nodes[e.Path] = *e
	}
	for _, c := range b.Changes {
		switch {
		case c.Session != nil:
			m.sessions[c.Session.ID] = *c.Session
		case c.End != nil:
			delete(m.sessions, c.End.Session.ID)
			for p, e := range m.nodes {
				if e.Session == c.End.Session.ID {
					x.t.Errorf("session %#x has ended, and %s is still told as its own", e.Session, p)
				}
			}
		case c.Node != nil:
			m.nodes[c.Node.Path] = *c.Node
		case c.Gone != nil:
			if m.nodes[c.Gone.Path].Czxid != c.Gone.Czxid {
				x.t.Errorf("%s of %#x is told to be gone, and the one of %#x was there", c.Gone.Path, c.Gone.Czxid, m.nodes[c.Gone.Path].Czxid)
			}
			delete(m.nodes, c.Gone.Path)
		}
	}
}

// checkMirror compares, once all is quiet, what was told with what is so.
func (x *chaos) checkMirror() {
	r := x.r
	// As long as it takes for lost reports to be made good.
	x.pass(fullEvery + 2*time.Second)
	r.commit()
	x.follow(1000)
	x.follow(1000) // if the reader was one of a leader before
	m := &x.mirror
	if m.rd == nil || !m.whole {
		x.t.Error("the new leader does not tell of its sessions")
		return
	}
	nodes, sessions := map[string]roster.Ephemeral{}, map[int64]roster.State{}
	r.leader.srv.View(func(sm *statemachine.Machine) {
		for _, s := range sm.Sessions().Sorted() {
			sessions[s.ID] = roster.Connecting
			for _, o := range r.members {
				if c := o.srv.bySession[s.ID]; c != nil && c.phase == phaseAttached && !c.moved && c.epoch == s.Epoch && o.id == s.Member {
					sessions[s.ID] = roster.Connected
				}
			}
			for _, id := range sm.Tree().Ephemerals(s.ID) {
				if sm.Tree().Kind(id) != tree.Ephemeral {
					x.t.Errorf("%s is not ephemeral", sm.Tree().Path(id))
				}
				e := ephemeral(sm.Tree(), id, sm.Tree().Path(id))
				nodes[e.Path] = e
			}
		}
	})
	told := map[int64]roster.State{}
	for id, s := range m.sessions {
		told[id] = s.State
	}
	if !maps.Equal(told, sessions) {
		x.t.Errorf("sessions are told as %v, and are %v", told, sessions)
	}
	if !maps.Equal(m.nodes, nodes) {
		x.t.Errorf("ephemerals are told as %v, and are %v", m.nodes, nodes)
	}
}
