package witness

import (
	"fmt"
	"slices"
	"time"
)

// Limits are what Check holds a history to.
type Limits struct {
	// Outlive is for how long a holder is shown after his node is gone, while there is
	// a quorum and an operator.
	Outlive time.Duration
	// Flight is for how long a write may have been on its way when a silence began.
	Flight time.Duration
}

// Finding is what Check has to say of a history.
type Finding struct {
	// Violations are what must not be.
	Violations []string
	// Handovers seen, of which Unjudged could not be compared with the record, which
	// has a gap there.
	Handovers, Unjudged int
	// Outlived is for how long each holder was shown after his node was gone, Taken how
	// long after the record each new one was shown. Faults are left out.
	Outlived, Taken []time.Duration
	// Renewals that changed nothing else.
	Renewals int
	// RanOut are the times at which who follows the Lease as client-go does took it
	// for run out.
	RanOut []time.Time
}

func (f *Finding) violation(h *History, format string, args ...any) {
	f.Violations = append(f.Violations, "Lease "+h.Name+": "+fmt.Sprintf(format, args...))
}

// Check judges a history.
func Check(h *History, l Limits) *Finding {
	f := &Finding{}
	f.tokens(h)
	f.holders(h, l)
	f.outlived(h, l)
	f.renewals(h, l)
	return f
}

// tokens: the fencing token and the count of hand-overs rise with each, and at no
// other time.
func (f *Finding) tokens(h *History) {
	var last *Shown
	recreated := false
	for i := range h.Shown {
		s := &h.Shown[i]
		if !s.held() {
			recreated = recreated || s.Gone
			continue
		}
		switch {
		case last == nil:
		case s.same(*last):
			if s.Token != last.Token {
				f.violation(h, "the token is %d and then %d, and %s holds all the time", last.Token, s.Token, s.Node)
			}
			if s.Transitions != last.Transitions && !recreated {
				f.violation(h, "leaseTransitions is %d and then %d, and %s holds all the time", last.Transitions, s.Transitions, s.Node)
			}
		default:
			f.Handovers++
			if s.Token <= last.Token {
				f.violation(h, "the token of %s is %d, and that of %s before it was %d", s.Node, s.Token, last.Node, last.Token)
			}
			if s.Transitions <= last.Transitions && !recreated {
				f.violation(h, "leaseTransitions is %d with %s, and was %d with %s before it", s.Transitions, s.Node, last.Transitions, last.Node)
			}
		}
		if s.Token < s.Czxid {
			f.violation(h, "the token %d of %s is less than its czxid %d", s.Token, s.Node, s.Czxid)
		}
		last, recreated = s, false
	}
}

// holders: those shown are, in this order, among those who held by the record, and
// none before he did.
func (f *Finding) holders(h *History, l Limits) {
	at := 0
	var last *Shown
	for i := range h.Shown {
		s := &h.Shown[i]
		if last != nil && s.held() == last.held() && s.Gone == last.Gone && (!s.held() || s.same(*last)) {
			continue
		}
		first := last == nil
		last = s
		found, gap := -1, false
		// Later is too late, but in a fault, in which the record may be late as well.
		until := s.At.Add(l.Flight)
		fault := h.excused(s.At, until, Change, Gap, Silence)
		for j := at; j < len(h.Record.States) && found < 0; j++ {
			gap = gap || j > 0 && (fault || !h.Record.States[j-1].At.After(until)) && missed(h.Record.States[j-1], h.Record.States[j])
			c, ok := h.holder(h.Record.States[j])
			switch {
			case !s.held() && !ok, s.held() && ok && s.Node == h.Record.Parent+"/"+c.Name && s.Czxid == c.Czxid && s.Session == c.Owner:
				found = j
			}
		}
		switch {
		case found >= 0:
			at = found
			now := h.Record.States[found].At
			if !first && s.held() && !h.excused(now, s.At, Change, Gap, Silence) {
				f.Taken = append(f.Taken, max(0, s.At.Sub(now)))
			}
			switch {
			case !now.After(until) || h.excused(s.At, now, Change, Gap, Silence):
			case gap:
				f.Unjudged++
			default:
				f.violation(h, "%q is shown as the holder %v before it was", s.Node, now.Sub(s.At).Round(time.Millisecond))
			}
		case gap:
			f.Unjudged++
		case s.held():
			f.violation(h, "%s (czxid %#x, session %#x) is shown as the holder, and never was after what was shown before", s.Node, s.Czxid, s.Session)
		default:
			f.violation(h, "nobody is shown as the holder, and there was always one after what was shown before")
		}
	}
}

