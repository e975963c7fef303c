package transport

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/tlsfiles"
	"github.com/conclave-dev/conclave/internal/tlsfiles/tlstest"
)

const tlsName = "member.test.conclave.dev"

// credentials are a member's files, and a clock that moves on at every look, so
// that each handshake reads them.
type credentials struct {
	*tlsfiles.Files
	dir string
	mu  sync.Mutex
	now time.Time
}

func newCredentials(t testing.TB, ca *tlstest.CA, l tlstest.Leaf, trusted ...*tlstest.CA) *credentials {
	t.Helper()
	c := &credentials{dir: t.TempDir(), now: time.Now()}
	ca.Write(c.dir, l, trusted...)
	if l.Role == "" {
		l.Role = tlsfiles.RoleMember
	}
	var err error
	c.Files, err = tlsfiles.Open(tlsfiles.Options{Dir: c.dir, ServerName: tlsName, Role: l.Role, Logger: quiet(), Now: func() time.Time {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now = c.now.Add(2 * time.Second)
		return c.now
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *credentials) use(o *Options) {
	o.ServerTLS = func() *tls.Config { return c.Server(tlsfiles.RoleMember) }
	o.ClientTLS = c.Client
}

func TestMutualTLS(t *testing.T) {
	ca := tlstest.NewCA(t)
	e := newEnsemble(t, 2, func(o *Options) { newCredentials(t, ca, tlstest.Leaf{ServerName: tlsName}).use(o) })
	e.members[0].Send([]*raftpb.Message{appMessage(100, 1<<10)})
	e.handlers[1].wait(t, "raft 1 MsgApp")
	if err := e.members[0].SendSnapshot(2, snapMessage(2), bytes.NewReader(make([]byte, 1<<20))); err != nil {
		t.Errorf("a snapshot: %v", err)
	}
}

func TestWhoHasNoCertificateIsNotHeard(t *testing.T) {
	ca, foreign := tlstest.NewCA(t), tlstest.NewCA(t)
	leaf := tlstest.Leaf{ServerName: tlsName}
	for _, c := range []struct {
		what string
		use  func(*Options)
		says string
	}{
		{"without TLS", func(*Options) {}, "TLS: tls: first record does not look like a TLS handshake"},
		{"no certificate", func(o *Options) {
			o.ClientTLS = func() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
		}, "didn't provide a certificate"},
		{"a foreign authority's", newCredentials(t, foreign, leaf, foreign, ca).use, "unknown authority"},
		{"an operator's", newCredentials(t, ca, tlstest.Leaf{ServerName: tlsName, Role: tlsfiles.RoleOperator}).use, "conclave:member"},
	} {
		t.Run(c.what, func(t *testing.T) {
			var log syncBuffer
			r := newRecorder()
			server := open(t, 1, r, func(o *Options) {
				newCredentials(t, ca, leaf).use(o)
				o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			})
			stranger := open(t, 2, newRecorder(), c.use)
			for range 5 {
				if reply, err := stranger.Call(t.Context(), server.Addr().String(), 1, []byte("let me in")); err == nil {
					t.Fatalf("it was answered: %q", reply)
				}
			}
			// A stream is refused as a call is.
			stranger.SetPeers(map[uint64]string{1: server.Addr().String()})
			stranger.opts.Handler.(*recorder).wait(t, "lost 1")
			log.wait(t, "refused")
			if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), c.says) {
				t.Errorf("log (one line with %q is wanted):\n%s", c.says, log.String())
			}
			if r.has("connected") || r.has("raft") {
				t.Error("the stranger was heard")
			}
		})
	}
}

// A stream stands while everything that it was made with is replaced, and new
// ones are made with the new.
func TestRotationUnderAStream(t *testing.T) {
	old, next := tlstest.NewCA(t), tlstest.NewCA(t)
	leaf := tlstest.Leaf{ServerName: tlsName}
	var creds []*credentials
	e := newEnsemble(t, 2, func(o *Options) {
		creds = append(creds, newCredentials(t, old, leaf))
		creds[len(creds)-1].use(o)
	})
	before := e.members[0].Status()[0].Data.Dials
	for _, phase := range []struct {
		by      *tlstest.CA
		trusted []*tlstest.CA
	}{{old, []*tlstest.CA{old, next}}, {next, []*tlstest.CA{old, next}}, {next, []*tlstest.CA{next}}} {
		for i, c := range creds {
			phase.by.Write(c.dir, leaf, phase.trusted...)
			// Calls are connections of their own.
			for from := range e.members {
				if _, err := e.members[from].Call(t.Context(), e.members[1-from].Addr().String(), 1, nil); err != nil {
					t.Fatalf("after member %d was given new files: %v", i+1, err)
				}
			}
			e.members[0].Send([]*raftpb.Message{appMessage(1, 1<<10)})
			e.handlers[1].wait(t, "raft 1 MsgApp")
		}
	}
	if now := e.members[0].Status()[0].Data.Dials; now != before || e.handlers[0].has("lost") || e.handlers[1].has("lost") {
		t.Errorf("a stream was lost: %d dials before, %d after", before, now)
	}
	if _, err := open(t, 3, newRecorder(), newCredentials(t, old, leaf, old, next).use).Call(t.Context(), e.members[0].Addr().String(), 1, nil); err == nil {
		t.Error("who has a certificate of the old authority is answered")
	}
}

// Who connects and says nothing is closed in time, and pushed out by others.
func TestSilenceBeforeTheTLSHandshake(t *testing.T) {
	ca := tlstest.NewCA(t)
	server := open(t, 1, newRecorder(), func(o *Options) {
		newCredentials(t, ca, tlstest.Leaf{ServerName: tlsName}).use(o)
		o.HandshakeTimeout = 50 * time.Millisecond
	})
	c, err := net.Dial("tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Errorf("%d bytes, %v", n, err)
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Error("the connection was left open")
	}
}

// syncBuffer is a log that can be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *syncBuffer) wait(t *testing.T, what string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	patience := time.After(30 * time.Second)
	for !strings.Contains(s.String(), what) {
		select {
		case <-tick.C:
		case <-patience:
			t.Fatalf("nothing with %q was logged:\n%s", what, s.String())
		}
	}
}
