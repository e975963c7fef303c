package storage

import (
	"sync"
	"testing"

	"go.etcd.io/raft/v3"
	"google.golang.org/protobuf/proto"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// TestReadersBesideTheAppender is for the race detector.
func TestReadersBesideTheAppender(t *testing.T) {
	l, _ := mustOpen(t, vfs.NewMem(nil), small)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				first, _ := l.FirstIndex()
				last, _ := l.LastIndex()
				ents, err := l.Entries(first, last+1, 5000)
				if err != nil && err != raft.ErrCompacted && err != raft.ErrUnavailable {
					t.Errorf("Entries = %v", err)
					return
				}
				for _, e := range ents {
					if !proto.Equal(e, run(e.GetIndex(), e.GetTerm(), 1, 200)[0]) {
						t.Errorf("read %v", e)
						return
					}
				}
				if _, err := l.Term(last); err != nil && err != raft.ErrCompacted && err != raft.ErrUnavailable {
					t.Errorf("Term = %v", err)
				}
				_, _, _ = l.HardState(), l.Stats(), l.Err()
			}
		})
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					if err := l.Prepare(); err != nil {
						t.Errorf("Prepare = %v", err)
						return
					}
				}
			}
		})
	}
	next := uint64(1)
	for i := range 400 {
		first := next
		if i%10 == 9 {
			first -= 2 // a new leader
		}
		term := uint64(1 + (i+1)/10)
		check(t, l.Append(Batch{Entries: run(first, term, 4, 200), HardState: hardStateMsg(term, 0, first-1)}))
		next = first + 4
		if i%3 == 0 {
			check(t, l.Sync())
		}
		if i%20 == 19 {
			check(t, l.Compact(first-1))
		}
	}
	close(done)
	wg.Wait()
	check(t, l.Close())
}
