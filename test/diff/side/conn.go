package side

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// replyTimeout bounds the wait for any single frame. Nothing that is asked here
// takes long; a busy machine makes it longer.
const replyTimeout = 60 * time.Second

// conn is a connection that reads and writes many frames at a time.
type conn struct {
	net.Conn
	in  *bufio.Reader
	out []byte
	xid int32
}

func dial(addr string) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, replyTimeout)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, in: bufio.NewReaderSize(c, 16<<10)}, nil
}

// add queues a request under xid, or under the next number if xid is 0, and
// returns its number.
func (c *conn) add(xid, op int32, body []byte) int32 {
	if xid == 0 {
		c.xid++
		xid = c.xid
	}
	c.frame(wire.Request(xid, op, body))
	return xid
}

func (c *conn) frame(body []byte) {
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(len(body)))
	c.out = append(c.out, body...)
}

// send writes what is queued and sets the deadline for what comes back. A
// connection that the other side has closed shows that when it is read.
func (c *conn) send() error {
	if err := c.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	_, err := c.Write(c.out)
	c.out = c.out[:0]
	if err != nil && !isClosed(err) {
		return err
	}
	return nil
}

// recvFrame receives one frame's body; errClosed if there will be none.
func (c *conn) recvFrame() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return nil, closure(err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > 1<<26 {
		return nil, fmt.Errorf("a frame of %d bytes: the stream is out of step", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return nil, closure(err)
	}
	return body, nil
}

func (c *conn) recv() (wire.Reply, error) {
	body, err := c.recvFrame()
	if err != nil {
		return wire.Reply{}, err
	}
	r := wire.NewReader(body)
	reply := wire.Reply{Xid: r.Int(), Zxid: r.Long(), Err: r.Int()}
	reply.Body = r.Rest()
	return reply, r.Err()
}

// call sends one request and returns its reply; events before it are lost.
func (c *conn) call(op int32, body []byte) (wire.Reply, error) {
	xid := c.add(0, op, body)
	if err := c.send(); err != nil {
		return wire.Reply{}, err
	}
	for {
		reply, err := c.recv()
		if err != nil || reply.Xid == xid {
			return reply, err
		}
		if reply.Xid != wire.XidEvent {
			return reply, fmt.Errorf("the reply to request %d came as %d", xid, reply.Xid)
		}
	}
}

// handshake sends q; errClosed if the server answers by closing.
func (c *conn) handshake(q wire.ConnectRequest) (wire.ConnectResponse, error) {
	c.frame(q.Encode())
	if err := c.send(); err != nil {
		return wire.ConnectResponse{}, err
	}
	body, err := c.recvFrame()
	if err != nil {
		return wire.ConnectResponse{}, err
	}
	return wire.DecodeConnectResponse(body)
}

var errClosed = errors.New("the server has closed the connection")

func closure(err error) error {
	if isClosed(err) {
		return errClosed
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer for %v: %w", replyTimeout, err)
	}
	return err
}

// isClosed tells a close from other failures. Unread data on the server's side
// turns its close into a reset.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
