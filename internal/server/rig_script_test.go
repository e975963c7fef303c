package server

import (
	"bytes"
	"cmp"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/session"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/tree"
)

// script runs the transcripts of testdata. A directive is one command or
// several, one a line; what is shown is what clients saw meanwhile, client by
// client. testdata/README explains the commands.
type script struct {
	r       *rig
	options func(*Options)
	ids     *orderly
	snap    *statemachine.Snapshot // begun and not ended,
	snapAt  int                    // at this index
}

func runScripts(t *testing.T, dir string) {
	datadriven.Walk(t, "testdata/"+dir, func(t *testing.T, file string) {
		s := &script{ids: newOrderly(t)}
		datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
			lines := []string{d.Cmd}
			for _, a := range d.CmdArgs {
				lines[0] += " " + a.String()
			}
			if d.Input != "" {
				lines = append(lines, strings.Split(d.Input, "\n")...)
			}
			var out []string
			for _, line := range lines {
				if fields := strings.Fields(line); len(fields) > 0 {
					out = append(out, s.run(t, fields)...)
				}
			}
			return strings.Join(out, "\n")
		})
	})
}

func (s *script) run(t *testing.T, fields []string) []string {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(fields, " "), p, debug.Stack())
		}
	}()
	if fields[0] == "ensemble" {
		w := parseWords(fields[1:])
		s.options = func(o *Options) { configure(o, &w) }
		n := 3
		fmt.Sscan(w.at(0), &n)
		s.ids.ids = 0
		s.r = newRig(t, n, s.options)
		s.r.commit()
		return s.r.show()
	}
	s.r.t = t
	if out, ok := s.look(fields); ok {
		return out
	}
	s.act(fields)
	return s.r.show()
}

func configure(o *Options, w *words) {
	o.MaxOutstanding = int(w.int("maxOutstanding", int64(o.MaxOutstanding)))
	o.MaxUnsent = int(w.int("maxUnsent", int64(o.MaxUnsent)))
	o.MaxBuffer = int(w.int("maxBuffer", int64(o.MaxBuffer)))
	o.GlobalOutstanding = int(w.int("globalOutstanding", 0))
	o.MaxHandshakes = int(w.int("maxHandshakes", 0))
	o.MaxConns = int(w.int("maxConns", 0))
	o.MaxConnsPerIP = int(w.int("maxConnsPerIP", 0))
	o.ElectionTime = time.Duration(w.int("electionTime", 0)) * time.Millisecond
	o.ContainerNeverUsed = time.Duration(w.int("neverUsed", 0)) * time.Millisecond
	o.ContainerPerMinute = int(w.int("reapPerMinute", int64(o.ContainerPerMinute)))
	o.EnforceQuota = !w.has("noQuota")
	o.ExtendedTypes = !w.has("noTTL")
	o.SkipACL = w.has("skipACL")
}

// show returns what clients saw since the last time.
func (r *rig) show() []string {
	out := r.lines
	r.lines = nil
	// What one client sees has an order; what two see has none.
	rank := func(line string) int {
		name, _, _ := strings.Cut(line, " ")
		return slices.IndexFunc(r.clients, func(c *client) bool { return c.name == name })
	}
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}

func (s *script) member(name string) *member {
	i := slices.IndexFunc(s.r.members, func(m *member) bool { return m.name == name })
	if i < 0 {
		panic("there is no member " + name)
	}
	return s.r.members[i]
}

func (s *script) client(name string) *client {
	c := s.r.client(name)
	if c == nil {
		panic("there is no client " + name)
	}
	return c
}

func duration(v string) time.Duration {
	d, err := time.ParseDuration(v)
	if err != nil {
		panic(err)
	}
	return d
}

