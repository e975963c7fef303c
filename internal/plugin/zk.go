package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// session is the timeout of the plugin's own session, which it closes when it is
// done.
const session = 10 * time.Second

// dialTree connects a ZooKeeper client over connections that dial makes.
func dialTree(ctx context.Context, dial func() (net.Conn, error), auth []Auth) (Tree, error) {
	var mu sync.Mutex
	var last error
	// The client looks names up by itself, and dial knows better: an address that
	// nobody dials.
	conn, events, err := zk.Connect([]string{"127.0.0.1:2181"}, session, zk.WithLogger(quiet{}), zk.WithDialer(func(string, string, time.Duration) (net.Conn, error) {
		c, err := dial()
		mu.Lock()
		defer mu.Unlock()
		last = err
		return c, err
	}))
	if err != nil {
		return nil, err
	}
	for {
		select {
		case ev := <-events:
			if ev.State == zk.StateHasSession {
				for _, a := range auth {
					if err := conn.AddAuth(a.Scheme, []byte(a.Value)); err != nil {
						conn.Close()
						return nil, fmt.Errorf("--auth %s: %w", a.Scheme, err)
					}
				}
				return tree{conn}, nil
			}
			mu.Lock()
			err := last
			mu.Unlock()
			if err != nil {
				conn.Close()
				return nil, err
			}
		case <-ctx.Done():
			conn.Close()
			mu.Lock()
			defer mu.Unlock()
			return nil, fmt.Errorf("connecting to the client port: %w", errors.Join(ctx.Err(), last))
		}
	}
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// tree is a Tree of a ZooKeeper client.
type tree struct{ conn *zk.Conn }

func (t tree) Children(path string) ([]string, error) {
	names, _, err := t.conn.Children(path)
	return names, translate(err)
}

func (t tree) Get(path string) ([]byte, Stat, error) {
	data, s, err := t.conn.Get(path)
	if err != nil {
		return nil, Stat{}, translate(err)
	}
	return data, stat(s), nil
}

func (t tree) Stat(path string) (Stat, error) {
	ok, s, err := t.conn.Exists(path)
	if err != nil {
		return Stat{}, translate(err)
	}
	if !ok {
		return Stat{}, ErrNoNode
	}
	return stat(s), nil
}

func (t tree) Close() { t.conn.Close() }

func translate(err error) error {
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return ErrNoNode
	case errors.Is(err, zk.ErrNoAuth):
		return ErrNoAuth
	}
	return err
}

func stat(s *zk.Stat) Stat {
	return Stat{
		Czxid: s.Czxid, Mzxid: s.Mzxid, Pzxid: s.Pzxid,
		Created: time.UnixMilli(s.Ctime), Modified: time.UnixMilli(s.Mtime),
		Version: s.Version, ChildVersion: s.Cversion, ACLVers: s.Aversion,
		EphemeralOwner: s.EphemeralOwner, DataLength: s.DataLength, NumChildren: s.NumChildren,
	}
}
