//go:build conformance

package conformance

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
)

const longSession = 30 * time.Second

var openACL = zk.WorldACL(zk.PermAll)

func TestGoOperations(t *testing.T) {
	e := sharedEnsemble(t)
	c := goConnect(t, longSession, e.Addrs()...)
	p := goRoot(t, c)
	made, err := c.Create(p+"/a", []byte("1"), zk.FlagPersistent, openACL)
	wantErr(t, nil, err)
	if made != p+"/a" {
		t.Errorf("created %s", made)
	}
	_, err = c.Create(p+"/a", nil, zk.FlagPersistent, openACL)
	wantErr(t, zk.ErrNodeExists, err)
	_, err = c.Create(p+"/no/way", nil, zk.FlagPersistent, openACL)
	wantErr(t, zk.ErrNoNode, err)
	_, err = c.Create(p+"/b", nil, zk.FlagPersistent, nil)
	wantErr(t, zk.ErrInvalidACL, err)
	made, err = c.Create(p+"/s-", nil, zk.FlagSequence, openACL)
	wantErr(t, nil, err)
	if made != p+"/s-0000000001" {
		t.Errorf("created %s", made)
	}
	made, err = c.Create(p+"/e-", nil, zk.FlagEphemeral|zk.FlagSequence, openACL)
	wantErr(t, nil, err)
	_, err = c.Create(made+"/child", nil, zk.FlagPersistent, openACL)
	wantErr(t, zk.ErrNoChildrenForEphemerals, err)
	_, err = c.CreateContainer(p+"/container", nil, zk.FlagContainer, openACL)
	wantErr(t, nil, err)
	_, err = c.CreateTTL(p+"/ttl", nil, zk.FlagTTL, openACL, time.Hour)
	wantErr(t, nil, err)
	_, err = c.CreateTTL(p+"/ttl", nil, zk.FlagTTL, openACL, -time.Hour)
	wantErr(t, zk.ErrBadArguments, err)

	data, stat, err := c.Get(p + "/a")
	wantErr(t, nil, err)
	if string(data) != "1" || stat.Version != 0 || stat.DataLength != 1 {
		t.Errorf("get: %q, %+v", data, stat)
	}
	set, err := c.Set(p+"/a", []byte("22"), 0)
	wantErr(t, nil, err)
	if set.Version != 1 || set.DataLength != 2 || set.Mzxid <= stat.Mzxid {
		t.Errorf("set: %+v", set)
	}
	_, err = c.Set(p+"/a", nil, 0)
	wantErr(t, zk.ErrBadVersion, err)
	ok, got, err := c.Exists(p + "/a")
	wantErr(t, nil, err)
	if !ok || *got != *set {
		t.Errorf("exists: %v, %+v, want %+v", ok, got, set)
	}
	ok, _, err = c.Exists(p + "/no")
	wantErr(t, nil, err)
	if ok {
		t.Error("a node that is not there exists")
	}
	synced, err := c.Sync(p + "/no")
	wantErr(t, nil, err)
	if synced != p+"/no" {
		t.Errorf("sync answers %q", synced)
	}
	children, stat, err := c.Children(p)
	wantErr(t, nil, err)
	slices.Sort(children)
	if want := []string{"a", "container", "e-0000000002", "s-0000000001", "ttl"}; !slices.Equal(children, want) || stat.NumChildren != 5 {
		t.Errorf("children %q, %+v, want %q", children, stat, want)
	}
	wantErr(t, zk.ErrNotEmpty, c.Delete(p, -1))
	wantErr(t, zk.ErrBadVersion, c.Delete(p+"/a", 0))
	wantErr(t, nil, c.Delete(p+"/a", 1))
	wantErr(t, zk.ErrNoNode, c.Delete(p+"/a", -1))
	_, err = c.IncrementalReconfig(nil, []string{"3"}, -1)
	wantErr(t, zk.ErrReconfigDisabled, err)
}

func TestGoMulti(t *testing.T) {
	e := sharedEnsemble(t)
	c := goConnect(t, longSession, e.Addrs()...)
	p := goRoot(t, c)
	res, err := c.Multi(
		&zk.CreateRequest{Path: p + "/a", Data: []byte("1"), Acl: openACL},
		&zk.CreateRequest{Path: p + "/s-", Data: []byte("1"), Acl: openACL, Flags: zk.FlagSequence},
		&zk.SetDataRequest{Path: p + "/a", Data: []byte("2"), Version: 0},
		&zk.CheckVersionRequest{Path: p + "/a", Version: 1},
		&zk.DeleteRequest{Path: p + "/a", Version: 1},
	)
	wantErr(t, nil, err)
	if len(res) != 5 || res[0].String != p+"/a" || res[1].String != p+"/s-0000000001" || res[2].Stat == nil || res[2].Stat.Version != 1 {
		t.Errorf("results %+v", res)
	}
	res, err = c.Multi(
		&zk.CreateRequest{Path: p + "/b", Acl: openACL},
		&zk.DeleteRequest{Path: p + "/no", Version: -1},
		&zk.CreateRequest{Path: p + "/c", Acl: openACL},
	)
	wantErr(t, zk.ErrNoNode, err)
	if len(res) != 3 || res[0].Error != nil || res[1].Error != zk.ErrNoNode || res[2].Error == nil {
		t.Errorf("results %+v", res)
	}
	children, _, err := c.Children(p)
	wantErr(t, nil, err)
	if !slices.Equal(children, []string{"s-0000000001"}) {
		t.Errorf("children %q", children)
	}
}

