package sim

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage"
	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// member is a place in the ensemble: a machine with a disk, on which a process
// runs, or not.
type member struct {
	w     *World
	place int // from 0
	name  string
	// id is the raft id that its disk has; another one after the disk was lost.
	id       uint64
	observer bool
	disk     disk
	proc     *process // nil when none runs
	wallSkew int64    // of its time of day, in milliseconds
	had      logEnd   // before bits of its disk have flipped
	leaving  bool     // it is being removed, or has been and has not joined anew
}

// logEnd is what a log had last: its last entry, its term and the vote there.
type logEnd struct {
	last, term, vote uint64
}

// shortened reports whether bits that flipped took something from the end of the
// log, which looks like a write that was cut short: no storage can tell, and no
// member that lives with it is as good as its word (see package storage).
func (m *member) shortened() bool {
	had := m.had
	m.had = logEnd{}
	last, err := m.proc.log.LastIndex()
	hs := m.proc.log.HardState()
	return had != (logEnd{}) && err == nil && had != logEnd{last, hs.GetTerm(), hs.GetVote()}
}

const clusterID = "00000000000000000000000000c0ffee"

// Where every founder begins its log.
const (
	foundingIndex = 1
	foundingTerm  = 1
)

func (w *World) addMember(observer bool) *member {
	m := &member{w: w, place: len(w.members), observer: observer, wallSkew: w.rng.Int64N(2000) - 1000}
	m.name = fmt.Sprintf("m%d", m.place+1)
	m.blank()
	w.members = append(w.members, m)
	return m
}

// blank gives the member an empty disk, and so an id that nobody has had.
func (m *member) blank() {
	m.disk, m.had = disk{mem: vfs.NewMem(nil)}, logEnd{}
	m.disk.mem.SetHook(m.hook)
	m.id = m.w.rng.Uint64()>>1 | 1
}

func (m *member) entry() statemachine.Member {
	return statemachine.Member{
		ID: m.id, Name: m.place + 1, Voter: !m.observer, Observer: m.observer,
		Host: m.name, PeerPort: 2888, ElectionPort: 3888, ClientHost: m.name, ClientPort: 2181,
	}
}

