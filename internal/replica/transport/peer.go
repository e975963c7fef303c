package transport

import (
	"context"
	"sync"
)

// peer is another member and the streams to it.
type peer struct {
	t  *Transport
	id uint64
	// ctx ends when the peer is removed, or with the transport.
	ctx    context.Context
	cancel context.CancelFunc

	control, data *outStream

	addrMu sync.Mutex
	addr   string

	// events serialises what the handler is told about this peer.
	events sync.Mutex
	told   told
	// standing is, for control and data, the process that the stream leads to;
	// zero while there is none.
	standing [2]uint64
	// instance is the process that last accepted a stream, zero before.
	instance uint64
}

// told is what the handler was last told.
type told int

const (
	toldNothing told = iota
	toldConnected
	toldLost
	toldGone
)

func newPeer(t *Transport, id uint64, addr string) *peer {
	ctx, cancel := context.WithCancel(t.ctx)
	p := &peer{t: t, id: id, addr: addr, ctx: ctx, cancel: cancel}
	p.control = newOutStream(p, KindControl, t.opts.QueueBytes/16)
	p.data = newOutStream(p, KindData, t.opts.QueueBytes)
	for _, s := range []*outStream{p.control, p.data} {
		t.wg.Add(1)
		go func() {
			defer t.wg.Done()
			s.run(ctx)
		}()
	}
	return p
}

// stop ends the streams; their goroutines are waited for by Close.
func (p *peer) stop() { p.cancel() }

func (p *peer) address() string {
	p.addrMu.Lock()
	defer p.addrMu.Unlock()
	return p.addr
}

func (p *peer) setAddr(addr string) {
	p.addrMu.Lock()
	changed := p.addr != addr
	p.addr = addr
	p.addrMu.Unlock()
	if changed {
		p.redial()
	}
}

// redial breaks the streams that stand, and dials at once.
func (p *peer) redial() {
	p.control.redial(0)
	p.data.redial(0)
}

// seen: a process of this member has said hello to us. It lives, so it is
// dialled at once; streams to another process of that id are dead.
func (p *peer) seen(instance uint64) {
	p.control.redial(instance)
	p.data.redial(instance)
}

// streamUp is called by a stream that now stands.
func (p *peer) streamUp(kind Kind, instance uint64) {
	p.events.Lock()
	defer p.events.Unlock()
	if p.instance != 0 && p.instance != instance && p.told != toldGone {
		p.told = toldGone
		p.t.opts.Handler.PeerLost(p.id, ErrRestarted, true)
	}
	p.instance = instance
	p.standing[kind-KindControl] = instance
	// A stream to the process before is dead, even if it does not know yet.
	if p.standing == [2]uint64{instance, instance} {
		p.told = toldConnected
		p.t.opts.Handler.PeerConnected(p.id)
	}
}

// streamDown is called by a stream that broke, or could not be made.
func (p *peer) streamDown(kind Kind, err error, gone bool) {
	p.events.Lock()
	defer p.events.Unlock()
	p.standing[kind-KindControl] = 0
	if p.told == toldGone || p.told == toldLost && !gone {
		return
	}
	p.told = toldLost
	if gone {
		p.told = toldGone
		// The other stream cannot stand for long either; whoever uses it should
		// not wait for the silence.
		if kind == KindControl {
			p.data.redial(0)
		} else {
			p.control.redial(0)
		}
	}
	p.t.opts.Handler.PeerLost(p.id, err, gone)
}

func (p *peer) status() PeerStatus {
	st := PeerStatus{ID: p.id, Addr: p.address(), Control: p.control.status(), Data: p.data.status()}
	st.Connected = st.Control.Connected && st.Data.Connected
	return st
}
