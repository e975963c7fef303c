package replica

import (
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// A worker that can't go on holds its queue: what it puts back comes first, and
// nothing comes before it is released.
func TestHeldQueue(t *testing.T) {
	var q workQueue
	q.init()
	put := func(indexes ...uint64) {
		for _, i := range indexes {
			q.put(task{msg: &raftpb.Message{Index: &i}})
		}
	}
	var got []uint64
	holdAt := uint64(3)
	work := func(tasks []task) {
		for i, t := range tasks {
			if t.msg.GetIndex() == holdAt {
				put(5)
				q.hold(tasks[i:])
				return
			}
			got = append(got, t.msg.GetIndex())
		}
	}
	put(1, 2, 3, 4)
	if !q.step(work) || !slices.Equal(got, []uint64{1, 2}) {
		t.Fatalf("worked on %v before the hold, want 1 and 2", got)
	}
	put(6)
	if q.ready() || q.step(work) || q.idle() {
		t.Fatal("a held queue gives out work, or calls itself idle")
	}
	holdAt = 0
	q.release()
	if !q.ready() || !q.step(work) || !slices.Equal(got, []uint64{1, 2, 3, 4, 5, 6}) {
		t.Fatalf("worked on %v, want 1 to 6 in order", got)
	}
	if q.step(work) || !q.idle() {
		t.Fatal("an empty queue gives out work, or is not idle")
	}
}

// Whoever finds quick work does it himself; what is not quick is left to the
// worker, and what somebody is at is his.
func TestStepIf(t *testing.T) {
	var q workQueue
	q.init()
	one := uint64(1)
	q.add(task{msg: &raftpb.Message{Index: &one}})
	if q.stepIf(func([]task) bool { return false }, func([]task) { t.Error("worked on what is not quick") }) {
		t.Error("claims to have worked")
	}
	worked := 0
	quick := func(tasks []task) bool { return len(tasks) == 1 }
	did := q.stepIf(quick, func([]task) {
		worked++
		if q.ready() || q.idle() {
			t.Error("what is being worked on is ready for another, or done")
		}
		q.add(task{msg: &raftpb.Message{Index: &one}})
		if q.stepIf(quick, func([]task) { t.Error("two at a time") }) {
			t.Error("claims to have worked beside another")
		}
	})
	if !did || worked != 1 || !q.stepIf(quick, func([]task) { worked++ }) || worked != 2 || !q.idle() {
		t.Errorf("worked %d times, want 2", worked)
	}
	q.add(task{msg: &raftpb.Message{Index: &one}})
	q.close()
	if q.stepIf(quick, func([]task) { t.Error("worked after close") }) {
		t.Error("claims to have worked after close")
	}
}
