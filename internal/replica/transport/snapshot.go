package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// snapshotPiece is how much of a snapshot travels in a frame.
const snapshotPiece = 256 << 10

// lingerTimeout bounds the wait for a sender to take note of the answer.
const lingerTimeout = time.Second

// SendSnapshot sends a snapshot, m announcing it and body being its content,
// and waits until the member has acknowledged that it is durable there. It
// blocks, for as long as both sides show that they live; removing the peer or
// closing the transport ends it. Errors: *CallError from the other side's
// handler, *RefusedError from its transport, else the connection's or body's.
func (t *Transport) SendSnapshot(to uint64, m *raftpb.Message, body io.Reader) error {
	done, err := t.begin()
	if err != nil {
		return err
	}
	defer done()
	p := t.peer(to)
	if p == nil {
		return fmt.Errorf("%w: %x", ErrUnknownPeer, to)
	}
	self := t.self()
	if self.isZero() {
		return ErrNoIdentity
	}
	b, at := beginFrame(nil, frameSnapMeta)
	if b, err = appendMessage(b, m); err != nil {
		return err
	}
	endFrame(b, at)

	h := hello{kind: KindSnapshot, cluster: self.cluster, from: self.member, to: to, instance: t.instance}
	l, err := t.dial(p.ctx, p.address(), h, maxReason+64)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.established(t.opts.SilenceTimeout); err != nil {
		return err
	}
	stop := t.keepAlive(l)
	defer stop()
	answered := make(chan struct{})
	var answer error
	go func() {
		defer close(answered)
		answer = t.awaitSnapshotDone(l)
		l.Close() // ends a write that waits
	}()
	sent := pushSnapshot(l, b, body)
	var unread *bodyError
	if errors.As(sent, &unread) {
		l.Close() // the receiver sees that it is not whole
	} else if sent != nil {
		// The receiver may have said why it closed.
		patience := time.AfterFunc(goodbyeTimeout, func() { l.Close() })
		defer patience.Stop()
	}
	<-answered
	if t.ctx.Err() != nil {
		return ErrClosed
	}
	if sent != nil && (unread != nil || errors.Is(answer, net.ErrClosed)) {
		return sent
	}
	return answer
}

// bodyError is an error of the snapshot's source, not of the connection.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading the snapshot to send: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

func pushSnapshot(l *link, meta []byte, body io.Reader) error {
	if _, err := l.Write(meta); err != nil {
		return err
	}
	buf := make([]byte, frameHeader+snapshotPiece)
	buf[frameHeader-1] = frameSnapBody
	total := uint64(0)
	for {
		n, err := io.ReadFull(body, buf[frameHeader:])
		if n > 0 {
			endFrame(buf[:frameHeader+n], 0)
			if _, err := l.Write(buf[:frameHeader+n]); err != nil {
				return err
			}
			total += uint64(n)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return &bodyError{err}
		}
	}
	_, err := l.Write(appendFrameUint(nil, frameSnapEnd, total))
	return err
}

func (t *Transport) awaitSnapshotDone(l *link) error {
	for {
		typ, p, err := l.frames.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("the receiver of a snapshot was silent for %v", t.opts.SilenceTimeout)
		case err == io.EOF:
			return errPeerClosed
		case err != nil:
			return err
		case typ == framePing:
		case typ == frameSnapDone:
			return nil
		case typ == frameError:
			return &CallError{string(p)}
		case typ == frameGoodbye:
			return parseGoodbye(p)
		default:
			return badFrame("type %d does not answer a snapshot", typ)
		}
	}
}

// keepAlive shows the other side of a snapshot that this one lives, also while
// it reads from or writes to its disk. stop waits for it to end.
func (t *Transport) keepAlive(l *link) (stop func()) {
	ctx, cancel := context.WithCancel(t.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(t.opts.SilenceTimeout / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			// A frame is one Write, so it cannot fall into the middle of another.
			if _, err := l.Write(appendFrameUint(nil, framePing, 0)); err != nil {
				return
			}
		}
	}()
	return func() {
		cancel()
		l.Close() // it may be waiting to write
		<-ended
	}
}

