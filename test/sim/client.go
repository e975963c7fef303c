package sim

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
)

// client is a ZooKeeper client's handle, and somebody who uses it.
type client struct {
	w     *World
	place int
	name  string
	conn  *conn
	// attempt counts the times that the client was to dial.
	attempt int
	// cuts say until when nothing goes between the client and a member, by the
	// member's place.
	cuts map[int]time.Duration

	session  int64
	password []byte
	timeout  time.Duration
	xid      int32
	seen     int64 // the largest zxid of a reply, over all connections of the session
	lastZxid int64 // the largest zxid of a reply, over all sessions
	// answered are the times at which the servers had requests that have been
	// answered, in this session.
	answered []time.Duration
	done     int // requests made, for their names
	closing  bool

	// Of the connection:
	in       []byte
	greeted  bool
	owed     []*request
	lastSent time.Duration
	lastRead time.Duration

	watches []*watched
	lasting *lasting
	// locksmith tells that the client proves to own the key (keySecret) on every connection.
	locksmith bool
	// dozesUntil is until when it reads nothing of what comes.
	dozesUntil time.Duration
}

// request is what a client has sent, or is about to.
type request struct {
	xid  int32
	op   jute.OpCode
	body []byte
	what string // for the history, and the request's name in its data
	tag  string

	path      string
	watch     bool
	ephemeral bool
	// end is where it ends in what is sent through its connection; heardAt is
	// when the server had all of it.
	end     int
	heardAt time.Duration
	// after is the largest zxid that anybody had been told of an own write when
	// this was sent.
	after   int64
	lasting *lasting // that an addWatch sets
	// relative is the zxid of a setWatches.
	relative int64
}

func (w *World) newClient(place int) {
	cl := &client{w: w, place: place, name: fmt.Sprintf("c%d", place+1), cuts: make(map[int]time.Duration)}
	cl.locksmith = place%3 == 0
	cl.timeout = w.between(minTimeout, maxTimeout).Truncate(time.Millisecond)
	w.clients = append(w.clients, cl)
	cl.connectIn(w.between(0, time.Second))
	cl.live()
}

func (cl *client) cutFrom(m *member) bool { return cl.cuts[m.place] > cl.w.now }

// connectIn has the client dial when d has passed, and not before.
func (cl *client) connectIn(d time.Duration) {
	cl.attempt++
	attempt := cl.attempt
	cl.w.after(d, func() {
		if cl.attempt == attempt {
			cl.connect()
		}
	})
}

// connect dials some member, and tries again until one answers.
func (cl *client) connect() {
	w := cl.w
	m := w.members[w.rng.IntN(len(w.members))]
	c := cl.dial(m)
	if c == nil {
		cl.connectIn(w.between(50*time.Millisecond, 500*time.Millisecond))
		return
	}
	cl.conn, cl.in, cl.greeted, cl.owed = c, nil, false, nil
	cl.lastRead, cl.lastSent = w.now, w.now
	password := cl.password
	if cl.session == 0 {
		password = make([]byte, 16)
	}
	hello := jute.ConnectRequest{
		LastZxidSeen: cl.lastZxid, Timeout: int32(cl.timeout / time.Millisecond),
		SessionID: cl.session, Password: password, HasReadOnly: true,
	}
	w.note("%s connects to %s, session %#x", cl.name, m.name, cl.session)
	c.send(frame(hello.Append(nil)))
}

// drop gives the connection up. What is owed may or may not have happened.
func (cl *client) drop(why string) {
	c := cl.conn
	if c == nil {
		return
	}
	cl.w.note("%s loses its connection to %s: %s, %d requests unanswered", cl.name, c.p.m.name, why, len(cl.owed))
	c.hangUp()
	cl.conn, cl.owed = nil, nil
	if cl.closing {
		// The session may be closed; the client does not look.
		cl.forget()
	}
	cl.connectIn(cl.w.between(time.Millisecond, 200*time.Millisecond))
}

// forget is the end of the session for the client.
func (cl *client) forget() {
	cl.session, cl.password, cl.seen, cl.closing = 0, nil, 0, false
	cl.watches, cl.answered, cl.lasting = nil, nil, nil
}

