package formation

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Env is what a Node needs from outside.
type Env struct {
	// Call sends a request to the process at addr and returns its reply; with
	// the transport, a Call of kind CallFormation. It ends with ctx.
	Call func(ctx context.Context, addr string, request []byte) ([]byte, error)
	// Persist makes the state durable, in place of the one before. When it
	// returns nil, the state survives a loss of power.
	Persist func(state []byte) error
	// Rand is the source of ids and of jitter; default: crypto/rand.
	Rand func() uint64
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	Timing Timing
}

// DefaultTiming is patient with machines that start together: a majority waits
// for grace (initLimit * tickTime) before it founds the ensemble without the
// rest.
func DefaultTiming(grace time.Duration) Timing {
	return Timing{Retry: 300 * time.Millisecond, Grace: grace, Phase: 2 * time.Second, Stagger: 200 * time.Millisecond}
}

// Node is a member of the formation: its acceptor, on its disk, and its Former.
type Node struct {
	cfg    Config
	env    Env
	former *Former
	// concluded is signalled when another member's call made this one a founder.
	concluded chan struct{}

	mu sync.Mutex
	// Invariant: acceptor.State is what Persist was last given.
	acceptor Acceptor
	stored   []byte
	status   Status
}

// NewNode continues from what Persist was last given, nil for a new data
// directory.
func NewNode(cfg Config, stored []byte, env Env) (*Node, error) {
	var state *State
	if stored != nil {
		var err error
		if state, err = DecodeState(stored); err != nil {
			return nil, err
		}
	}
	acceptor, err := NewAcceptor(cfg, state)
	if err != nil {
		return nil, err
	}
	if env.Rand == nil {
		env.Rand = cryptoRand
	}
	if env.Logger == nil {
		env.Logger = slog.Default()
	}
	return &Node{
		cfg: cfg, env: env, acceptor: acceptor, stored: acceptor.State.Encode(),
		former: NewFormer(cfg, env.Timing, env.Rand), concluded: make(chan struct{}, 1),
	}, nil
}

func cryptoRand() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it does not fail: it ends the program instead
	return binary.LittleEndian.Uint64(b[:])
}

// SetMember says that this member belongs to an ensemble that it has not
// founded. From then on, whoever asks is told to join that.
func (n *Node) SetMember(id ClusterID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.acceptor.Member = id
}

// HandleCall answers a call of kind CallFormation. It does so for as long as
// the member lives, also once there is an ensemble: that is how a configured
// server that comes later learns of it.
func (n *Node) HandleCall(payload []byte) ([]byte, error) {
	req, err := DecodeRequest(payload)
	if err != nil {
		return nil, err
	}
	reply, err := n.handle(req)
	if err != nil {
		return nil, err
	}
	return reply.Encode(), nil
}

// handle: first the disk, then the reply.
func (n *Node) handle(req *Request) (*Reply, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	next, reply := n.acceptor.Handle(req)
	if enc := next.Encode(); !bytes.Equal(enc, n.stored) {
		if err := n.env.Persist(enc); err != nil {
			return nil, fmt.Errorf("formation: server.%d cannot store what it promises: %w", n.cfg.Self.N, err)
		}
		if next.Decided && !n.acceptor.State.Decided {
			select {
			case n.concluded <- struct{}{}:
			default:
			}
		}
		n.acceptor.State, n.stored = next, enc
	}
	return reply, nil
}

// Status says how far the formation is, while Run is under way.
func (n *Node) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status
}

// result is a call that has ended.
type result struct {
	call  Call
	reply *Reply
	err   error
}

// Run takes part until there is an outcome, ctx ends, or the disk fails. It is
// called once.
func (n *Node) Run(ctx context.Context) (*Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan result)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	timer := time.NewTimer(0)
	defer timer.Stop()
	logged := time.Time{}
	for {
		var calls []Call
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case now := <-timer.C:
			calls = n.former.Tick(now)
		case r := <-results:
			calls = n.former.Answer(time.Now(), r.call, r.reply, r.err)
		case <-n.concluded:
			own, _ := n.cfg.server(n.cfg.Self.N)
			calls = []Call{{To: own, Request: &Request{Op: OpProbe, From: n.cfg.Self, To: own.N, Servers: n.cfg.Servers}}}
		}
		for len(calls) > 0 {
			c := calls[0]
			calls = calls[1:]
			if c.To.N != n.cfg.Self.N || c.Loop {
				wg.Go(func() {
					r := n.call(ctx, c)
					select {
					case results <- r:
					case <-ctx.Done():
					}
				})
				continue
			}
			reply, err := n.handle(c.Request)
			if err != nil {
				return nil, err
			}
			calls = append(calls, n.former.Answer(time.Now(), c, reply, nil)...)
		}
		if out := n.former.Outcome(); out != nil {
			return out, nil
		}
		logged = n.report(logged)
		timer.Reset(time.Until(n.former.Wake()))
	}
}

// call is a call to another process.
func (n *Node) call(ctx context.Context, c Call) result {
	ctx, cancel := context.WithTimeout(ctx, n.env.Timing.Phase)
	defer cancel()
	raw, err := n.env.Call(ctx, c.To.Addr, c.Request.Encode())
	if err != nil {
		return result{call: c, err: err}
	}
	reply, err := DecodeReply(raw)
	if err != nil {
		return result{call: c, err: err}
	}
	return result{call: c, reply: reply}
}

// reportInterval is the least time between two lines about what is in the way.
const reportInterval = 10 * time.Second

func (n *Node) report(last time.Time) time.Time {
	st := n.former.Status()
	n.mu.Lock()
	changed := st.Problem != n.status.Problem
	n.status = st
	n.mu.Unlock()
	if now := time.Now(); st.Problem != "" && (changed || now.Sub(last) > 6*reportInterval) && now.Sub(last) > reportInterval {
		n.env.Logger.Warn("Waiting for an ensemble to be founded", "answered", st.Answered, "missing", st.Missing, "problem", st.Problem)
		return now
	}
	return last
}
