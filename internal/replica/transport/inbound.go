package transport

import (
	"container/list"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// pendingConns are the accepted connections whose hello has not been read, the
// oldest in front. When there are too many, the oldest goes: a member's hello
// takes no time, so whoever floods the port with silence pushes out its own.
type pendingConns struct {
	list.List
	byConn map[net.Conn]*list.Element
}

func (p *pendingConns) add(conn net.Conn, max int) (evicted net.Conn) {
	if p.byConn == nil {
		p.byConn = map[net.Conn]*list.Element{}
	}
	if p.Len() >= max {
		evicted = p.Front().Value.(net.Conn)
		p.drop(evicted)
	}
	p.byConn[conn] = p.PushBack(conn)
	return evicted
}

func (p *pendingConns) drop(conn net.Conn) {
	if e, ok := p.byConn[conn]; ok {
		p.Remove(e)
		delete(p.byConn, conn)
	}
}

func (t *Transport) acceptLoop() {
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of descriptors, most likely: it passes, or a person has to act.
			t.log.warn("accept", "Cannot accept connections on the peer address", "addr", t.listener.Addr(), "err", err)
			select {
			case <-time.After(minBackoff):
				continue
			case <-t.ctx.Done():
				return
			}
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetNoDelay(true)
		}
		t.mu.Lock()
		evicted := t.pending.add(conn, t.opts.MaxPending)
		t.mu.Unlock()
		if evicted != nil {
			evicted.Close()
			t.log.warn("pending", "Too many connections to the peer port have not said who they are; the oldest is closed",
				"remote", evicted.RemoteAddr(), "bound", t.opts.MaxPending)
		}
		t.wg.Add(1)
		go func() {
			defer t.wg.Done()
			t.incoming(conn)
		}()
	}
}

// incoming reads the hello and serves the connection to its end.
func (t *Transport) incoming(raw net.Conn) {
	conn := raw
	if t.opts.ServerTLS != nil {
		conn = tls.Server(raw, t.opts.ServerTLS())
	}
	l := newLink(t.ctx, raw, conn, t.opts.MaxFrame)
	defer l.Close()
	_ = l.SetDeadline(time.Now().Add(t.opts.HandshakeTimeout))
	h, err := l.greeting()
	t.mu.Lock()
	t.pending.drop(raw)
	t.mu.Unlock()
	if err == nil {
		err = t.check(h)
	}
	if err != nil {
		var refused *RefusedError
		if errors.As(err, &refused) {
			sayGoodbye(l, refused)
		}
		if t.ctx.Err() == nil {
			t.log.warn("hello", "A connection to the peer port was refused", "remote", raw.RemoteAddr(), "err", err)
		}
		return
	}
	switch h.kind {
	case KindControl, KindData:
		t.serveStream(l, h)
	case KindSnapshot:
		t.serveSnapshot(l, h)
	case KindCall:
		t.serveCall(l)
	}
}

// greeting reads what an accepted connection begins with.
func (l *link) greeting() (hello, error) {
	if secured, ok := l.Conn.(*tls.Conn); ok {
		if err := secured.Handshake(); err != nil {
			return hello{}, fmt.Errorf("TLS: %w", err)
		}
	}
	return readHello(l)
}

// check is the gate: who may speak to this member, and as whom.
func (t *Transport) check(h hello) error {
	self := t.self()
	if h.kind == KindCall {
		if h.cluster != [16]byte{} && self.cluster != [16]byte{} && h.cluster != self.cluster {
			return &RefusedError{RefusedCluster, fmt.Sprintf("this is cluster %x, the call is from a member of cluster %x", self.cluster, h.cluster)}
		}
		return nil
	}
	switch {
	case self.isZero():
		return &RefusedError{RefusedNoEnsemble, "this process is not a member of an ensemble yet"}
	case h.cluster != self.cluster:
		return &RefusedError{RefusedCluster, fmt.Sprintf("this is a member of cluster %x, the call is for cluster %x", self.cluster, h.cluster)}
	case h.to != self.member:
		return &RefusedError{RefusedMember, fmt.Sprintf("this is member %x, the call is for member %x: another member, or its successor on a new disk, has this address", self.member, h.to)}
	case h.from == 0 || h.from == self.member:
		return &RefusedError{RefusedMember, fmt.Sprintf("the caller says that it is member %x, and this is member %x: no two may be the same", h.from, self.member)}
	}
	if t.opts.Admit != nil {
		if err := t.opts.Admit(h.from); err != nil {
			return &RefusedError{RefusedAdmit, err.Error()}
		}
	}
	return nil
}

func (l *link) accept(instance uint64) error {
	_, err := l.Write(appendFrameUint(nil, frameAccept, instance))
	return err
}

// inKey: one stream of each kind from each member.
type inKey struct {
	from uint64
	kind Kind
}

