package summary

import (
	"fmt"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/internal/projection/mirror"
)

// Reasons of Events.
const (
	// ReasonSessionExpired is about one session.
	ReasonSessionExpired = "SessionExpired"
	// ReasonSessionsExpired is about many, at once.
	ReasonSessionsExpired = "SessionsExpired"
)

const (
	// maxNote is the longest text of an Event, in bytes: the API server takes 1 KiB.
	maxNote = 1000
	// single Events of sessions come at this rate at most, and so many at once.
	singleEvery = 2 * time.Second
	singleBurst = 5
	// backlog is how many Events wait at most until there is a turn for them. What
	// finds no room is told together.
	backlog = 2 * singleBurst
	// storm is how often many expiries are told as one.
	storm = 10 * time.Second
	// samples of sessions and of paths stand for the others.
	samples = 10
)

// Event is one to raise. It is about the pod, or about the cluster if that is zero.
type Event struct {
	Pod Pod
	// Action differs from Event to Event: what differs in its note alone is taken by
	// Kubernetes for the same again, and not told.
	Reason, Action, Note string
}

// Notices makes Events of sessions that have expired.
type Notices struct {
	tokens float64
	at     time.Time
	// pending are Events to raise, the oldest first; never more than backlog.
	pending []Event
	// many are those that have no Event of their own, since first.
	many struct {
		sessions, ephemerals int
		ids, paths           []string
		first                time.Time
		action               string
	}
}

// Expired takes in a session's end by expiry, and its client's pod, if there is one.
func (n *Notices) Expired(e mirror.End, pod Pod, now time.Time) {
	if n.at.IsZero() {
		n.tokens = singleBurst
	} else if now.After(n.at) {
		n.tokens = min(singleBurst, n.tokens+float64(now.Sub(n.at))/float64(singleEvery))
	}
	n.at = now
	if n.tokens >= 1 && n.many.sessions == 0 && len(n.pending)+2 <= backlog {
		n.tokens--
		note := describe(e, pod)
		action := fmt.Sprintf("Expire 0x%x", e.Session.ID)
		n.pending = append(n.pending, Event{Reason: ReasonSessionExpired, Action: action, Note: note})
		if pod != (Pod{}) {
			n.pending = append(n.pending, Event{Pod: pod, Reason: ReasonSessionExpired, Action: action, Note: note})
		}
		return
	}
	m := &n.many
	if m.sessions == 0 {
		m.first, m.action = now, fmt.Sprintf("Expire 0x%x and others", e.Session.ID)
	}
	m.sessions++
	m.ephemerals += held(e)
	if len(m.ids) < samples {
		m.ids = append(m.ids, who(e, pod))
	}
	if room := samples - len(m.paths); room > 0 {
		m.paths = append(m.paths, e.Paths[:min(room, len(e.Paths))]...)
	}
}

// Due tells whether there is an Event to raise, and if not, when to ask again, zero
// if there is nothing to wait for.
func (n *Notices) Due(now time.Time) (due bool, again time.Time) {
	if len(n.pending) > 0 {
		return true, now
	}
	if n.many.sessions == 0 {
		return false, time.Time{}
	}
	again = n.many.first.Add(storm)
	return !now.Before(again), again
}

// Next takes the Event that is due.
func (n *Notices) Next(now time.Time) Event {
	if len(n.pending) == 0 {
		return n.summary(now)
	}
	e := n.pending[0]
	n.pending = n.pending[1:]
	return e
}

// summary is the Event of many.
func (n *Notices) summary(now time.Time) Event {
	m := n.many
	n.many.sessions, n.many.ephemerals, n.many.ids, n.many.paths = 0, 0, nil, nil
	note := fmt.Sprintf("%d more sessions expired within %v: ", m.sessions, now.Sub(m.first).Round(time.Second))
	note += list(m.ids, m.sessions, maxNote/2-len(note))
	if m.ephemerals == 0 {
		note += "; they had no ephemeral nodes"
	} else {
		note += fmt.Sprintf("; %d ephemeral nodes went with them: ", m.ephemerals)
		note += list(m.paths, m.ephemerals, maxNote-len(note))
	}
	return Event{Reason: ReasonSessionsExpired, Action: m.action, Note: note}
}

// held is how many nodes went with a session.
func held(e mirror.End) int { return max(e.Session.Ephemerals, len(e.Paths)) }

func who(e mirror.End, pod Pod) string {
	text := fmt.Sprintf("0x%x", e.Session.ID)
	switch {
	case pod != (Pod{}):
		text += " of pod " + pod.Namespace + "/" + pod.Name
	case e.Session.Client.IsValid():
		text += " of " + e.Session.Client.String()
	}
	return text
}

func describe(e mirror.End, pod Pod) string {
	note := fmt.Sprintf("Session %s expired: nothing was heard of its client for %v", who(e, pod), e.Session.Timeout)
	n := held(e)
	if n == 0 {
		return note + "; it had no ephemeral nodes"
	}
	note += "; with it went "
	return note + list(e.Paths, n, maxNote-len(note))
}

// list names as many as fit into the room, in bytes, and says how many there are
// besides.
func list(some []string, all, room int) string {
	const more = len(", and 1000000 more")
	var b strings.Builder
	shown := 0
	for _, s := range some {
		if b.Len()+len(s)+2+more > room {
			break
		}
		if shown > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s)
		shown++
	}
	switch {
	case shown == all:
	case shown == 0:
		fmt.Fprintf(&b, "%d", all)
	default:
		fmt.Fprintf(&b, ", and %d more", all-shown)
	}
	return b.String()
}
