package storage

import (
	"fmt"
	"io"
	"log"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// raftStorage is what a replica makes of the log.
type raftStorage struct{ *Log }

func (s raftStorage) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return s.HardState(), &raftpb.ConfState{Voters: []uint64{1}}, nil
}

func (s raftStorage) Snapshot() (*raftpb.Snapshot, error) {
	return nil, raft.ErrSnapshotTemporarilyUnavailable
}

// TestRaftRunsOnTheLog is a member that is an ensemble of its own. Its power
// fails again and again; whatever was applied must be applied again.
func TestRaftRunsOnTheLog(t *testing.T) {
	rng := newRand(5)
	fs := vfs.NewMem(nil)
	opt := Options{SegmentSize: 5000, CacheSize: 2000, LogID: testLogID}
	applied := map[uint64]string{} // by everybody, ever
	compacted := uint64(0)
	for life := range 60 {
		l, rec := mustOpen(t, fs, opt)
		node, err := raft.NewRawNode(&raft.Config{
			ID: 1, ElectionTick: 2, HeartbeatTick: 1, Storage: raftStorage{l}, MaxSizePerMsg: 2000, MaxInflightMsgs: 10,
			Applied: compacted, AsyncStorageWrites: true, Logger: &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)},
		})
		check(t, err)
		if last := uint64(len(applied)); rec.LastIndex < last || rec.FirstIndex != compacted+1 {
			t.Fatalf("life %d: applied up to %d, recovered %+v", life, last, rec)
		}
		check(t, node.Campaign())
		for range 20 + rng.IntN(50) {
			if rng.IntN(2) == 0 {
				_ = node.Propose([]byte(fmt.Sprintf("%d.%d", life, rng.Uint64()))) // no leader yet
			}
			if !node.HasReady() {
				continue
			}
			for _, m := range node.Ready().Messages {
				switch m.GetTo() {
				case raft.LocalAppendThread:
					b := Batch{Entries: m.GetEntries()}
					if m.Term != nil {
						b.HardState = hardStateMsg(m.GetTerm(), m.GetVote(), m.GetCommit())
					}
					check(t, l.Append(b))
					if len(m.GetResponses()) > 0 {
						check(t, l.Sync())
					}
				case raft.LocalApplyThread:
					for _, e := range m.GetEntries() {
						data := fmt.Sprintf("%d %s", e.GetTerm(), e.GetData())
						if was, ok := applied[e.GetIndex()]; ok && was != data {
							t.Fatalf("life %d: entry %d was %q, now it is %q", life, e.GetIndex(), was, data)
						}
						applied[e.GetIndex()] = data
					}
				}
				for _, r := range m.GetResponses() {
					check(t, node.Step(r))
				}
			}
			if n := uint64(len(applied)); rng.IntN(20) == 0 && n > compacted+30 && node.BasicStatus().Applied == n {
				compacted = n - 20
				check(t, l.Compact(compacted))
			}
		}
		fs.Crash(rng)
	}
	if len(applied) < 500 || compacted == 0 {
		t.Fatalf("only %d entries were applied, %d compacted", len(applied), compacted)
	}
}
