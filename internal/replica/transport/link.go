package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// link is a connection after its hello. It is closed by whoever made it, and
// also when the context that it was made with ends.
type link struct {
	net.Conn
	// raw is closed instead of a TLS connection on top of it, whose own Close
	// may wait for the other side.
	raw    net.Conn
	frames *frameReader
	// instance is the other side's process.
	instance uint64
	unbind   func() bool

	// tryWrite writes as much as goes without waiting, and returns how much that
	// was; nil where that can't be done (TLS).
	tryWrite func([]byte) int

	// silence, if set, bounds how long a read may wait; see Read.
	silence time.Duration
	asked   time.Time
}

// newLink binds conn, which is raw or TLS on top of it, to ctx.
func newLink(ctx context.Context, raw, conn net.Conn, maxFrame int) *link {
	l := &link{Conn: conn, raw: raw, unbind: context.AfterFunc(ctx, func() { raw.Close() })}
	l.frames = newFrameReader(l, maxFrame)
	if tcp, ok := conn.(*net.TCPConn); ok {
		l.tryWrite = tryWriter(tcp)
	}
	return l
}

// tryWriter returns a function for one caller at a time.
func tryWriter(tcp *net.TCPConn) func([]byte) int {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	var buf []byte
	var done int
	once := func(fd uintptr) bool {
		done, _ = syscall.Write(int(fd), buf) // whoever waits for the rest hears of the error
		return true
	}
	return func(b []byte) int {
		buf, done = b, 0
		_ = raw.Write(once)
		buf = nil
		return max(done, 0)
	}
}

// Read moves the deadline, but not at every read: that would cost a timer
// each, for a precision that nobody needs.
func (l *link) Read(p []byte) (int, error) {
	if l.silence > 0 {
		if now := time.Now(); now.Sub(l.asked) > l.silence/8 {
			l.asked = now
			if err := l.SetReadDeadline(now.Add(l.silence)); err != nil {
				return 0, err
			}
		}
	}
	return l.Conn.Read(p)
}

// established replaces the hello's deadline by the silence timeout.
func (l *link) established(silence time.Duration) error {
	l.silence = silence
	return l.SetDeadline(time.Time{})
}

func (l *link) Close() error {
	l.unbind()
	return l.raw.Close()
}

// goodbyeTimeout bounds the attempt to tell the other side why.
const goodbyeTimeout = 50 * time.Millisecond

// sayGoodbye closes the connection, after an attempt to say why.
func sayGoodbye(l *link, why *RefusedError) {
	_ = l.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	_, _ = l.Write(appendGoodbye(nil, why))
	l.Close()
}

// dial opens a connection and says hello. The link is bound to ctx.
func (t *Transport) dial(ctx context.Context, addr string, h hello, maxFrame int) (*link, error) {
	handshake, cancel := context.WithTimeout(ctx, t.opts.HandshakeTimeout)
	defer cancel()
	conn, err := t.opts.Dial(handshake, addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetNoDelay(true)
	}
	secured := conn
	if t.opts.ClientTLS != nil {
		secured = tls.Client(conn, t.opts.ClientTLS())
	}
	l := newLink(ctx, conn, secured, maxFrame)
	if err := l.hello(handshake, h); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *link) hello(ctx context.Context, h hello) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := l.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := l.Write(h.append(nil)); err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	typ, p, err := l.frames.next()
	if err != nil {
		return fmt.Errorf("no answer to the hello: %w", err)
	}
	l.instance, err = parseAnswer(typ, p)
	return err
}

// dialGone reports that a failed dial shows that no process is there. A reset
// within the hello does not: a member that has too many callers does that.
func dialGone(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || stopping(err)
}

// streamGone reports that a stream's end shows that its process is gone.
func streamGone(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || stopping(err)
}

func stopping(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused) && refused.Code == ClosedStopping
}
