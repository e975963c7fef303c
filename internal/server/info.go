package server

import (
	"slices"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
)

// ConnInfo is what is known of one connection.
type ConnInfo struct {
	ID       uint64
	Remote   string
	Session  int64 // 0 before the handshake
	Paused   bool
	Queued   int
	Received int64
	Sent     int64
	Since    time.Time
	Timeout  time.Duration

	LastOp                  jute.OpCode
	LastXid                 int64
	LastZxid                int64
	LastResponse            time.Time
	LastLat, MinLat, AvgLat time.Duration
	MaxLat                  time.Duration
}

// ConnInfos lists the open connections in the order of their ids.
func (s *Server) ConnInfos() []ConnInfo {
	list := s.conns.list()
	slices.SortFunc(list, func(a, b *Conn) int { return int(int64(a.id) - int64(b.id)) })
	out := make([]ConnInfo, 0, len(list))
	for _, c := range list {
		c.mu.Lock()
		t := &c.stats
		i := ConnInfo{
			ID: c.id, Remote: c.addr.String(), Session: c.session, Paused: c.waiting, Queued: c.queue.len(),
			Received: t.received, Sent: t.sent, Since: c.open, Timeout: c.timeout,
			LastOp: t.lastOp, LastXid: t.lastCxid, LastZxid: t.lastZxid,
			LastLat: t.lastLat, MinLat: t.minLat, MaxLat: t.maxLat,
		}
		if t.count > 0 {
			i.AvgLat = t.totalLat / time.Duration(t.count)
			i.LastResponse = c.open.Add(t.lastResponse - c.opened)
		}
		c.mu.Unlock()
		out = append(out, i)
	}
	return out
}

// ResetStats zeroes the figures of every connection.
func (s *Server) ResetStats() {
	s.conns.each(func(c *Conn) {
		c.mu.Lock()
		c.stats = connStats{}
		c.mu.Unlock()
	})
}

// ExpiresIn returns how long a session lives on if its client stays silent;
// false if this member is not the leader or there is no such session.
func (s *Server) ExpiresIn(id int64, timeout time.Duration) (time.Duration, bool) {
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	if !s.expiring {
		return 0, false
	}
	silence, ok := s.clock.Silence(s.opt.Now(), id)
	return s.patience(timeout) - silence, ok
}

// WatchCounts returns how many connections watch how many paths, with how many
// watches.
func (s *Server) WatchCounts() (connections, paths, watches int) { return s.watches.Counts() }

// WatchesByPath returns who watches what: every path with its sessions.
func (s *Server) WatchesByPath() map[string][]int64 {
	out := make(map[string][]int64)
	for _, w := range s.watches.ByPath() {
		for _, c := range w.Watchers {
			out[w.Path] = append(out[w.Path], c.sessionOf())
		}
		slices.Sort(out[w.Path])
	}
	return out
}

// WatchesBySession returns every session's paths.
func (s *Server) WatchesBySession() map[int64][]string {
	out := make(map[int64][]string)
	list := s.watches.ByWatcher(func(a, b *Conn) int { return int(int64(a.id) - int64(b.id)) })
	for _, w := range list {
		out[w.Watcher.sessionOf()] = w.Paths
	}
	return out
}

func (c *Conn) sessionOf() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}
