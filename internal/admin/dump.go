package admin

import (
	"bufio"
	"fmt"
	"slices"
	"time"
)

// expirySet is what expires at the same tick.
type expirySet[T any] struct {
	at    time.Time
	items []T
}

// expirySets groups items by the end of the tick in which they expire, soonest
// first; those that do not say when come first of all. Within a set they keep
// their order.
func expirySets[T any](items []T, expires func(*T) time.Time, tick time.Duration) []expirySet[T] {
	if tick <= 0 {
		tick = time.Second
	}
	var sets []expirySet[T]
	index := map[time.Time]int{}
	for i := range items {
		at := expires(&items[i])
		if !at.IsZero() {
			floor := at.Truncate(tick)
			if floor.Before(at) {
				floor = floor.Add(tick)
			}
			at = floor.UTC()
		}
		j, ok := index[at]
		if !ok {
			j = len(sets)
			index[at] = j
			sets = append(sets, expirySet[T]{at: at})
		}
		sets[j].items = append(sets[j].items, items[i])
	}
	slices.SortFunc(sets, func(a, b expirySet[T]) int { return a.at.Compare(b.at) })
	return sets
}

func sessionExpiry(s *Session) time.Time         { return s.Expires }
func connectionDeadline(c *Connection) time.Time { return c.Deadline }

// writeHeader writes the header of a set, with the time as Java's Date prints it.
func (e expirySet[T]) writeHeader(out *bufio.Writer) {
	at := "an unknown time"
	if !e.at.IsZero() {
		at = e.at.Format("Mon Jan 02 15:04:05 MST 2006")
	}
	fmt.Fprintf(out, "%d expire at %s:\n", len(e.items), at)
}

// answerDump writes sessions, ephemerals and connections. The sessions stand
// in the sets in which they expire on whoever runs the expiry clock, and in a
// plain list elsewhere, as in ZooKeeper.
func answerDump(s *Surface, st *Status, _ []byte, out *bufio.Writer) {
	sessions, conns := s.Source.Sessions(), s.Source.Connections()
	tick := s.Source.Configuration().TickTime

	out.WriteString("SessionTracker dump:\n")
	if st.Role == RoleLeader || st.Role == RoleStandalone {
		sets := expirySets(sessions, sessionExpiry, tick)
		fmt.Fprintf(out, "Session Sets (%d)/(%d):\n", len(sets), len(sessions))
		for _, set := range sets {
			set.writeHeader(out)
			for _, x := range set.items {
				fmt.Fprintf(out, "\t0x%x\n", uint64(x.ID))
			}
		}
	} else {
		fmt.Fprintf(out, "Global Sessions(%d):\n", len(sessions))
		for _, x := range sessions {
			fmt.Fprintf(out, "0x%x\t%dms\n", uint64(x.ID), x.Timeout.Milliseconds())
		}
	}

	out.WriteString("ephemeral nodes dump:\n")
	holders := slices.DeleteFunc(slices.Clone(sessions), func(x Session) bool { return len(x.Ephemerals) == 0 })
	fmt.Fprintf(out, "Sessions with Ephemerals (%d):\n", len(holders))
	for _, x := range holders {
		fmt.Fprintf(out, "0x%x:\n", uint64(x.ID))
		for _, path := range x.Ephemerals {
			fmt.Fprintf(out, "\t%s\n", path)
		}
	}

	out.WriteString("Connections dump:\n")
	sets := expirySets(conns, connectionDeadline, tick)
	fmt.Fprintf(out, "Connections Sets (%d)/(%d):\n", len(sets), len(conns))
	for _, set := range sets {
		set.writeHeader(out)
		for _, c := range set.items {
			fmt.Fprintf(out, "\tip: /%s sessionId: 0x%x\n", c.Remote, uint64(c.Session))
		}
	}
}
