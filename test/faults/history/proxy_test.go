package history

import (
	"net"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// What goes through a proxy is noted under the client's name, and a client that
// goes takes its connection to the member with it.
func TestProxy(t *testing.T) {
	member, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	served := make(chan error, 1)
	go func() {
		served <- func() error {
			raw, err := member.Accept()
			if err != nil {
				return err
			}
			c := &wire.Conn{Conn: raw, Timeout: time.Minute}
			defer c.Close()
			if _, err := c.RecvFrame(); err != nil {
				return err
			}
			if err := c.SendFrame(new(wire.Writer).Int(0).Int(4000).Long(7).Buffer(make([]byte, 16)).Bytes()); err != nil {
				return err
			}
			if body, err := c.RecvFrame(); err == nil {
				t.Errorf("the client has gone, and the member receives %x", body)
			}
			return nil
		}()
	}()
	h := New()
	p, err := h.Proxy("java", []string{member.Addr().String()}, func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	c, err := wire.Dial(p.Addrs[0], time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := c.Handshake(wire.ConnectRequest{}); err != nil || r.SessionID != 7 {
		t.Fatalf("%+v, %v", r, err)
	}
	_ = c.Close()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	p.Close()
	conns := h.Connections()
	if len(conns) != 1 || conns[0].Client != "java" || conns[0].Session != 7 || conns[0].Closed == 0 {
		t.Errorf("%+v", conns)
	}
}
