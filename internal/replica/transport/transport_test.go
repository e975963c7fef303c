package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

func TestEverythingArrivesInOrder(t *testing.T) {
	e := newEnsemble(t, 3, nil)
	var got []*raftpb.Message
	var mu sync.Mutex
	done := make(chan struct{})
	const n = 500
	e.handlers[2].raft = func(from uint64, m *raftpb.Message) {
		mu.Lock()
		defer mu.Unlock()
		if got = append(got, m); len(got) == n {
			close(done)
		}
	}
	var want []*raftpb.Message
	for i := range n {
		m := appMessage(i%5, i)
		m.To, m.Index = new(uint64(3)), new(uint64(i))
		want = append(want, m)
	}
	for i := 0; i < n; i += 7 {
		e.members[0].Send(want[i:min(i+7, n)])
	}
	<-done
	for i := range want {
		if !proto.Equal(got[i], want[i]) {
			t.Fatalf("message %d: got %v, want %v", i, got[i], want[i])
		}
	}
	for i := range 100 {
		if !e.members[0].Forward(2, fmt.Appendf(nil, "batch %d", i)) || !e.members[0].Report(2, fmt.Appendf(nil, "report %d", i)) {
			t.Fatal("a stream that stands did not take a batch")
		}
	}
	for i := range 100 {
		e.handlers[1].wait(t, fmt.Sprintf("forward 1 batch %d", i))
		e.handlers[1].wait(t, fmt.Sprintf("report 1 report %d", i))
	}
	for _, typ := range []raftpb.MessageType{raftpb.MsgHeartbeat, raftpb.MsgVote, raftpb.MsgReadIndex, raftpb.MsgAppResp, raftpb.MsgProp} {
		e.members[1].Send([]*raftpb.Message{message(typ, 1, 5)})
		e.handlers[0].wait(t, fmt.Sprintf("raft 2 %v 5", typ))
	}
}

func TestSendReportsWhatItCannotQueue(t *testing.T) {
	e := newEnsemble(t, 2, nil)
	m, h := e.members[0], e.handlers[0]
	m.Send([]*raftpb.Message{message(raftpb.MsgApp, 9, 1), message(raftpb.MsgHeartbeat, 9, 1), message(raftpb.MsgHeartbeat, 2, 3)})
	h.wait(t, "unreachable 9")
	e.handlers[1].wait(t, "raft 1 MsgHeartbeat 3")
	if h.has("unreachable") {
		t.Error("one call of Send reported a peer twice")
	}
	m.Send([]*raftpb.Message{message(raftpb.MsgSnap, 2, 1)})
	h.wait(t, "unreachable 2")
	if m.Forward(9, nil) || m.Report(9, nil) {
		t.Error("a batch for an unknown member was taken")
	}
	if err := m.SendSnapshot(9, message(raftpb.MsgSnap, 9, 1), nil); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("a snapshot for an unknown member: %v", err)
	}
}

// A peer whose handler is stuck holds up neither the caller nor the others.
func TestSlowPeerHoldsUpNobody(t *testing.T) {
	e := newEnsemble(t, 3, func(o *Options) { o.QueueBytes = 1 << 20 })
	release := make(chan struct{})
	var taken sync.WaitGroup
	taken.Add(1)
	var once sync.Once
	e.handlers[1].forward = func(uint64, []byte) {
		once.Do(taken.Done)
		<-release
	}
	block := bytes.Repeat([]byte{1}, 64<<10)
	e.members[0].Forward(2, block)
	taken.Wait()
	// Until the peer's socket and our queue are full: neither call ever waits.
	for !e.handlers[0].has("unreachable 2") {
		e.members[0].Forward(2, block)
		e.members[0].Send([]*raftpb.Message{appMessage(40, 1<<10)})
	}
	for _, m := range []*raftpb.Message{message(raftpb.MsgApp, 3, 1), message(raftpb.MsgHeartbeat, 2, 7)} {
		e.members[0].Send([]*raftpb.Message{m})
	}
	e.handlers[2].wait(t, "raft 1 MsgApp 1")
	e.handlers[1].wait(t, "raft 1 MsgHeartbeat 7") // control does not wait behind data
	for _, st := range e.members[0].Status() {
		if st.ID == 2 && (st.Data.Dropped == 0 || st.Data.QueuedBytes > 1<<20) {
			t.Errorf("status of the slow peer: %+v", st.Data)
		}
	}
	close(release)
	for !e.members[0].Forward(2, []byte("again")) {
		e.members[0].Send([]*raftpb.Message{message(raftpb.MsgHeartbeat, 2, 8)})
		e.handlers[1].wait(t, "raft 1 MsgHeartbeat 8")
	}
}

