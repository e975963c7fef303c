package ensemble

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
)

// Control lets a client program in another language act on the ensemble: it
// answers a line-based protocol on a loopback port. A request is one line of
// words, an answer one line: "ok [value]" or "error <why>".
//
//	kill N | start N | pause N | resume N   act on member N
//	ready        wait until every running member serves
//	restore      start and resume everybody, wait until they serve
//	leader       the leading member's number
//	proxy N      start a proxy to member N, answer its host:port
//	open A | hold A | cut A                 set the mode of the proxy at A
//	close A      end the proxy at A
type Control struct {
	e        *Ensemble
	listener net.Listener
	serving  sync.WaitGroup

	mu      sync.Mutex
	proxies map[string]*Proxy
	conns   map[net.Conn]struct{}
	closed  bool
}

// NewControl starts to answer. Close ends it, with its connections and proxies.
func NewControl(e *Ensemble) (*Control, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &Control{e: e, listener: l, proxies: make(map[string]*Proxy), conns: make(map[net.Conn]struct{})}
	c.serving.Add(1)
	go func() {
		defer c.serving.Done()
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			c.serving.Add(1)
			go c.serve(conn)
		}
	}()
	return c, nil
}

// Addr is where programs connect to.
func (c *Control) Addr() string { return c.listener.Addr().String() }

// Close ends everything that programs started through c.
func (c *Control) Close() {
	c.listener.Close()
	c.mu.Lock()
	c.closed = true
	for conn := range c.conns {
		conn.Close()
	}
	proxies := c.proxies
	c.proxies = nil
	c.mu.Unlock()
	for _, p := range proxies {
		p.Close()
	}
	c.serving.Wait()
}

func (c *Control) serve(conn net.Conn) {
	defer c.serving.Done()
	defer conn.Close()
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.conns[conn] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.conns, conn)
		c.mu.Unlock()
	}()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		answer := "ok"
		value, err := c.do(strings.Fields(lines.Text()))
		switch {
		case err != nil:
			answer = "error " + strings.ReplaceAll(err.Error(), "\n", " | ")
		case value != "":
			answer = "ok " + value
		}
		if _, err := fmt.Fprintln(conn, answer); err != nil {
			return
		}
	}
}

// do executes one request.
func (c *Control) do(words []string) (value string, err error) {
	if len(words) == 0 {
		return "", errors.New("empty request")
	}
	verb, args := words[0], words[1:]
	switch verb {
	case "ready":
		return "", c.e.WaitReady()
	case "restore":
		return "", c.e.StartAll()
	case "leader":
		m, err := c.e.Leader()
		if err != nil {
			return "", err
		}
		return strconv.Itoa(m.ID), nil
	}
	if len(args) != 1 {
		return "", fmt.Errorf("%q: unknown, or not with these arguments", strings.Join(words, " "))
	}
	switch verb {
	case "kill", "start", "pause", "resume", "proxy":
		id, err := strconv.Atoi(args[0])
		if err != nil || id < 1 || id > len(c.e.Members) {
			return "", fmt.Errorf("%s %s: no such member", verb, args[0])
		}
		m := c.e.Members[id-1]
		switch verb {
		case "kill":
			return "", m.Kill()
		case "start":
			return "", m.Start()
		case "pause":
			return "", m.Pause()
		case "resume":
			return "", m.Resume()
		default:
			return c.newProxy(m)
		}
	}
	c.mu.Lock()
	p := c.proxies[args[0]]
	if p != nil && verb == "close" {
		delete(c.proxies, args[0])
	}
	c.mu.Unlock()
	switch {
	case p == nil:
		return "", fmt.Errorf("%s %s: unknown request or proxy", verb, args[0])
	case verb == "close":
		p.Close()
		return "", nil
	}
	return "", p.SetMode(ProxyMode(verb))
}

func (c *Control) newProxy(m *Member) (string, error) {
	p, err := NewProxy(m.Addr())
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.proxies[p.Addr()] = p
	}
	c.mu.Unlock()
	if closed {
		p.Close()
		return "", errors.New("the control is closed")
	}
	return p.Addr(), nil
}
