package plugin

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/streaming/pkg/httpstream"
)

// fakeForward is the API server's end: each stream's other side by type.
type fakeForward struct {
	streams map[string]net.Conn
	ports   []string
	closed  chan struct{}
}

type fakePipe struct {
	net.Conn
	headers http.Header
}

func (p fakePipe) Reset() error         { return p.Close() }
func (p fakePipe) Headers() http.Header { return p.headers }
func (p fakePipe) Identifier() uint32   { return 0 }

// errorPipe is the stream on which only the other side speaks.
type errorPipe struct{ fakePipe }

func (p errorPipe) Close() error { return nil }

func (f *fakeForward) CreateStream(h http.Header) (httpstream.Stream, error) {
	ours, theirs := net.Pipe()
	kind := h.Get(corev1.StreamType)
	f.streams[kind] = theirs
	f.ports = append(f.ports, h.Get(corev1.PortHeader))
	if kind == corev1.StreamTypeError {
		return errorPipe{fakePipe{ours, h}}, nil
	}
	return fakePipe{ours, h}, nil
}

func (f *fakeForward) Close() error {
	select {
	case <-f.closed:
	default:
		close(f.closed)
		for _, s := range f.streams {
			s.Close()
		}
	}
	return nil
}

func (f *fakeForward) CloseChan() <-chan bool             { return nil }
func (f *fakeForward) SetIdleTimeout(time.Duration)       {}
func (f *fakeForward) RemoveStreams(...httpstream.Stream) {}

func newForward(t *testing.T) (*fakeForward, net.Conn) {
	t.Helper()
	f := &fakeForward{streams: map[string]net.Conn{}, closed: make(chan struct{})}
	c, err := open(f, 2181)
	if err != nil {
		t.Fatal(err)
	}
	return f, c
}

func TestForwardCarriesBothWays(t *testing.T) {
	f, c := newForward(t)
	if strings.Join(f.ports, " ") != "2181 2181" {
		t.Errorf("ports %v", f.ports)
	}
	data := f.streams[corev1.StreamTypeData]
	go func() {
		b := make([]byte, 4)
		if _, err := io.ReadFull(data, b); err == nil {
			data.Write([]byte("you said " + string(b)))
		}
	}()
	if _, err := c.Write([]byte("ruok")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 13)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "you said ruok" {
		t.Fatalf("%q %v", b, err)
	}
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, behind the deadline", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	<-f.closed
}

func TestForwardEndsWithThePod(t *testing.T) {
	f, c := newForward(t)
	f.streams[corev1.StreamTypeData].Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}

func TestForwardSaysWhatTheKubeletSays(t *testing.T) {
	f, c := newForward(t)
	failures := f.streams[corev1.StreamTypeError]
	if _, err := failures.Write([]byte("connection refused\n")); err != nil {
		t.Fatal(err)
	}
	failures.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil || err.Error() != "connection refused" {
		t.Errorf("%v", err)
	}
}
