package server

import (
	"container/list"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/replica"
)

// Link is a connection, as far as the pipeline needs it.
type Link interface {
	Carrier
	// Wake has the reader look again whether the connection takes requests.
	Wake()
}

// Carrier is the way back to a client.
type Carrier interface {
	// TryWrite writes as much of b as goes without waiting.
	TryWrite(b []byte) (n int, err error)
	// Write waits until all of b is written.
	Write(b []byte) (n int, err error)
	// Close ends the stream; what was written before still arrives.
	Close() error
	// Abort ends the stream at once.
	Abort()
}

// Conn is one client connection: the session's pipeline on this member.
type Conn struct {
	id   uint64
	srv  *Server
	link Link
	addr netip.AddrPort
	ip   string
	open time.Time

	// lastHeard is when bytes last came from the client, on Options.Now.
	lastHeard atomic.Int64
	opened    time.Duration // when it was accepted, on Options.Now

	// The reader's own: its first frame has been taken; bytes that could not be
	// served yet, a part of a frame or whole ones that wait for room.
	greeted bool
	tail    []byte

	// mu guards what follows. The state's lock is taken before it.
	mu    sync.Mutex
	phase phase
	// session, epoch and timeout are set once, when the phase becomes attached.
	session int64
	epoch   uint32
	timeout time.Duration
	ids     []jute.ID
	nextSeq uint64 // of the session's next write
	queue   pipeline
	// moved tells that the session has been attached elsewhere since. As in
	// ZooKeeper the connection still answers reads, and is closed at its first
	// write: a client that was cut off at once would take the session back, and
	// two handles on one session would fight over it.
	moved bool
	// goneTold: the leader has been told that the session's connection has ended.
	goneTold bool
	// reconfiguring: a reconfig is in the queue, the last in it.
	reconfiguring bool
	// reported is the lastHeard that the leader was told of. What the reader
	// stores may be older than the latest look at it, so times don't tell
	// whether it is news.
	reported time.Duration
	hello    helloState

	// out is encoded and not yet handed to the link; sending is with the link.
	// Invariant: whoever sets writing hands out to the link, alone.
	out, spare []byte
	writing    bool
	unsent     int // bytes in out and in the link's hands
	// pushed are the bytes in out, pushing those in the link's hands, that are
	// events. Only they cost a slow client its connection. Replies end by
	// themselves, since no more requests are taken from it (ready).
	pushed, pushing int
	closeAfter      bool
	closing         time.Duration // when it began to close, on Options.Now
	flushing        bool          // is in the flusher's list

	// waiting tells that the reader waits for room or for the handshake.
	waiting bool
	// paused is waiting, for those who only look.
	paused atomic.Bool

	stats connStats
}

// phase is where a connection is in its life.
type phase uint8

const (
	phaseHello     phase = iota // no ConnectRequest yet
	phaseWord                   // a four-letter word is being answered; its goroutine sees to the end
	phaseHandshake              // the session is on its way through the log
	phaseAttached               // the session is attached through this connection
	phaseClosing                // nothing is taken any more; what is out may still leave
)

// helloState is what a handshake remembers until the log has answered.
type helloState struct {
	create      bool
	session     int64 // to be created or re-attached
	hasReadOnly bool
	timeout     int32
	// Until it is in the log: its password, and its place in Server.admission if
	// it has to wait.
	password []byte
	place    *list.Element
	queue    *list.List
	// After that:
	batch *replica.Batch
	seq   uint64
}

// connStats are a connection's figures, guarded by Conn.mu.
type connStats struct {
	received, sent                    int64
	lastOp                            jute.OpCode
	lastCxid                          int64
	lastZxid                          int64
	lastResponse                      time.Duration // on Options.Now
	count                             int64
	lastLat, minLat, maxLat, totalLat time.Duration
}

