package history

import (
	"encoding/json"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// History is what all clients saw. Its methods are safe for concurrent use, and
// Connections may be read once nobody writes any more.
type History struct {
	began time.Time

	mu    sync.Mutex
	conns []*Connection
}

// New begins a history; times in it count from now.
func New() *History { return &History{began: time.Now()} }

// Now is the time in the history, in nanoseconds.
func (h *History) Now() int64 { return int64(time.Since(h.began)) }

// Connections returns the connections, in the order in which they were opened.
func (h *History) Connections() []*Connection {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.conns)
}

// Write writes the history, a line of JSON for each connection.
func (h *History) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, c := range h.Connections() {
		c.mu.Lock()
		err := enc.Encode(c)
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Connection is one connection of a client. Times are those of the history.
type Connection struct {
	// Client names who opened it: a client has one connection at a time.
	Client string
	Member string

	Opened int64
	// Asked is the session that the client asked to go on with, 0 for a new one,
	// and Seen the last zxid that it named.
	Asked, Seen int64
	// Attached is when the answer to the handshake came; 0 if none came.
	Attached int64
	// Session is the session that the client was given; 0 if it was told that
	// the one it asked for is gone.
	Session int64
	Timeout time.Duration
	// Closed is when the client had the last byte, or gave up; 0 while it is
	// open.
	Closed int64

	// Requests are in the order in which they were sent.
	Requests []*Request
	// Received is what the client read, in order.
	Received []Received

	mu sync.Mutex
}

// Request is what a client sent.
type Request struct {
	Xid     int32
	Op      int32
	Path    string `json:",omitempty"`
	Data    string `json:",omitempty"`
	Version int32  `json:",omitempty"` // the one that is asked for, -1 for any
	Flags   int32  `json:",omitempty"` // of a create
	Watch   bool   `json:",omitempty"`
	// Parts are the operations of a multi.
	Parts []Request `json:",omitempty"`
	// Relative is the zxid of a setWatches, and Watches are its lists: data,
	// exist, children.
	Relative int64       `json:",omitempty"`
	Watches  [3][]string `json:",omitzero"`

	// Sent is taken before the first byte was written.
	Sent int64
	// Reply is nil if none came.
	Reply *Reply `json:",omitempty"`
}

// Reply is what a client was answered.
type Reply struct {
	// At is taken after the last byte was read.
	At   int64
	Zxid int64
	Err  int32
	// What the operation answers with, if it succeeded.
	Path     string             `json:",omitempty"`
	Data     string             `json:",omitempty"`
	Stat     wire.Stat          `json:",omitzero"`
	Children []string           `json:",omitempty"`
	Results  []wire.MultiResult `json:",omitempty"`
}

// Received is an answer or an event.
type Received struct {
	// Answered is the request's place in Requests, -1 for an event.
	Answered int
	Event    Event `json:",omitzero"`
}

// Event says that a watch fired.
type Event struct {
	At   int64
	Zxid int64
	Type int32
	Path string
}

// The types of event.
const (
	Created         int32 = 1
	Deleted         int32 = 2
	DataChanged     int32 = 3
	ChildrenChanged int32 = 4
)

// Flags of a create.
const (
	Ephemeral  int32 = 1
	Sequential int32 = 2
)
