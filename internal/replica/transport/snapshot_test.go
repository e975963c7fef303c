package transport

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

func snapMessage(to uint64) *raftpb.Message {
	return &raftpb.Message{Type: raftpb.MsgSnap.Enum(), To: new(to), Term: new(uint64(4)), Snapshot: &raftpb.Snapshot{
		Metadata: &raftpb.SnapshotMetadata{Index: new(uint64(77)), Term: new(uint64(3)), ConfState: &raftpb.ConfState{Voters: []uint64{1, 2}}}}}
}

// content is n reproducible bytes; after cut of them, before is called once.
type content struct {
	r    *rand.ChaCha8
	left int
	cut  int
	once func() error
}

func newContent(n int) *content { return &content{r: rand.NewChaCha8([32]byte{1}), left: n, cut: -1} }

func (c *content) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if c.cut >= 0 && c.left <= c.cut && c.once != nil {
		f := c.once
		c.once = nil
		if err := f(); err != nil {
			return 0, err
		}
	}
	n := min(len(p), c.left)
	_, _ = c.r.Read(p[:n])
	c.left -= n
	return n, nil
}

func TestSnapshotOf50MiB(t *testing.T) {
	const size = 50 << 20
	want := sha256.New()
	_, _ = io.Copy(want, newContent(size))

	e := newEnsemble(t, 2, nil)
	result := make(chan error, 1)
	e.handlers[1].snapshot = func(from uint64, m *raftpb.Message, body io.Reader) error {
		if from != 1 || m.GetSnapshot().GetMetadata().GetIndex() != 77 {
			t.Errorf("announced from %d: %v", from, m)
		}
		got := sha256.New()
		n, err := io.Copy(got, body)
		if err == nil && (n != size || !bytes.Equal(got.Sum(nil), want.Sum(nil))) {
			t.Errorf("%d bytes arrived, not those that were sent", n)
		}
		result <- err
		return err
	}

	// The source fails half-way: neither side may take it for whole.
	broken := newContent(size)
	broken.cut, broken.once = size/2, func() error { return errTest }
	if err := e.members[0].SendSnapshot(2, snapMessage(2), broken); !errors.Is(err, errTest) {
		t.Errorf("a source that fails: the sender heard %v", err)
	}
	if err := <-result; err == nil {
		t.Error("a source that fails: the receiver took it for whole")
	}

	// The connection is cut half-way: another stream takes its place.
	cut := newContent(size)
	cut.cut, cut.once = size/2, func() error {
		s := knock(t, e.members[1])
		h := goodHello(KindSnapshot)
		h.from, h.to = 1, 2
		s.say(t, h.append(nil))
		_, _, _ = s.frames.next() // it has been accepted, so the other one is over
		s.Close()
		return nil
	}
	err := e.members[0].SendSnapshot(2, snapMessage(2), cut)
	if err == nil {
		t.Error("a connection that was cut: the sender believes that it has arrived")
	}
	if err := <-result; err == nil {
		t.Error("a connection that was cut: the receiver took it for whole")
	}

	if err := e.members[0].SendSnapshot(2, snapMessage(2), newContent(size)); err != nil {
		t.Errorf("once more: %v", err)
	}
	if err := <-result; err != nil {
		t.Errorf("once more: the receiver got %v", err)
	}
}

