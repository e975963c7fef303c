package ensemble

import (
	"fmt"
	"io"
	"net"
	"sync"
)

// ProxyMode is what a proxy does with its connections.
type ProxyMode string

// A proxy's modes.
const (
	// ProxyOpen passes bytes in both directions.
	ProxyOpen ProxyMode = "open"
	// ProxyHold passes nothing and keeps every connection, old ones and new ones:
	// to both sides the other one has fallen silent. What came in meanwhile is
	// passed on when the proxy opens again.
	ProxyHold ProxyMode = "hold"
	// ProxyCut closes every connection, and every new one as soon as it comes.
	ProxyCut ProxyMode = "cut"
)

// Proxy stands between clients and one member, so that a test can take the
// network away from a client without touching a server.
type Proxy struct {
	listener net.Listener
	pumps    sync.WaitGroup

	mu   sync.Mutex
	cond *sync.Cond // signalled when mode or closed changes
	mode ProxyMode
	// target is where new connections go.
	target string
	// conns holds both ends of every connection that passes through.
	conns  map[net.Conn]struct{}
	closed bool
}

// NewProxy starts an open proxy to target. Close ends it.
func NewProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, target: target, mode: ProxyOpen, conns: make(map[net.Conn]struct{})}
	p.cond = sync.NewCond(&p.mu)
	p.pumps.Add(1)
	go p.accept()
	return p, nil
}

// Addr is where clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetMode changes what the proxy does from now on.
func (p *Proxy) SetMode(mode ProxyMode) error {
	switch mode {
	case ProxyOpen, ProxyHold, ProxyCut:
	default:
		return fmt.Errorf("proxy mode %q: want open, hold or cut", mode)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = mode
	if mode == ProxyCut {
		p.closeConnsLocked()
	}
	p.cond.Broadcast()
	return nil
}

// SetTarget makes new connections go elsewhere.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Close ends the proxy and every connection through it.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.closeConnsLocked()
	p.cond.Broadcast()
	p.mu.Unlock()
	p.listener.Close()
	p.pumps.Wait()
}

func (p *Proxy) closeConnsLocked() {
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

// register makes c known, or closes it when the proxy lets nobody through.
func (p *Proxy) register(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.mode == ProxyCut {
		c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	c.Close()
}

func (p *Proxy) accept() {
	defer p.pumps.Done()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		if !p.register(client) {
			continue
		}
		p.pumps.Add(1)
		go p.serve(client)
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer p.pumps.Done()
	defer p.drop(client)
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil || !p.register(server) {
		return
	}
	defer p.drop(server)
	p.pumps.Add(1)
	go func() {
		defer p.pumps.Done()
		p.pump(client, server)
	}()
	p.pump(server, client)
}

// pump passes bytes from src to dst until either ends; then it ends both, so
// that one side's close reaches the other.
func (p *Proxy) pump(dst, src net.Conn) {
	defer p.drop(dst)
	defer p.drop(src)
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			p.mu.Lock()
			for p.mode == ProxyHold && !p.closed {
				p.cond.Wait()
			}
			p.mu.Unlock()
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			// A close is news too: hold it back like anything else.
			p.mu.Lock()
			for err == io.EOF && p.mode == ProxyHold && !p.closed {
				p.cond.Wait()
			}
			p.mu.Unlock()
			return
		}
	}
}
