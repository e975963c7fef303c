package sim

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/server"
)

// conn is a connection of a client to a process: to the server a Link, and its
// Stream on the other side of it. Bytes come late, in order, and in pieces.
type conn struct {
	w  *World
	cl *client
	p  *process
	st *server.Stream

	out             []byte // written by the server, not yet on its way
	closed, aborted bool   // by the server
	told            bool   // the client will hear of that
	hungUp          bool   // by the client
	up, down        time.Duration
	sent, fed       int        // bytes of the client, sent and taken by the server
	unheard         []*request // oldest first
	held            []byte     // see mutateOutput
	unread          int        // bytes that a client which does not read has on the way
}

func (c *conn) TryWrite(b []byte) (int, error) {
	if c.closed || c.aborted {
		return 0, errGone
	}
	n := len(b)
	if c.hungUp || c.w.now >= c.cl.dozesUntil {
		c.unread = 0
	} else {
		n = min(n, max(window-c.unread, 0))
		c.unread += n
	}
	c.out = append(c.out, b[:n]...)
	return n, nil
}

// Write runs in a coroutine, and waits for a client that does not read.
func (c *conn) Write(b []byte) (int, error) {
	for done := 0; ; {
		n, err := c.TryWrite(b[done:])
		if done += n; err != nil || done == len(b) {
			return done, err
		}
		if !c.p.alive {
			return done, errGone
		}
		c.w.running.sleep(c.cl.dozesUntil - c.w.now)
	}
}

func (c *conn) Close() error {
	c.closed = true
	return nil
}

func (c *conn) Abort() { c.aborted = true }

// dial opens a connection to a member; nil if nobody answers there.
func (cl *client) dial(m *member) *conn {
	w, p := cl.w, m.proc
	if p == nil || w.now < p.frozenUntil || cl.cutFrom(m) {
		return nil
	}
	w.dials++
	c := &conn{w: w, cl: cl, p: p}
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(cl.place + 1)}), uint16(10000+w.dials%50000))
	c.st = p.srv.Open(c, addr)
	if c.st == nil {
		return nil
	}
	p.conns = append(p.conns, c)
	return c
}

// arrival is when something that is sent now arrives behind what was sent
// before: not while the two are cut off from each other.
func (c *conn) arrival(last time.Duration) time.Duration {
	w := c.w
	at := w.now + 50*time.Microsecond + w.between(0, time.Millisecond)
	return max(at, last, c.cl.cuts[c.p.m.place])
}

// send takes bytes of the client to the server.
func (c *conn) send(b []byte) {
	for len(b) > 0 {
		n := len(b)
		if n > 1 && c.w.chance(20) {
			n = 1 + c.w.rng.IntN(n-1)
		}
		part := b[:n]
		b = b[n:]
		c.sent += n
		c.up = c.arrival(c.up)
		c.w.at(c.up, func() { c.p.step(func() { c.feed(part) }) })
	}
}

func (c *conn) feed(b []byte) {
	c.fed += len(b)
	for len(c.unheard) > 0 && c.unheard[0].end <= c.fed {
		c.unheard[0].heardAt = c.w.now
		c.unheard = c.unheard[1:]
	}
	c.st.Feed(b, c.p.now())
}

// hangUp is the client closing its end.
func (c *conn) hangUp() {
	if c.hungUp {
		return
	}
	c.hungUp = true
	c.up = c.arrival(c.up)
	c.w.at(c.up, func() { c.p.step(c.st.End) })
}

// settle sends what the server has written on its way, and pumps the reader.
func (c *conn) settle() {
	c.st.Pump(c.p.now())
	if c.aborted {
		c.st.Leave()
	}
	if len(c.out) > 0 {
		b := c.mutateOutput(c.out)
		c.out = nil
		c.down = max(c.arrival(c.down), c.cl.dozesUntil)
		c.w.at(c.down, func() {
			if !c.hungUp {
				c.cl.receive(c, b)
			}
		})
	}
	if (c.closed || c.aborted) && !c.told {
		c.told = true
		c.down = c.arrival(c.down)
		c.w.at(c.down, func() { c.cl.closedBy(c, "the server") })
	}
}

// processDied tells the client that nobody is there any more: soon, or not at
// all if the machine is gone too.
func (c *conn) processDied() {
	if c.w.chance(3) {
		return // it finds out by itself
	}
	c.down = c.arrival(c.down)
	c.w.at(c.down, func() { c.cl.closedBy(c, "the end of "+c.p.m.name) })
}

// frames cuts whole frames, lengths included.
func frames(b []byte) (out [][]byte) {
	for len(b) >= 4 {
		n := 4 + int(binary.BigEndian.Uint32(b))
		out = append(out, b[:n:n])
		b = b[n:]
	}
	return out
}

func frame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// xidOf returns the xid of a reply or event, with its length in front.
func xidOf(frame []byte) int32 {
	d := jute.NewDecoder(frame[4:])
	return d.Int32()
}
