package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

const (
	minBackoff = 10 * time.Millisecond
	maxBackoff = time.Second
)

// outStream is one stream to a peer: a queue of encoded frames, and a
// goroutine that dials, writes, and dials again.
//
// Frames are encoded where they are queued, into one buffer that is written as
// a whole: one write carries everything that was queued meanwhile, and nothing of
// the caller's is kept. A caller that finds the stream idle writes by itself, if
// the connection takes it without waiting; a hop to the writer would cost more. It
// queues all that it has before it does (Transport.Send), so that writes do not
// get more and smaller for it.
type outStream struct {
	p    *peer
	kind Kind
	// limit bounds queued and writing together, in bytes; a single frame may
	// exceed it.
	limit int
	// wake tells the writer that queued is no longer empty.
	wake chan struct{}
	// kick ends the wait before the next dial.
	kick chan struct{}

	// writer is held by whoever writes to link. It is taken before mu.
	writer sync.Mutex
	spare  []byte // memory for queued; the writer's

	mu sync.Mutex
	// link is the connection while the stream stands. Invariant: queued is
	// empty while link is nil.
	link   *link
	queued []byte
	// writing is the size of what the writer has taken.
	writing int
	// idle: the writer waits for wake. Whoever queues then clears it and is the
	// one to signal.
	idle    bool
	since   time.Time
	lastErr error

	frames, bytes, dropped, dials atomic.Uint64
	rtt                           atomic.Int64
}

func newOutStream(p *peer, kind Kind, limit int) *outStream {
	return &outStream{p: p, kind: kind, limit: limit, wake: make(chan struct{}, 1), kick: make(chan struct{}, 1)}
}

