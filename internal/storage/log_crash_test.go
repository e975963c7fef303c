package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// logState is all that a log is, as far as anybody can see.
type logState struct {
	base entryID
	hs   hardState
	ents []string // term and data, from base.index+1 on
}

func (s logState) equal(o logState) bool {
	return s.base == o.base && s.hs == o.hs && slices.Equal(s.ents, o.ents)
}

func (s logState) String() string {
	return fmt.Sprintf("base %v, hs %v, %d entries %.200v", s.base, s.hs, len(s.ents), s.ents)
}

func (s logState) last() uint64 { return s.base.index + uint64(len(s.ents)) }

func (s logState) term(i uint64) (term uint64) {
	if i == s.base.index {
		return s.base.term
	}
	_, err := fmt.Sscanf(s.ents[i-s.base.index-1], "%d:", &term)
	if err != nil {
		panic(err)
	}
	return term
}

func readState(t *testing.T, l *Log) logState {
	t.Helper()
	first, _ := l.FirstIndex()
	term, err := l.Term(first - 1)
	check(t, err)
	s := logState{base: entryID{first - 1, term}}
	if hs := l.HardState(); hs != nil {
		s.hs = hardState{hs.GetTerm(), hs.GetVote(), hs.GetCommit()}
	}
	for _, e := range all(t, l, 2000) {
		s.ents = append(s.ents, fmt.Sprintf("%d:%s", e.GetTerm(), e.GetData()))
	}
	return s
}

// crashWorld drives a log and knows which states a crash may leave.
type crashWorld struct {
	t   *testing.T
	rng *rand.Rand
	fs  *vfs.Mem
	opt Options
	log *Log

	// possible are the states that a crash now may leave: the last one known
	// to be durable, and all that were begun since. The last is the present.
	possible []logState

	// fuse is the number of operations until the disk fails, and burnt what
	// it fails with from then on; once makes it a single failure.
	fuse  int
	burnt error
	once  bool
}

func (w *crashWorld) hook(op vfs.Op, _ string, _ int64, n int) error {
	if w.fuse--; w.fuse > 0 || w.fuse < 0 && w.once {
		return nil
	}
	if op == vfs.OpWrite && w.rng.IntN(2) == 0 && n > 0 {
		return &vfs.ShortWrite{N: w.rng.IntN(n), Err: w.burnt}
	}
	return w.burnt
}

func (w *crashWorld) present() logState { return w.possible[len(w.possible)-1] }

// step does one random thing, and reports whether it succeeded.
func (w *crashWorld) step() bool {
	now := w.present()
	next := logState{now.base, now.hs, slices.Clone(now.ents)}
	durable := false
	var err error
	switch k := w.rng.IntN(20); {
	case k < 12:
		var b Batch
		if w.rng.IntN(8) > 0 {
			first := now.last() + 1
			if lowest := max(now.base.index, now.hs.commit) + 1; w.rng.IntN(5) == 0 {
				first = lowest + w.rng.Uint64N(first-lowest+1)
			}
			term := max(now.hs.term, now.term(first-1)) + w.rng.Uint64N(2)
			size := w.rng.IntN(1 << (2 + w.rng.IntN(10)))
			b.Entries = run(first, term, 1+w.rng.IntN(4), size)
			next.ents = next.ents[:first-now.base.index-1]
			for _, e := range b.Entries {
				next.ents = append(next.ents, fmt.Sprintf("%d:%s", term, e.GetData()))
			}
		}
		if w.rng.IntN(2) == 0 {
			hs := hardState{now.hs.term, now.hs.vote, now.hs.commit + w.rng.Uint64N(next.last()-now.hs.commit+1)}
			if w.rng.IntN(3) == 0 {
				hs.term, hs.vote = hs.term+1, w.rng.Uint64N(3)
			}
			b.HardState, next.hs = hardStateMsg(hs.term, hs.vote, hs.commit), hs
		}
		w.possible = append(w.possible, next)
		err = w.log.Append(b)
	case k < 16:
		err, durable = w.log.Sync(), true
		if err != nil {
			durable = false
		}
		next = now
	case k < 17:
		_ = w.log.Prepare() // may fail without harm
		return true
	case k < 18:
		if len(now.ents) == 0 {
			return true
		}
		n := 1 + w.rng.IntN(len(now.ents))
		next.base = entryID{now.base.index + uint64(n), now.term(now.base.index + uint64(n))}
		next.ents, next.hs = next.ents[n:], now.hs.commitAtLeast(next.base)
		w.possible = append(w.possible, next)
		if err = w.log.Compact(next.base.index); err != nil && w.log.Err() == nil {
			err = nil // could not delete files
		}
		durable = err == nil
	case k < 19 && w.rng.IntN(4) == 0:
		next.base = entryID{max(now.hs.commit, now.base.index) + 1 + w.rng.Uint64N(5), max(now.hs.term, now.base.term)}
		next.ents, next.hs = nil, now.hs.commitAtLeast(next.base)
		w.possible = append(w.possible, next)
		if err = w.log.Reset(next.base.index, next.base.term); err != nil && w.log.Err() == nil {
			err = nil
		}
		durable = err == nil
	default:
		if w.rng.IntN(10) > 0 {
			return true
		}
		if err = w.log.Close(); err == nil {
			w.possible = []logState{now}
		}
		return false
	}
	if err != nil {
		if !errors.Is(err, w.burnt) || w.log.Err() == nil {
			w.t.Fatalf("%v", err)
		}
		if again := w.log.Append(Batch{Entries: run(now.last()+1, 1<<40, 1, 1)}); again != w.log.Err() {
			w.t.Fatalf("after %v, Append = %v", err, again)
		}
		return false
	}
	if durable {
		w.possible = []logState{next}
	}
	if len(w.possible) > 40 { // bounds the test's memory
		check(w.t, w.ignoreFuse(w.log.Sync))
		w.possible = []logState{w.present()}
	}
	return true
}