func TestGoACL(t *testing.T) {
	e := sharedEnsemble(t)
	owner, other := goConnect(t, longSession, e.Addrs()...), goConnect(t, longSession, e.Addrs()...)
	p := goRoot(t, owner)
	wantErr(t, nil, owner.AddAuth("digest", []byte("user:password")))
	_, err := owner.Create(p+"/mine", []byte("x"), 0, zk.DigestACL(zk.PermAll, "user", "password"))
	wantErr(t, nil, err)
	_, err = owner.Create(p+"/auth", []byte("x"), 0, zk.AuthACL(zk.PermAll))
	wantErr(t, nil, err)
	other.catchUp()
	for _, n := range []string{"/mine", "/auth"} {
		_, _, err = other.Get(p + n)
		wantErr(t, zk.ErrNoAuth, err)
	}
	wantErr(t, nil, other.AddAuth("digest", []byte("user:password")))
	for _, n := range []string{"/mine", "/auth"} {
		_, _, err = other.Get(p + n)
		wantErr(t, nil, err)
		acl, stat, err := other.GetACL(p + n)
		wantErr(t, nil, err)
		if !slices.Equal(acl, zk.DigestACL(zk.PermAll, "user", "password")) {
			t.Errorf("ACL %+v", acl)
		}
		_, err = other.SetACL(p+n, openACL, stat.Aversion)
		wantErr(t, nil, err)
		_, err = other.SetACL(p+n, openACL, stat.Aversion)
		wantErr(t, zk.ErrBadVersion, err)
	}
	nobody := goConnect(t, longSession, e.Addrs()...)
	nobody.catchUp()
	_, _, err = nobody.Get(p + "/mine")
	wantErr(t, nil, err)
	if err := nobody.AddAuth("nosuch", []byte("x")); err == nil {
		t.Error("an unknown scheme was accepted")
	}
}

func TestGoWatches(t *testing.T) {
	e := sharedEnsemble(t)
	c, other := goConnect(t, longSession, e.Addrs()[0]), goConnect(t, longSession, e.Addrs()[1])
	p := goRoot(t, c)
	other.catchUp()
	_, _, created, err := c.ExistsW(p + "/a")
	wantErr(t, nil, err)
	_, _, kids, err := c.ChildrenW(p)
	wantErr(t, nil, err)
	other.create(p + "/a")
	wantEvent(t, created, zk.EventNodeCreated, p+"/a")
	wantEvent(t, kids, zk.EventNodeChildrenChanged, p)
	_, _, changed, err := c.GetW(p + "/a")
	wantErr(t, nil, err)
	_, err = other.Set(p+"/a", nil, -1)
	wantErr(t, nil, err)
	wantEvent(t, changed, zk.EventNodeDataChanged, p+"/a")
	_, _, gone, err := c.ExistsW(p + "/a")
	wantErr(t, nil, err)
	wantErr(t, nil, other.Delete(p+"/a", -1))
	wantEvent(t, gone, zk.EventNodeDeleted, p+"/a")
}

