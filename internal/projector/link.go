package projector

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/conclave-dev/conclave/internal/projection/mirror"
	"github.com/conclave-dev/conclave/internal/projection/stream"
	"github.com/conclave-dev/conclave/internal/projection/summary"
)

const (
	// silence of a stream after which it is given up: the leader says something every
	// second.
	silence = mirror.FreshFor
	// retry is how long to wait before the next member is asked, and before the same
	// one is asked again.
	retry, retrySame = 50 * time.Millisecond, 500 * time.Millisecond
)

// link is the stream, or the search for who has it. Only the leader answers; the
// others say so at once.
type link struct {
	messages chan message
	// call counts the streams; what an earlier one still says is nobody's business.
	call int
	// end ends the stream; nil if there is none.
	end context.CancelFunc
	// heard is when it said something last, or was begun.
	heard time.Time
	// tried are the pods that were asked since one had something to say; next is when
	// the next one may be.
	tried map[string]bool
	next  time.Time
	// anew: the next stream has to begin from nothing.
	anew bool
	// unsupported: a member that was asked does not know what is meant.
	unsupported bool
}

// message is what a stream says; err is its end.
type message struct {
	call   int
	update *mirror.Update
	err    error
}

// hangUp ends the stream.
func (f *follower) hangUp() {
	if f.link.end != nil {
		f.link.end()
		f.link.end = nil
	}
	f.mirror.Broken()
}

// connect sees to it that there is a stream, from who leads.
func (f *follower) connect(t Target, now time.Time) {
	l := &f.link
	if l.end != nil && now.Sub(l.heard) > silence {
		f.hangUp()
	}
	if l.end != nil || now.Before(l.next) || t.API == nil {
		return
	}
	m, ok := f.choose(t)
	if !ok {
		return
	}
	api, err := t.API.At(m.Endpoint)
	if err != nil {
		l.next = now.Add(retrySame)
		return
	}
	request := stream.Request(f.mirror, f.patterns, summary.MaxAtRisk, !l.anew)
	ctx, cancel := context.WithCancel(f.ctx)
	l.call++
	l.end, l.heard, l.next = cancel, now, now.Add(retry)
	call := l.call
	f.p.wg.Go(func() {
		defer cancel()
		say := func(m message) bool {
			m.call = call
			select {
			case l.messages <- m:
				return true
			case <-ctx.Done():
				return false
			}
		}
		s, err := api.WatchSessions(ctx, request)
		if err != nil {
			say(message{err: err})
			return
		}
		for {
			got, err := s.Recv()
			if err != nil {
				say(message{err: err})
				return
			}
			u, err := stream.Update(got)
			if !say(message{update: u, err: err}) || err != nil {
				return
			}
		}
	})
}

// choose returns whom to ask: who leads by its own word, then everybody in turn.
func (f *follower) choose(t Target) (chosen Member, ok bool) {
	l := &f.link
	for _, m := range t.Members {
		if m.Address != "" && !l.tried[m.Pod] && (!ok || m.Pod == t.Leader) {
			chosen, ok = m, true
		}
	}
	switch {
	case !ok && l.tried != nil: // all have been asked
		l.tried, l.next = nil, f.p.o.Now().Add(retrySame)
	case ok && l.tried == nil:
		l.tried = map[string]bool{chosen.Pod: true}
	case ok:
		l.tried[chosen.Pod] = true
	}
	return chosen, ok
}

// take takes in what the stream says.
func (f *follower) take(m message) {
	l, now := &f.link, f.p.o.Now()
	if m.call != l.call || l.end == nil {
		return
	}
	if m.err == nil {
		l.heard, l.tried, l.unsupported, l.anew = now, nil, false, false
		d, err := f.mirror.Apply(m.update, now)
		if err == nil {
			for _, e := range d.Ended {
				if e.Expired {
					f.expired(e, now)
				}
			}
			f.planner.Apply(d, now)
			return
		}
		m.err = err
		l.next = now.Add(retrySame)
	}
	if status.Code(m.err) == codes.Unimplemented {
		l.unsupported = true
	}
	log.Log.V(1).Info("no stream of sessions", "cluster", f.key, "why", m.err.Error())
	f.hangUp()
}
