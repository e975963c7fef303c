package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

// http2Preface is what every HTTP/2 client, and so every gRPC client without
// TLS, says first (RFC 9113, section 3.4).
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// garbageLogEvery is how often a connection that is no gRPC is worth a line.
const garbageLogEvery = time.Minute

var errNotGRPC = errors.New("the client does not speak gRPC")

// prefaceListener ends connections that do not begin as gRPC does, and logs
// them, one line a minute at most. gRPC by itself would end them without a
// word, and a port scanner, a browser or a client with TLS where there is none
// would leave no trace.
type prefaceListener struct {
	net.Listener
	log    *slog.Logger
	logged *rarely
}

func newPrefaceListener(l net.Listener, log *slog.Logger, now func() time.Time) *prefaceListener {
	return &prefaceListener{Listener: l, log: log, logged: &rarely{every: garbageLogEvery, now: now}}
}

func (l *prefaceListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &prefaceConn{Conn: c, listener: l, want: http2Preface}, nil
}

// garbage logs a connection that began with b.
func (l *prefaceListener) garbage(c net.Conn, b []byte) {
	others, worth := l.logged.next()
	if !worth {
		return
	}
	hint := ""
	if b[0] == 0x16 {
		hint = "; it looks like TLS"
	}
	l.log.Warn("closed a connection to the admin port that is no gRPC"+hint, "client", c.RemoteAddr(),
		"first", fmt.Sprintf("%q", b[:min(len(b), 16)]), "others since the last line", others)
}

// prefaceConn checks the first bytes that are read from a connection. Reads
// come from one goroutine at a time.
type prefaceConn struct {
	net.Conn
	listener *prefaceListener
	want     string // what is left of the preface
}

func (c *prefaceConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 || c.want == "" {
		return n, err
	}
	k := min(n, len(c.want))
	if !strings.HasPrefix(c.want, string(b[:k])) {
		c.listener.garbage(c.Conn, b[:n])
		return 0, errNotGRPC
	}
	c.want = c.want[k:]
	return n, err
}
