package leases

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/conclave-dev/conclave/internal/projection/mirror"
)

// Status is what became of the rules.
type Status struct {
	// State is what the mirror is worth, as of ObservedTime.
	State        mirror.State
	ObservedTime time.Time
	// Whole: everything has been told once. Before that nothing is known of what the
	// rules select.
	Whole bool
	// Mirrored Leases exist. Truncated have no room, Conflicts no name. Pending are
	// to be written.
	Mirrored, Truncated, Conflicts, Pending int
	Duration                                time.Duration
	// Rules in their order.
	Rules []RuleStatus
}

// RuleStatus is what became of one rule.
type RuleStatus struct {
	Name                           string
	Mirrored, Truncated, Conflicts int
	// Message is about the first conflict by name.
	Message string
}

// Status looks at every Lease.
func (p *Planner) Status(now time.Time) Status {
	s := Status{State: p.state, ObservedTime: p.confirmed, Whole: p.whole, Duration: p.Duration(), Rules: make([]RuleStatus, len(p.rules.list))}
	first := make([]string, len(p.rules.list))
	for i, r := range p.rules.list {
		s.Rules[i].Name = r.Name
	}
	for _, e := range p.entries {
		if w := p.lacks(e, now); w.class != none && w.class != renew || !w.at.IsZero() && !e.foreign {
			s.Pending++
		}
		var conflict string
		switch _, twice := e.active(); {
		case len(e.claims) == 0:
			continue
		case twice:
			conflict = fmt.Sprintf("Lease %s is wanted by %s", e.name, e.describe())
		case e.foreign:
			conflict = fmt.Sprintf("Lease %s exists, and is not of this cluster's making", e.name)
		}
		counted := 0
		for i, r := range p.rules.list {
			has := slices.ContainsFunc(e.claims, func(c *claim) bool { return c.rule == r })
			if !has {
				continue
			}
			counted++
			x := &s.Rules[i]
			switch {
			case conflict != "":
				x.Conflicts++
				if first[i] == "" || e.name < first[i] {
					first[i], x.Message = e.name, conflict
				}
			case !e.admitted:
				x.Truncated++
			case e.exists:
				x.Mirrored++
			}
		}
		switch {
		case counted == 0:
		case conflict != "":
			s.Conflicts++
		case !e.admitted:
			s.Truncated++
		case e.exists:
			s.Mirrored++
		}
	}
	return s
}

// describe names two of those that claim a Lease, and how many more there are.
func (e *entry) describe() string {
	list := make([]string, 0, len(e.claims))
	for _, c := range e.claims {
		list = append(list, c.describe())
	}
	slices.SortFunc(list, cmp.Compare[string])
	text := list[0] + " and by " + list[1]
	if n := len(list) - 2; n > 0 {
		text += fmt.Sprintf(", and %d more", n)
	}
	return text
}