func TestPeerThatStopsAndReturns(t *testing.T) {
	e := newEnsemble(t, 2, nil)
	addr := e.members[1].Addr().String()
	if err := e.members[1].Close(); err != nil {
		t.Fatal(err)
	}
	e.handlers[0].await(t, "gone 2")
	e.handlers[0].await(t, "unreachable 2") // the data stream has broken, too
	if e.members[0].Forward(2, []byte("lost")) {
		t.Error("a batch for a member that is gone was taken")
	}
	again := newRecorder()
	open(t, 2, again, func(o *Options) { o.Listen = addr })
	e.handlers[0].wait(t, "connected 2")
	if !e.members[0].Forward(2, []byte("found")) {
		t.Fatal("a connected member did not take a batch")
	}
	again.wait(t, "forward 1 found")
}

// A process that ends without a word, and one that takes its place at once.
func TestPeerThatIsKilled(t *testing.T) {
	n := newMemNetwork()
	e := n.ensemble(t, 2)
	n.crash("m2")
	e.handlers[0].wait(t, "lost 2")
	e.handlers[0].wait(t, "gone 2") // the dial that follows at once, or after 10 ms, is refused
	successor := newRecorder()
	n.member(t, 2, "m2", successor, nil)
	e.handlers[0].wait(t, "connected 2")

	n.replace(t, 2, "m2", newRecorder()) // crash and return between two dials
	e.handlers[0].wait(t, "gone 2: "+ErrRestarted.Error())
	e.handlers[0].wait(t, "connected 2")
}

func TestAddressIsResolvedAtEveryDial(t *testing.T) {
	var mu sync.Mutex
	where := map[string]string{}
	resolve := func(o *Options) {
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			mu.Lock()
			to, ok := where[addr]
			mu.Unlock()
			if !ok {
				return nil, fmt.Errorf("no such host: %s", addr)
			}
			var d net.Dialer
			return d.DialContext(ctx, "tcp", to)
		}
	}
	r1, r2, r3 := newRecorder(), newRecorder(), newRecorder()
	m1 := open(t, 1, r1, resolve)
	m2 := open(t, 2, r2, nil)
	m1.SetPeers(map[uint64]string{2: "zk2:2888"})
	r1.wait(t, "lost 2: no such host")
	mu.Lock()
	where["zk2:2888"] = m2.Addr().String()
	mu.Unlock()
	r1.wait(t, "connected 2")

	moved := open(t, 2, r3, nil)
	mu.Lock()
	where["zk2:2888"] = moved.Addr().String()
	mu.Unlock()
	m2.Close()
	r1.wait(t, "connected 2")
	m1.Send([]*raftpb.Message{message(raftpb.MsgApp, 2, 4)})
	r3.wait(t, "raft 1 MsgApp 4")

	// The configuration may change as well.
	mu.Lock()
	where["new:1"] = moved.Addr().String()
	mu.Unlock()
	r1.forget()
	m1.SetPeers(map[uint64]string{2: "new:1"})
	r1.wait(t, "connected 2")
	m1.SetPeers(nil)
	if len(m1.Status()) != 0 || m1.Forward(2, nil) {
		t.Error("a removed peer is still there")
	}
}

