package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// callSlack is the room for what a call's frames carry besides the payload.
const callSlack = maxReason + 64

// Call asks the process at addr, which need not be a member of anything, nor
// this one. It ends with ctx; without a deadline there, it waits for as long
// as the connection stands. The errors: *CallError from the other side's
// handler, *RefusedError from its transport, else the connection's.
func (t *Transport) Call(ctx context.Context, addr string, kind byte, payload []byte) ([]byte, error) {
	return t.callAs(ctx, t.self(), addr, kind, payload)
}

// Ask is Call without saying which cluster this process belongs to: members of
// another answer too.
func (t *Transport) Ask(ctx context.Context, addr string, kind byte, payload []byte) ([]byte, error) {
	return t.callAs(ctx, identity{}, addr, kind, payload)
}

func (t *Transport) callAs(ctx context.Context, self identity, addr string, kind byte, payload []byte) ([]byte, error) {
	if len(payload) > t.opts.MaxCall {
		return nil, fmt.Errorf("transport: a call of %d bytes, the bound is %d", len(payload), t.opts.MaxCall)
	}
	done, err := t.begin()
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	reply, err := t.call(ctx, self, addr, kind, payload)
	switch cause := context.Cause(ctx); {
	case err == nil || cause == nil:
	case t.ctx.Err() != nil:
		return nil, ErrClosed
	case !errors.Is(err, cause):
		// What was waited for in vain tells a name that nobody resolves from a
		// process that does not answer.
		return nil, fmt.Errorf("%w: %w", cause, err)
	}
	return reply, err
}

func (t *Transport) call(ctx context.Context, self identity, addr string, kind byte, payload []byte) ([]byte, error) {
	l, err := t.dial(ctx, addr, hello{kind: KindCall, cluster: self.cluster, from: self.member, instance: t.instance}, t.opts.MaxCall+callSlack)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if err := l.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	b, at := beginFrame(make([]byte, 0, frameHeader+1+len(payload)), frameRequest)
	b = append(append(b, kind), payload...)
	endFrame(b, at)
	if _, err := l.Write(b); err != nil {
		return nil, err
	}
	typ, p, err := l.frames.next()
	switch {
	case err == io.EOF:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	case typ == frameReply:
		return p, nil // the reader ends here, so nothing will overwrite it
	case typ == frameError:
		return nil, &CallError{string(p)}
	case typ == frameGoodbye:
		return nil, parseGoodbye(p)
	}
	return nil, badFrame("type %d is no reply to a call", typ)
}

// begin admits something that Close has to wait for, unless it is too late.
func (t *Transport) begin() (done func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	t.wg.Add(1)
	return t.wg.Done, nil
}

// serveCall answers one call.
func (t *Transport) serveCall(l *link) {
	select {
	case t.calls <- struct{}{}:
		defer func() { <-t.calls }()
	default:
		sayGoodbye(l, &RefusedError{RefusedBusy, fmt.Sprintf("this member answers %d calls already, its bound", t.opts.MaxCalls)})
		t.log.warn("busy", "Too many calls at a time; one was refused", "remote", l.RemoteAddr(), "bound", t.opts.MaxCalls)
		return
	}
	if err := t.answer(l); err != nil && t.ctx.Err() == nil {
		t.log.warn("call", "A call was not answered", "remote", l.RemoteAddr(), "err", err)
	}
}

func (t *Transport) answer(l *link) error {
	if err := l.accept(t.instance); err != nil {
		return err
	}
	l.frames.max = t.opts.MaxCall + callSlack
	typ, p, err := l.frames.next()
	if err != nil {
		return err
	}
	if typ != frameRequest || len(p) == 0 {
		err := badFrame("type %d with %d bytes is not a call", typ, len(p))
		sayGoodbye(l, &RefusedError{RefusedProtocol, err.Error()})
		return err
	}
	reply, err := t.opts.Handler.Call(l.RemoteAddr(), p[0], p[1:])
	if err == nil && len(reply) > t.opts.MaxCall {
		err = errors.New("the reply exceeds the bound of a call")
	}
	out := appendFrame(nil, frameReply, reply)
	if err != nil {
		out = appendFrame(nil, frameError, []byte(cutText(err.Error())))
	}
	if err := l.SetWriteDeadline(time.Now().Add(t.opts.SilenceTimeout)); err != nil {
		return err
	}
	_, err = l.Write(out)
	return err
}
