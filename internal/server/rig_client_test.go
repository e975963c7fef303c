package server

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
)

// client is a ZooKeeper client's handle. It keeps what such a client keeps, and
// holds the server to what the protocol promises whoever reads along.
type client struct {
	r    *rig
	name string
	link *link // nil when it has none

	xid      int32
	session  int64
	password []byte
	timeout  time.Duration
	lastZxid int64 // of replies, over all connections
	old      bool  // sends no readOnly field
	lastSent time.Duration

	// Of the connection:
	in      []byte // came, and is not a whole frame yet
	greeted bool
	owed    []request // without an answer, oldest first
	hidden  int       // pings whose answers are not shown
	// shown is the largest zxid that a reply on this connection has shown.
	// Invariant: an event with a zxid comes before any reply that shows it.
	shown  int64
	ending bool // closeSession was answered

	// observe, if set, is told of everything that the client sees.
	observe func(*client, *message)
}

// request is what a client has sent.
type request struct {
	xid  int32
	op   jute.OpCode
	body []byte
	tag  any // the test's
}

// message is what a client has received, decoded.
type message struct {
	request // that it answers, if it is a reply
	what    string
	zxid    int64
	code    jute.ErrCode
	d       jute.Decoder // behind the header
	event   jute.EventType
	path    string
}