// queueMessage encodes m into the queue. idle: the caller has to signal.
func (s *outStream) queueMessage(m *raftpb.Message) (ok, idle bool) {
	bound := frameHeader + messageBound(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.room(bound) {
		return false, false
	}
	b, at := beginFrame(s.queued, frameRaft)
	b, err := appendMessage(b, m)
	if err != nil {
		s.dropped.Add(1)
		s.p.t.log.warn("unsendable", "A raft message cannot be sent", "type", m.GetType(), "to", m.GetTo(), "err", err)
		return false, false
	}
	return true, s.appended(b, at)
}

func (s *outStream) queueFrame(typ byte, payload []byte) (ok, idle bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.room(frameHeader + len(payload)) {
		return false, false
	}
	b, at := beginFrame(s.queued, typ)
	return true, s.appended(append(b, payload...), at)
}

func (s *outStream) room(n int) bool {
	switch {
	case s.link == nil:
	case n > s.p.t.opts.MaxFrame:
		s.p.t.log.warn("too large", "A message exceeds the largest frame and cannot be sent: raise the frame's bound, or lower raft's message size",
			"to", fmt.Sprintf("%x", s.p.id), "bytes", n, "bound", s.p.t.opts.MaxFrame)
	case len(s.queued)+s.writing > 0 && len(s.queued)+s.writing+n > s.limit:
	default:
		return true
	}
	s.dropped.Add(1)
	return false
}

func (s *outStream) appended(b []byte, at int) (idle bool) {
	endFrame(b, at)
	s.queued = b
	s.frames.Add(1)
	idle, s.idle = s.idle, false
	return idle
}

func (s *outStream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// inlineBytes are written by whoever queued them, if the connection takes them
// without waiting; more is the writer's work.
const inlineBytes = 64 << 10

// push sends what is queued on its way. Whoever was told that the stream is
// idle calls it.
func (s *outStream) push() {
	if !s.writer.TryLock() {
		s.signal()
		return
	}
	defer s.writer.Unlock()
	s.mu.Lock()
	l, n := s.link, len(s.queued)
	if l == nil || l.tryWrite == nil || n > inlineBytes {
		s.mu.Unlock()
		s.signal()
		return
	}
	buf := s.queued
	s.queued, s.writing = s.spare[:0], n
	s.mu.Unlock()
	done := l.tryWrite(buf)
	s.bytes.Add(uint64(done))
	s.mu.Lock()
	s.writing = 0
	switch {
	case s.link != l: // what was queued is lost with the stream
	case done < n:
		s.queued = append(append([]byte(nil), buf[done:]...), s.queued...)
		s.signal()
	case len(s.queued) > 0: // since; nobody else was told to send it
		s.signal()
	default:
		s.idle = true
	}
	s.spare = buf[:0]
	s.mu.Unlock()
}

// redial ends a wait before the next dial, and breaks a stream that stands,
// unless it leads to the process keep.
func (s *outStream) redial(keep uint64) {
	s.mu.Lock()
	stale := s.link
	if stale != nil && stale.instance == keep {
		stale = nil
	}
	up := s.link != nil
	s.mu.Unlock()
	if stale != nil {
		stale.Close()
	}
	if stale != nil || !up {
		select {
		case s.kick <- struct{}{}:
		default:
		}
	}
}

// run dials and serves until ctx ends.
func (s *outStream) run(ctx context.Context) {
	backoff := minBackoff
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		l, err := s.connect(ctx)
		if err == nil {
			began := time.Now()
			err = s.serve(l)
			if ctx.Err() != nil {
				return
			}
			s.lost(err, streamGone(err))
			if s.kind == KindData {
				s.p.t.opts.Handler.Unreachable(s.p.id)
			}
			if time.Since(began) >= maxBackoff {
				// It had stood for a while: whether the other side still lives
				// is worth knowing now.
				backoff = minBackoff
				continue
			}
		} else if ctx.Err() == nil {
			s.lost(err, dialGone(err))
		}
		timer.Reset(s.p.t.opts.Jitter(backoff))
		select {
		case <-timer.C:
			backoff = min(2*backoff, maxBackoff)
		case <-s.kick:
			backoff = minBackoff
		case <-ctx.Done():
		}
	}
}

func (s *outStream) lost(err error, gone bool) {
	s.mu.Lock()
	first := s.lastErr == nil || s.lastErr.Error() != err.Error()
	s.lastErr = err
	s.mu.Unlock()
	if first && !errors.Is(err, ErrNoIdentity) {
		s.p.t.log.warn(fmt.Sprintf("lost %s %x", s.kind, s.p.id), "No stream to a member",
			"member", fmt.Sprintf("%x", s.p.id), "addr", s.p.address(), "stream", s.kind.String(), "err", err)
	}
	s.p.streamDown(s.kind, err, gone)
}

func (s *outStream) connect(ctx context.Context) (*link, error) {
	t := s.p.t
	self := t.self()
	if self.isZero() {
		return nil, ErrNoIdentity
	}
	s.dials.Add(1)
	return t.dial(ctx, s.p.address(), hello{kind: s.kind, cluster: self.cluster, from: self.member, to: s.p.id, instance: t.instance}, maxReason+64)
}

// serve writes what is queued until the stream breaks, and says why it did.
func (s *outStream) serve(l *link) error {
	defer l.Close()
	if err := l.established(s.p.t.opts.SilenceTimeout); err != nil {
		return err
	}
	s.mu.Lock()
	s.link, s.idle, s.since, s.lastErr = l, false, time.Now(), nil
	s.mu.Unlock()
	s.p.streamUp(s.kind, l.instance)

	ended := make(chan struct{})
	var heard error
	go func() {
		defer close(ended)
		heard = s.listen(l)
		l.Close() // ends a write that waits
	}()
	wrote := s.write(l, ended)

	s.mu.Lock()
	s.link, s.queued, s.writing, s.since = nil, nil, 0, time.Now()
	s.mu.Unlock()
	// A failed write says little; the peer's goodbye may be under way.
	patience := time.AfterFunc(goodbyeTimeout, func() { l.Close() })
	<-ended
	patience.Stop()
	if wrote != nil && errors.Is(heard, net.ErrClosed) {
		return wrote
	}
	return heard
}

// write ends with its own error, or with nil because the stream has ended.
func (s *outStream) write(l *link, ended <-chan struct{}) error {
	pings := time.NewTicker(s.p.t.opts.SilenceTimeout / 3)
	defer pings.Stop()
	var buf []byte
	most := 0
	for ping := false; ; {
		s.writer.Lock()
		buf = s.take(buf)
		most = max(most, len(buf))
		if ping {
			buf = appendFrameUint(buf, framePing, uint64(s.p.t.sinceStart()))
			ping = false
		}
		var err error
		if len(buf) > 0 {
			_, err = l.Write(buf)
		}
		s.writer.Unlock()
		if err != nil {
			return err
		}
		if len(buf) > 0 {
			s.bytes.Add(uint64(len(buf)))
			select { // also a busy stream is to be measured
			case <-pings.C:
				ping = true
			default:
			}
		} else {
			select {
			case <-s.wake:
			case <-pings.C:
				ping = true
			case <-ended:
				return nil
			}
		}
		if ping {
			// Memory follows the load down: a buffer of which little was used
			// since the last ping is given up.
			if cap(buf) > readBuffer && most < cap(buf)/4 {
				buf = nil
			}
			most = 0
		}
	}
}

// take exchanges what is queued for an emptied buffer.
func (s *outStream) take(empty []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	full := s.queued
	s.queued, s.writing = empty[:0], len(full)
	s.idle = len(full) == 0
	return full
}

// listen reads what the peer says on our stream: pongs, and a goodbye.
func (s *outStream) listen(l *link) error {
	for {
		typ, p, err := l.frames.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("the peer was silent for %v", s.p.t.opts.SilenceTimeout)
		}
		if err == io.EOF {
			return errPeerClosed
		}
		if err != nil {
			return err
		}
		switch typ {
		case framePong:
			sent, err := parseUint("a pong", p)
			if err != nil {
				return err
			}
			s.rtt.Store(int64(s.p.t.sinceStart()) - int64(sent))
		case frameGoodbye:
			return parseGoodbye(p)
		default:
			return badFrame("type %d is not for the sender of a %v stream", typ, s.kind)
		}
	}
}

var errPeerClosed = errors.New("the peer closed the stream")

func (s *outStream) status() StreamStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := StreamStatus{
		Connected: s.link != nil, Since: s.since, RTT: time.Duration(s.rtt.Load()), QueuedBytes: len(s.queued) + s.writing,
		Frames: s.frames.Load(), Bytes: s.bytes.Load(), Dropped: s.dropped.Load(), Dials: s.dials.Load(),
	}
	if s.lastErr != nil {
		st.LastError = s.lastErr.Error()
	}
	return st
}
