package transport

import (
	"log/slog"
	"sync"
	"time"
)

// quietLog writes at most one line of a kind in ten seconds, with the number
// of those that it swallowed: whoever floods the peer port does not flood the
// log.
type quietLog struct {
	log *slog.Logger
	mu  sync.Mutex
	// kinds holds one entry for every key ever used: keys are literals, or a
	// literal with a peer that was set, so that a stranger cannot add any.
	kinds map[string]*quietKind
}

type quietKind struct {
	next    time.Time
	skipped int
}

const quietInterval = 10 * time.Second

func newQuietLog(log *slog.Logger) *quietLog {
	return &quietLog{log: log, kinds: map[string]*quietKind{}}
}

func (q *quietLog) warn(key, msg string, args ...any) {
	now := time.Now()
	q.mu.Lock()
	k := q.kinds[key]
	if k == nil {
		k = &quietKind{}
		q.kinds[key] = k
	}
	if now.Before(k.next) {
		k.skipped++
		q.mu.Unlock()
		return
	}
	skipped := k.skipped
	k.next, k.skipped = now.Add(quietInterval), 0
	q.mu.Unlock()
	if skipped > 0 {
		args = append(args, "alike_not_logged", skipped)
	}
	q.log.Warn(msg, args...)
}
