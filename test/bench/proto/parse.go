package proto

import (
	"errors"
	"fmt"
)

// MaxFrame bounds a reply: a length beyond it means that the stream is out of
// step.
const MaxFrame = 8 << 20

var errShort = errors.New("the frame ends in the middle of a field")

// Frame returns the body of the first frame in b and the number of bytes that it
// takes with its length; n is 0 while the frame is incomplete.
func Frame(b []byte) (body []byte, n int, err error) {
	if len(b) < 4 {
		return nil, 0, nil
	}
	size := be.Uint32(b)
	if size > MaxFrame {
		return nil, 0, fmt.Errorf("frame of %d bytes: the stream is out of step", size)
	}
	n = 4 + int(size)
	if len(b) < n {
		return nil, 0, nil
	}
	return b[4:n], n, nil
}

// Reply is one frame behind the handshake. Body lies in the buffer that it was
// parsed from.
type Reply struct {
	Xid  int32
	Zxid int64
	Err  int32
	Body []byte
}

// ParseReply takes the header off a frame's body.
func ParseReply(b []byte) (Reply, error) {
	if len(b) < 16 {
		return Reply{}, errShort
	}
	return Reply{int32(be.Uint32(b)), int64(be.Uint64(b[4:])), int32(be.Uint32(b[12:])), b[16:]}, nil
}

// Accepted is the answer to a connect request. Timeout is in milliseconds; 0
// says that the session has expired.
type Accepted struct {
	Session
	Timeout int32
}

// ParseAccepted reads the answer to a connect request.
func ParseAccepted(b []byte) (Accepted, error) {
	if len(b) < 4+4+8+4 {
		return Accepted{}, errShort
	}
	a := Accepted{Timeout: int32(be.Uint32(b[4:]))}
	a.ID = int64(be.Uint64(b[8:]))
	if n := be.Uint32(b[16:]); n != 16 || len(b) < 20+16 {
		return Accepted{}, fmt.Errorf("password of %d bytes in an answer of %d: want 16", int32(n), len(b))
	}
	copy(a.Passwd[:], b[20:])
	return a, nil
}

// StatLen is the length of a Stat on the wire.
const StatLen = 68

// Stat is what a node says about itself.
type Stat struct {
	Czxid, Mzxid, Ctime, Mtime int64
	Version, Cversion          int32
	Aversion                   int32
	EphemeralOwner             int64
	DataLength, NumChildren    int32
	Pzxid                      int64
}

// ParseStat reads a Stat and returns what follows.
func ParseStat(b []byte) (Stat, []byte, error) {
	if len(b) < StatLen {
		return Stat{}, nil, errShort
	}
	long := func(at int) int64 { return int64(be.Uint64(b[at:])) }
	word := func(at int) int32 { return int32(be.Uint32(b[at:])) }
	return Stat{
		Czxid: long(0), Mzxid: long(8), Ctime: long(16), Mtime: long(24),
		Version: word(32), Cversion: word(36), Aversion: word(40), EphemeralOwner: long(44),
		DataLength: word(52), NumChildren: word(56), Pzxid: long(60),
	}, b[StatLen:], nil
}

// ParseBytes reads a buffer or a string, and returns what follows. A null buffer
// (length -1) is an empty one.
func ParseBytes(b []byte) (v, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errShort
	}
	n := int(int32(be.Uint32(b)))
	if n < 0 {
		return nil, b[4:], nil
	}
	if len(b)-4 < n {
		return nil, nil, errShort
	}
	return b[4 : 4+n], b[4+n:], nil
}

// ParseCount reads the number of a list's entries, each of at least size bytes.
func ParseCount(b []byte, size int) (n int, rest []byte, err error) {
	if len(b) < 4 {
		return 0, nil, errShort
	}
	n = int(int32(be.Uint32(b)))
	if n < 0 || n*size > len(b)-4 {
		return 0, nil, fmt.Errorf("list of %d entries in %d bytes", n, len(b)-4)
	}
	return n, b[4:], nil
}

// Event is a watch notification; Path lies in the buffer.
type Event struct {
	Type, State int32
	Path        []byte
}

// ParseEvent reads the body of a notification.
func ParseEvent(b []byte) (Event, error) {
	if len(b) < 8 {
		return Event{}, errShort
	}
	e := Event{Type: int32(be.Uint32(b)), State: int32(be.Uint32(b[4:]))}
	var err error
	e.Path, _, err = ParseBytes(b[8:])
	return e, err
}

// Part is one result of a transaction.
type Part struct {
	Op, Err int32
	Done    bool // the terminator
	Stat    Stat // of a setData
	Path    []byte
}

// ParsePart reads the next result of a transaction and returns what follows.
func ParsePart(b []byte) (Part, []byte, error) {
	if len(b) < 9 {
		return Part{}, nil, errShort
	}
	p := Part{Op: int32(be.Uint32(b)), Done: b[4] != 0, Err: int32(be.Uint32(b[5:]))}
	b = b[9:]
	var err error
	switch {
	case p.Done || p.Op == OpDelete:
	case p.Op == OpSetData:
		p.Stat, b, err = ParseStat(b)
	case p.Op == OpCreate:
		p.Path, b, err = ParseBytes(b)
	case p.Op == OpError:
		if len(b) < 4 {
			return p, nil, errShort
		}
		p.Err, b = int32(be.Uint32(b)), b[4:]
	default:
		err = fmt.Errorf("result of operation %d, which no transaction here has", p.Op)
	}
	return p, b, err
}
