package replica

import (
	"fmt"
	"log/slog"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// raftLogger passes raft's messages on. Raft is talkative at its level info;
// what an operator wants of it (who leads, since when) the server logs itself.
type raftLogger struct{ l *slog.Logger }

func (r raftLogger) Debug(v ...any)                 { r.l.Debug(fmt.Sprint(v...)) }
func (r raftLogger) Debugf(format string, v ...any) { r.l.Debug(fmt.Sprintf(format, v...)) }
func (r raftLogger) Info(v ...any)                  { r.l.Debug(fmt.Sprint(v...)) }
func (r raftLogger) Infof(format string, v ...any)  { r.l.Debug(fmt.Sprintf(format, v...)) }
func (r raftLogger) Warning(v ...any)               { r.l.Warn(fmt.Sprint(v...)) }
func (r raftLogger) Warningf(format string, v ...any) {
	r.l.Warn(fmt.Sprintf(format, v...))
}
func (r raftLogger) Error(v ...any)                 { r.l.Error(fmt.Sprint(v...)) }
func (r raftLogger) Errorf(format string, v ...any) { r.l.Error(fmt.Sprintf(format, v...)) }

// Fatal and Panic report a broken invariant of raft: nothing can be trusted
// after one.
func (r raftLogger) Fatal(v ...any)                 { panic(fmt.Sprint(v...)) }
func (r raftLogger) Fatalf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }
func (r raftLogger) Panic(v ...any)                 { panic(fmt.Sprint(v...)) }
func (r raftLogger) Panicf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }

// raftStorage is what raft reads of the log and the snapshots.
type raftStorage struct{ node *Node }

func (s *raftStorage) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	hs := s.node.cfg.Log.HardState()
	// What is in a snapshot was committed, also if the log was never told: a
	// commit index that moves alone is not written.
	if applied := s.node.applied.Load(); hs.GetCommit() < applied {
		hs = &raftpb.HardState{Term: new(hs.GetTerm()), Vote: new(hs.GetVote()), Commit: &applied}
	}
	return hs, s.node.confState, nil
}

func (s *raftStorage) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	return s.node.cfg.Log.Entries(lo, hi, maxSize)
}

func (s *raftStorage) Term(i uint64) (uint64, error) { return s.node.cfg.Log.Term(i) }
func (s *raftStorage) LastIndex() (uint64, error)    { return s.node.cfg.Log.LastIndex() }
func (s *raftStorage) FirstIndex() (uint64, error)   { return s.node.cfg.Log.FirstIndex() }

// Snapshot names the newest snapshot: its data is the metadata of the file,
// whose content is streamed from disk when it is sent.
func (s *raftStorage) Snapshot() (*raftpb.Snapshot, error) {
	meta := s.node.newest.Load()
	if meta.Index == 0 || meta.Index < s.node.confIndex.Load() {
		// One from before the last change of the membership would be refused
		// by the very member that the change let in.
		if !s.node.snapshotting.Load() {
			s.node.apply.put(task{snapshot: true})
		}
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	cs := &raftpb.ConfState{}
	if err := unmarshalConfState(meta.ConfState, cs); err != nil {
		return nil, err
	}
	return &raftpb.Snapshot{
		Data:     encodeMeta(*meta),
		Metadata: &raftpb.SnapshotMetadata{Index: new(meta.Index), Term: new(meta.Term), ConfState: cs},
	}, nil
}
