package transport

import (
	"fmt"
	"sync/atomic"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// BenchmarkAppend sends MsgApp with 1 KiB entries over the loopback interface,
// at most 64 of them under way, and counts sender and receiver together.
func BenchmarkAppend(b *testing.B) {
	for _, entries := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			// Nothing may be dropped: the window would never open again.
			e := newEnsemble(b, 2, func(o *Options) { o.QueueBytes = 64 << 20 })
			window := make(chan struct{}, 64)
			e.handlers[1].raft = func(uint64, *raftpb.Message) { <-window }
			m := appMessage(entries, 1024)
			batch := []*raftpb.Message{m}
			b.SetBytes(int64(entries) * 1024)
			b.ReportAllocs()
			for b.Loop() {
				window <- struct{}{}
				e.members[0].Send(batch)
			}
			for range cap(window) {
				window <- struct{}{}
			}
		})
	}
}

// BenchmarkRoundTrip sends one message and waits for one in return: the
// latency that a lone write sees, twice.
func BenchmarkRoundTrip(b *testing.B) {
	e := newEnsemble(b, 2, nil)
	back := make(chan struct{}, 1)
	resp := []*raftpb.Message{message(raftpb.MsgAppResp, 1, 1)}
	e.handlers[1].raft = func(uint64, *raftpb.Message) { e.members[1].Send(resp) }
	e.handlers[0].raft = func(uint64, *raftpb.Message) { back <- struct{}{} }
	batch := []*raftpb.Message{appMessage(1, 1024)}
	b.ReportAllocs()
	for b.Loop() {
		e.members[0].Send(batch)
		<-back
	}
}

// BenchmarkFanOut is a leader's turn: one MsgApp to each of two followers,
// both of which answer.
func BenchmarkFanOut(b *testing.B) {
	e := newEnsemble(b, 3, nil)
	window := make(chan struct{}, 64)
	var answers atomic.Uint64
	e.handlers[0].raft = func(uint64, *raftpb.Message) {
		if answers.Add(1)%2 == 0 {
			<-window
		}
	}
	for i := 1; i <= 2; i++ {
		resp := []*raftpb.Message{message(raftpb.MsgAppResp, 1, 1)}
		e.handlers[i].raft = func(uint64, *raftpb.Message) { e.members[i].Send(resp) }
	}
	a, c := appMessage(4, 1024), appMessage(4, 1024)
	*c.To = 3
	batch := []*raftpb.Message{a, c}
	b.SetBytes(4 * 1024)
	b.ReportAllocs()
	for b.Loop() {
		window <- struct{}{}
		e.members[0].Send(batch)
	}
	for range cap(window) {
		window <- struct{}{}
	}
}