// act runs a command that changes something.
func (s *script) act(fields []string) {
	r := s.r
	w := parseWords(fields[1:])
	if _, ok := opsByName[fields[0]]; ok {
		s.client(w.at(0)).send(parseRequest(s.client(w.at(0)), append([]string{fields[0]}, fields[2:]...)))
		r.commit()
		return
	}
	switch fields[0] {
	case "connect", "move":
		s.connect(fields)
	case "dial": // a connection, and nothing said
		c := r.newClient(w.at(0))
		c.reset(s.member(w.at(1)).dial())
		r.settle()
	case "send": // requests in one packet, not committed
		c := s.client(w.at(0))
		c.send(parseRequests(c, fields[2:])...)
		r.settle()
	case "dribble": // requests byte by byte
		c := s.client(w.at(0))
		l := c.link
		c.send(parseRequests(c, fields[2:])...)
		rest := l.socket
		l.socket = nil
		for i := range rest {
			l.socket = append(l.socket, rest[i])
			r.settle()
		}
		r.commit()
	case "raw": // a frame's length, and nothing else
		n := uint32(w.int("length", 0))
		s.client(w.at(0)).write(append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, w.data(w.kv["data"])...))
		r.commit()
	case "commit":
		r.commit()
	case "commit-once":
		r.commitOnce()
		r.settle()
	case "lose": // the TCP connection breaks
		c := s.client(w.at(0))
		c.link.hangUp()
		c.link = nil
		r.settle()
	case "slow":
		s.client(w.at(0)).link.stuff()
	case "read":
		if l := s.client(w.at(0)).link; l != nil {
			l.resume()
		}
		r.settle()
	case "linger":
		s.linger(w.at(0) == "on")
	case "expire": // the leader finds the session silent, rightly or not
		c := s.client(w.at(0))
		epoch := uint32(1)
		if t := r.leader.srv.machine.Sessions().Get(c.session); t != nil {
			epoch = t.Epoch
		}
		r.leader.ProposeAsLeader(statemachine.AppendExpire(nil, c.session, epoch))
	case "reap": // the leader finds that a node's time has come, rightly or not
		r.leader.ProposeAsLeader(statemachine.AppendReap(nil, w.at(0), 0))
	case "silence", "pass":
		silent := w.pos[1:]
		r.pass(duration(w.at(0)), func(c *client) bool {
			return slices.Contains(silent, c.name) || fields[0] == "silence" && len(silent) == 0
		}, nil)
	case "pause":
		r.pass(duration(w.at(1)), func(*client) bool { return false }, s.member(w.at(0)))
	case "jump": // time passes before anything can notice
		r.now += duration(w.at(0))
	case "freeze": // everything stands still: all members and all clients
		r.now += duration(w.at(0))
		r.pass(tickInterval(r.leader.srv.opt), func(*client) bool { return true }, nil)
	case "next-id":
		s.ids.next = append(s.ids.next, uint64(w.int("id", 0)))
	default:
		s.network(fields[0], &w)
	}
}

// network runs a command that is about members and what is between them.
func (s *script) network(cmd string, w *words) {
	r := s.r
	m := s.member(w.at(0))
	switch cmd {
	case "leader":
		r.lead(m)
		r.commit()
	case "cut":
		m.Contact()
		m.cut = true
	case "heal":
		m.cut = false
		if m != r.leader {
			m.leading = nil
		}
		m.follow()
		m.catchUp()
		r.commit()
	case "stall": // the disk of its log does not answer
		m.stalled = r.now
	case "answer": // it does again
		m.stalled = 0
		m.catchUp()
		r.commit()
	case "lag":
		m.lagging = true
	case "catch-up":
		m.lagging = false
		if to := w.int("entries", 0); to > 0 {
			m.lagging = true
			m.applyTo(m.applied + int(to))
		}
		if w.has("in-one-batch") {
			m.applyTo(len(r.log))
		}
		m.catchUp()
		r.commit()
	case "repeat": // everything in the outbox once more
		m.given = 0
		r.commit()
	case "drop": // what the outbox gives out is lost
		m.take(nil)
		r.settle()
	case "hold": // what the outbox gives out stays on the way
		m.held = m.take(m.held)
	case "deliver": // what was on the way arrives
		entry := append(statemachine.AppendHeader(nil, r.wall), m.held...)
		m.held = nil
		r.append(entry)
		r.commit()
	case "crash":
		m.crash(w.has("snapshot"), s.options)
		r.commit()
	case "restore": // a snapshot of another member replaces the state
		from := s.member(w.kv["from"])
		m.restore(bytes.NewReader(from.endSnapshot(from.beginSnapshot())), from.applied)
		m.lagging = false
		r.commit()
	case "begin-snapshot":
		s.snap, s.snapAt = m.beginSnapshot(), m.applied
	case "end-snapshot": // and restore another member from it
		into := s.member(w.kv["into"])
		into.lagging = true
		into.restore(bytes.NewReader(m.endSnapshot(s.snap)), s.snapAt)
	case "close-door":
		m.srv.SetServing(false)
	case "drain":
		m.srv.Drain(true)
		m.srv.CloseAll(1, func() {})
		r.settle()
	case "members": // a change of the membership
		index := uint64(len(r.log) + 1)
		r.append(nil)
		for _, o := range r.members {
			o.srv.ApplyMembers(index, r.term, []statemachine.Member{{ID: 1, Name: 1, Voter: true, Host: "a", PeerPort: 2888, ElectionPort: 3888, ClientHost: "a", ClientPort: 2181}})
			o.flush()
		}
		r.settle()
	default:
		panic("there is no such command")
	}
}