func (cl *client) closedBy(c *conn, who string) {
	if cl.conn == c {
		cl.drop("closed by " + who)
	}
}

// live is the client's own clock: it pings, and gives up a connection that is
// silent.
func (cl *client) live() {
	w := cl.w
	w.after(100*time.Millisecond, func() {
		if cl.conn != nil {
			switch {
			case w.now-cl.lastRead > cl.timeout*2/3:
				cl.drop("silence")
			case cl.greeted && w.now-cl.lastSent >= cl.timeout/3:
				cl.send(&request{xid: jute.XidPing, op: jute.OpPing})
			}
		}
		cl.live()
	})
}

func (cl *client) send(q *request) {
	if q.xid == 0 {
		cl.xid++
		q.xid = cl.xid
	}
	q.after = cl.w.truth.acknowledged
	cl.owed = append(cl.owed, q)
	cl.lastSent = cl.w.now
	if q.what != "" {
		cl.w.note("%s sends %d: %s", cl.name, q.xid, q.what)
	}
	b := frame(append(jute.AppendInt32(jute.AppendInt32(nil, q.xid), int32(q.op)), q.body...))
	q.end = cl.conn.sent + len(b)
	cl.conn.unheard = append(cl.conn.unheard, q)
	cl.conn.send(b)
}

func (cl *client) receive(c *conn, b []byte) {
	if cl.conn != c {
		return
	}
	cl.lastRead = cl.w.now
	cl.in = append(cl.in, b...)
	for cl.conn == c && len(cl.in) >= 4 {
		n := 4 + int(binary.BigEndian.Uint32(cl.in))
		if len(cl.in) < n {
			return
		}
		f := cl.in[4:n]
		cl.in = cl.in[n:]
		cl.frame(f)
	}
}

func (cl *client) frame(b []byte) {
	d := jute.NewDecoder(b)
	if !cl.greeted {
		cl.greet(&d)
		return
	}
	var h jute.ReplyHeader
	h.Decode(&d)
	switch h.Xid {
	case jute.XidWatchEvent:
		typ := jute.EventType(d.Int32())
		d.Int32()
		cl.event(h.Zxid, typ, string([]byte(d.String())))
	default:
		cl.reply(h, &d)
	}
}

func (cl *client) greet(d *jute.Decoder) {
	w := cl.w
	var res jute.ConnectResponse
	res.Decode(d)
	cl.greeted = true
	if res.Timeout <= 0 {
		w.note("%s is told that session %#x is no more", cl.name, cl.session)
		cl.forget()
		cl.drop("session expired")
		return
	}
	if cl.session != 0 && res.SessionID != cl.session {
		w.violate("order", "%s asked for session %#x and got %#x", cl.name, cl.session, res.SessionID)
	}
	if cl.session == 0 {
		w.stats.Sessions++
	}
	cl.session, cl.password = res.SessionID, append([]byte(nil), res.Password...)
	cl.timeout = time.Duration(res.Timeout) * time.Millisecond
	w.note("%s has session %#x", cl.name, cl.session)
	if cl.locksmith {
		cl.send(proveKey())
	}
	cl.rewatch()
	cl.think(cl.conn)
}

// reply finds the request that it answers: pings and the rest, each in their
// order.
func (cl *client) reply(h jute.ReplyHeader, d *jute.Decoder) {
	w := cl.w
	var q *request
	for i, o := range cl.owed {
		if (o.xid == jute.XidPing) == (h.Xid == jute.XidPing) {
			q = o
			cl.owed = append(cl.owed[:i:i], cl.owed[i+1:]...)
			break
		}
	}
	if q == nil || q.xid != h.Xid {
		w.violate("order", "%s got an answer to request %d while %v was next", cl.name, h.Xid, q)
		return
	}
	if q.what != "" {
		w.note("%s receives %d: %v zxid %#x", cl.name, h.Xid, h.Err, h.Zxid)
	}
	w.stats.Requests++
	w.truth.answered(cl, q, h, d)
	if q.op == jute.OpCloseSession {
		cl.forget()
		cl.drop("session closed")
		return
	}
	if q.xid > 0 && !slices.ContainsFunc(cl.owed, func(o *request) bool { return o.xid > 0 }) {
		cl.think(cl.conn)
	}
}
