package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// Transport carries messages over TCP. See the package's comment.
type Transport struct {
	opts     Options
	listener net.Listener
	log      *quietLog
	// instance tells this process from a later one with the same member id.
	instance uint64
	started  time.Time

	// ctx ends with Close; every connection and goroutine is bound to it.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	calls  chan struct{}

	// peers is replaced, never changed, so that Send takes no lock for it.
	peers atomic.Pointer[map[uint64]*peer]

	mu       sync.Mutex
	closed   bool
	identity identity
	inbound  map[inKey]*inSlot
	pending  pendingConns
}

var _ Sender = (*Transport)(nil)

// identity is who this process is in hellos; zero before it is anyone.
type identity struct {
	cluster [16]byte
	member  uint64
}

func (i identity) isZero() bool { return i.cluster == [16]byte{} || i.member == 0 }

// New binds the listener. Nothing is accepted before Start, nothing dialled
// before SetPeers.
func New(opts Options) (*Transport, error) {
	if opts.Handler == nil {
		return nil, errors.New("transport: Options.Handler is missing")
	}
	setDefaults(&opts)
	t := &Transport{
		opts:     opts,
		listener: opts.Listener,
		log:      newQuietLog(opts.Logger),
		instance: rand.Uint64() | 1,
		started:  time.Now(),
		calls:    make(chan struct{}, opts.MaxCalls),
		identity: identity{opts.ClusterID, opts.MemberID},
		inbound:  map[inKey]*inSlot{},
	}
	t.peers.Store(&map[uint64]*peer{})
	t.ctx, t.cancel = context.WithCancel(context.Background())
	if t.listener == nil {
		ln, err := net.Listen("tcp", opts.Listen)
		if err != nil {
			return nil, fmt.Errorf("transport: cannot listen on the peer address %q: %w", opts.Listen, err)
		}
		t.listener = ln
	}
	return t, nil
}

func setDefaults(o *Options) {
	if o.Dial == nil {
		var d net.Dialer
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Jitter == nil {
		o.Jitter = func(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
	}
	if o.SilenceTimeout <= 0 {
		o.SilenceTimeout = 5 * time.Second
	}
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = 2 * time.Second
	}
	o.HandshakeTimeout = min(o.HandshakeTimeout, o.SilenceTimeout)
	for _, d := range []struct {
		v   *int
		def int
	}{
		{&o.MaxFrame, 64 << 20}, {&o.MaxCall, 1 << 20}, {&o.QueueBytes, 16 << 20},
		{&o.MaxPending, 64}, {&o.MaxCalls, 32}, {&o.MaxStreams, 256},
	} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
}

// Start accepts connections. It is called once, when the handler is ready.
func (t *Transport) Start() {
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		t.acceptLoop()
	}()
}

// Addr is where the transport listens.
func (t *Transport) Addr() net.Addr { return t.listener.Addr() }

// SetIdentity says who this process is, once it has been decided. Streams made
// under another identity are closed, and made anew.
func (t *Transport) SetIdentity(clusterID [16]byte, memberID uint64) {
	t.mu.Lock()
	next := identity{clusterID, memberID}
	changed := t.identity != next
	t.identity = next
	if changed {
		if peers := *t.peers.Load(); peers[memberID] != nil {
			peers = maps.Clone(peers)
			peers[memberID].stop()
			delete(peers, memberID)
			t.peers.Store(&peers)
		}
		for _, slot := range t.inbound {
			slot.dismiss(&RefusedError{ClosedIdentity, "this member has taken on another identity"})
		}
	}
	t.mu.Unlock()
	if !changed {
		return
	}
	for _, p := range *t.peers.Load() {
		p.redial()
	}
}

func (t *Transport) self() identity {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.identity
}

// SetPeers says who the other members are: member id -> "host:port". Streams
// to those that are missing are closed; an address that has changed is dialled
// anew. This member's own id is skipped.
func (t *Transport) SetPeers(addrs map[uint64]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	next := maps.Clone(*t.peers.Load())
	for id, p := range next {
		if _, ok := addrs[id]; !ok {
			p.stop()
			delete(next, id)
		}
	}
	for id, addr := range addrs {
		if id == t.identity.member {
			continue
		}
		if p, ok := next[id]; ok {
			p.setAddr(addr)
			continue
		}
		next[id] = newPeer(t, id, addr)
	}
	t.peers.Store(&next)
}

func (t *Transport) peer(id uint64) *peer { return (*t.peers.Load())[id] }

// Send queues raft messages for the members they are addressed to. It never
// blocks and keeps nothing of them. What cannot be queued is dropped, and
// Handler.Unreachable called. Snapshots are not for Send but for SendSnapshot.
func (t *Transport) Send(msgs []*raftpb.Message) {
	peers := *t.peers.Load()
	// Streams are woken when everything is queued, so that one write takes it all.
	var woken [8]*outStream
	nWoken := 0
	var dropped [4]uint64
	nDropped := 0
	for _, m := range msgs {
		to := m.GetTo()
		p := peers[to]
		ok := false
		if p != nil && m.GetType() != raftpb.MsgSnap {
			s := p.streamFor(m.GetType())
			var idle bool
			if ok, idle = s.queueMessage(m); idle {
				if nWoken == len(woken) {
					s.signal()
				} else {
					woken[nWoken] = s
					nWoken++
				}
			}
		}
		if ok {
			continue
		}
		known := false
		for _, id := range dropped[:nDropped] {
			known = known || id == to
		}
		if !known {
			if nDropped < len(dropped) {
				dropped[nDropped] = to
				nDropped++
			}
			t.opts.Handler.Unreachable(to)
		}
	}
	for _, s := range woken[:nWoken] {
		s.push()
	}
}

// streamFor: control is for what is small and decides who leads; everything
// whose size or number grows with the clients' load is data.
func (p *peer) streamFor(typ raftpb.MessageType) *outStream {
	switch typ {
	case raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgProp:
		return p.data
	}
	return p.control
}

// Forward queues client operations for a member, usually the leader, in the
// order of the calls. It never blocks and copies batch. False: there is no
// stream to that member now, or its queue is full, and nothing was queued.
func (t *Transport) Forward(to uint64, batch []byte) bool {
	return t.queue(to, frameForward, batch)
}

// Report queues a session report for a member; as Forward.
func (t *Transport) Report(to uint64, payload []byte) bool {
	return t.queue(to, frameReport, payload)
}

func (t *Transport) queue(to uint64, typ byte, payload []byte) bool {
	p := t.peer(to)
	if p == nil {
		return false
	}
	ok, idle := p.data.queueFrame(typ, payload)
	if idle {
		p.data.push()
	}
	return ok
}

// Status describes the streams to all peers, in no particular order.
func (t *Transport) Status() []PeerStatus {
	var out []PeerStatus
	for _, p := range *t.peers.Load() {
		st := p.status()
		t.mu.Lock()
		_, st.Incoming = t.inbound[inKey{p.id, KindControl}]
		t.mu.Unlock()
		out = append(out, st)
	}
	return out
}

// Close tells the peers that this member is stopping, closes every connection
// and waits for all goroutines, and so for the handler. Calls and snapshots
// under way end with an error.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	for _, slot := range t.inbound {
		slot.dismiss(&RefusedError{ClosedStopping, "this member is stopping"})
	}
	t.mu.Unlock()
	err := t.listener.Close()
	t.cancel()
	t.wg.Wait()
	return err
}

// sinceStart is a clock that does not jump.
func (t *Transport) sinceStart() time.Duration { return time.Since(t.started) }
