package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// Conn is one TCP connection to a member. It is not safe for concurrent use.
type Conn struct {
	net.Conn
	// Timeout bounds every single read and write.
	Timeout time.Duration
	xid     int32
}

// Dial connects to a member, without a handshake.
func Dial(addr string, timeout time.Duration) (*Conn, error) {
	c, err := net.DialTimeout("tcp", addr, timeout)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: c, Timeout: timeout}, nil
}

// SendFrame sends body with its length before it.
func (c *Conn) SendFrame(body []byte) error {
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	return c.SendRaw(append(frame, body...))
}

// SendRaw sends b as it is, in one write.
func (c *Conn) SendRaw(b []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	_, err := c.Write(b)
	return err
}

// RecvFrame receives one frame's body. The error is io.EOF when the server
// closed the connection between frames.
func (c *Conn) RecvFrame() ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.Timeout)); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > 1<<26 {
		return nil, fmt.Errorf("frame of %d bytes: the stream is out of step", n)
	}
	body := make([]byte, n)
	_, err := io.ReadFull(c, body)
	return body, err
}

// ConnectRequest opens or re-attaches a session.
type ConnectRequest struct {
	LastZxidSeen int64
	Timeout      time.Duration
	SessionID    int64
	Passwd       []byte
	ReadOnly     bool
	// OmitReadOnly leaves the last byte out, as clients before 3.4 do.
	OmitReadOnly bool
}

// Encode returns the request's frame body.
func (q ConnectRequest) Encode() []byte {
	passwd := q.Passwd
	if passwd == nil {
		passwd = make([]byte, 16)
	}
	w := new(Writer).Int(0).Long(q.LastZxidSeen).Int(int32(q.Timeout.Milliseconds())).Long(q.SessionID).Buffer(passwd)
	if !q.OmitReadOnly {
		w.Bool(q.ReadOnly)
	}
	return w.Bytes()
}

// ConnectResponse is the server's answer to a ConnectRequest.
type ConnectResponse struct {
	ProtocolVersion int32
	Timeout         time.Duration // 0: the session has expired
	SessionID       int64
	Passwd          []byte
	// HasReadOnly tells whether the last byte was there, ReadOnly what it said.
	HasReadOnly, ReadOnly bool
}

// DecodeConnectResponse takes a handshake's answer apart.
func DecodeConnectResponse(body []byte) (ConnectResponse, error) {
	r := NewReader(body)
	resp := ConnectResponse{
		ProtocolVersion: r.Int(),
		Timeout:         time.Duration(r.Int()) * time.Millisecond,
		SessionID:       r.Long(),
		Passwd:          r.Buffer(),
	}
	if r.Err() == nil && len(r.Rest()) > 0 {
		resp.HasReadOnly, resp.ReadOnly = true, r.Bool()
	}
	return resp, r.Done()
}

// Handshake sends q and returns the answer.
func (c *Conn) Handshake(q ConnectRequest) (ConnectResponse, error) {
	if err := c.SendFrame(q.Encode()); err != nil {
		return ConnectResponse{}, err
	}
	body, err := c.RecvFrame()
	if err != nil {
		return ConnectResponse{}, err
	}
	return DecodeConnectResponse(body)
}

// Request returns the frame body of a request.
func Request(xid, op int32, body []byte) []byte {
	return new(Writer).Int(xid).Int(op).Raw(body).Bytes()
}

// Reply is any frame that a server sends after the handshake.
type Reply struct {
	Xid  int32
	Zxid int64
	Err  int32
	Body []byte
}

// Recv receives one reply or event.
func (c *Conn) Recv() (Reply, error) {
	body, err := c.RecvFrame()
	if err != nil {
		return Reply{}, err
	}
	r := NewReader(body)
	reply := Reply{Xid: r.Int(), Zxid: r.Long(), Err: r.Int()}
	reply.Body = r.Rest()
	return reply, r.Err()
}

// Send sends a request under the next transaction number and returns it.
func (c *Conn) Send(op int32, body []byte) (xid int32, err error) {
	c.xid++
	return c.xid, c.SendFrame(Request(c.xid, op, body))
}

// Call sends a request and returns the next frame, which has to be its reply.
func (c *Conn) Call(op int32, body []byte) (Reply, error) {
	xid, err := c.Send(op, body)
	if err != nil {
		return Reply{}, err
	}
	reply, err := c.Recv()
	if err != nil {
		return reply, err
	}
	if reply.Xid != xid {
		return reply, fmt.Errorf("reply to request %d came as %+v", xid, reply)
	}
	return reply, nil
}

// Event is the body of a watch notification.
type Event struct {
	Type, State int32
	Path        string
}

// Event decodes a notification.
func (r Reply) Event() (Event, error) {
	if r.Xid != XidEvent {
		return Event{}, fmt.Errorf("not an event: %+v", r)
	}
	d := NewReader(r.Body)
	e := Event{d.Int(), d.Int(), d.String()}
	return e, d.Done()
}

// NextXid is the transaction number that the next Send will use.
func (c *Conn) NextXid() int32 { return c.xid + 1 }

// SkipXids leaves out the next n transaction numbers.
func (c *Conn) SkipXids(n int32) { c.xid += n }
