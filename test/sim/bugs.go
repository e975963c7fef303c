package sim

import (
	"encoding/binary"
	"strings"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// Bugs that production code might have, put between it and the simulation, so
// that the tests can tell that the checkers see them.
const (
	// bugLyingDisk: most syncs of the log do nothing.
	bugLyingDisk = "lying disk"
	// bugRenumber: a member that forwards a write a second time gives it a new
	// number.
	bugRenumber = "renumbered repeat"
	// bugSwap: two answers leave in the wrong order.
	bugSwap = "swapped answers"
	// bugStale: an answer to a read shows what was there before.
	bugStale = "stale read"
	// bugEternal: ephemeral nodes do not go with their session.
	bugEternal = "eternal ephemerals"
	// bugSilentReports: members do not tell the leader whom they hear from.
	bugSilentReports = "silent reports"
	// bugNoEvent, bugTwice, bugLate: an event does not leave, leaves twice, or
	// leaves behind the next answer.
	bugNoEvent = "lost event"
	bugTwice   = "doubled event"
	bugLate    = "late event"
	// bugSkip: a member loses a write between the log and its state.
	bugSkip = "skipped write"
	// bugBlindFaith: a member believes that it is in touch with a quorum, always.
	bugBlindFaith = "blind faith"
	// bugUnbroken: the leader does not notice that its process stood still.
	bugUnbroken = "unnoticed pause"
	// bugRashClock: the leader expires sessions also while it has no contact with a
	// quorum.
	bugRashClock = "rash clock"
	// bugAnyEpoch: an expiry ends its session also if that has been attached since.
	bugAnyEpoch = "expiry of any attachment"
	// bugBlindToDisk: nobody looks whether the disk answers.
	bugBlindToDisk = "blind to the disk"
	// bugOpenHouse: a member asks nobody for rights.
	bugOpenHouse = "open house"
	// bugEagerReap: containers are removed before they had a child.
	bugEagerReap = "eager reaping"
	// bugMute: in the end nobody acknowledges entries any more.
	bugMute = "mute followers"
)

// lyingFS says that it has synced the log, and mostly has not.
type lyingFS struct {
	vfs.FS
	w *World
}

type lyingFile struct {
	vfs.File
	w *World
}

func (f lyingFile) Datasync() error {
	if f.w.chance(4) {
		return f.File.Datasync()
	}
	return nil
}

func (l lyingFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.Contains(f.Name(), "/log/") {
		return f, err
	}
	return lyingFile{f, l.w}, nil
}

func (l lyingFS) Create(path string) (vfs.File, error) { return l.wrap(l.FS.Create(path)) }
func (l lyingFS) OpenReadWrite(path string) (vfs.File, error) {
	return l.wrap(l.FS.OpenReadWrite(path))
}

// renumber appends to a batch a repeat of its last session operation, as if the
// client had sent it twice.
func renumber(p *process, batch []byte) []byte {
	ops := frames(batch)
	last := ops[len(ops)-1]
	if last[4] != 1 || !p.w.chance(10) {
		return batch
	}
	again := append([]byte(nil), last...)
	seq := again[4+1+8+4:]
	binary.BigEndian.PutUint64(seq, binary.BigEndian.Uint64(seq)+1)
	return append(batch, again...)
}

// persistEphemerals makes persistent nodes of the ephemeral ones that an entry
// creates.
func persistEphemerals(data []byte) []byte {
	data = append([]byte(nil), data...)
	for _, op := range operations(data) {
		if op[4] != 1 || jute.OpCode(int32(binary.BigEndian.Uint32(op[26:]))) != jute.OpCreate2 {
			continue
		}
		if flags := op[len(op)-4:]; jute.CreateMode(int32(binary.BigEndian.Uint32(flags))) == jute.ModeEphemeral {
			binary.BigEndian.PutUint32(flags, 0)
		}
	}
	return data
}

// mutateLog is what all members, and the truth, take an entry for.
func (w *World) mutateLog(e *raftpb.Entry) *raftpb.Entry {
	var data []byte
	switch w.opt.Bug {
	case bugEternal:
		data = persistEphemerals(e.GetData())
	case bugEagerReap:
		data = append([]byte(nil), e.GetData()...)
		if len(data) > 0 && e.GetIndex()%50 == 0 {
			data = statemachine.AppendReap(data, containers+"0", 1)
		}
	case bugAnyEpoch:
		// Whoever applies the entry first decides what it is.
		if known, ok := w.truth.entries[e.GetIndex()]; ok {
			data = []byte(known.data)
		} else {
			data = w.truth.expireAny(e.GetData())
		}
	default:
		return e
	}
	out := proto.Clone(e).(*raftpb.Entry)
	out.Data = data
	return out
}

// expireAny makes the expiries in an entry name the attachments that there are when
// their turn comes.
func (t *truth) expireAny(data []byte) []byte {
	data = append([]byte(nil), data...)
	attached := make(map[int64]uint32) // before, in the same entry
	for _, op := range operations(data) {
		switch {
		case op[4] == 2 && op[29] == 2:
			attached[int64(binary.BigEndian.Uint64(op[30:]))]++
		case op[4] == 3 && op[5] == 1:
			id := int64(binary.BigEndian.Uint64(op[6:]))
			if s := t.machine.Sessions().Get(id); s != nil {
				binary.BigEndian.PutUint32(op[14:], s.Epoch+attached[id])
			}
		}
	}
	return data
}

// mutateEntries is what a member applies in place of entries.
func mutateEntries(p *process, entries []*raftpb.Entry) []*raftpb.Entry {
	if p.w.opt.Bug != bugSkip || p.m.place != 0 {
		return entries
	}
	out := make([]*raftpb.Entry, len(entries))
	for i, e := range entries {
		out[i] = e
		if len(e.GetData()) > 0 && p.w.chance(200) {
			out[i] = proto.Clone(e).(*raftpb.Entry)
			out[i].Data = out[i].Data[:9] // the header alone
		}
	}
	return out
}

// mutateOutput is what leaves in place of b, which is whole frames.
func (c *conn) mutateOutput(b []byte) []byte {
	w := c.w
	switch w.opt.Bug {
	case bugSwap, bugNoEvent, bugTwice, bugLate, bugStale:
	default:
		return b
	}
	list := frames(b)
	var out [][]byte
	for i := 0; i < len(list); i++ {
		f := list[i]
		event := len(f) > 8 && xidOf(f) == jute.XidWatchEvent && c.cl.greeted
		switch {
		case w.opt.Bug == bugSwap && i+1 < len(list) && !event && xidOf(f) > 0 && xidOf(list[i+1]) > 0 && c.cl.greeted:
			out = append(out, list[i+1], f)
			i++
		case w.opt.Bug == bugNoEvent && event && w.chance(3):
		case w.opt.Bug == bugTwice && event && w.chance(3):
			out = append(out, f, f)
		case w.opt.Bug == bugLate && event && c.held == nil && w.chance(3):
			c.held = f
			continue
		case w.opt.Bug == bugStale && len(f) == 4+16+68 && c.cl.greeted && w.chance(20):
			// A header and a stat: the answer to exists, for one. It has the node's
			// version.
			f = append([]byte(nil), f...)
			f[len(f)-33]--
			out = append(out, f)
		default:
			out = append(out, f)
		}
		if c.held != nil && !event {
			out = append(out, c.held)
			c.held = nil
		}
	}
	b = nil
	for _, f := range out {
		b = append(b, f...)
	}
	return b
}
