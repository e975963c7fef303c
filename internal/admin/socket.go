package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// maxSocketPath is the longest path that fits into the address of a unix
// socket on every system that Conclave is built for: Linux has room for 107
// bytes, the BSDs and macOS for 103.
const maxSocketPath = 103

// SocketPath is where the admin API's socket is in a data directory.
func SocketPath(dataDir string) string { return filepath.Join(dataDir, "conclave", "admin.sock") }

// listenSocket listens on a unix socket that only this user can connect to. A
// socket that a dead process left behind is replaced; one that is answered is
// an error.
func listenSocket(path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// The socket is made in a directory that is closed to others and moved into
	// place once its mode is right: at no moment can others connect to it.
	private, err := os.MkdirTemp(dir, ".s")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	made := filepath.Join(private, "s")
	if n := max(len(path), len(made)); n > maxSocketPath {
		return nil, fmt.Errorf("the path is %d bytes too long for a unix socket: choose a shorter data directory", n-maxSocketPath)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it would unlink the name under which it was made
	if err := errors.Join(os.Chmod(made, 0o600), os.Rename(made, path)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// removeStale removes a socket that nobody answers.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is no socket", path)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return fmt.Errorf("another process serves %s", path)
	}
	return os.Remove(path)
}