func (w *World) memberByID(id uint64) *member {
	for _, m := range w.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

// nameOf names a member by its raft id.
func (w *World) nameOf(id uint64) string {
	if id == 0 {
		return "nobody"
	}
	if m := w.memberByID(id); m != nil {
		return m.name
	}
	return fmt.Sprintf("%x", id)
}

// found makes the ensemble: n voters with the same snapshot, as if they had
// agreed on it.
func (w *World) found(n int) {
	for range n {
		w.addMember(false)
	}
	var list []statemachine.Member
	for _, m := range w.members {
		list = append(list, m.entry())
	}
	for _, m := range w.members {
		if err := m.found(list); err != nil {
			panic(err)
		}
	}
	w.truth.found(list)
	for _, m := range w.members {
		m.start()
	}
}

func (m *member) found(list []statemachine.Member) error {
	dir, err := m.openDir(false)
	if err != nil {
		return err
	}
	machine := statemachine.New()
	machine.Found(foundingIndex, foundingTerm, list, wallEpoch)
	cs := &raftpb.ConfState{}
	for _, p := range list {
		cs.Voters = append(cs.Voters, p.ID)
	}
	conf, err := proto.MarshalOptions{Deterministic: true}.Marshal(cs)
	if err != nil {
		return err
	}
	w, err := dir.Snapshots.Create(storage.SnapshotMeta{Index: foundingIndex, Term: foundingTerm, ConfState: conf, Time: wallEpoch, ClusterID: clusterID})
	if err != nil {
		return err
	}
	snap, err := machine.BeginSnapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	var buf []byte
	for done := false; !done; {
		buf, done = snap.Next(buf[:0], 1<<20)
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return errors.Join(w.Commit(), dir.Identity.Update(func(id *storage.Identity) { id.ClusterID = clusterID }), dir.Close())
}

// openDir opens the member's directory, gives it its identity if it has none,
// and counts the start if that is what this is.
func (m *member) openDir(starts bool) (*storage.Dir, error) {
	dir, err := storage.OpenDir(m.fileSystem(), "data", "")
	if err != nil {
		return nil, err
	}
	return dir, dir.Identity.Update(func(id *storage.Identity) {
		if id.MemberID == 0 {
			id.MemberID, id.Name = m.id, m.place+1
		}
		if starts {
			id.Boot++
		}
	})
}

// start starts a process on the member's disk. If the disk is damaged the member
// is given a new one, and joins as another; that is what its operator would do.
func (m *member) start() {
	w := m.w
	p := &process{w: w, m: m, began: w.now, alive: true}
	m.proc = p
	if !w.mended && w.allowed("power") && w.chance(6) {
		m.disk.startOps = 1 + w.rng.IntN(80)
	}
	err := p.open()
	m.disk.startOps = 0
	if m.disk.lost {
		w.note("%s loses power while it starts", m.name)
		w.stats.Crashes++
		w.stats.Faults["power at start"]++
		m.disk.lost = false
		p.alive, m.proc = false, nil
		m.restartIn(w.between(10*time.Millisecond, time.Second))
		return
	}
	if err == nil && m.shortened() {
		w.note("%s has lost what was last in its log", m.name)
		p.alive, m.proc = false, nil
		m.disk.mem.Kill()
		m.replace()
		return
	}
	if err == nil {
		m.disk.bad = false
		w.note("%s starts, at index %d", m.name, p.node.Applied())
		p.run()
		return
	}
	p.alive, m.proc = false, nil
	m.disk.mem.Kill()
	var corrupt *storage.CorruptError
	if !errors.As(err, &corrupt) && !errors.Is(err, statemachine.ErrSnapshot) {
		w.violate("start", "%s does not start: %v", m.name, err)
		return
	}
	w.note("%s does not start: %v", m.name, err)
	m.replace()
}

// replace gives the member an empty disk, and has it join under a new id.
func (m *member) replace() {
	m.blank()
	m.w.note("%s has a new disk, and is %x", m.name, m.id)
	m.enroll()
}

// enroll makes the member, which has an empty disk, part of the ensemble.
func (m *member) enroll() {
	dir, err := m.openDir(false)
	if err == nil {
		err = errors.Join(dir.Identity.Update(func(id *storage.Identity) { id.ClusterID = clusterID }), dir.Close())
	}
	if err != nil {
		m.w.violate("start", "%s: a new directory: %v", m.name, err)
		return
	}
	m.join()
}

// leave has the leader remove the member, until it has. The member finds out a
// little later, and refuses to serve; then it is told to start clean, and joins as
// another.
func (m *member) leave(id uint64) {
	w := m.w
	lead := w.leader()
	switch {
	case m.id != id: // it has lost its disk, and is another already
		m.leaving = false
		return
	case lead == nil:
	case lead == m:
		// Leadership has come to it since.
		m.proc.node.BeginTransfer(0, func(error) {})
		m.proc.settle()
	default:
		if _, ok := lead.proc.node.Members().Get(id); !ok {
			w.note("%s has been removed", m.name)
			w.after(w.between(0, 2*time.Second), func() { m.startClean(id) })
			return
		}
		lead.proc.node.BeginRemove(id, func(error) {})
		lead.proc.settle()
	}
	w.after(300*time.Millisecond, func() { m.leave(id) })
}

// startClean moves aside what the member has, and has it join under a new id.
func (m *member) startClean(id uint64) {
	w := m.w
	m.leaving = false
	if m.id != id {
		return
	}
	if m.proc != nil {
		w.note("%s finds out, and refuses to serve", m.name)
		m.disk.mem.Kill()
		m.proc.die()
	}
	dir, err := m.openDir(false)
	if err == nil {
		err = errors.Join(dir.MoveAside(), dir.Close())
	}
	if err != nil {
		w.violate("start", "%s does not start clean: %v", m.name, err)
		return
	}
	m.id = w.rng.Uint64()>>1 | 1
	w.note("%s starts clean, and is %x", m.name, m.id)
	m.enroll()
}

// join asks the leader to take the member in, until it has.
func (m *member) join() {
	w := m.w
	id := m.id
	if lead := w.leader(); lead != nil {
		if _, ok := lead.proc.node.Members().Get(id); ok {
			w.note("%s has joined as a learner", m.name)
			m.start()
			return
		}
		p := lead.proc
		entry := m.entry()
		p.node.BeginJoin(entry, func(error) {})
		p.settle()
	}
	w.after(300*time.Millisecond, func() {
		if m.id == id && m.proc == nil {
			m.join()
		}
	})
}

// leader returns the member that leads in the highest term, as it sees it.
func (w *World) leader() *member {
	var best *member
	for _, m := range w.members {
		if m.proc == nil || !m.proc.alive || !m.proc.node.Role().IsLeader {
			continue
		}
		if best == nil || m.proc.node.Role().Term > best.proc.node.Role().Term {
			best = m
		}
	}
	return best
}

// crash ends the member's process: with the power, so that the disk has lost
// what was not synced, or without.
func (m *member) crash(power bool) {
	if m.proc == nil {
		return
	}
	w := m.w
	w.stats.Crashes++
	if power {
		w.note("%s loses power", m.name)
		m.disk.mem.Crash(w.rng)
	} else {
		w.note("%s is killed", m.name)
		m.disk.mem.Kill()
	}
	m.proc.die()
}

// restartIn starts the member again after d.
func (m *member) restartIn(d time.Duration) {
	id := m.id
	m.w.after(d, func() {
		if m.proc == nil && m.id == id {
			m.start() // also if it is being removed: it does not know
		}
	})
}
