package witness

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// Shown is a Lease as a watch showed it.
type Shown struct {
	// At is when the reader saw it, by his clock; Gone: it was deleted.
	At   time.Time
	Gone bool
	// Subject is the node or the election, Node the holder's, empty if nobody holds.
	Subject, Node string
	Holder        string
	Session       uint64
	Czxid, Token  int64
	Transitions   int32
	Duration      time.Duration
	Renewed       time.Time
}

// Read is a Lease of the operator's making as it is now.
func Read(l *coordinationv1.Lease, at time.Time, gone bool) Shown {
	number := func(key string, base int) int64 {
		n, _ := strconv.ParseUint(strings.TrimPrefix(l.Annotations["conclave.dev/"+key], "0x"), base, 64)
		return int64(n)
	}
	s := Shown{At: at, Gone: gone, Subject: l.Annotations["conclave.dev/path"], Node: l.Annotations["conclave.dev/holder-path"],
		Session: uint64(number("session", 16)), Czxid: number("czxid", 16), Token: number("fencing-token", 10)}
	if h := l.Spec.HolderIdentity; h != nil {
		s.Holder = *h
	}
	if n := l.Spec.LeaseTransitions; n != nil {
		s.Transitions = *n
	}
	if d := l.Spec.LeaseDurationSeconds; d != nil {
		s.Duration = time.Duration(*d) * time.Second
	}
	if r := l.Spec.RenewTime; r != nil {
		s.Renewed = r.Time
	}
	return s
}

// held tells whether somebody is shown as the holder.
func (s Shown) held() bool { return !s.Gone && s.Holder != "" }

// same tells whether two have the same holder.
func (s Shown) same(o Shown) bool { return s.Node == o.Node && s.Czxid == o.Czxid }

// Child is an ephemeral child.
type Child struct {
	Name  string
	Czxid int64
	Owner uint64
}

// State is the children of a node from a moment on.
type State struct {
	// At is when the client was told that something had changed.
	At time.Time
	// Version is the node's count of changes of its children: from it follows whether
	// some went unseen.
	Version  int32
	Children []Child
}

// Record is a client's record of a node's children.
type Record struct {
	Parent string
	States []State
}

// missed tells whether there were states between two that were not seen: several
// changes were told as one.
func missed(a, b State) bool { return b.Version-a.Version > 1 }

// lowest is the candidate with the lowest number, which is what the last ten
// letters of a sequential node's name are.
func (s State) lowest() (Child, bool) {
	const digits = 10
	number := func(c Child) (int, bool) {
		if len(c.Name) < digits || c.Owner == 0 {
			return 0, false
		}
		n, err := strconv.Atoi(c.Name[len(c.Name)-digits:])
		return n, err == nil
	}
	list := slices.DeleteFunc(slices.Clone(s.Children), func(c Child) bool { _, ok := number(c); return !ok })
	if len(list) == 0 {
		return Child{}, false
	}
	return slices.MinFunc(list, func(a, b Child) int {
		x, _ := number(a)
		y, _ := number(b)
		return cmp.Compare(x, y)
	}), true
}

// named is the child of a name.
func (s State) named(name string) (Child, bool) {
	i := slices.IndexFunc(s.Children, func(c Child) bool { return c.Name == name })
	if i < 0 {
		return Child{}, false
	}
	return s.Children[i], true
}

// Kind is what a window does to Leases.
type Kind int

const (
	// Change: the members' leader is another. Leases may be late, and don't run out.
	Change Kind = iota
	// Gap: the operator is away for a while. Leases may be late, and may run out.
	Gap
	// Silence: nobody can know who holds, or nobody can say it. Leases are not
	// renewed.
	Silence
)

// Window is a time in which a fault lasted.
type Window struct {
	Kind     Kind
	From, To time.Time
	Why      string
}

// touches tells whether the window and a time have something in common.
func (w Window) touches(from, to time.Time) bool { return !from.After(w.To) && !to.Before(w.From) }

// History is all that is known of one Lease.
type History struct {
	Name string
	// Election: the record is of the candidates' parent, which is the Lease's subject.
	// Otherwise it is of the parent of the subject.
	Election bool
	Shown    []Shown
	Record   Record
	Windows  []Window
	// End is when both readers stopped.
	End time.Time
}

// holder is who holds by the record.
func (h *History) holder(s State) (Child, bool) {
	if h.Election {
		return s.lowest()
	}
	if len(h.Shown) == 0 {
		return Child{}, false
	}
	return s.named(strings.TrimPrefix(h.Shown[0].Subject, h.Record.Parent+"/"))
}

func (h *History) excused(from, to time.Time, kinds ...Kind) bool {
	return slices.ContainsFunc(h.Windows, func(w Window) bool { return slices.Contains(kinds, w.Kind) && w.touches(from, to) })
}
