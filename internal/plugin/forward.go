package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// forward connects to a port of a pod through the API server. Nothing listens on
// this machine: the connection is this process's alone.
func forward(ctx context.Context, cfg *rest.Config, namespace, pod string, port int) (net.Conn, error) {
	clients, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	url := clients.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(cfg)
	if err != nil {
		return nil, err
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	websocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, cfg)
	if err != nil {
		return nil, err
	}
	// As kubectl does it: websockets, or SPDY with API servers and proxies that have
	// none.
	dialer := portforward.NewFallbackDialerForStreaming(websocket, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	type dialed struct {
		conn httpstream.Connection
		err  error
	}
	done := make(chan dialed, 1)
	go func() {
		conn, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
		done <- dialed{conn, err}
	}()
	select {
	case d := <-done:
		if d.err != nil {
			return nil, fmt.Errorf("port-forward to pod %s/%s: %w", namespace, pod, d.err)
		}
		conn, err := open(d.conn, port)
		if err != nil {
			d.conn.Close()
			return nil, fmt.Errorf("port-forward to pod %s/%s: %w", namespace, pod, err)
		}
		return conn, nil
	case <-ctx.Done():
		// Dial can't be called off; its connection is closed when it comes.
		go func() {
			if d := <-done; d.err == nil {
				d.conn.Close()
			}
		}()
		return nil, fmt.Errorf("port-forward to pod %s/%s: %w", namespace, pod, ctx.Err())
	}
}

// open makes the two streams of one forwarded connection, and of them a net.Conn.
// Closing it ends everything.
func open(conn httpstream.Connection, port int) (net.Conn, error) {
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	failures, err := conn.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	// We have nothing to say on it.
	failures.Close()
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := conn.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	// The pipe has deadlines, which streams have not. Each goroutine ends when either
	// side closes: the other's copy then fails.
	ours, theirs := net.Pipe()
	f := &forwarded{Conn: ours, failed: make(chan struct{})}
	go func() {
		if text, err := io.ReadAll(io.LimitReader(failures, 4096)); err == nil && len(text) > 0 {
			f.why = errors.New(strings.TrimSpace(string(text)))
			defer theirs.Close()
		}
		// Whoever finds the pipe closed for this can read why.
		close(f.failed)
	}()
	go func() {
		io.Copy(theirs, data)
		theirs.Close()
	}()
	go func() {
		io.Copy(data, theirs)
		conn.Close()
		theirs.Close()
	}()
	return f, nil
}

// forwarded is a forwarded connection. Its reads fail with what the kubelet says.
type forwarded struct {
	net.Conn
	// why is set before failed is closed.
	why    error
	failed chan struct{}
}

func (f *forwarded) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if err != nil {
		select {
		case <-f.failed:
			if f.why != nil {
				err = f.why
			}
		default:
		}
	}
	return n, err
}