func TestIdentityComesLater(t *testing.T) {
	r1, r2 := newRecorder(), newRecorder()
	m1 := open(t, 0, r1, func(o *Options) { o.ClusterID = [16]byte{} })
	m2 := open(t, 2, r2, nil)
	// Before there is an ensemble, calls are all there is.
	for _, to := range []*Transport{m1, m2} {
		if reply, err := m1.Call(t.Context(), to.Addr().String(), 7, []byte("who?")); err != nil || string(reply) != "\x07who?" {
			t.Fatalf("call: %q, %v", reply, err)
		}
	}
	peers := map[uint64]string{1: m1.Addr().String(), 2: m2.Addr().String()}
	m1.SetPeers(peers)
	m2.SetPeers(peers)
	r2.wait(t, "lost 1: the peer refused: this process is not a member of an ensemble yet")
	if err := m1.SendSnapshot(2, message(raftpb.MsgSnap, 2, 1), nil); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("a snapshot without an identity: %v", err)
	}
	m1.SetIdentity(testCluster, 1)
	r1.wait(t, "connected 2")
	r2.wait(t, "connected 1")
	for _, st := range m1.Status() {
		if st.ID == 1 {
			t.Error("a member is its own peer")
		}
	}
	m1.SetIdentity([16]byte{9}, 1) // another ensemble: the streams of this one are over
	r2.wait(t, "lost 1")
	r1.wait(t, "lost 2")
}

func TestAdmitRefusesWithItsReason(t *testing.T) {
	r1 := newRecorder()
	m1 := open(t, 1, r1, nil)
	m2 := open(t, 2, newRecorder(), func(o *Options) {
		o.Admit = func(from uint64) error { return fmt.Errorf("member %d was removed from the ensemble", from) }
	})
	m1.SetPeers(map[uint64]string{2: m2.Addr().String()})
	r1.wait(t, "lost 2: the peer refused: member 1 was removed from the ensemble")
	err := m1.SendSnapshot(2, message(raftpb.MsgSnap, 2, 1), strings.NewReader(""))
	if refused := new(RefusedError); !errors.As(err, &refused) || refused.Code != RefusedAdmit {
		t.Errorf("a snapshot from a removed member: %v", err)
	}
}

func TestCalls(t *testing.T) {
	r := newRecorder()
	m := open(t, 1, r, func(o *Options) { o.MaxCall = 1000 })
	addr := m.Addr().String()
	caller := open(t, 2, newRecorder(), func(o *Options) { o.MaxCall = 2000 })

	r.call = func(net.Addr, byte, []byte) ([]byte, error) { return nil, errTest }
	if _, err := caller.Call(t.Context(), addr, 1, nil); err == nil || err.Error() != errTest.Error() {
		t.Errorf("an error of the handler: %v", err)
	}
	r.call = func(net.Addr, byte, []byte) ([]byte, error) { return make([]byte, 1001), nil }
	if _, err := caller.Call(t.Context(), addr, 1, nil); err == nil || !strings.Contains(err.Error(), "exceeds") {
		t.Errorf("a reply beyond the bound: %v", err)
	}
	r.call = nil
	if _, err := caller.Call(t.Context(), addr, 1, make([]byte, 2001)); err == nil || !strings.Contains(err.Error(), "the bound is 2000") {
		t.Errorf("a call beyond the bound: %v", err)
	}
	if reply, err := caller.Call(t.Context(), addr, 3, make([]byte, 999)); err != nil || len(reply) != 1000 {
		t.Errorf("a call within the bound: %d bytes, %v", len(reply), err)
	}

	stranger := open(t, 2, newRecorder(), func(o *Options) { o.ClusterID = [16]byte{7} })
	if _, err := stranger.Ask(t.Context(), addr, 3, nil); err != nil {
		t.Errorf("a member of another cluster asks: %v", err)
	}
	_, err := stranger.Call(t.Context(), addr, 1, nil)
	if refused := new(RefusedError); !errors.As(err, &refused) || refused.Code != RefusedCluster {
		t.Errorf("a call from another cluster: %v", err)
	}
}

