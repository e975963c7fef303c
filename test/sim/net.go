package sim

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// network is what lies between the members. Messages are packets: each may be
// late, lost, doubled or overtaken.
type network struct {
	w *World
	// weather: one message in loss is lost, one in dup doubled, 0 for none.
	loss, dup int
	jitter    time.Duration
	reorder   bool
	// cuts say until when nothing goes from a member to another, by their
	// places.
	cuts map[[2]int]time.Duration
	last map[[2]int]time.Duration // arrival of the last message, where order is kept
}

func (n *network) init(w *World) {
	n.w = w
	n.cuts, n.last = make(map[[2]int]time.Duration), make(map[[2]int]time.Duration)
	n.calm()
}

func (n *network) calm() {
	n.loss, n.dup, n.jitter, n.reorder = 0, 0, time.Millisecond, false
	clear(n.cuts)
}

func (n *network) isCut(from, to int) bool { return n.cuts[[2]int{from, to}] > n.w.now }

// cut stops what goes from a member to another, for d.
func (n *network) cut(from, to int, d time.Duration) {
	key := [2]int{from, to}
	n.cuts[key] = max(n.cuts[key], n.w.now+d)
}

// send takes a message to a member's process, if there is one under the id that
// it is for when the message arrives. It reports whether it is on its way.
func (n *network) send(p *process, to uint64, deliver func(q *process)) bool {
	w := n.w
	m := w.memberByID(to)
	if m == nil {
		return false
	}
	if n.isCut(p.m.place, m.place) || n.loss > 0 && w.chance(n.loss) {
		if w.chance(2) {
			// The sender's transport has noticed.
			p.after(w.between(0, 5*time.Millisecond), func() { p.node.Unreachable(to) })
		}
		return true
	}
	copies := 1
	if n.dup > 0 && w.chance(n.dup) {
		copies = 2
	}
	for range copies {
		at := w.now + 100*time.Microsecond + w.between(0, n.jitter)
		key := [2]int{p.m.place, m.place}
		if !n.reorder {
			at = max(at, n.last[key])
			n.last[key] = at
		}
		w.at(at, func() {
			if q := m.proc; q != nil && q.alive && m.id == to {
				q.step(func() { deliver(q) })
			}
		})
	}
	return true
}

// transport is the network as one process sees it.
type transport struct{ p *process }

func (t transport) Send(msgs []*raftpb.Message) {
	if !t.p.alive {
		return
	}
	for _, m := range msgs {
		if t.p.w.opt.Bug == bugMute && t.p.w.mended && m.GetType() == raftpb.MsgAppResp {
			continue
		}
		b, err := proto.Marshal(m)
		if err != nil {
			panic(err)
		}
		t.p.w.net.send(t.p, m.GetTo(), func(q *process) {
			var m raftpb.Message
			if err := proto.Unmarshal(b, &m); err != nil {
				panic(err)
			}
			q.node.Step(&m)
		})
	}
}

func (t transport) Forward(to uint64, batch []byte) bool {
	if !t.p.alive {
		return false
	}
	b, from := slices.Clone(batch), t.p.m.id
	if t.p.w.opt.Bug == bugRenumber {
		b = renumber(t.p, b)
	}
	return t.p.w.net.send(t.p, to, func(q *process) { q.node.Forwarded(from, b) })
}

func (t transport) Report(to uint64, payload []byte) bool {
	if !t.p.alive {
		return false
	}
	b, from := slices.Clone(payload), t.p.m.id
	if t.p.w.opt.Bug == bugSilentReports {
		return true
	}
	return t.p.w.net.send(t.p, to, func(q *process) { q.srv.Report(from, b) })
}

var (
	errPeerAway = errors.New("sim: the peer can't be reached")
	errTimeout  = errors.New("sim: the peer did not answer in time")
)

// snapshotTime is how long the sender of a snapshot waits for an answer.
const snapshotTime = 5 * time.Second

// SendSnapshot runs in a coroutine, and pauses until the receiver has taken all
// of it or time is up.
func (t transport) SendSnapshot(to uint64, msg *raftpb.Message, body io.Reader) error {
	p, w := t.p, t.p.w
	c := w.running
	content, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	header, err := proto.Marshal(msg)
	if err != nil {
		return err
	}
	answered := false
	answer := func(e error) {
		if !answered {
			answered, err = true, e
			p.wake(c, 0)
		}
	}
	sent := w.net.send(p, to, func(q *process) {
		var m raftpb.Message
		if err := proto.Unmarshal(header, &m); err != nil {
			panic(err)
		}
		w.stats.Snapshots++
		w.note("%s receives a snapshot of %d bytes from %s", q.m.name, len(content), p.m.name)
		r := q.spawn(func() {
			e := q.node.ReceiveSnapshot(&m, bytes.NewReader(content))
			if q.alive {
				w.net.send(q, p.m.id, func(*process) { answer(e) })
			}
		})
		q.wake(r, 0)
	})
	if !sent {
		return errPeerAway
	}
	p.after(snapshotTime, func() { answer(errTimeout) })
	for !answered {
		if c.pause(); !p.alive {
			return errGone
		}
	}
	return err
}

func (t transport) SetPeers(map[uint64]string) {}

// tellPeers tells of p's process what the others' transports notice: that it has
// come, or that it has gone.
func (w *World) tellPeers(p *process, gone bool) {
	id := p.m.id
	for _, m := range w.members {
		q := m.proc
		if q == nil || q == p || !q.alive || w.net.isCut(m.place, p.m.place) || w.net.isCut(p.m.place, m.place) {
			continue
		}
		d := w.between(0, 20*time.Millisecond)
		if gone {
			refused := !w.chance(4)
			q.after(d, func() { q.node.PeerLost(id, refused) })
			continue
		}
		q.after(d, func() { q.node.PeerConnected(id) })
		other := m.id
		p.after(d, func() { p.node.PeerConnected(other) })
	}
}
