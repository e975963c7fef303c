package history

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// A history holds what both sides said, in whatever pieces it came.
func TestTap(t *testing.T) {
	h := New()
	near, far := net.Pipe()
	client := &wire.Conn{Conn: h.Tap("c1", "m1", near, func(err error) { t.Error(err) }), Timeout: time.Minute}
	server := &wire.Conn{Conn: far, Timeout: time.Minute}
	answers := [][]byte{
		new(wire.Writer).Int(0).Int(4000).Long(7).Buffer(make([]byte, 16)).Bool(false).Bytes(),
		new(wire.Writer).Int(1).Long(5).Int(0).String("/log/e-1").Bytes(),
		new(wire.Writer).Int(-1).Long(6).Int(0).Int(DataChanged).Int(3).String("/k").Bytes(),
		new(wire.Writer).Int(2).Long(6).Int(wire.NoNode).Bytes(),
	}
	served := make(chan error, 1)
	go func() {
		for i, answer := range answers {
			if i != 3 { // the event and the answer after it come upon one request
				if _, err := server.RecvFrame(); err != nil {
					served <- err
					return
				}
			}
			// Byte by byte: frames are put together again.
			for _, b := range append(new(wire.Writer).Int(int32(len(answer))).Bytes(), answer...) {
				if err := server.SendRaw([]byte{b}); err != nil {
					served <- err
					return
				}
			}
		}
		served <- nil
	}()
	if _, err := client.Handshake(wire.ConnectRequest{SessionID: 7, LastZxidSeen: 4}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Call(wire.OpCreate, wire.CreateBody("/log/e-", []byte("data"), wire.OpenACL, Sequential)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Send(wire.OpGetData, wire.WatchBody("/k", true)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := client.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	_ = client.Close()

	conns := h.Connections()
	if len(conns) != 1 {
		t.Fatalf("%d connections", len(conns))
	}
	c := conns[0]
	if c.Asked != 7 || c.Seen != 4 || c.Session != 7 || c.Timeout != 4*time.Second || c.Attached < c.Opened || c.Closed < c.Attached || len(c.Requests) != 2 {
		t.Fatalf("%+v", c)
	}
	if q := c.Requests[0]; q.Path != "/log/e-" || q.Data != "data" || q.Flags != Sequential || q.Reply == nil || q.Reply.Path != "/log/e-1" || q.Reply.Zxid != 5 || q.Reply.At < q.Sent {
		t.Errorf("%+v, %+v", q, q.Reply)
	}
	if q := c.Requests[1]; q.Path != "/k" || !q.Watch || q.Reply == nil || q.Reply.Err != wire.NoNode {
		t.Errorf("%+v, %+v", q, q.Reply)
	}
	var order []int
	for _, r := range c.Received {
		order = append(order, r.Answered)
	}
	if !slices.Equal(order, []int{0, -1, 1}) || c.Received[1].Event.Path != "/k" || c.Received[1].Event.Zxid != 6 {
		t.Errorf("received %v", c.Received)
	}
	var b strings.Builder
	if err := h.Write(&b); err != nil || !strings.Contains(b.String(), `"Path":"/log/e-1"`) {
		t.Errorf("%v: %s", err, b.String())
	}
}

// A multi is noted with its parts and what became of each.
func TestTapOfMulti(t *testing.T) {
	q := &Request{Op: wire.OpMulti}
	body := wire.MultiBody(wire.MultiOp{Type: wire.OpSetData, Body: wire.SetDataBody("/a", []byte("1"), 3)}, wire.MultiOp{Type: wire.OpCheck, Body: wire.VersionBody("/b", 4)})
	if err := q.decode(wire.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	if len(q.Parts) != 2 || q.Parts[0].Path != "/a" || q.Parts[0].Version != 3 || q.Parts[1].Op != wire.OpCheck || q.Parts[1].Version != 4 {
		t.Errorf("%+v", q.Parts)
	}
	answer := new(wire.Writer)
	for _, code := range []int32{0, wire.BadVersion} {
		answer.Int(wire.OpError).Bool(false).Int(code).Int(code)
	}
	answer.Int(-1).Bool(true).Int(-1)
	r := &Reply{Err: wire.BadVersion}
	if err := r.decode(q, wire.NewReader(answer.Bytes())); err != nil || len(r.Results) != 2 || r.Results[1].Err != wire.BadVersion {
		t.Errorf("%+v, %v", r.Results, err)
	}
}

// What is not understood is said.
func TestTapOfTheUnknown(t *testing.T) {
	h := New()
	near, far := net.Pipe()
	var errs []error
	c := &wire.Conn{Conn: h.Tap("c1", "m1", near, func(err error) { errs = append(errs, err) }), Timeout: time.Minute}
	go func() {
		for {
			if _, err := far.Read(make([]byte, 100)); err != nil {
				return
			}
		}
	}()
	if err := c.SendFrame(wire.ConnectRequest{}.Encode()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(wire.OpAddWatch, wire.PathIntBody("/", 1)); err != nil {
		t.Fatal(err)
	}
	_ = far.Close()
	if len(errs) != 1 {
		t.Errorf("%v; want one error", errs)
	}
}