func TestCallsAtATimeAreBounded(t *testing.T) {
	r := newRecorder()
	entered, leave := make(chan struct{}), make(chan struct{})
	r.call = func(net.Addr, byte, []byte) ([]byte, error) {
		close(entered)
		<-leave
		return nil, nil
	}
	addr := open(t, 1, r, func(o *Options) { o.MaxCalls = 1 }).Addr().String()
	caller := open(t, 2, newRecorder(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := caller.Call(ctx, addr, 1, nil)
		ended <- err
	}()
	<-entered
	_, err := caller.Call(t.Context(), addr, 1, nil)
	if refused := new(RefusedError); !errors.As(err, &refused) || refused.Code != RefusedBusy {
		t.Errorf("a call beyond the number: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a call that was given up: %v", err)
	}
	close(leave)
}

// A call that runs out of time says at what: a name that nobody resolves is
// somebody else's to mend than a process that does not answer.
func TestCallOutOfTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	m := open(t, 1, newRecorder(), func(o *Options) {
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			<-ctx.Done()
			return nil, &net.DNSError{Err: "i/o timeout", Name: addr, IsTimeout: true}
		}
	})
	_, err := m.Call(ctx, "zoo-1.zoo-members", 1, nil)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "lookup zoo-1.zoo-members: i/o timeout") {
		t.Errorf("a name that is not resolved in time: %v", err)
	}
	_, err = open(t, 2, newRecorder(), nil).Call(ctx, m.Addr().String(), 1, nil)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), m.Addr().String()) {
		t.Errorf("a call with no time: %v", err)
	}
}

func TestAfterClose(t *testing.T) {
	e := newEnsemble(t, 2, nil)
	entered := make(chan struct{})
	leave := make(chan struct{})
	e.handlers[1].call = func(net.Addr, byte, []byte) ([]byte, error) {
		close(entered)
		<-leave
		return nil, nil
	}
	ended := make(chan error)
	addr := e.members[1].Addr().String()
	go func() {
		_, err := e.members[0].Call(context.Background(), addr, 1, nil)
		ended <- err
	}()
	<-entered
	m := e.members[0]
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("a call that was under way: %v", err)
	}
	close(leave)
	if err := m.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	if _, err := m.Call(t.Context(), addr, 1, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a call: %v", err)
	}
	if err := m.SendSnapshot(2, message(raftpb.MsgSnap, 2, 1), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a snapshot: %v", err)
	}
	if m.Forward(2, nil) {
		t.Error("a batch was taken")
	}
	m.SetPeers(map[uint64]string{5: addr})
	m.SetIdentity([16]byte{4}, 4)
	m.Send([]*raftpb.Message{message(raftpb.MsgApp, 2, 1)})
	e.handlers[0].wait(t, "unreachable 2")
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	if _, err := New(Options{}); err == nil || !strings.Contains(err.Error(), "Handler") {
		t.Errorf("without a handler: %v", err)
	}
	if _, err := New(Options{Handler: newRecorder(), Listen: "256.0.0.1:1"}); err == nil || !strings.Contains(err.Error(), "256.0.0.1:1") {
		t.Errorf("an impossible address: %v", err)
	}
}

func TestStatusMeasures(t *testing.T) {
	e := newEnsemble(t, 2, func(o *Options) { o.SilenceTimeout = 600 * time.Millisecond })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		st := e.members[0].Status()[0]
		// A stream that fell silent on a slow machine is taken up again.
		if st.Control.RTT > 0 && st.Data.RTT > 0 && st.Connected && st.Incoming {
			if st.Control.Bytes == 0 || st.Control.Dials == 0 || st.Control.Since.IsZero() || st.Addr == "" {
				t.Errorf("%+v", st)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", st)
		}
		e.members[0].Send([]*raftpb.Message{message(raftpb.MsgHeartbeat, 2, 1), message(raftpb.MsgApp, 2, 1)})
	}
}