func (w *crashWorld) ignoreFuse(fn func() error) error {
	fuse := w.fuse
	w.fuse = 1 << 30
	err := fn()
	w.fuse = fuse
	return err
}

// reopen opens the log after the process has ended, which may itself be
// interrupted, and checks what is there.
func (w *crashWorld) reopen() {
	for attempt := 0; ; attempt++ {
		switch {
		case w.rng.IntN(4) == 0:
			w.fs.Kill()
		default:
			w.fs.Crash(w.rng)
		}
		w.fuse, w.once = 1<<30, false
		if attempt < 2 && w.rng.IntN(3) == 0 {
			w.fuse = 1 + w.rng.IntN(20)
		}
		opt := w.opt
		opt.SegmentSize = []int64{4500, 6000, 9000}[w.rng.IntN(3)]
		l, rec, err := OpenLog(w.fs, "log", opt)
		if err != nil {
			var corrupt *CorruptError
			if errors.As(err, &corrupt) || !errors.Is(err, w.burnt) {
				w.t.Fatalf("reopen: %v", err)
			}
			continue
		}
		w.fuse = 1 << 30
		got := readState(w.t, l)
		if !slices.ContainsFunc(w.possible, got.equal) {
			w.t.Fatalf("recovered (%+v)\n%v\nwhich is none of the %d states from\n%v\nto\n%v", rec, got, len(w.possible), w.possible[0], w.present())
		}
		if rec.FirstIndex != got.base.index+1 || rec.LastIndex != got.last() {
			w.t.Fatalf("reported %+v, got %v", rec, got)
		}
		w.log, w.possible = l, []logState{got}
		return
	}
}

// TestLogSurvivesCrashes lives many lives of a few logs, each ended by a power
// cut or a kill between two operations on the disk, or by a failure of one: what
// is there afterwards must be exactly what was at some moment since the last
// sync, and must stay.
func TestLogSurvivesCrashes(t *testing.T) {
	logs := 300
	if testing.Short() {
		logs = 60
	}
	for seed := range uint64(logs) {
		func() {
			w := &crashWorld{t: t, rng: newRand(seed), opt: Options{LogID: testLogID, CacheSize: 3000}, burnt: syscall.EIO}
			defer func() {
				if t.Failed() {
					t.Fatalf("failed with seed %d", seed)
				}
			}()
			w.fs = vfs.NewMem(w.hook)
			w.possible = []logState{{}}
			w.reopen()
			for range 12 {
				w.fuse, w.once = 1+w.rng.IntN(100), w.rng.IntN(2) == 0
				for range 60 {
					if !w.step() {
						break
					}
				}
				w.reopen()
			}
		}()
	}
}
