//go:build conformance

package conformance

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
)

// patience bounds every wait of a test; nothing waits that long unless something
// is wrong.
const patience = 60 * time.Second

// goClient is a client of github.com/go-zookeeper/zk.
type goClient struct {
	*zk.Conn
	t      *testing.T
	states <-chan zk.Event
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// goConnect connects to the addresses and waits for the session.
func goConnect(t *testing.T, timeout time.Duration, addrs ...string) *goClient {
	t.Helper()
	c, states, err := zk.Connect(addrs, timeout, zk.WithLogger(quiet{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	g := &goClient{c, t, states}
	g.await(zk.StateHasSession)
	return g
}

// await passes over connection states up to the given one.
func (c *goClient) await(state zk.State) {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case event := <-c.states:
			if event.State == state {
				return
			}
		case <-deadline:
			c.t.Fatalf("the state %v does not come", state)
		}
	}
}

// goRoot creates a node named after the test.
func goRoot(t *testing.T, c *goClient) string {
	t.Helper()
	p := "/go-" + strings.ReplaceAll(t.Name(), "/", "-")
	c.create(p)
	return p
}

func (c *goClient) create(path string) {
	c.t.Helper()
	if _, err := c.Create(path, []byte("x"), zk.FlagPersistent, zk.WorldACL(zk.PermAll)); err != nil {
		c.t.Fatalf("create %s: %v", path, err)
	}
}

func (c *goClient) createEphemeral(path string) {
	c.t.Helper()
	if _, err := c.Create(path, []byte("x"), zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
		c.t.Fatalf("create %s: %v", path, err)
	}
}

// catchUp makes the client's member show all that was acknowledged before. It
// takes a write, even if one that fails: ZooKeeper's leader answers a sync before
// it has applied what others have.
func (c *goClient) catchUp() {
	c.t.Helper()
	wantErr(c.t, zk.ErrNoNode, c.Delete("/there-is-no-such-node", -1))
}

// wantErr wants exactly this error of the library's.
func wantErr(t *testing.T, want, got error) {
	t.Helper()
	if !errors.Is(got, want) || (want == nil) != (got == nil) {
		t.Errorf("got error %v, want %v", got, want)
	}
}

func wantEvent(t *testing.T, events <-chan zk.Event, typ zk.EventType, path string) {
	t.Helper()
	select {
	case event := <-events:
		if event.Type != typ || event.Path != path || event.Err != nil {
			t.Fatalf("got event %+v, want %v on %s", event, typ, path)
		}
	case <-time.After(patience):
		t.Fatalf("no event: want %v on %s", typ, path)
	}
}

// eventually polls until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond) // between two polls
	}
}

// retrying repeats op while the connection is lost.
func retrying[T any](t *testing.T, what string, op func() (T, error)) T {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		value, err := op()
		if err == nil {
			return value
		}
		if !errors.Is(err, zk.ErrConnectionClosed) && !errors.Is(err, zk.ErrNoServer) || time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond) // between two tries
	}
}

// goProxy puts a proxy before a member for the time of the test.
func goProxy(t *testing.T, m *ensemble.Member) *ensemble.Proxy {
	t.Helper()
	p, err := ensemble.NewProxy(m.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func setProxy(t *testing.T, p *ensemble.Proxy, mode ensemble.ProxyMode) {
	t.Helper()
	if err := p.SetMode(mode); err != nil {
		t.Fatal(err)
	}
}
