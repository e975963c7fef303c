package replica

import (
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage"
)

const groupElection = groupTicks * groupTick

// says fails the test unless a line of the member's log has all of the words.
func (m *groupNode) says(words ...string) {
	m.g.t.Helper()
next:
	for line := range strings.Lines(m.log.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		return
	}
	m.g.t.Errorf("member %x does not say %q:\n%s", m.cfg.ID, words, m.log.String())
}

// A leader whose log's disk does not answer is rid of its leadership within three
// election timeouts, and says which file it waits for. It does not stand for
// election meanwhile. When the disk answers it is a member as before.
func TestStalledLeaderHandsOver(t *testing.T) {
	g := newGroup(t, 3)
	lead := g.leader()
	lead.put()
	g.pass(groupElection)
	lead.hang(storage.LogDisk)
	lead.put()
	took := g.until("rid of the leadership", 3*groupElection, func() bool { return !lead.Role().IsLeader })
	if took < 2*groupElection {
		t.Errorf("leadership is gone after %v: that long any disk may take", took)
	}
	lead.says("the disk does not answer", "disk=log", "operation=write", "logs/conclave/log/0000000000000001.log", "for=2")
	lead.says("leadership is handed over")
	if reason, log := lead.DiskProblem(); !log || !strings.Contains(reason, "the log disk does not answer: write of logs/conclave/log/0000000000000001.log has been under way for 2") {
		t.Errorf("the problem is %q (log: %v)", reason, log)
	}
	next := g.leader(lead)
	term := next.Role().Term
	for range 20 { // the others go on
		next.put()
		g.pass(groupElection / 4)
	}
	if len(next.got) != 22 || len(lead.got) != 1 {
		t.Errorf("%d entries are applied at the new leader, %d at the one whose disk does not answer; want 22, 1", len(next.got), len(lead.got))
	}
	if since, ok := lead.Stalled(); !ok || g.now-since < 5*groupElection {
		t.Errorf("stalled for %v, %v", g.now-since, ok)
	}
	if v := lead.cfg.Metrics.DiskStalled[storage.LogDisk].Value(); v < int64(5*groupElection) {
		t.Errorf("the metric has %d", v)
	}

	lead.answer()
	g.until("everything applied", groupElection, func() bool { return len(lead.got) == 22 })
	g.pass(groupTick)
	lead.says("the disk answers again", "disk=log", "0000000000000001.log", "stalled=")
	if _, ok := lead.Stalled(); ok {
		t.Error("it is still stalled")
	}
	if s := lead.cfg.Metrics.DiskStalls[storage.LogDisk].Summary(); s.Count != 1 || lead.cfg.Metrics.DiskStalled[storage.LogDisk].Value() != 0 {
		t.Errorf("%d stalls are counted, %d ns are under way", s.Count, lead.cfg.Metrics.DiskStalled[storage.LogDisk].Value())
	}
	if r := next.Role(); !r.IsLeader || r.Term != term {
		t.Errorf("the recovery cost an election: term %d, then %d", term, r.Term)
	}
	// It can lead again.
	next.BeginTransfer(lead.cfg.ID, func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	g.until("the leader again", 3*groupElection, func() bool { return lead.Role().IsLeader })
}

// Where nobody else could lead, leadership stays: the members keep a leader that
// a quorum confirms, and go on when the disk does.
func TestStalledLeaderStaysWhereNobodyCouldLead(t *testing.T) {
	for name, n := range map[string]int{"alone": 1, "one of two": 2, "two of three": 3} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, n)
			lead := g.leader()
			if n == 3 {
				for _, m := range g.nodes {
					if m != lead {
						m.cut = true
						break
					}
				}
			}
			g.pass(2 * groupElection)
			lead.hang(storage.LogDisk)
			lead.put()
			g.pass(20 * groupElection)
			if at, ok := lead.Contact(); !lead.Role().IsLeader || !ok || g.now-at > 2*groupTick {
				t.Errorf("leads: %v, in contact %v ago", lead.Role().IsLeader, g.now-at)
			}
			lead.says("leadership stays here")
			if strings.Count(lead.log.String(), "leadership stays here") != 1 {
				t.Error("it says so more than once")
			}
			lead.answer()
			g.until("the write applied", groupElection, func() bool { return len(lead.got) == 1 })
		})
	}
}