// outlived: a holder is not shown for long after his node is gone.
func (f *Finding) outlived(h *History, l Limits) {
	for i := range h.Shown {
		s := &h.Shown[i]
		if !s.held() || i > 0 && h.Shown[i-1].held() && h.Shown[i-1].same(*s) {
			continue
		}
		until := h.End
		for _, next := range h.Shown[i+1:] {
			if !next.held() || !next.same(*s) {
				until = next.At
				break
			}
		}
		for j := 1; j < len(h.Record.States); j++ {
			was, is := h.Record.States[j-1], h.Record.States[j]
			if !has(was, h, s) || has(is, h, s) {
				continue
			}
			if d := max(0, until.Sub(is.At)); !h.excused(is.At, until, Change, Gap, Silence) {
				f.Outlived = append(f.Outlived, d)
				if d > l.Outlive {
					f.violation(h, "%s is shown as the holder %v after it was gone", s.Node, d.Round(time.Millisecond))
				}
			}
		}
	}
}

func has(state State, h *History, s *Shown) bool {
	for _, c := range state.Children {
		if h.Record.Parent+"/"+c.Name == s.Node && c.Czxid == s.Czxid {
			return true
		}
	}
	return false
}

// renewals: a Lease that is held is renewed before it has run out, for those who
// follow it by their own clock, and not often; and not at all in a silence.
func (f *Finding) renewals(h *History, l Limits) {
	for i := range h.Shown {
		s := &h.Shown[i]
		next := h.End
		if i+1 < len(h.Shown) {
			next = h.Shown[i+1].At
		}
		if s.held() && next.Sub(s.At) > s.Duration {
			f.RanOut = append(f.RanOut, s.At.Add(s.Duration))
			if !h.excused(s.At, next, Gap, Silence) {
				f.violation(h, "it has run out: not renewed for %v, and good for %v, while %s held", next.Sub(s.At).Round(time.Millisecond), s.Duration, s.Node)
			}
		}
		for _, w := range h.Windows {
			if w.Kind == Silence && s.At.After(w.From.Add(l.Flight)) && s.At.Before(w.To) {
				f.violation(h, "it was written %v after the beginning of: %s", s.At.Sub(w.From).Round(time.Millisecond), w.Why)
			}
		}
		if i == 0 || !s.held() || !pure(&h.Shown[i-1], s) {
			continue
		}
		f.Renewals++
		// Of a renewal that follows another, which was not late: after such a one those
		// that were late together part.
		if i > 1 && pure(&h.Shown[i-2], &h.Shown[i-1]) && h.Shown[i-1].Renewed.Sub(h.Shown[i-2].Renewed) < s.Duration*3/4 &&
			s.Renewed.Sub(h.Shown[i-1].Renewed) < s.Duration/6 {
			f.violation(h, "it is renewed twice within %v, and is good for %v", s.Renewed.Sub(h.Shown[i-1].Renewed), s.Duration)
		}
	}
}

// RanOutIn tells whether the Lease ran out in a window.
func (f *Finding) RanOutIn(w Window) bool {
	return slices.ContainsFunc(f.RanOut, func(at time.Time) bool { return w.touches(at, at) })
}

// pure tells whether b renews a and says nothing else.
func pure(a, b *Shown) bool {
	return a.held() && b.held() && a.same(*b) && a.Token == b.Token && a.Transitions == b.Transitions && b.Renewed.After(a.Renewed)
}
