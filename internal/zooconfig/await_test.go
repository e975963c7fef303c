package zooconfig

import (
	"io/fs"
	"strconv"
	"strings"
	"testing"
)

func TestLoadAwaiting(t *testing.T) {
	for _, c := range []struct {
		name, text, self, myid string
		n                      int
		peer, says             string
	}{
		{"observer's pod", "", "100+zk-observer-2.zk.ns.svc:2888:3888;2181", "", 103, ":2888", ""},
		{"offset with myid", "", "100+zk-2:2888:3888;2181", "7\n", 7, ":2888", ""},
		{"offset with a number", "", "100+server.9=zk-2:2888:3888;2181", "", 9, ":2888", ""},
		{"too many", "", "100+zk-155:2888:3888;2181", "", 0, "", "make server.256"},
		{"negative offset", "", "-5+zk-9:2888:3888;2181", "", 0, "", "offset of 0 or more"},
		{"pod", "", "zk-2.zk.ns.svc:2888:3888;2181", "", 3, ":2888", ""},
		{"pod on its own address", "quorumListenOnAllIPs=false\n", "my-zk-0.zk:2888:3888;2181", "", 1, "my-zk-0.zk:2888", ""},
		{"an address", "", "server.1=127.0.0.1:2888:3888;2181", "", 1, "127.0.0.1:2888", ""},
		{"an IPv6 address", "", "server.1=[::1]:2888:3888;2181", "", 1, "[::1]:2888", ""},
		{"pod on all interfaces", "quorumListenOnAllIPs=true\n", "my-zk-0.zk:2888:3888;2181", "", 1, ":2888", ""},
		{"myid", "", "host:2888:3888;2181", "7\n", 7, ":2888", ""},
		{"number given", "", "server.9=zk-2:2888:3888;2181", "7\n", 9, ":2888", ""},
		{"in the file", "standaloneEnabled=false\nserver.4=h:1:2;3\n", "", "4", 4, "h:1", ""},
		{"an observer alone", "", "server.9=zk-2:2888:3888:observer;2181", "", 0, "", "observer"},
		{"no number", "", "host:2888:3888;2181", "", 0, "", "write server.N= in front"},
		{"no ports", "", "zk-1", "", 0, "", "server.2"},
		{"not a line", "", "server.1", "", 0, "", "has the form"},
		{"others in the file", "server.1=a:1:2;3\n", "zk-1:2888:3888;2181", "", 0, "", "its own line alone"},
		{"several", "server.1=a:1:2;3\nserver.2=b:1:2;3\n", "", "1", 0, "", "there are 2"},
		{"none", "clientPort=1\n", "", "", 0, "", "there are 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := Env{Getenv: func(string) string { return "" }, ReadFile: func(name string) ([]byte, error) {
				switch {
				case name == "zoo.cfg":
					return []byte("dataDir=/d\n" + c.text), nil
				case name == "/d/myid" && c.myid != "":
					return []byte(c.myid), nil
				}
				return nil, fs.ErrNotExist
			}}
			offset := 0
			if n, self, ok := strings.Cut(c.self, "+"); ok {
				var err error
				if offset, err = strconv.Atoi(n); err != nil {
					t.Fatal(err)
				}
				c.self = self
			}
			cfg, _, err := LoadAwaiting("zoo.cfg", c.self, offset, env)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("%v; want an error with %q", err, c.says)
				}
				return
			}
			if err != nil || cfg.MyID != c.n || cfg.PeerAddress != c.peer || cfg.Standalone {
				t.Fatalf("%+v, %v", cfg, err)
			}
		})
	}
}