// connect connects a client to a member: "connect" with a new session, "move"
// with the one it has. as=name makes another handle on the session, and leaves
// the first its connection.
func (s *script) connect(fields []string) {
	r := s.r
	parts := split(fields, ";")
	w := parseWords(parts[0][1:])
	c := r.client(w.at(0))
	if c == nil {
		c = r.newClient(w.at(0))
	}
	if name, ok := w.kv["as"]; ok {
		first := c
		c = r.newClient(name)
		c.session, c.password, c.timeout, c.lastZxid, c.old = first.session, first.password, first.timeout, first.lastZxid, first.old
	}
	if c.link != nil {
		c.link.hangUp()
	}
	if fields[0] == "connect" {
		c.session, c.password, c.lastZxid = 0, nil, 0
	}
	if fields[0] == "connect" {
		c.old = w.has("old")
	}
	if v, ok := w.kv["timeout"]; ok {
		c.timeout = duration(v)
	}
	h := c.hello()
	if v, ok := w.kv["zxid"]; ok {
		h.LastZxidSeen = parseZxid(v)
	}
	h.SessionID = w.int("session", h.SessionID)
	h.ReadOnly = w.has("readonly")
	switch w.kv["password"] {
	case "wrong":
		h.Password = bytes.Repeat([]byte{7}, session.PasswordSize)
	case "short":
		h.Password = h.Password[:8]
	case "none":
		h.Password = nil
	case "long":
		h.Password = make([]byte, 65)
	}
	var behind []request
	for _, p := range parts[1:] {
		behind = append(behind, parseRequest(c, p))
	}
	c.connect(s.member(w.at(1)), h, behind...)
	if w.has("uncommitted") {
		r.settle()
		return
	}
	r.commit()
}

func (s *script) linger(v bool) {
	s.r.linger = v
	if v {
		return
	}
	for _, m := range s.r.members {
		for _, l := range slices.Clone(m.links) {
			if l.ended() {
				l.end()
			}
		}
	}
	s.r.settle()
}

// look runs a command that only shows something.
func (s *script) look(fields []string) ([]string, bool) {
	w := parseWords(fields[1:])
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch fields[0] {
	case "sessions":
		for _, t := range s.r.leader.srv.machine.Sessions().Sorted() {
			say("s%d at m%d epoch=%d timeout=%v ephemerals=%d", t.ID, t.Member, t.Epoch, time.Duration(t.Timeout)*time.Millisecond,
				s.r.leader.srv.machine.Tree().EphemeralCountOf(t.ID))
		}
	case "tree":
		m := s.r.leader
		if w.at(0) != "" {
			m = s.member(w.at(0))
		}
		m.srv.View(func(st *statemachine.Machine) { showTree(st.Tree(), tree.Root, "", say) })
	case "watches":
		m := s.member(w.at(0))
		conns, paths, n := m.srv.WatchCounts()
		say("%d connections watch %d paths, %d watches", conns, paths, n)
	case "conns":
		for _, c := range s.r.clients {
			if l := c.link; l != nil && l.c != nil {
				say("%s at %s: %d outstanding, %d bytes unread by the server, parked=%v", c.name, l.m.name, l.c.queue.len(), len(l.c.tail)+len(l.socket), l.parked)
			}
		}
	case "outbox":
		m := s.member(w.at(0))
		m.given = max(0, m.given-m.outbox.Release())
		say("pending=%v", m.outbox.Pending(0))
	case "zxid":
		for _, m := range s.r.members {
			say("%s %s", m.name, zxid(m.srv.machine.Zxid()))
		}
	case "ended":
		closed, expired := s.r.leader.srv.machine.Ended()
		say("closed=%d expired=%d", closed, expired)
	default:
		return nil, false
	}
	if len(out) == 0 {
		say("none")
	}
	return out, true
}

func showTree(t *tree.Tree, id tree.NodeID, path string, say func(string, ...any)) {
	type child struct {
		id   tree.NodeID
		name string
	}
	var kids []child
	for id, name := range t.Children(id) {
		kids = append(kids, child{id, strings.Clone(name)})
	}
	slices.SortFunc(kids, func(a, b child) int { return cmp.Compare(a.name, b.name) })
	for _, k := range kids {
		p := path + "/" + k.name
		if p == "/zookeeper" {
			continue
		}
		var st jute.Stat
		t.Stat(k.id, &st)
		d := jute.NewDecoder(st.Append(nil))
		say("%s %q %s", p, t.Data(k.id), stat(&d))
		showTree(t, k.id, p, say)
	}
}