// Locks between clients of all members: never two holders.
func TestGoLock(t *testing.T) {
	e := sharedEnsemble(t)
	p := goRoot(t, goConnect(t, longSession, e.Addrs()...))
	var holders, turns atomic.Int32
	var group sync.WaitGroup
	for i := range 6 {
		c := goConnect(t, longSession, e.Addrs()[i%ensemble.Size])
		group.Go(func() {
			lock := zk.NewLock(c.Conn, p+"/lock", openACL)
			for range 10 {
				if err := lock.Lock(); err != nil {
					t.Errorf("lock: %v", err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				c.Exists("/") // let others try
				holders.Add(-1)
				turns.Add(1)
				if err := lock.Unlock(); err != nil {
					t.Errorf("unlock: %v", err)
					return
				}
			}
		})
	}
	group.Wait()
	if n := turns.Load(); n != 60 {
		t.Errorf("%d turns, want 60", n)
	}
}

// An election by ephemeral sequential nodes, as many applications write it.
func TestGoElection(t *testing.T) {
	e := sharedEnsemble(t)
	observer := goConnect(t, longSession, e.Addrs()...)
	p := goRoot(t, observer)
	var candidates []*goClient
	var nodes []string
	for i := range 4 {
		c := goConnect(t, longSession, e.Addrs()[i%ensemble.Size])
		c.catchUp()
		node, err := c.CreateProtectedEphemeralSequential(p+"/c-", []byte(fmt.Sprint(i)), openACL)
		wantErr(t, nil, err)
		candidates, nodes = append(candidates, c), append(nodes, node)
	}
	for i, c := range candidates {
		observer.catchUp()
		children, _, err := observer.Children(p)
		wantErr(t, nil, err)
		if len(children) != len(candidates)-i {
			t.Fatalf("%d candidates, want %d", len(children), len(candidates)-i)
		}
		lowest := slices.MinFunc(children, func(a, b string) int {
			return slices.Compare([]byte(a[len(a)-10:]), []byte(b[len(b)-10:]))
		})
		if p+"/"+lowest != nodes[i] {
			t.Errorf("%s leads, want %s", lowest, nodes[i])
		}
		_, _, gone, err := observer.ExistsW(nodes[i])
		wantErr(t, nil, err)
		c.Close()
		wantEvent(t, gone, zk.EventNodeDeleted, nodes[i])
	}
}

// A connection that breaks: the same session, its ephemerals and its watches.
func TestGoReconnection(t *testing.T) {
	e := sharedEnsemble(t)
	other := goConnect(t, longSession, e.Addrs()...)
	p := goRoot(t, other)
	other.create(p + "/changed")
	proxies := []*ensemble.Proxy{goProxy(t, e.Members[0]), goProxy(t, e.Members[1])}
	c := goConnect(t, longSession, proxies[0].Addr(), proxies[1].Addr())
	c.catchUp()
	id := c.SessionID()
	c.createEphemeral(p + "/eph")
	_, _, changed, err := c.GetW(p + "/changed")
	wantErr(t, nil, err)
	_, _, born, err := c.ExistsW(p + "/born")
	wantErr(t, nil, err)
	for _, proxy := range proxies {
		setProxy(t, proxy, ensemble.ProxyCut)
	}
	c.await(zk.StateDisconnected)
	_, err = other.Set(p+"/changed", nil, -1)
	wantErr(t, nil, err)
	setProxy(t, proxies[1], ensemble.ProxyOpen)
	c.await(zk.StateHasSession)
	wantEvent(t, changed, zk.EventNodeDataChanged, p+"/changed")
	other.create(p + "/born")
	wantEvent(t, born, zk.EventNodeCreated, p+"/born")
	stat := retrying(t, "exists", func() (*zk.Stat, error) { _, stat, err := c.Exists(p + "/eph"); return stat, err })
	if c.SessionID() != id || stat.EphemeralOwner != id {
		t.Errorf("session %#x, owner %#x, want %#x", c.SessionID(), stat.EphemeralOwner, id)
	}
}

// Silence for longer than the timeout: a new session, without the old
// ephemerals.
func TestGoExpiry(t *testing.T) {
	e := sharedEnsemble(t)
	other := goConnect(t, longSession, e.Addrs()[1])
	p := goRoot(t, other)
	proxy := goProxy(t, e.Members[0])
	c := goConnect(t, 2*time.Second, proxy.Addr())
	c.catchUp()
	id := c.SessionID()
	c.createEphemeral(p + "/eph")
	other.catchUp()
	ok, _, gone, err := other.ExistsW(p + "/eph")
	wantErr(t, nil, err)
	if !ok {
		t.Fatal("the ephemeral is not there")
	}
	setProxy(t, proxy, ensemble.ProxyHold)
	wantEvent(t, gone, zk.EventNodeDeleted, p+"/eph")
	setProxy(t, proxy, ensemble.ProxyCut)
	setProxy(t, proxy, ensemble.ProxyOpen)
	c.await(zk.StateExpired)
	c.await(zk.StateHasSession)
	if c.SessionID() == id {
		t.Error("the expired session goes on")
	}
}

// The parsers of the four-letter words that ship with the Go client.
func TestGoFourLetterWords(t *testing.T) {
	e := sharedEnsemble(t)
	c := goConnect(t, longSession, e.Addrs()[0])
	for i, ok := range zk.FLWRuok(e.Addrs(), 10*time.Second) {
		if !ok {
			t.Errorf("member %d is not ok", i+1)
		}
	}
	// It can't read the date of ZooKeeper 3.7 and later.
	if target == ensemble.Conclave {
		stats, ok := zk.FLWSrvr(e.Addrs(), 10*time.Second)
		if !ok {
			t.Errorf("srvr: %+v", stats)
		}
	}
	// (Its verdict on cons is false because the asking connection has no session.)
	clients, _ := zk.FLWCons(e.Addrs()[:1], 10*time.Second)
	if !slices.ContainsFunc(clients[0].Clients, func(s *zk.ServerClient) bool { return s.SessionID == c.SessionID() }) {
		t.Errorf("cons does not list the session %#x", c.SessionID())
	}
}