// serveSnapshot receives one snapshot.
func (t *Transport) serveSnapshot(l *link, h hello) {
	slot, c, err := t.enter(l, h)
	if err != nil {
		var refused *RefusedError
		errors.As(err, &refused)
		sayGoodbye(l, refused)
		return
	}
	defer t.leave(slot, c, h)
	if err := t.takeSnapshot(c, slot, h); err != nil && t.ctx.Err() == nil {
		t.log.warn("snapshot", "A snapshot was not taken over", "member", fmt.Sprintf("%x", h.from), "remote", l.RemoteAddr(), "err", err)
	}
}

func (t *Transport) takeSnapshot(c *inConn, slot *inSlot, h hello) error {
	if err := c.accept(t.instance); err != nil {
		return err
	}
	if err := c.established(t.opts.SilenceTimeout); err != nil {
		return err
	}
	stop := t.keepAlive(c.link)
	defer stop()
	select {
	case slot.turn <- struct{}{}:
		defer func() { <-slot.turn }()
	case <-c.dismissed:
		return net.ErrClosed
	case <-t.ctx.Done():
		return net.ErrClosed
	}
	body := &snapshotBody{frames: c.frames}
	m, err := body.meta(h.to)
	if err == nil {
		err = t.opts.Handler.Snapshot(h.from, m, body)
	}
	if err == nil {
		err = body.mustBeWhole()
	}
	var answer []byte
	if err != nil {
		answer = appendFrame(nil, frameError, []byte(cutText(err.Error())))
	} else {
		answer = appendFrame(nil, frameSnapDone, nil)
	}
	_ = c.SetWriteDeadline(time.Now().Add(t.opts.SilenceTimeout))
	if _, werr := c.Write(answer); err == nil {
		err = werr
	}
	// The sender closes when it has the answer. Closing first, with its pings
	// unread, would reset the connection and might take the answer along.
	c.silence = 0
	_ = c.SetReadDeadline(time.Now().Add(lingerTimeout))
	_, _ = io.Copy(io.Discard, c.link)
	return err
}

// snapshotBody is the content of an incoming snapshot.
type snapshotBody struct {
	frames *frameReader
	rest   []byte
	total  uint64
	// err is sticky; io.EOF only once the announced length has been reached.
	err error
}

func (b *snapshotBody) meta(self uint64) (*raftpb.Message, error) {
	typ, p, err := b.frames.next()
	if err != nil {
		return nil, err
	}
	if typ != frameSnapMeta {
		return nil, badFrame("type %d does not start a snapshot", typ)
	}
	m, err := decodeMessage(p)
	if err != nil {
		return nil, err
	}
	if m.GetType() != raftpb.MsgSnap || m.GetTo() != self || m.Snapshot == nil {
		return nil, badFrame("a %v for member %x does not announce a snapshot for member %x", m.GetType(), m.GetTo(), self)
	}
	return m, nil
}

func (b *snapshotBody) Read(into []byte) (int, error) {
	for len(b.rest) == 0 && b.err == nil {
		typ, p, err := b.frames.next()
		switch {
		case err == io.EOF:
			b.err = io.ErrUnexpectedEOF
		case err != nil:
			b.err = err
		case typ == frameSnapBody:
			b.rest = p
			b.total += uint64(len(p))
		case typ == framePing:
		case typ == frameSnapEnd:
			b.err = io.EOF
			if len(p) != 8 || binary.BigEndian.Uint64(p) != b.total {
				b.err = badFrame("a snapshot ends with length %x, %d bytes have arrived", p, b.total)
			}
		default:
			b.err = badFrame("type %d does not belong in a snapshot", typ)
		}
	}
	if len(b.rest) == 0 {
		return 0, b.err
	}
	n := copy(into, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// mustBeWhole refuses to acknowledge what has not arrived to its end.
func (b *snapshotBody) mustBeWhole() error {
	var one [1]byte
	switch n, err := b.Read(one[:]); {
	case n > 0:
		return errors.New("the handler took the snapshot without reading all of it")
	case err != io.EOF:
		return fmt.Errorf("the snapshot did not arrive whole: %w", err)
	}
	return nil
}