// inSlot is the place of an incoming stream.
type inSlot struct {
	// current is the newest connection; guarded by Transport.mu.
	current *inConn
	// users are the connections that hold or wait for turn; guarded by
	// Transport.mu. The slot is deleted with the last.
	users int
	// turn is held by the one that calls the handler. A replaced stream may
	// still be inside; the newer one waits, and gives up if it is replaced
	// itself, so that a handler that is stuck costs one goroutine, not one for
	// every attempt.
	turn chan struct{}
}

type inConn struct {
	*link
	// dismissed is closed when another has taken the place.
	dismissed chan struct{}
	once      sync.Once
}

func (s *inSlot) dismiss(why *RefusedError) {
	if c := s.current; c != nil {
		c.once.Do(func() {
			close(c.dismissed)
			sayGoodbye(c.link, why)
		})
	}
}

func (t *Transport) enter(l *link, h hello) (*inSlot, *inConn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return nil, nil, &RefusedError{ClosedStopping, "this member is stopping"}
	case t.identity != identity{h.cluster, h.to}: // since check
		return nil, nil, &RefusedError{ClosedIdentity, "this member has taken on another identity"}
	}
	key := inKey{h.from, h.kind}
	slot := t.inbound[key]
	if slot == nil {
		if len(t.inbound) >= t.opts.MaxStreams {
			return nil, nil, &RefusedError{RefusedBusy, fmt.Sprintf("this member serves %d incoming streams, its bound", t.opts.MaxStreams)}
		}
		slot = &inSlot{turn: make(chan struct{}, 1)}
		t.inbound[key] = slot
	}
	slot.dismiss(&RefusedError{ClosedReplaced, "a newer stream of the same member took the place of this one"})
	c := &inConn{link: l, dismissed: make(chan struct{})}
	slot.current = c
	slot.users++
	return slot, c, nil
}

func (t *Transport) leave(slot *inSlot, c *inConn, h hello) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slot.current == c {
		slot.current = nil
	}
	if slot.users--; slot.users == 0 {
		delete(t.inbound, inKey{h.from, h.kind})
	}
}

// serveStream reads a control or data stream to its end.
func (t *Transport) serveStream(l *link, h hello) {
	slot, c, err := t.enter(l, h)
	if err == nil {
		defer t.leave(slot, c, h)
		err = t.readStream(c, slot, h)
	}
	var bad *badFrameError
	var refused *RefusedError
	switch {
	case errors.As(err, &bad):
		sayGoodbye(l, &RefusedError{RefusedProtocol, bad.Error()})
	case errors.As(err, &refused):
		sayGoodbye(l, refused)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("it was silent for %v", t.opts.SilenceTimeout)
		sayGoodbye(l, &RefusedError{ClosedSilent, fmt.Sprintf("nothing was heard for %v", t.opts.SilenceTimeout)})
	case err == io.EOF, errors.Is(err, net.ErrClosed):
		return
	}
	t.log.warn("incoming "+h.kind.String(), "A member's stream has ended", "member", fmt.Sprintf("%x", h.from),
		"stream", h.kind.String(), "remote", l.RemoteAddr(), "err", err)
}

func (t *Transport) readStream(c *inConn, slot *inSlot, h hello) error {
	if err := c.accept(t.instance); err != nil {
		return err
	}
	if err := c.established(t.opts.SilenceTimeout); err != nil {
		return err
	}
	if p := t.peer(h.from); p != nil {
		p.seen(h.instance)
	}
	select {
	case slot.turn <- struct{}{}:
		defer func() { <-slot.turn }()
	case <-c.dismissed:
		return net.ErrClosed
	case <-t.ctx.Done():
		return net.ErrClosed
	}
	for {
		typ, p, err := c.frames.next()
		if err != nil {
			return err
		}
		if err := t.deliver(c.link, h, typ, p); err != nil {
			return err
		}
		if !c.frames.more() {
			t.opts.Handler.Delivered()
		}
	}
}

func (t *Transport) deliver(l *link, h hello, typ byte, p []byte) error {
	switch {
	case typ == frameRaft:
		m, err := decodeMessage(p)
		if err != nil {
			return err
		}
		if m.GetTo() != h.to || m.GetType() == raftpb.MsgSnap {
			return badFrame("a %v for member %x on a %v stream for member %x", m.GetType(), m.GetTo(), h.kind, h.to)
		}
		t.opts.Handler.Raft(h.from, m)
	case typ == frameForward && h.kind == KindData:
		t.opts.Handler.Forward(h.from, p)
	case typ == frameReport && h.kind == KindData:
		t.opts.Handler.Report(h.from, p)
	case typ == framePing:
		_, err := l.Write(appendFrame(nil, framePong, p))
		return err
	default:
		return badFrame("type %d does not belong on a %v stream", typ, h.kind)
	}
	return nil
}
