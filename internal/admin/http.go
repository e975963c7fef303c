package admin

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/netutil"
)

// Bounds of the HTTP servers for operators. Answers are made whole before they
// are sent, so that a slow reader holds nothing of the member's.
const (
	httpReadTimeout    = 10 * time.Second
	httpWriteTimeout   = 30 * time.Second
	httpMaxHeaderBytes = 16 << 10
	httpMaxConns       = 128
)

// NewCommandHandler serves ZooKeeper's commands as JSON under prefix, which
// begins with a slash and does not end with one ("/commands"). Only GET is
// allowed, as in ZooKeeper; an unknown command is answered like a known one, with
// an error and the list of those that there are.
func NewCommandHandler(s *Surface, prefix string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ok := strings.CutPrefix(r.URL.Path, prefix)
		switch {
		case !ok || rest != "" && rest[0] != '/':
			http.NotFound(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		case strings.Trim(rest, "/") == "":
			writeCommandList(w, prefix)
		default:
			runCommand(s, w, r, strings.TrimPrefix(rest, "/"))
		}
	})
}

func writeCommandList(w http.ResponseWriter, prefix string) {
	var b bytes.Buffer
	for _, c := range commands {
		fmt.Fprintf(&b, "<a href=\"%s/%s\">%s</a>\n<br/>\n", html.EscapeString(prefix), c.name, c.name)
	}
	send(w, http.StatusOK, "text/html; charset=utf-8", b.Bytes())
}

func runCommand(s *Surface, w http.ResponseWriter, r *http.Request, name string) {
	var o object
	if c := findCommand(name); c != nil {
		o = c.answer(s, r.URL.Query())
	} else {
		names := make([]string, len(commands))
		for i := range commands {
			names[i] = commands[i].name
		}
		o = object{{"commands", names}, {"command", name}, {"error", "Unknown command: " + name}}
	}
	var b bytes.Buffer
	writeJSON(&b, o, "")
	send(w, http.StatusOK, "application/json", b.Bytes())
}

func send(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body) // an error means that the client has gone
}

// HTTPServer is a listener for operators: commands, or metrics.
type HTTPServer struct {
	server *http.Server
	addr   net.Addr
	done   chan struct{} // closed when Serve has returned
}

// StartHTTP serves h on address. What names the server in the log. A member
// does its duty without operators looking at it: if it cannot listen there,
// that is a warning, as in ZooKeeper, and the server that is returned serves
// nobody. Idle connections are closed after idle, 0 for a default. The caller
// ends it with Stop.
func StartHTTP(log *slog.Logger, what, address string, idle time.Duration, h http.Handler) *HTTPServer {
	l, err := net.Listen("tcp", address)
	if err != nil {
		log.Warn("cannot listen for "+what+", going on without it", "address", address, "error", err)
		return &HTTPServer{}
	}
	if idle <= 0 {
		idle = httpReadTimeout
	}
	s := &HTTPServer{
		server: &http.Server{Handler: h, ReadTimeout: httpReadTimeout, WriteTimeout: httpWriteTimeout, IdleTimeout: idle,
			MaxHeaderBytes: httpMaxHeaderBytes, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)},
		addr: l.Addr(),
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(netutil.LimitListener(l, httpMaxConns)); err != http.ErrServerClosed {
			log.Warn("no longer serving "+what, "address", address, "error", err)
		}
	}()
	log.Info("serving "+what, "address", s.addr)
	return s
}

// Addr is where the server listens, nil if it does not.
func (s *HTTPServer) Addr() net.Addr { return s.addr }

// Stop ends the server: requests under way may finish until ctx ends, and are
// cut off then.
func (s *HTTPServer) Stop(ctx context.Context) {
	if s.server == nil {
		return
	}
	if s.server.Shutdown(ctx) != nil {
		s.server.Close()
	}
	<-s.done
}
