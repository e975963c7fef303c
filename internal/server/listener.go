package server

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listener is the client port. It accepts connections that the runtime's poller
// does not know: they have loops of their own.
type Listener struct {
	addr net.Addr
	f    *os.File
	raw  syscall.RawConn

	closed atomic.Bool
}

// Listen opens the client port.
func Listen(address string) (*Listener, error) {
	nl, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	defer nl.Close() // f has a duplicate
	f, err := nl.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	l := &Listener{addr: nl.Addr(), f: f}
	if l.raw, err = f.SyscallConn(); err == nil {
		err = l.tune()
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("listen tcp %v: %w", l.addr, err)
	}
	return l, nil
}

// Addr is the address that clients connect to.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close stops accepting.
func (l *Listener) Close() error {
	l.closed.Store(true)
	return l.f.Close()
}

// tune sets what accepted connections inherit.
func (l *Listener) tune() (err error) {
	failed := l.raw.Control(func(fd uintptr) {
		for _, o := range []struct{ level, name, value int }{
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15}, // seconds
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
		} {
			if err = unix.SetsockoptInt(int(fd), o.level, o.name, o.value); err != nil {
				err = os.NewSyscallError("setsockopt", err)
				return
			}
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

// accept waits for a client, or for Close (net.ErrClosed). The socket does not
// block.
func (l *Listener) accept() (fd int, addr netip.AddrPort, err error) {
	var from unix.Sockaddr
	failed := l.raw.Read(func(listener uintptr) bool {
		for {
			fd, from, err = unix.Accept4(int(listener), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err != unix.EINTR && err != unix.ECONNABORTED {
				return err != unix.EAGAIN
			}
		}
	})
	switch {
	case l.closed.Load():
		if failed == nil && err == nil {
			_ = unix.Close(fd)
		}
		return 0, addr, net.ErrClosed
	case failed != nil:
		return 0, addr, failed
	}
	switch from := from.(type) {
	case *unix.SockaddrInet4:
		addr = netip.AddrPortFrom(netip.AddrFrom4(from.Addr), uint16(from.Port))
	case *unix.SockaddrInet6:
		addr = netip.AddrPortFrom(netip.AddrFrom16(from.Addr).Unmap(), uint16(from.Port))
	}
	return fd, addr, os.NewSyscallError("accept", err)
}