func (r *rig) client(name string) *client {
	for _, c := range r.clients {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (r *rig) newClient(name string) *client {
	c := &client{r: r, name: name, timeout: 4 * time.Second}
	r.clients = append(r.clients, c)
	return c
}

func (r *rig) note(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// reset starts a connection.
func (c *client) reset(l *link) {
	c.link = l
	c.in, c.greeted, c.owed, c.hidden, c.shown, c.ending = nil, false, nil, 0, 0, false
}

// hello is the client's ConnectRequest.
func (c *client) hello() jute.ConnectRequest {
	password := c.password
	if password == nil {
		password = make([]byte, 16)
	}
	return jute.ConnectRequest{
		LastZxidSeen: c.lastZxid, Timeout: int32(c.timeout / time.Millisecond),
		SessionID: c.session, Password: password, HasReadOnly: !c.old,
	}
}

func frame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// connect opens a connection to m and sends the handshake, with whatever is to
// follow it in the same packet.
func (c *client) connect(m *member, hello jute.ConnectRequest, behind ...request) {
	c.reset(m.dial())
	packet := frame(hello.Append(nil))
	c.put(packet, behind)
}

func (c *client) put(packet []byte, reqs []request) {
	for i := range reqs {
		q := &reqs[i]
		if q.xid == 0 {
			c.xid++
			q.xid = c.xid
		}
		b := jute.AppendInt32(jute.AppendInt32(nil, q.xid), int32(q.op))
		packet = append(packet, frame(append(b, q.body...))...)
		c.owed = append(c.owed, *q)
	}
	c.write(packet)
}

// write sends bytes.
func (c *client) write(b []byte) {
	if c.link == nil || c.link.left || c.link.ended() {
		return // nobody reads it
	}
	c.lastSent = c.r.now
	c.link.socket = append(c.link.socket, b...)
}

// send sends requests in one packet.
func (c *client) send(reqs ...request) { c.put(nil, reqs) }

// ping sends a ping; hidden says that the answer goes without saying.
func (c *client) ping(hidden bool) {
	if hidden {
		c.hidden++
	}
	c.send(request{xid: jute.XidPing, op: jute.OpPing})
}

// read takes what has come.
func (c *client) read() {
	l := c.link
	if l == nil {
		return
	}
	c.in = append(c.in, l.receive()...)
	for len(c.in) >= 4 {
		n := int(binary.BigEndian.Uint32(c.in))
		if len(c.in)-4 < n {
			break
		}
		c.frame(c.in[4 : 4+n])
		c.in = c.in[4+n:]
	}
	if !l.ended() {
		return
	}
	if len(c.in) > 0 && l.closed && !l.broken {
		c.r.t.Errorf("%s: the connection was closed in the middle of a frame", c.name)
	}
	why := strings.Join(l.said, "; ")
	if why == "" {
		why = "the server closed the connection"
	}
	if !c.ending || len(l.said) > 0 {
		c.tell(&message{what: "closed", path: why})
	}
	if !l.left && !c.r.linger {
		l.hangUp()
	}
	c.link = nil
}

func (c *client) tell(m *message) {
	if c.observe != nil {
		c.observe(c, m)
		return
	}
	if m.what == "ping" && c.hidden > 0 {
		c.hidden--
		return
	}
	c.r.note("%s %s", c.name, c.describe(m))
}

func (c *client) frame(b []byte) {
	d := jute.NewDecoder(b)
	if !c.greeted {
		c.greet(&d)
		return
	}
	var h jute.ReplyHeader
	h.Decode(&d)
	m := &message{request: request{xid: h.Xid}, zxid: h.Zxid, code: h.Err, d: d}
	switch {
	case d.Err() != nil:
		c.r.t.Fatalf("%s: a reply of %d bytes", c.name, len(b))
	case h.Xid == jute.XidWatchEvent:
		c.event(m)
	case h.Xid == jute.XidPing || h.Xid == jute.XidAuth:
		m.what = map[int32]string{jute.XidPing: "ping", jute.XidAuth: "auth"}[h.Xid]
		c.answer(m, func(q request) bool { return q.xid == h.Xid })
	default:
		m.what = "reply"
		c.answer(m, func(q request) bool { return q.xid != jute.XidPing && q.xid != jute.XidAuth })
	}
	c.tell(m)
}

func (c *client) greet(d *jute.Decoder) {
	var res jute.ConnectResponse
	res.Decode(d)
	if d.Err() != nil || d.Remaining() > 0 {
		c.r.t.Fatalf("%s: the answer to the handshake is not one", c.name)
	}
	c.greeted = true
	if res.HasReadOnly == c.old || res.ReadOnly {
		c.r.t.Errorf("%s: the answer to the handshake has a readOnly field: %v (%v); the client sent one: %v", c.name, res.HasReadOnly, res.ReadOnly, !c.old)
	}
	if res.Timeout <= 0 {
		if res.SessionID != 0 || string(res.Password) != strings.Repeat("\x00", 16) {
			c.r.t.Errorf("%s: refused with session %d, password %x; want zeros", c.name, res.SessionID, res.Password)
		}
		c.tell(&message{what: "refused"})
		return
	}
	if c.session != 0 && res.SessionID != c.session {
		c.r.t.Errorf("%s: asked for session %d, got %d", c.name, c.session, res.SessionID)
	}
	c.session, c.password = res.SessionID, append([]byte(nil), res.Password...)
	c.timeout = time.Duration(res.Timeout) * time.Millisecond
	c.tell(&message{what: "connected"})
}

// event checks that an event does not come too late.
func (c *client) event(m *message) {
	m.what = "event"
	m.event = jute.EventType(m.d.Int32())
	state := m.d.Int32()
	m.path = m.d.String()
	if m.d.Err() != nil || m.d.Remaining() > 0 || m.code != jute.OK || state != jute.StateSyncConnected {
		c.r.t.Errorf("%s: malformed event %v %q (state %d, error %v)", c.name, m.event, m.path, state, m.code)
	}
	if m.zxid >= 0 && m.zxid <= c.shown {
		c.r.t.Errorf("%s: event %v %s of %s came after a reply had shown %s", c.name, m.event, m.path, zxid(m.zxid), zxid(c.shown))
	}
}

// answer finds what a reply answers: the oldest request that kind selects, or
// the order is broken.
func (c *client) answer(m *message, kind func(request) bool) {
	for i, q := range c.owed {
		if !kind(q) {
			continue
		}
		if q.xid != m.xid {
			c.r.t.Errorf("%s: reply to xid %d (error %v) while %d (%v) waits", c.name, m.xid, m.code, q.xid, q.op)
		}
		m.request = q
		c.owed = append(c.owed[:i:i], c.owed[i+1:]...)
		// As in ZooKeeper: 0 for auth, -1 for an operation that does not exist.
		outside := m.what == "auth" && m.zxid == 0 || m.code == jute.ErrUnimplemented && m.zxid == -1
		if m.zxid < c.shown && !outside {
			c.r.t.Errorf("%s: a reply shows %s after another had shown %s", c.name, zxid(m.zxid), zxid(c.shown))
		}
		c.shown = max(c.shown, m.zxid)
		c.lastZxid = max(c.lastZxid, m.zxid)
		if m.what == "reply" && q.op == jute.OpCloseSession {
			c.ending = true
		}
		return
	}
	c.r.t.Errorf("%s: reply to xid %d (error %v), which nothing waits for", c.name, m.xid, m.code)
}
