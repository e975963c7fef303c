package side

import (
	"fmt"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/diff/script"
)

// Do does one step and returns what came of it. A step that its slot is in no
// state for does nothing: scripts stay runnable when steps are taken out. The
// error is for an ensemble that cannot be asked at all.
func (s *Side) Do(step script.Step) ([]Frame, error) {
	if step.Session < 0 || step.Session >= len(s.slots) {
		return nil, fmt.Errorf("no slot for session %d", step.Session)
	}
	sl := s.slots[step.Session]
	switch step.Verb {
	case script.Burst:
		return s.burst(sl, step.Ops)
	case script.Open:
		return s.open(sl, step.Member)
	case script.Close:
		return s.close(sl, step.Ops)
	case script.Drop:
		return s.drop(sl)
	case script.Attach:
		return s.attach(sl, step.Member)
	case script.Move:
		return s.move(sl, step.Member)
	case script.Expire:
		return s.expire(step)
	case script.Reap:
		return s.reap(sl, step.How)
	case script.Forge:
		return s.forge(sl, step.Member, step.How)
	case script.Greet:
		return s.greet(step.Member, step.How)
	case script.Sweep:
		return s.sweep()
	}
	return nil, fmt.Errorf("unknown step %q", step.Verb)
}

// flush takes in what a session has been told and not read yet.
func (s *Side) flush(sl *slot) ([]Frame, error) {
	if sl.conn == nil {
		return nil, nil
	}
	return s.exchange(sl, nil)
}

// flushAll takes in what all sessions have been told, but for one.
func (s *Side) flushAll(but *slot) (frames []Frame, err error) {
	for _, sl := range s.slots {
		if sl == but {
			continue
		}
		more, err := s.flush(sl)
		if err != nil {
			return frames, err
		}
		frames = append(frames, more...)
	}
	return frames, nil
}

// sweep reads everything through every member, and tells what the first has and
// what the others have otherwise.
func (s *Side) sweep() ([]Frame, error) {
	frames, err := s.flushAll(nil)
	if err != nil {
		return frames, err
	}
	var first []Frame
	for i := range s.probes {
		if err := s.bringUp(i); err != nil {
			return frames, err
		}
		var mine []Frame
		trees := []string{s.places.Root}
		if s.settled {
			trees = append(trees, s.places.Quota)
		}
		for _, top := range trees {
			err := s.walk(s.probes[i], top, func(path string, replies []wire.Reply) {
				for j, op := range []*script.Op{readData, readACL, readChildren} {
					replies[j].Zxid = 0
					f := s.tell(op, replies[j])
					f.Who = "sweep"
					f.Op = nil
					f.Text = s.hide(path) + " " + f.Text
					mine = append(mine, f)
				}
			})
			if err != nil {
				return frames, err
			}
		}
		if i == 0 {
			first = mine
			frames = append(frames, mine...)
			continue
		}
		for j := range max(len(first), len(mine)) {
			a, b := "nothing", "nothing"
			if j < len(first) {
				a = first[j].String()
			}
			if j < len(mine) {
				b = mine[j].String()
			}
			if a != b {
				frames = append(frames, Frame{Who: "sweep", Text: fmt.Sprintf("MEMBERS DIFFER: member 1 has %s, member %d has %s", a, i+1, b)})
				break
			}
		}
	}
	return frames, nil
}
