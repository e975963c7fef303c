package history

import (
	"io"
	"net"
	"sync"
)

// Proxy lets a client of another process be listened to: it has a port for each
// member, on loopback.
type Proxy struct {
	h      *History
	client string
	failed func(error)
	work   sync.WaitGroup
	// Addrs are where the client connects to, in the order of the members.
	Addrs []string

	mu        sync.Mutex
	listeners []net.Listener
	conns     map[net.Conn]struct{}
	closed    bool
}

// Proxy opens ports for a client; dial reaches a member.
func (h *History) Proxy(client string, members []string, dial func(member string) (net.Conn, error), failed func(error)) (*Proxy, error) {
	p := &Proxy{h: h, client: client, failed: failed, conns: map[net.Conn]struct{}{}}
	for _, member := range members {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			p.Close()
			return nil, err
		}
		p.Addrs = append(p.Addrs, l.Addr().String())
		p.listeners = append(p.listeners, l)
		p.work.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return // closed
				}
				p.work.Go(func() { p.serve(c, member, dial) })
			}
		})
	}
	return p, nil
}

// Close ends the ports and every connection.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	for _, l := range p.listeners {
		_ = l.Close()
	}
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.work.Wait()
}

func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}

func (p *Proxy) serve(client net.Conn, member string, dial func(string) (net.Conn, error)) {
	if !p.keep(client) {
		return
	}
	defer p.drop(client)
	raw, err := dial(member)
	if err != nil {
		return
	}
	server := p.h.Tap(p.client, member, raw, p.failed)
	if !p.keep(server) {
		return
	}
	defer p.drop(server)
	p.work.Go(func() {
		// The client's end ends what it is shown.
		_, _ = io.Copy(server, client)
		p.drop(server)
	})
	_, _ = io.Copy(client, server)
}
