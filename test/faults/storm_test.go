//go:build faults

package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// storm breaks things, one after another and beside each other, and mends each
// after a while.
type storm struct {
	c   *cluster
	rng *rand.Rand
	// undo is what is to be mended, by time.
	undo []mending
	// troubled are the members that something is wrong with.
	troubled map[*member]int
}

type mending struct {
	at time.Time
	do func() error
	m  *member
}

// calamity is something that happens to a member. It returns how it is mended, nil
// if it does not apply now.
type calamity struct {
	name   string
	weight int
	// harmless ones can happen to any number of members.
	harmless bool
	// longest is how long it may last.
	longest time.Duration
	do      func(s *storm, m *member) (mend func() error, err error)
}

// brief things are over before most sessions are.
const brief = 7 * time.Second

var calamities = []calamity{
	{"kill", 6, false, brief, (*storm).kill},
	{"pause", 5, false, brief, (*storm).pause},
	{"isolate", 4, false, brief, (*storm).isolate},
	{"deaf", 4, false, brief, func(s *storm, m *member) (func() error, error) { return s.cut(m, false) }},
	{"mute", 4, false, brief, func(s *storm, m *member) (func() error, error) { return s.cut(m, true) }},
	{"one path", 4, true, brief, (*storm).onePath},
	{"clients' path", 4, true, brief, (*storm).clientsPath},
	{"unplug a client", 4, true, 20 * time.Second, (*storm).unplug},
	{"transfer", 5, true, brief, (*storm).transfer},
	{"snapshot", 2, true, brief, (*storm).snapshot},
	{"fill", 4, false, brief, (*storm).fill},
	{"blackout", 1, false, brief, (*storm).blackout},
}

// rage lets things happen for d, and mends everything.
func (c *cluster) rage(d time.Duration, seed uint64) {
	c.t.Helper()
	s := &storm{c: c, rng: rand.New(rand.NewPCG(seed, 77)), troubled: map[*member]int{}}
	end := time.Now().Add(d)
	next := time.Now()
	for time.Now().Before(end) {
		slices.SortStableFunc(s.undo, func(a, b mending) int { return a.at.Compare(b.at) })
		wake := next
		if len(s.undo) > 0 && s.undo[0].at.Before(wake) {
			wake = s.undo[0].at
		}
		if wake.After(end) {
			wake = end
		}
		timer := time.NewTimer(time.Until(wake))
		<-timer.C
		if len(s.undo) > 0 && !s.undo[0].at.After(time.Now()) {
			u := s.undo[0]
			s.undo = s.undo[1:]
			s.mend(u)
			continue
		}
		if !next.After(time.Now()) {
			s.strike()
			next = time.Now().Add(s.between(200*time.Millisecond, 3*time.Second))
		}
	}
	for _, u := range s.undo {
		s.mend(u)
	}
	s.c.must(c.net.mend())
	c.t.Log("everything is mended")
}

func (s *storm) between(low, high time.Duration) time.Duration {
	return low + time.Duration(s.rng.Int64N(int64(high-low)))
}

func (s *storm) mend(u mending) {
	s.c.t.Helper()
	if u.m != nil {
		if s.troubled[u.m]--; s.troubled[u.m] == 0 {
			delete(s.troubled, u.m)
		}
	}
	s.c.must(u.do())
}

// strike lets one thing happen. Most of the time a majority is left in peace.
func (s *storm) strike() {
	s.c.t.Helper()
	total := 0
	for _, f := range calamities {
		total += f.weight
	}
	n := s.rng.IntN(total)
	m := s.c.members[s.rng.IntN(len(s.c.members))]
	for _, f := range calamities {
		if n -= f.weight; n >= 0 {
			continue
		}
		others := len(s.troubled)
		if s.troubled[m] > 0 {
			others--
		}
		if !f.harmless && others >= (len(s.c.members)-1)/2 && s.rng.IntN(6) > 0 {
			return
		}
		undo, err := f.do(s, m)
		s.c.must(err)
		if undo == nil {
			return
		}
		length := s.between(300*time.Millisecond, f.longest)
		s.c.t.Logf("%s: %s of member %d, for %v", time.Now().Format("15:04:05.000"), f.name, m.id, length.Round(time.Millisecond))
		u := mending{at: time.Now().Add(length), do: undo}
		if !f.harmless {
			u.m = m
			s.troubled[m]++
		}
		s.undo = append(s.undo, u)
		return
	}
}

func nothing() error { return nil }

func (s *storm) kill(m *member) (func() error, error) {
	return m.start, m.kill()
}