func (t *connStats) observe(op jute.OpCode, xid int32, zxid int64, now, lat time.Duration) {
	t.lastResponse = now
	t.lastOp, t.lastCxid, t.lastZxid, t.lastLat = op, int64(xid), zxid, lat
	if t.count == 0 || lat < t.minLat {
		t.minLat = lat
	}
	t.maxLat = max(t.maxLat, lat)
	t.totalLat += lat
	t.count++
}

// reply appends a whole reply: header, and body if there is one. The caller
// holds mu.
func (c *Conn) reply(xid int32, zxid int64, code jute.ErrCode) {
	b, mark := jute.BeginFrame(c.out)
	b = jute.ReplyHeader{Xid: xid, Zxid: zxid, Err: code}.Append(b)
	jute.EndFrame(b, mark)
	c.out = b
	c.stats.sent++
}

// tooSlow reports whether the client has left so much unread, or has so much on
// the way, that nothing more is taken from it.
func (c *Conn) tooSlow() bool { return c.unsent+len(c.out)+c.queue.size > c.srv.opt.MaxUnsent }

// hand gives what is encoded to whoever holds the writing flag. The caller
// holds mu.
func (c *Conn) hand() []byte {
	buf := c.out
	c.out, c.spare = c.spare[:0], nil
	c.unsent = len(buf)
	c.pushed, c.pushing = 0, c.pushed
	return buf
}

// flush hands what is encoded to the link, without waiting. If the link takes
// no more, a goroutine of the connection's own waits for it.
func (c *Conn) flush() {
	c.mu.Lock()
	if c.writing {
		c.mu.Unlock()
		return // whoever is writing finds it
	}
	c.writing = true
	for {
		if len(c.out) == 0 {
			c.writing = false
			c.finishLocked()
			return
		}
		buf := c.hand()
		c.mu.Unlock()

		n, err := c.link.TryWrite(buf)
		if err != nil {
			c.lost()
			return
		}
		if n < len(buf) {
			c.srv.opt.Spawn(func() { c.drain(buf, n) })
			return
		}
		c.mu.Lock()
		c.wrote(buf)
	}
}

// wrote takes a buffer back from the link. The caller holds mu.
func (c *Conn) wrote(buf []byte) {
	c.unsent, c.pushing = 0, 0
	c.signalRoom()
	if cap(buf) <= keepBuffer {
		c.spare = buf[:0]
	}
}

// keepBuffer is the largest output buffer that an idle connection keeps.
const keepBuffer = 4 << 10

// drain waits for a slow client. It holds the connection's writing flag.
func (c *Conn) drain(buf []byte, n int) {
	for {
		if _, err := c.link.Write(buf[n:]); err != nil {
			c.lost()
			return
		}
		c.mu.Lock()
		c.wrote(buf)
		if len(c.out) == 0 {
			c.writing = false
			c.finishLocked()
			return
		}
		buf, n = c.hand(), 0
		c.mu.Unlock()
	}
}

// lost gives up on the link. The reader sees it and cleans up.
func (c *Conn) lost() {
	c.mu.Lock()
	c.out, c.spare, c.unsent = nil, nil, 0
	c.phase = phaseClosing
	c.mu.Unlock()
	c.link.Abort()
	c.wakeReader()
}

// closeLocked stops taking requests and closes the link once everything
// encoded so far has left. The caller holds mu and flushes after.
func (c *Conn) closeLocked() {
	c.phase = phaseClosing
	c.closeAfter = true
	c.closing = c.srv.opt.Now()
	c.signalRoom()
}

// finishLocked unlocks, and closes the link if that is what is left to do.
func (c *Conn) finishLocked() {
	last := c.closeAfter
	c.closeAfter = false
	c.mu.Unlock()
	if last {
		_ = c.link.Close() // the peer may have closed first
	}
}

func (c *Conn) wakeReader() {
	c.mu.Lock()
	c.signalRoom()
	c.mu.Unlock()
}

// signalRoom lets a waiting reader look again. The caller holds mu.
func (c *Conn) signalRoom() {
	if c.waiting {
		c.link.Wake()
	}
}
