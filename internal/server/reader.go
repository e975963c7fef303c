package server

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
)

// next is what a connection's reader waits for.
type next uint8

const (
	nextBytes next = iota // the client's
	nextRoom              // Link.Wake, and then resumed
	nextEnd               // nothing: the connection takes no more
)

// arrived works through what a client has sent: buf is c.tail with what came
// behind it.
func (s *Server) arrived(c *Conn, buf []byte, now time.Duration) next {
	c.lastHeard.Store(int64(now))
	s.opt.Metrics.BytesReceived.Add(uint64(len(buf) - len(c.tail)))
	return s.take(c, buf, now)
}

// resumed goes on with what had to wait.
func (s *Server) resumed(c *Conn, now time.Duration) next {
	if n := s.room(c); n != nextBytes {
		return n
	}
	return s.take(c, c.tail, now)
}

// take serves the frames in buf, as many as the connection takes now, and keeps
// the rest.
func (s *Server) take(c *Conn, buf []byte, now time.Duration) next {
	for {
		n, err := frameEnd(buf, s.opt.MaxBuffer)
		if err != nil {
			c.mu.Lock()
			s.refuseFrame(c, buf, err)
			c.mu.Unlock()
			return s.over(c)
		}
		if !c.greeted && len(buf) >= 4 && binary.BigEndian.Uint32(buf) > maxHello {
			c.mu.Lock()
			s.refuse(c, notHello, "size", binary.BigEndian.Uint32(buf))
			c.mu.Unlock()
			return s.over(c)
		}
		if n == 0 {
			if !s.isOpen(c) {
				return s.over(c)
			}
			c.keep(buf)
			return nextBytes
		}
		used := s.serve(c, buf, now)
		c.greeted = c.greeted || used > 0
		c.flush()
		buf = buf[used:]
		if used > 0 {
			continue
		}
		switch s.room(c) {
		case nextEnd:
			return s.over(c)
		case nextRoom:
			c.keep(buf)
			return nextRoom
		}
	}
}

// over sends what is left to be said.
func (s *Server) over(c *Conn) next {
	c.tail = nil
	c.flush()
	return nextEnd
}

// keep remembers what could not be served yet.
func (c *Conn) keep(rest []byte) {
	switch {
	case len(rest) == 0 && cap(c.tail) > keepBuffer:
		c.tail = nil
	default:
		c.tail = append(c.tail[:0], rest...) // they may overlap
	}
}

// space returns where the next bytes go, behind the tail; nil if there is no
// tail. It grows by no more than it has, since a client may announce what it
// never sends.
func (c *Conn) space() []byte {
	if len(c.tail) == 0 {
		return nil
	}
	c.tail = slices.Grow(c.tail, min(max(missing(c.tail), 4<<10), max(len(c.tail), 16<<10)))
	return c.tail[len(c.tail):cap(c.tail)]
}

// room tells whether the connection takes frames again (nextBytes). If it has to
// wait, Link.Wake will be called.
func (s *Server) room(c *Conn) next {
	c.mu.Lock()
	defer c.mu.Unlock()
	closing := c.phase == phaseClosing
	c.waiting = !closing && !s.ready(c)
	c.paused.Store(c.waiting)
	switch {
	case closing:
		return nextEnd
	case c.waiting:
		return nextRoom
	}
	return nextBytes
}

func (s *Server) isOpen(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase != phaseClosing
}

// missing returns how many bytes an incomplete frame lacks, 0 if its length is
// not known yet.
func missing(tail []byte) int {
	if len(tail) < 4 {
		return 0
	}
	return max(0, int(binary.BigEndian.Uint32(tail))+4-len(tail))
}

var errFrame = errors.New("a frame of an impossible length")

// frameEnd returns where the first frame of buf ends, 0 if it is incomplete.
func frameEnd(buf []byte, maxBuffer int) (int, error) {
	if len(buf) < 4 {
		return 0, nil
	}
	n := int(int32(binary.BigEndian.Uint32(buf)))
	if n < 0 || n > maxBuffer {
		return 0, errFrame
	}
	if len(buf)-4 < n {
		return 0, nil
	}
	return 4 + n, nil
}

// refuseFrame closes a connection for a frame that is too large, and says what
// can be known of it.
func (s *Server) refuseFrame(c *Conn, rest []byte, err error) {
	size := int(int32(binary.BigEndian.Uint32(rest)))
	args := []any{"size", size, "jute.maxbuffer", s.opt.MaxBuffer}
	if len(rest) >= 12 && c.phase == phaseAttached {
		d := jute.NewDecoder(rest[8:])
		args = append(args, "op", jute.OpCode(d.Int32()).String())
		if path := d.String(); d.Err() == nil && len(path) <= 1024 {
			args = append(args, "path", path)
		}
	}
	s.opt.Metrics.LargeRequests.Inc()
	s.refuse(c, err.Error(), args...)
}