func TestSnapshotThatIsNotTaken(t *testing.T) {
	e := newEnsemble(t, 2, nil)
	send := func() error {
		return e.members[0].SendSnapshot(2, snapMessage(2), newContent(3<<20))
	}
	e.handlers[1].snapshot = func(uint64, *raftpb.Message, io.Reader) error { return errTest }
	refused := new(CallError)
	if err := send(); !errors.As(err, &refused) || refused.Reason != errTest.Error() {
		t.Errorf("refused before it was read: %v", err)
	}
	e.handlers[1].snapshot = func(_ uint64, _ *raftpb.Message, body io.Reader) error {
		_, _ = io.ReadFull(body, make([]byte, 1000))
		return nil
	}
	if err := send(); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "without reading all of it") {
		t.Errorf("acknowledged without reading it: %v", err)
	}
	if err := e.members[0].SendSnapshot(2, message(raftpb.MsgApp, 2, 1), newContent(1)); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "does not announce a snapshot") {
		t.Errorf("not a snapshot: %v", err)
	}
	if err := e.members[0].SendSnapshot(2, &raftpb.Message{Responses: []*raftpb.Message{{}}}, newContent(1)); !errors.Is(err, errNotForWire) {
		t.Errorf("not to be sent at all: %v", err)
	}
}

func TestSnapshotBodyMustAddUp(t *testing.T) {
	piece := appendFrame(nil, frameSnapBody, []byte("abc"))
	for name, c := range map[string]struct {
		frames []byte
		want   string
	}{
		"whole":        {appendFrameUint(append(appendFrameUint(nil, framePing, 0), piece...), frameSnapEnd, 3), ""},
		"empty":        {appendFrameUint(nil, frameSnapEnd, 0), ""},
		"short":        {appendFrameUint(piece[:len(piece):len(piece)], frameSnapEnd, 4), "3 bytes have arrived"},
		"no end":       {piece, io.ErrUnexpectedEOF.Error()},
		"half a piece": {piece[:len(piece)-1], io.ErrUnexpectedEOF.Error()},
		"other frame":  {appendFrame(nil, frameForward, nil), "does not belong in a snapshot"},
	} {
		body := &snapshotBody{frames: newFrameReader(bytes.NewReader(c.frames), 1<<20)}
		got, err := io.ReadAll(body)
		switch {
		case c.want == "" && (err != nil || len(got) != 3 && len(got) != 0):
			t.Errorf("%s: %q, %v", name, got, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Slow disks on either side are not silence.
func TestSnapshotMayTakeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNetwork()
		e := n.ensemble(t, 2)
		e.handlers[1].snapshot = func(_ uint64, _ *raftpb.Message, body io.Reader) error {
			time.Sleep(time.Minute)
			_, err := io.Copy(io.Discard, body)
			time.Sleep(time.Minute)
			return err
		}
		slow := newContent(1 << 20)
		slow.cut, slow.once = 1<<19, func() error { time.Sleep(time.Minute); return nil }
		took := within(func() {
			if err := e.members[0].SendSnapshot(2, snapMessage(2), slow); err != nil {
				t.Error(err)
			}
		})
		if took < 2*time.Minute || took > 4*time.Minute {
			t.Errorf("it took %v", took)
		}

		// A receiver that is no longer there is noticed.
		e.handlers[1].snapshot = func(_ uint64, _ *raftpb.Message, body io.Reader) error {
			n.setSwallow("m2", true)
			_, err := io.Copy(io.Discard, body)
			return err
		}
		took = within(func() {
			if err := e.members[0].SendSnapshot(2, snapMessage(2), newContent(1<<20)); err == nil {
				t.Error("a snapshot was acknowledged by nobody")
			}
		})
		if took > 10*time.Second {
			t.Errorf("the silence was noticed after %v", took)
		}
		n.setSwallow("m2", false)
		for _, m := range e.members {
			m.Close()
		}
	})
}

func TestCloseEndsASnapshot(t *testing.T) {
	e := newEnsemble(t, 2, nil)
	entered := make(chan struct{})
	e.handlers[1].snapshot = func(_ uint64, _ *raftpb.Message, body io.Reader) error {
		close(entered)
		_, err := io.Copy(io.Discard, body)
		return err
	}
	r, w := net.Pipe() // a source that never ends
	defer r.Close()
	ended := make(chan error)
	go func() { ended <- e.members[0].SendSnapshot(2, snapMessage(2), r) }()
	<-entered
	go e.members[0].Close()
	<-e.members[0].ctx.Done()
	w.Close()
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("the sender heard %v", err)
	}
}