func (s *storm) blackout(*member) (func() error, error) {
	for _, m := range s.c.members {
		if err := m.kill(); err != nil {
			return nil, err
		}
	}
	return func() error {
		for _, m := range s.c.members {
			if err := m.start(); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (s *storm) pause(m *member) (func() error, error) {
	return func() error { return m.pause(false) }, m.pause(true)
}

func (s *storm) isolate(m *member) (func() error, error) {
	return s.paths(m, true, true)
}

// cut cuts a member's paths to all others, or theirs to it.
func (s *storm) cut(m *member, mute bool) (func() error, error) { return s.paths(m, mute, !mute) }

func (s *storm) paths(m *member, out, in bool) (func() error, error) {
	set := func(open bool) error {
		var errs []error
		for _, o := range s.c.members {
			if o == m {
				continue
			}
			if out {
				errs = append(errs, s.c.net.path(m.id, o.id, open))
			}
			if in {
				errs = append(errs, s.c.net.path(o.id, m.id, open))
			}
		}
		return errors.Join(errs...)
	}
	return func() error { return set(true) }, set(false)
}

func (s *storm) onePath(m *member) (func() error, error) {
	o := s.c.members[s.rng.IntN(len(s.c.members))]
	if o == m {
		return nil, nil
	}
	return func() error { return s.c.net.path(m.id, o.id, true) }, s.c.net.path(m.id, o.id, false)
}

// clientsPath cuts all clients off from a member, in one direction or both.
func (s *storm) clientsPath(m *member) (func() error, error) {
	ways := 1 + s.rng.IntN(3)
	set := func(open bool) (err error) {
		if ways&1 != 0 {
			err = s.c.net.path(hub, m.id, open)
		}
		if ways&2 != 0 {
			err = errors.Join(err, s.c.net.path(m.id, hub, open))
		}
		return err
	}
	return func() error { return set(true) }, set(false)
}

func (s *storm) unplug(*member) (func() error, error) {
	cl := s.c.load.clients[s.rng.IntN(len(s.c.load.clients))]
	cl.unplug(true)
	return func() error {
		cl.unplug(false)
		return nil
	}, nil
}

func (s *storm) transfer(m *member) (func() error, error) {
	if s.rng.IntN(3) == 0 {
		m = nil
	}
	// Whether it comes about is the ensemble's affair: things are broken.
	if err := s.c.transfer(m); err != nil {
		s.c.t.Logf("transfer: %v", err)
	}
	return nothing, nil
}

func (s *storm) snapshot(m *member) (func() error, error) {
	if !m.up() {
		return nil, nil
	}
	api, err := m.admin()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), orderTime)
	defer cancel()
	if _, err := api.TakeSnapshot(ctx, &adminpb.TakeSnapshotRequest{}); err != nil {
		s.c.t.Logf("snapshot: %v", err)
	}
	return nothing, nil
}

// ballast is a file that takes the room on a small disk.
func ballast(m *member) string { return filepath.Join(m.dir, "ballast") }

// fillDisk takes all the room that there is.
func fillDisk(m *member) error {
	f, err := os.OpenFile(ballast(m), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		switch _, err := f.Write(make([]byte, size)); {
		case errors.Is(err, unix.ENOSPC):
			size /= 16
		case err != nil:
			return err
		}
	}
	return nil
}

// roomAgain ends that; a member that has ended because of it is started.
func roomAgain(m *member) error {
	if err := os.Remove(ballast(m)); err != nil {
		return err
	}
	if m.fell() {
		if err := m.fullDisk(); err != nil {
			return err
		}
	}
	return m.start()
}

func (s *storm) fill(m *member) (func() error, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(m.dir, &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		return nil, err
	}
	if _, err := os.Stat(ballast(m)); err == nil {
		return nil, nil
	}
	return func() error { return roomAgain(m) }, fillDisk(m)
}

func TestStormOfThree(t *testing.T) { rageOn(t, 3) }

func TestStormOfFive(t *testing.T) { rageOn(t, 5) }

// round is how long one ensemble is used: its whole history is judged at once.
const round = time.Minute

// rageOn lets everything happen to an ensemble under load, one of whose members
// has a small disk; and to another one, until the time is over.
func rageOn(t *testing.T, size int) {
	n := seed(t)
	for left := seconds(t); left > 0 && !t.Failed(); left -= round {
		t.Run(fmt.Sprintf("FAULTS_SEED=%d", n), func(t *testing.T) {
			c := newCluster(t, size, 2).static()
			c.newLoad(n, anySession...)
			c.addJava(n, 10*time.Second)
			c.must(c.load.progress())
			c.rage(min(left, round), n)
			for _, m := range c.members {
				c.must(m.start())
			}
			c.judge()
		})
		n++
	}
}