// A member whose disk does not answer is not counted on: not as the next leader,
// not for a quorum after a change. It does not stand for election, even if it is
// told to or if nobody leads.
func TestStalledFollowerIsNotCountedOn(t *testing.T) {
	g := newGroup(t, 3)
	lead := g.leader()
	lead.put()
	g.pass(groupElection)
	var stalled, other *groupNode
	for _, m := range g.nodes {
		switch {
		case m == lead:
		case stalled == nil:
			stalled = m
		default:
			other = m
		}
	}
	stalled.hang(storage.LogDisk)
	lead.put()
	g.pass(4 * groupElection)
	if p := lead.progress()[stalled.cfg.ID]; !p.Active || !p.Stuck {
		t.Errorf("the leader takes it for %+v: it answers heartbeats, and acknowledges nothing", p)
	}
	if p := lead.progress()[other.cfg.ID]; !p.Active || p.Stuck {
		t.Errorf("the leader takes the other for %+v", p)
	}
	plan := func(v *view) ([]statemachine.Member, *Refusal) { return planRemove(v, other.cfg.ID) }
	if _, _, err := lead.tryChange(0, plan); err == nil || !strings.Contains(err.Error(), "acknowledge nothing") {
		t.Errorf("taking the other away: %v", err)
	}

	// It is told to lead, by somebody who knows nothing of it.
	typ := raftpb.MsgTimeoutNow
	from, to, term := lead.cfg.ID, stalled.cfg.ID, lead.Role().Term
	stalled.Step(&raftpb.Message{Type: &typ, From: &from, To: &to, Term: &term})
	g.pass(2 * groupElection)
	if r := lead.Role(); !r.IsLeader || r.Term != term {
		t.Errorf("the leader in term %d is now in term %d (leads: %v)", term, r.Term, r.IsLeader)
	}
	lead.BeginTransfer(0, func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	g.until("handed over to the other", 3*groupElection, func() bool { return other.Role().IsLeader })

	// Nobody leads: of two that could campaign one has no disk.
	other.cut = true
	g.pass(20 * groupElection)
	if got := stalled.Role().Term; got > other.Role().Term {
		t.Errorf("it has come to term %d", got)
	}
	stalled.answer()
	next := g.leader(other)
	next.put()
	g.until("the write applied by both", 3*groupElection, func() bool { return len(stalled.got) == 3 && len(lead.got) == 3 })
}

// The disk of the data holds up nothing but snapshots.
func TestStalledDataDisk(t *testing.T) {
	g := newGroup(t, 3)
	lead := g.leader()
	g.pass(groupElection)
	lead.hang(storage.DataDisk)
	lead.put()
	g.pass(groupTick)
	lead.RequestSnapshot()
	g.until("noticed", 1000*groupElection, func() bool {
		lead.put()
		reason, log := lead.DiskProblem()
		if log {
			t.Fatal("it is taken for the log's")
		}
		return reason != ""
	})
	before := len(lead.got)
	for range 10 {
		lead.put()
		g.pass(groupTick)
	}
	if got := len(lead.got); got != before+10 || !lead.Role().IsLeader {
		t.Errorf("%d of 10 writes are done, leads: %v", got-before, lead.Role().IsLeader)
	}
	lead.says("the disk does not answer", "disk=data", "data/conclave/snap/")
	if _, ok := lead.Stalled(); ok {
		t.Error("the log counts as stalled")
	}
	lead.answer()
	lead.snaps.Wait()
}

// After a pause of the process whatever was under way is as old as the pause; that
// says nothing about the disk.
func TestPauseIsNoStall(t *testing.T) {
	g := newGroup(t, 1)
	lead := g.leader()
	lead.hang(storage.LogDisk)
	lead.put()
	g.pass(groupTick)
	g.advance(100 * groupElection)
	lead.Turn()
	if _, ok := lead.Stalled(); ok {
		t.Error("the disk counts as stalled")
	}
	lead.answer()
	g.pass(groupElection)
	if strings.Contains(lead.log.String(), "disk") {
		t.Errorf("it says\n%s", lead.log.String())
	}
}
